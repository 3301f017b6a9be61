//! Language models, and what stands in for one.

use super::{BoxFuture, BoxStream, Recorder};
use crate::fault::Fault;
use crate::id::{PluginModelName, RunId, StepPath};
use crate::message::{Message, Opaque, ToolCall, Usage};
use crate::model_options::ModelOptions;
use crate::policy::Narrowings;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// What a model is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// `provider/model`, as the user would write it.
    pub name: Arc<str>,
    /// Whether a neural language model answers. `builtin/extract` and scripted models say no, wherever they show.
    pub is_language_model: bool,
    /// For people: `extracts headings and tables; not a language model`.
    pub summary: String,
}

/// Answers a conversation.
///
/// Called once a turn. Dropping the future or the stream ends the request; what was billed by then stays billed.
/// The model never retries what it has begun to answer: that is the caller's decision. Retries before the first
/// event (transport, 429, 5xx) are the adapter's, at most [`ModelRequest::max_retries`].
pub trait Model: Send + Sync {
    /// What this model is.
    fn info(&self) -> ModelInfo;

    /// Which of these options it cannot carry, as [`ModelOptions::names`] names them: whoever said them is told, and where only
    /// what was decided runs, nothing does. Default: all of them. They are in [`ModelRequest::settings`] in any case.
    fn unsupported(&self, options: &ModelOptions) -> Vec<String> {
        options.names(&self.info().name)
    }

    /// Asks the model. The stream ends after [`ModelEvent::Finished`]; an end before it is an error, never an answer. One that
    /// gives more than [`MODEL_RESPONSE_BYTES`] is dropped, and fails the step.
    ///
    /// [`MODEL_RESPONSE_BYTES`]: crate::limits::MODEL_RESPONSE_BYTES
    ///
    /// # Errors
    /// A fault classed by what to do next, with provider, model, status and request id in its message and detail.
    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>>;
}

/// Events of one answer.
pub type ModelStream = BoxStream<'static, Result<ModelEvent, Fault>>;

/// Finds a model by its name.
pub trait Models: Send + Sync {
    /// The model of this name: `openai/gpt-5`, `scripted`, `builtin/extract`, an alias of the settings.
    ///
    /// # Errors
    /// When the provider is not known or not configured; the hint says how to configure it.
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, Fault>;

    /// The model of a plugin that this name leads to, through aliases or by itself; none when it leads elsewhere. It is
    /// for whoever has loaded the plugins, and `resolve` need not know it.
    fn plugin_model(&self, name: &str) -> Option<PluginModelName> {
        PluginModelName::parse(name)?.ok()
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    /// The run, for scripted and recorded models and for request metadata.
    pub run_id: RunId,
    /// The step that asks.
    pub path: StepPath,
    /// The try of the step, from 1.
    pub attempt: u32,
    /// The turn of the conversation, from 1.
    pub turn: u32,
    /// The conversation. Shared: a request of a long conversation costs no copy.
    pub messages: Arc<Vec<Message>>,
    /// The tools on offer.
    pub tools: Arc<[ToolSpec]>,
    /// Which of them the model must use.
    pub tool_choice: ToolChoice,
    /// The tool by which the model hands over a result, where it owes one. A provider that guarantees answers of a schema may
    /// be asked for the result itself; it is given as a call of this tool all the same.
    pub result: Option<ResultTool>,
    /// Sampling and limits.
    pub settings: ModelSettings,
    /// Retries before the first event.
    pub max_retries: u32,
    /// The step's own bounds, which hold for a model that is a plugin; none outside of a step.
    pub asker: Option<Asker>,
}

/// The tool that hands over a result.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultTool {
    /// Its name, which is among the tools on offer.
    pub name: Arc<str>,
    /// JSON Schema of the result, which is that of the tool's arguments.
    pub schema: Arc<Value>,
}

/// What a step tells a model that is a plugin.
#[derive(Clone)]
pub struct Asker {
    /// What the plugin is denied goes here.
    pub events: Arc<dyn Recorder>,
    /// What the step takes away from what its plugins may do.
    pub narrowings: Arc<Narrowings>,
    /// When the step's time is over, if nobody is asked from now on.
    pub deadline: Option<Timestamp>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Sampling and limits of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelSettings {
    /// 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Most tokens of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// What is said besides. Of an agent's description: its own options; of a request: what holds for it.
    #[serde(default, skip_serializing_if = "said_nothing")]
    pub options: Arc<ModelOptions>,
}

fn said_nothing(options: &Arc<ModelOptions>) -> bool {
    options.is_empty()
}

/// A tool as a model sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    /// The wire form of its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Arc<Value>,
}

/// Which tool a model must use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// None of them.
    None,
    /// At least one.
    Required,
    /// This one, by its wire name.
    Tool(String),
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelEvent {
    /// The provider began to answer.
    Started {
        /// The model that really answers.
        model: Option<String>,
        /// The provider's id of the response.
        response_id: Option<String>,
    },
    /// Another model answers, as the settings say; it comes before everything else of the answer.
    Instead {
        /// The one that answers, `provider/model`.
        model: Arc<str>,
        /// Why the one that was asked does not.
        because: String,
    },
    /// A piece of text.
    Text(String),
    /// A piece of reasoning; shown, never fed to tools.
    Reasoning(String),
    /// A call, whole: pieces of arguments are put together by the adapter, so that half a call is never run.
    ToolCall(ToolCall),
    /// Data to send back verbatim in the next request.
    Opaque(Opaque),
    /// Tokens so far; the last one counts.
    Usage(Usage),
    /// The answer is complete.
    Finished(FinishReason),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// The model wants its tool calls answered.
    ToolCalls,
    /// The token limit was reached.
    Length,
    /// The provider cut the answer for its content.
    ContentFilter,
    /// The model refused.
    Refusal,
}
