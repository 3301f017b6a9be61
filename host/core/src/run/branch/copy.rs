//! Which recorded events a branch takes over: of every step its last life, without what runs again.
//!
//! A step that was restarted has several lives in the record, and a process that took the run up stood between them. A
//! branch has one, so that it folds without the marks of other processes; they are not copied. What this must not know
//! is the document.

use super::affected::{Affected, around};
use crate::event::{Body, RunEvent, StepStatus};
use crate::id::StepPath;
use crate::variable::LOOP_CONTINUE;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// The positions of the events that are taken over, in order.
pub(super) fn positions(events: &[Arc<RunEvent>], affected: &Affected<'_>) -> Vec<usize> {
    let mut lives = Lives { kept: vec![true; events.len()], steps: BTreeMap::new(), events };
    for (position, event) in events.iter().enumerate() {
        lives.take(position, event);
    }
    let (reopened, begun) = (affected.reopened(), affected.begun());
    let stays = |event: &RunEvent| {
        let path = &event.path;
        let begins = matches!(event.body, Body::LoopIterationStarted { .. }) && begun.contains(path);
        let covered = if begins { around(path).any(|outer| affected.covers(&outer)) } else { affected.covers(path) };
        !(covered || reopened.contains(path) && is_end(event))
    };
    let kept = lives.kept.iter().enumerate().filter(|(_, kept)| **kept).map(|(position, _)| position);
    kept.filter(|&position| events.get(position).is_some_and(|event| stays(event))).collect()
}

/// What is kept of one step so far.
#[derive(Debug, Default)]
struct Life {
    /// Positions of its own events.
    own: Vec<usize>,
    /// Those of them that end it.
    ends: Vec<usize>,
    /// The last try that began.
    attempt: Option<u32>,
    opened: bool,
}

struct Lives<'e> {
    events: &'e [Arc<RunEvent>],
    kept: Vec<bool>,
    steps: BTreeMap<String, Life>,
}

impl Lives<'_> {
    fn take(&mut self, position: usize, event: &RunEvent) {
        // What a sub-agent does belongs to the life of its step.
        let path = &event.path.step();
        // A branch has a coordinator of its own, who has not heard of anything.
        if path.is_coordinator() || is_between_agents(&event.body) || is_of_process(&event.body) {
            return self.drop_event(position);
        }
        if path.is_root() {
            let marks =
                matches!(event.body, Body::RunResumed { .. } | Body::RunFinished { .. } | Body::RunStarted { .. });
            if marks {
                self.drop_event(position);
            }
            return;
        }
        // Nobody there would know what a message was about that came behind the end.
        if is_of_conversation(event) && self.has_completed(path) {
            return self.drop_event(position);
        }
        match &event.body {
            Body::StepReady {} => self.restart(path, Spared::Choices),
            Body::StepStarted { .. } if event.attempt.is_none() => self.begin_holder(path),
            Body::StepStarted { .. } => self.begin_try(path, event.attempt),
            _ => {}
        }
        if is_of_life(event) {
            for outer in around(path) {
                self.drop_ends(&outer);
            }
        }
        if is_end(event) {
            self.drop_ends_before(path, event);
        }
        let life = self.steps.entry(path.as_str().to_owned()).or_default();
        life.own.push(position);
        if is_end(event) {
            life.ends.push(position);
        }
        if matches!(event.body, Body::StepStarted { .. }) {
            life.opened = true;
            life.attempt = event.attempt;
        }
    }

    /// Whether the step has completed in its life so far.
    fn has_completed(&self, path: &StepPath) -> bool {
        let ends = self.steps.get(path.as_str()).map(|life| life.ends.as_slice()).unwrap_or_default();
        ends.iter().filter_map(|&end| self.events.get(end)).any(|end| {
            end.path == *path && matches!(end.body, Body::StepFinished { status: StepStatus::Completed, .. })
        })
    }

    /// A step that holds others, or asks, begins: anew, if it had begun before.
    fn begin_holder(&mut self, path: &StepPath) {
        if self.steps.get(path.as_str()).is_some_and(|life| life.opened) {
            self.drop_inside(path);
            self.restart(path, Spared::Readiness);
        }
    }

    /// A try begins: the next of the same life, the last one once more, or the first after an end.
    fn begin_try(&mut self, path: &StepPath, attempt: Option<u32>) {
        let Some(life) = self.steps.get(path.as_str()).filter(|life| !life.ends.is_empty()) else { return };
        if life.attempt == attempt {
            self.drop_ends(path);
        } else {
            self.restart(path, Spared::Readiness);
        }
    }

    /// What came before is another life.
    fn restart(&mut self, path: &StepPath, spared: Spared) {
        let Some(life) = self.steps.get_mut(path.as_str()) else { return };
        let own = std::mem::take(life).own;
        let (stay, go): (Vec<usize>, Vec<usize>) = own
            .into_iter()
            .partition(|&position| self.events.get(position).is_some_and(|event| spared.spares(&event.body)));
        go.into_iter().for_each(|position| self.drop_event(position));
        if let Some(life) = self.steps.get_mut(path.as_str()) {
            life.own = stay;
        }
        if spared == Spared::Choices {
            self.drop_inside(path);
        }
    }

    fn drop_inside(&mut self, path: &StepPath) {
        let text = path.as_str();
        let range = (Bound::Excluded(text), Bound::Unbounded);
        let inside = |name: &&String| name.get(text.len()..).is_some_and(|rest| rest.starts_with(['.', '[']));
        let near = self.steps.range::<str, _>(range).map(|(name, _)| name).take_while(|name| name.starts_with(text));
        let names: Vec<String> = near.filter(inside).cloned().collect();
        for name in names {
            for position in self.steps.remove(&name).unwrap_or_default().own {
                let stays = self.events.get(position).is_some_and(|event| outlives(&event.body));
                if !stays {
                    self.drop_event(position);
                }
            }
        }
    }

    fn drop_ends(&mut self, path: &StepPath) {
        let Some(life) = self.steps.get_mut(path.as_str()) else { return };
        let ends: BTreeSet<usize> = std::mem::take(&mut life.ends).into_iter().collect();
        life.own.retain(|position| !ends.contains(position));
        ends.into_iter().for_each(|position| self.drop_event(position));
    }

    /// Of two ends of one kind the last counts; what ended a loop comes before the end of its step.
    fn drop_ends_before(&mut self, path: &StepPath, by: &RunEvent) {
        let Some(life) = self.steps.get_mut(path.as_str()) else { return };
        let kind = |position: usize| self.events.get(position).map(|event| end_of(event));
        let same = |&position: &usize| {
            let whole = matches!(by.body, Body::LoopFinished { .. }) && kind(position) == Some(Some(End::Step));
            whole || kind(position) == Some(end_of(by))
        };
        let Some(last) = life.ends.iter().copied().rfind(same) else { return };
        let (gone, ends): (Vec<usize>, Vec<usize>) = life.ends.iter().partition(|&&position| position <= last);
        life.own.retain(|position| !gone.contains(position));
        life.ends = ends;
        gone.into_iter().for_each(|position| self.drop_event(position));
    }

    fn drop_event(&mut self, position: usize) {
        if let Some(kept) = self.kept.get_mut(position) {
            *kept = false;
        }
    }
}

/// What of a step's own events belongs to all of its lives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spared {
    Choices,
    /// Also what brought the step about.
    Readiness,
}

impl Spared {
    fn spares(self, body: &Body) -> bool {
        let brought = matches!(body, Body::StepReady {} | Body::LoopIterationStarted { .. });
        matches!(body, Body::BranchChosen { .. } | Body::VariableSet { .. } | Body::LoopIterationStarted { .. })
            || is_of_memory(body)
            || (self == Self::Readiness && brought)
    }
}

/// Whether what happened in a step holds also after the step around it began anew: a variable is the run's, a signal
/// is the loop's.
fn outlives(body: &Body) -> bool {
    is_of_memory(body) || matches!(body, Body::VariableSet { key, .. } if key != LOOP_CONTINUE)
}

/// Whether an event changes the shared memory, which is the run's as variables are, or what the run knows of it.
fn is_of_memory(body: &Body) -> bool {
    matches!(body, Body::MemoryWritten { .. } | Body::MemoryDeleted { .. } | Body::MemorySeen(_))
}

/// Whether an event is about a message on its way; that an agent has read one belongs to its try.
fn is_between_agents(body: &Body) -> bool {
    matches!(body, Body::MessagePosted(_) | Body::MessageDropped(_))
}

/// Whether an event is of what an agent does in its conversation, and of nothing that others know of.
fn is_of_conversation(event: &RunEvent) -> bool {
    let of_try = event.body.is_of_turn() || matches!(event.body, Body::MessageDelivered(_) | Body::Warning { .. });
    of_try && event.attempt.is_some()
}

/// Whether an event tells how a run stood that a branch does not go on as: it has budgets of its own, and takes up what waited.
fn is_of_process(body: &Body) -> bool {
    matches!(body, Body::BudgetWarning(_) | Body::BudgetExhausted(_) | Body::StepWaiting(_))
}

/// What an event ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Step,
    Iteration,
    Loop,
    /// A try of a step that holds others, of which another follows; it may go on all the same when the run is taken up.
    Try,
}

fn end_of(event: &RunEvent) -> Option<End> {
    match &event.body {
        Body::StepFinished { .. } | Body::StepSkipped { .. } | Body::StepCancelled { .. } => Some(End::Step),
        Body::LoopIterationFinished { .. } => Some(End::Iteration),
        Body::LoopFinished { .. } => Some(End::Loop),
        Body::StepRetrying { .. } if event.attempt.is_none() => Some(End::Try),
        _ => None,
    }
}

fn is_end(event: &RunEvent) -> bool {
    end_of(event).is_some()
}

/// Whether the event tells that its step, and whatever holds it, had not ended yet.
fn is_of_life(event: &RunEvent) -> bool {
    let begins = matches!(
        event.body,
        Body::StepReady {} | Body::StepStarted { .. } | Body::StepRetrying { .. } | Body::LoopIterationStarted { .. }
    );
    begins || is_end(event)
}
