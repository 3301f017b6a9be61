//! The differences between our bodies and those of the official SDKs, each with its reason.
//!
//! A difference that is not listed fails the test, and so does one that is listed and is none.

use Api::{Anthropic, Chat, Gemini, Ollama, Responses};
use Side::{Both, Ours, Theirs};
use cofferdam_llm::Api;
use serde_json::Value;

/// A difference that is meant.
pub(crate) struct Difference {
    pub(crate) api: Api,
    /// The only case that may have it; none for all.
    pub(crate) cases: Option<&'static str>,
    /// Where, with `*` for the places of lists.
    pub(crate) at: &'static str,
    pub(crate) side: Side,
    pub(crate) because: &'static str,
}

/// Who says something.
pub(crate) enum Side {
    /// The other says nothing, or null.
    Ours,
    Theirs,
    /// Both, and it means the same.
    Both(fn(&Value, &Value) -> bool),
}

const fn differs(api: Api, at: &'static str, side: Side, because: &'static str) -> Difference {
    Difference { api, cases: None, at, side, because }
}

const fn of_whole(api: Api, at: &'static str, side: Side) -> Difference {
    Difference { api, cases: Some("text-whole"), at, side, because: "we always ask for a stream" }
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    of_whole(Chat, "/stream", Ours),
    of_whole(Chat, "/stream_options", Ours),
    of_whole(Responses, "/stream", Ours),
    of_whole(Anthropic, "/stream", Ours),
    of_whole(Gemini, "/path", Both(streams_instead)),
    of_whole(Ollama, "/stream", Both(streams)),
    differs(Chat, "/tools/*/function/strict", Theirs, "strict schemas are a subset, and the host validates arguments"),
    differs(Responses, "/tools/*/strict", Both(is_not_strict), "strict is the default here, and has to be denied"),
    differs(Responses, "/include", Ours, "nothing is stored, so that reasoning must come back encrypted"),
    differs(Responses, "/input/*/id", Theirs, "ids of items that were not stored lead nowhere"),
    differs(Responses, "/input/*/status", Theirs, "only the provider reads it, and it is optional"),
    differs(Anthropic, "/messages/*/content", Both(is_same_content), "texts are blocks, and files stand before them"),
    differs(Anthropic, "/messages/*/content/*/is_error", Ours, "said in any case; false is the default"),
    differs(Anthropic, "/messages/*/content/*/type", Both(is_other_order), "files stand before the text"),
    differs(Anthropic, "/messages/*/content/*/text", Both(is_one_sided), "files stand before the text"),
    differs(Anthropic, "/messages/*/content/*/source", Both(is_one_sided), "files stand before the text"),
    differs(Gemini, "/systemInstruction/role", Theirs, "it has no meaning there"),
    differs(Gemini, "/generationConfig", Both(is_empty), "nothing is said by it"),
    differs(Gemini, "/contents/*/parts/*/inlineData/data", Both(is_same_base64), "the SDK has the alphabet of URLs"),
    differs(Ollama, "/tools", Both(is_empty), "nothing is said by it"),
    differs(Ollama, "/tools/*/function/parameters/additionalProperties", Ours, "the SDK drops what it does not know"),
    differs(Ollama, "/messages/*/content", Ours, "older servers refuse a message without it"),
];

fn streams_instead(ours: &Value, theirs: &Value) -> bool {
    let whole = theirs.as_str().unwrap_or_default();
    ours.as_str() == Some(whole.replace(":generateContent", ":streamGenerateContent?alt=sse").as_str())
}

fn streams(ours: &Value, theirs: &Value) -> bool {
    (ours, theirs) == (&Value::Bool(true), &Value::Bool(false)) || theirs.is_null()
}

fn is_not_strict(ours: &Value, theirs: &Value) -> bool {
    (ours, theirs) == (&Value::Bool(false), &Value::Bool(true))
}

/// One block of text in place of the text.
fn is_same_content(ours: &Value, theirs: &Value) -> bool {
    let blocks = ours.as_array().map(Vec::as_slice).unwrap_or_default();
    matches!(blocks, [block] if block["type"] == "text" && block["text"] == *theirs)
}

fn is_other_order(ours: &Value, theirs: &Value) -> bool {
    matches!((ours.as_str(), theirs.as_str()), (Some("image"), Some("text")) | (Some("text"), Some("image")))
}

fn is_one_sided(ours: &Value, theirs: &Value) -> bool {
    ours.is_null() != theirs.is_null()
}

/// Nothing on our side, an empty list or object on the other.
fn is_empty(ours: &Value, theirs: &Value) -> bool {
    let is_empty = theirs.as_array().map(Vec::is_empty).or_else(|| theirs.as_object().map(serde_json::Map::is_empty));
    ours.is_null() && is_empty == Some(true)
}

fn is_same_base64(ours: &Value, theirs: &Value) -> bool {
    let theirs = theirs.as_str().unwrap_or_default().replace('-', "+").replace('_', "/");
    ours.as_str() == Some(theirs.as_str())
}
