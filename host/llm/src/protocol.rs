//! The protocols that providers speak, as far as whoever sends requests must know them.
//!
//! It must not send, wait or retry. What a protocol cannot do, another one does not learn.

use crate::provider::Provider;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::message::Usage;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{ModelEvent, ModelRequest, ModelSettings};
use serde::Deserialize;
use serde_json::Value;
use std::collections::VecDeque;

/// A protocol, by the name that settings have for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// OpenAI's chat completions, which every compatible server speaks.
    #[default]
    Chat,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Anthropic,
    /// Google's `generateContent`.
    Gemini,
    /// Ollama's own `/api/chat`.
    Ollama,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Chat, Self::Responses, Self::Anthropic, Self::Gemini, Self::Ollama];

    /// Its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
        }
    }

    /// Its name for people: `OpenAI's chat completions`.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Chat => "OpenAI's chat completions",
            Self::Responses => "OpenAI's responses",
            Self::Anthropic => "Anthropic's messages",
            Self::Gemini => "Google's generateContent",
            Self::Ollama => "Ollama's own protocol",
        }
    }

    /// The protocol of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.name() == name)
    }

    /// How it is written and read.
    pub(crate) fn wire(self) -> &'static dyn Wire {
        match self {
            Self::Chat => &crate::chat::Chat,
            Self::Responses => &crate::responses::Responses,
            Self::Anthropic => &crate::anthropic::Messages,
            Self::Gemini => &crate::gemini::GenerateContent,
            Self::Ollama => &crate::ollama::OllamaChat,
        }
    }
}

/// How a protocol writes a request and reads its answer.
pub(crate) trait Wire: Send + Sync {
    /// Where a request for a model goes.
    fn url(&self, provider: &Provider, model: &str) -> String;

    /// Headers that the protocol has beside the key, in lower case.
    fn headers(&self, provider: &Provider, settings: &ModelSettings) -> Vec<(&'static str, String)>;

    /// The body of a streamed request that was shaped: where it has a `result`, the answer is to fit that schema.
    fn body(&self, provider: &Provider, model: &str, request: &ModelRequest) -> Result<Bytes, Fault>;

    /// Which of these options are not sent, headers aside, as [`ModelOptions::names`] names them.
    fn unsupported(&self, provider: &Provider, options: &ModelOptions) -> Vec<&'static str>;

    /// How the pieces of an answer are told apart.
    fn framing(&self) -> Framing;

    /// What puts the answer to a request together.
    fn assembler(&self, asked: &Asked) -> Box<dyn Assemble>;
}

/// What must be known of a request to read its answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The turn, for the ids of calls that come without.
    pub(crate) turn: u32,
    /// The provider's name, for data that only it can read again.
    pub(crate) provider: String,
    /// The model's name at the provider.
    pub(crate) model: String,
    /// What the request said besides.
    pub(crate) settings: ModelSettings,
}

impl Asked {
    /// What must be known of this request.
    pub(crate) fn of(provider: &Provider, model: &str, request: &ModelRequest) -> Self {
        let (provider, model) = (provider.name.to_string(), model.to_owned());
        Self { turn: request.turn, provider, model, settings: request.settings.clone() }
    }

    /// The id of a call that came without one.
    pub(crate) fn call_id(&self, number: usize) -> String {
        format!("call_{}_{number}", self.turn)
    }
}

/// How the pieces of an answer are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events.
    Events,
    /// A line each.
    Lines,
}

/// Puts an answer together. It never gives half a tool call, and nothing after [`Assemble::end`].
pub(crate) trait Assemble: Send {
    /// Takes the JSON text of one piece.
    fn add(&mut self, text: &str, out: &mut VecDeque<ModelEvent>) -> Result<Progress, Odd>;

    /// Whether the provider said why the answer ended: from then on an end of the stream is no truncation.
    fn is_complete(&self) -> bool;

    /// Whether anything of the answer has come, also what is held back until it is complete.
    fn has_begun(&self) -> bool;

    /// The tokens that the provider told of so far, for an answer that breaks off.
    fn usage(&self) -> Option<Usage>;

    /// Ends the answer: its calls, its usage, and why it ended.
    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd>;
}

/// Whether more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The answer goes on, as far as is known.
    More,
    /// The provider marked its end; what follows is not read.
    Ended,
}

/// What a piece can be besides a piece of the answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Odd {
    /// The provider reports an error inside the stream.
    Told(Value),
    /// It is not a piece of an answer; the reason.
    Malformed(String),
    /// More tool calls than the bound.
    TooManyCalls,
    /// The answer ended without having begun.
    Empty,
    /// A call without a name.
    Nameless,
    /// The model wrote a call that the provider cannot read; its word for that.
    BrokenCall(String),
    /// The provider says that the prompt was not answered, and why: `SAFETY`.
    Blocked(String),
}
