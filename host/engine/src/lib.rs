//! Performs the machine's effects: attempts, the agent loop, the gateway, cancellation, the event bus.
//!
//! It knows the core and tokio, and no adapter: models, tools, journals and sinks come in through ports. Reading
//! order: [`Executor`] (the loop of one run), then what it starts.

mod executor;

mod agent;
mod answer;
mod attempt;
mod bus;
mod chain;
mod clock;
mod closure;
mod context;
mod context_files;
mod context_tools;
pub mod contract;
mod coordinator;
mod delegate_tool;
mod evaluate;
mod gateway;
mod lasting;
mod mail_tools;
mod mailbox;
mod memory_tools;
mod person;
mod purse;
mod recall_tools;
mod recollection;
mod recorder;
mod replay;
mod shared_conversation;

pub use agent::LlmAgent;
pub use bus::{Patience, deliver};
pub use clock::{FixedRandomness, TokioClock};
pub use coordinator::{COORDINATOR_PROMPT, Coordinator, CoordinatorWake};
pub use executor::{
    DropCallback, DroppedMessage, Error, Executor, Holder, Pauses, Ports, RunRequest, RunSettings, asks_nothing_more,
    calls_nothing_more, questions_of, read_events, repeats_answers, repeats_approvals, uncarried,
};
pub use gateway::{Gateway, GatewayError, Listed, PermissionAnswer, PermissionHandler, PermissionRequest};
pub use lasting::{LastingEntry, LastingMemory};
pub use recollection::RunRecall;
pub use replay::{Difference, ReplayPorts, Replayed, replay};
pub use shared_conversation::{SharedConversation, SharedMessage};
