//! Tools: native ones, components, an embedder's own.

use super::{BoxFuture, CancelFlag, Kept, Recorder, RunContext, StepDirs, ToolReply};
use crate::fault::Fault;
use crate::id::{LocalName, RunId, StepPath, ToolName};
use crate::policy::Narrowings;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// One source of tools: a plugin, or the native tools of one crate.
///
/// Only the gateway calls it, after it has checked the arguments against the definition's schema and asked for
/// permission. Several calls may run at once. Dropping the future of a call ends it; its effects up to then stay.
pub trait Tool: Send + Sync {
    /// What it offers. Constant for the lifetime of the value.
    fn definitions(&self) -> &[ToolDefinition];

    /// Runs one of them.
    ///
    /// # Errors
    /// The tool's own error, a trap, a limit or a refusal of the host, told apart by the fault's code.
    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        name: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>>;
}

/// What a tool says of itself. Meaning of the effects: the annotations of the Model Context Protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolDefinition {
    /// The name without the plugin's alias.
    pub name: LocalName,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it does, for models and people.
    pub description: String,
    /// JSON Schema 2020-12 of the arguments, root `type: object`.
    pub input_schema: Arc<Value>,
    /// JSON Schema of the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Arc<Value>>,
    /// What it does to the world.
    pub effects: Effects,
    /// Arguments that make sense.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Value>,
}

/// What a tool does to the world. Absent means the cautious answer. Of a plugin, `read_only` and `idempotent` are
/// claims; the adapter clears those that its grants could belie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// Changes nothing.
    #[serde(default)]
    pub read_only: bool,
    /// May destroy what is there.
    #[serde(default)]
    pub destructive: bool,
    /// Doing it twice is doing it once.
    #[serde(default)]
    pub idempotent: bool,
    /// Talks to the world outside.
    #[serde(default)]
    pub open_world: bool,
    /// Reaches nothing but the directories and the variables of its step. Only native tools can say so.
    #[serde(skip)]
    pub stays_within: bool,
}

/// Where and for whom a call runs.
#[derive(Clone)]
pub struct ToolContext {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub path: StepPath,
    /// The try of the step, from 1.
    pub attempt: u32,
    /// The call's id, unique in the attempt.
    pub call_id: Arc<str>,
    /// The same for every repetition of the same call, also after a crash.
    pub idempotency_key: Arc<str>,
    /// When the step's time is over; the tool's own limit may come earlier.
    pub deadline: Option<Timestamp>,
    /// The directories of the step: its only file system.
    pub dirs: Arc<StepDirs>,
    /// Progress, denials and warnings go here.
    pub events: Arc<dyn Recorder>,
    /// The run as this step sees it: its variables and the steps that have ended.
    pub run: Arc<dyn RunContext>,
    /// For tools that poll.
    pub cancel: CancelFlag,
    /// What the step takes away from what its plugins may do.
    pub narrowings: Arc<Narrowings>,
    /// What tools keep for the next call of this try.
    pub kept: Arc<Kept>,
    /// The way to the other tools of the run; none where there is none.
    pub tools: Option<Arc<dyn Invoke>>,
    /// The way to sub-agents; none where no agent works.
    pub agents: Option<Arc<dyn Delegate>>,
    /// How many tools called each other to get here; 0 for what a document or a model calls.
    pub depth: u32,
}

/// The way from one tool to another: through the same gate as every call.
pub trait Invoke: Send + Sync {
    /// Calls a tool for the tool that runs in `from`. Whether it may is the caller's to check; whether the call
    /// itself is permitted, and that it is recorded before it runs, is this one's.
    ///
    /// # Errors
    /// Only what ends the whole attempt; what the tool or the rules say is a reply.
    fn invoke<'a>(&'a self, from: &'a ToolContext, call: Nested) -> BoxFuture<'a, Result<ToolReply, Fault>>;
}

/// The way from an agent to sub-agents of it.
pub trait Delegate: Send + Sync {
    /// Has a sub-agent do a task for the agent that made the call `from`, and gives what it came to.
    ///
    /// # Errors
    /// When there is no such agent, there are too many, or it fails.
    fn delegate<'a>(&'a self, from: &'a ToolContext, task: Task) -> BoxFuture<'a, Result<ToolOutput, Fault>>;
}

/// What a sub-agent shall do.
#[derive(Clone, Debug)]
pub struct Task {
    /// All that it is told.
    pub text: Arc<str>,
    /// What it is instructed to be; none = what its agent is.
    pub instructions: Option<Arc<str>>,
    /// Patterns of the tools that it may use, of those that its agent may; none = all of these.
    pub tools: Option<Vec<String>>,
    /// Its agent goes on meanwhile, and gets what it came to as a message.
    pub background: bool,
}

/// A call of one tool by another.
#[derive(Clone, Debug)]
pub struct Nested {
    /// How many such calls the calling one has made, this one included.
    pub number: u32,
    /// The tool.
    pub tool: ToolName,
    /// Its arguments.
    pub args: Value,
    /// When the time of the calling one is over.
    pub deadline: Timestamp,
}

/// What a tool gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolOutput {
    /// The data; null when there is only text.
    pub result: Arc<Value>,
    /// The text for models and people; none means the data as text.
    pub content: Option<Arc<str>>,
}
