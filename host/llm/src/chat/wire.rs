//! Chunks of a chat completion as they come over the wire, read as leniently as compatible servers need.
//!
//! It must not interpret. Unknown fields are ignored; null, absent and empty are the same.

use cofferdam_core::message::Usage;
use serde::Deserialize;
use serde_json::Value;

/// A chunk of a stream, or a whole completion that was not streamed.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk {
    pub(super) id: Option<String>,
    pub(super) model: Option<String>,
    pub(super) choices: Option<Vec<Choice>>,
    pub(super) usage: Option<Value>,
    pub(super) error: Option<Value>,
    /// `error` when the chunk itself is the error, as vLLM sends it.
    pub(super) object: Option<Value>,
    pub(super) message: Option<Value>,
    pub(super) code: Option<Value>,
}

impl Chunk {
    /// The error that the chunk is about.
    pub(super) fn error(&self) -> Option<Value> {
        if let Some(error) = self.error.as_ref().filter(|error| !error.is_null()) {
            return Some(error.clone());
        }
        let is_error = self.object.as_ref().and_then(Value::as_str) == Some("error");
        is_error.then(|| serde_json::json!({ "message": self.message, "code": self.code }))
    }
}

/// One of the answers; we ask for one.
#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    pub(super) delta: Option<Delta>,
    /// Instead of `delta` when the answer was not streamed.
    pub(super) message: Option<Delta>,
    pub(super) finish_reason: Option<String>,
}

/// What is new, or the whole message.
#[derive(Debug, Deserialize)]
pub(super) struct Delta {
    /// Text, or parts.
    pub(super) content: Option<Value>,
    /// DeepSeek, vLLM, GLM.
    pub(super) reasoning_content: Option<Value>,
    /// Ollama, OpenRouter.
    pub(super) reasoning: Option<Value>,
    pub(super) refusal: Option<String>,
    pub(super) tool_calls: Option<Vec<Fragment>>,
    /// The one call of old servers.
    pub(super) function_call: Option<Function>,
}

/// A piece of a tool call.
#[derive(Debug, Deserialize)]
pub(super) struct Fragment {
    pub(super) index: Option<u64>,
    pub(super) id: Option<String>,
    pub(super) function: Option<Function>,
}

/// Name and arguments, or pieces of them.
#[derive(Debug, Deserialize)]
pub(super) struct Function {
    pub(super) name: Option<String>,
    /// Text, or an object.
    pub(super) arguments: Option<Value>,
}

/// The tokens of a `usage` object; fields that are missing or odd count as zero.
pub(super) fn usage(value: &Value) -> Option<Usage> {
    let object = value.as_object()?;
    let count = |name: &str| object.get(name).and_then(Value::as_u64).unwrap_or(0);
    let detail =
        |name: &str, of: &str| object.get(name).and_then(|inner| inner.get(of)).and_then(Value::as_u64).unwrap_or(0);
    Some(Usage {
        input: count("prompt_tokens"),
        output: count("completion_tokens"),
        reasoning: detail("completion_tokens_details", "reasoning_tokens"),
        cache_read: detail("prompt_tokens_details", "cached_tokens"),
        cache_write: detail("prompt_tokens_details", "cache_write_tokens"),
    })
}
