//! One scripted answer as the events of a stream.
//!
//! It must not choose answers. Waits are tokio's, so that a test may pause time.

use super::last_user;
use super::script::{Answer, Call, Script};
use cofferdam_core::fault::Fault;
use cofferdam_core::message::ToolCall;
use cofferdam_core::port::{FinishReason, ModelEvent, ModelRequest, ModelStream};
use futures_util::stream;
use std::time::Duration;

/// An answer about to be streamed.
pub(super) struct Playback<'a> {
    pub(super) script: &'a Script,
    pub(super) answer: &'a Answer,
    pub(super) request: &'a ModelRequest,
    pub(super) name: &'a str,
}

type Item = Result<ModelEvent, Fault>;

impl Playback<'_> {
    pub(super) fn stream(&self) -> ModelStream {
        let items = self.items();
        let interval = self.answer.interval.unwrap_or(self.script.interval);
        if interval.is_zero() {
            return Box::pin(stream::iter(items));
        }
        Box::pin(stream::unfold(items.into_iter(), move |mut items| async move {
            let item = items.next()?;
            if matches!(item, Ok(ModelEvent::Text(_) | ModelEvent::Reasoning(_))) {
                wait(interval).await;
            }
            Some((item, items))
        }))
    }

    fn items(&self) -> Vec<Item> {
        let mut pieces = Vec::new();
        self.push_pieces(self.answer.reasoning.as_deref(), ModelEvent::Reasoning, &mut pieces);
        self.push_pieces(self.answer.text.as_deref(), ModelEvent::Text, &mut pieces);
        let started = ModelEvent::Started { model: Some(self.name.to_owned()), response_id: None };
        let begun = std::iter::once(Ok(started));
        if let Some((fault, after)) = &self.answer.error {
            pieces.truncate(*after);
            return begun.chain(pieces).chain([Err(fault.clone())]).collect();
        }
        let calls = self.answer.calls.iter().enumerate();
        let calls = calls.map(|(index, call)| Ok(ModelEvent::ToolCall(self.call(index, call))));
        let usage = self.answer.usage.or(self.script.usage).map(|usage| Ok(ModelEvent::Usage(usage)));
        let finish = Ok(ModelEvent::Finished(self.finish()));
        begun.chain(pieces).chain(calls).chain(usage).chain([finish]).collect()
    }

    fn push_pieces(&self, text: Option<&str>, event: fn(String) -> ModelEvent, out: &mut Vec<Item>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        let mut whole = text.replace("{{step}}", self.request.path.as_str());
        if whole.contains("{{prompt}}") {
            whole = whole.replace("{{prompt}}", last_user(&self.request.messages));
        }
        if self.script.chunk == 0 {
            out.push(Ok(event(whole)));
            return;
        }
        let mut rest = whole.as_str();
        while !rest.is_empty() {
            let end = rest.char_indices().nth(self.script.chunk).map_or(rest.len(), |(index, _)| index);
            let (piece, after) = rest.split_at(end);
            out.push(Ok(event(piece.to_owned())));
            rest = after;
        }
    }

    fn call(&self, index: usize, call: &Call) -> ToolCall {
        let id = call.id.clone().unwrap_or_else(|| format!("call_{}_{}", self.request.turn, index + 1));
        ToolCall { id, name: call.tool.clone(), arguments: call.arguments.clone() }
    }

    fn finish(&self) -> FinishReason {
        let natural = if self.answer.calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
        self.answer.finish.unwrap_or(natural)
    }
}

/// Waits, and for no time does not even ask the timer.
pub(super) async fn wait(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}
