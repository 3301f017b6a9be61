//! What a request asks for, in no protocol's words. It must not know what will be answered.

use serde_json::Value;

/// What the server has to know of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// The tools, by name, with the schemas of their arguments.
    pub(crate) tools: Vec<(String, Value)>,
    /// The texts of the results of tools, in their order.
    pub(crate) results: Vec<String>,
    /// The schema of the answer.
    pub(crate) schema: Option<Value>,
    /// Whether usage belongs into a stream.
    pub(crate) usage: bool,
    /// Whether opaque reasoning is wanted.
    pub(crate) sealed: bool,
    /// Whether the opaque part of `thinking-tools` came back.
    pub(crate) kept: Kept,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The protocol has nothing to keep.
    #[default]
    Nothing,
    Lost,
    Untouched,
}

impl From<bool> for Kept {
    fn from(untouched: bool) -> Self {
        if untouched { Self::Untouched } else { Self::Lost }
    }
}

/// The items of an array inside of JSON; none if it is not there.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A string inside of JSON; empty if it is not there.
pub(crate) fn string<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// What the content of an entry says.
pub(crate) fn content_of(entry: &Value, field: &str) -> String {
    text_of(entry.get(field).unwrap_or(&Value::Null))
}

/// What a content says: a string, or the `text` of its parts; other JSON as it is.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(|part| string(part, "/text")).collect(),
        other => other.to_string(),
    }
}
