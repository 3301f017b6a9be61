//! Messages between the agents of a run, as one of them sees them.

use super::BoxFuture;
use crate::event::{DropReason, MessageKind};
use crate::fault::Fault;
use std::sync::Arc;

/// What an agent reads beside its input. What it was given stands in the journal before it sees it.
pub trait Mailbox: Send + Sync {
    /// What came since, before a turn is asked for.
    ///
    /// # Errors
    /// When the attempt has ended, or the journal refuses.
    fn read(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>>;

    /// The agent has nothing more to do: gives what came since, for the turn that would be next, or nothing. After nothing
    /// it gets no messages any more.
    ///
    /// # Errors
    /// As of [`Self::read`].
    fn close(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>>;

    /// The agent would have nothing more to do, but owes a result: gives what came since, and waits for it where somebody works
    /// for the agent. After nothing it is asked for the result.
    ///
    /// # Errors
    /// As of [`Self::read`].
    fn wait(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        self.read(turn)
    }

    /// Whether the agent is there for what may still come: it goes on listening when a turn of it was cut off, or when it was
    /// stopped since it repeated itself.
    fn listens_on(&self) -> bool {
        false
    }
}

/// The mailbox of an agent that nobody writes to.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMail;

impl Mailbox for NoMail {
    fn read(&self, _: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn close(&self, _: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

/// A message that code inside a run writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The step that it is for, by its path, or the end of that; none = the coordinator.
    pub to: Option<String>,
    /// What it is for.
    pub kind: MessageKind,
    /// What it says.
    pub text: String,
    /// The same for a repetition of the same call: that writes no second message.
    pub key: Arc<str>,
    /// It tells why a sub-agent failed.
    pub failed: bool,
}

/// What became of a message that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its number in the run.
    pub id: u64,
    /// Why it reaches nobody, with the words for who wrote it; none: it waits for its reader.
    pub dropped: Option<(DropReason, String)>,
}
