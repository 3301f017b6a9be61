//! What an agent does behind the end of its step: it reads a message, works on, and answers in words.

use super::{Conversation, Reply};
use cofferdam_core::message::Message;
use cofferdam_core::port::PastTry;
use cofferdam_core::schema::Checker;
use serde_json::Value;
use std::sync::Arc;

impl Conversation<'_> {
    /// Whether an agent that stops hears of what came meanwhile. Behind the end of its step it answers each time that it stops,
    /// and goes on only from where it had answered before.
    pub(super) fn goes_on(&mut self, turn: u32, truncated: bool) -> bool {
        let ended = self.ctx.events.past().and_then(PastTry::ended);
        let Some(ended) = ended.filter(|ended| ended.step <= turn) else { return self.hears_more(truncated) };
        if turn > ended.last || turn >= self.agent.turns() {
            return false;
        }
        self.end_step();
        true
    }

    /// What it gave so far is the step's, or an answer that was sent.
    fn end_step(&mut self) {
        self.ended = true;
        (self.submission, self.refused, self.content) = (None, None, Arc::default());
        // Calls that it was stopped at have no answer, and no model goes on from there.
        if let Some(Message::Assistant { tool_calls, .. }) = self.messages.last().cloned() {
            let text: Arc<str> = "not called: the agent was stopped".into();
            tool_calls
                .iter()
                .for_each(|call| self.take_reply(call, Reply::Tool { text: Arc::clone(&text), is_error: true }));
        }
    }

    /// The schema of the result that it owes, in both forms.
    pub(super) fn result(&self) -> Option<&(Arc<Value>, Arc<Checker>)> {
        self.agent.result.as_ref().filter(|_| !self.ended)
    }
}
