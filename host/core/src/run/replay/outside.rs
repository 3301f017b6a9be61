//! What nothing in a run leads to: somebody stops it, or the time of it or of a step is over.
//!
//! Neither is an event. It is known from what followed: how the run or the step ended, and that something was cut short.

use super::Answers;
use super::owed::owner;
use super::walk::Walk;
use crate::event::{Body, LoopEnd, RunEvent, RunReason, RunStatus, StepStatus};
use crate::id::StepPath;
use crate::run::Stop;
use crate::run::machine::Machine;
use crate::run::node::{Kind, NodeState};
use std::sync::Arc;

/// What is known of the part of a record that one process wrote.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outside {
    /// How many events it has.
    length: usize,
    /// How it may have been stopped.
    stop: Option<Stop>,
}

impl Outside {
    /// Of the part that begins with the first of these events.
    pub(super) fn of_part(rest: &[Arc<RunEvent>]) -> Self {
        let next = rest.iter().skip(1).position(|event| matches!(event.body, Body::RunResumed { .. }));
        let length = next.map_or(rest.len(), |next| next + 1);
        let end = rest.iter().take(length).find_map(|event| match &event.body {
            Body::RunFinished { status, reason, error, .. } => Some((*status, *reason, error)),
            _ => None,
        });
        let stop = match end {
            // A process that died, or could not record, may have been stopped before.
            None => Some(Stop::Cancelled),
            Some((_, _, Some(error))) if error.code == "record_too_large" => Some(Stop::Cancelled),
            Some((RunStatus::Cancelled, _, _)) => Some(Stop::Cancelled),
            Some((RunStatus::Waiting, Some(RunReason::Budget), _)) => Some(Stop::Paused),
            Some((_, Some(reason), _)) if reason != RunReason::Aborted => Some(Stop::Reason(reason)),
            Some(_) => None,
        };
        Self { length, stop }
    }
}

impl<A: Answers> Walk<'_, A> {
    /// The step failed because its time was over: the machine hears of it.
    pub(super) fn expire_if_recorded(&mut self, event: &RunEvent) {
        let over = matches!(event.body, Body::LoopFinished { because: LoopEnd::Timeout, .. })
            || self.is_overdue(&event.path, &event.body);
        if over {
            self.expire(&event.path.clone());
        }
    }

    /// Whether an event says that the time of its step was over.
    pub(super) fn is_overdue(&self, path: &StepPath, body: &Body) -> bool {
        let Body::StepFinished { error: Some(error), .. } = body else { return false };
        self.answers.overdue(&self.machine, path).is_some_and(|fault| fault == *error)
    }

    /// The time of a loop, group or include is over; says whether that is news.
    fn expire(&mut self, path: &StepPath) -> bool {
        let Some(fault) = self.answers.overdue(&self.machine, path) else { return false };
        let known = self.machine.find(path).is_none_or(|id| {
            let node = self.machine.node(id);
            let open = [NodeState::Open, NodeState::Resting, NodeState::Expanding, NodeState::Gathering];
            node.works()
                || node.expired.is_some()
                || !open.contains(&node.state)
                // Before it is open for the first time nobody looks at its time.
                || (node.state == NodeState::Expanding && !node.watched)
        });
        if known {
            return false;
        }
        let effects = self.machine.expire(path, fault);
        self.owed.take_in(effects, self.at);
        true
    }

    /// The run was stopped before its end, as its end says.
    pub(super) fn stop_if_recorded(&mut self) {
        if self.record.get(self.at).is_some_and(|event| matches!(event.body, Body::RunFinished { .. })) {
            self.stop();
        }
    }

    fn stop(&mut self) -> bool {
        let Some(stop) = self.outside.stop.filter(|_| self.machine.stop.is_none()) else { return false };
        let effects = self.machine.stop(stop);
        self.owed.take_in(effects, self.at);
        true
    }

    /// Lets what may have cut an event's step short do so: the time of a step around it, then a stop. Says whether there
    /// was something.
    pub(super) fn interfere(&mut self, event: &RunEvent) -> bool {
        let cuts = match &event.body {
            Body::StepCancelled { .. } | Body::LoopFinished { because: LoopEnd::Stopped, .. } => true,
            Body::StepFinished { status, .. } => *status == StepStatus::Failed,
            _ => false,
        };
        if !cuts {
            return false;
        }
        let around: Vec<StepPath> = around(&event.path).collect();
        if around.iter().any(|path| self.ends_overdue(path) == Some(true) && self.expire(path)) {
            return true;
        }
        // Of a record that stops before, nobody knows which it was: the smallest is tried first.
        let cut_off = |path: &StepPath| self.ends_overdue(path).is_none();
        let unknown: Vec<&StepPath> = around.iter().filter(|path| cut_off(path)).collect();
        unknown.into_iter().any(|path| self.expire(path)) || self.stop()
    }

    /// Whether the step at a path ends because its time is over; none when this part of the record does not tell.
    fn ends_overdue(&self, path: &StepPath) -> Option<bool> {
        let fault = self.answers.overdue(&self.machine, path)?;
        let length = self.outside.length;
        let begun = self
            .record
            .iter()
            .take(self.at + 1)
            .rposition(|event| matches!(event.body, Body::RunStarted { .. } | Body::RunResumed { .. }))?;
        let rest = self.record.iter().take(begun + length).skip(self.at);
        rest.filter(|event| event.path == *path).find_map(|event| match &event.body {
            Body::LoopFinished { because, .. } => Some(*because == LoopEnd::Timeout),
            Body::StepFinished { error, .. } => Some(error.as_ref() == Some(&fault)),
            Body::StepRetrying { .. } | Body::StepCancelled { .. } => Some(false),
            _ => None,
        })
    }

    /// Whether nothing may begin at a step any more.
    pub(super) fn is_cut(&self, path: &StepPath) -> bool {
        is_cut(&self.machine, path)
    }

    /// Whether nothing inside of a step is at work.
    fn is_at_rest(&self, path: &StepPath) -> bool {
        let inside = |inner: &StepPath| {
            inner.as_str().strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with(['[', '.']))
        };
        let works = [NodeState::Running, NodeState::Asking];
        !self.machine.nodes.iter().any(|node| works.contains(&node.state) && inside(&node.path))
    }

    /// Whether an iteration was on its way before others took the last room of the run.
    pub(super) fn was_on_its_way(&mut self, event: &RunEvent) -> bool {
        let (Body::LoopIterationStarted { index }, Some(path)) = (&event.body, owner(&event.path)) else {
            return false;
        };
        let full = |id: &_| self.machine.lack_of_room(*id).is_some();
        let Some(id) = self.machine.find(&path).filter(full) else { return false };
        let Kind::Loop(run) = &mut self.machine.node_mut(id).kind else { return false };
        let next = run.ending && run.ended.is_none() && u32::try_from(run.iterations.len()) == Ok(*index);
        if next {
            run.ending = false;
            self.owed.forget(&path);
        }
        next
    }

    /// Whether an event can only be the end of what was cut short, though the walk heard of that too late to derive it.
    pub(super) fn may_be_cut_short(&self, event: &RunEvent) -> bool {
        if !self.is_cut(&event.path) {
            return false;
        }
        let owed = self.owed.event_of(&self.machine, &event.path).map(|owed| &owed.body);
        match &event.body {
            Body::StepCancelled { .. } => !matches!(owed, Some(Body::StepRetrying { .. } | Body::StepFinished { .. })),
            Body::LoopFinished { because, iterations } => {
                let begun = self.machine.find(&event.path).is_some_and(|id| match &self.machine.node(id).kind {
                    Kind::Loop(run) => u32::try_from(run.iterations.len()) == Ok(*iterations),
                    _ => false,
                });
                begun && matches!(because, LoopEnd::Stopped | LoopEnd::Timeout) && self.is_at_rest(&event.path)
            }
            // It would have been tried again.
            Body::StepFinished { status: StepStatus::Failed, error: Some(error), .. } => {
                let retried = matches!(owed, Some(Body::StepRetrying { error: retried, .. }) if retried == error);
                retried || self.is_overdue(&event.path, &event.body)
            }
            _ => false,
        }
    }
}

fn is_cut(machine: &Machine, path: &StepPath) -> bool {
    let id = machine.find(path).or_else(|| machine.find(&owner(path)?));
    id.is_some_and(|id| machine.is_halted(id) || machine.node(id).expired.is_some())
}

/// The steps around a path, the innermost first.
fn around(path: &StepPath) -> impl Iterator<Item = StepPath> + use<> {
    let text = path.to_string();
    let ends: Vec<usize> = text.match_indices(['.', '[']).map(|(at, _)| at).rev().collect();
    ends.into_iter().filter_map(move |end| text.get(..end).map(StepPath::from)).filter(|path| !path.is_root())
}
