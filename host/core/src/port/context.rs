//! What code inside a run may know of the run and say to it.

use super::{BoxFuture, Hit, MemoryReply, MemoryRequest, Post, Receipt};
use crate::event::{StepOutput, StepStatus};
use crate::fault::Fault;
use crate::id::{RunId, StepPath};
use crate::message::Usage;
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The run, as one step of it sees it. The engine implements it; native agents, native tools and closures get one.
pub trait RunContext: Send + Sync {
    /// The run.
    fn run_id(&self) -> &RunId;

    /// SHA-256 over the document and its files: which version of the workflow runs.
    fn workflow_id(&self) -> &str;

    /// The step on whose behalf the code runs.
    fn path(&self) -> &StepPath;

    /// The time of the run.
    fn now(&self) -> Timestamp;

    /// A variable of the run.
    fn variable(&self, key: &str) -> Option<Value>;

    /// Sets a variable; done when the event is recorded. The last write in journal order wins. Setting
    /// `loop_continue` to false ends the innermost loop around the step after this iteration.
    ///
    /// # Errors
    /// When there are too many variables, the value is too large, or the run has ended.
    fn set_variable(&self, key: String, value: Value) -> BoxFuture<'_, Result<(), Fault>>;

    /// Reads or changes the shared memory; a change is done when it is recorded. [`SharedMemory`](super::SharedMemory) says it
    /// in words: `ctx.memory()`.
    ///
    /// # Errors
    /// When the step's agent may not, the memory refuses it, or the run has ended.
    fn remember(&self, _: MemoryRequest) -> BoxFuture<'_, Result<MemoryReply, Fault>> {
        let fault = Fault::step("no_run", "there is no run whose memory could be shared");
        Box::pin(std::future::ready(Err(fault)))
    }

    /// How a step stands that this one can see, by its id, or by its path in the run; none while it has not ended.
    fn step(&self, name: String) -> BoxFuture<'_, Option<StepEnd>>;

    /// Writes a message to another agent; done when it is recorded. Steps write to the coordinator, and it to them.
    ///
    /// # Errors
    /// When nobody may write here, the message is too long, or the run has ended. A message that reaches nobody is no error.
    fn post(&self, _: Post) -> BoxFuture<'_, Result<Receipt, Fault>> {
        Box::pin(std::future::ready(Err(no_messages())))
    }

    /// What retrieval memory has for a query, the best first; never what a later step of the same run gave.
    ///
    /// # Errors
    /// When the run has no retrieval memory, or that cannot be searched.
    fn recall(&self, _query: String, _limit: usize) -> BoxFuture<'_, Result<Vec<Hit>, Fault>> {
        Box::pin(std::future::ready(Err(no_recall())))
    }

    /// Tells people how the run goes, as its coordinator. `key` is the same for a repetition of the same call.
    ///
    /// # Errors
    /// When the code does not run for the coordinator, or the run has ended.
    fn narrate(&self, _: String, _key: Arc<str>) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Err(no_messages())))
    }

    /// Says what the run came to, as its coordinator. What was said first counts; says whether this did.
    ///
    /// # Errors
    /// As of [`Self::narrate`].
    fn summarize(&self, _: String) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin(std::future::ready(Err(no_messages())))
    }
}

/// Why nothing can be recalled where nothing is kept.
#[must_use]
pub fn no_recall() -> Fault {
    Fault::step("no_recall", "the run has no retrieval memory")
        .with_hint("`options: {memory: {recall: {}}}` of a document gives it one, as does `--recall`")
}

fn no_messages() -> Fault {
    Fault::step("no_run", "there is no run whose agents could write to each other")
}

/// A place outside of every run, for code that is called or tested by itself: there are no variables and no steps.
#[derive(Clone, Debug)]
pub struct Detached {
    run_id: RunId,
    path: StepPath,
}

impl Detached {
    /// A place with these names.
    #[must_use]
    pub fn new(run_id: RunId, path: StepPath) -> Self {
        Self { run_id, path }
    }
}

impl RunContext for Detached {
    fn run_id(&self) -> &RunId {
        &self.run_id
    }

    fn workflow_id(&self) -> &'static str {
        ""
    }

    fn path(&self) -> &StepPath {
        &self.path
    }

    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn variable(&self, _: &str) -> Option<Value> {
        None
    }

    fn set_variable(&self, key: String, _: Value) -> BoxFuture<'_, Result<(), Fault>> {
        let fault = Fault::step("no_run", format!("there is no run whose variable `{key}` could be set"));
        Box::pin(std::future::ready(Err(fault)))
    }

    fn step(&self, _: String) -> BoxFuture<'_, Option<StepEnd>> {
        Box::pin(std::future::ready(None))
    }
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq)]
pub struct StepEnd {
    /// Where in the run.
    pub path: StepPath,
    /// How.
    pub status: StepStatus,
    /// What it gave.
    pub output: StepOutput,
    /// Why it failed.
    pub error: Option<Fault>,
}

/// A closure that decides whether a step runs. It must be quick; it is called once for each instance of the step.
pub trait ConditionFn: Send + Sync {
    /// Whether the step runs.
    ///
    /// # Errors
    /// The step fails.
    fn decide(&self, ctx: Arc<dyn RunContext>) -> BoxFuture<'_, Result<bool, Fault>>;
}

/// A closure that changes a text on its way into a step or out of it. It may run again when a step is tried again.
pub trait TransformFn: Send + Sync {
    /// The changed text and data.
    ///
    /// # Errors
    /// The step fails.
    fn apply(&self, ctx: Arc<dyn RunContext>, value: StepOutput) -> BoxFuture<'_, Result<StepOutput, Fault>>;
}

/// A closure that decides whether a loop goes on; asked before each iteration. It is stateless: what has happened
/// comes in as data.
pub trait LoopFn: Send + Sync {
    /// Whether the next iteration begins.
    ///
    /// # Errors
    /// The loop fails.
    fn go_on(&self, ctx: Arc<dyn RunContext>, so_far: LoopView) -> BoxFuture<'_, Result<bool, Fault>>;
}

/// What a loop has done so far.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopView {
    /// The iteration that is about to begin, from 0.
    pub iteration: u32,
    /// What the iterations gave, in order.
    pub outputs: Vec<StepOutput>,
    /// Tokens of all iterations.
    pub usage: Usage,
    /// Since the loop began.
    pub elapsed: Duration,
}

/// The embedder's closures, by the names that documents use: `{native: NAME}`.
#[derive(Clone, Default)]
pub struct Natives {
    /// For `condition`.
    pub conditions: BTreeMap<Arc<str>, Arc<dyn ConditionFn>>,
    /// For `transform`.
    pub transforms: BTreeMap<Arc<str>, Arc<dyn TransformFn>>,
    /// For `while`.
    pub loops: BTreeMap<Arc<str>, Arc<dyn LoopFn>>,
}
