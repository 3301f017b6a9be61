//! What comes after a step: a message for one that has completed resumes the conversation of its agent, whose answer goes back.
//!
//! What the step gave stays what it is, and so does all that read it. It must not know what the agent answers, nor which messages
//! wait: the engine says that some do, and when the conversation is at rest again.

use super::effect::Effect;
use super::machine::Machine;
use super::node::{Kind, Node, NodeId, NodeState};
use crate::event::{Body, Delivered, Posted, StepStatus};
use crate::id::StepPath;
use crate::spec::workflow::IsolationMode;

/// How the resumed conversation of a step stands; it takes a slot, as every try does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequel {
    /// It waits for a slot.
    Queued,
    /// It has one.
    AtWork,
}

impl Machine {
    /// Whether a message for the step resumes its conversation once it has completed: its agent says so, and the directory that
    /// it worked in is still there.
    #[must_use]
    pub fn may_resume(&self, path: &StepPath) -> bool {
        self.find(path).is_some_and(|id| self.is_resumable(id))
    }

    fn is_resumable(&self, id: NodeId) -> bool {
        let agent = self.step(id).agent().and_then(|name| self.workflow.agents.get(name));
        self.node(id).works()
            && agent.is_some_and(|agent| agent.resume_on_message)
            && self.isolation(&self.node(id).path) == IsolationMode::None
    }

    /// Whether a step that has ended still takes messages.
    pub(super) fn has_sequel(&self, id: NodeId) -> bool {
        self.node(id).state == NodeState::Done(StepStatus::Completed) && self.is_resumable(id) && self.stands(id)
    }

    /// Whether nothing around the step has begun anew since, or is about to.
    fn stands(&self, mut id: NodeId) -> bool {
        loop {
            let inner = self.node(id);
            let iterates = inner.iterates();
            let Some(outer) = iterates.or(self.scope(inner.scope).parent) else { return true };
            let holds = match &self.node(outer).kind {
                _ if self.node(outer).state == NodeState::Resting => false,
                Kind::Group(scope) => *scope == Some(inner.scope),
                Kind::Body { scope, .. } => *scope == inner.scope,
                Kind::Loop(run) => run.iterations.contains(&id) || run.judges.contains(&id),
                _ => true,
            };
            if !holds {
                return false;
            }
            id = outer;
        }
    }

    /// Whether the step has completed, and its conversation is resumed or will be.
    #[must_use]
    pub fn is_resumed(&self, path: &StepPath) -> bool {
        self.find(path).is_some_and(|id| self.node(id).sequel.is_some())
    }

    /// Whether any conversation is resumed or will be.
    #[must_use]
    pub fn has_resumed(&self) -> bool {
        self.sequels > 0
    }

    /// Whether the agent of a completed step is at work again, or has what it read to answer, in a run that goes on.
    pub(super) fn reads_on(&self, node: &Node) -> bool {
        self.ended.is_none() && node.is_resumed()
    }

    /// The steps whose conversation is resumed or will be.
    #[must_use]
    pub fn resumed(&self) -> Vec<StepPath> {
        let own = self.nodes.iter().filter(|node| node.sequel.is_some());
        own.map(|node| node.path.clone()).collect()
    }

    /// The last message that the agent of a completed step has read and not answered.
    #[must_use]
    pub fn unanswered(&self, path: &StepPath) -> Option<u64> {
        self.node(self.find(path)?).unanswered
    }

    /// The last try of a step.
    #[must_use]
    pub fn last_attempt(&self, path: &StepPath) -> u32 {
        self.find(path).map_or(0, |id| self.node(id).attempt)
    }

    /// The completed steps whose agents have read something and not answered it.
    #[must_use]
    pub fn all_unanswered(&self) -> Vec<StepPath> {
        let current = |id: &NodeId| self.find(&self.node(*id).path) == Some(*id);
        let open = self.ids().filter(|&id| self.node(id).unanswered.is_some()).filter(current);
        open.map(|id| self.node(id).path.clone()).collect()
    }

    /// A message waits for the agent of a completed step: its conversation goes on when a slot is free.
    pub fn resume(&mut self, path: &StepPath) -> Vec<Effect> {
        let open = self.stop.is_none() && self.ended.is_none();
        let id = self.find(path).filter(|&id| open && self.node(id).sequel.is_none() && self.has_sequel(id));
        if let Some(id) = id {
            self.node_mut(id).sequel = Some(Sequel::Queued);
            self.sequels += 1;
            let agent = self.step(id).agent().cloned();
            self.slots.push(id, agent.as_ref());
        }
        self.effects()
    }

    /// The resumed conversation is at rest, or is given up.
    pub fn let_go(&mut self, path: &StepPath) -> Vec<Effect> {
        if let Some(id) = self.find(path) {
            self.end_sequel(id);
        }
        self.effects()
    }

    /// Gives it up, since the run is stopped; what is under way is cancelled.
    pub(super) fn cut_sequel(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        if self.end_sequel(id) == Some(Sequel::AtWork) {
            effects.push(Effect::Cancel(self.node(id).path.clone()));
        }
    }

    fn end_sequel(&mut self, id: NodeId) -> Option<Sequel> {
        let before = self.node_mut(id).sequel.take()?;
        self.sequels -= 1;
        let agent = self.step(id).agent().cloned();
        match before {
            Sequel::Queued => self.slots.remove(id, agent.as_ref()),
            Sequel::AtWork => self.slots.release(agent.as_ref()),
        }
        Some(before)
    }

    /// A slot is free for a node: a try begins, or the conversation of one goes on.
    pub(super) fn give_slot(&mut self, id: NodeId) -> Effect {
        let node = self.node_mut(id);
        if node.sequel.is_some() {
            node.sequel = Some(Sequel::AtWork);
            return Effect::Resume { path: node.path.clone(), attempt: node.attempt };
        }
        node.state = NodeState::Starting;
        self.announce_start(id)
    }
}

impl Node {
    /// Whether its try has completed and its agent is at work again, or has what it read to answer.
    pub(super) fn is_resumed(&self) -> bool {
        let at_work = self.unanswered.is_some() || self.sequel == Some(Sequel::AtWork);
        self.state == NodeState::Done(StepStatus::Completed) && at_work
    }

    /// Takes in what its agent reads behind the step's end, and that it answers. A turn of 0 is nobody's.
    pub(super) fn note_mail(&mut self, body: &Body) {
        let completed = self.state == NodeState::Done(StepStatus::Completed);
        match body {
            Body::MessageDelivered(Delivered { id, from, turn: 1.., .. }) if completed && !from.is_delegate() => {
                self.unanswered = Some(*id);
            }
            Body::MessagePosted(Posted { in_reply_to: Some(_), .. }) => self.unanswered = None,
            _ => {}
        }
    }
}
