//! State by events alone: a recorded list of events gives the same state as the live run.
//!
//! Nothing here says what to do next; it only notes on the agenda whom to look at.

use super::machine::{Ended, Machine};
use super::node::{Doom, Kind, NodeId, NodeState};
use super::variables::Change;
use crate::event::{Body, RunEvent, SkippedBecause, Spending, StepStatus};
use crate::id::StepPath;
use crate::message::Usage;
use crate::plan::Plan;
use crate::spec::workflow::FailurePolicy;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

impl Machine {
    pub(super) fn apply(&mut self, event: &RunEvent) {
        let before = std::mem::replace(&mut self.last_event, event.at);
        self.note_spending(event, before);
        self.waits.note(event);
        match &event.body {
            Body::RunStarted { inputs, input, branched_from, .. } => {
                self.branched = branched_from.is_some();
                self.started = Some(event.at);
                self.counts_from = event.at;
                self.inputs = Arc::new(inputs.clone());
                self.input.clone_from(input);
                self.vars = Arc::new(self.workflow.first_variables(inputs));
                let scope = Arc::clone(&self.workflow.scope);
                let plan = Arc::new(Plan::new(&scope));
                self.open_scope(scope, plan, &StepPath::ROOT, None);
            }
            Body::RunResumed { .. } => self.reopen(before, event.at),
            Body::RunFinished { status, reason, output, error, .. } => {
                let (status, reason) = (*status, *reason);
                self.ended = Some(Ended { at: event.at, status, reason, output: output.clone(), error: error.clone() });
            }
            Body::Warning { message, .. } => self.warnings.push(if event.path.is_root() {
                message.clone()
            } else {
                format!("{}: {message}", event.path)
            }),
            Body::VariableSet { key, value } => self.set_variable(&event.path, key, value),
            Body::MemoryWritten { namespace, key, value, call, revision } => {
                let change = Change { by: &event.path, call: call.as_ref(), revision: *revision };
                self.change_memory((namespace, key), Some(value), &change);
            }
            Body::MemoryDeleted { namespace, key, call, revision } => {
                let change = Change { by: &event.path, call: call.as_ref(), revision: *revision };
                self.change_memory((namespace, key), None, &change);
            }
            Body::MemorySeen(seen) => self.see_memory(seen),
            Body::LoopIterationStarted { index } => self.open_iteration(&event.path, *index, event.at),
            body if event.path.is_coordinator() => self.coordinated(body),
            body if event.path.is_delegate() => self.delegated(&event.path, body),
            body => match self.find(&event.path) {
                Some(id) if !matches!(body, Body::StepReady {}) || self.node(id).iterates().is_none() => {
                    self.apply_to(id, event, body);
                }
                _ if matches!(body, Body::StepReady {}) => self.open_judge(&event.path),
                _ => {}
            },
        }
    }

    /// What a sub-agent spent is spent by its step, whatever becomes of the try.
    fn delegated(&mut self, path: &StepPath, body: &Body) {
        let below = path.as_str().get(path.step().as_str().len()..).unwrap_or_default();
        let id = self.find(&path.step());
        match (id, body) {
            (Some(id), Body::ToolCallStarted { call_id, .. }) => {
                let (calls, call) = (&mut self.node_mut(id).open_calls, format!("{below}/{call_id}"));
                if !calls.iter().any(|open| **open == *call) {
                    calls.push(call.into());
                }
            }
            (Some(id), Body::ToolCallFinished { call_id, .. }) => {
                let call = format!("{below}/{call_id}");
                self.node_mut(id).open_calls.retain(|open| **open != *call);
            }
            _ => {}
        }
        let spent = match body {
            Body::TurnFinished { usage, model, .. }
            | Body::TurnFailed { usage, model, .. }
            | Body::Spent(Spending { usage, model, .. }) => Some((usage, model)),
            _ => None,
        };
        if let (Some(id), Some((usage, model))) = (id, spent) {
            self.node_mut(id).usage += *usage;
            *self.usage_by_model.entry(Arc::clone(model)).or_default() += *usage;
        }
    }

    /// What the coordinator did.
    fn coordinated(&mut self, body: &Body) {
        match body {
            Body::TurnFinished { usage, model, .. }
            | Body::TurnFailed { usage, model, .. }
            | Body::Spent(Spending { usage, model, .. }) => {
                self.coordination.usage += *usage;
                *self.usage_by_model.entry(Arc::clone(model)).or_default() += *usage;
            }
            Body::Narrated { key, .. } => drop(self.coordination.narrated.insert(Arc::clone(key))),
            Body::Summarized { summary } => {
                self.coordination.summary.get_or_insert_with(|| Arc::clone(summary));
            }
            _ => {}
        }
    }

    pub(super) fn apply_to(&mut self, id: NodeId, event: &RunEvent, body: &Body) {
        match body {
            Body::StepReady {} => self.ready(id),
            Body::StepStarted { .. } if self.node(id).works() => self.start(id, event),
            Body::StepStarted { .. } => self.open(id, event),
            Body::ToolCallStarted { call_id, .. } => {
                let calls = &mut self.node_mut(id).open_calls;
                if !calls.iter().any(|open| **open == **call_id) {
                    calls.push(call_id.as_str().into());
                }
            }
            Body::ToolCallFinished { call_id, .. } => {
                self.node_mut(id).open_calls.retain(|open| **open != **call_id);
            }
            Body::TurnFinished { usage, model, .. }
            | Body::TurnFailed { usage, model, .. }
            | Body::Spent(Spending { usage, model, .. }) => {
                let node = self.node_mut(id);
                // What comes behind the end of a step is in no total that the end tells.
                let completed = node.state == NodeState::Done(StepStatus::Completed);
                *(if completed { &mut node.usage } else { &mut node.turns }) += *usage;
                *self.usage_by_model.entry(Arc::clone(model)).or_default() += *usage;
            }
            Body::StepRetrying { delay_ms, usage, .. } => {
                self.forget_memory_calls(&event.path);
                self.rest(id, (event.at, Duration::from_millis(*delay_ms)), *usage);
            }
            Body::StepWaiting(_) => self.defer_try(id, event.at),
            Body::StepFinished { status, output, error, usage, truncated_inputs } => {
                let node = self.node_mut(id);
                node.output = output.clone();
                node.error.clone_from(error);
                node.truncated_inputs.clone_from(truncated_inputs);
                node.turns = *usage;
                if *status == StepStatus::Failed && !node.open_calls.is_empty() {
                    node.cut = Some(Box::new(node.usage));
                }
                self.end(id, *status, event.at);
            }
            Body::BranchChosen { step, .. } => self.take_choice(id, step.as_ref()),
            Body::StepSkipped { because, detail } => {
                if *because == SkippedBecause::Stop {
                    self.stopping.push((id, detail.clone()));
                }
                self.node_mut(id).skipped = Some((*because, detail.clone()));
                self.end(id, StepStatus::Skipped, event.at);
            }
            Body::StepCancelled { .. } => {
                let node = self.node_mut(id);
                if node.works() && (node.state == NodeState::Running || node.waiting.is_some()) {
                    node.cut = Some(Box::new(node.usage));
                }
                self.end(id, StepStatus::Cancelled, event.at);
            }
            Body::FilesChanged(changes) => self.take_changes(id, event.attempt, changes),
            Body::LoopPostponed { until } => self.postpone(id, *until),
            Body::LoopIterationFinished { status, .. } => self.end_iteration(id, *status, event.at),
            Body::LoopFinished { because, .. } => {
                if let Kind::Loop(run) = &mut self.node_mut(id).kind {
                    run.ended = Some(*because);
                    self.agenda.push_back(id);
                }
            }
            Body::QuestionAsked { deferred, .. } => self.defer_question(id, *deferred),
            Body::MessageDelivered(_) | Body::MessagePosted(_) => self.node_mut(id).note_mail(body),
            _ => {}
        }
    }

    /// A try failed, and the step waits for the next.
    fn rest(&mut self, id: NodeId, (since, rest): (Timestamp, Duration), usage: Usage) {
        self.leave_slot(id);
        self.unsignal(id);
        self.forget_failure_in(id);
        let node = self.node_mut(id);
        node.usage += usage;
        node.turns = Usage::default();
        (node.rest, node.rests_since, node.state) = (rest, since, NodeState::Resting);
        self.agenda.push_back(id);
    }

    pub(super) fn ready(&mut self, id: NodeId) {
        if !matches!(self.node(id).state, NodeState::Due | NodeState::Deciding) {
            return;
        }
        self.withdraw_announcement(id);
        self.make_ready(id);
    }

    /// The step's readiness is recorded, or never will be.
    fn withdraw_announcement(&mut self, id: NodeId) {
        if std::mem::take(&mut self.node_mut(id).announced) {
            self.announced_ready -= 1;
        }
    }

    /// What works waits for a slot; what holds other steps or asks a person begins at once.
    pub(super) fn make_ready(&mut self, id: NodeId) {
        if self.node(id).works() {
            self.queue(id);
        } else {
            self.node_mut(id).state = NodeState::Expanding;
            self.agenda.push_back(id);
        }
    }

    /// Puts a node among those that wait for a slot.
    pub(super) fn queue(&mut self, id: NodeId) {
        self.node_mut(id).state = NodeState::Queued;
        let agent = self.step(id).agent().cloned();
        self.slots.push(id, agent.as_ref());
    }

    pub(super) fn start(&mut self, id: NodeId, event: &RunEvent) {
        let agent = self.step(id).agent().cloned();
        // A recorded run goes from its rest straight to the next try.
        if !matches!(self.node(id).state, NodeState::Queued | NodeState::Starting | NodeState::Resting) {
            return;
        }
        if self.node(id).state != NodeState::Starting {
            self.slots.remove(id, agent.as_ref());
            self.slots.take(agent.as_ref());
        }
        self.forget_changes(id);
        let node = self.node_mut(id);
        node.state = NodeState::Running;
        node.waiting = None;
        if !std::mem::take(&mut node.resuming) {
            node.open_calls.clear();
        }
        node.attempt = event.attempt.unwrap_or(1);
        node.started.get_or_insert(event.at);
        self.agenda.push_back(id);
    }

    pub(super) fn leave_slot(&mut self, id: NodeId) {
        let agent = self.step(id).agent().cloned();
        if self.node(id).holds_slot() {
            self.slots.release(agent.as_ref());
        } else if self.node(id).state == NodeState::Queued {
            self.slots.remove(id, agent.as_ref());
        }
    }

    /// A node has ended: its slot is free, its dependents learn of it, its scope has one step less to wait for.
    pub(super) fn end(&mut self, id: NodeId, status: StepStatus, at: Timestamp) {
        if self.node(id).state.status().is_some() {
            return;
        }
        self.leave_slot(id);
        self.deferred -= usize::from(self.node(id).state == NodeState::Deferred);
        let policy = self.step(id).failure_policy(&self.scope(self.node(id).scope).scope.defaults);
        let node = self.node_mut(id);
        node.waiting = None;
        let spent = std::mem::take(&mut node.turns);
        node.usage += spent;
        node.ended = Some(at);
        let judge = matches!(node.kind, Kind::Judge { .. });
        node.tolerated = status == StepStatus::Failed && (policy == FailurePolicy::Continue || judge);
        node.state = NodeState::Done(status);
        self.order_of_ends.push(id);
        if status == StepStatus::Failed && !self.node(id).tolerated && self.first_error.is_none() {
            self.first_error = Some(id);
        }
        self.unsignal(id);
        self.note_tolerated(id);
        match self.node(id).kind {
            Kind::Repeat { of, index } => {
                self.note_failure(of, index, status);
                self.agenda.push_back(id);
            }
            Kind::Judge { .. } => self.end_judge(id, status),
            Kind::Body { .. } => {}
            Kind::Plain | Kind::Ask | Kind::Group(_) | Kind::Loop(_) => {
                if status == StepStatus::Failed && policy == FailurePolicy::Abort {
                    self.aborted_by.get_or_insert(id);
                }
                self.tell_dependents(id, status, policy);
                let scope = self.node(id).scope;
                self.scope_mut(scope).left -= 1;
                if let Some(parent) = self.scope(scope).parent
                    && self.scope(scope).left == 0
                {
                    self.agenda.push_back(parent);
                }
            }
        }
    }

    /// What failed in a step that is tried again as a whole is not what the run fails of.
    fn forget_failure_in(&mut self, id: NodeId) {
        let inside = |failed: NodeId| {
            let rest = self.node(failed).path.as_str().strip_prefix(self.node(id).path.as_str());
            rest.is_some_and(|rest| rest.starts_with(['[', '.']))
        };
        if self.first_error.is_some_and(inside) {
            self.first_error = None;
        }
    }

    /// A failure that does not count is said aloud.
    fn note_tolerated(&mut self, id: NodeId) {
        let node = self.node(id);
        if node.tolerated && node.is_member() {
            let why = node.error.as_ref().map(|fault| fault.message.as_str()).unwrap_or_default();
            self.warnings.push(format!("{}: failed, and the run went on: {why}", node.path));
        }
    }

    pub(super) fn tell_dependents(&mut self, id: NodeId, status: StepStatus, policy: FailurePolicy) {
        let doom = self.doom_of_dependents(id, status, policy);
        let (scope, step) = (self.node(id).scope, self.node(id).step);
        let plan = Arc::clone(&self.scope(scope).plan);
        let first = self.scope(scope).first;
        for &dependent in plan.dependents(step) {
            let dependent = NodeId(first.0 + u32::try_from(dependent).expect("scopes are bounded"));
            match &doom {
                Some(doom) => self.doom(dependent, doom.clone()),
                None => self.satisfy(dependent),
            }
        }
    }

    pub(super) fn doom_of_dependents(&self, id: NodeId, status: StepStatus, policy: FailurePolicy) -> Option<Doom> {
        let node = self.node(id);
        let name = &node.path;
        match (status, policy) {
            (StepStatus::Completed, _) | (StepStatus::Failed, FailurePolicy::Continue) => None,
            (StepStatus::Failed, FailurePolicy::SkipDependents) => Some(Doom::Skip(format!("step `{name}` failed"))),
            (StepStatus::Failed, FailurePolicy::Cascade | FailurePolicy::Abort) => {
                Some(Doom::Cancel(format!("step `{name}` failed")))
            }
            (StepStatus::Cancelled, _) => Some(Doom::Cancel(format!("step `{name}` was cancelled"))),
            (StepStatus::Skipped, _) => match node.skipped {
                Some((SkippedBecause::Upstream, _)) => Some(Doom::Skip(format!("step `{name}` was skipped"))),
                _ => None,
            },
        }
    }

    /// One dependency more is done.
    pub(super) fn satisfy(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        node.waits = node.waits.saturating_sub(1);
        if node.waits == 0 && node.state == NodeState::Waiting {
            node.state = NodeState::Due;
            self.agenda.push_back(id);
        }
    }

    /// The node will not run.
    pub(super) fn doom(&mut self, id: NodeId, doom: Doom) {
        let state = self.node(id).state;
        if matches!(
            state,
            NodeState::Running
                | NodeState::Starting
                | NodeState::Open
                | NodeState::Asking
                | NodeState::Closing
                | NodeState::Done(_)
                | NodeState::Doomed
        ) {
            return;
        }
        self.leave_slot(id);
        self.withdraw_announcement(id);
        self.deferred -= usize::from(state == NodeState::Deferred);
        let node = self.node_mut(id);
        node.doom = Some(doom);
        node.state = NodeState::Doomed;
        self.agenda.push_back(id);
    }
}
