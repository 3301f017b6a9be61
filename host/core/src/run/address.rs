//! Who a message is for: the step that a name means, if an agent works there.

use super::effect::Effect;
use super::machine::Machine;
use super::node::{Kind, NodeId};
use crate::event::DropReason;
use crate::id::StepPath;
use crate::limits;

/// Where a message cannot go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// Why.
    pub reason: DropReason,
    /// The step that was meant, or the name as it was given.
    pub to: StepPath,
    /// In words, for the model that wrote the message.
    pub detail: String,
}

impl Machine {
    /// The agent's step that a name means: its path in the run, or the end of that where only one step that has not ended
    /// has it.
    ///
    /// # Errors
    /// Why no agent reads there.
    pub fn addressee(&self, name: &str) -> Result<StepPath, Unreachable> {
        let refuse = |reason, to: StepPath, detail: String| Err(Unreachable { reason, to, detail });
        let id = match self.find(&StepPath::from(name)) {
            Some(id) => id,
            None => match self.named(name)[..] {
                [] => {
                    let detail = format!("there is no step `{name}`; {}", self.reachable());
                    return refuse(DropReason::UnknownStep, StepPath::from(name), detail);
                }
                [id] => id,
                ref several => {
                    let paths: Vec<&str> = several.iter().map(|&id| self.node(id).path.as_str()).collect();
                    let detail = format!("`{name}` may be any of {}; name one of them in full", paths.join(", "));
                    return refuse(DropReason::UnknownStep, StepPath::from(name), detail);
                }
            },
        };
        let path = self.node(id).path.clone();
        if matches!(self.node(id).kind, Kind::Group(_) | Kind::Loop(_) | Kind::Body { .. }) {
            let detail = format!("`{path}` holds other steps, and no agent reads there; {}", self.reachable());
            return refuse(DropReason::WrapperTarget, path, detail);
        }
        if !self.has_agent(id) {
            let detail = format!("no agent works at `{path}`; {}", self.reachable());
            return refuse(DropReason::UnknownStep, path, detail);
        }
        if self.node(id).state.status().is_some() && !self.has_sequel(id) {
            let detail = format!("step `{path}` has ended");
            return refuse(DropReason::TargetFinished, path, detail);
        }
        Ok(path)
    }

    /// Steps whose path ends so: those that have not ended, else those that have.
    fn named(&self, name: &str) -> Vec<NodeId> {
        let ends = |id: &NodeId| {
            let before = self.node(*id).path.as_str().strip_suffix(name);
            before.is_some_and(|before| before.ends_with('.')) && self.find(&self.node(*id).path) == Some(*id)
        };
        let all: Vec<NodeId> = self.ids().filter(ends).collect();
        let open: Vec<NodeId> = all.iter().copied().filter(|&id| self.node(id).state.status().is_none()).collect();
        match (open.is_empty(), all.last()) {
            (true, Some(last)) => vec![*last],
            _ => open,
        }
    }

    fn has_agent(&self, id: NodeId) -> bool {
        self.node(id).works() && self.step(id).is_agent()
    }

    /// The agents that could read a message, in words.
    fn reachable(&self) -> String {
        let open = self.ids().filter(|&id| self.has_agent(id) && self.node(id).state.status().is_none());
        let mut paths: Vec<&str> = open.map(|id| self.node(id).path.as_str()).take(limits::NAMED_STEPS + 1).collect();
        let more = paths.len() > limits::NAMED_STEPS;
        paths.truncate(limits::NAMED_STEPS);
        match (paths.is_empty(), more) {
            (true, _) => "no agent is left that could read it".to_owned(),
            (false, false) => format!("the agents are: {}", paths.join(", ")),
            (false, true) => format!("the agents are: {} and more", paths.join(", ")),
        }
    }

    /// Stops one step: what is under way there is cancelled, what has not begun never does.
    pub fn call_off(&mut self, path: &StepPath, why: &str) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(id) = self.find(path) {
            self.halt(id, why, &mut effects);
        }
        effects.append(&mut self.effects());
        effects
    }
}
