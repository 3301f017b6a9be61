//! Ollama's own protocol. It must not know any mode by name.
//!
//! Calls arrive whole and end with `stop`, so that several bends of other protocols are its plain form.

use crate::answer::{Answer, Call, End, Kind, Part};
use crate::asked::{Asked, content_of, items, string};
use crate::failure::Failure;
use crate::frame::{Frame, Framing, Step};
use crate::http::Request;
use crate::mode::{Content, Does, Quirk};
use crate::wire::{About, Wire};
use serde_json::{Map, Value, json};

pub(crate) struct Ollama;

impl Wire for Ollama {
    fn asked(&self, _request: &Request, body: &Value) -> Result<Asked, String> {
        if string(body, "/model").is_empty() {
            return Err("model is required".to_owned());
        }
        let tools = items(body, "/tools").iter().map(|tool| {
            (
                string(tool, "/function/name").to_owned(),
                tool.pointer("/function/parameters").cloned().unwrap_or_default(),
            )
        });
        let results = items(body, "/messages").iter().filter(|message| string(message, "/role") == "tool");
        Ok(Asked {
            tools: tools.collect(),
            results: results.map(|message| content_of(message, "content")).collect(),
            schema: body.get("format").filter(|format| format.is_object()).cloned(),
            usage: true,
            ..Asked::default()
        })
    }

    fn is_stream(&self, _request: &Request, body: &Value) -> bool {
        body.get("stream") != Some(&Value::Bool(false))
    }

    fn framing(&self, _request: &Request) -> Framing {
        Framing::Lines { eol: "\n" }
    }

    fn lacks(&self, does: &Does) -> Option<&'static str> {
        match does {
            Does::Bend(Quirk::NoIndex | Quirk::ReusedIndex) => Some("calls of Ollama have neither an index nor an id"),
            Does::Say(Content::Filtered) => Some("Ollama has no filter"),
            _ => None,
        }
    }

    fn frames(&self, answer: &Answer) -> Vec<Frame> {
        let mut frames = Vec::new();
        if answer.bent(Quirk::Unknown) {
            let message = json!({"role": "assistant", "content": "", "hologram": {"depth": 3}});
            let mut line = line(answer, &message, false);
            if let Value::Object(line) = &mut line {
                line.insert("weather".to_owned(), json!("sunny"));
            }
            frames.push(Frame::new(Step::Frame, &line));
        }
        for part in &answer.parts {
            match part {
                Part::Text(text) => frames.extend(text.pieces.iter().map(|piece| {
                    let message = message(text.kind, piece);
                    Frame::new(Step::Delta, &line(answer, &message, false)).times(text.times)
                })),
                Part::Call(call) => match called(call) {
                    Ok(called) => {
                        let message = json!({"role": "assistant", "content": "", "tool_calls": [called]});
                        frames.push(Frame::new(Step::Arguments, &line(answer, &message, false)));
                    }
                    // The server parses what the model wrote, and gives up.
                    Err(error) => {
                        frames.push(Frame::new(Step::End, &error));
                        return frames;
                    }
                },
            }
        }
        frames.push(Frame::new(Step::End, &line(answer, &message(Kind::Said, ""), true)));
        frames
    }

    fn whole(&self, answer: &Answer) -> Value {
        let calls: Result<Vec<Value>, Value> = answer.calls().map(called).collect();
        let calls = match calls {
            Ok(calls) => calls,
            Err(error) => return error,
        };
        let content = answer.text(Kind::Said) + &answer.text(Kind::Refusal);
        let mut message = json!({"role": "assistant", "content": content});
        if let Value::Object(message) = &mut message {
            let thought = answer.text(Kind::Thought);
            if !thought.is_empty() {
                message.insert("thinking".to_owned(), json!(thought));
            }
            if !calls.is_empty() {
                message.insert("tool_calls".to_owned(), json!(calls));
            }
        }
        line(answer, &message, true)
    }

    fn error_frame(&self, _framing: Framing) -> Frame {
        Frame::new(Step::Frame, &json!({"error": "an error was encountered while running the model: CUDA error"}))
    }

    fn sign_of_life(&self) -> Frame {
        let message = json!({"role": "assistant", "content": ""});
        Frame::new(Step::Frame, &json!({"model": "m", "created_at": CREATED, "message": message, "done": false}))
    }

    fn arguments_begin(&self) -> Option<&'static str> {
        Some(r#""arguments":{"#)
    }

    fn headers(&self, _number: u64) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn failure(&self, failure: &Failure, about: &About<'_>) -> (Value, Vec<(&'static str, String)>) {
        let message = match failure {
            Failure::BadRequest => "invalid options: x",
            Failure::Refused(reason) => reason,
            Failure::Unauthorized | Failure::WithStatus200 => "unauthorized",
            Failure::Forbidden => "forbidden",
            Failure::NotFound => &format!("model \"{}\" not found, try pulling it first", about.model),
            Failure::TooLarge => "http: request body too large",
            Failure::Unprocessable => "unprocessable",
            Failure::RateLimit(_) => "too many requests",
            Failure::Quota => "you have reached your weekly usage limit, upgrade for higher limits",
            Failure::Internal => "model runner has unexpectedly stopped",
            Failure::Unavailable | Failure::Overloaded | Failure::BadGateway | Failure::SignIn => {
                "server busy, please try again. maximum pending requests exceeded"
            }
        };
        (json!({ "error": message }), failure.retry_headers())
    }
}

const CREATED: &str = "2026-11-20T08:00:00.123456789Z";

fn message(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Thought => json!({"role": "assistant", "content": "", "thinking": text}),
        Kind::Said | Kind::Refusal => json!({"role": "assistant", "content": text}),
    }
}

fn called(call: &Call) -> Result<Value, Value> {
    let arguments = call.object().ok_or_else(|| {
        let error = "invalid character 'o' looking for beginning of value";
        json!({"error": format!("error parsing tool call: raw='{}', err={error}", call.arguments)})
    })?;
    Ok(json!({"function": {"name": call.name, "arguments": arguments}}))
}

fn line(answer: &Answer, message: &Value, is_done: bool) -> Value {
    let mut line = Map::new();
    line.insert("model".to_owned(), json!(answer.model));
    line.insert("created_at".to_owned(), json!(CREATED));
    line.insert("message".to_owned(), message.clone());
    line.insert("done".to_owned(), json!(is_done));
    if is_done {
        line.insert("done_reason".to_owned(), json!(if answer.end == End::Length { "length" } else { "stop" }));
        line.insert("total_duration".to_owned(), json!(1_500_000));
        line.insert("load_duration".to_owned(), json!(500_000));
        if let Some(usage) = &answer.usage {
            line.insert("prompt_eval_count".to_owned(), json!(usage.input));
            line.insert("prompt_eval_duration".to_owned(), json!(400_000));
            line.insert("eval_count".to_owned(), json!(usage.output));
            line.insert("eval_duration".to_owned(), json!(600_000));
        }
    }
    Value::Object(line)
}
