//! What follows from the state: effects for whom the agenda names, and slots for whom is ready.
//!
//! It only marks what it has announced; all other state changes come with events.

use super::effect::{Effect, Emission};
use super::machine::{Machine, Stop};
use super::node::{Doom, Kind, NodeId, NodeState, ScopeId};
use super::scopes::Given;
use crate::event::{Body, RunReason, SkippedBecause, StepOutput};
use crate::id::StepPath;
use crate::spec::workflow::{LoopKind, Work};

impl Machine {
    pub(super) fn effects(&mut self) -> Vec<Effect> {
        // A run that waits has ended with steps that have not: nothing follows for them before it is taken up again.
        if self.ended.is_some() {
            return Vec::new();
        }
        let mut effects = Vec::new();
        if self.aborted_by.is_some() && self.stop.is_none() {
            return self.stop(Stop::Reason(RunReason::Aborted));
        }
        for (by, why) in std::mem::take(&mut self.stopping) {
            self.stop_scope(by, &why);
        }
        while let Some(id) = self.agenda.pop_front() {
            self.effects_of(id, &mut effects);
        }
        // A strategy that compares agents waits until all that are ready together are known.
        while self.stop.is_none() && (self.announced_ready == 0 || !self.slots.compares_agents()) {
            let Some(id) = self.slots.pick() else { break };
            effects.push(self.give_slot(id));
        }
        self.conclude(&mut effects);
        effects
    }

    pub(super) fn effects_of(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        let path = self.node(id).path.clone();
        match self.node(id).state {
            // A try may have ended while the stop was on its way to it.
            NodeState::Due | NodeState::Resting if self.is_halted(id) => {
                self.doom(id, Doom::Cancel("the run was stopped".to_owned()));
            }
            NodeState::Due => {
                self.node_mut(id).state = NodeState::Deciding;
                effects.push(if self.step(id).condition.is_some() || self.is_gated(id) {
                    Effect::Decide(path)
                } else {
                    self.announced_ready += 1;
                    self.node_mut(id).announced = true;
                    emit(path, None, Body::StepReady {})
                });
            }
            NodeState::Expanding => self.begin(id, effects),
            NodeState::Asking => effects.push(Effect::Ask(path)),
            NodeState::Running if self.node(id).works() => {
                effects.push(Effect::Start { path: path.clone(), attempt: self.node(id).attempt });
                if self.is_halted(id) {
                    effects.push(Effect::Cancel(path));
                }
            }
            NodeState::Resting => {
                let node = self.node(id);
                effects.push(Effect::Wait { path, delay: node.rest, since: node.rests_since });
            }
            NodeState::Doomed => {
                let body = match self.node(id).doom.clone() {
                    Some(Doom::Skip(detail)) => Body::StepSkipped { because: SkippedBecause::Upstream, detail },
                    Some(Doom::Stop(detail)) => Body::StepSkipped { because: SkippedBecause::Stop, detail },
                    Some(Doom::Cancel(detail)) => Body::StepCancelled { detail },
                    None => Body::StepCancelled { detail: String::new() },
                };
                self.node_mut(id).state = NodeState::Closing;
                effects.push(emit(path, None, body));
            }
            NodeState::Open => {
                self.watch(id, effects);
                match self.node(id).kind {
                    Kind::Group(Some(scope)) => self.effects_of_group(id, scope, effects),
                    _ => self.effects_of_loop(id, effects),
                }
            }
            _ => self.effects_of_loop(id, effects),
        }
    }

    /// Whether somebody else says when the step begins.
    fn is_gated(&self, id: NodeId) -> bool {
        self.gated && self.node(id).scope == ScopeId(0) && self.node(id).is_member()
    }

    /// Begins a step that takes no slot; what it begins with may have to be evaluated.
    fn begin(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        let path = self.node(id).path.clone();
        let step = self.step(id);
        if let Some(fault) =
            step.inner().and_then(|scope| self.too_many_instances(self.nodes.len() + scope.steps.len()))
        {
            return self.close(id, Given { output: StepOutput::default(), error: Some(fault) }, effects);
        }
        let items = matches!(step.repeat.as_ref().map(|repeat| &repeat.kind), Some(LoopKind::ForEach(_)));
        if items || matches!(step.work, Work::Include(_)) {
            return effects.push(Effect::Expand(path));
        }
        let body = Body::StepStarted { agent: None, tool: None, items: None, inputs: None, narrowed: Vec::new() };
        effects.push(emit(path, None, body));
    }

    /// The time of a loop, group or include runs from its first try on.
    fn watch(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        let node = self.node(id);
        if node.watched || !node.is_member() {
            return;
        }
        let path = node.path.clone();
        self.node_mut(id).watched = true;
        if let Some(timeout) = self.timeout_of(&path) {
            effects.push(Effect::Watch { path, timeout });
        }
    }

    pub(super) fn announce_start(&self, id: NodeId) -> Effect {
        let (node, step) = (self.node(id), self.step(id));
        let (agent, tool) = (step.agent().cloned(), step.tool().cloned());
        let body = Body::StepStarted { agent, tool, items: None, inputs: None, narrowed: Vec::new() };
        let attempt = if node.resuming { node.attempt } else { node.attempt + 1 };
        emit(node.path.clone(), Some(attempt), body)
    }

    pub(super) fn conclude(&mut self, effects: &mut Vec<Effect>) {
        if !self.concluding && self.ended.is_none() && self.is_done(effects.is_empty()) {
            self.concluding = true;
            effects.push(Effect::Conclude);
        }
    }

    /// Whether all has ended, or all that is left waits for answers that nobody here can give.
    fn is_done(&self, quiet: bool) -> bool {
        let done = self.scopes.first().is_some_and(|root| root.left == 0) || (quiet && self.waits_for_another_day());
        done && self.sequels == 0
    }

    /// Whether the run may still end when [`Effect::Conclude`] is performed: what waited may have been woken by what else
    /// happened meanwhile.
    pub fn may_conclude(&mut self) -> bool {
        self.concluding = self.is_done(true);
        self.concluding
    }

    /// Cancels a node in whatever state it is.
    pub(super) fn halt(&mut self, id: NodeId, why: &str, effects: &mut Vec<Effect>) {
        match self.node(id).state {
            NodeState::Running if self.node(id).works() => effects.push(Effect::Cancel(self.node(id).path.clone())),
            NodeState::Asking => effects.push(Effect::Cancel(self.node(id).path.clone())),
            // It looks again whether it may go on.
            NodeState::Open => self.agenda.push_back(id),
            NodeState::Starting | NodeState::Closing => {}
            _ => self.doom(id, Doom::Cancel(why.to_owned())),
        }
    }
}

pub(super) fn emit(path: StepPath, attempt: Option<u32>, body: Body) -> Effect {
    Effect::Emit(Box::new(Emission { path, attempt, body }))
}
