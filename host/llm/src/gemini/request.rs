//! A request as Google's `generateContent` wants it.
//!
//! It must not send anything.

use super::KEPT;
use crate::protocol::{Api, Asked};
use crate::provider::Provider;
use crate::schema::{Use, fit};
use crate::verbatim;
use crate::written;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::message::{Attachment, Message, ToolCall};
use cofferdam_core::port::{ModelRequest, ModelSettings, ToolChoice, ToolSpec};
use cofferdam_core::value::Map;
use serde_json::{Value, json};

/// The body of a streamed request.
pub(super) fn body(provider: &Provider, model: &str, request: &ModelRequest) -> Result<Bytes, Fault> {
    let asked = Asked::of(provider, model, request);
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    if let Some(system) = written::system_text(&request.messages) {
        put("systemInstruction", json!({ "parts": [{ "text": system }] }));
    }
    put("contents", Value::Array(contents(&asked, &request.messages)));
    if !request.tools.is_empty() {
        let declared: Vec<Value> = request.tools.iter().map(tool).collect();
        put("tools", json!([{ "functionDeclarations": declared }]));
        if let Some(choice) = choice(&request.tool_choice) {
            put("toolConfig", json!({ "functionCallingConfig": choice }));
        }
    }
    let mut config = config(&request.settings);
    if let Some(result) = &request.result {
        config.insert("responseMimeType".to_owned(), json!("application/json"));
        config.insert("responseJsonSchema".to_owned(), (*result.schema).clone());
    }
    if !config.is_empty() {
        put("generationConfig", Value::Object(config));
    }
    request.settings.options.add_own(&provider.name, &mut body);
    written::json(&body)
}

fn config(settings: &ModelSettings) -> Map {
    let ModelSettings { temperature, top_p, max_tokens, options } = settings;
    let stop = options.stop.as_ref().filter(|texts| !texts.is_empty());
    let said = [
        ("temperature", temperature.map(Value::from)),
        ("topP", top_p.map(Value::from)),
        ("topK", options.top_k.map(Value::from)),
        ("maxOutputTokens", max_tokens.map(Value::from)),
        ("stopSequences", stop.map(|texts| json!(texts))),
        ("seed", options.seed.map(Value::from)),
        ("frequencyPenalty", options.frequency_penalty.map(Value::from)),
        ("presencePenalty", options.presence_penalty.map(Value::from)),
        ("thinkingConfig", options.reasoning.as_ref().and_then(thinking)),
    ];
    said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// How much the model thinks: a word, or the protocol's own table. Thoughts are asked for, so that they can be shown.
fn thinking(told: &Value) -> Option<Value> {
    match told {
        Value::String(word) if matches!(word.as_str(), "none" | "off") => Some(json!({ "thinkingBudget": 0 })),
        Value::String(word) => Some(json!({ "thinkingLevel": word, "includeThoughts": true })),
        Value::Object(_) => Some(told.clone()),
        _ => None,
    }
}

/// Turns alternate: what follows from the same side is one turn.
fn contents(asked: &Asked, messages: &[Message]) -> Vec<Value> {
    let mut turns: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for message in messages {
        let (role, parts) = match message {
            Message::System { .. } => continue,
            Message::User { text, attachments } => ("user", user(text, attachments)),
            Message::Assistant { text, tool_calls, opaque } => ("model", model(asked, text, tool_calls, opaque)),
            Message::Tool { call_id, name, text, is_error } => ("user", vec![result(call_id, name, text, *is_error)]),
        };
        match turns.last_mut() {
            Some((last, before)) if *last == role => before.extend(parts),
            _ => turns.push((role, parts)),
        }
    }
    let turns = turns.into_iter().filter(|(_, parts)| !parts.is_empty());
    turns.map(|(role, parts)| json!({ "role": role, "parts": parts })).collect()
}

fn user(text: &str, attachments: &[Attachment]) -> Vec<Value> {
    let files =
        attachments.iter().map(|file| json!({ "inlineData": { "mimeType": file.media_type, "data": &*file.base64 } }));
    std::iter::once(json!({ "text": text })).chain(files).collect()
}

/// What the model said: with its signatures where they were kept, and the ids that calls were given here.
fn model(asked: &Asked, text: &str, calls: &[ToolCall], opaque: &[cofferdam_core::message::Opaque]) -> Vec<Value> {
    let kept = verbatim::kept(opaque, KEPT, asked, calls, |part| part.get("functionCall")?.get("id")?.as_str());
    if let Some(parts) = kept {
        return parts.to_vec();
    }
    let text = (!text.is_empty()).then(|| json!({ "text": text }));
    text.into_iter().chain(calls.iter().map(call)).collect()
}

fn call(call: &ToolCall) -> Value {
    // What was no JSON was answered with an error; the model is shown what it wrote as far as the protocol can.
    let args = call.parse_arguments().ok().filter(Value::is_object);
    let args = args.unwrap_or_else(|| json!({ "invalid": call.arguments }));
    json!({ "functionCall": { "id": call.id, "name": call.name, "args": args } })
}

/// A result is an object in this protocol; the names of its members are the ones that the provider's own tools take.
fn result(call_id: &str, name: &str, text: &str, is_error: bool) -> Value {
    let member = if is_error { "error" } else { "output" };
    json!({ "functionResponse": { "id": call_id, "name": name, "response": { member: text } } })
}

fn tool(tool: &ToolSpec) -> Value {
    let parameters = fit(Api::Gemini, Use::Tool, &tool.parameters).schema;
    json!({ "name": tool.name, "description": tool.description, "parametersJsonSchema": parameters })
}

/// What to say of the choice; nothing for the default.
fn choice(choice: &ToolChoice) -> Option<Value> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!({ "mode": "NONE" })),
        ToolChoice::Required => Some(json!({ "mode": "ANY" })),
        ToolChoice::Tool(name) => Some(json!({ "mode": "ANY", "allowedFunctionNames": [name] })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;
    use crate::testing;
    use std::sync::Arc;

    fn written(request: &ModelRequest) -> Value {
        serde_json::from_slice(&body(&Known::find("gemini").unwrap().provider(), "m", request).unwrap()).unwrap()
    }

    #[test]
    fn a_conversation_with_a_tool_round_trip_is_written_as_the_api_wants_it() {
        let written = written(&testing::conversation());
        let expected = json!([
            {"role": "user", "parts": [{"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": "QQ=="}}]},
            {"role": "model", "parts": [{"functionCall": {"id": "call_a", "name": "get", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"id": "call_a", "name": "get", "response": {"output": "18C"}}}]},
        ]);
        assert_eq!(written["contents"], expected);
        assert_eq!(written["systemInstruction"], json!({"parts": [{"text": "be brief"}]}));
        assert!(written.get("tools").is_none() && written.get("generationConfig").is_none());
    }

    #[test]
    fn signatures_go_back_in_their_own_parts() {
        let parts =
            vec![json!({"functionCall": {"id": "call_a", "name": "get", "args": {}}, "thoughtSignature": "c2ln"})];
        let asked = Asked { provider: "gemini".to_owned(), model: "m".to_owned(), ..Asked::default() };
        let mut request = testing::conversation();
        if let Some(Message::Assistant { opaque, .. }) = Arc::make_mut(&mut request.messages).get_mut(2) {
            opaque.push(verbatim::keep(KEPT, &asked, parts.clone()));
        }
        assert_eq!(written(&request)["contents"][1]["parts"], json!(parts));
    }

    #[test]
    fn options_and_choices_have_their_fields() {
        let mut request = testing::request("a", "x");
        request.settings.max_tokens = Some(9);
        let said = json!({
            "seed": 7, "topK": 4, "stop": ["END"], "reasoning": "low",
            "provider": { "gemini": { "generationConfig": { "responseModalities": ["TEXT"] }, "safetySettings": [] } },
        });
        request.settings.options = Arc::new(serde_json::from_value(said).unwrap());
        let parameters = Arc::new(json!({"type": "object", "additionalProperties": false}));
        request.tools = Arc::from([ToolSpec { name: "get".to_owned(), description: "Gets.".to_owned(), parameters }]);
        request.tool_choice = ToolChoice::Tool("get".to_owned());
        let sent = written(&request);
        let config = json!({
            "topK": 4, "maxOutputTokens": 9, "stopSequences": ["END"], "seed": 7,
            "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": true}, "responseModalities": ["TEXT"],
        });
        assert_eq!((&sent["generationConfig"], &sent["safetySettings"]), (&config, &json!([])));
        let declared = json!([{"functionDeclarations": [{"name": "get", "description": "Gets.", "parametersJsonSchema": {"type": "object", "additionalProperties": false}}]}]);
        assert_eq!(sent["tools"], declared);
        assert_eq!(
            sent["toolConfig"]["functionCallingConfig"],
            json!({"mode": "ANY", "allowedFunctionNames": ["get"]})
        );
        for (chosen, mode) in
            [(ToolChoice::None, json!({"mode": "NONE"})), (ToolChoice::Required, json!({"mode": "ANY"}))]
        {
            assert_eq!(choice(&chosen), Some(mode));
        }
        assert_eq!(choice(&ToolChoice::Auto), None);
    }
}
