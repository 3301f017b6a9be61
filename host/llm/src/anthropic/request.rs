//! A request as Anthropic's messages want it.
//!
//! It must not send anything. Roles alternate: results of tools and what the user says next are one message.

use super::{KEPT, WITH_SAMPLING, version};
use crate::kind::Kind;
use crate::protocol::Asked;
use crate::provider::Provider;
use crate::verbatim;
use crate::written;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::message::{Attachment, Message, ToolCall};
use cofferdam_core::port::{ModelRequest, ModelSettings, ToolChoice, ToolSpec};
use cofferdam_core::value::Map;
use serde_json::{Value, json};

/// The bound of an answer when nobody says one; the protocol wants one.
const MAX_TOKENS: u32 = 8_192;
/// The least that thinking may be given; an answer with thinking has more.
const LEAST_THINKING: u64 = 1_024;
/// What thinking is given, by the words that other providers have for it.
const THINKING_TOKENS: &[(&str, u32)] = &[("minimal", 1_024), ("low", 2_048), ("medium", 8_192), ("high", 24_576)];

/// The body of a streamed request.
pub(super) fn body(provider: &Provider, model: &str, request: &ModelRequest) -> Result<Bytes, Fault> {
    let settings = &request.settings;
    let cached = settings.options.prompt_cache == Some(true);
    let asked = Asked::of(provider, model, request);
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| drop(body.insert(name.to_owned(), value));
    put("model", json!(model));
    put("max_tokens", json!(settings.max_tokens.unwrap_or(MAX_TOKENS)));
    put("stream", json!(true));
    if let Some(system) = system(&request.messages, cached) {
        put("system", system);
    }
    put("messages", Value::Array(messages(provider, &asked, &request.messages, cached)?));
    if !request.tools.is_empty() {
        put("tools", Value::Array(request.tools.iter().map(tool).collect()));
        if let Some(choice) = choice(&request.tool_choice) {
            put("tool_choice", choice);
        }
    }
    for (name, value) in sampling(provider, settings).into_iter().chain(thinking(settings)) {
        put(name, value);
    }
    if let Some(result) = &request.result {
        let format = json!({ "type": "json_schema", "schema": &*result.schema });
        put("output_config", json!({ "format": format }));
    }
    settings.options.add_own(&provider.name, &mut body);
    if settings.max_tokens.is_none() {
        make_room_beside_thinking(&mut body);
    }
    make_room_for_thinking(&mut body);
    written::json(&body)
}

fn sampling(provider: &Provider, settings: &ModelSettings) -> Vec<(&'static str, Value)> {
    let ModelSettings { temperature, top_p, options, .. } = settings;
    let stop = options.stop.as_ref().filter(|texts| !texts.is_empty());
    let samples = version(provider, settings) == WITH_SAMPLING;
    if !samples && (temperature.is_some() || top_p.is_some()) {
        tracing::warn!(provider = %provider.name, "this version of the protocol takes no temperature and no topP: they are left out");
    }
    let said = [
        ("temperature", temperature.filter(|_| samples).map(Value::from)),
        ("top_p", top_p.filter(|_| samples).map(Value::from)),
        ("top_k", options.top_k.filter(|_| samples).map(Value::from)),
        ("stop_sequences", stop.map(|texts| json!(texts))),
    ];
    said.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// How much the model thinks: a word, or the protocol's own table.
fn thinking(settings: &ModelSettings) -> Option<(&'static str, Value)> {
    match settings.options.reasoning.as_ref()? {
        Value::String(word) if matches!(word.as_str(), "none" | "off") => {
            Some(("thinking", json!({"type": "disabled"})))
        }
        Value::String(word) => {
            let tokens = THINKING_TOKENS.iter().find(|(known, _)| known == word);
            let tokens = tokens.or(THINKING_TOKENS.last()).map(|(_, tokens)| *tokens)?;
            Some(("thinking", json!({ "type": "enabled", "budget_tokens": tokens })))
        }
        table @ Value::Object(_) => Some(("thinking", table.clone())),
        _ => None,
    }
}

/// What thinking is given, if its bound is said.
fn thinking_tokens(body: &Map) -> Option<u64> {
    body.get("thinking")?.get("budget_tokens")?.as_u64()
}

/// A bound that nobody said leaves the answer its room beside the thinking.
fn make_room_beside_thinking(body: &mut Map) {
    if let Some(budget) = thinking_tokens(body) {
        body.insert("max_tokens".to_owned(), json!(budget.saturating_add(u64::from(MAX_TOKENS))));
    }
}

/// Thinking counts into the bound of the answer, which must be larger; and it cannot be had together with sampling or
/// a tool that must be used.
fn make_room_for_thinking(body: &mut Map) {
    let kind = body.get("thinking").and_then(|table| table.get("type")).and_then(Value::as_str);
    if kind.is_none_or(|kind| kind == "disabled") {
        return;
    }
    let most = body.get("max_tokens").and_then(Value::as_u64).unwrap_or(0);
    let is_forced = body.get("tool_choice").and_then(|choice| choice.get("type")).and_then(Value::as_str);
    if matches!(is_forced, Some("any" | "tool")) || most <= LEAST_THINKING {
        body.insert("thinking".to_owned(), json!({ "type": "disabled" }));
        return;
    }
    // The bound is what a budget was reckoned with, so thinking gives way to it.
    if thinking_tokens(body).is_some_and(|budget| budget >= most) {
        let half = json!((most / 2).max(LEAST_THINKING));
        if let Some(table) = body.get_mut("thinking").and_then(Value::as_object_mut) {
            table.insert("budget_tokens".to_owned(), half);
        }
    }
    for name in ["temperature", "top_p", "top_k"] {
        body.remove(name);
    }
}

/// All system texts, marked for the cache: they and the tools before them are what requests share.
fn system(messages: &[Message], cached: bool) -> Option<Value> {
    let text = written::system_text(messages)?;
    Some(if cached { json!([{ "type": "text", "text": text, "cache_control": mark() }]) } else { json!(text) })
}

fn mark() -> Value {
    json!({ "type": "ephemeral" })
}

fn messages(provider: &Provider, asked: &Asked, said: &[Message], cached: bool) -> Result<Vec<Value>, Fault> {
    let mut turns: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for message in said {
        let (role, blocks) = match message {
            Message::System { .. } => continue,
            Message::User { text, attachments } => ("user", user(provider, text, attachments)?),
            Message::Assistant { text, tool_calls, opaque } => {
                let kept = verbatim::kept(opaque, KEPT, asked, tool_calls, |block| {
                    let is_call = block.get("type").and_then(Value::as_str) == Some("tool_use");
                    block.get("id").and_then(Value::as_str).filter(|_| is_call)
                });
                ("assistant", kept.map_or_else(|| assistant(text, tool_calls), <[Value]>::to_vec))
            }
            Message::Tool { call_id, text, is_error, .. } => ("user", vec![result(call_id, text, *is_error)]),
        };
        match turns.last_mut() {
            Some((last, before)) if *last == role => before.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    // What a conversation has so far is what its next request begins with.
    if let Some(Value::Object(last)) = turns.last_mut().filter(|_| cached).and_then(|(_, blocks)| blocks.last_mut()) {
        last.insert("cache_control".to_owned(), mark());
    }
    let turns = turns.into_iter().filter(|(_, blocks)| !blocks.is_empty());
    Ok(turns.map(|(role, blocks)| json!({ "role": role, "content": blocks })).collect())
}

fn user(provider: &Provider, text: &str, attachments: &[Attachment]) -> Result<Vec<Value>, Fault> {
    let mut blocks = attachments.iter().map(|file| attachment(provider, file)).collect::<Result<Vec<_>, _>>()?;
    // An empty block is refused.
    if !text.is_empty() || blocks.is_empty() {
        let text = if text.is_empty() { " " } else { text };
        blocks.push(json!({ "type": "text", "text": text }));
    }
    Ok(blocks)
}

fn assistant(text: &str, calls: &[ToolCall]) -> Vec<Value> {
    let text = (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }));
    text.into_iter().chain(calls.iter().map(call)).collect()
}

fn call(call: &ToolCall) -> Value {
    // What was no JSON was answered with an error; the model is shown what it wrote as far as the protocol can.
    let input = call.parse_arguments().ok().filter(Value::is_object);
    let input = input.unwrap_or_else(|| json!({ "invalid": call.arguments }));
    json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input })
}

fn result(call_id: &str, text: &str, is_error: bool) -> Value {
    json!({ "type": "tool_result", "tool_use_id": call_id, "content": text, "is_error": is_error })
}

fn attachment(provider: &Provider, file: &Attachment) -> Result<Value, Fault> {
    let source = json!({ "type": "base64", "media_type": file.media_type, "data": &*file.base64 });
    match file.media_type.as_str() {
        "image/png" | "image/jpeg" | "image/gif" | "image/webp" => Ok(json!({ "type": "image", "source": source })),
        "application/pdf" => Ok(json!({ "type": "document", "source": source, "title": file.name })),
        other => {
            let message = format!(
                "`{}` is of type `{other}`, and provider `{}` takes PNG, JPEG, GIF, WebP and PDF only",
                file.name, provider.name
            );
            Err(Kind::BadRequest.fault(message).with_hint("give the file as text, or use another model"))
        }
    }
}

fn tool(tool: &ToolSpec) -> Value {
    json!({ "name": tool.name, "description": tool.description, "input_schema": &*tool.parameters })
}

/// What to say of the choice; nothing for the default.
fn choice(choice: &ToolChoice) -> Option<Value> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!({ "type": "none" })),
        ToolChoice::Required => Some(json!({ "type": "any" })),
        ToolChoice::Tool(name) => Some(json!({ "type": "tool", "name": name })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;
    use crate::testing;
    use cofferdam_core::message::Opaque;
    use std::sync::Arc;

    fn provider() -> Provider {
        Known::find("anthropic").unwrap().provider()
    }

    fn written(request: &ModelRequest) -> Value {
        serde_json::from_slice(&body(&provider(), "m", request).unwrap()).unwrap()
    }

    fn with_options(said: Value) -> ModelRequest {
        let mut request = testing::request("a", "x");
        request.settings.options = Arc::new(serde_json::from_value(said).unwrap());
        request
    }

    #[test]
    fn a_conversation_with_a_tool_round_trip_is_written_as_the_api_wants_it() {
        let mut request = testing::conversation();
        Arc::make_mut(&mut request.messages).push(Message::user("and now?"));
        let written = written(&request);
        let expected = json!([
            {"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="}},
                {"type": "text", "text": "look"},
            ]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "call_a", "name": "get", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_a", "content": "18C", "is_error": false},
                {"type": "text", "text": "and now?"},
            ]},
        ]);
        assert_eq!((&written["messages"], &written["system"]), (&expected, &json!("be brief")));
        assert_eq!((&written["max_tokens"], &written["stream"]), (&json!(MAX_TOKENS), &json!(true)));
        assert!(written.get("tools").is_none() && written.get("tool_choice").is_none());
    }

    #[test]
    fn what_the_model_thought_goes_back_untouched_to_it_alone() {
        let blocks = vec![
            json!({"type": "thinking", "thinking": "hm", "signature": "s=="}),
            json!({"type": "tool_use", "id": "call_a", "name": "get", "input": {"n": 1}}),
        ];
        let asked =
            |model: &str| Asked { provider: "anthropic".to_owned(), model: model.to_owned(), ..Asked::default() };
        for (model, expected) in
            [("m", json!(blocks)), ("other", json!([{"type": "tool_use", "id": "call_a", "name": "get", "input": {}}]))]
        {
            let mut request = testing::conversation();
            let kept: Opaque = verbatim::keep(KEPT, &asked(model), blocks.clone());
            if let Some(Message::Assistant { opaque, .. }) = Arc::make_mut(&mut request.messages).get_mut(2) {
                opaque.push(kept);
            }
            assert_eq!(written(&request)["messages"][1]["content"], expected, "{model}");
        }
    }

    #[test]
    fn sampling_is_sent_where_the_version_takes_it() {
        let mut request = with_options(
            json!({ "topK": 4, "stop": ["END"], "seed": 7, "provider": { "anthropic": { "service_tier": "auto" } } }),
        );
        request.settings.temperature = Some(0.5);
        let sent = written(&request);
        assert_eq!(
            (&sent["temperature"], &sent["top_k"], &sent["stop_sequences"]),
            (&json!(0.5), &json!(4), &json!(["END"]))
        );
        assert_eq!((&sent["service_tier"], sent.get("seed")), (&json!("auto"), None));
        let newest = Provider { api_version: Some("2026-10-21".to_owned()), ..provider() };
        let sent: Value = serde_json::from_slice(&body(&newest, "m", &request).unwrap()).unwrap();
        assert!(sent.get("temperature").is_none() && sent.get("top_k").is_none(), "{sent}");
    }

    #[test]
    fn thinking_gives_way_to_the_bound_and_beats_sampling() {
        let mut request = with_options(json!({ "reasoning": "high" }));
        request.settings.temperature = Some(0.5);
        request.settings.max_tokens = Some(4_000);
        let sent = written(&request);
        assert_eq!((&sent["thinking"]["budget_tokens"], sent.get("temperature")), (&json!(2_000), None));
        request.settings.max_tokens = Some(500);
        let small = written(&request);
        assert_eq!((&small["thinking"]["type"], &small["temperature"]), (&json!("disabled"), &json!(0.5)));
        let free = written(&with_options(json!({ "reasoning": "high" })));
        assert_eq!(
            (&free["thinking"]["budget_tokens"], &free["max_tokens"]),
            (&json!(24_576), &json!(24_576 + MAX_TOKENS))
        );
        let mut forced = with_options(json!({ "reasoning": { "type": "adaptive" } }));
        let parameters = Arc::new(json!({"type": "object"}));
        forced.tools = Arc::from([ToolSpec { name: "get".to_owned(), description: String::new(), parameters }]);
        forced.tool_choice = ToolChoice::Required;
        assert_eq!(written(&forced)["thinking"], json!({ "type": "disabled" }));
        assert_eq!(written(&with_options(json!({ "reasoning": "none" })))["thinking"], json!({ "type": "disabled" }));
        let own = json!({ "type": "adaptive" });
        assert_eq!(written(&with_options(json!({ "reasoning": own })))["thinking"], own);
    }

    #[test]
    fn the_cache_is_told_where_what_requests_share_ends() {
        let mut request = testing::conversation();
        request.settings.options = Arc::new(serde_json::from_value(json!({ "promptCache": true })).unwrap());
        let sent = written(&request);
        assert_eq!(sent["system"][0]["cache_control"], mark());
        assert_eq!(sent["messages"][2]["content"][0]["cache_control"], mark());
        assert_eq!(sent.to_string().matches("cache_control").count(), 2);
    }

    #[test]
    fn tools_choices_and_files_have_their_forms() {
        let mut request = testing::request("a", "x");
        let parameters = Arc::new(json!({"type": "object"}));
        request.tools = Arc::from([ToolSpec { name: "get".to_owned(), description: "Gets.".to_owned(), parameters }]);
        let tools = json!([{"name": "get", "description": "Gets.", "input_schema": {"type": "object"}}]);
        for (chosen, expected) in [
            (ToolChoice::Auto, Value::Null),
            (ToolChoice::None, json!({"type": "none"})),
            (ToolChoice::Required, json!({"type": "any"})),
            (ToolChoice::Tool("get".to_owned()), json!({"type": "tool", "name": "get"})),
        ] {
            request.tool_choice = chosen;
            let sent = written(&request);
            assert_eq!((&sent["tools"], sent.get("tool_choice").unwrap_or(&Value::Null)), (&tools, &expected));
        }
        let file = |media_type: &str| Attachment {
            name: "a".to_owned(),
            media_type: media_type.to_owned(),
            base64: Arc::from("QQ=="),
        };
        assert_eq!(attachment(&provider(), &file("application/pdf")).unwrap()["type"], "document");
        assert_eq!(attachment(&provider(), &file("audio/wav")).unwrap_err().code, "model_bad_request");
    }
}
