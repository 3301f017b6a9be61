//! A request as OpenAI's chat completions want it.
//!
//! It must not send anything. The body borrows from the conversation: a long one is not copied before it is written out.

use super::options::parameters;
use crate::provider::{Provider, TokenField, UsageReport};
use crate::written;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::message::{Attachment, Message, ToolCall};
use cofferdam_core::port::{ModelRequest, ResultTool, ToolChoice, ToolSpec};
use cofferdam_core::value::Map;
use serde::Serialize;
use serde_json::{Value, json};

/// The body of a streamed chat completion.
pub(super) fn body(provider: &Provider, model: &str, request: &ModelRequest) -> Result<Bytes, Fault> {
    let settings = &request.settings;
    let bound = |field| settings.max_tokens.filter(|_| provider.token_field == field);
    let has_tools = !request.tools.is_empty();
    let body = Body {
        model,
        messages: request.messages.iter().map(message).collect(),
        tools: request.tools.iter().map(tool).collect(),
        tool_choice: Some(&request.tool_choice).filter(|_| has_tools).and_then(choice),
        max_completion_tokens: bound(TokenField::MaxCompletionTokens),
        max_tokens: bound(TokenField::MaxTokens),
        parameters: parameters(provider, settings),
        response_format: request.result.as_ref().map(response_format),
        stream: true,
        stream_options: (provider.usage == UsageReport::OnRequest).then(|| json!({ "include_usage": true })),
    };
    written::json(&body)
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<WireMessage<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<OfferedTool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(flatten)]
    parameters: Map,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Value>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum WireMessage<'a> {
    System {
        content: &'a str,
    },
    User {
        content: Content<'a>,
    },
    Assistant {
        /// Null beside calls, as OpenAI writes it itself.
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<WireCall<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(&'a str),
    Parts(Vec<Value>),
}

#[derive(Serialize)]
struct WireCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

#[derive(Serialize)]
struct OfferedTool<'a> {
    r#type: &'static str,
    function: OfferedFunction<'a>,
}

#[derive(Serialize)]
struct OfferedFunction<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

fn message(message: &Message) -> WireMessage<'_> {
    match message {
        Message::System { text } => WireMessage::System { content: text },
        Message::User { text, attachments } if attachments.is_empty() => {
            WireMessage::User { content: Content::Text(text) }
        }
        Message::User { text, attachments } => {
            let written = json!({ "type": "text", "text": &**text });
            let parts = std::iter::once(written).chain(attachments.iter().map(attachment)).collect();
            WireMessage::User { content: Content::Parts(parts) }
        }
        Message::Assistant { text, tool_calls, .. } => WireMessage::Assistant {
            content: Some(&**text).filter(|text| !text.is_empty() || tool_calls.is_empty()),
            tool_calls: tool_calls.iter().map(call).collect(),
        },
        Message::Tool { call_id, text, .. } => WireMessage::Tool { tool_call_id: call_id, content: text },
    }
}

fn attachment(file: &Attachment) -> Value {
    let url = format!("data:{};base64,{}", file.media_type, file.base64);
    if file.media_type.starts_with("image/") {
        return json!({ "type": "image_url", "image_url": { "url": url } });
    }
    json!({ "type": "file", "file": { "filename": file.name, "file_data": url } })
}

fn call(call: &ToolCall) -> WireCall<'_> {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    WireCall { id: &call.id, r#type: "function", function: CalledFunction { name: &call.name, arguments } }
}

fn tool(tool: &ToolSpec) -> OfferedTool<'_> {
    let function = OfferedFunction { name: &tool.name, description: &tool.description, parameters: &tool.parameters };
    OfferedTool { r#type: "function", function }
}

/// The guarantee that the answer fits a schema.
fn response_format(result: &ResultTool) -> Value {
    let schema = json!({ "name": &*result.name, "schema": &*result.schema, "strict": true });
    json!({ "type": "json_schema", "json_schema": schema })
}

/// What to say of the choice; nothing for the default.
fn choice(choice: &ToolChoice) -> Option<Value> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Tool(name) => Some(json!({ "type": "function", "function": { "name": name } })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;
    use crate::testing;
    use std::sync::Arc;

    fn written(provider: &Provider, request: &ModelRequest) -> Value {
        serde_json::from_slice(&body(provider, "m", request).unwrap()).unwrap()
    }

    #[test]
    fn a_conversation_with_a_tool_round_trip_is_written_as_the_api_wants_it() {
        let expected = json!([
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "call_a", "type": "function", "function": {"name": "get", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "call_a", "content": "18C"},
        ]);
        let body = written(&Provider::new("x", "http://x/v1"), &testing::conversation());
        assert_eq!(body.get("messages"), Some(&expected));
        assert_eq!(body.get("stream_options"), Some(&json!({"include_usage": true})));
        assert!(body.get("tools").is_none() && body.get("tool_choice").is_none());
    }

    #[test]
    fn each_provider_gets_the_fields_that_it_reads() {
        let mut request = testing::conversation();
        request.settings.max_tokens = Some(9);
        request.settings.temperature = Some(0.5);
        let openai = written(&Known::find("openai").unwrap().provider(), &request);
        assert_eq!((openai.get("max_completion_tokens"), openai.get("max_tokens")), (Some(&json!(9)), None));
        let mistral = written(&Known::find("mistral").unwrap().provider(), &request);
        assert_eq!((mistral.get("max_completion_tokens"), mistral.get("max_tokens")), (None, Some(&json!(9))));
        assert_eq!((mistral.get("stream_options"), mistral.get("temperature")), (None, Some(&json!(0.5))));
    }

    #[test]
    fn tools_and_the_choice_of_one_are_written() {
        let mut request = testing::conversation();
        let parameters = Arc::new(json!({"type": "object"}));
        request.tools = Arc::from([ToolSpec { name: "get".to_owned(), description: "Gets.".to_owned(), parameters }]);
        request.tool_choice = ToolChoice::Tool("get".to_owned());
        let body = written(&Provider::new("x", "http://x/v1"), &request);
        let offered = json!([{"type": "function", "function": {"name": "get", "description": "Gets.", "parameters": {"type": "object"}}}]);
        assert_eq!(body.get("tools"), Some(&offered));
        assert_eq!(body.get("tool_choice"), Some(&json!({"type": "function", "function": {"name": "get"}})));
    }
}
