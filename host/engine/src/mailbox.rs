//! The mailbox of one try: what an earlier process gave it to read comes from the record, all else from the loop of the run.

use crate::executor::Wake;
use crate::recorder::Inbox;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{BoxFuture, Mailbox, PastTry};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::oneshot;

/// What an earlier process gave a try to read, where nobody writes any more.
pub(crate) struct Recorded(pub(crate) Arc<PastTry>);

impl Mailbox for Recorded {
    fn read(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(std::future::ready(Ok(self.0.mail(turn).to_vec())))
    }

    fn close(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        self.read(turn)
    }
}

/// What an agent asks its mailbox for.
#[derive(Debug)]
pub(crate) struct Fetch {
    /// The turn that is next.
    pub(crate) turn: u32,
    /// Set when the agent has nothing else to do: how often it was woken.
    pub(crate) closing: Option<u32>,
    /// Takes what there is.
    pub(crate) letters: oneshot::Sender<Vec<Arc<str>>>,
    /// Says when it is recorded.
    pub(crate) done: oneshot::Sender<Result<(), Fault>>,
}

/// The mailbox of a try of a step, or of the coordinator.
pub(crate) struct TryMailbox {
    inbox: Inbox,
    path: StepPath,
    attempt: u32,
    past: Option<Arc<PastTry>>,
    /// What earlier tries have read.
    earlier: Vec<Arc<str>>,
    wakes: AtomicU32,
}

impl TryMailbox {
    pub(crate) fn new(
        inbox: Inbox,
        (path, attempt): (StepPath, u32),
        past: Option<Arc<PastTry>>,
        earlier: Vec<Arc<str>>,
    ) -> Self {
        Self { inbox, path, attempt, past, earlier, wakes: AtomicU32::new(0) }
    }

    /// What is recorded for a turn, and whether that turn was begun, so that nothing else belongs to it.
    fn recorded(&self, turn: u32) -> (Vec<Arc<str>>, bool) {
        let Some(past) = &self.past else { return (Vec::new(), false) };
        (past.mail(turn).to_vec(), past.turn(turn).is_some())
    }

    async fn fetch(&self, turn: u32, closing: Option<u32>) -> Result<Vec<Arc<str>>, Fault> {
        let ((letters, given), (done, recorded)) = (oneshot::channel(), oneshot::channel());
        let fetch = Fetch { turn, closing, letters, done };
        self.inbox.send(Wake::Fetch { path: self.path.clone(), attempt: self.attempt, fetch });
        recorded.await.unwrap_or_else(|_| Err(Fault::cancelled()))?;
        Ok(given.await.unwrap_or_default())
    }

    async fn unread(&self, turn: u32) -> Result<Vec<Arc<str>>, Fault> {
        let mut letters = if turn == 1 { self.earlier.clone() } else { Vec::new() };
        let (recorded, begun) = self.recorded(turn);
        letters.extend(recorded);
        if !begun {
            letters.extend(self.fetch(turn, None).await?);
        }
        Ok(letters)
    }

    async fn last(&self, turn: u32) -> Result<Vec<Arc<str>>, Fault> {
        let (mut letters, begun) = self.recorded(turn);
        if letters.is_empty() {
            letters = self.fetch(turn, Some(self.wakes.load(Ordering::Relaxed))).await?;
        } else if !begun && self.past.as_ref().is_some_and(|past| past.ended().is_some()) {
            // What was read and not answered goes along with what came since.
            letters.extend(self.fetch(turn, None).await?);
        }
        if !letters.is_empty() {
            self.wakes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(letters)
    }
}

impl Mailbox for TryMailbox {
    fn read(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(self.unread(turn))
    }

    fn close(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(self.last(turn))
    }

    fn listens_on(&self) -> bool {
        self.path.is_coordinator()
    }
}
