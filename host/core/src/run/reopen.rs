//! A run is taken up again: what is finished stays, what had failed, was cut short or never came to be runs again.
//!
//! It follows from the recorded events alone, so that a run which was taken up twice folds to the same state as one that
//! was taken up once. It must not know why the run had stopped.

use super::loops::{LoopRun, Phase};
use super::machine::Machine;
use super::node::{Kind, NodeId, NodeState, ScopeId};
use crate::event::{LoopEnd, SkippedBecause, StepOutput, StepStatus};
use crate::time::Timestamp;
use std::time::Duration;

impl Machine {
    /// Takes the run up again at `now`; `before` is when it was heard of last.
    pub(super) fn reopen(&mut self, before: Timestamp, now: Timestamp) {
        // What is copied from another run took none of this one's time.
        let before = if std::mem::take(&mut self.branched) { Timestamp::default() } else { before };
        self.outages.push((before, now));
        if self.ended.take().is_some() {
            self.counts_from = now;
        }
        self.stop = None;
        self.concluding = false;
        self.aborted_by = None;
        self.announced_ready = 0;
        self.deferred = 0;
        self.postpones = false;
        self.agenda.clear();
        self.slots = self.slots.emptied();
        self.count_waiting(before);
        if !self.scopes.is_empty() {
            self.reopen_scope(ScopeId(0));
        }
        self.forget_ends();
    }

    /// What waited for a person did so until the run was heard of last.
    fn count_waiting(&mut self, before: Timestamp) {
        for node in &mut self.nodes {
            if let Some(since) = node.waiting.take() {
                node.waited += before.since(since);
            }
        }
    }

    /// What runs again has not ended, and is not what the run fails of.
    fn forget_ends(&mut self) {
        let mut ends = std::mem::take(&mut self.order_of_ends);
        ends.retain(|&id| self.node(id).state.status().is_some());
        let failed = |&&id: &&NodeId| {
            let node = self.node(id);
            node.state.status() == Some(StepStatus::Failed) && !node.tolerated && self.find(&node.path) == Some(id)
        };
        self.first_error = ends.iter().find(failed).copied();
        self.order_of_ends = ends;
    }

    fn reopen_scope(&mut self, scope: ScopeId) {
        for id in self.members(scope) {
            self.reopen_node(id);
        }
        for id in self.members(scope) {
            match self.node(id).state {
                NodeState::Waiting => self.count_dependencies(id),
                NodeState::Queued | NodeState::Expanding if self.is_early(id) => self.wait_again(id),
                _ => {}
            }
        }
        let left = self.members(scope).filter(|&id| self.node(id).state.status().is_none()).count();
        self.scope_mut(scope).left = left;
    }

    /// Whether a step that was about to begin must not: something before it runs again.
    fn is_early(&self, id: NodeId) -> bool {
        let node = self.node(id);
        let open = |&step: &usize| self.node(self.member(node.scope, step)).state.status().is_none();
        !node.resuming && node.attempt == node.base && self.step(id).depends_on.iter().any(open)
    }

    fn wait_again(&mut self, id: NodeId) {
        self.leave_slot(id);
        self.agenda.retain(|&on| on != id);
        self.node_mut(id).state = NodeState::Waiting;
        self.count_dependencies(id);
    }

    /// How much a step waits for, by how its dependencies stand now.
    fn count_dependencies(&mut self, id: NodeId) {
        let scope = self.node(id).scope;
        let dependencies = &self.step(id).depends_on;
        let open = |&&step: &&usize| self.node(self.member(scope, step)).state.status().is_none();
        let waits = dependencies.iter().filter(open).count();
        let node = self.node_mut(id);
        node.waits = waits;
        if waits == 0 {
            node.state = NodeState::Due;
            self.agenda.push_back(id);
        }
    }

    fn reopen_node(&mut self, id: NodeId) {
        match self.node(id).state {
            NodeState::Done(StepStatus::Completed) => self.look_at_unreported(id),
            NodeState::Done(StepStatus::Skipped) => {
                let upstream = matches!(self.node(id).skipped, Some((SkippedBecause::Upstream, _)));
                if upstream {
                    self.restart(id);
                } else {
                    self.look_at_unreported(id);
                }
            }
            NodeState::Done(StepStatus::Failed) if self.is_settled(id) => self.look_at_unreported(id),
            NodeState::Done(StepStatus::Failed | StepStatus::Cancelled) => self.reopen_ended(id),
            NodeState::Running if self.node(id).works() => self.take_up(id),
            NodeState::Starting | NodeState::Queued => self.queue(id),
            NodeState::Waiting | NodeState::Due | NodeState::Deciding | NodeState::Doomed => {
                let node = self.node_mut(id);
                node.doom = None;
                node.state = NodeState::Waiting;
            }
            NodeState::Deferred if self.node(id).works() => self.take_up(id),
            NodeState::Asking | NodeState::Deferred => {
                self.node_mut(id).state = NodeState::Asking;
                self.agenda.push_back(id);
            }
            NodeState::Resting | NodeState::Expanding => self.agenda.push_back(id),
            NodeState::Running | NodeState::Open | NodeState::Gathering | NodeState::Closing => self.reopen_inside(id),
        }
    }

    /// An iteration that has ended may still have to be recorded as such.
    fn look_at_unreported(&mut self, id: NodeId) {
        if matches!(self.node(id).kind, Kind::Repeat { .. }) && !self.node(id).reported {
            self.agenda.push_back(id);
        }
    }

    /// Whether a failure is settled: it does not count, and what comes after the step has begun with it, or nothing does.
    fn is_settled(&self, id: NodeId) -> bool {
        let node = self.node(id);
        if matches!(node.kind, Kind::Judge { .. }) {
            return true;
        }
        let dependents = || self.scope(node.scope).plan.dependents(node.step);
        let begun = |&step: &usize| {
            let dependent = self.node(self.member(node.scope, step));
            dependent.started.is_some() || dependent.state.status() == Some(StepStatus::Completed)
        };
        let nobody = dependents().is_empty();
        node.tolerated && node.is_member() && (nobody || dependents().iter().any(begun))
    }

    /// A step that failed or was cancelled.
    fn reopen_ended(&mut self, id: NodeId) {
        let node = self.node(id);
        let begun = match &node.kind {
            Kind::Plain | Kind::Repeat { .. } | Kind::Judge { .. } if node.cut.is_some() => return self.take_up(id),
            Kind::Group(scope) => scope.is_some(),
            Kind::Loop(run) => self.can_go_on(run),
            Kind::Body { .. } => true,
            Kind::Plain | Kind::Ask | Kind::Repeat { .. } | Kind::Judge { .. } => false,
        };
        if begun {
            self.forget_end(id);
            let node = self.node_mut(id);
            // The try counts as the first of its own.
            node.base = node.attempt.saturating_sub(1);
            self.reopen_inside(id);
        } else {
            self.restart(id);
        }
    }

    /// Whether a loop that has ended has something to do yet. One that used up its iterations begins anew.
    fn can_go_on(&self, run: &LoopRun) -> bool {
        !run.iterations.is_empty() && (self.has_open_iteration(run) || run.ended != Some(LoopEnd::Limit))
    }

    fn has_open_iteration(&self, run: &LoopRun) -> bool {
        let done =
            |id: NodeId| matches!(self.node(id).state, NodeState::Done(StepStatus::Completed | StepStatus::Skipped));
        run.iterations.iter().any(|&id| !done(id))
    }

    /// The step begins anew, with tries of its own.
    fn restart(&mut self, id: NodeId) {
        self.forget_end(id);
        let node = self.node_mut(id);
        node.again |= node.attempt > node.base;
        node.base = node.attempt;
        node.started = None;
        node.waited = Duration::ZERO;
        match &mut node.kind {
            Kind::Group(scope) => *scope = None,
            Kind::Loop(run) => **run = LoopRun::default(),
            _ => {}
        }
        if node.iterates().is_some() {
            self.queue(id);
        } else {
            self.node_mut(id).state = NodeState::Waiting;
        }
    }

    /// The last try of the step goes on where it was.
    fn take_up(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        if let Some(before) = node.cut.take() {
            // What it spent is counted with the rest of it.
            node.usage = *before;
            self.forget_end(id);
            let node = self.node_mut(id);
            node.started = None;
            node.waited = Duration::ZERO;
        }
        self.node_mut(id).resuming = true;
        self.queue(id);
    }

    fn forget_end(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        node.output = StepOutput::default();
        node.error = None;
        node.skipped = None;
        node.doom = None;
        node.tolerated = false;
        node.ended = None;
        node.truncated_inputs.clear();
        node.reported = false;
        node.cut = None;
    }

    /// What is inside of a step that holds others.
    fn reopen_inside(&mut self, id: NodeId) {
        self.node_mut(id).state = NodeState::Open;
        match self.node(id).kind {
            Kind::Group(Some(scope)) | Kind::Body { scope, .. } => self.reopen_scope(scope),
            Kind::Loop(_) => self.reopen_loop(id),
            _ => {}
        }
        self.agenda.push_back(id);
    }

    fn reopen_loop(&mut self, id: NodeId) {
        let run = self.loop_of(id);
        let (iterations, judge) = (run.iterations.clone(), run.judges.last().copied());
        let goes_on = self.has_open_iteration(run);
        for &iteration in &iterations {
            self.reopen_node(iteration);
        }
        if let Some(judge) = judge {
            self.reopen_judge(judge);
        }
        let active = iterations.iter().filter(|&&id| !self.is_over(id)).count();
        let last = iterations.last().is_some_and(|&last| !self.is_over(last));
        let run = self.loop_mut(id);
        run.active = active;
        run.announced = iterations.len();
        run.ending = false;
        if run.postponed.take().is_some() {
            // It was allowed to go on; what is left of the pause is waited for.
            run.phase = Phase::Granted;
        }
        if goes_on || matches!(run.ended, Some(LoopEnd::Failed | LoopEnd::Timeout | LoopEnd::Stopped)) {
            run.ended = None;
            run.failed = None;
        }
        if last {
            run.phase = Phase::Iterating;
        }
    }

    /// A judge that has answered has; one that was cancelled is asked again.
    fn reopen_judge(&mut self, id: NodeId) {
        let asked = matches!(self.node(id).state, NodeState::Done(StepStatus::Cancelled));
        self.reopen_node(id);
        if let (true, Kind::Judge { of, .. }) = (asked, &self.node(id).kind) {
            let of = *of;
            self.loop_mut(of).phase = Phase::Judging;
        }
    }

    /// Whether an iteration has ended, and that is recorded.
    fn is_over(&self, id: NodeId) -> bool {
        let node = self.node(id);
        node.state.status().is_some() && node.reported
    }
}
