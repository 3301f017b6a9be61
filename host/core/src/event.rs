//! `RunEvent`: the one vocabulary of a run.
//!
//! It is the journal record, the NDJSON line, the sink item and the golden-test line. It is a wire type on purpose:
//! fields are only ever added, and a reader skips kinds that it does not know within one major version.

mod changes;
mod kinds;
mod origin;
mod output;
mod post;
mod public;
mod recalled;
mod seen;
pub(crate) mod slots;
mod spending;
mod status;
mod waiting;

pub use changes::{ChangedFile, Changes, Conflict, FileChange};
pub use kinds::{KINDS, TRANSIENT, unknown_kind};
pub use origin::{BranchedFrom, ContextFile, PluginPin, Source};
pub use output::StepOutput;
pub use post::{Delivered, DropReason, Dropped, MessageKind, Posted, Told};
pub use public::Sensitive;
pub use recalled::{Recalled, Recollection};
pub use seen::{Seen, SeenEntry};
pub use spending::Spending;
pub use status::{AnsweredBy, Decision, EffectDecision, LoopEnd, RunReason, RunStatus, SkippedBecause, StepStatus};
pub use waiting::{Approved, OpenApproval, OpenQuestion, Waiting, call_name};

use crate::budget::{Mark, Money};
use crate::fault::Fault;
use crate::id::{AgentName, RunId, StepId, StepPath, ToolName};
use crate::message::{Message, Usage};
use crate::model_options::ModelOptions;
use crate::time::Timestamp;
use crate::value::Map;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// The major version of the vocabulary.
pub const VERSION: u32 = 1;

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// Position in the run, dense from 1. A transient event carries that of the last durable one.
    pub seq: u64,
    /// Counts transient events since the last durable one, from 1. Absent on durable ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<u64>,
    /// When.
    pub at: Timestamp,
    /// Which run.
    pub run_id: RunId,
    /// Which step; absent for the run itself.
    #[serde(default, skip_serializing_if = "StepPath::is_root")]
    pub path: StepPath,
    /// Which try of the step, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

fn map_is_empty(map: &Arc<Map>) -> bool {
    map.is_empty()
}

fn str_is_empty(text: &Arc<str>) -> bool {
    text.is_empty()
}

fn said_nothing(options: &Arc<ModelOptions>) -> bool {
    options.is_empty()
}

fn value_is_null(value: &Arc<Value>) -> bool {
    value.is_null()
}

/// What happened, by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Body {
    /// The run began.
    RunStarted {
        /// Version of this vocabulary.
        schema_version: u32,
        /// The document's name.
        workflow: String,
        /// SHA-256 over all sources.
        hash: String,
        /// The document and the files it names.
        sources: Vec<Source>,
        /// Inputs by name, defaults filled in.
        inputs: Map,
        /// The run's free-text input.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<Arc<str>>,
        /// Files that go with prompts, as they were; without those that were not there.
        #[serde(default, skip_serializing_if = "origin::are_none")]
        context_files: Arc<Vec<ContextFile>>,
        /// Plugins with digests and grants.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        plugins: Vec<PluginPin>,
        /// Effective settings: model, concurrency, permissions.
        settings: Map,
        /// Steps in the order of the plan.
        plan: Vec<String>,
        /// Places whose content views must not show.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sensitive: Vec<String>,
        /// The run that it is a branch of: what follows up to the first `run_resumed` was copied from there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branched_from: Option<BranchedFrom>,
    },
    /// The run goes on, after its process ended or after it waited: what is finished stays, what had failed or was cut
    /// short runs again.
    RunResumed {
        /// Effective settings.
        settings: Map,
        /// Plugins with digests and grants, as they are now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        plugins: Vec<PluginPin>,
        /// What a person said about calls that the run waited with.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        approved: Vec<Approved>,
    },
    /// The run ended.
    RunFinished {
        /// How.
        status: RunStatus,
        /// Why, when it failed as a whole or waits for a higher budget.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<RunReason>,
        /// What the run returns.
        output: Value,
        /// Tokens of all steps.
        usage: Usage,
        /// What they cost; absent when that is not known, or no model was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Money>,
        /// The first failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Fault>,
    },
    /// The step's dependencies are done and its condition holds.
    StepReady {},
    /// A try of the step began.
    StepStarted {
        /// The agent, for agent steps.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentName>,
        /// The tool, for tool steps.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tool: Option<ToolName>,
        /// The items, for a `forEach`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        items: Option<Arc<Vec<Value>>>,
        /// The inputs, for an included document.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inputs: Option<Arc<Map>>,
        /// What takes something away from what the plugins of the step may do, one line each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        narrowed: Vec<String>,
    },
    /// A try failed and another will be made.
    StepRetrying {
        /// What failed.
        error: Fault,
        /// How long it waits, in milliseconds.
        delay_ms: u64,
        /// Tokens that the failed try cost.
        #[serde(default, skip_serializing_if = "Usage::is_empty")]
        usage: Usage,
    },
    /// The try gives back its slot and waits for a person; it goes on when the run is taken up. What it waits for itself are
    /// calls that were asked about; what a run inside it waits for is told here.
    StepWaiting(Waiting),
    /// The step ended with an output or an error.
    StepFinished {
        /// Completed or failed.
        status: StepStatus,
        /// What it gave; a failed step keeps what it had.
        output: StepOutput,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Fault>,
        /// Tokens of this try.
        #[serde(default, skip_serializing_if = "Usage::is_empty")]
        usage: Usage,
        /// Inputs of the prompt that were shortened.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        truncated_inputs: Vec<String>,
    },
    /// The step was not meant to run.
    StepSkipped {
        /// Why.
        because: SkippedBecause,
        /// For people: the condition, or the failed step.
        detail: String,
    },
    /// A condition chose between steps of a scope; holds for all that name the same plugin and options and have labels.
    BranchChosen {
        /// What the document calls the plugin.
        plugin: String,
        /// The step that runs; none when none does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
        /// The label that was chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// The step was stopped, or never started.
    StepCancelled {
        /// For people: what stopped it.
        detail: String,
    },
    /// One iteration of a loop began.
    LoopIterationStarted {
        /// From 0.
        index: u32,
    },
    /// One iteration of a loop ended.
    LoopIterationFinished {
        /// From 0.
        index: u32,
        /// How.
        status: StepStatus,
    },
    /// A loop will begin no more iterations, and all that began have ended.
    LoopFinished {
        /// How many began.
        iterations: u32,
        /// What ended it.
        because: LoopEnd,
    },
    /// The pause before the next iteration of a loop is longer than this process waits: the run will end waiting.
    LoopPostponed {
        /// When the next iteration may begin.
        until: Timestamp,
    },
    /// A person is asked; durable before the person sees it.
    QuestionAsked {
        /// What is asked.
        question: String,
        /// The answers that may be given; empty means any.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        choices: Vec<String>,
        /// JSON Schema of the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<Arc<Value>>,
        /// Nobody is there to answer: the run will end waiting.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        deferred: bool,
    },
    /// A question has its answer.
    QuestionAnswered {
        /// The answer.
        answer: Value,
        /// Who gave it.
        by: AnsweredBy,
    },
    /// A variable of the run has a new value.
    VariableSet {
        /// Its name.
        key: String,
        /// Its value.
        value: Value,
    },
    /// An entry of the shared memory has a new value.
    MemoryWritten {
        /// Whose entry it is: the name of an agent, or `workflow`.
        namespace: Arc<str>,
        /// Its key.
        key: Arc<str>,
        /// Its value; never null.
        value: Arc<Value>,
        /// The same for a repetition of the same call, which changes nothing more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<Arc<str>>,
        /// The revision in a memory that outlives the run; absent where the run has its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
    },
    /// An entry of the shared memory was removed.
    MemoryDeleted {
        /// Whose entry it was.
        namespace: Arc<str>,
        /// Its key.
        key: Arc<str>,
        /// The same for a repetition of the same call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<Arc<str>>,
        /// The revision in a memory that outlives the run; absent where the run has its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
    },
    /// A memory that outlives the run was read, and was not as the run knew it.
    MemorySeen(Seen),
    /// An agent wrote a message to another.
    MessagePosted(Posted),
    /// A message stands in front of the agent that it is for.
    MessageDelivered(Delivered),
    /// A message reached nobody.
    MessageDropped(Dropped),
    /// An agent hears of something that no agent wrote: a coordinator of what happens, a planner of what is wrong with its plan.
    Told(Told),
    /// The coordinator tells people how the run goes.
    Narrated {
        /// For people.
        text: Arc<str>,
        /// The same for a repetition of the same call, which tells nothing new.
        key: Arc<str>,
    },
    /// The coordinator says what the run came to.
    Summarized {
        /// For people.
        summary: Arc<str>,
    },
    /// Retrieval memory was searched for an agent, before anybody was asked.
    MemoryRecalled(Recalled),
    /// A model is asked.
    TurnStarted {
        /// From 1.
        turn: u32,
        /// The model that is asked.
        model: Arc<str>,
        /// What is said to it besides, of run, agent, document and host together.
        #[serde(default, skip_serializing_if = "said_nothing")]
        options: Arc<ModelOptions>,
    },
    /// A model answered.
    TurnFinished {
        /// From 1.
        turn: u32,
        /// The model that answered.
        model: Arc<str>,
        /// What it said.
        message: Message,
        /// Tokens of this turn.
        usage: Usage,
        /// What it cost; absent when that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Money>,
        /// The answer was cut at the model's token limit.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cut: bool,
    },
    /// A model's answer broke off after its beginning: what was seen of it is discarded, and what it took is counted.
    TurnFailed {
        /// From 1.
        turn: u32,
        /// The model that was asked.
        model: Arc<str>,
        /// Tokens that the provider told of by then, else an estimate.
        usage: Usage,
        /// Whether the provider told of none, and they are estimated.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        estimated: bool,
        /// What they cost; absent when that is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Money>,
    },
    /// A run inside this one, whose turns are recorded elsewhere, or an agent of somebody else's asked a model.
    Spent(Spending),
    /// The intent to run a tool; durable before the tool runs.
    ToolCallStarted {
        /// The call's id, unique in the attempt.
        call_id: String,
        /// The tool.
        tool: ToolName,
        /// The arguments, checked against the tool's schema.
        args: Arc<Value>,
    },
    /// A tool answered, was denied, or failed.
    ToolCallFinished {
        /// The call's id.
        call_id: String,
        /// The tool.
        tool: ToolName,
        /// What it gave.
        #[serde(default, skip_serializing_if = "value_is_null")]
        result: Arc<Value>,
        /// What the model reads.
        #[serde(default, skip_serializing_if = "str_is_empty")]
        content: Arc<str>,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<Fault>,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
    /// Text as it is written. Transient.
    OutputDelta {
        /// From 1.
        turn: u32,
        /// The piece.
        text: String,
    },
    /// Reasoning as it is written. Transient.
    ThinkingDelta {
        /// From 1.
        turn: u32,
        /// The piece.
        text: String,
    },
    /// A tool says how far it is. Transient.
    Progress {
        /// For people.
        message: String,
        /// From 0 to 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fraction: Option<f32>,
    },
    /// Nobody is there to say whether a call may be made, and its try will wait; durable before anybody is told.
    PermissionAsked {
        /// The call's id.
        call_id: String,
        /// The tool.
        tool: ToolName,
        /// The arguments, checked against the tool's schema.
        args: Arc<Value>,
        /// Whose model wants the call; absent where the document does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<Arc<str>>,
        /// The rule that asks; absent where no rule decides.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
    },
    /// A tool call was allowed or denied.
    PermissionDecided {
        /// The call's id.
        call_id: String,
        /// The tool.
        tool: ToolName,
        /// How.
        decision: Decision,
        /// The rule that decided.
        rule: String,
    },
    /// A call that an earlier process had begun may or may not have had its effect; what becomes of it was decided.
    EffectDecided {
        /// The call's id.
        call_id: String,
        /// The tool.
        tool: ToolName,
        /// What becomes of it.
        decision: EffectDecision,
        /// What decided: `the tool is idempotent`, a setting, a person.
        rule: String,
    },
    /// A try of a step has ended that had a directory of its own, and changed files in it.
    FilesChanged(Changes),
    /// A plugin asked for what it was not granted.
    PluginDenied {
        /// What the document calls it.
        plugin: String,
        /// SHA-256 of the component.
        digest: String,
        /// What it asked for: `http GET https://example.com/`.
        request: String,
        /// The lines that would allow it.
        allow: String,
    },
    /// A plugin trapped, broke a limit or lied.
    PluginFailed {
        /// What the document calls it.
        plugin: String,
        /// SHA-256 of the component.
        digest: String,
        /// What happened.
        error: Fault,
    },
    /// Most of a budget is used up.
    BudgetWarning(Mark),
    /// A budget is used up: what would have been spent next is not.
    BudgetExhausted(Mark),
    /// Something that a person should know.
    Warning {
        /// Stable code.
        code: String,
        /// The sentence.
        message: String,
    },
    /// A kind that a newer minor version knows, from a journal: with all its fields and its own kind, so that a copy keeps
    /// it. Sinks get `unknown`.
    #[serde(rename = "unknown", skip_deserializing)]
    Newer(#[serde(skip)] Arc<Map>),
    /// The same from elsewhere. Never written.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests;
