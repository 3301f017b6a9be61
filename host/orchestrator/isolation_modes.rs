//! Modes of isolation that the embedder adds to those that are there.

use cofferdam_core::event::Changes;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{IsolationName, RunId};
use cofferdam_core::port::{BoxFuture, Isolation, StepDirs, StepEntry, TryEnd};
use cofferdam_core::spec::workflow::IsolationMode;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Gives each mode to whoever has it. The run's output directory is the same for all steps.
pub(super) struct IsolationModes {
    rest: Arc<dyn Isolation>,
    own: BTreeMap<IsolationName, Arc<dyn Isolation>>,
}

impl IsolationModes {
    /// These modes, and all others where they were.
    pub(super) fn beside(
        rest: Arc<dyn Isolation>,
        own: BTreeMap<IsolationName, Arc<dyn Isolation>>,
    ) -> Arc<dyn Isolation> {
        if own.is_empty() { rest } else { Arc::new(Self { rest, own }) }
    }

    fn of(&self, mode: &IsolationMode) -> Option<&Arc<dyn Isolation>> {
        match mode {
            IsolationMode::Own(name) => self.own.get(name),
            _ => None,
        }
    }
}

/// The same try where all steps share a directory.
fn shared(entry: &StepEntry) -> StepEntry {
    StepEntry { mode: IsolationMode::None, ..entry.clone() }
}

impl Isolation for IsolationModes {
    fn check<'a>(&'a self, modes: &'a BTreeSet<IsolationMode>) -> BoxFuture<'a, Result<Vec<String>, Fault>> {
        Box::pin(async move {
            let (own, rest): (Vec<_>, Vec<_>) = modes.iter().cloned().partition(|mode| self.of(mode).is_some());
            let mut warnings = self.rest.check(&rest.into_iter().collect()).await?;
            for mode in own {
                if let Some(own) = self.of(&mode) {
                    warnings.extend(own.check(&BTreeSet::from([mode])).await?);
                }
            }
            Ok(warnings)
        })
    }

    fn enter<'a>(&'a self, entry: &'a StepEntry) -> BoxFuture<'a, Result<Arc<StepDirs>, Fault>> {
        let Some(own) = self.of(&entry.mode) else { return self.rest.enter(entry) };
        Box::pin(async move {
            let around = self.rest.enter(&shared(entry)).await?;
            let step = own.enter(entry).await?.step.clone();
            Ok(Arc::new(StepDirs { step, out: around.out.clone() }))
        })
    }

    fn leave<'a>(&'a self, entry: &'a StepEntry, end: TryEnd) -> BoxFuture<'a, Option<Changes>> {
        let Some(own) = self.of(&entry.mode) else { return self.rest.leave(entry, end) };
        Box::pin(async move {
            let changes = own.leave(entry, end).await;
            self.rest.leave(&shared(entry), end).await;
            changes
        })
    }

    fn branch<'a>(&'a self, of: &'a RunId, into: &'a RunId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            for own in self.own.values() {
                own.branch(of, into).await?;
            }
            self.rest.branch(of, into).await
        })
    }

    fn discard<'a>(&'a self, run: &'a RunId, force: bool) -> BoxFuture<'a, Result<Option<PathBuf>, Fault>> {
        Box::pin(async move {
            let mut kept = None;
            for own in self.own.values() {
                kept = own.discard(run, force).await?.or(kept);
            }
            Ok(self.rest.discard(run, force).await?.or(kept))
        })
    }
}
