//! What is said between an agent and a model: messages, tool calls, results, usage.
//!
//! It must not know any provider's wire format.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// One entry of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message {
    /// Instructions that stand above the conversation.
    System {
        /// The text.
        text: Arc<str>,
    },
    /// What the model is asked.
    User {
        /// The text.
        text: Arc<str>,
        /// Images and documents.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Attachment>,
    },
    /// What the model said.
    Assistant {
        /// The text, perhaps empty.
        text: Arc<str>,
        /// The calls it asked for, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<ToolCall>,
        /// What a provider wants back verbatim: signatures, encrypted reasoning.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        opaque: Vec<Opaque>,
    },
    /// The answer to one call of the assistant message before it.
    Tool {
        /// The id of the call.
        call_id: String,
        /// The tool, in its wire form.
        name: String,
        /// What the model reads.
        text: Arc<str>,
        /// Whether the call failed or was denied.
        #[serde(default)]
        is_error: bool,
    },
}

impl Message {
    /// A system message.
    pub fn system(text: impl Into<Arc<str>>) -> Self {
        Self::System { text: text.into() }
    }

    /// A user message without attachments.
    pub fn user(text: impl Into<Arc<str>>) -> Self {
        Self::User { text: text.into(), attachments: Vec::new() }
    }

    /// The text of the message, whoever said it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::System { text }
            | Self::User { text, .. }
            | Self::Assistant { text, .. }
            | Self::Tool { text, .. } => text,
        }
    }
}

/// A file that goes with a user message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// The file's name, for the model.
    pub name: String,
    /// The media type, `image/png` for instance.
    pub media_type: String,
    /// The bytes in base64.
    pub base64: Arc<str>,
}

/// A call that a model asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's id, or one that the host invented.
    pub id: String,
    /// The tool in its wire form, `alias__name`.
    pub name: String,
    /// The arguments as the model wrote them: JSON text, perhaps malformed. Empty means `{}`.
    pub arguments: String,
}

impl ToolCall {
    /// The arguments as a value.
    ///
    /// # Errors
    /// When the model did not write JSON; the error is what the model is told.
    pub fn parse_arguments(&self) -> Result<Value, serde_json::Error> {
        if self.arguments.trim().is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_str(&self.arguments)
    }
}

/// Data of a provider that is stored and sent back unchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opaque {
    /// Whose it is.
    pub provider: String,
    /// The data.
    pub data: Value,
}

/// Tokens spent. Input includes what was read from or written to a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request, cached ones included.
    pub input: u64,
    /// Tokens of the answer, reasoning included.
    pub output: u64,
    /// Of `output`: tokens of reasoning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// Of `input`: tokens read from the provider's cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_read: u64,
    /// Of `input`: tokens written to the provider's cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Usage {
    /// Input and output together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Whether nothing was spent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl std::ops::SubAssign for Usage {
    /// What is left of it; never less than nothing.
    fn sub_assign(&mut self, other: Self) {
        self.input = self.input.saturating_sub(other.input);
        self.output = self.output.saturating_sub(other.output);
        self.reasoning = self.reasoning.saturating_sub(other.reasoning);
        self.cache_read = self.cache_read.saturating_sub(other.cache_read);
        self.cache_write = self.cache_write.saturating_sub(other.cache_write);
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
    }
}
