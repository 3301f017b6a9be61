//! Each protocol read into the same words, strictly, by the figures of its documentation. It must not know the server.

use crate::client::{Answer, End, request};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Chat,
    Responses,
    Messages,
    Gemini,
    Ollama,
}

pub(crate) const PROTOCOLS: [Protocol; 5] =
    [Protocol::Chat, Protocol::Responses, Protocol::Messages, Protocol::Gemini, Protocol::Ollama];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Stream,
    Whole,
}

pub(crate) const FORMS: [Form; 2] = [Form::Stream, Form::Whole];

/// What an answer says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) thought: String,
    pub(crate) refusal: String,
    pub(crate) calls: Vec<(String, String)>,
    pub(crate) finish: String,
    pub(crate) usage: Option<(u64, u64)>,
    /// Whether the marker of the end came.
    pub(crate) is_ended: bool,
}

impl Protocol {
    /// A request in its plain form, with more fields of the body.
    pub(crate) fn request(self, model: &str, form: Form, more: &Value) -> Vec<u8> {
        let user = json!({"role": "user", "content": "Hello"});
        let is_stream = form == Form::Stream;
        let (path, mut body) = match self {
            Self::Chat => {
                let mut body = json!({"model": model, "messages": [user], "stream": is_stream});
                if is_stream {
                    body["stream_options"] = json!({"include_usage": true});
                }
                ("/v1/chat/completions".to_owned(), body)
            }
            Self::Responses => {
                let include = ["reasoning.encrypted_content"];
                let body = json!({"model": model, "input": [user], "stream": is_stream, "include": include});
                ("/v1/responses".to_owned(), body)
            }
            Self::Messages => {
                let body = json!({"model": model, "max_tokens": 9, "messages": [user], "stream": is_stream});
                ("/v1/messages".to_owned(), body)
            }
            Self::Gemini => {
                let action = if is_stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                let body = json!({"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]});
                (format!("/v1beta/models/{model}:{action}"), body)
            }
            Self::Ollama => ("/api/chat".to_owned(), json!({"model": model, "messages": [user], "stream": is_stream})),
        };
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        request(
            "POST",
            &path,
            "anthropic-version: 2023-06-01\r\nauthorization: Bearer sk-secret-key\r\n",
            &body.to_string(),
        )
    }

    pub(crate) fn read(self, answer: &Answer) -> Said {
        assert_eq!(answer.status, 200, "{}", answer.text());
        if answer.header("content-type") == Some("application/json") {
            assert_eq!(answer.end, End::Complete);
            return self.read_whole(&answer.json());
        }
        self.read_stream(&self.frames(answer))
    }

    /// The frames of a stream, whatever ends its lines; comments are none.
    pub(crate) fn frames(self, answer: &Answer) -> Vec<Value> {
        let text = answer.text();
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let parse = |data: &str| {
            if data == "[DONE]" { json!("[DONE]") } else { serde_json::from_str(data).unwrap_or_else(|_| json!(data)) }
        };
        if self == Self::Ollama {
            assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
            return text.lines().map(parse).collect();
        }
        assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
        let mut frames = Vec::new();
        for event in text.replace("\r\n", "\n").split("\n\n") {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            let Some(data) = field("data: ") else { continue };
            let frame = parse(data);
            if let (Some(name), Self::Responses | Self::Messages) = (field("event: "), self) {
                assert_eq!(frame["type"], name, "the name of an event is its type");
            }
            frames.push(frame);
        }
        frames
    }

    fn read_whole(self, document: &Value) -> Said {
        let mut said = Said { is_ended: true, ..Said::default() };
        match self {
            Self::Chat => {
                assert_eq!(document["object"], "chat.completion");
                let choice = &document["choices"][0];
                said.delta(&choice["message"]);
                said.finish = text(&choice["finish_reason"]);
                said.usage = usage(&document["usage"], "/prompt_tokens", "/completion_tokens");
            }
            Self::Responses => said.response(document),
            Self::Messages => {
                for block in document["content"].as_array().unwrap() {
                    said.text += &text(&block["text"]);
                    said.thought += &text(&block["thinking"]);
                    if block["type"] == "tool_use" {
                        said.calls.push((text(&block["name"]), arguments(&block["input"])));
                    }
                }
                said.finish = text(&document["stop_reason"]);
                said.usage = usage(&document["usage"], "/input_tokens", "/output_tokens");
            }
            Self::Gemini => said.chunk(document),
            Self::Ollama => said.line(document),
        }
        said
    }

    fn read_stream(self, frames: &[Value]) -> Said {
        let mut said = Said::default();
        for (number, frame) in frames.iter().enumerate() {
            assert!(!said.is_ended, "{self:?}: nothing follows the end: {frame}");
            match self {
                Self::Chat if frame == "[DONE]" => said.is_ended = true,
                Self::Chat => {
                    let choice = &frame["choices"][0];
                    said.delta(&choice["delta"]);
                    said.finish += &text(&choice["finish_reason"]);
                    said.usage = said.usage.or(usage(&frame["usage"], "/prompt_tokens", "/completion_tokens"));
                }
                Self::Responses => {
                    assert_eq!(frame["sequence_number"], number, "{frame}");
                    said.item(frame);
                }
                Self::Messages => said.block(frame),
                Self::Gemini => said.chunk(frame),
                Self::Ollama => said.line(frame),
            }
        }
        said
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn arguments(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn usage(value: &Value, input: &str, output: &str) -> Option<(u64, u64)> {
    Some((value.pointer(input)?.as_u64()?, value.pointer(output)?.as_u64()?))
}

impl Said {
    /// A message or a delta of Chat Completions.
    fn delta(&mut self, delta: &Value) {
        self.text += &text(&delta["content"]);
        self.thought += &text(&delta["reasoning_content"]);
        self.refusal += &text(&delta["refusal"]);
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            if call["id"].is_string() {
                assert_eq!(call["type"], "function");
                self.calls.push((text(&call["function"]["name"]), String::new()));
            }
            self.calls.last_mut().unwrap().1 += &arguments(&call["function"]["arguments"]);
        }
    }

    fn response(&mut self, response: &Value) {
        for item in response["output"].as_array().unwrap() {
            match item["type"].as_str().unwrap() {
                "reasoning" => self.thought += &text(&item["summary"][0]["text"]),
                "message" => {
                    self.text += &text(&item["content"][0]["text"]);
                    self.refusal += &text(&item["content"][0]["refusal"]);
                }
                "function_call" => self.calls.push((text(&item["name"]), arguments(&item["arguments"]))),
                other => panic!("{other}"),
            }
        }
        let reason = text(&response["incomplete_details"]["reason"]);
        self.finish = if reason.is_empty() { text(&response["status"]) } else { reason };
        self.usage = usage(&response["usage"], "/input_tokens", "/output_tokens");
    }

    fn item(&mut self, event: &Value) {
        let delta = text(&event["delta"]);
        match event["type"].as_str().unwrap() {
            "response.output_text.delta" => self.text += &delta,
            "response.refusal.delta" => self.refusal += &delta,
            "response.reasoning_summary_text.delta" => self.thought += &delta,
            "response.output_item.added" if event["item"]["type"] == "function_call" => {
                self.calls.push((text(&event["item"]["name"]), String::new()));
            }
            "response.function_call_arguments.done" => {
                self.calls.last_mut().unwrap().1 = arguments(&event["arguments"]);
            }
            "response.completed" | "response.incomplete" => {
                let mut whole = Self::default();
                whole.response(&event["response"]);
                assert_eq!((&whole.text, &whole.thought, &whole.refusal), (&self.text, &self.thought, &self.refusal));
                (self.finish, self.usage, self.is_ended) = (whole.finish, whole.usage, true);
            }
            _ => {}
        }
    }

    fn block(&mut self, event: &Value) {
        match event["type"].as_str().unwrap() {
            "message_start" => self.usage = usage(&event["message"]["usage"], "/input_tokens", "/output_tokens"),
            "content_block_start" if event["content_block"]["type"] == "tool_use" => {
                let input = &event["content_block"]["input"];
                let given = if input == &json!({}) { String::new() } else { input.to_string() };
                self.calls.push((text(&event["content_block"]["name"]), given));
            }
            "content_block_delta" => {
                self.text += &text(&event["delta"]["text"]);
                self.thought += &text(&event["delta"]["thinking"]);
                if let Some(piece) = event["delta"]["partial_json"].as_str() {
                    self.calls.last_mut().unwrap().1 += piece;
                }
            }
            "message_delta" => {
                self.finish = text(&event["delta"]["stop_reason"]);
                let output = event["usage"]["output_tokens"].as_u64();
                self.usage = self.usage.zip(output).map(|((input, _), output)| (input, output));
            }
            "message_stop" => self.is_ended = true,
            _ => {}
        }
    }

    fn chunk(&mut self, chunk: &Value) {
        for part in chunk["candidates"][0]["content"]["parts"].as_array().into_iter().flatten() {
            let field = if part["thought"] == true { &mut self.thought } else { &mut self.text };
            *field += &text(&part["text"]);
            if let Some(call) = part.get("functionCall") {
                self.calls.push((text(&call["name"]), call["args"].to_string()));
            }
        }
        let reason = text(&chunk["candidates"][0]["finishReason"]);
        self.finish = reason + &text(&chunk["promptFeedback"]["blockReason"]);
        self.is_ended = !self.finish.is_empty();
        let counts = usage(&chunk["usageMetadata"], "/promptTokenCount", "/candidatesTokenCount");
        let thought = chunk["usageMetadata"]["thoughtsTokenCount"].as_u64().unwrap_or_default();
        self.usage = counts.map(|(input, output)| (input, output + thought));
    }

    fn line(&mut self, line: &Value) {
        self.text += &text(&line["message"]["content"]);
        self.thought += &text(&line["message"]["thinking"]);
        for call in line["message"]["tool_calls"].as_array().into_iter().flatten() {
            self.calls.push((text(&call["function"]["name"]), call["function"]["arguments"].to_string()));
        }
        self.is_ended = line["done"] == true;
        self.finish = text(&line["done_reason"]);
        self.usage = usage(line, "/prompt_eval_count", "/eval_count");
    }
}
