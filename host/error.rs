//! Why an entry point gave no result: nothing ran, or nothing could be recorded.

use crate::orchestrator::FetchError;
use cofferdam_core::diagnostic::Diagnostics;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::JournalError;
use cofferdam_engine::GatewayError;

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
    /// The inputs are not those of the document.
    #[error("the inputs do not fit the document:\n{0}")]
    Inputs(Diagnostics),
    /// The run cannot start; every reason.
    #[error("the run cannot start: {}", join(.0))]
    Refused(Vec<Fault>),
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

fn join(faults: &[Fault]) -> String {
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl From<cofferdam_engine::Error> for Error {
    fn from(error: cofferdam_engine::Error) -> Self {
        match error {
            cofferdam_engine::Error::Refused(faults) => Self::Refused(faults),
            cofferdam_engine::Error::Journal(error) => Self::Journal(error),
        }
    }
}
