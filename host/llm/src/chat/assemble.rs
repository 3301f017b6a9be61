//! Chunks put together into events: text as it comes, tool calls only when the answer is complete.
//!
//! It must not read bytes or know HTTP. It never gives half a tool call: calls are held back until the provider said why
//! the answer ended, and dropped when it ended because it was cut.

use super::wire::{self, Chunk, Delta, Fragment, Function};
use crate::protocol::{Assemble, Odd, Progress};
use cofferdam_core::limits;
use cofferdam_core::message::{ToolCall, Usage};
use cofferdam_core::port::{FinishReason, ModelEvent};
use serde_json::Value;
use std::collections::VecDeque;

/// Puts an answer together.
#[derive(Debug)]
pub(super) struct Assembler {
    turn: u32,
    started: bool,
    has_choice: bool,
    is_refusal: bool,
    finish: Option<String>,
    usage: Option<Usage>,
    calls: Vec<Partial>,
}

/// A tool call on its way.
#[derive(Debug, Default)]
struct Partial {
    index: Option<u64>,
    id: Option<String>,
    name: String,
    arguments: String,
}

impl Assembler {
    /// An answer of this turn, for the ids of calls that come without.
    pub(super) fn new(turn: u32) -> Self {
        Self {
            turn,
            started: false,
            has_choice: false,
            is_refusal: false,
            finish: None,
            usage: None,
            calls: Vec::new(),
        }
    }
}

impl Assemble for Assembler {
    fn is_complete(&self) -> bool {
        self.finish.is_some()
    }

    fn add(&mut self, text: &str, out: &mut VecDeque<ModelEvent>) -> Result<Progress, Odd> {
        if text == "[DONE]" {
            return Ok(Progress::Ended);
        }
        let chunk: Chunk = serde_json::from_str(text).map_err(|error| Odd::Malformed(error.to_string()))?;
        if let Some(error) = chunk.error() {
            return Err(Odd::Told(error));
        }
        if !self.started {
            self.started = true;
            let response_id = chunk.id.filter(|id| !id.is_empty());
            out.extend([ModelEvent::Started { model: chunk.model, response_id }]);
        }
        if let Some(usage) = chunk.usage.as_ref().and_then(wire::usage) {
            self.usage = Some(usage);
        }
        let Some(choice) = chunk.choices.and_then(|choices| choices.into_iter().next()) else {
            return Ok(Progress::More);
        };
        self.has_choice = true;
        if let Some(delta) = choice.delta.or(choice.message) {
            self.delta(delta, out)?;
        }
        if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
            self.finish = Some(reason);
        }
        Ok(Progress::More)
    }

    fn has_begun(&self) -> bool {
        !self.calls.is_empty()
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd> {
        if !self.has_choice {
            return Err(Odd::Empty);
        }
        let reason = self.reason();
        if reason == FinishReason::ToolCalls {
            let calls: Vec<ToolCall> = self.whole_calls()?;
            out.extend(calls.into_iter().map(ModelEvent::ToolCall));
        }
        out.extend(self.usage.map(ModelEvent::Usage));
        out.extend([ModelEvent::Finished(reason)]);
        Ok(())
    }
}

impl Assembler {
    fn delta(&mut self, delta: Delta, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd> {
        let Delta { content, reasoning_content, reasoning, refusal, tool_calls, function_call } = delta;
        let reasoning = text_of(reasoning_content, "thinking").or_else(|| text_of(reasoning, "thinking"));
        let thinking = content.as_ref().and_then(thinking_of);
        out.extend(reasoning.or(thinking).map(ModelEvent::Reasoning));
        out.extend(text_of(content, "text").map(ModelEvent::Text));
        if let Some(refusal) = refusal.filter(|text| !text.is_empty()) {
            self.is_refusal = true;
            out.extend([ModelEvent::Text(refusal)]);
        }
        let old = function_call.map(|function| Fragment { index: None, id: None, function: Some(function) });
        for fragment in tool_calls.into_iter().flatten().chain(old) {
            self.fragment(fragment)?;
        }
        Ok(())
    }

    fn fragment(&mut self, fragment: Fragment) -> Result<(), Odd> {
        let Fragment { index, id, function } = fragment;
        let Function { name, arguments } = function.unwrap_or(Function { name: None, arguments: None });
        let id = id.filter(|id| !id.is_empty());
        let name = name.filter(|name| !name.is_empty());
        let place = self.route(index, id.as_deref(), name.as_deref());
        let place = place.unwrap_or(self.calls.len());
        if place == limits::TOOL_CALLS_PER_TURN {
            return Err(Odd::TooManyCalls);
        }
        if place == self.calls.len() {
            self.calls.push(Partial { index, ..Partial::default() });
        }
        let Some(call) = self.calls.get_mut(place) else {
            return Ok(());
        };
        call.id = call.id.take().or(id);
        if call.name.is_empty() {
            call.name = name.unwrap_or_default();
        }
        match arguments {
            Some(Value::String(piece)) => call.arguments.push_str(&piece),
            Some(Value::Null) | None => {}
            Some(whole) => call.arguments = whole.to_string(),
        }
        Ok(())
    }

    /// The call that a piece belongs to; none for a new one. By id first; a new id on a busy index is a new call; without
    /// an id by index; without both the last call, unless the piece names a function and the last one has its name.
    fn route(&self, index: Option<u64>, id: Option<&str>, name: Option<&str>) -> Option<usize> {
        let last = |fits: &dyn Fn(&Partial) -> bool| self.calls.iter().rposition(fits);
        let same_index = |call: &Partial| call.index == index || call.index.is_none() || index.is_none();
        match (id, index) {
            (Some(id), _) => last(&|call| call.id.as_deref() == Some(id) && same_index(call)).or_else(|| {
                last(&|call| call.id.is_none() && index.is_some() && call.index == index && name.is_none())
            }),
            (None, Some(_)) => last(&|call| call.index == index),
            (None, None) => self.calls.len().checked_sub(1).filter(|at| {
                let unnamed = self.calls.get(*at).is_some_and(|call| call.name.is_empty());
                name.is_none() || unnamed
            }),
        }
    }

    fn reason(&self) -> FinishReason {
        match self.finish.as_deref() {
            Some("length" | "max_tokens") => FinishReason::Length,
            Some("content_filter") => FinishReason::ContentFilter,
            _ if !self.calls.is_empty() => FinishReason::ToolCalls,
            _ if self.is_refusal => FinishReason::Refusal,
            _ => FinishReason::Stop,
        }
    }

    fn whole_calls(&self) -> Result<Vec<ToolCall>, Odd> {
        let mut calls: Vec<ToolCall> = Vec::with_capacity(self.calls.len());
        for (number, call) in (1..).zip(&self.calls) {
            if call.name.is_empty() {
                return Err(Odd::Nameless);
            }
            let own = call.id.as_ref().filter(|id| !calls.iter().any(|other| other.id == **id));
            let id = own.cloned().unwrap_or_else(|| format!("call_{}_{number}", self.turn));
            let arguments = if call.arguments.trim().is_empty() { "{}".to_owned() } else { call.arguments.clone() };
            calls.push(ToolCall { id, name: call.name.clone(), arguments });
        }
        Ok(calls)
    }
}

/// Text of a field that is text, or the text of its parts that have it under `part`.
fn text_of(value: Option<Value>, part: &str) -> Option<String> {
    let text = match value? {
        Value::String(text) => text,
        Value::Array(parts) => parts.iter().filter_map(|inner| inner.get(part).and_then(Value::as_str)).collect(),
        _ => return None,
    };
    Some(text).filter(|text| !text.is_empty())
}

/// The thinking that Mistral sends as a part of the content.
fn thinking_of(content: &Value) -> Option<String> {
    let parts = content.as_array()?;
    let inner =
        parts.iter().filter_map(|part| part.get("thinking")).map(|thinking| text_of(Some(thinking.clone()), "text"));
    Some(inner.flatten().collect()).filter(|text: &String| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn assemble(chunks: &[Value]) -> Result<Vec<ModelEvent>, Odd> {
        let mut assembler = Assembler::new(3);
        let mut out = VecDeque::new();
        for chunk in chunks {
            assembler.add(&chunk.to_string(), &mut out)?;
        }
        assembler.end(&mut out)?;
        Ok(out.into())
    }

    fn calls_of(deltas: &[Value], finish: &str) -> Vec<(String, String, String)> {
        let mut chunks: Vec<Value> =
            deltas.iter().map(|calls| json!({"choices": [{"delta": {"tool_calls": calls}}]})).collect();
        chunks.push(json!({"choices": [{"delta": {}, "finish_reason": finish}]}));
        let call = |event| match event {
            ModelEvent::ToolCall(call) => Some((call.id, call.name, call.arguments)),
            _ => None,
        };
        assemble(&chunks).unwrap().into_iter().filter_map(call).collect()
    }

    fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
        (id.to_owned(), name.to_owned(), arguments.to_owned())
    }

    #[test]
    fn parallel_calls_are_put_together_by_index() {
        let calls = calls_of(
            &[
                json!([{"index": 0, "id": "a", "function": {"name": "x", "arguments": ""}}]),
                json!([{"index": 1, "id": "b", "function": {"name": "y", "arguments": "{"}}]),
                json!([{"index": 0, "function": {"arguments": "{\"n\":"}}, {"index": 1, "function": {"arguments": "}"}}]),
                json!([{"index": 0, "function": {"arguments": "1}"}}]),
            ],
            "tool_calls",
        );
        assert_eq!(calls, [call("a", "x", "{\"n\":1}"), call("b", "y", "{}")]);
    }

    #[test]
    fn a_missing_or_reused_index_does_not_mix_calls() {
        let reused = calls_of(
            &[
                json!([{"index": 0, "id": "a", "function": {"name": "x", "arguments": "{}"}}]),
                json!([{"index": 0, "id": "b", "function": {"name": "y", "arguments": "{\"k\""}}]),
                json!([{"index": 0, "function": {"arguments": ":2}"}}]),
            ],
            "tool_calls",
        );
        assert_eq!(reused, [call("a", "x", "{}"), call("b", "y", "{\"k\":2}")]);
        let missing = calls_of(
            &[
                json!([{"id": "a", "function": {"name": "x", "arguments": "{"}}]),
                json!([{"function": {"arguments": "}"}}]),
            ],
            "tool_calls",
        );
        assert_eq!(missing, [call("a", "x", "{}")]);
    }

    #[test]
    fn whole_calls_without_ids_get_ids_and_presence_beats_the_reason() {
        let calls = calls_of(
            &[
                json!([{"function": {"name": "x", "arguments": {"n": 1}}}, {"function": {"name": "y", "arguments": null}}]),
            ],
            "stop",
        );
        assert_eq!(calls, [call("call_3_1", "x", "{\"n\":1}"), call("call_3_2", "y", "{}")]);
    }

    #[test]
    fn an_id_that_is_used_twice_is_made_unique() {
        let calls = calls_of(
            &[
                json!([{"index": 0, "id": "a", "function": {"name": "x"}}, {"index": 1, "id": "a", "function": {"name": "y"}}]),
            ],
            "tool_calls",
        );
        assert_eq!(calls, [call("a", "x", "{}"), call("call_3_2", "y", "{}")]);
    }

    #[test]
    fn a_cut_answer_gives_no_calls() {
        let half = json!([{"index": 0, "id": "a", "function": {"name": "x", "arguments": ""}}]);
        assert_eq!(calls_of(&[half], "length"), []);
    }

    #[test]
    fn text_reasoning_refusal_and_usage_are_told_apart() {
        let events = assemble(&[
            json!({"id": "r", "model": "m", "choices": [{"delta": {"role": "assistant", "content": ""}}], "usage": null, "obfuscation": "x"}),
            json!({"choices": [{"delta": {"reasoning_content": "hm"}}]}),
            json!({"choices": [{"delta": {"reasoning": "so", "content": null}}]}),
            json!({"choices": [{"delta": {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "th"}]}, {"type": "text", "text": "A"}]}}]}),
            json!({"choices": [{"delta": {"refusal": "no"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}),
            json!({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 4}, "prompt_tokens_details": {"cached_tokens": 5}}}),
        ]);
        let usage = Usage { input: 20, output: 9, reasoning: 4, cache_read: 5, cache_write: 0 };
        let expected = vec![
            ModelEvent::Started { model: Some("m".to_owned()), response_id: Some("r".to_owned()) },
            ModelEvent::Reasoning("hm".to_owned()),
            ModelEvent::Reasoning("so".to_owned()),
            ModelEvent::Reasoning("th".to_owned()),
            ModelEvent::Text("A".to_owned()),
            ModelEvent::Text("no".to_owned()),
            ModelEvent::Usage(usage),
            ModelEvent::Finished(FinishReason::Refusal),
        ];
        assert_eq!(events, Ok(expected));
    }

    #[test]
    fn errors_in_the_stream_and_answers_without_an_answer_are_told() {
        assert_eq!(assemble(&[json!({"error": {"message": "x"}})]), Err(Odd::Told(json!({"message": "x"}))));
        assert!(matches!(assemble(&[json!({"object": "error", "message": "x"})]), Err(Odd::Told(_))));
        assert_eq!(assemble(&[json!({"choices": []})]), Err(Odd::Empty));
        assert!(matches!(assemble(&[json!([])]), Err(Odd::Malformed(_))));
    }

    #[test]
    fn endless_calls_are_refused() {
        let many: Vec<Value> = (0..=limits::TOOL_CALLS_PER_TURN)
            .map(|n| json!({"index": n, "id": n.to_string(), "function": {"name": "x"}}))
            .collect();
        assert_eq!(assemble(&[json!({"choices": [{"delta": {"tool_calls": many}}]})]), Err(Odd::TooManyCalls));
    }
}
