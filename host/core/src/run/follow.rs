//! What follows from the state: effects for whom the agenda names, and slots for whom is ready.
//!
//! It only marks what it has announced; all other state changes come with events.

use super::effect::{Effect, Emission};
use super::machine::{Machine, Stop};
use super::node::{Doom, NodeId, NodeState};
use crate::event::{Body, RunReason, SkippedBecause};
use crate::id::StepPath;

impl Machine {
    pub(super) fn effects(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.abort && self.stop.is_none() {
            return self.stop(Stop::Reason(RunReason::Aborted));
        }
        while let Some(id) = self.agenda.pop_front() {
            self.effects_of(id, &mut effects);
        }
        while self.stop.is_none() {
            let Some(id) = self.slots.pick() else { break };
            self.node_mut(id).state = NodeState::Starting;
            effects.push(self.announce_start(id));
        }
        self.conclude(&mut effects);
        effects
    }

    pub(super) fn effects_of(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        let path = self.node(id).path.clone();
        match self.node(id).state {
            NodeState::Due if self.is_halted(id) => self.doom(id, Doom::Cancel("the run was stopped".to_owned())),
            NodeState::Due => {
                self.node_mut(id).state = NodeState::Deciding;
                effects.push(if self.step(id).condition.is_some() {
                    Effect::Decide(path)
                } else {
                    emit(path, None, Body::StepReady {})
                });
            }
            NodeState::Expanding => effects.push(Effect::Expand(path)),
            NodeState::Running if self.node(id).works() => {
                effects.push(Effect::Start { path: path.clone(), attempt: self.node(id).attempt });
                if self.is_halted(id) {
                    effects.push(Effect::Cancel(path));
                }
            }
            NodeState::Resting => effects.push(Effect::Wait { path, delay: self.node(id).rest }),
            NodeState::Doomed => {
                let body = match self.node(id).doom.clone() {
                    Some(Doom::Skip(detail)) => Body::StepSkipped { because: SkippedBecause::Upstream, detail },
                    Some(Doom::Cancel(detail)) => Body::StepCancelled { detail },
                    None => Body::StepCancelled { detail: String::new() },
                };
                self.node_mut(id).state = NodeState::Closing;
                effects.push(emit(path, None, body));
            }
            _ => self.effects_of_loop(id, effects),
        }
    }

    pub(super) fn announce_start(&self, id: NodeId) -> Effect {
        let (node, step) = (self.node(id), self.step(id));
        let body =
            Body::StepStarted { agent: step.agent().cloned(), tool: step.tool().cloned(), items: None, inputs: None };
        emit(node.path.clone(), Some(node.attempt + 1), body)
    }

    pub(super) fn conclude(&mut self, effects: &mut Vec<Effect>) {
        let done = self.scopes.first().is_some_and(|root| root.left == 0);
        if done && !self.concluding && self.ended.is_none() {
            self.concluding = true;
            effects.push(Effect::Conclude);
        }
    }

    /// Cancels a node in whatever state it is.
    pub(super) fn halt(&mut self, id: NodeId, why: &str, effects: &mut Vec<Effect>) {
        match self.node(id).state {
            NodeState::Running if self.node(id).works() => effects.push(Effect::Cancel(self.node(id).path.clone())),
            NodeState::Starting | NodeState::Looping | NodeState::Closing => {}
            _ => self.doom(id, Doom::Cancel(why.to_owned())),
        }
    }
}

pub(super) fn emit(path: StepPath, attempt: Option<u32>, body: Body) -> Effect {
    Effect::Emit(Box::new(Emission { path, attempt, body }))
}
