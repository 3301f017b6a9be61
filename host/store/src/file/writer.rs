//! The thread that changes the files of some runs: what waits for the same run is written under one lock and flushed
//! once.
//!
//! It must not know how a file is written.

use super::held::{Held, Missing};
use super::places::Places;
use super::prepared::Prepared;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::JournalError;
use std::collections::HashMap;
use tokio::sync::{mpsc, oneshot};

/// A change that waits.
pub(super) enum Job {
    Append(Prepared, Reply<u64>),
    Delete(RunId, Reply<()>),
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

impl Job {
    fn run(&self) -> &RunId {
        match self {
            Self::Append(prepared, _) => &prepared.run,
            Self::Delete(run, _) => run,
        }
    }
}

/// Does what comes until nobody is left who could ask.
pub(super) fn run(places: &Places, mut jobs: mpsc::Receiver<Job>) {
    let mut writer = Writer { places, open: HashMap::new() };
    while let Some(first) = jobs.blocking_recv() {
        let mut waiting = vec![first];
        while waiting.len() < limits::JOURNAL_GROUP {
            let Ok(next) = jobs.try_recv() else { break };
            waiting.push(next);
        }
        for group in by_run(waiting) {
            writer.change(group);
        }
    }
}

/// The jobs of each run in the order in which they came; the runs likewise.
fn by_run(jobs: Vec<Job>) -> Vec<Vec<Job>> {
    let mut places: HashMap<RunId, usize> = HashMap::new();
    let mut groups: Vec<Vec<Job>> = Vec::new();
    for job in jobs {
        let place = *places.entry(job.run().clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(job),
            None => groups.push(vec![job]),
        }
    }
    groups
}

struct Writer<'a> {
    places: &'a Places,
    /// Files that stay open, so that their ends need not be looked for.
    open: HashMap<RunId, Held>,
}

impl Writer<'_> {
    fn change(&mut self, group: Vec<Job>) {
        let mut appends = Vec::new();
        for job in group {
            match job {
                Job::Append(prepared, reply) => appends.push((prepared, reply)),
                Job::Delete(run, reply) => {
                    self.append(std::mem::take(&mut appends));
                    // A caller that left does not want to know.
                    let _ = reply.send(self.delete(&run));
                }
            }
        }
        self.append(appends);
    }

    fn append(&mut self, group: Vec<(Prepared, Reply<u64>)>) {
        let prepared: Vec<_> = group.iter().map(|(prepared, _)| prepared).collect();
        let outcomes = self.append_all(&prepared);
        for ((_, reply), outcome) in group.into_iter().zip(outcomes) {
            let _ = reply.send(outcome);
        }
    }

    /// Appends to one run.
    fn append_all(&mut self, group: &[&Prepared]) -> Vec<Result<u64, JournalError>> {
        let Some(run) = group.first().map(|prepared| prepared.run.clone()) else { return Vec::new() };
        let begins = group.iter().any(|prepared| prepared.expected_head == 0);
        let missing = if begins { Missing::Make } else { Missing::Leave };
        match Held::take(self.places, &run, self.open.remove(&run), missing) {
            Ok(Some((mut held, _locked))) => {
                let outcomes = held.append_all(self.places, group);
                if self.open.len() >= limits::FILE_STORE_OPEN {
                    self.open.clear();
                }
                self.open.insert(run, held);
                outcomes
            }
            Ok(None) => group
                .iter()
                .map(|prepared| Err(JournalError::Conflict { expected: prepared.expected_head, found: 0 }))
                .collect(),
            Err(error) => group.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    fn delete(&mut self, run: &RunId) -> Result<(), JournalError> {
        match Held::take(self.places, run, self.open.remove(run), Missing::Leave)? {
            Some((held, _locked)) => held.delete(self.places),
            None => Err(JournalError::NotFound(run.to_string())),
        }
    }
}
