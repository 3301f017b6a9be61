//! `forEach`: iterations begin as the loop's own limit allows, and end in one result by index.

use super::effect::Effect;
use super::follow::emit;
use super::machine::Machine;
use super::node::{Doom, Kind, LoopRun, Node, NodeId, NodeState, repeat};
use super::output::LoopOutput;
use crate::event::{Body, StepStatus};
use crate::fault::Fault;
use crate::id::StepPath;
use crate::limits;
use crate::message::Usage;
use crate::plan::Plan;
use crate::spec::workflow::ItemFailure;
use crate::time::Timestamp;
use serde_json::Value;
use std::sync::Arc;

impl Machine {
    pub(super) fn start_loop(&mut self, id: NodeId, items: Arc<Vec<Value>>, at: Timestamp) {
        if self.node(id).state != NodeState::Expanding {
            return;
        }
        let body_plan = self.step(id).inner().map(|scope| Arc::new(Plan::new(scope)));
        let node = self.node_mut(id);
        node.state = NodeState::Looping;
        node.started = Some(at);
        node.attempt = 1;
        node.kind = Kind::Loop(Box::new(LoopRun { items, body_plan, ..LoopRun::default() }));
        self.agenda.push_back(id);
    }

    /// Makes the node of an iteration, which carries the loop's path and an index.
    pub(super) fn open_iteration(&mut self, path: &StepPath, index: u32, at: Timestamp) {
        let Some(of) = path.as_str().rsplit_once('[').and_then(|(owner, _)| self.find(&StepPath::from(owner))) else {
            return;
        };
        if self.node(of).state != NodeState::Looping {
            return;
        }
        let (scope, step) = (self.node(of).scope, self.node(of).step);
        let body = self.step(of).inner().cloned();
        let id = self.add(Node::new(path.clone(), scope, step, Kind::Repeat { of, index }));
        let run = self.loop_mut(of);
        run.iterations.push(id);
        run.announced = run.announced.max(run.iterations.len());
        run.active += 1;
        let plan = run.body_plan.clone();
        self.agenda.push_back(of);
        match body.zip(plan) {
            None if self.is_halted(id) => self.doom(id, Doom::Cancel("its loop was stopped".to_owned())),
            None => self.queue(id),
            Some((body, plan)) => {
                self.node_mut(id).started = Some(at);
                self.node_mut(id).state = NodeState::Looping;
                let scope = self.open_scope(body, plan, path, Some(id));
                self.node_mut(id).kind = Kind::Body { of, index, scope };
            }
        }
    }

    /// The iteration's event has come: the loop counts it.
    pub(super) fn end_iteration(&mut self, id: NodeId, status: StepStatus, at: Timestamp) {
        let (of, index) = match self.node(id).kind {
            Kind::Repeat { of, index } => (of, index),
            Kind::Body { of, index, scope } => {
                let output = self.scope_output(scope);
                self.node_mut(id).output = output;
                self.end(id, status, at);
                (of, index)
            }
            Kind::Plain | Kind::Loop(_) => return,
        };
        let run = self.loop_mut(of);
        run.active = run.active.saturating_sub(1);
        if status != StepStatus::Completed && status != StepStatus::Skipped {
            run.failed.get_or_insert(index);
        }
        self.agenda.push_back(of);
    }

    pub(super) fn effects_of_loop(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        match (&self.node(id).kind, self.node(id).state) {
            (Kind::Loop(_), NodeState::Looping) => self.advance(id, effects),
            (Kind::Repeat { index, .. }, NodeState::Done(status)) => {
                let body = Body::LoopIterationFinished { index: *index, status };
                effects.push(emit(self.node(id).path.clone(), None, body));
            }
            (Kind::Body { index, scope, .. }, NodeState::Looping) if self.scope(*scope).left == 0 => {
                let body = Body::LoopIterationFinished { index: *index, status: self.scope_status(*scope) };
                self.node_mut(id).state = NodeState::Closing;
                effects.push(emit(self.node(id).path.clone(), None, body));
            }
            _ => {}
        }
    }

    /// Begins the next iteration if the loop may, or ends the loop if nothing is left.
    fn advance(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        let step = self.step(id);
        let settings = repeat(step);
        let (bound, on_failure) = (settings.max_concurrency, settings.on_item_failure);
        let timeout = step.timeout.filter(|timeout| !timeout.is_zero());
        let stopped = self.is_halted(id);
        let path = self.node(id).path.clone();
        let run = self.loop_mut(id);
        if run.iterations.is_empty()
            && run.announced == 0
            && let Some(timeout) = timeout
        {
            effects.push(Effect::Watch { path: path.clone(), timeout });
        }
        let begun = run.announced == run.iterations.len();
        let open = bound.is_none_or(|bound| run.active < bound);
        let halted = stopped || run.expired.is_some() || (run.failed.is_some() && on_failure == ItemFailure::Stop);
        let more = run.announced < run.items.len() && !halted;
        if more && open && begun {
            let index = u32::try_from(run.announced).expect("items are bounded");
            run.announced += 1;
            effects.push(emit(path.iteration(index), None, Body::LoopIterationStarted { index }));
        } else if !more && begun && run.active == 0 {
            let body = self.finish_loop(id);
            self.node_mut(id).state = NodeState::Closing;
            effects.push(emit(path, None, body));
        }
    }

    fn finish_loop(&self, id: NodeId) -> Body {
        let node = self.node(id);
        let Kind::Loop(run) = &node.kind else { return Body::StepCancelled { detail: String::new() } };
        if self.is_halted(id) && (run.failed.is_some() || run.iterations.len() < run.items.len()) {
            return Body::StepCancelled { detail: "the run was stopped".to_owned() };
        }
        let LoopOutput { output, failed } = self.loop_output(id, run);
        let tolerant = repeat(self.step(id)).on_item_failure == ItemFailure::Ignore;
        let error = match &run.expired {
            Some(fault) => Some(fault.clone()),
            None if tolerant => None,
            None => failed,
        };
        let status = if error.is_some() { StepStatus::Failed } else { StepStatus::Completed };
        Body::StepFinished { status, output, error, usage: Usage::default(), truncated_inputs: Vec::new() }
    }

    /// The loop's time is over: what is under way is cancelled, and nothing more begins.
    pub(super) fn expire_loop(&mut self, id: NodeId, fault: Fault, effects: &mut Vec<Effect>) {
        let prefix = format!("{}[", self.node(id).path);
        self.loop_mut(id).expired = Some(fault);
        for inner in self.ids() {
            if self.node(inner).path.as_str().starts_with(&prefix) {
                self.halt(inner, "the loop's time was over", effects);
                // A loop inside looks again whether it may go on.
                self.agenda.push_back(inner);
            }
        }
        self.agenda.push_back(id);
    }

    /// Whether nothing may begin at a node: the run was stopped, or the time of a loop around it is over.
    pub(super) fn is_halted(&self, id: NodeId) -> bool {
        let mut at = Some(id);
        while let Some(id) = at.filter(|_| self.stop.is_none()) {
            let around = match self.node(id).kind {
                Kind::Repeat { of, .. } | Kind::Body { of, .. } => Some(of),
                Kind::Plain | Kind::Loop(_) => self.scope(self.node(id).scope).parent,
            };
            if let Some(Kind::Loop(run)) = around.map(|around| &self.node(around).kind)
                && run.expired.is_some()
            {
                return true;
            }
            at = around;
        }
        self.stop.is_some()
    }

    fn loop_mut(&mut self, id: NodeId) -> &mut LoopRun {
        match &mut self.node_mut(id).kind {
            Kind::Loop(run) => run,
            _ => unreachable!("iterations belong to a loop"),
        }
    }

    /// Why a list cannot be looped over, if it cannot.
    #[must_use]
    pub fn refuse_items(&self, items: &[Value]) -> Option<Fault> {
        if items.len() > limits::FOR_EACH_ITEMS {
            return Some(Fault::step(
                "too_many_items",
                format!("forEach over {} items, more than the limit of {}", items.len(), limits::FOR_EACH_ITEMS),
            ));
        }
        let instances = self.nodes.len().saturating_add(items.len());
        (instances > limits::STEP_INSTANCES).then(|| {
            Fault::step(
                "too_many_steps",
                format!(
                    "the run would have {instances} step instances, more than the limit of {}",
                    limits::STEP_INSTANCES
                ),
            )
        })
    }
}
