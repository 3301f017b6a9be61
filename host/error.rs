//! Why an entry point gave no result: nothing ran, or nothing could be recorded.

use crate::orchestrator::FetchError;
use cofferdam_core::diagnostic::Diagnostics;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{JournalError, Owner};
use cofferdam_engine::{Difference, GatewayError};
use std::sync::Arc;

/// Nothing ran, or nothing could be recorded. What steps did, failures included, is in the result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The orchestrator was closed.
    #[error("the orchestrator is closed")]
    Closed,
    /// The document is not valid.
    #[error("the document is not valid:\n{0}")]
    Invalid(#[from] Diagnostics),
    /// A run cannot go on with a document that is another one than it was started with.
    #[error("the document of run `{run}` has changed since it was started: {}", names(.changes))]
    Changed {
        /// The run.
        run: RunId,
        /// What changed, file by file.
        changes: Vec<SourceChange>,
    },
    /// A replay came to something else than the record has.
    #[error("run `{run}` differs from its record at event {}: {}", .shown.seq, .shown.what)]
    Differs {
        /// The run.
        run: RunId,
        /// The first difference.
        difference: Box<Difference>,
        /// The same without the content of sensitive steps.
        shown: Box<Difference>,
    },
    /// The inputs are not those of the document.
    #[error("the inputs do not fit the document:\n{0}")]
    Inputs(Diagnostics),
    /// The run cannot start; every reason.
    #[error("the run cannot start: {}", join(.0))]
    Refused(Vec<Fault>),
    /// No plan came of a goal.
    #[error("no plan came of the goal: {fault}")]
    NoPlan {
        /// The run in which it was tried.
        run: RunId,
        /// Why.
        fault: Box<Fault>,
    },
    /// A plan was made, and whoever was asked did not approve it.
    #[error("the plan was not approved{}", .why.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    PlanDenied {
        /// The run in which it was made.
        run: RunId,
        /// What was said.
        why: Option<String>,
    },
    /// A step cannot be added.
    #[error("step `{step}` cannot be added: {message}")]
    Step {
        /// Its name.
        step: String,
        /// Why.
        message: String,
    },
    /// An agent cannot be taken.
    #[error("{message}")]
    Agent {
        /// Why.
        message: String,
    },
    /// Agents did not clean up; every one.
    #[error("not everything was cleaned up: {}", join(.0))]
    Shutdown(Vec<Fault>),
    /// Two sources of tools offer the same name.
    #[error(transparent)]
    Tools(#[from] GatewayError),
    /// Another process works on the run now, since this one was silent for too long. What this one did since then is not recorded.
    #[error("{} took over run `{run}`", .by.as_ref().map_or_else(|| "another process".to_owned(), Owner::process))]
    TakenOver {
        /// The run.
        run: RunId,
        /// Which process, where that is known.
        by: Option<Owner>,
    },
    /// A store failed.
    #[error("the journal failed: {0}")]
    Journal(#[from] JournalError),
    /// A plugin cannot be fetched or pushed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The settings contradict each other.
    #[error("{0}")]
    Settings(String),
}

/// A file that a run was started from and that is another one now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceChange {
    /// The file, as the user named it or relative to the document.
    pub path: String,
    /// Its text when the run was started; none when it was no part of it. Of a file that goes with prompts neither text is
    /// here: its digest alone was recorded.
    pub before: Option<Arc<str>>,
    /// Its text now; none when it is no part of it any more.
    pub now: Option<Arc<str>>,
}

fn names(changes: &[SourceChange]) -> String {
    let names: Vec<String> = changes.iter().map(|change| format!("`{}`", change.path)).collect();
    names.join(", ")
}

fn join(faults: &[Fault]) -> String {
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl From<cofferdam_engine::Error> for Error {
    fn from(error: cofferdam_engine::Error) -> Self {
        match error {
            cofferdam_engine::Error::Refused(faults) => Self::Refused(faults),
            cofferdam_engine::Error::TakenOver { run, by } => Self::TakenOver { run, by },
            cofferdam_engine::Error::Journal(error) => Self::Journal(error),
        }
    }
}
