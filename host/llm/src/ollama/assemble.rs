//! Lines put together into events.
//!
//! It must not read bytes. Calls are held back until the answer is complete, and dropped when it was cut.

use crate::protocol::{Asked, Assemble, Odd, Progress};
use cofferdam_core::limits;
use cofferdam_core::message::{ToolCall, Usage};
use cofferdam_core::port::{FinishReason, ModelEvent};
use serde::Deserialize;
use serde_json::Value;
use std::collections::VecDeque;

/// One line.
#[derive(Debug, Deserialize)]
struct Line {
    model: Option<String>,
    message: Option<Said>,
    done: Option<bool>,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    error: Option<Value>,
}

/// What is new of the message.
#[derive(Debug, Deserialize)]
struct Said {
    content: Option<String>,
    thinking: Option<String>,
    tool_calls: Option<Vec<Called>>,
}

#[derive(Debug, Deserialize)]
struct Called {
    id: Option<String>,
    function: Option<Function>,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<Value>,
}

/// Puts an answer together.
pub(super) struct Assembler {
    asked: Asked,
    started: bool,
    calls: Vec<ToolCall>,
    usage: Option<Usage>,
    reason: Option<String>,
}

impl Assembler {
    pub(super) fn new(asked: Asked) -> Self {
        Self { asked, started: false, calls: Vec::new(), usage: None, reason: None }
    }

    fn call(&mut self, called: Called) -> Result<(), Odd> {
        if self.calls.len() == limits::TOOL_CALLS_PER_TURN {
            return Err(Odd::TooManyCalls);
        }
        let function = called.function.ok_or(Odd::Nameless)?;
        let name = function.name.filter(|name| !name.is_empty()).ok_or(Odd::Nameless)?;
        let arguments = match function.arguments {
            None | Some(Value::Null) => "{}".to_owned(),
            Some(Value::String(text)) => text,
            Some(value) => value.to_string(),
        };
        let own = called.id.filter(|id| !id.is_empty() && self.calls.iter().all(|other| other.id != *id));
        let id = own.unwrap_or_else(|| self.asked.call_id(self.calls.len() + 1));
        self.calls.push(ToolCall { id, name, arguments });
        Ok(())
    }

    /// What the user said of the context, if anything.
    fn context_tokens(&self) -> Option<u64> {
        let own = self.asked.settings.options.provider.get(&self.asked.provider)?;
        own.get("options")?.get("num_ctx")?.as_u64()
    }

    fn warn_of_a_full_context(&self) {
        let (Some(used), Some(context)) = (self.usage, self.context_tokens()) else {
            return;
        };
        if used.input >= context {
            tracing::warn!(
                provider = %self.asked.provider, model = %self.asked.model, tokens = used.input, num_ctx = context,
                "the conversation fills the context: Ollama leaves out its beginning without a word; raise `num_ctx`"
            );
        }
    }
}

impl Assemble for Assembler {
    fn add(&mut self, text: &str, out: &mut VecDeque<ModelEvent>) -> Result<Progress, Odd> {
        let line: Line = serde_json::from_str(text).map_err(|error| Odd::Malformed(error.to_string()))?;
        if let Some(error) = line.error.filter(|error| !error.is_null()) {
            return Err(Odd::Told(error));
        }
        if !std::mem::replace(&mut self.started, true) {
            out.push_back(ModelEvent::Started { model: line.model, response_id: None });
        }
        if let Some(said) = line.message {
            let some = |text: Option<String>| text.filter(|text| !text.is_empty());
            out.extend(some(said.thinking).map(ModelEvent::Reasoning));
            out.extend(some(said.content).map(ModelEvent::Text));
            for called in said.tool_calls.into_iter().flatten() {
                self.call(called)?;
            }
        }
        if line.prompt_eval_count.is_some() || line.eval_count.is_some() {
            let (input, output) = (line.prompt_eval_count.unwrap_or(0), line.eval_count.unwrap_or(0));
            self.usage = Some(Usage { input, output, ..Usage::default() });
        }
        if line.done != Some(true) {
            return Ok(Progress::More);
        }
        self.reason = Some(line.done_reason.unwrap_or_default());
        Ok(Progress::Ended)
    }

    fn is_complete(&self) -> bool {
        self.reason.is_some()
    }

    fn has_begun(&self) -> bool {
        !self.calls.is_empty()
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd> {
        self.warn_of_a_full_context();
        let reason = match self.reason.as_deref() {
            None => return Err(Odd::Empty),
            Some("length") => FinishReason::Length,
            _ if !self.calls.is_empty() => FinishReason::ToolCalls,
            Some(_) => FinishReason::Stop,
        };
        if reason == FinishReason::ToolCalls {
            out.extend(self.calls.drain(..).map(ModelEvent::ToolCall));
        }
        out.extend(self.usage.map(ModelEvent::Usage));
        out.push_back(ModelEvent::Finished(reason));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn assemble(lines: &[Value]) -> Result<Vec<ModelEvent>, Odd> {
        let mut assembler = Assembler::new(Asked { turn: 3, ..Asked::default() });
        let mut out = VecDeque::new();
        for line in lines {
            assembler.add(&line.to_string(), &mut out)?;
        }
        assembler.end(&mut out)?;
        Ok(out.into())
    }

    fn call(id: &str, arguments: &str) -> ModelEvent {
        ModelEvent::ToolCall(ToolCall { id: id.to_owned(), name: "get".to_owned(), arguments: arguments.to_owned() })
    }

    #[test]
    fn text_thinking_calls_and_usage_are_told_apart() {
        let events = assemble(&[
            json!({"model": "l", "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": false}),
            json!({"message": {"content": "Hel"}, "done": false, "unknown": 1}),
            json!({"message": {"content": "", "tool_calls": [{"function": {"name": "get", "arguments": {"n": 1}}}, {"id": "x", "function": {"name": "get"}}]}}),
            json!({"message": {"content": ""}, "done": true, "done_reason": "stop", "prompt_eval_count": 20, "eval_count": 9}),
        ]);
        let expected = vec![
            ModelEvent::Started { model: Some("l".to_owned()), response_id: None },
            ModelEvent::Reasoning("hm".to_owned()),
            ModelEvent::Text("Hel".to_owned()),
            call("call_3_1", "{\"n\":1}"),
            call("x", "{}"),
            ModelEvent::Usage(Usage { input: 20, output: 9, ..Usage::default() }),
            ModelEvent::Finished(FinishReason::ToolCalls),
        ];
        assert_eq!(events, Ok(expected));
    }

    #[test]
    fn a_cut_answer_gives_no_calls_and_an_error_is_told() {
        let begun = json!({"message": {"tool_calls": [{"function": {"name": "get"}}]}});
        let cut = assemble(&[begun.clone(), json!({"done": true, "done_reason": "length"})]).unwrap();
        assert_eq!(cut.last(), Some(&ModelEvent::Finished(FinishReason::Length)));
        assert!(!cut.iter().any(|event| matches!(event, ModelEvent::ToolCall(_))));
        assert_eq!(assemble(std::slice::from_ref(&begun)), Err(Odd::Empty));
        assert_eq!(assemble(&[begun, json!({"error": "boom"})]), Err(Odd::Told(json!("boom"))));
        assert_eq!(assemble(&[json!({"message": {"tool_calls": [{}]}})]), Err(Odd::Nameless));
    }
}
