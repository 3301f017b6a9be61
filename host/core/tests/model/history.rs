//! What was recorded, by path: where each end and each beginning stands.

use cofferdam_core::event::{Body, RunEvent, SkippedBecause, StepStatus};
use std::collections::{HashMap, HashSet};

/// A terminal record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) at: usize,
    pub(crate) status: StepStatus,
    /// A condition ended the scope.
    pub(crate) stop: bool,
}

#[derive(Default)]
pub(crate) struct History {
    /// Ends of each step and iteration, in order.
    pub(crate) ends: HashMap<String, Vec<Ended>>,
    /// For each loop, for each of its tries, where its iterations began.
    iterations: HashMap<String, Vec<Vec<usize>>>,
    /// Iterations that have begun, and whether they go on.
    open: HashMap<String, bool>,
    holders: HashSet<String>,
}

impl History {
    pub(crate) fn of(events: &[RunEvent]) -> Self {
        let mut history = Self::default();
        for (at, event) in events.iter().enumerate() {
            history.take(at, event);
        }
        history
    }

    fn take(&mut self, at: usize, event: &RunEvent) {
        let path = event.path.as_str();
        for (end, _) in path.match_indices(['.', '[']) {
            self.holders.insert(path.split_at(end).0.to_owned());
        }
        let stop = matches!(event.body, Body::StepSkipped { because: SkippedBecause::Stop, .. });
        let status = match &event.body {
            Body::StepFinished { status, .. } => *status,
            Body::StepSkipped { .. } => StepStatus::Skipped,
            Body::StepCancelled { .. } => StepStatus::Cancelled,
            // The record of an iteration that works itself is that of its try.
            Body::LoopIterationFinished { status, .. } if self.open.get(path) == Some(&true) => *status,
            Body::LoopIterationStarted { .. } => {
                let owner = path.rsplit_once('[').map(|(owner, _)| owner).unwrap();
                self.iterations.get_mut(owner).and_then(|tries| tries.last_mut()).unwrap().push(at);
                self.ends.entry(path.to_owned()).or_default();
                self.open.insert(path.to_owned(), true);
                return;
            }
            Body::StepStarted { .. } => {
                self.iterations.entry(path.to_owned()).or_default().push(Vec::new());
                return;
            }
            _ => return,
        };
        self.open.insert(path.to_owned(), false);
        self.ends.entry(path.to_owned()).or_default().push(Ended { at, status, stop });
    }

    /// Where the end of this number stands; after everything when there is none.
    pub(crate) fn ended_at(&self, path: &str, number: usize) -> usize {
        self.ends.get(path).and_then(|ends| ends.get(number)).map_or(usize::MAX, |ended| ended.at)
    }

    /// Whether the end of this number is that of a scope which a condition ended.
    pub(crate) fn is_stopped(&self, path: &str, number: usize) -> bool {
        self.ends.get(path).and_then(|ends| ends.get(number)).is_some_and(|ended| ended.stop)
    }

    /// Whether there are records of something inside the step.
    pub(crate) fn holds_others(&self, path: &str) -> bool {
        self.holders.contains(path)
    }

    /// How many iterations a try of a loop began.
    pub(crate) fn iterations(&self, path: &str, opening: usize) -> usize {
        self.iterations.get(path).and_then(|tries| tries.get(opening)).map_or(0, Vec::len)
    }

    /// Where an iteration began.
    pub(crate) fn began_at(&self, path: &str, opening: usize, index: usize) -> usize {
        self.iterations[path][opening][index]
    }
}
