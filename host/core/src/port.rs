//! The ports: what the core and the engine need of the world, each a small trait with a contract.
//!
//! Ports return boxed futures and streams and know no runtime. Dropping a future cancels it. Adapters live on
//! floor 2; only the composition root names them.

mod agent;
mod approver;
mod clock;
mod context;
mod isolation;
mod journal;
mod kept;
mod mailbox;
mod mailbox_store;
mod memory;
mod model;
mod past;
mod pure;
mod purse;
mod randomness;
mod recall;
mod recorder;
mod redactor;
mod sink;
mod sources;
mod starter;
mod state;
mod tool;

pub use agent::{Agent, AgentContext, AgentFailure, AgentInput, AgentOutput, AgentQuestion, ToolReply, Toolbox};
pub use approver::{Answer, Approval, Approvals, Approver, Calls, Inquiry, Question, Remembered, Seal};
pub use clock::Clock;
pub use context::{ConditionFn, Detached, LoopFn, LoopView, Natives, RunContext, StepEnd, TransformFn, no_recall};
pub use isolation::{DirHandle, Isolation, StepDirs, StepEntry, TryEnd};
pub use journal::{
    Append, BlobId, Durability, Journal, JournalError, Lease, LeaseRequest, Owner, Page, Record, RecordBody, RunFilter,
    RunIndex, RunPage, RunRow, Spilled, SpilledPart,
};
pub use kept::Kept;
pub use mailbox::{Mailbox, NoMail, Post, Receipt};
pub use mailbox_store::{MailboxStore, Mailboxes};
pub use memory::{MemoryReply, MemoryRequest, SharedMemory};
pub use model::{
    Asker, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelSettings, ModelStream, Models, ResultTool,
    ToolChoice, ToolSpec,
};
pub use past::{Ended, PastAttempt, PastCall, PastTry, PastTurn};
pub use pure::{Choice, Condition, Item, ItemValue, Outcome, PureContext, PurePlugins, PureVerdict, Transform};
pub use purse::{Grant, Hold, Need, Purse, Unlimited};
pub use randomness::Randomness;
pub use recall::{Hit, KeptMemo, Memo, Recall, Search};
pub use recorder::{CancelFlag, Recorder};
pub use redactor::{
    NoRedactor, Redactor, redact_event, redact_fault, redact_map, redact_message, redact_text, redact_value,
};
pub use sink::{Ack, Batch, Pressure, Rejection, Sink, Want};
pub use sources::{SourceError, SourceFile, Sources};
pub use starter::{Starter, Team, Worker};
pub use state::{Put, PutOne, Puts, Quota, State, StateEntry};
pub use tool::{Delegate, Effects, Invoke, Nested, Task, Tool, ToolContext, ToolDefinition, ToolOutput};

/// A future on the heap that may move between threads.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream on the heap that may move between threads.
pub type BoxStream<'a, T> = std::pin::Pin<Box<dyn futures_core::Stream<Item = T> + Send + 'a>>;
