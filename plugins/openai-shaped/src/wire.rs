//! The chat completions protocol, as far as it goes without streams.

use cofferdam_sdk::model::{Chunk, FinishReason, Message, Request, ToolCall, ToolChoice};
use cofferdam_sdk::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

/// The body of a request.
pub(crate) fn body(request: &Request) -> Value {
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(request.model));
    body.insert("messages".to_owned(), request.messages.iter().map(message).collect());
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let function = json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters });
            json!({ "type": "function", "function": function })
        });
        body.insert("tools".to_owned(), tools.collect());
        let choice = match &request.choice {
            ToolChoice::Auto => json!("auto"),
            ToolChoice::None => json!("none"),
            ToolChoice::Required => json!("required"),
            ToolChoice::Tool(name) => json!({ "type": "function", "function": { "name": name } }),
        };
        body.insert("tool_choice".to_owned(), choice);
    }
    let settings = [("temperature", request.temperature), ("top_p", request.top_p)];
    body.extend(settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
    body.extend(request.max_tokens.map(|most| ("max_tokens".to_owned(), json!(most))));
    Value::Object(body)
}

fn message(message: &Message) -> Value {
    match message {
        Message::System(text) => json!({ "role": "system", "content": text }),
        Message::User { text, attachments } if attachments.is_empty() => json!({ "role": "user", "content": text }),
        Message::User { text, attachments } => {
            let files = attachments.iter().map(|file| {
                let url = format!("data:{};base64,{}", file.media_type, file.base64);
                json!({ "type": "image_url", "image_url": { "url": url } })
            });
            let parts: Value = std::iter::once(json!({ "type": "text", "text": text })).chain(files).collect();
            json!({ "role": "user", "content": parts })
        }
        Message::Assistant { text, tool_calls, .. } => {
            let calls: Vec<Value> = tool_calls
                .iter()
                .map(|call| {
                    let function = json!({ "name": call.name, "arguments": call.arguments });
                    json!({ "id": call.id, "type": "function", "function": function })
                })
                .collect();
            let mut said = json!({ "role": "assistant", "content": text });
            if let (false, Some(said)) = (calls.is_empty(), said.as_object_mut()) {
                said.insert("tool_calls".to_owned(), Value::Array(calls));
            }
            said
        }
        Message::Tool { id, text, .. } => json!({ "role": "tool", "tool_call_id": id, "content": text }),
    }
}

/// The pieces of an answer. One without a reason for its end was cut.
pub(crate) fn chunks(answer: &Value) -> Result<Vec<Chunk>> {
    let cut = || Error::new(ErrorKind::Unavailable, "the endpoint's answer has no end");
    let choice = answer.pointer("/choices/0").ok_or_else(cut)?;
    let message = choice.get("message").ok_or_else(cut)?;
    let mut chunks = Vec::new();
    let text = |name: &str| message.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    chunks.extend(text("reasoning_content").map(|text| Chunk::Reasoning(text.to_owned())));
    chunks.extend(text("content").map(|text| Chunk::Text(text.to_owned())));
    for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
        let of = |pointer: &str| call.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let name = of("/function/name").ok_or_else(cut)?;
        let arguments = of("/function/arguments").unwrap_or_default();
        chunks.push(Chunk::ToolCall(ToolCall { id: of("/id").unwrap_or_default(), name, arguments }));
    }
    if let Some(usage) = answer.get("usage") {
        let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
        chunks.push(Chunk::Usage { input: count("prompt_tokens"), output: count("completion_tokens") });
    }
    chunks.push(Chunk::Finished(match choice.get("finish_reason").and_then(Value::as_str).ok_or_else(cut)? {
        "tool_calls" | "function_call" => FinishReason::ToolCalls,
        "length" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }));
    Ok(chunks)
}
