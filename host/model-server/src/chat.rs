//! OpenAI Chat Completions, which most other providers and local servers speak too. It must not know any mode by name.

use crate::answer::{Answer, Call, End, Kind, Part, Text, Usage};
use crate::asked::{Asked, content_of, items, string};
use crate::failure::Failure;
use crate::frame::{Frame, Framing, Step};
use crate::http::Request;
use crate::mode::Quirk;
use crate::openai;
use crate::wire::{About, Wire};
use serde_json::{Map, Value, json};

pub(crate) struct Chat;

impl Wire for Chat {
    fn asked(&self, _request: &Request, body: &Value) -> Result<Asked, String> {
        let messages = items(body, "/messages");
        if messages.is_empty() {
            return Err("Missing required parameter: 'messages'.".to_owned());
        }
        if body.get("stream_options").is_some_and(|options| !options.is_null()) && !streams(body) {
            return Err("The 'stream_options' parameter is only allowed when 'stream' is enabled.".to_owned());
        }
        check_results(messages)?;
        let tools = items(body, "/tools").iter().filter(|tool| string(tool, "/type") == "function");
        let tools = tools.map(|tool| {
            (
                string(tool, "/function/name").to_owned(),
                tool.pointer("/function/parameters").cloned().unwrap_or_default(),
            )
        });
        let results = messages.iter().filter(|message| string(message, "/role") == "tool");
        Ok(Asked {
            tools: tools.collect(),
            results: results.map(|message| content_of(message, "content")).collect(),
            schema: body.pointer("/response_format/json_schema/schema").cloned(),
            usage: body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true)),
            ..Asked::default()
        })
    }

    fn is_stream(&self, _request: &Request, body: &Value) -> bool {
        streams(body)
    }

    fn framing(&self, _request: &Request) -> Framing {
        Framing::Events { eol: "\n" }
    }

    fn frames(&self, answer: &Answer) -> Vec<Frame> {
        let chunks = Chunks { answer };
        let mut frames = Vec::new();
        let begins_with_call = matches!(answer.parts.first(), Some(Part::Call(_)));
        let content = if begins_with_call { Value::Null } else { json!("") };
        let mut opening = json!({"role": "assistant", "content": content, "refusal": null});
        if !begins_with_call {
            frames.push(chunks.delta(Step::Frame, &opening));
            opening = json!({});
        }
        if answer.bent(Quirk::Unknown) {
            frames.extend(chunks.unknown());
        }
        let mut calls = 0;
        for part in &answer.parts {
            match part {
                Part::Text(text) => frames.extend(chunks.text(text)),
                Part::Call(call) => {
                    frames.extend(chunks.call(call, calls, std::mem::take(&mut opening)));
                    calls += 1;
                }
            }
        }
        frames.push(chunks.chunk(Step::Frame, &json!([choice(&json!({}), Some(reason(answer)))]), None));
        if let Some(usage) = &answer.usage
            && answer.usage_asked
        {
            frames.push(chunks.chunk(Step::Frame, &json!([]), Some(written(usage))));
        }
        frames.push(Frame::text(Step::End, "[DONE]"));
        frames
    }

    fn whole(&self, answer: &Answer) -> Value {
        let text = answer.text(Kind::Said);
        let refusal = answer.text(Kind::Refusal);
        let has_calls = answer.calls().next().is_some();
        let mut message = json!({
            "role": "assistant",
            "content": if text.is_empty() && (has_calls || !refusal.is_empty()) { Value::Null } else { json!(text) },
            "refusal": if refusal.is_empty() { Value::Null } else { json!(refusal) },
            "annotations": [],
        });
        if let Value::Object(message) = &mut message {
            let thought = answer.text(Kind::Thought);
            if !thought.is_empty() {
                message.insert("reasoning_content".to_owned(), json!(thought));
            }
            if has_calls {
                let calls: Vec<Value> = answer.calls().map(|call| whole_call(answer, call)).collect();
                message.insert("tool_calls".to_owned(), json!(calls));
            }
        }
        let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": reason(answer)});
        let mut document = head(answer, "chat.completion");
        document.insert("choices".to_owned(), json!([choice]));
        if let Some(usage) = &answer.usage {
            document.insert("usage".to_owned(), written(usage));
        }
        Value::Object(document)
    }

    fn error_frame(&self, _framing: Framing) -> Frame {
        let message = "The server had an error while processing your request.";
        let error = json!({"message": message, "type": "server_error", "param": null, "code": null});
        Frame::new(Step::Frame, &json!({ "error": error }))
    }

    fn headers(&self, number: u64) -> Vec<(&'static str, String)> {
        openai::headers(number)
    }

    fn failure(&self, failure: &Failure, about: &About<'_>) -> (Value, Vec<(&'static str, String)>) {
        openai::failure(failure, about)
    }
}

fn streams(body: &Value) -> bool {
    body.get("stream") == Some(&Value::Bool(true))
}

/// Every call must be answered before the conversation goes on.
fn check_results(messages: &[Value]) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        if string(message, "/role") == "tool" {
            let id = string(message, "/tool_call_id");
            let at = open.iter().position(|called| *called == id);
            let at = at.ok_or_else(|| {
                format!("messages with role 'tool' must be a response to a preceding message with 'tool_calls': {id}")
            })?;
            open.swap_remove(at);
            continue;
        }
        if !open.is_empty() {
            break;
        }
        open = items(message, "/tool_calls").iter().map(|call| string(call, "/id")).collect();
    }
    match open.first() {
        None => Ok(()),
        Some(_) => {
            let rule = "must be followed by tool messages responding to each 'tool_call_id'";
            let ids = open.join(", ");
            Err(format!(
                "An assistant message with 'tool_calls' {rule}. \
                 The following tool_call_ids did not have response messages: {ids}"
            ))
        }
    }
}

fn reason(answer: &Answer) -> &'static str {
    match answer.end {
        End::Calls if answer.bent(Quirk::StopWithCalls) => "stop",
        End::Calls => "tool_calls",
        End::Stop | End::Refused => "stop",
        End::Length => "length",
        End::Filtered => "content_filter",
    }
}

fn written(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.read, "cache_write_tokens": usage.written},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

fn head(answer: &Answer, object: &str) -> Map<String, Value> {
    let head = json!({
        "id": format!("chatcmpl-{}", answer.number),
        "object": object,
        "created": 1_790_000_000,
        "model": answer.model,
        "system_fingerprint": "fp_0",
    });
    if let Value::Object(head) = head { head } else { Map::new() }
}

fn choice(delta: &Value, finish_reason: Option<&str>) -> Value {
    json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason})
}

fn call_id(call: &Call) -> String {
    format!("call_{}", call.id)
}

fn arguments(answer: &Answer, call: &Call) -> Value {
    match call.object() {
        Some(object) if answer.bent(Quirk::ObjectArguments) => object,
        _ => json!(call.arguments),
    }
}

fn whole_call(answer: &Answer, call: &Call) -> Value {
    let function = json!({"name": call.name, "arguments": arguments(answer, call)});
    json!({"id": call_id(call), "type": "function", "function": function})
}

/// The events of one stream: all have the same head.
struct Chunks<'a> {
    answer: &'a Answer,
}

impl Chunks<'_> {
    fn chunk(&self, step: Step, choices: &Value, usage: Option<Value>) -> Frame {
        let mut chunk = head(self.answer, "chat.completion.chunk");
        chunk.insert("choices".to_owned(), choices.clone());
        if self.answer.usage.is_some() && self.answer.usage_asked {
            chunk.insert("usage".to_owned(), usage.unwrap_or_default());
        }
        chunk.insert("obfuscation".to_owned(), json!("aB3"));
        Frame::new(step, &Value::Object(chunk))
    }

    fn delta(&self, step: Step, delta: &Value) -> Frame {
        self.chunk(step, &json!([choice(delta, None)]), None)
    }

    fn text(&self, text: &Text) -> Vec<Frame> {
        let field = match text.kind {
            Kind::Said => "content",
            Kind::Thought => "reasoning_content",
            Kind::Refusal => "refusal",
        };
        let frame = |piece: &String| self.delta(Step::Delta, &json!({field: piece})).times(text.times);
        text.pieces.iter().map(frame).collect()
    }

    /// `opening` is what the first delta of the answer has beside the call.
    fn call(&self, call: &Call, nth: usize, opening: Value) -> Vec<Frame> {
        let index = match self.answer.quirk {
            Some(Quirk::NoIndex) => None,
            Some(Quirk::ReusedIndex) => Some(0),
            _ => Some(nth),
        };
        let with_index = |mut entry: Map<String, Value>| {
            if let Some(index) = index {
                entry.insert("index".to_owned(), json!(index));
            }
            json!([entry])
        };
        let is_whole = self.answer.bent(Quirk::WholeCall) || self.answer.bent(Quirk::ObjectArguments);
        let first = if is_whole { arguments(self.answer, call) } else { json!("") };
        let mut entry = Map::new();
        entry.insert("id".to_owned(), json!(call_id(call)));
        entry.insert("type".to_owned(), json!("function"));
        entry.insert("function".to_owned(), json!({"name": call.name, "arguments": first}));
        let mut delta = if let Value::Object(opening) = opening { opening } else { Map::new() };
        delta.insert("tool_calls".to_owned(), with_index(entry));
        let step = if is_whole { Step::Arguments } else { Step::Frame };
        let mut frames = vec![self.delta(step, &Value::Object(delta))];
        if !is_whole {
            frames.extend(call.halves().map(|half| {
                let mut entry = Map::new();
                entry.insert("function".to_owned(), json!({"arguments": half}));
                self.delta(Step::Arguments, &json!({"tool_calls": with_index(entry)}))
            }));
        }
        frames
    }

    fn unknown(&self) -> [Frame; 3] {
        [
            Frame::raw(
                "event: weather\nid: 7\nretry: 3000\nmood: sunny\ndata: {\"object\":\"weather\",\"sunny\":true}\n\n",
            ),
            self.delta(Step::Frame, &json!({"hologram": {"depth": 3}, "annotations": []})),
            self.chunk(Step::Frame, &json!([]), None),
        ]
    }
}
