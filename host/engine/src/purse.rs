//! Asks the loop of a run whether a request fits its budgets, and how long a request is.

use crate::executor::Wake;
use crate::recorder::Inbox;
use cofferdam_core::budget::Money;
use cofferdam_core::event::{Body, Spending};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::message::{Message, Usage};
use cofferdam_core::port::{BoxFuture, Grant, Hold, Need, Purse, ToolSpec};
use cofferdam_core::value;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The budgets that pay for one try.
pub(crate) struct RunPurse {
    pub(crate) inbox: Inbox,
    pub(crate) path: StepPath,
    pub(crate) attempt: u32,
    /// Whether there is anything to ask for.
    pub(crate) limited: bool,
}

impl Purse for RunPurse {
    fn reserve(&self, need: Need) -> BoxFuture<'_, Result<Grant, Fault>> {
        if !self.limited {
            return Box::pin(std::future::ready(Ok(Grant::default())));
        }
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Wake::Reserve { path: self.path.clone(), attempt: self.attempt, need, reply });
        Box::pin(async { answer.await.unwrap_or_else(|_| Err(Fault::cancelled())) })
    }

    fn below(&self, path: &StepPath) -> Option<Arc<dyn Purse>> {
        let (inbox, path, attempt, limited) = (self.inbox.clone(), path.clone(), self.attempt, self.limited);
        Some(Arc::new(Self { inbox, path, attempt, limited }))
    }

    fn spent(&self, model: &Arc<str>, usage: &Usage, cost: Option<Money>) {
        let body = Body::Spent(Spending { model: Arc::clone(model), usage: *usage, cost });
        let (path, attempt) = (self.path.clone(), Some(self.attempt));
        self.inbox.send(Wake::Record { path, attempt, body, done: None });
    }
}

/// The budgets of a run inside another one, and those of the step that it works for.
pub(crate) struct Joint {
    pub(crate) own: Arc<dyn Purse>,
    pub(crate) outer: Arc<dyn Purse>,
    pub(crate) inbox: Inbox,
}

impl Purse for Joint {
    fn reserve(&self, need: Need) -> BoxFuture<'_, Result<Grant, Fault>> {
        Box::pin(async move {
            let own = self.own.reserve(need.clone()).await?;
            let need = Need { output_tokens: own.max_tokens.or(need.output_tokens), ..need };
            let outer = self.outer.reserve(need).await?;
            let (inbox, holds) = (self.inbox.clone(), (own.hold, outer.hold));
            let hold = Hold::new(move || {
                drop(holds.0);
                // The loop has told the outer run of the turn by then.
                inbox.send(Wake::LetGo(holds.1));
            });
            Ok(Grant { max_tokens: outer.max_tokens.or(own.max_tokens), hold })
        })
    }

    fn below(&self, path: &StepPath) -> Option<Arc<dyn Purse>> {
        let own = self.own.below(path)?;
        Some(Arc::new(Self { own, outer: Arc::clone(&self.outer), inbox: self.inbox.clone() }))
    }

    /// What is spent is recorded in the run, which tells the outer one.
    fn spent(&self, model: &Arc<str>, usage: &Usage, cost: Option<Money>) {
        self.own.spent(model, usage, cost);
    }
}

/// Bytes of text that are taken for one token; models of today have four or more in most languages.
const BYTES_PER_TOKEN: usize = 4;
/// Tokens that each message has beside its text.
const MESSAGE_TOKENS: usize = 4;
/// Bytes of a file in base64 that are taken for one token: an image has a thousand or two, whatever its size is.
const FILE_BYTES_PER_TOKEN: usize = 64;

/// About how many tokens so many bytes of text are.
pub(crate) fn tokens_in(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX)
}

/// How many tokens a request has, by estimate.
pub(crate) fn estimate(messages: &[Message], tools: &[ToolSpec]) -> u64 {
    let said = messages.iter().map(|message| {
        let more = match message {
            Message::Assistant { tool_calls, .. } => {
                tool_calls.iter().map(|call| (call.name.len() + call.arguments.len()) / BYTES_PER_TOKEN).sum()
            }
            Message::User { attachments, .. } => {
                attachments.iter().map(|file| file.base64.len() / FILE_BYTES_PER_TOKEN).sum()
            }
            Message::System { .. } | Message::Tool { .. } => 0,
        };
        message.text().len().div_ceil(BYTES_PER_TOKEN) + MESSAGE_TOKENS + more
    });
    let offered = tools.iter().map(|tool| {
        (tool.name.len() + tool.description.len() + value::size(&tool.parameters)).div_ceil(BYTES_PER_TOKEN)
    });
    let sum = said.chain(offered).fold(0, usize::saturating_add);
    u64::try_from(sum).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_long_as_what_stands_in_it() {
        let text = "a".repeat(4_000);
        assert_eq!(estimate(&[Message::user(text)], &[]), 1_004);
        assert_eq!(estimate(&[], &[]), 0);
    }
}
