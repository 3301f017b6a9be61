//! A request as Ollama wants it.
//!
//! It must not send anything.

use crate::kind::Kind;
use crate::provider::Provider;
use crate::written;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::message::{Attachment, Message, ToolCall};
use cofferdam_core::port::{ModelRequest, ModelSettings, ToolChoice, ToolSpec};
use cofferdam_core::value::Map;
use serde_json::{Value, json};

/// The body of a streamed request.
pub(super) fn body(provider: &Provider, model: &str, request: &ModelRequest) -> Result<Bytes, Fault> {
    let messages = request.messages.iter().map(|one| message(provider, one)).collect::<Result<Vec<_>, _>>()?;
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    body.insert("messages".to_owned(), Value::Array(messages));
    body.insert("stream".to_owned(), json!(true));
    let tools = tools(request);
    if !tools.is_empty() {
        body.insert("tools".to_owned(), Value::Array(tools));
    }
    if let Some(think) = request.settings.options.reasoning.as_ref().and_then(think) {
        body.insert("think".to_owned(), think);
    }
    if let Some(result) = &request.result {
        body.insert("format".to_owned(), (*result.schema).clone());
    }
    let options = options(&request.settings);
    if !options.is_empty() {
        body.insert("options".to_owned(), Value::Object(options));
    }
    request.settings.options.add_own(&provider.name, &mut body);
    written::json(&body)
}

/// What a request says of sampling; `num_ctx` and the like come from the provider's own part.
fn options(settings: &ModelSettings) -> Map {
    let ModelSettings { temperature, top_p, max_tokens, options } = settings;
    let stop = options.stop.as_ref().filter(|texts| !texts.is_empty());
    let said = [
        ("temperature", temperature.map(Value::from)),
        ("top_p", top_p.map(Value::from)),
        ("num_predict", max_tokens.map(Value::from)),
        ("seed", options.seed.map(Value::from)),
        ("stop", stop.map(|texts| json!(texts))),
        ("top_k", options.top_k.map(Value::from)),
        ("frequency_penalty", options.frequency_penalty.map(Value::from)),
        ("presence_penalty", options.presence_penalty.map(Value::from)),
    ];
    said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Whether to think, and how much: `none` and `off` mean not at all.
fn think(told: &Value) -> Option<Value> {
    match told {
        Value::Bool(_) => Some(told.clone()),
        Value::String(word) if matches!(word.as_str(), "none" | "off") => Some(json!(false)),
        Value::String(word) => Some(json!(word)),
        _ => None,
    }
}

/// The tools on offer. There is no choice to name in this protocol: none is none offered, and one is that one alone.
fn tools(request: &ModelRequest) -> Vec<Value> {
    let is_offered = |tool: &&ToolSpec| match &request.tool_choice {
        ToolChoice::None => false,
        ToolChoice::Tool(name) => tool.name == *name,
        ToolChoice::Auto | ToolChoice::Required => true,
    };
    request.tools.iter().filter(is_offered).map(tool).collect()
}

fn tool(tool: &ToolSpec) -> Value {
    let function = json!({ "name": tool.name, "description": tool.description, "parameters": &*tool.parameters });
    json!({ "type": "function", "function": function })
}

fn message(provider: &Provider, message: &Message) -> Result<Value, Fault> {
    Ok(match message {
        Message::System { text } => json!({ "role": "system", "content": &**text }),
        Message::User { text, attachments } if attachments.is_empty() => json!({ "role": "user", "content": &**text }),
        Message::User { text, attachments } => {
            let images = attachments.iter().map(|file| image(provider, file)).collect::<Result<Vec<_>, _>>()?;
            json!({ "role": "user", "content": &**text, "images": images })
        }
        Message::Assistant { text, tool_calls, .. } if tool_calls.is_empty() => {
            json!({ "role": "assistant", "content": &**text })
        }
        Message::Assistant { text, tool_calls, .. } => {
            json!({ "role": "assistant", "content": &**text, "tool_calls": tool_calls.iter().map(call).collect::<Vec<_>>() })
        }
        Message::Tool { name, text, .. } => json!({ "role": "tool", "tool_name": name, "content": &**text }),
    })
}

fn call(call: &ToolCall) -> Value {
    // What was no JSON was answered with an error; the model is shown what it wrote as far as the protocol can.
    let arguments = call.parse_arguments().ok().filter(Value::is_object);
    let arguments = arguments.unwrap_or_else(|| json!({ "invalid": call.arguments }));
    json!({ "function": { "name": call.name, "arguments": arguments } })
}

fn image(provider: &Provider, file: &Attachment) -> Result<Value, Fault> {
    if file.media_type.starts_with("image/") {
        return Ok(json!(&*file.base64));
    }
    let message =
        format!("`{}` is of type `{}`, and provider `{}` takes images only", file.name, file.media_type, provider.name);
    Err(Kind::BadRequest.fault(message).with_hint("give the file as text, or use another model"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;
    use crate::testing;
    use std::sync::Arc;

    fn written(request: &ModelRequest) -> Value {
        serde_json::from_slice(&body(&Known::find("ollama").unwrap().provider(), "m", request).unwrap()).unwrap()
    }

    #[test]
    fn a_conversation_with_a_tool_round_trip_is_written_as_the_api_wants_it() {
        let written = written(&testing::conversation());
        let expected = json!([
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "look", "images": ["QQ=="]},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get", "arguments": {}}}]},
            {"role": "tool", "tool_name": "get", "content": "18C"},
        ]);
        assert_eq!(written["messages"], expected);
        assert_eq!((&written["stream"], written.get("options")), (&json!(true), None));
    }

    #[test]
    fn options_have_their_fields_and_the_context_is_the_users() {
        let mut request = testing::request("a", "x");
        request.settings.max_tokens = Some(9);
        request.settings.temperature = Some(0.5);
        let said = json!({
            "seed": 7, "topK": 4, "stop": ["END"], "reasoning": "high",
            "provider": { "ollama": { "keep_alive": "5m", "options": { "num_ctx": 8192 } } },
        });
        request.settings.options = Arc::new(serde_json::from_value(said).unwrap());
        let written = written(&request);
        let options =
            json!({ "temperature": 0.5, "num_predict": 9, "seed": 7, "stop": ["END"], "top_k": 4, "num_ctx": 8192 });
        assert_eq!(
            (&written["options"], &written["think"], &written["keep_alive"]),
            (&options, &json!("high"), &json!("5m"))
        );
    }

    #[test]
    fn a_choice_is_what_is_offered() {
        let mut request = testing::request("a", "x");
        let tool = |name: &str| ToolSpec {
            name: name.to_owned(),
            description: String::new(),
            parameters: Arc::new(json!({"type": "object"})),
        };
        request.tools = Arc::from([tool("a"), tool("b")]);
        for (choice, offered) in [
            (ToolChoice::Auto, 2),
            (ToolChoice::Required, 2),
            (ToolChoice::Tool("b".to_owned()), 1),
            (ToolChoice::None, 0),
        ] {
            request.tool_choice = choice;
            assert_eq!(written(&request)["tools"].as_array().map_or(0, Vec::len), offered);
        }
    }

    #[test]
    fn what_is_no_image_is_refused_before_it_is_sent() {
        let mut request = testing::request("a", "x");
        let file = Attachment {
            name: "a.pdf".to_owned(),
            media_type: "application/pdf".to_owned(),
            base64: Arc::from("QQ=="),
        };
        request.messages = Arc::new(vec![Message::User { text: Arc::from("read"), attachments: vec![file] }]);
        let fault = body(&Known::find("ollama").unwrap().provider(), "m", &request).unwrap_err();
        assert_eq!(fault.code, "model_bad_request");
        assert!(fault.message.contains("a.pdf"), "{fault}");
    }
}
