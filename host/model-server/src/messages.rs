//! Anthropic Messages. It must not know any mode by name.

use crate::answer::{Answer, Call, End, Kind, Part, Text, Usage};
use crate::asked::{Asked, Kept, content_of, items, string};
use crate::compose::{SIGNATURE, thought};
use crate::failure::{Failure, reset_time};
use crate::frame::{Frame, Framing, Step};
use crate::http::Request;
use crate::mode::{Does, Quirk};
use crate::wire::{About, Wire};
use serde_json::{Value, json};

/// The version that takes no sampling parameters.
const NEWEST: &str = "2026-10-21";

pub(crate) struct Messages;

impl Wire for Messages {
    fn asked(&self, request: &Request, body: &Value) -> Result<Asked, String> {
        let version = request.header("anthropic-version").ok_or("anthropic-version: header is required")?;
        if body.get("max_tokens").and_then(Value::as_u64).unwrap_or_default() == 0 {
            return Err("max_tokens: Field required".to_owned());
        }
        let sampling = ["temperature", "top_p", "top_k"].into_iter().find(|field| body.get(field).is_some());
        if let Some(field) = sampling.filter(|_| version == NEWEST) {
            return Err(format!("{field}: Extra inputs are not permitted"));
        }
        let messages = items(body, "/messages");
        if messages.is_empty() {
            return Err("messages: at least one message is required".to_owned());
        }
        check_messages(messages)?;
        if version == NEWEST {
            check_newest(messages)?;
        }
        let tools = items(body, "/tools").iter().filter(|tool| tool.get("input_schema").is_some());
        let tools =
            tools.map(|tool| (string(tool, "/name").to_owned(), tool.get("input_schema").cloned().unwrap_or_default()));
        let blocks = messages.iter().flat_map(|message| items(message, "/content"));
        let results = blocks.filter(|block| string(block, "/type") == "tool_result");
        let schema = body.pointer("/output_config/format/schema").or_else(|| body.pointer("/output_format/schema"));
        Ok(Asked {
            tools: tools.collect(),
            results: results.map(|block| content_of(block, "content")).collect(),
            schema: schema.cloned(),
            usage: true,
            sealed: true,
            kept: Kept::from(messages.iter().any(is_kept)),
        })
    }

    fn is_stream(&self, _request: &Request, body: &Value) -> bool {
        body.get("stream") == Some(&Value::Bool(true))
    }

    fn framing(&self, _request: &Request) -> Framing {
        Framing::Events { eol: "\n" }
    }

    fn lacks(&self, does: &Does) -> Option<&'static str> {
        match does {
            Does::Bend(Quirk::NoIndex | Quirk::ReusedIndex) => {
                Some("blocks of Messages have an index each; nobody was seen to leave it out")
            }
            _ => None,
        }
    }

    fn frames(&self, answer: &Answer) -> Vec<Frame> {
        let mut message = self.whole(answer);
        if let Value::Object(message) = &mut message {
            message.insert("content".to_owned(), json!([]));
            message.insert("stop_reason".to_owned(), Value::Null);
            if let Some(usage) = &answer.usage {
                message.insert("usage".to_owned(), written(usage, 1));
            }
        }
        let mut frames = vec![event(Step::Frame, "message_start", &json!({ "message": message }))];
        let mut index = 0;
        if answer.bent(Quirk::Unknown) {
            frames.extend(unknown());
            index += 1;
        }
        for part in &answer.parts {
            frames.extend(block(answer, part, index));
            if index == 0 {
                frames.insert(frames.len().min(2), event(Step::Frame, "ping", &json!({})));
            }
            index += 1;
        }
        let mut end = json!({"delta": {"stop_reason": reason(answer), "stop_sequence": null}});
        if let (Value::Object(end), Some(usage)) = (&mut end, &answer.usage) {
            end.insert("usage".to_owned(), json!({"output_tokens": usage.output}));
        }
        frames.push(event(Step::Frame, "message_delta", &end));
        frames.push(event(Step::End, "message_stop", &json!({})));
        frames
    }

    fn whole(&self, answer: &Answer) -> Value {
        let mut message = json!({
            "id": format!("msg_{}", answer.number),
            "type": "message",
            "role": "assistant",
            "model": answer.model,
            "content": answer.parts.iter().map(whole_block).collect::<Vec<_>>(),
            "stop_reason": reason(answer),
            "stop_sequence": null,
        });
        if let (Value::Object(message), Some(usage)) = (&mut message, &answer.usage) {
            message.insert("usage".to_owned(), written(usage, usage.output));
        }
        message
    }

    fn error_frame(&self, _framing: Framing) -> Frame {
        let error = json!({"type": "overloaded_error", "message": "Overloaded"});
        event(Step::Frame, "error", &json!({"error": error, "request_id": "req_1"}))
    }

    fn sign_of_life(&self) -> Frame {
        event(Step::Frame, "ping", &json!({}))
    }

    fn headers(&self, number: u64) -> Vec<(&'static str, String)> {
        let mut headers = vec![("request-id", request_id(number))];
        let limits = [
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-tokens-limit", "480000"),
            ("anthropic-ratelimit-tokens-remaining", "479000"),
            ("anthropic-ratelimit-input-tokens-limit", "400000"),
            ("anthropic-ratelimit-input-tokens-remaining", "399000"),
            ("anthropic-ratelimit-output-tokens-limit", "80000"),
            ("anthropic-ratelimit-output-tokens-remaining", "80000"),
        ];
        headers.extend(limits.map(|(name, value)| (name, value.to_owned())));
        let resets = [
            "anthropic-ratelimit-requests-reset",
            "anthropic-ratelimit-tokens-reset",
            "anthropic-ratelimit-input-tokens-reset",
            "anthropic-ratelimit-output-tokens-reset",
        ];
        headers.extend(resets.map(|name| (name, reset_time())));
        headers
    }

    fn failure(&self, failure: &Failure, about: &About<'_>) -> (Value, Vec<(&'static str, String)>) {
        let (kind, message) = words(failure, about);
        let mut error = json!({"type": kind, "message": message});
        let mut headers = failure.retry_headers();
        if let (Failure::Quota, Value::Object(error)) = (failure, &mut error) {
            error.insert("details".to_owned(), json!({"error_code": "enforced_spend_limit_reached"}));
        }
        let decides = match failure {
            Failure::RateLimit(_) | Failure::Internal | Failure::Overloaded => Some("true"),
            Failure::BadRequest | Failure::Unauthorized | Failure::Quota => Some("false"),
            _ => None,
        };
        headers.extend(decides.map(|decides| ("x-should-retry", decides.to_owned())));
        (json!({"type": "error", "error": error, "request_id": request_id(about.number)}), headers)
    }
}

fn words(failure: &Failure, about: &About<'_>) -> (&'static str, String) {
    let (kind, message) = match failure {
        Failure::BadRequest => ("invalid_request_error", "x: Extra inputs are not permitted"),
        Failure::Refused(reason) => ("invalid_request_error", reason.as_str()),
        Failure::Unprocessable => ("invalid_request_error", "The request could not be processed"),
        Failure::Unauthorized | Failure::WithStatus200 => ("authentication_error", "invalid x-api-key"),
        Failure::Forbidden => ("permission_error", "Your API key does not have permission to use this resource"),
        Failure::NotFound => return ("not_found_error", format!("model: {}", about.model)),
        Failure::TooLarge => ("request_too_large", "Request exceeds the maximum size"),
        Failure::RateLimit(_) => ("rate_limit_error", "This request would exceed your rate limit"),
        Failure::Quota => ("rate_limit_error", "You have reached your monthly spend limit"),
        Failure::Overloaded => ("overloaded_error", "Overloaded"),
        Failure::Internal | Failure::Unavailable | Failure::BadGateway | Failure::SignIn => {
            ("api_error", "Internal server error")
        }
    };
    (kind, message.to_owned())
}

/// Roles, and that each call has its result at the start of the next message.
fn check_messages(messages: &[Value]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = string(message, "/role");
        if role != "user" && role != "assistant" {
            return Err(format!("messages.{at}.role: Input should be 'user' or 'assistant'"));
        }
        let content = items(message, "/content");
        let results = content.iter().take_while(|block| string(block, "/type") == "tool_result");
        let results: Vec<&str> = results.map(|block| string(block, "/tool_use_id")).collect();
        if let Some(id) = open.iter().find(|id| !results.contains(id)) {
            return Err(format!(
                "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {id}"
            ));
        }
        let every = content.iter().filter(|block| string(block, "/type") == "tool_result");
        if let Some(block) = every.into_iter().find(|block| !open.contains(&string(block, "/tool_use_id"))) {
            let id = string(block, "/tool_use_id");
            return Err(format!("messages.{at}.content: unexpected `tool_use_id` found in `tool_result` blocks: {id}"));
        }
        let calls = content.iter().filter(|block| string(block, "/type") == "tool_use");
        open = calls.map(|block| string(block, "/id")).collect();
    }
    match open.first() {
        None => Ok(()),
        Some(id) => Err(format!("`tool_use` ids were found without `tool_result` blocks immediately after: {id}")),
    }
}

/// What the newest version takes no more.
fn check_newest(messages: &[Value]) -> Result<(), String> {
    for (at, message) in messages.iter().enumerate() {
        let is_assistant = string(message, "/role") == "assistant";
        for block in items(message, "/content") {
            match string(block, "/type") {
                "document" if is_assistant => {
                    return Err(format!("messages.{at}: `document` blocks are not permitted in assistant turns"));
                }
                "text" if !is_assistant && block.get("citations").is_some_and(|citations| !citations.is_null()) => {
                    return Err(format!("messages.{at}: `citations` are not permitted in user turns"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether the signed reasoning came back as it was.
fn is_kept(message: &Value) -> bool {
    string(message, "/role") == "assistant"
        && items(message, "/content").first().is_some_and(|block| {
            string(block, "/type") == "thinking"
                && string(block, "/signature") == SIGNATURE
                && string(block, "/thinking") == thought()
        })
}

fn request_id(number: u64) -> String {
    format!("req_{number:08x}")
}

fn reason(answer: &Answer) -> &'static str {
    match answer.end {
        End::Calls if answer.bent(Quirk::StopWithCalls) => "end_turn",
        End::Calls => "tool_use",
        End::Stop => "end_turn",
        End::Length => "max_tokens",
        End::Refused | End::Filtered => "refusal",
    }
}

fn written(usage: &Usage, output: u64) -> Value {
    json!({
        "input_tokens": usage.input.saturating_sub(usage.read + usage.written),
        "cache_creation_input_tokens": usage.written,
        "cache_read_input_tokens": usage.read,
        "output_tokens": output,
    })
}

fn event(step: Step, name: &'static str, fields: &Value) -> Frame {
    let mut data = json!({ "type": name });
    if let (Value::Object(data), Value::Object(fields)) = (&mut data, fields) {
        data.extend(fields.clone());
    }
    Frame::named(step, name, &data)
}

fn call_block(call: &Call, input: &Value) -> Value {
    json!({"type": "tool_use", "id": format!("toolu_{}", call.id), "name": call.name, "input": input})
}

fn text_block(text: &Text, content: &str) -> Value {
    match text.kind {
        Kind::Thought => {
            json!({"type": "thinking", "thinking": content, "signature": text.signature.unwrap_or_default()})
        }
        Kind::Said | Kind::Refusal => json!({"type": "text", "text": content}),
    }
}

/// Arguments that are no JSON are a string here: a document cannot hold them otherwise.
fn whole_block(part: &Part) -> Value {
    match part {
        Part::Text(text) => text_block(text, &text.whole()),
        Part::Call(call) => call_block(call, &call.object().unwrap_or_else(|| json!(call.arguments))),
    }
}

fn block(answer: &Answer, part: &Part, index: usize) -> Vec<Frame> {
    let at = |step, name, field: &str, value: &Value| event(step, name, &json!({"index": index, field: value}));
    let delta = |step, value: &Value| at(step, "content_block_delta", "delta", value);
    let start = |value: &Value| at(Step::Frame, "content_block_start", "content_block", value);
    let mut frames = Vec::new();
    match part {
        Part::Text(text) => {
            let (kind, field) =
                if text.kind == Kind::Thought { ("thinking_delta", "thinking") } else { ("text_delta", "text") };
            let empty = Text { signature: None, ..text.clone() };
            frames.push(start(&text_block(&empty, "")));
            let piece = |piece: &String| delta(Step::Delta, &json!({"type": kind, field: piece})).times(text.times);
            frames.extend(text.pieces.iter().map(piece));
            if let Some(signature) = text.signature {
                frames.push(delta(Step::Frame, &json!({"type": "signature_delta", "signature": signature})));
            }
        }
        // Everything at once, as servers do that only imitate the protocol.
        Part::Call(call) if answer.bent(Quirk::ObjectArguments) => {
            let whole = call_block(call, &call.object().unwrap_or_default());
            frames.push(at(Step::Arguments, "content_block_start", "content_block", &whole));
        }
        Part::Call(call) => {
            frames.push(start(&call_block(call, &json!({}))));
            let [left, right] = call.halves();
            let pieces =
                if answer.bent(Quirk::WholeCall) { vec![call.arguments.as_str()] } else { vec!["", left, right] };
            frames.extend(pieces.into_iter().map(|piece| {
                let step = if piece.is_empty() { Step::Frame } else { Step::Arguments };
                delta(step, &json!({"type": "input_json_delta", "partial_json": piece}))
            }));
        }
    }
    frames.push(event(Step::Frame, "content_block_stop", &json!({ "index": index })));
    frames
}

fn unknown() -> [Frame; 4] {
    let delta = json!({"index": 0, "delta": {"type": "weather_delta", "sunny": true}});
    [
        event(Step::Frame, "weather_report", &json!({"forecast": "sunny"})),
        event(
            Step::Frame,
            "content_block_start",
            &json!({"index": 0, "content_block": {"type": "weather", "sunny": null}}),
        ),
        event(Step::Frame, "content_block_delta", &delta),
        event(Step::Frame, "content_block_stop", &json!({"index": 0})),
    ]
}
