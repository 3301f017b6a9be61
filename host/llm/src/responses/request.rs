//! A request as OpenAI's responses want it.
//!
//! It must not send anything.

use super::KEPT;
use crate::protocol::Asked;
use crate::provider::Provider;
use crate::verbatim;
use crate::written;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::message::{Attachment, Message, Opaque, ToolCall};
use cofferdam_core::port::{ModelRequest, ResultTool, ToolChoice, ToolSpec};
use cofferdam_core::value::Map;
use serde_json::{Value, json};

/// The body of a streamed request.
pub(super) fn body(provider: &Provider, model: &str, request: &ModelRequest) -> Result<Bytes, Fault> {
    let settings = &request.settings;
    let asked = Asked::of(provider, model, request);
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    put("model", Some(json!(model)));
    put("instructions", written::system_text(&request.messages).map(Value::from));
    put("input", Some(Value::Array(request.messages.iter().flat_map(|message| items(&asked, message)).collect())));
    if !request.tools.is_empty() {
        put("tools", Some(Value::Array(request.tools.iter().map(tool).collect())));
        put("tool_choice", choice(&request.tool_choice));
    }
    put("max_output_tokens", settings.max_tokens.map(Value::from));
    put("temperature", settings.temperature.map(Value::from));
    put("top_p", settings.top_p.map(Value::from));
    put("reasoning", settings.options.reasoning.as_ref().map(reasoning));
    put("text", request.result.as_ref().map(format));
    put("store", Some(json!(false)));
    put("include", reasons(model).then(|| json!(["reasoning.encrypted_content"])));
    put("stream", Some(json!(true)));
    settings.options.add_own(&provider.name, &mut body);
    written::json(&body)
}

/// The guarantee that the answer fits a schema.
fn format(result: &ResultTool) -> Value {
    json!({ "format": { "type": "json_schema", "name": &*result.name, "schema": &*result.schema, "strict": true } })
}

/// Families of models that do not reason, which refuse to be asked for their reasoning.
const PLAIN_FAMILIES: &[&str] = &["gpt-3", "gpt-4", "chatgpt-4"];

/// Whether there may be reasoning to bring back.
fn reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    !PLAIN_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// How much the model thinks: a word, or the protocol's own table.
fn reasoning(told: &Value) -> Value {
    match told {
        Value::String(word) => json!({ "effort": word, "summary": "auto" }),
        table => table.clone(),
    }
}

fn items(asked: &Asked, message: &Message) -> Vec<Value> {
    match message {
        Message::System { .. } => Vec::new(),
        Message::User { text, attachments } => vec![user(text, attachments)],
        Message::Assistant { text, tool_calls, opaque } => assistant(asked, text, tool_calls, opaque),
        Message::Tool { call_id, text, .. } => {
            vec![json!({ "type": "function_call_output", "call_id": call_id, "output": &**text })]
        }
    }
}

fn user(text: &str, attachments: &[Attachment]) -> Value {
    if attachments.is_empty() {
        return json!({ "role": "user", "content": text });
    }
    let written = json!({ "type": "input_text", "text": text });
    let parts: Vec<Value> = std::iter::once(written).chain(attachments.iter().map(attachment)).collect();
    json!({ "role": "user", "content": parts })
}

fn attachment(file: &Attachment) -> Value {
    let url = format!("data:{};base64,{}", file.media_type, file.base64);
    if file.media_type.starts_with("image/") {
        return json!({ "type": "input_image", "image_url": url, "detail": "auto" });
    }
    json!({ "type": "input_file", "filename": file.name, "file_data": url })
}

fn assistant(asked: &Asked, text: &str, calls: &[ToolCall], opaque: &[Opaque]) -> Vec<Value> {
    let kept = verbatim::kept(opaque, KEPT, asked, calls, |item| {
        let is_call = item.get("type").and_then(Value::as_str) == Some("function_call");
        item.get("call_id").and_then(Value::as_str).filter(|_| is_call)
    });
    if let Some(items) = kept {
        return items.to_vec();
    }
    let said = (!text.is_empty()).then(|| json!({ "role": "assistant", "content": text }));
    said.into_iter().chain(calls.iter().map(call)).collect()
}

fn call(call: &ToolCall) -> Value {
    let arguments = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
    json!({ "type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments })
}

/// Not strict: strict schemas are a subset, and arguments are validated by the host in any case.
fn tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function", "name": tool.name, "description": tool.description, "parameters": &*tool.parameters, "strict": false,
    })
}

/// What to say of the choice; nothing for the default.
fn choice(choice: &ToolChoice) -> Option<Value> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Tool(name) => Some(json!({ "type": "function", "name": name })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;
    use crate::testing;
    use std::sync::Arc;

    fn written(request: &ModelRequest) -> Value {
        let provider = Known::find("openai-responses").unwrap().provider();
        serde_json::from_slice(&body(&provider, "m", request).unwrap()).unwrap()
    }

    #[test]
    fn a_conversation_with_a_tool_round_trip_is_written_as_the_api_wants_it() {
        let written = written(&testing::conversation());
        let expected = json!([
            {"role": "user", "content": [
                {"type": "input_text", "text": "look"},
                {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "auto"},
            ]},
            {"type": "function_call", "call_id": "call_a", "name": "get", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_a", "output": "18C"},
        ]);
        assert_eq!((&written["input"], &written["instructions"]), (&expected, &json!("be brief")));
        assert_eq!((&written["store"], &written["stream"]), (&json!(false), &json!(true)));
        assert!(written.get("tools").is_none());
    }

    #[test]
    fn items_that_were_kept_go_back_as_they_came() {
        let items = vec![
            json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "e==", "summary": []}),
            json!({"type": "function_call", "id": "fc_1", "call_id": "call_a", "name": "get", "arguments": "{}"}),
        ];
        let asked = Asked { provider: "openai-responses".to_owned(), model: "m".to_owned(), ..Asked::default() };
        let mut request = testing::conversation();
        if let Some(Message::Assistant { opaque, .. }) = Arc::make_mut(&mut request.messages).get_mut(2) {
            opaque.push(verbatim::keep(KEPT, &asked, items.clone()));
        }
        let written = written(&request);
        assert_eq!(written["input"].as_array().unwrap()[1..3], items);
    }

    #[test]
    fn reasoning_is_asked_back_of_models_that_may_reason() {
        for (model, expected) in
            [("gpt-4.1", false), ("chatgpt-4o-latest", false), ("o4-mini", true), ("gpt-5.1", true), ("m", true)]
        {
            assert_eq!(reasons(model), expected, "{model}");
        }
    }

    #[test]
    fn settings_tools_and_choices_have_their_forms() {
        let mut request = testing::request("a", "x");
        request.settings.max_tokens = Some(9);
        request.settings.temperature = Some(0.5);
        let said =
            json!({ "reasoning": "low", "provider": { "openai-responses": { "text": { "verbosity": "low" } } } });
        request.settings.options = Arc::new(serde_json::from_value(said).unwrap());
        let parameters = Arc::new(json!({"type": "object"}));
        request.tools = Arc::from([ToolSpec { name: "get".to_owned(), description: "Gets.".to_owned(), parameters }]);
        request.tool_choice = ToolChoice::Tool("get".to_owned());
        let sent = written(&request);
        let tools = json!([{"type": "function", "name": "get", "description": "Gets.", "parameters": {"type": "object"}, "strict": false}]);
        assert_eq!((&sent["tools"], &sent["tool_choice"]), (&tools, &json!({"type": "function", "name": "get"})));
        assert_eq!((&sent["max_output_tokens"], &sent["temperature"]), (&json!(9), &json!(0.5)));
        assert_eq!(
            (&sent["reasoning"], &sent["text"]),
            (&json!({"effort": "low", "summary": "auto"}), &json!({"verbosity": "low"}))
        );
        assert_eq!(choice(&ToolChoice::Required), Some(json!("required")));
        assert_eq!((choice(&ToolChoice::None), choice(&ToolChoice::Auto)), (Some(json!("none")), None));
    }
}
