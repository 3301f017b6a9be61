//! Responses of a stream put together.
//!
//! It must not read bytes. Calls are held back until the answer is complete, and dropped when it was cut.

use super::KEPT;
use crate::protocol::{Asked, Assemble, Odd, Progress};
use crate::verbatim;
use cofferdam_core::limits;
use cofferdam_core::message::{ToolCall, Usage};
use cofferdam_core::port::{FinishReason, ModelEvent};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// One response of the stream.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    candidates: Option<Vec<Candidate>>,
    prompt_feedback: Option<Value>,
    usage_metadata: Option<Value>,
    model_version: Option<String>,
    response_id: Option<String>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Content {
    parts: Option<Vec<Value>>,
}

/// Puts an answer together.
pub(super) struct Assembler {
    asked: Asked,
    started: bool,
    parts: Vec<Value>,
    /// Whether something must come back untouched.
    keeps: bool,
    calls: Vec<ToolCall>,
    usage: Option<Usage>,
    reason: Option<String>,
    blocked: Option<String>,
}

impl Assembler {
    pub(super) fn new(asked: Asked) -> Self {
        Self {
            asked,
            started: false,
            parts: Vec::new(),
            keeps: false,
            calls: Vec::new(),
            usage: None,
            reason: None,
            blocked: None,
        }
    }

    fn part(&mut self, mut part: Value, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd> {
        if let Some(called) = part.get_mut("functionCall") {
            self.call(called)?;
        } else if let Some(text) = part.get("text").and_then(Value::as_str).filter(|text| !text.is_empty()) {
            let is_thought = part.get("thought").and_then(Value::as_bool) == Some(true);
            let event = if is_thought { ModelEvent::Reasoning } else { ModelEvent::Text };
            out.push_back(event(text.to_owned()));
        }
        self.keeps |= part.get("thoughtSignature").is_some();
        self.remember(part);
        Ok(())
    }

    /// Takes a call, and gives it an id where it has none: its result names it.
    fn call(&mut self, called: &mut Value) -> Result<(), Odd> {
        if self.calls.len() == limits::TOOL_CALLS_PER_TURN {
            return Err(Odd::TooManyCalls);
        }
        let text = |name: &str| called.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let name = text("name").ok_or(Odd::Nameless)?.to_owned();
        let own = text("id").filter(|id| self.calls.iter().all(|other| other.id != *id)).map(str::to_owned);
        let id = own.unwrap_or_else(|| self.asked.call_id(self.calls.len() + 1));
        let arguments =
            called.get("args").filter(|args| !args.is_null()).map_or_else(|| "{}".to_owned(), Value::to_string);
        if let Some(called) = called.as_object_mut() {
            called.insert("id".to_owned(), json!(id));
        }
        self.calls.push(ToolCall { id, name, arguments });
        Ok(())
    }

    /// Keeps a part; pieces of plain text are one part, so that a long answer is not thousands of them.
    fn remember(&mut self, part: Value) {
        let plain = |part: &Value| part.as_object().is_some_and(|part| part.len() == 1 && part.contains_key("text"));
        if plain(&part)
            && let Some(last) = self.parts.last_mut().filter(|last| plain(last))
            && let (Some(Value::String(text)), Some(more)) =
                (last.get_mut("text"), part.get("text").and_then(Value::as_str))
        {
            text.push_str(more);
            return;
        }
        self.parts.push(part);
    }
}

impl Assemble for Assembler {
    fn add(&mut self, text: &str, out: &mut VecDeque<ModelEvent>) -> Result<Progress, Odd> {
        if text == "[DONE]" {
            return Ok(if self.is_complete() { Progress::Ended } else { Progress::More });
        }
        let response: Response = serde_json::from_str(text).map_err(|error| Odd::Malformed(error.to_string()))?;
        if let Some(error) = response.error.filter(|error| !error.is_null()) {
            return Err(Odd::Told(json!({ "error": error })));
        }
        if !std::mem::replace(&mut self.started, true) {
            out.push_back(ModelEvent::Started { model: response.model_version, response_id: response.response_id });
        }
        self.usage = response.usage_metadata.as_ref().and_then(usage).or(self.usage);
        let blocked = response.prompt_feedback.as_ref().and_then(|told| told.get("blockReason")?.as_str());
        self.blocked = blocked.map(str::to_owned).or(self.blocked.take());
        let Some(candidate) = response.candidates.and_then(|all| all.into_iter().next()) else {
            return Ok(Progress::More);
        };
        for part in candidate.content.and_then(|content| content.parts).into_iter().flatten() {
            self.part(part, out)?;
        }
        self.reason = candidate.finish_reason.filter(|reason| !reason.is_empty()).or(self.reason.take());
        Ok(Progress::More)
    }

    fn is_complete(&self) -> bool {
        self.reason.is_some() || self.blocked.is_some()
    }

    fn has_begun(&self) -> bool {
        !self.parts.is_empty()
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn end(&mut self, out: &mut VecDeque<ModelEvent>) -> Result<(), Odd> {
        let reason = match (self.reason.as_deref(), self.blocked.take()) {
            (None, Some(blocked)) => return Err(Odd::Blocked(blocked)),
            (None, None) => return Err(Odd::Empty),
            (Some("MAX_TOKENS"), _) => FinishReason::Length,
            (Some("STOP" | "FINISH_REASON_UNSPECIFIED"), _) if self.calls.is_empty() => FinishReason::Stop,
            (Some("STOP" | "FINISH_REASON_UNSPECIFIED"), _) => FinishReason::ToolCalls,
            (Some(broken @ ("MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL" | "MISSING_THOUGHT_SIGNATURE")), _) => {
                return Err(Odd::BrokenCall(broken.to_owned()));
            }
            (Some("TOO_MANY_TOOL_CALLS"), _) => return Err(Odd::TooManyCalls),
            (Some(known), _) if FILTERED.contains(&known) => FinishReason::ContentFilter,
            (Some(_), _) if self.calls.is_empty() => FinishReason::Stop,
            (Some(_), _) => FinishReason::ToolCalls,
        };
        if matches!(reason, FinishReason::Stop | FinishReason::ToolCalls) {
            if self.keeps {
                let parts = std::mem::take(&mut self.parts);
                out.push_back(ModelEvent::Opaque(verbatim::keep(KEPT, &self.asked, parts)));
            }
            out.extend(self.calls.drain(..).map(ModelEvent::ToolCall));
        }
        out.extend(self.usage.map(ModelEvent::Usage));
        out.push_back(ModelEvent::Finished(reason));
        Ok(())
    }
}

/// Reasons of an end for what was said.
const FILTERED: &[&str] =
    &["SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"];

/// The tokens so far: thinking is billed as output and not part of the candidates' count, what was cached is part of the prompt.
fn usage(value: &Value) -> Option<Usage> {
    let object = value.as_object()?;
    let count = |name: &str| object.get(name).and_then(Value::as_u64).unwrap_or(0);
    let reasoning = count("thoughtsTokenCount");
    Some(Usage {
        input: count("promptTokenCount").saturating_add(count("toolUsePromptTokenCount")),
        output: count("candidatesTokenCount").saturating_add(reasoning),
        reasoning,
        cache_read: count("cachedContentTokenCount"),
        cache_write: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { turn: 3, provider: "gemini".to_owned(), model: "m".to_owned(), ..Asked::default() }
    }

    fn assemble(responses: &[Value]) -> Result<Vec<ModelEvent>, Odd> {
        let (mut assembler, mut out) = (Assembler::new(asked()), VecDeque::new());
        for response in responses {
            assembler.add(&response.to_string(), &mut out)?;
        }
        assembler.end(&mut out)?;
        Ok(out.into())
    }

    fn said(parts: &Value, finish: Option<&str>) -> Value {
        json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}], "modelVersion": "m-1", "responseId": "r1"})
    }

    #[test]
    fn text_thoughts_calls_and_usage_are_told_apart_and_signatures_are_kept() {
        let mut last = said(
            &json!([
                {"functionCall": {"name": "get", "args": {"n": 1}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "fc1", "name": "get"}},
            ]),
            Some("STOP"),
        );
        last["usageMetadata"] = json!({"promptTokenCount": 20, "candidatesTokenCount": 9, "thoughtsTokenCount": 4, "cachedContentTokenCount": 5});
        let events = assemble(&[
            said(&json!([{"text": "hm", "thought": true}]), None),
            said(&json!([{"text": "Hel"}]), None),
            said(&json!([{"text": "lo"}, {"novel": 1}]), None),
            last,
        ]);
        let call = |id: &str, arguments: &str| {
            ModelEvent::ToolCall(ToolCall {
                id: id.to_owned(),
                name: "get".to_owned(),
                arguments: arguments.to_owned(),
            })
        };
        let kept = verbatim::keep(
            KEPT,
            &asked(),
            vec![
                json!({"text": "hm", "thought": true}),
                json!({"text": "Hello"}),
                json!({"novel": 1}),
                json!({"functionCall": {"name": "get", "args": {"n": 1}, "id": "call_3_1"}, "thoughtSignature": "c2ln"}),
                json!({"functionCall": {"id": "fc1", "name": "get"}}),
            ],
        );
        let expected = vec![
            ModelEvent::Started { model: Some("m-1".to_owned()), response_id: Some("r1".to_owned()) },
            ModelEvent::Reasoning("hm".to_owned()),
            ModelEvent::Text("Hel".to_owned()),
            ModelEvent::Text("lo".to_owned()),
            ModelEvent::Opaque(kept),
            call("call_3_1", "{\"n\":1}"),
            call("fc1", "{}"),
            ModelEvent::Usage(Usage { input: 20, output: 13, reasoning: 4, cache_read: 5, cache_write: 0 }),
            ModelEvent::Finished(FinishReason::ToolCalls),
        ];
        assert_eq!(events, Ok(expected));
    }

    #[test]
    fn each_end_has_its_meaning_and_a_cut_answer_gives_no_calls() {
        let called = json!([{"functionCall": {"name": "get"}}]);
        for (reason, parts, finish) in [
            ("STOP", json!([{"text": "x"}]), FinishReason::Stop),
            ("MAX_TOKENS", called.clone(), FinishReason::Length),
            ("SAFETY", called.clone(), FinishReason::ContentFilter),
            ("NOVEL", json!([{"text": "x"}]), FinishReason::Stop),
        ] {
            let events = assemble(&[said(&parts, Some(reason))]).unwrap();
            assert_eq!(events.last(), Some(&ModelEvent::Finished(finish)), "{reason}");
            assert!(!events.iter().any(|event| matches!(event, ModelEvent::ToolCall(_))), "{reason}");
        }
        assert!(matches!(assemble(&[said(&called, Some("MALFORMED_FUNCTION_CALL"))]), Err(Odd::BrokenCall(_))));
        assert_eq!(assemble(&[said(&called, None)]), Err(Odd::Empty));
    }

    #[test]
    fn blocked_prompts_and_errors_are_told() {
        let blocked = json!({"promptFeedback": {"blockReason": "SAFETY"}});
        assert_eq!(assemble(&[blocked]), Err(Odd::Blocked("SAFETY".to_owned())));
        let error = json!({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}});
        assert_eq!(assemble(std::slice::from_ref(&error)), Err(Odd::Told(error)));
        assert_eq!(assemble(&[said(&json!([{"functionCall": {}}]), None)]), Err(Odd::Nameless));
    }
}
