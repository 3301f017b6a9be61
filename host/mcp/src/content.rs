//! What a tool of a server gave, in our form: text, data, and bytes with their media type. All of it bounded.
//!
//! It must not know which tool gave it.

use cofferdam_core::limits;
use cofferdam_core::port::ToolOutput;
use cofferdam_core::value;
use cofferdam_egress::Scrubber;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Content {
    /// What the tool gave.
    Given(ToolOutput),
    /// What the tool says went wrong.
    Failed(String),
}

/// Puts a result into our form.
///
/// # Errors
/// When it is larger than allowed.
pub(crate) fn of(result: CallToolResult, scrubber: &Scrubber) -> Result<Content, String> {
    if result.content.len() > limits::MCP_CONTENT_PARTS {
        return Err(format!("its result has more than {} parts", limits::MCP_CONTENT_PARTS));
    }
    let structured = result.structured_content;
    let mut parts = Parts::default();
    for block in result.content {
        parts.take(block);
    }
    let size = parts.bytes() + structured.as_ref().map_or(0, value::size);
    if size > limits::MCP_RESULT_BYTES {
        return Err(format!("its result has {size} bytes, more than {}", limits::MCP_RESULT_BYTES));
    }
    if let Some(structured) = &structured {
        value::check_depth(structured).map_err(|error| format!("its result cannot be used: {error}"))?;
    }
    let text = scrub(parts.texts.join("\n"), scrubber);
    if result.is_error == Some(true) {
        let text =
            if text.trim().is_empty() { structured.map(|data| data.to_string()).unwrap_or_default() } else { text };
        return Ok(Content::Failed(text));
    }
    let data = match (structured, parts.data.is_empty()) {
        (structured, true) => structured.unwrap_or_default(),
        (structured, false) => {
            let mut both = Map::new();
            both.extend(structured.map(|structured| ("structured".to_owned(), structured)));
            both.insert("data".to_owned(), parts.data.into());
            Value::Object(both)
        }
    };
    let content = (!text.is_empty()).then(|| Arc::from(text));
    Ok(Content::Given(ToolOutput { result: Arc::new(scrub_value(data, scrubber)), content }))
}

#[derive(Default)]
struct Parts {
    texts: Vec<String>,
    data: Vec<Value>,
}

impl Parts {
    fn take(&mut self, block: ContentBlock) {
        match block {
            ContentBlock::Text(text) => self.texts.push(text.text),
            ContentBlock::Image(image) => self.bytes_of("image", &image.mime_type, image.data, None),
            ContentBlock::Audio(audio) => self.bytes_of("audio", &audio.mime_type, audio.data, None),
            ContentBlock::Resource(embedded) => match embedded.resource {
                ResourceContents::TextResourceContents { text, .. } => self.texts.push(text),
                ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                    let media = mime_type.unwrap_or_else(|| "application/octet-stream".to_owned());
                    self.bytes_of("resource", &media, blob, Some(uri));
                }
                _ => self.texts.push("[a resource of an unknown form]".to_owned()),
            },
            ContentBlock::ResourceLink(link) => self.texts.push(format!("[{}: {}]", link.name, link.uri)),
            _ => self.texts.push("[a part of an unknown form]".to_owned()),
        }
    }

    /// Keeps bytes with their media type, and leaves a word in the text. What is too large is only named.
    fn bytes_of(&mut self, kind: &str, media: &str, base64: String, uri: Option<String>) {
        let bytes = base64.len() / 4 * 3;
        self.texts.push(format!("[{kind}, {media}, about {bytes} bytes]"));
        let mut part = json!({ "kind": kind, "media_type": media });
        if let Some(map) = part.as_object_mut() {
            map.extend(uri.map(|uri| ("uri".to_owned(), uri.into())));
            if base64.len() > limits::MCP_DATA_BYTES {
                map.insert("left_out".to_owned(), format!("more than {} bytes", limits::MCP_DATA_BYTES).into());
            } else {
                map.insert("base64".to_owned(), base64.into());
            }
        }
        self.data.push(part);
    }

    fn bytes(&self) -> usize {
        self.texts.iter().map(String::len).sum::<usize>() + self.data.iter().map(value::size).sum::<usize>()
    }
}

fn scrub(text: String, scrubber: &Scrubber) -> String {
    if !scrubber.finds(text.as_bytes()) {
        return text;
    }
    String::from_utf8_lossy(&scrubber.scrub(text.as_bytes())).into_owned()
}

fn scrub_value(data: Value, scrubber: &Scrubber) -> Value {
    if scrubber.is_empty() {
        return data;
    }
    match data {
        Value::String(text) => Value::String(scrub(text, scrubber)),
        Value::Array(items) => items.into_iter().map(|item| scrub_value(item, scrubber)).collect(),
        Value::Object(map) => {
            let clean = |(key, value)| (scrub(key, scrubber), scrub_value(value, scrubber));
            Value::Object(map.into_iter().map(clean).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::SecretString;

    fn result(value: Value) -> CallToolResult {
        serde_json::from_value(value).unwrap()
    }

    fn given(value: Value) -> ToolOutput {
        match of(result(value), &Scrubber::default()).unwrap() {
            Content::Given(output) => output,
            Content::Failed(text) => panic!("{text}"),
        }
    }

    #[test]
    fn text_and_data_have_their_places() {
        let both = given(json!({ "content": [{ "type": "text", "text": "two" }], "structuredContent": { "n": 2 } }));
        assert_eq!((both.result.as_ref(), both.content.as_deref()), (&json!({ "n": 2 }), Some("two")));
        let text = given(json!({ "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] }));
        assert_eq!((text.result.as_ref(), text.content.as_deref()), (&Value::Null, Some("a\nb")));
        let list = given(json!({ "content": [], "structuredContent": [1] }));
        assert_eq!((list.result.as_ref(), list.content.as_deref()), (&json!([1]), None));
    }

    #[test]
    fn bytes_keep_their_media_type_and_large_ones_are_named() {
        let image = |data: String| json!({ "content": [{ "type": "image", "data": data, "mimeType": "image/png" }] });
        let small = given(image("AAAA".to_owned()));
        assert_eq!(small.result["data"][0], json!({ "kind": "image", "media_type": "image/png", "base64": "AAAA" }));
        assert_eq!(small.content.as_deref(), Some("[image, image/png, about 3 bytes]"));
        let large = given(image("A".repeat(limits::MCP_DATA_BYTES + 1)));
        assert!(large.result["data"][0]["left_out"].is_string());
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let text = "x".repeat(limits::MCP_RESULT_BYTES + 1);
        let large = result(json!({ "content": [{ "type": "text", "text": text }] }));
        assert!(of(large, &Scrubber::default()).unwrap_err().contains("more than"));
        let parts = vec![json!({ "type": "text", "text": "" }); limits::MCP_CONTENT_PARTS + 1];
        assert!(of(result(json!({ "content": parts })), &Scrubber::default()).is_err());
    }

    #[test]
    fn a_tool_may_say_that_it_failed_and_secrets_are_removed() {
        let mut scrubber = Scrubber::default();
        scrubber.add(&SecretString::from("s3cr3t-token".to_owned()));
        let failed = json!({ "content": [{ "type": "text", "text": "no: s3cr3t-token" }], "isError": true });
        match of(result(failed), &scrubber).unwrap() {
            Content::Failed(text) => assert_eq!(text, "no: [redacted]"),
            Content::Given(output) => panic!("{output:?}"),
        }
    }
}
