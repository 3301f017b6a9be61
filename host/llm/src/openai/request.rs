//! A request as OpenAI's chat completions want it.
//!
//! It must not send anything. The body borrows from the conversation: a long one is not copied before it is written out.

use super::options::parameters;
use crate::kind::Kind;
use crate::provider::{Provider, TokenField, UsageReport};
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::message::{Attachment, Message, ToolCall};
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{ModelRequest, ToolChoice, ToolSpec};
use cofferdam_core::value::Map;
use cofferdam_egress::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
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
        parameters: parameters(provider, model, settings),
        stream: true,
        stream_options: (provider.usage == UsageReport::OnRequest).then(|| json!({ "include_usage": true })),
    };
    let bytes = serde_json::to_vec(&body);
    bytes.map(Bytes::from).map_err(|error| Fault::bug(format!("a request cannot be written as JSON: {error}")))
}

/// The headers, the key among them marked as sensitive. Those of the options never take the place of others.
pub(super) fn headers(provider: &Provider, options: &ModelOptions) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::new();
    let fixed = [("content-type", "application/json"), ("accept", "text/event-stream")];
    for (name, value) in fixed {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let own = [("openai-organization", &provider.organization), ("openai-project", &provider.project)];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let further = provider.headers.iter().map(|(name, value)| (name.as_str(), value.expose_secret()));
    let said = options.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in said.chain(own).chain(further) {
        let refuse =
            || Kind::NotConfigured.fault(format!("header `{name}` of provider `{}` cannot be sent", provider.name));
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse())?;
        headers.insert(header, HeaderValue::from_str(value).map_err(|_| refuse())?);
    }
    if let Some(key) = &provider.key {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())).map_err(|_| odd_key(provider))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static("authorization"), value);
    }
    Ok(headers)
}

fn odd_key(provider: &Provider) -> Fault {
    let place = provider.key_variable.as_deref().unwrap_or("the key");
    Kind::Auth
        .fault(format!("the key of provider `{}` has characters that cannot be sent", provider.name))
        .with_hint(format!("look for a line break or a quotation mark in {place}"))
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

    fn conversation() -> ModelRequest {
        let mut request = testing::request("a", "weather?");
        let call = ToolCall { id: "call_a".to_owned(), name: "get".to_owned(), arguments: String::new() };
        let image =
            Attachment { name: "x.png".to_owned(), media_type: "image/png".to_owned(), base64: Arc::from("QQ==") };
        request.messages = Arc::new(vec![
            Message::system("be brief"),
            Message::User { text: Arc::from("look"), attachments: vec![image] },
            Message::Assistant { text: Arc::from(""), tool_calls: vec![call], opaque: Vec::new() },
            Message::Tool {
                call_id: "call_a".to_owned(),
                name: "get".to_owned(),
                text: Arc::from("18C"),
                is_error: false,
            },
        ]);
        request
    }

    #[test]
    fn a_conversation_with_a_tool_round_trip_is_written_as_the_api_wants_it() {
        let expected = json!([
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "call_a", "type": "function", "function": {"name": "get", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "call_a", "content": "18C"},
        ]);
        let body = written(&Provider::new("x", "http://x/v1"), &conversation());
        assert_eq!(body.get("messages"), Some(&expected));
        assert_eq!(body.get("stream_options"), Some(&json!({"include_usage": true})));
        assert!(body.get("tools").is_none() && body.get("tool_choice").is_none());
    }

    #[test]
    fn each_provider_gets_the_fields_that_it_reads() {
        let mut request = conversation();
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
        let mut request = conversation();
        let parameters = Arc::new(json!({"type": "object"}));
        request.tools = Arc::from([ToolSpec { name: "get".to_owned(), description: "Gets.".to_owned(), parameters }]);
        request.tool_choice = ToolChoice::Tool("get".to_owned());
        let body = written(&Provider::new("x", "http://x/v1"), &request);
        let offered = json!([{"type": "function", "function": {"name": "get", "description": "Gets.", "parameters": {"type": "object"}}}]);
        assert_eq!(body.get("tools"), Some(&offered));
        assert_eq!(body.get("tool_choice"), Some(&json!({"type": "function", "function": {"name": "get"}})));
    }

    #[test]
    fn a_key_goes_into_a_sensitive_header_and_an_odd_one_is_refused() {
        let mut provider = Provider::new("x", "http://x/v1").with_key("sk-1");
        provider.project = Some("p".to_owned());
        let sent = headers(&provider, &ModelOptions::default()).unwrap();
        assert!(sent.get("authorization").is_some_and(HeaderValue::is_sensitive));
        assert_eq!(sent.get("openai-project").unwrap(), "p");
        let odd = Provider::new("x", "http://x/v1").with_key("sk\n1");
        assert_eq!(headers(&odd, &ModelOptions::default()).unwrap_err().code, "model_auth");
    }
}
