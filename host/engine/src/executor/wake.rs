//! All that can wake the executor.

use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{AgentFailure, AgentOutput};
use tokio::sync::oneshot;

/// Something happened outside the loop.
#[derive(Debug)]
pub(crate) enum Wake {
    /// A try has ended.
    Ended { path: StepPath, attempt: u32, outcome: Result<AgentOutput, AgentFailure> },
    /// A try records an event, and may wait until it is durable.
    Record { path: StepPath, attempt: u32, body: Body, done: Option<oneshot::Sender<Result<(), Fault>>> },
    /// An evaluation has an answer.
    Decided { path: StepPath, warning: Option<String>, body: Body },
    /// The rest before the next try is over.
    Due(StepPath),
    /// The time of a loop is over.
    Expired(StepPath),
    /// The run's time is over.
    Deadline,
    /// Somebody cancels the run.
    Cancelled,
}
