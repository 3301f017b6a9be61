//! Events of a message put together.
//!
//! It must not read bytes. Calls are held back until the message is complete, and dropped when it was cut. Blocks, pieces
//! and events of kinds that it does not know are read over: the protocol says that there will be more of them.

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
    index: Option<u64>,
    message: Option<Value>,
    content_block: Option<Value>,
    delta: Option<Value>,
    usage: Option<Value>,
    error: Option<Value>,
    request_id: Option<Value>,
    /// Of a whole message that was not streamed.
    content: Option<Vec<Value>>,
    stop_reason: Option<String>,
    id: Option<String>,
    model: Option<String>,
}

/// Puts a message together.
pub(super) struct Assembler {
    asked: Asked,
    started: bool,
    blocks: BTreeMap<u64, Block>,
    /// Whether something must come back untouched.
    keeps: bool,
    calls: usize,
    stop_reason: Option<String>,
    tokens: Tokens,
}

/// A block on its way: what it began with, and the pieces of what grows.
#[derive(Debug)]
struct Block {
    value: Value,
    grown: String,
    input: String,
}

/// Tokens as the protocol counts them; later figures replace earlier ones.
#[derive(Debug, Default)]
struct Tokens {
    known: bool,
    input: u64,
    written: u64,
    read: u64,
    output: u64,
}

impl Tokens {
    fn take(&mut self, usage: Option<&Value>) {
        let Some(Value::Object(usage)) = usage else {
            return;
        };
        self.known = true;
        for (name, own) in [
            ("input_tokens", &mut self.input),
            ("cache_creation_input_tokens", &mut self.written),
            ("cache_read_input_tokens", &mut self.read),
            ("output_tokens", &mut self.output),
        ] {
            if let Some(count) = usage.get(name).and_then(Value::as_u64) {
                *own = count;
            }
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.known.then(|| Usage {
            input: self.input.saturating_add(self.written).saturating_add(self.read),
            output: self.output,
            reasoning: 0,
            cache_read: self.read,
            cache_write: self.written,
        })
    }
}

impl Assembler {
    pub(super) fn new(asked: Asked) -> Self {
        let (blocks, tokens) = (BTreeMap::new(), Tokens::default());
        Self { asked, started: false, blocks, keeps: false, calls: 0, stop_reason: None, tokens }
    }

    fn start(&mut self, model: Option<String>, id: Option<String>, out: &mut VecDeque<ModelEvent>) {
        if !std::mem::replace(&mut self.started, true) {
            out.push_back(ModelEvent::Started { model, response_id: id });
        }
    }

    fn message_start(&mut self, message: &Value, out: &mut VecDeque<ModelEvent>) {
        let text = |name: &str| message.get(name).and_then(Value::as_str).map(str::to_owned);
        self.start(text("model"), text("id"), out);
        self.tokens.take(message.get("usage"));
    }

    fn block_start(&mut self, index: u64, value: Value, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd> {
        match value.get("type").and_then(Value::as_str) {
            Some("tool_use") => {
                self.calls += 1;
                if self.calls > limits::TOOL_CALLS_PER_TURN {
                    return Err(Odd::TooManyCalls);
                }
                if value.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
                    return Err(Odd::Nameless);
                }
            }
            Some("text") => out.extend(piece(&value, "text").map(ModelEvent::Text)),
            Some("thinking") => {
                self.keeps = true;
                out.extend(piece(&value, "thinking").map(ModelEvent::Reasoning));
            }
            _ => self.keeps = true,
        }
        self.blocks.insert(index, Block { value, grown: String::new(), input: String::new() });
        Ok(())
    }

    fn block_delta(&mut self, index: u64, delta: &Value, out: &mut VecDeque<ModelEvent>) {
        let Some(block) = self.blocks.get_mut(&index) else {
            return;
        };
        match delta.get("type").and_then(Value::as_str) {
            Some("text_delta") => {
                let text = piece(delta, "text").unwrap_or_default();
                block.grown.push_str(&text);
                out.extend(Some(text).filter(|text| !text.is_empty()).map(ModelEvent::Text));
            }
            Some("thinking_delta") => {
                let text = piece(delta, "thinking").unwrap_or_default();
                block.grown.push_str(&text);
                out.extend(Some(text).filter(|text| !text.is_empty()).map(ModelEvent::Reasoning));
            }
            Some("signature_delta") => {
                let signature = delta.get("signature").cloned().unwrap_or_default();
                if let Some(block) = block.value.as_object_mut() {
                    block.insert("signature".to_owned(), signature);
                }
            }
            Some("input_json_delta") => {
                block.input.push_str(delta.get("partial_json").and_then(Value::as_str).unwrap_or_default());
            }
            _ => {}
        }
    }

    /// The block as it is sent back.
    fn whole(block: Block) -> Value {
        let Block { mut value, grown, input } = block;
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(object) = value.as_object_mut() else {
            return value;
        };
        let field = if kind == "thinking" { "thinking" } else { "text" };
        if !grown.is_empty() {
            let begun = object.get(field).and_then(Value::as_str).unwrap_or_default();
            let text = format!("{begun}{grown}");
            object.insert(field.to_owned(), json!(text));
        }
        // It must be an object when it comes back; whoever validates it has it as it was written.
        if !input.trim().is_empty() {
            let written = serde_json::from_str(&input).ok().filter(Value::is_object);
            object.insert("input".to_owned(), written.unwrap_or_else(|| json!({ "invalid": input })));
        }
        value
    }

    fn reason(&self) -> FinishReason {
        match self.stop_reason.as_deref() {
            Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
            Some("refusal") => FinishReason::Refusal,
            _ if self.calls > 0 => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        }
    }

    /// The call of a block, with an id that none before it has.
    fn call(&self, block: &Block, before: &[ToolCall]) -> ToolCall {
        let Block { value, input, .. } = block;
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let own = Some(text("id")).filter(|id| !id.is_empty() && before.iter().all(|other| other.id != *id));
        let id = own.unwrap_or_else(|| self.asked.call_id(before.len() + 1));
        let arguments = if input.trim().is_empty() {
            value.get("input").filter(|input| !input.is_null()).map_or_else(|| "{}".to_owned(), Value::to_string)
        } else {
            input.to_owned()
        };
        ToolCall { id, name: text("name"), arguments }
    }
}

impl Assemble for Assembler {
    fn add(&mut self, text: &str, out: &mut VecDeque<ModelEvent>) -> Result<Progress, Odd> {
        let event: Event = serde_json::from_str(text).map_err(|error| Odd::Malformed(error.to_string()))?;
        if let Some(error) = event.error.filter(|error| !error.is_null()) {
            return Err(Odd::Told(json!({ "error": error, "request_id": event.request_id })));
        }
        let index = event.index.unwrap_or(0);
        match event.r#type.as_deref() {
            Some("message_start") => self.message_start(&event.message.unwrap_or_default(), out),
            Some("content_block_start") => self.block_start(index, event.content_block.unwrap_or_default(), out)?,
            Some("content_block_delta") => self.block_delta(index, &event.delta.unwrap_or_default(), out),
            Some("message_delta") => {
                let reason = event.delta.as_ref().and_then(|delta| delta.get("stop_reason")).and_then(Value::as_str);
                self.stop_reason = reason.map(str::to_owned).or(self.stop_reason.take());
                self.tokens.take(event.usage.as_ref());
            }
            Some("message_stop") => return Ok(Progress::Ended),
            Some("message") => {
                self.start(event.model, event.id, out);
                for (index, block) in (0..).zip(event.content.unwrap_or_default()) {
                    self.block_start(index, block, out)?;
                }
                self.tokens.take(event.usage.as_ref());
                self.stop_reason = event.stop_reason;
                return Ok(Progress::Ended);
            }
            _ => {}
        }
        Ok(Progress::More)
    }

    fn is_complete(&self) -> bool {
        self.stop_reason.is_some()
    }

    fn has_begun(&self) -> bool {
        !self.blocks.is_empty()
    }

    fn usage(&self) -> Option<Usage> {
        self.tokens.usage()
    }

    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd> {
        if !self.started || self.stop_reason.is_none() {
            return Err(Odd::Empty);
        }
        let reason = self.reason();
        let mut calls: Vec<ToolCall> = Vec::new();
        let mut whole = Vec::new();
        for mut block in std::mem::take(&mut self.blocks).into_values() {
            let is_call = block.value.get("type").and_then(Value::as_str) == Some("tool_use");
            if is_call {
                let call = self.call(&block, &calls);
                // Its result names it, so it goes back under the same id.
                if let Some(value) = block.value.as_object_mut() {
                    value.insert("id".to_owned(), json!(call.id));
                }
                calls.push(call);
            }
            whole.push(Self::whole(block));
        }
        // An empty text is refused when it comes back.
        whole.retain(|block| block.get("text").and_then(Value::as_str) != Some(""));
        // Who refuses stops in the middle of a call, too.
        if matches!(reason, FinishReason::Stop | FinishReason::ToolCalls) {
            if self.keeps {
                out.push_back(ModelEvent::Opaque(verbatim::keep(KEPT, &self.asked, whole)));
            }
            out.extend(calls.into_iter().map(ModelEvent::ToolCall));
        }
        out.extend(self.tokens.usage().map(ModelEvent::Usage));
        out.push_back(ModelEvent::Finished(reason));
        Ok(())
    }
}

/// The text of a field, unless there is none.
fn piece(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { turn: 3, provider: "anthropic".to_owned(), model: "m".to_owned(), ..Asked::default() }
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

    fn start() -> Value {
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "m", "content": [], "usage": {"input_tokens": 20, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 1}}})
    }

    fn block(index: u64, block: &Value) -> Value {
        json!({"type": "content_block_start", "index": index, "content_block": block})
    }

    fn delta(index: u64, delta: &Value) -> Value {
        json!({"type": "content_block_delta", "index": index, "delta": delta})
    }

    fn end(reason: &str) -> [Value; 2] {
        [
            json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 9}}),
            json!({"type": "message_stop"}),
        ]
    }

    fn started() -> ModelEvent {
        ModelEvent::Started { model: Some("m".to_owned()), response_id: Some("msg_1".to_owned()) }
    }

    fn usage() -> ModelEvent {
        ModelEvent::Usage(Usage { input: 27, output: 9, reasoning: 0, cache_read: 4, cache_write: 3 })
    }

    fn call(id: &str, arguments: &str) -> ModelEvent {
        ModelEvent::ToolCall(ToolCall { id: id.to_owned(), name: "get".to_owned(), arguments: arguments.to_owned() })
    }

    #[test]
    fn thinking_text_and_calls_are_told_apart_and_thinking_is_kept() {
        let mut events = vec![
            start(),
            json!({"type": "ping"}),
            block(0, &json!({"type": "thinking", "thinking": "", "signature": ""})),
            delta(0, &json!({"type": "thinking_delta", "thinking": "hm"})),
            delta(0, &json!({"type": "signature_delta", "signature": "s=="})),
            block(1, &json!({"type": "text", "text": ""})),
            delta(1, &json!({"type": "text_delta", "text": "Hel"})),
            delta(1, &json!({"type": "novel_delta", "x": 1})),
            block(2, &json!({"type": "tool_use", "id": "toolu_a", "name": "get", "input": {}})),
            delta(2, &json!({"type": "input_json_delta", "partial_json": ""})),
            delta(2, &json!({"type": "input_json_delta", "partial_json": "{\"n\": "})),
            delta(2, &json!({"type": "input_json_delta", "partial_json": "1}"})),
            block(3, &json!({"type": "tool_use", "id": "toolu_b", "name": "get", "input": {}})),
            json!({"type": "novel_event"}),
        ];
        events.extend(end("tool_use"));
        let kept = verbatim::keep(
            KEPT,
            &asked(),
            vec![
                json!({"type": "thinking", "thinking": "hm", "signature": "s=="}),
                json!({"type": "text", "text": "Hel"}),
                json!({"type": "tool_use", "id": "toolu_a", "name": "get", "input": {"n": 1}}),
                json!({"type": "tool_use", "id": "toolu_b", "name": "get", "input": {}}),
            ],
        );
        let expected = vec![
            started(),
            ModelEvent::Reasoning("hm".to_owned()),
            ModelEvent::Text("Hel".to_owned()),
            ModelEvent::Opaque(kept),
            call("toolu_a", "{\"n\": 1}"),
            call("toolu_b", "{}"),
            usage(),
            ModelEvent::Finished(FinishReason::ToolCalls),
        ];
        assert_eq!(assemble(&events), Ok(expected));
    }

    #[test]
    fn a_plain_answer_keeps_nothing_and_a_whole_one_is_read_alike() {
        let mut events = vec![start(), block(0, &json!({"type": "text", "text": "Hi"}))];
        events.extend(end("end_turn"));
        let expected =
            vec![started(), ModelEvent::Text("Hi".to_owned()), usage(), ModelEvent::Finished(FinishReason::Stop)];
        assert_eq!(assemble(&events), Ok(expected.clone()));
        let whole = json!({
            "type": "message", "id": "msg_1", "model": "m", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn",
            "usage": {"input_tokens": 20, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 9},
        });
        assert_eq!(assemble(&[whole]), Ok(expected));
    }

    #[test]
    fn each_end_has_its_meaning_and_a_cut_answer_gives_no_calls() {
        for (reason, finish) in [
            ("max_tokens", FinishReason::Length),
            ("model_context_window_exceeded", FinishReason::Length),
            ("refusal", FinishReason::Refusal),
            ("stop_sequence", FinishReason::Stop),
        ] {
            let mut events = vec![start(), block(0, &json!({"type": "text", "text": "Hi"}))];
            events.extend(end(reason));
            assert_eq!(assemble(&events).unwrap().pop(), Some(ModelEvent::Finished(finish)), "{reason}");
        }
        let mut events = vec![start(), block(0, &json!({"type": "tool_use", "id": "a", "name": "get"}))];
        events.extend(end("max_tokens"));
        assert!(!assemble(&events).unwrap().iter().any(|event| matches!(event, ModelEvent::ToolCall(_))));
    }

    #[test]
    fn errors_and_answers_without_an_answer_are_told() {
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"});
        let told = json!({"error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"});
        assert_eq!(assemble(&[start(), error]), Err(Odd::Told(told)));
        assert_eq!(assemble(&[start()]), Err(Odd::Empty));
        assert_eq!(assemble(&[start(), block(0, &json!({"type": "tool_use", "id": "a"}))]), Err(Odd::Nameless));
    }
}
