//! Cofferdam runs workflows of LLM agents; everything that a third party wrote runs as a sandboxed WebAssembly
//! component.
//!
//! [`Orchestrator`] is the one type to learn. It is built once, shared everywhere, and owns configuration, not runs:
//!
//! ```
//! use cofferdam::{Orchestrator, RunOptions, Workflow, llm::Scripted};
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let orchestrator = Orchestrator::builder().model(Scripted::answering("Hello!")).build()?;
//! let workflow = Workflow::parse("name: greet\nsteps: [{id: hi, instructions: Say hello}]", ".")?;
//! let result = orchestrator.run_flow(&workflow, RunOptions::default()).await?;
//! assert_eq!(result.final_output(), "Hello!");
//! orchestrator.close().await;
//! # Ok::<(), cofferdam::Error>(()) }).unwrap();
//! ```

mod orchestrator;
mod workflow;

mod call;
mod changes;
mod compose;
mod error;
mod grants;
mod lock;
mod mounts;
mod replace;
mod secrets;
mod servers;
mod sources;
mod stream;
mod tracer;

pub mod archive;
pub mod diff;
pub mod sink;
pub mod tape;
pub mod testing;

pub use call::Call;
pub use changes::source_changes;
pub use cofferdam_child::kill_all as kill_programs;
pub use cofferdam_core::policy::Trust;
pub use cofferdam_tools::{ExecSettings, confined as confined_command};
pub use compose::model_catalog;
pub use error::{Error, SourceChange};
pub use grants::{GrantPolicy, ProjectPlugin};
pub use lock::{LOCK_FILE, LockEntry, LockError, alone_in};
pub use orchestrator::{
    AgentHandle, AgentResult, AnswerKind, Builder, CloseReport, DeadLetter, Delivery, FetchError, Fetched, ForkOptions,
    GoalPlan, KeptAnswer, OfferedTool, OfferedTools, Orchestrator, PluginCheck, RecallChoice, RecordedRun, Registries,
    RegistryAccess, ResumeOptions, RunBranch, RunOptions, ServicePlugin, SinkStanding, TransferReport, Undecided,
    Update, UserDirs, WaitingRun, Wish,
};
pub use replace::{replace, replace_through};
pub use secrets::SecretSource;
pub use servers::{ProjectServer, ServerPolicy};
pub use stream::{
    Chunk, ChunkHandler, ChunkKind, ChunkMedia, ChunkMetadata, ChunkTool, Stream, StreamMetadata, StreamOptions,
    TextReader,
};
pub use tracer::{Span, SpanEnd, SpanEvent, SpanId, SpanKind, Tracer};
pub use workflow::{
    AgentConfig, AgentRef, Condition, EngineHandle, EngineRun, EngineStep, Flow, InputText, Mode, Step, StepHandle,
    Transform, Workflow, WorkflowAgent, WorkflowAgentStats, WorkflowConfig, WorkflowContext, WorkflowEngine,
    loop_condition,
};

/// The laws that transforms, conditions, mailbox stores and sinks keep, for implementations of an embedder's own.
pub use cofferdam_engine::contract;

pub use cofferdam_core as core;
pub use cofferdam_llm as llm;
pub use cofferdam_plugin as plugin;
pub use cofferdam_registry as registry;
pub use cofferdam_store as store;

pub use cofferdam_engine::{
    COORDINATOR_PROMPT, Coordinator, CoordinatorWake, Difference, DroppedMessage, LastingEntry, LastingMemory, Listed,
    Pauses, PermissionAnswer, PermissionRequest, Replayed, SharedMessage,
};

pub use cofferdam_core::event::{Decision, OpenApproval, OpenQuestion};
pub use cofferdam_core::memory::{MemoryChange, MemoryEntry, MemoryItem};
pub use cofferdam_core::model_options::ModelOptions;
pub use cofferdam_core::port::{
    Agent, Approval, Calls, Hit, Journal, Memo, Model, Recall, Search, SharedMemory, Sink, Tool,
};
pub use cofferdam_core::run::{RunResult, StepResult};
pub use cofferdam_core::spec::workflow::{RecallKind, RecallSettings};

/// Runs the examples of the page for users of another library.
#[cfg(doctest)]
#[doc = include_str!("docs/agenticgokit.md")]
pub struct AgenticGoKitPage;
