//! Events of a response put together.
//!
//! It must not read bytes. Calls are held back until the response is complete, and dropped when it was cut. Events and
//! items of kinds that it does not know are read over.

use super::KEPT;
use crate::protocol::{Asked, Assemble, Odd, Progress};
use crate::verbatim;
use cofferdam_core::limits;
use cofferdam_core::message::{ToolCall, Usage};
use cofferdam_core::port::{FinishReason, ModelEvent};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// An event; its fields by all its kinds.
#[derive(Debug, Deserialize)]
struct Event {
    r#type: Option<String>,
    object: Option<String>,
    response: Option<Value>,
    output_index: Option<u64>,
    item_id: Option<String>,
    item: Option<Value>,
    delta: Option<Value>,
    arguments: Option<Value>,
    /// A text; in a whole response what was said of its format.
    text: Option<Value>,
    error: Option<Value>,
}

/// Puts a response together.
pub(super) struct Assembler {
    asked: Asked,
    started: bool,
    items: BTreeMap<u64, Item>,
    is_refusal: bool,
    status: Option<Status>,
    usage: Option<Usage>,
}

/// An item on its way: what is known of it, and the arguments as they grow.
#[derive(Debug, Default)]
struct Item {
    value: Value,
    /// Its pieces that were shown, so that servers that send only the whole are shown, too.
    shown: bool,
    deltas: String,
    done: Option<String>,
}

/// How a response ended.
#[derive(Debug, PartialEq)]
enum Status {
    Completed,
    Incomplete(String),
}

impl Assembler {
    pub(super) fn new(asked: Asked) -> Self {
        Self { asked, started: false, items: BTreeMap::new(), is_refusal: false, status: None, usage: None }
    }

    fn start(&mut self, response: Option<&Value>, out: &mut VecDeque<ModelEvent>) {
        if !std::mem::replace(&mut self.started, true) {
            let text = |name: &str| response.and_then(|response| response.get(name)?.as_str()).map(str::to_owned);
            out.push_back(ModelEvent::Started { model: text("model"), response_id: text("id") });
        }
    }

    /// The item that an event is about: by its place, else by its id, else the last one.
    fn item(&mut self, index: Option<u64>, id: Option<&str>) -> Result<&mut Item, Odd> {
        let by_id = || {
            let found =
                self.items.iter().find(|(_, item)| id.is_some() && item.value.get("id").and_then(Value::as_str) == id);
            found.or(self.items.last_key_value()).map(|(at, _)| *at)
        };
        let at = index.or_else(by_id).unwrap_or(0);
        if !self.items.contains_key(&at) && self.items.len() > 4 * limits::TOOL_CALLS_PER_TURN {
            return Err(Odd::TooManyCalls);
        }
        Ok(self.items.entry(at).or_default())
    }

    /// Text or thinking as it comes.
    fn piece(
        &mut self,
        event: &Event,
        kind: impl Fn(String) -> ModelEvent,
        out: &mut VecDeque<ModelEvent>,
    ) -> Result<(), Odd> {
        let item = self.item(event.output_index, event.item_id.as_deref())?;
        if let Some(text) = event.delta.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty()) {
            item.shown = true;
            out.push_back(kind(text.to_owned()));
        }
        Ok(())
    }

    /// A text of which no piece was sent.
    fn whole_text(&mut self, event: &Event, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd> {
        let item = self.item(event.output_index, event.item_id.as_deref())?;
        if let Some(text) = event.text.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty() && !item.shown) {
            item.shown = true;
            out.push_back(ModelEvent::Text(text.to_owned()));
        }
        Ok(())
    }

    /// A complete item; what it says is shown unless its pieces were.
    fn whole_item(&mut self, index: Option<u64>, value: Value, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd> {
        let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
        let item = self.item(index, id.as_deref())?;
        if !std::mem::replace(&mut item.shown, true) {
            out.extend(texts(&value, "content", "output_text", "text").map(ModelEvent::Text));
            out.extend(texts(&value, "summary", "summary_text", "text").map(ModelEvent::Reasoning));
            let refusal = texts(&value, "content", "refusal", "refusal");
            self.is_refusal |= refusal.is_some();
            out.extend(refusal.map(ModelEvent::Text));
        }
        self.item(index, id.as_deref())?.value = value;
        Ok(())
    }

    /// The response as it ended. Its own list of items beats what came in pieces, where it has one.
    fn ended(&mut self, response: &Value, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd> {
        self.start(Some(response), out);
        self.usage = response.get("usage").and_then(usage).or(self.usage);
        for (index, item) in (0..).zip(response.get("output").and_then(Value::as_array).into_iter().flatten()) {
            self.whole_item(Some(index), item.clone(), out)?;
        }
        if let Some(error) = response.get("error").filter(|error| !error.is_null()) {
            return Err(Odd::Told(json!({ "error": error })));
        }
        let status = response.get("status").and_then(Value::as_str);
        let reason = || response.get("incomplete_details").and_then(|details| details.get("reason")?.as_str());
        self.status = Some(match status {
            Some("incomplete") => Status::Incomplete(reason().unwrap_or_default().to_owned()),
            Some(odd @ ("failed" | "cancelled")) => {
                return Err(Odd::Told(json!({ "error": { "message": format!("the response is {odd}") } })));
            }
            _ => Status::Completed,
        });
        Ok(())
    }

    fn calls(&self) -> Result<Vec<ToolCall>, Odd> {
        let mut calls = Vec::new();
        for item in self.items.values().filter(|item| kind(&item.value) == Some("function_call")) {
            if calls.len() == limits::TOOL_CALLS_PER_TURN {
                return Err(Odd::TooManyCalls);
            }
            let text = |name: &str| item.value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            let name = text("name").ok_or(Odd::Nameless)?.to_owned();
            let own = text("call_id").filter(|id| calls.iter().all(|other: &ToolCall| other.id != *id));
            let id = own.map_or_else(|| self.asked.call_id(calls.len() + 1), str::to_owned);
            let whole = item.value.get("arguments").and_then(arguments);
            let written = [Some(item.deltas.as_str()), item.done.as_deref(), whole.as_deref()];
            let arguments = written.into_iter().flatten().find(|text| !text.trim().is_empty()).unwrap_or("{}");
            calls.push(ToolCall { id, name, arguments: arguments.to_owned() });
        }
        Ok(calls)
    }

    /// The items to send back, if any of them must be: reasoning, or what is not known here.
    fn kept(&mut self, calls: &[ToolCall]) -> Option<ModelEvent> {
        let mut items: Vec<Value> = std::mem::take(&mut self.items).into_values().map(|item| item.value).collect();
        // Reasoning that is not encrypted lies at the provider, which was told to store none.
        let is_lost = |item: &Value| {
            kind(item) == Some("reasoning") && !item.get("encrypted_content").is_some_and(Value::is_string)
        };
        items.retain(|item| item.is_object() && !is_lost(item));
        let plain = |item: &Value| matches!(kind(item), Some("message" | "function_call"));
        if items.iter().all(plain) {
            return None;
        }
        // Servers that leave out ids or arguments get back what the calls were taken to be.
        let own = items.iter_mut().filter(|item| kind(item) == Some("function_call")).filter_map(Value::as_object_mut);
        for (item, call) in own.zip(calls) {
            item.insert("call_id".to_owned(), json!(call.id));
            item.insert("arguments".to_owned(), json!(call.arguments));
        }
        Some(ModelEvent::Opaque(verbatim::keep(KEPT, &self.asked, items)))
    }
}

impl Assemble for Assembler {
    fn add(&mut self, text: &str, out: &mut VecDeque<ModelEvent>) -> Result<Progress, Odd> {
        if text == "[DONE]" {
            return Ok(if self.is_complete() { Progress::Ended } else { Progress::More });
        }
        let mut event: Event = serde_json::from_str(text).map_err(|error| Odd::Malformed(error.to_string()))?;
        if event.object.as_deref() == Some("response") {
            let whole: Value = serde_json::from_str(text).map_err(|error| Odd::Malformed(error.to_string()))?;
            self.ended(&whole, out)?;
            return Ok(Progress::Ended);
        }
        match event.r#type.as_deref().unwrap_or_default() {
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.ended(&event.response.unwrap_or_default(), out)?;
                return Ok(Progress::Ended);
            }
            "error" => {
                let whole: Value = serde_json::from_str(text).unwrap_or_default();
                let error = event.error.filter(|error| !error.is_null()).map(|error| json!({ "error": error }));
                return Err(Odd::Told(error.unwrap_or(whole)));
            }
            "response.created" | "response.in_progress" | "response.queued" => self.start(event.response.as_ref(), out),
            "response.output_item.added" => {
                self.start(None, out);
                let item = event.item.take().unwrap_or_default();
                self.item(event.output_index, None)?.value = item;
            }
            "response.output_item.done" => {
                let item = event.item.take().unwrap_or_default();
                self.whole_item(event.output_index, item, out)?;
            }
            "response.output_text.delta" => self.piece(&event, ModelEvent::Text, out)?,
            "response.output_text.done" => self.whole_text(&event, out)?,
            "response.refusal.delta" => {
                self.is_refusal = true;
                self.piece(&event, ModelEvent::Text, out)?;
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.piece(&event, ModelEvent::Reasoning, out)?;
            }
            "response.function_call_arguments.delta" => {
                let item = self.item(event.output_index, event.item_id.as_deref())?;
                item.deltas.push_str(event.delta.as_ref().and_then(Value::as_str).unwrap_or_default());
            }
            "response.function_call_arguments.done" => {
                self.item(event.output_index, event.item_id.as_deref())?.done =
                    event.arguments.as_ref().and_then(arguments);
            }
            _ if event.error.as_ref().is_some_and(|error| !error.is_null()) => {
                return Err(Odd::Told(json!({ "error": event.error })));
            }
            _ => {}
        }
        Ok(Progress::More)
    }

    fn is_complete(&self) -> bool {
        self.status.is_some()
    }

    fn has_begun(&self) -> bool {
        self.items.values().any(|item| item.shown || !item.deltas.is_empty() || item.done.is_some())
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd> {
        let calls = self.calls()?;
        let reason = match self.status.take() {
            None => return Err(Odd::Empty),
            Some(Status::Incomplete(reason)) if reason == "content_filter" => FinishReason::ContentFilter,
            Some(Status::Incomplete(_)) => FinishReason::Length,
            Some(Status::Completed) if !calls.is_empty() => FinishReason::ToolCalls,
            Some(Status::Completed) if self.is_refusal => FinishReason::Refusal,
            Some(Status::Completed) => FinishReason::Stop,
        };
        if matches!(reason, FinishReason::ToolCalls | FinishReason::Stop) {
            out.extend(self.kept(&calls));
            out.extend(calls.into_iter().map(ModelEvent::ToolCall));
        }
        out.extend(self.usage.map(ModelEvent::Usage));
        out.push_back(ModelEvent::Finished(reason));
        Ok(())
    }
}

fn kind(item: &Value) -> Option<&str> {
    item.get("type").and_then(Value::as_str)
}

/// Arguments as text; some servers send the object itself.
fn arguments(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        whole => Some(whole.to_string()),
    }
}

/// The texts of an item's parts of one kind, together.
fn texts(item: &Value, list: &str, of: &str, field: &str) -> Option<String> {
    let parts = item.get(list).and_then(Value::as_array)?;
    let parts = parts.iter().filter(|part| kind(part) == Some(of));
    let text: String = parts.filter_map(|part| part.get(field).and_then(Value::as_str)).collect();
    Some(text).filter(|text| !text.is_empty())
}

/// The tokens of a `usage` object; fields that are missing or odd count as zero.
fn usage(value: &Value) -> Option<Usage> {
    let object = value.as_object()?;
    let count = |name: &str| object.get(name).and_then(Value::as_u64).unwrap_or(0);
    let detail =
        |name: &str, of: &str| object.get(name).and_then(|inner| inner.get(of)).and_then(Value::as_u64).unwrap_or(0);
    Some(Usage {
        input: count("input_tokens"),
        output: count("output_tokens"),
        reasoning: detail("output_tokens_details", "reasoning_tokens"),
        cache_read: detail("input_tokens_details", "cached_tokens"),
        cache_write: detail("input_tokens_details", "cache_write_tokens"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { turn: 3, provider: "openai".to_owned(), model: "m".to_owned(), ..Asked::default() }
    }

    fn assemble(events: &[Value]) -> Result<Vec<ModelEvent>, Odd> {
        let (mut assembler, mut out) = (Assembler::new(asked()), VecDeque::new());
        for event in events {
            if assembler.add(&event.to_string(), &mut out)? == Progress::Ended {
                break;
            }
        }
        assembler.end(&mut out)?;
        Ok(out.into())
    }

    fn created() -> Value {
        json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "model": "m-1", "status": "in_progress", "output": []}})
    }

    fn completed(output: &Value) -> Value {
        let usage = json!({
            "input_tokens": 20, "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
            "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": 29,
        });
        json!({"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": output, "usage": usage}})
    }

    fn started() -> ModelEvent {
        ModelEvent::Started { model: Some("m-1".to_owned()), response_id: Some("resp_1".to_owned()) }
    }

    fn usage() -> ModelEvent {
        ModelEvent::Usage(Usage { input: 20, output: 9, reasoning: 4, cache_read: 5, cache_write: 2 })
    }

    fn call(id: &str, arguments: &str) -> ModelEvent {
        ModelEvent::ToolCall(ToolCall { id: id.to_owned(), name: "get".to_owned(), arguments: arguments.to_owned() })
    }

    fn message(text: &str) -> Value {
        json!({"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
    }

    #[test]
    fn text_comes_as_it_is_written_and_once() {
        let events = assemble(&[
            created(),
            json!({"type": "response.output_item.added", "output_index": 0, "item": message("")}),
            json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "Hel"}),
            json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": ""}),
            json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "lo"}),
            json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 0, "text": "Hello"}),
            json!({"type": "response.novel.event", "x": 1}),
            json!({"type": "response.output_item.done", "output_index": 0, "item": message("Hello")}),
            completed(&json!([message("Hello")])),
        ]);
        let text = |text: &str| ModelEvent::Text(text.to_owned());
        let expected = vec![started(), text("Hel"), text("lo"), usage(), ModelEvent::Finished(FinishReason::Stop)];
        assert_eq!(events, Ok(expected));
    }

    #[test]
    fn a_whole_response_is_read_alike() {
        let mut whole = completed(&json!([message("Hello")]))["response"].take();
        whole["object"] = json!("response");
        whole["model"] = json!("m-1");
        let expected =
            vec![started(), ModelEvent::Text("Hello".to_owned()), usage(), ModelEvent::Finished(FinishReason::Stop)];
        assert_eq!(assemble(&[whole]), Ok(expected));
    }

    #[test]
    fn reasoning_is_shown_and_its_items_are_kept() {
        let reasoning = json!({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "e=="});
        let called = json!({"id": "fc_1", "type": "function_call", "call_id": "call_a", "name": "get", "arguments": "{\"n\":1}"});
        let begun = json!({"id": "fc_1", "type": "function_call", "call_id": "call_a", "name": "get", "arguments": ""});
        let events = assemble(&[
            created(),
            json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
            json!({"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "output_index": 0, "delta": "hm"}),
            json!({"type": "response.output_item.done", "output_index": 0, "item": reasoning}),
            json!({"type": "response.output_item.added", "output_index": 1, "item": begun}),
            json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 1, "delta": "{\"n\":"}),
            json!({"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 1, "delta": "1}"}),
            json!({"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 1, "arguments": "{\"n\":1}"}),
            json!({"type": "response.output_item.done", "output_index": 1, "item": called}),
            completed(&json!([reasoning, called])),
        ]);
        let expected = vec![
            started(),
            ModelEvent::Reasoning("hm".to_owned()),
            ModelEvent::Opaque(verbatim::keep(KEPT, &asked(), vec![reasoning, called])),
            call("call_a", "{\"n\":1}"),
            usage(),
            ModelEvent::Finished(FinishReason::ToolCalls),
        ];
        assert_eq!(events, Ok(expected));
    }

    #[test]
    fn arguments_are_taken_from_wherever_they_are() {
        let item = |arguments: &str| json!({"id": "fc_1", "type": "function_call", "call_id": "a", "name": "get", "arguments": arguments});
        let added = json!({"type": "response.output_item.added", "output_index": 0, "item": item("")});
        let done =
            json!({"type": "response.function_call_arguments.done", "item_id": "fc_1", "arguments": "{\"n\":2}"});
        let item_done =
            |arguments: &str| json!({"type": "response.output_item.done", "output_index": 0, "item": item(arguments)});
        for (events, arguments) in [
            (vec![added.clone(), done, item_done("{}")], "{\"n\":2}"),
            (vec![added.clone(), item_done("{\"n\":3}")], "{\"n\":3}"),
            (vec![added, item_done("")], "{}"),
        ] {
            let events: Vec<Value> = [created()].into_iter().chain(events).chain([completed(&json!([]))]).collect();
            assert!(assemble(&events).unwrap().contains(&call("a", arguments)), "{arguments}");
        }
    }

    #[test]
    fn each_end_has_its_meaning_and_a_cut_answer_gives_no_calls() {
        let called = json!({"id": "fc_1", "type": "function_call", "call_id": "a", "name": "get", "arguments": "{"});
        for (reason, finish) in
            [("max_output_tokens", FinishReason::Length), ("content_filter", FinishReason::ContentFilter)]
        {
            let response =
                json!({"status": "incomplete", "incomplete_details": {"reason": reason}, "output": [called]});
            let events = assemble(&[created(), json!({"type": "response.incomplete", "response": response})]).unwrap();
            assert_eq!(events, [started(), ModelEvent::Finished(finish)]);
        }
        assert_eq!(assemble(&[created()]), Err(Odd::Empty));
        let refused = json!({"id": "m", "type": "message", "content": [{"type": "refusal", "refusal": "no"}]});
        let events = assemble(&[created(), completed(&json!([refused]))]).unwrap();
        assert_eq!(events.last(), Some(&ModelEvent::Finished(FinishReason::Refusal)));
    }

    #[test]
    fn errors_are_told_in_each_form() {
        let inner = json!({"code": "rate_limit_exceeded", "message": "slow"});
        let failed = json!({"type": "response.failed", "response": {"status": "failed", "error": inner}});
        assert_eq!(assemble(&[created(), failed]), Err(Odd::Told(json!({ "error": inner }))));
        let error =
            json!({"type": "error", "code": "server_error", "message": "boom", "param": null, "sequence_number": 3});
        assert_eq!(assemble(&[created(), error.clone()]), Err(Odd::Told(error)));
    }
}
