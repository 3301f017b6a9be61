//! Loops: what all of them share. `each.rs` has those over items, `rounds.rs` those that repeat.

use super::effect::Effect;
use super::follow::emit;
use super::machine::Machine;
use super::node::{Doom, Kind, Node, NodeId, NodeState};
use super::scopes::Given;
use crate::event::{Body, LoopEnd, StepOutput, StepStatus};
use crate::fault::Fault;
use crate::id::StepPath;
use crate::plan::Plan;
use crate::spec::workflow::{Loop, LoopKind, Step};
use crate::time::Timestamp;
use serde_json::Value;
use std::sync::Arc;

/// A loop that is being walked.
#[derive(Debug, Default)]
pub(super) struct LoopRun {
    /// The items of a `forEach`.
    pub(super) items: Arc<Vec<Value>>,
    /// Iterations that have begun, by index.
    pub(super) iterations: Vec<NodeId>,
    /// Judges that were asked, in order.
    pub(super) judges: Vec<NodeId>,
    /// Iterations announced, which are at least those that have begun.
    pub(super) announced: usize,
    pub(super) active: usize,
    /// The first iteration that failed.
    pub(super) failed: Option<u32>,
    /// `loop_continue` was set to false.
    pub(super) signalled: bool,
    /// Its end was announced.
    pub(super) ending: bool,
    /// What ended it.
    pub(super) ended: Option<LoopEnd>,
    /// When its next iteration may begin, where nobody here waits for it.
    pub(super) postponed: Option<Timestamp>,
    /// Where a repeating loop stands between two iterations.
    pub(super) phase: Phase,
    /// What the last judge said, for the next iteration.
    pub(super) feedback: Option<Arc<str>>,
    pub(super) body_plan: Option<Arc<Plan>>,
}

/// Where a repeating loop stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The next iteration must be allowed to begin.
    #[default]
    Before,
    /// The engine evaluates `while`.
    Checking,
    /// The next iteration may begin, after the delay.
    Granted,
    /// The delay runs.
    Pausing,
    /// The beginning of an iteration was announced.
    Beginning,
    /// An iteration is under way.
    Iterating,
    /// An iteration has ended.
    After,
    /// The engine evaluates `until`.
    Testing,
    /// `until` was false, or there is none.
    Tested,
    /// A judge is asked.
    Judging,
    /// The judge has answered.
    Judged { done: bool },
}

impl Machine {
    pub(super) fn start_loop(&mut self, id: NodeId, items: Arc<Vec<Value>>) {
        let body = self.step(id).repeat.as_ref().and_then(|repeat| repeat.body.as_ref());
        let body_plan = body.map(|scope| Arc::new(Plan::new(scope)));
        self.node_mut(id).kind = Kind::Loop(Box::new(LoopRun { items, body_plan, ..LoopRun::default() }));
        self.agenda.push_back(id);
    }

    /// Makes the node of an iteration, which carries the loop's path and an index.
    pub(super) fn open_iteration(&mut self, path: &StepPath, index: u32, at: Timestamp) {
        let Some(of) = self.owner(path).filter(|&of| self.node(of).state == NodeState::Open) else { return };
        if !matches!(self.node(of).kind, Kind::Loop(_)) {
            return;
        }
        let (scope, step) = (self.node(of).scope, self.node(of).step);
        let body = self.step(of).repeat.as_ref().and_then(|repeat| repeat.body.clone());
        let id = self.add(Node::new(path.clone(), scope, step, Kind::Repeat { of, index }));
        let run = self.loop_mut(of);
        run.iterations.push(id);
        run.announced = run.announced.max(run.iterations.len());
        run.active += 1;
        run.phase = Phase::Iterating;
        let plan = run.body_plan.clone();
        self.agenda.push_back(of);
        match body.zip(plan) {
            None if self.is_halted(id) => self.doom(id, Doom::Cancel("its loop was stopped".to_owned())),
            None => self.queue(id),
            Some((body, plan)) => {
                self.node_mut(id).started = Some(at);
                self.node_mut(id).state = NodeState::Open;
                let scope = self.open_scope(body, plan, path, Some(id));
                self.node_mut(id).kind = Kind::Body { of, index, scope };
            }
        }
    }

    /// The loop of the path `L[i]`.
    pub(super) fn owner(&self, path: &StepPath) -> Option<NodeId> {
        path.as_str().rsplit_once('[').and_then(|(owner, _)| self.find(&StepPath::from(owner)))
    }

    /// The iteration's event has come: the loop counts it.
    pub(super) fn end_iteration(&mut self, id: NodeId, status: StepStatus, at: Timestamp) {
        self.node_mut(id).reported = true;
        let (of, index) = match self.node(id).kind {
            Kind::Repeat { of, index } => (of, index),
            Kind::Body { of, index, scope } => {
                let output = self.scope_output(scope);
                self.node_mut(id).output = output;
                self.end(id, status, at);
                (of, index)
            }
            _ => return,
        };
        let run = self.loop_mut(of);
        run.active = run.active.saturating_sub(1);
        run.phase = Phase::After;
        self.note_failure(of, index, status);
        self.agenda.push_back(of);
    }

    /// A failed iteration counts from the moment at which it is known, not only from its record: a loop that stops
    /// begins nothing in between.
    pub(super) fn note_failure(&mut self, of: NodeId, index: u32, status: StepStatus) {
        if status != StepStatus::Completed && status != StepStatus::Skipped {
            self.loop_mut(of).failed.get_or_insert(index);
        }
    }

    pub(super) fn effects_of_loop(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        match (&self.node(id).kind, self.node(id).state) {
            (Kind::Loop(run), NodeState::Open) if run.ended.is_some() => self.close_loop(id, effects),
            (Kind::Loop(run), NodeState::Open) if !run.ending => match kind(self.step(id)) {
                LoopKind::ForEach(_) => self.advance_items(id, effects),
                LoopKind::Repeat(_) => self.advance_rounds(id, effects),
            },
            (Kind::Repeat { index, .. }, NodeState::Done(status)) => {
                let body = Body::LoopIterationFinished { index: *index, status };
                effects.push(emit(self.node(id).path.clone(), None, body));
            }
            (&Kind::Body { of, index, scope }, NodeState::Open) if self.scope(scope).left == 0 => {
                let status = self.scope_status(scope);
                let body = Body::LoopIterationFinished { index, status };
                self.note_failure(of, index, status);
                self.node_mut(id).state = NodeState::Closing;
                effects.push(emit(self.node(id).path.clone(), None, body));
            }
            (Kind::Judge { .. }, NodeState::Done(status)) => self.report_judge(id, status, effects),
            _ => {}
        }
    }

    /// Announces the next iteration; or the end, when the run has no room for it.
    pub(super) fn begin_iteration(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        if self.lack_of_room(id).is_some() {
            return self.announce_end(id, LoopEnd::Failed, effects);
        }
        let run = self.loop_mut(id);
        let index = u32::try_from(run.announced).expect("iterations are bounded");
        run.announced += 1;
        run.phase = Phase::Beginning;
        effects.push(emit(self.node(id).path.iteration(index), None, Body::LoopIterationStarted { index }));
    }

    pub(super) fn announce_end(&mut self, id: NodeId, because: LoopEnd, effects: &mut Vec<Effect>) {
        let path = self.node(id).path.clone();
        let run = self.loop_mut(id);
        run.ending = true;
        let iterations = u32::try_from(run.iterations.len()).expect("iterations are bounded");
        effects.push(emit(path, None, Body::LoopFinished { iterations, because }));
    }

    /// The loop's end is recorded: what it gave becomes the step's end.
    fn close_loop(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        let Kind::Loop(run) = &self.node(id).kind else { return };
        let because = run.ended.unwrap_or(LoopEnd::Stopped);
        let Given { output, error } = self.loop_given(id);
        if because == LoopEnd::Stopped {
            return self.close_cancelled(id, "the run was stopped", effects);
        }
        let expired = self.node(id).expired.as_deref().cloned().filter(|_| because == LoopEnd::Timeout);
        let refused = self.lack_of_room(id).filter(|_| because == LoopEnd::Failed && error.is_none());
        self.close(id, Given { output, error: expired.or(error).or(refused) }, effects);
    }

    pub(super) fn loop_given(&self, id: NodeId) -> Given {
        let Kind::Loop(run) = &self.node(id).kind else {
            return Given { output: StepOutput::default(), error: None };
        };
        match kind(self.step(id)) {
            LoopKind::ForEach(each) => self.items_given(id, run, each),
            LoopKind::Repeat(repeat) => self.rounds_given(id, run, repeat),
        }
    }

    /// Why one more iteration would be too much for the run, if it would.
    pub(super) fn lack_of_room(&self, id: NodeId) -> Option<Fault> {
        let body = self.step(id).repeat.as_ref().and_then(|repeat| repeat.body.as_ref());
        let wanted = self.nodes.len().saturating_add(1 + body.map_or(0, |scope| scope.steps.len()));
        self.too_many_instances(wanted)
    }

    pub(super) fn too_many_instances(&self, wanted: usize) -> Option<Fault> {
        let limit = self.workflow.options.limits.step_instances;
        (wanted > limit).then(|| {
            let message = format!("the run would have {wanted} step instances, more than the limit of {limit}");
            Fault::step("too_many_steps", message)
        })
    }

    pub(super) fn item_fault(&self, node: &Node) -> Fault {
        let inner = match node.kind {
            Kind::Body { scope, .. } => self.first_fault(scope),
            _ => node.error.clone(),
        };
        let mut fault = inner.unwrap_or_else(|| match node.state.status() {
            Some(StepStatus::Cancelled) => Fault::step("item_cancelled", "it was cancelled"),
            _ => Fault::step("item_failed", "it failed"),
        });
        fault.message = format!("iteration `{}` failed: {}", node.path, fault.message);
        fault
    }

    pub(super) fn loop_of(&self, id: NodeId) -> &LoopRun {
        match &self.node(id).kind {
            Kind::Loop(run) => run,
            _ => unreachable!("iterations belong to a loop"),
        }
    }

    pub(super) fn loop_mut(&mut self, id: NodeId) -> &mut LoopRun {
        match &mut self.node_mut(id).kind {
            Kind::Loop(run) => run,
            _ => unreachable!("iterations belong to a loop"),
        }
    }
}

/// How the loop of a step repeats; nodes of kind `Loop` belong to steps that have one.
pub(super) fn kind(step: &Step) -> &LoopKind {
    let Some(Loop { kind, .. }) = &step.repeat else { unreachable!("a loop node belongs to a step with a loop") };
    kind
}
