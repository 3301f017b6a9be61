//! All that can wake the executor.

use super::lasting::Fetched;
use super::mail::Posting;
use super::shared::MemoryAsked;
use crate::mailbox::Fetch;
use cofferdam_core::budget::{HoldId, Mark};
use cofferdam_core::event::{Body, Changes, StepOutput};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{AgentFailure, AgentOutput, Grant, Hold, JournalError, Need, StepEnd};
use cofferdam_core::run::{Instance, Untransformed};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::oneshot;

/// Something happened outside the loop.
#[derive(Debug)]
pub(crate) enum Wake {
    /// A try has ended.
    Ended { path: StepPath, attempt: u32, outcome: Result<AgentOutput, AgentFailure> },
    /// A try that was ended from outside has left its directory, in which it had changed something.
    Left { path: StepPath, attempt: u32, changes: Box<Changes> },
    /// The outputs that a message is made of were changed by plugins.
    Transformed { path: StepPath, attempt: u32, outcome: Result<Vec<(Untransformed, StepOutput)>, Fault> },
    /// The time of a step is over while a try of it is under way.
    TimedOut { path: StepPath, attempt: u32, whole: Duration },
    /// A step, or a try of it, records an event, and may wait until it is durable.
    Record { path: StepPath, attempt: Option<u32>, body: Body, done: Option<oneshot::Sender<Result<(), Fault>>> },
    /// Somebody waits until all that came before is recorded.
    Flush(oneshot::Sender<Result<(), Fault>>),
    /// Inputs were shortened in the message of a try, or none were.
    Shortened { path: StepPath, attempt: u32, inputs: Vec<String> },
    /// What was to be found out about a step is known.
    Answered { path: StepPath, instance: Instance, answer: Answer },
    /// An evaluation has ended, and what it held is free.
    Evaluated,
    /// Code inside the run sets a variable, and waits until that is durable.
    Set { path: StepPath, attempt: Option<u32>, key: String, value: Value, done: oneshot::Sender<Result<(), Fault>> },
    /// Code inside the run reads or changes the shared memory, and waits until a change is durable.
    Remember { path: StepPath, attempt: Option<u32>, asked: MemoryAsked },
    /// A memory that outlives the run was asked for code inside of it, and who asked waits until what came of it is recorded.
    Lasting { path: StepPath, attempt: Option<u32>, fetched: Box<Fetched>, done: oneshot::Sender<Result<(), Fault>> },
    /// A try is about to ask a model.
    Reserve { path: StepPath, attempt: u32, need: Need, reply: oneshot::Sender<Result<Grant, Fault>> },
    /// What was held back for a request is free.
    Released(HoldId),
    /// The same, of a run around this one.
    LetGo(Hold),
    /// So much time of the run's budget is over.
    Wall(Duration),
    /// The time that a try has by a budget is over.
    OwnWall { path: StepPath, attempt: u32, mark: Mark },
    /// Code inside the run writes a message.
    Post { path: StepPath, attempt: Option<u32>, posting: Posting },
    /// An agent wants what there is to read.
    Fetch { path: StepPath, attempt: u32, fetch: Fetch },
    /// The coordinator says something to people, and waits for whether that counts, and until it is recorded.
    Said { path: StepPath, body: Body, counts: oneshot::Sender<bool>, done: oneshot::Sender<Result<(), Fault>> },
    /// The coordinator's work is over.
    Coordinated(Result<AgentOutput, AgentFailure>),
    /// All steps have ended, and the coordinator has the last word.
    Closing,
    /// It has had the time for it.
    HoldOver,
    /// Code inside the run asks how a step has ended.
    Look { from: StepPath, name: String, reply: oneshot::Sender<Option<StepEnd>> },
    /// The rest before the next try is over.
    Due(StepPath),
    /// The time of a loop, group or include is over, unless it was begun anew since.
    Expired(StepPath),
    /// The run's time is over.
    Deadline,
    /// Somebody cancels the run.
    Cancelled,
    /// Somebody else has the right to write to the run.
    Fenced(JournalError),
}

/// What follows from an evaluation, a closure or a person.
#[derive(Debug)]
pub(crate) enum Answer {
    /// These events, in order.
    Events(Vec<Body>),
    /// The loop goes on.
    GoOn,
    /// The step may begin, if its condition holds.
    Admitted,
    /// The step never may.
    Deadlock(Fault),
    /// Whoever starts the steps has nothing more to do, or failed; none: it did not say so in time.
    Over(Option<Result<(), Fault>>),
}

impl From<Body> for Answer {
    fn from(body: Body) -> Self {
        Self::Events(vec![body])
    }
}
