//! Models: what answers a conversation.

use serde_json::Value;

use crate::context::Context;
use crate::error::Result;
use crate::plugin::Plugin;

/// A model, or several. Each answer has an instance of its own.
///
/// ```
/// use cofferdam_sdk::model::{Chunk, Completion, FinishReason, Message, Model, ModelDef, Request, ToolChoice};
/// use cofferdam_sdk::{Context, Result};
///
/// /// Says again what the user said.
/// pub struct Echo;
///
/// impl Model for Echo {
///     type Completion = std::vec::IntoIter<Chunk>;
///
///     fn list() -> Vec<ModelDef> {
///         vec![ModelDef { id: "echo".into(), summary: "says it again".into(), is_language_model: false }]
///     }
///
///     fn complete(_ctx: &Context, request: &Request) -> Result<Self::Completion> {
///         let said = request.messages.iter().rev().find_map(|message| match message {
///             Message::User { text, .. } => Some(text.clone()),
///             _ => None,
///         });
///         Ok(vec![Chunk::Text(said.unwrap_or_default()), Chunk::Finished(FinishReason::Stop)].into_iter())
///     }
/// }
///
/// cofferdam_sdk::plugin!(id = "acme/echo", summary = "An echo", model = Echo);
///
/// let ctx = Context::fake();
/// let request = Request {
///     model: "echo".into(),
///     messages: vec![Message::User { text: "Hello?".into(), attachments: vec![] }],
///     tools: vec![],
///     choice: ToolChoice::Auto,
///     temperature: None,
///     top_p: None,
///     max_tokens: None,
/// };
/// let mut answer = Echo::complete(&ctx, &request)?;
/// assert_eq!(Completion::next(&mut answer, &ctx)?[0], Chunk::Text("Hello?".into()));
/// # Ok::<(), cofferdam_sdk::Error>(())
/// ```
pub trait Model: 'static {
    /// An answer under way.
    type Completion: Completion;

    /// The models that the plugin knows. One that lists none is asked for any name; one that lists some, for those only.
    fn list() -> Vec<ModelDef>;

    /// Begins an answer.
    ///
    /// # Errors
    ///
    /// Why there is none. One that may be retried is tried again by the host, before the first piece only.
    fn complete(ctx: &Context, request: &Request) -> Result<Self::Completion>;
}

/// An answer, pulled piece by piece.
pub trait Completion: 'static {
    /// The next pieces; the last of them is [`Chunk::Finished`].
    ///
    /// # Errors
    ///
    /// What broke the answer off.
    fn next(&mut self, ctx: &Context) -> Result<Vec<Chunk>>;
}

/// An answer that is there as a whole.
impl Completion for std::vec::IntoIter<Chunk> {
    fn next(&mut self, _ctx: &Context) -> Result<Vec<Chunk>> {
        Ok(self.by_ref().collect())
    }
}

/// A plugin that is a model. Implemented by [`plugin!`](crate::plugin!).
pub trait ModelPlugin: Plugin {
    /// The model.
    type Model: Model;
}

/// A model that a plugin can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelDef {
    /// Its name, as a workflow writes it after the plugin's.
    pub id: String,
    /// One line for people.
    pub summary: String,
    /// Whether a neural language model answers.
    pub is_language_model: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The model.
    pub model: String,
    /// The conversation.
    pub messages: Vec<Message>,
    /// The tools on offer.
    pub tools: Vec<ToolSpec>,
    /// Which of them must be used.
    pub choice: ToolChoice,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// Most tokens of the answer.
    pub max_tokens: Option<u32>,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// Instructions for the whole conversation.
    System(String),
    /// What the user says.
    User {
        /// The text.
        text: String,
        /// Files.
        attachments: Vec<Attachment>,
    },
    /// What the model said.
    Assistant {
        /// The text; may be empty.
        text: String,
        /// The calls, in order.
        tool_calls: Vec<ToolCall>,
        /// What the plugin asked to be sent back, as it was.
        opaque: Vec<Value>,
    },
    /// The result of a call.
    Tool {
        /// Which call.
        id: String,
        /// The tool.
        name: String,
        /// What the model reads.
        text: String,
        /// It tells of a failure.
        is_error: bool,
    },
}

/// A file that goes with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// A MIME type.
    pub media_type: String,
    /// Its bytes in base64.
    pub base64: String,
}

/// A call that the model made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Names the call in its result.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its arguments as JSON, as the model wrote them.
    pub arguments: String,
}

/// A tool on offer.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolSpec {
    /// Its name on the wire.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
}

/// Which tool the model must use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Tool(String),
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Chunk {
    /// A piece of text.
    Text(String),
    /// A piece of reasoning; shown, never given to tools.
    Reasoning(String),
    /// A call, whole.
    ToolCall(ToolCall),
    /// Data to send back in the next request, as it is.
    Opaque(Value),
    /// Tokens so far; the last one counts.
    Usage {
        /// Of the request.
        input: u64,
        /// Of the answer.
        output: u64,
    },
    /// The answer is complete; nothing follows.
    Finished(FinishReason),
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// It wants its calls answered.
    ToolCalls,
    /// The token limit was reached.
    Length,
    /// Its content was cut.
    ContentFilter,
    /// It refused.
    Refusal,
}
