//! OpenAI Responses. It must not know any mode by name.

use crate::answer::{Answer, Call, End, Kind, Part, Text, Usage};
use crate::asked::{Asked, Kept, content_of, items, string};
use crate::compose::{SIGNATURE, thought};
use crate::failure::Failure;
use crate::frame::{Frame, Framing, NUMBER, Step};
use crate::http::Request;
use crate::mode::{Does, Quirk};
use crate::openai;
use crate::wire::{About, Wire};
use serde_json::{Value, json};

pub(crate) struct Responses;

impl Wire for Responses {
    fn asked(&self, _request: &Request, body: &Value) -> Result<Asked, String> {
        let input = match body.get("input") {
            Some(Value::String(_)) => &[],
            Some(Value::Array(input)) => input.as_slice(),
            _ => return Err("Missing required parameter: 'input'.".to_owned()),
        };
        let is_continued = !string(body, "/previous_response_id").is_empty();
        if !is_continued {
            check_results(input)?;
        }
        let tools = items(body, "/tools").iter().filter(|tool| string(tool, "/type") == "function");
        let tools =
            tools.map(|tool| (string(tool, "/name").to_owned(), tool.get("parameters").cloned().unwrap_or_default()));
        let results = input.iter().filter(|item| string(item, "/type") == "function_call_output");
        let is_sealed = |include: &Value| include == "reasoning.encrypted_content";
        Ok(Asked {
            tools: tools.collect(),
            results: results.map(|item| content_of(item, "output")).collect(),
            schema: body.pointer("/text/format/schema").cloned(),
            usage: true,
            sealed: items(body, "/include").iter().any(is_sealed),
            kept: Kept::from(is_continued || input.windows(2).any(is_kept)),
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
                Some("events of Responses are told apart by `item_id`; nobody was seen to leave it out")
            }
            _ => None,
        }
    }

    fn frames(&self, answer: &Answer) -> Vec<Frame> {
        let begun = response(answer, "in_progress", &[], None);
        let mut frames = vec![
            event(Step::Frame, "response.created", &json!({ "response": begun })),
            event(Step::Frame, "response.in_progress", &json!({ "response": begun })),
        ];
        if answer.bent(Quirk::Unknown) {
            let data = json!({"forecast": {"sunny": true}, "output_index": 9});
            frames.push(event(Step::Frame, "response.weather.delta", &data));
        }
        for (index, part) in answer.parts.iter().enumerate() {
            let output = Output { answer, index };
            frames.extend(match part {
                Part::Text(text) if text.kind == Kind::Thought => output.reasoning(text),
                Part::Text(text) => output.message(text),
                Part::Call(call) => output.call(call),
            });
        }
        let name = if is_incomplete(answer) { "response.incomplete" } else { "response.completed" };
        frames.push(event(Step::End, name, &json!({"response": self.whole(answer)})));
        frames
    }

    fn whole(&self, answer: &Answer) -> Value {
        let output = answer.parts.iter().enumerate().map(|(index, part)| Output { answer, index }.item(part));
        let status = if is_incomplete(answer) { "incomplete" } else { "completed" };
        response(answer, status, &output.collect::<Vec<_>>(), answer.usage.as_ref())
    }

    fn error_frame(&self, _framing: Framing) -> Frame {
        let message = "The server had an error while processing your request.";
        event(Step::Frame, "error", &json!({"code": "server_error", "message": message, "param": null}))
    }

    fn failed(&self, answer: &Answer) -> Option<Value> {
        let mut response = response(answer, "failed", &[], None);
        if let Value::Object(response) = &mut response {
            let message = "The model failed to generate a response.";
            response.insert("error".to_owned(), json!({"code": "server_error", "message": message}));
        }
        Some(response)
    }

    fn failed_frame(&self, answer: &Answer, _framing: Framing) -> Frame {
        event(Step::End, "response.failed", &json!({"response": self.failed(answer)}))
    }

    fn headers(&self, number: u64) -> Vec<(&'static str, String)> {
        openai::headers(number)
    }

    fn failure(&self, failure: &Failure, about: &About<'_>) -> (Value, Vec<(&'static str, String)>) {
        openai::failure(failure, about)
    }
}

/// Calls and their results must be there in pairs.
fn check_results(input: &[Value]) -> Result<(), String> {
    let ids = |kind: &'static str| {
        input.iter().filter(move |item| string(item, "/type") == kind).map(|item| string(item, "/call_id"))
    };
    if let Some(id) = ids("function_call_output").find(|id| !ids("function_call").any(|called| called == *id)) {
        return Err(format!("No tool call found for function call output with call_id {id}."));
    }
    if let Some(id) = ids("function_call").find(|id| !ids("function_call_output").any(|answered| answered == *id)) {
        return Err(format!("No tool output found for function call {id}."));
    }
    Ok(())
}

/// Whether the signed reasoning came back, in front of its call.
fn is_kept(pair: &[Value]) -> bool {
    let [reasoning, call] = pair else { return false };
    string(reasoning, "/type") == "reasoning"
        && string(reasoning, "/encrypted_content") == SIGNATURE
        && string(reasoning, "/id").starts_with("rs_")
        && string(reasoning, "/summary/0/text") == thought()
        && string(call, "/type") == "function_call"
}

fn is_incomplete(answer: &Answer) -> bool {
    matches!(answer.end, End::Length | End::Filtered)
}

/// An event: its name is its type, and it is numbered.
fn event(step: Step, name: &'static str, fields: &Value) -> Frame {
    let mut data = json!({"type": name, "sequence_number": NUMBER});
    if let (Value::Object(data), Value::Object(fields)) = (&mut data, fields) {
        data.extend(fields.clone());
    }
    Frame::named(step, name, &data)
}

fn response(answer: &Answer, status: &str, output: &[Value], usage: Option<&Usage>) -> Value {
    let details = match answer.end {
        End::Length if status == "incomplete" => json!({"reason": "max_output_tokens"}),
        End::Filtered if status == "incomplete" => json!({"reason": "content_filter"}),
        _ => Value::Null,
    };
    let usage = usage.map(|usage| {
        json!({
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.read, "cache_write_tokens": usage.written},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.input + usage.output,
        })
    });
    json!({
        "id": format!("resp_{}", answer.number),
        "object": "response",
        "created_at": 1_790_000_000,
        "status": status,
        "error": null,
        "incomplete_details": details,
        "instructions": null,
        "max_output_tokens": null,
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null},
        "store": false,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage,
        "user": null,
        "metadata": {},
    })
}

/// One item of the output.
struct Output<'a> {
    answer: &'a Answer,
    index: usize,
}

impl Output<'_> {
    fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{}_{}", self.answer.number, self.index)
    }

    /// The complete item.
    fn item(&self, part: &Part) -> Value {
        match part {
            Part::Text(text) if text.kind == Kind::Thought => {
                let summary = json!([{"type": "summary_text", "text": text.whole()}]);
                self.reasoning_item(text, &summary)
            }
            Part::Text(text) => {
                let status = if is_incomplete(self.answer) { "incomplete" } else { "completed" };
                self.message_item(status, &json!([content(text.kind, &text.whole())]))
            }
            Part::Call(call) => self.call_item(call, "completed", &self.arguments(call)),
        }
    }

    fn reasoning_item(&self, text: &Text, summary: &Value) -> Value {
        // Without having asked for it, nobody gets the opaque part.
        let sealed = text.signature.filter(|_| self.answer.sealed);
        json!({"id": self.id("rs"), "type": "reasoning", "summary": summary, "encrypted_content": sealed})
    }

    fn message_item(&self, status: &str, content: &Value) -> Value {
        json!({"id": self.id("msg"), "type": "message", "status": status, "role": "assistant", "content": content})
    }

    fn call_item(&self, call: &Call, status: &str, arguments: &Value) -> Value {
        json!({
            "id": self.id("fc"),
            "type": "function_call",
            "call_id": format!("call_{}", call.id),
            "name": call.name,
            "arguments": arguments,
            "status": status,
        })
    }

    fn arguments(&self, call: &Call) -> Value {
        match call.object() {
            Some(object) if self.answer.bent(Quirk::ObjectArguments) => object,
            _ => json!(call.arguments),
        }
    }

    fn added(&self, item: &Value) -> Frame {
        event(Step::Frame, "response.output_item.added", &json!({"output_index": self.index, "item": item}))
    }

    fn done(&self, item: &Value) -> Frame {
        event(Step::Frame, "response.output_item.done", &json!({"output_index": self.index, "item": item}))
    }

    fn reasoning(&self, text: &Text) -> Vec<Frame> {
        let at = |step, name, field: &str, value: Value| {
            let fields =
                json!({"item_id": self.id("rs"), "output_index": self.index, "summary_index": 0, field: value});
            event(step, name, &fields)
        };
        let part = |text: &str| json!({"type": "summary_text", "text": text});
        let mut frames = vec![
            self.added(&self.reasoning_item(text, &json!([]))),
            at(Step::Frame, "response.reasoning_summary_part.added", "part", part("")),
        ];
        let pieces = text.pieces.iter();
        frames.extend(
            pieces.map(|piece| at(Step::Delta, "response.reasoning_summary_text.delta", "delta", json!(piece))),
        );
        let whole = text.whole();
        frames.push(at(Step::Frame, "response.reasoning_summary_text.done", "text", json!(whole)));
        frames.push(at(Step::Frame, "response.reasoning_summary_part.done", "part", part(&whole)));
        frames.push(self.done(&self.reasoning_item(text, &json!([part(&whole)]))));
        frames
    }

    fn message(&self, text: &Text) -> Vec<Frame> {
        let at = |step, name, fields: Value| {
            let mut all = json!({"item_id": self.id("msg"), "output_index": self.index, "content_index": 0});
            if let (Value::Object(all), Value::Object(fields)) = (&mut all, fields) {
                all.extend(fields);
            }
            event(step, name, &all)
        };
        let part = |text_so_far: &str| json!({"part": content(text.kind, text_so_far)});
        let (delta, done, field) = match text.kind {
            Kind::Refusal => ("response.refusal.delta", "response.refusal.done", "refusal"),
            Kind::Said | Kind::Thought => ("response.output_text.delta", "response.output_text.done", "text"),
        };
        let logprobs = |mut fields: Value| {
            if let (Value::Object(fields), "text") = (&mut fields, field) {
                fields.insert("logprobs".to_owned(), json!([]));
            }
            fields
        };
        let mut frames = vec![
            self.added(&self.message_item("in_progress", &json!([]))),
            at(Step::Frame, "response.content_part.added", part("")),
        ];
        let piece = |piece: &String| at(Step::Delta, delta, logprobs(json!({"delta": piece}))).times(text.times);
        frames.extend(text.pieces.iter().map(piece));
        let whole = text.whole();
        frames.push(at(Step::Frame, done, logprobs(json!({ field: whole }))));
        frames.push(at(Step::Frame, "response.content_part.done", part(&whole)));
        frames.push(self.done(&self.item(&Part::Text(text.clone()))));
        frames
    }

    fn call(&self, call: &Call) -> Vec<Frame> {
        let at = |step, name, field: &str, value: &Value| {
            event(step, name, &json!({"item_id": self.id("fc"), "output_index": self.index, field: value}))
        };
        let done = "response.function_call_arguments.done";
        let arguments = self.arguments(call);
        let mut frames = vec![self.added(&self.call_item(call, "in_progress", &json!("")))];
        match self.answer.quirk {
            // As LM Studio does: no deltas, and the final item has nothing.
            Some(Quirk::WholeCall) => {
                frames.push(at(Step::Arguments, done, "arguments", &arguments));
                frames.push(self.done(&self.call_item(call, "completed", &json!("{}"))));
            }
            Some(Quirk::ObjectArguments) => {
                frames.push(at(Step::Arguments, done, "arguments", &arguments));
                frames.push(self.done(&self.call_item(call, "completed", &arguments)));
            }
            _ => {
                // An empty delta is legal.
                let pieces = call.halves().into_iter().chain([""]);
                let delta = "response.function_call_arguments.delta";
                frames.extend(pieces.map(|piece| at(Step::Arguments, delta, "delta", &json!(piece))));
                frames.push(at(Step::Frame, done, "arguments", &arguments));
                frames.push(self.done(&self.call_item(call, "completed", &arguments)));
            }
        }
        frames
    }
}

fn content(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Refusal => json!({"type": "refusal", "refusal": text}),
        Kind::Said | Kind::Thought => json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []}),
    }
}
