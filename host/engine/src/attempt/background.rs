//! Sub-agents in the background: the call that asks for one is answered at once, and what it comes to is a message to its
//! agent, who waits for it when there is nothing else to do.
//!
//! They belong to the conversation that sent them off, and end with it.

use super::{Setting, Terms};
use crate::executor::posted;
use crate::mailbox::TryMailbox;
use crate::recorder::AttemptRecorder;
use cofferdam_core::event::{Body, MessageKind};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::port::{BoxFuture, Clock, Mailbox, Post, Recorder as _, ToolOutput};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// Those of one conversation. Dropping it ends them.
pub(super) struct Background {
    tasks: Mutex<JoinSet<()>>,
    /// One was sent off: from then on there is mail.
    begun: AtomicBool,
    closed: AtomicBool,
    state: Arc<watch::Sender<State>>,
    /// They had the time that an idle agent waits for them.
    overdue: CancellationToken,
    clock: Arc<dyn Clock>,
}

/// How they stand.
#[derive(Clone, Debug, Default)]
struct State {
    at_work: usize,
    /// What came up in one of them ends the try.
    fatal: Option<Fault>,
}

/// Who is sent off, and by whom.
pub(super) struct SentOff {
    /// Records for the sub-agent.
    pub(super) recorder: AttemptRecorder,
    /// The agent that gets the message.
    pub(super) to: StepPath,
    /// The same in every process.
    pub(super) key: Arc<str>,
}

impl Background {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            tasks: Mutex::default(),
            begun: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            state: Arc::new(watch::Sender::new(State::default())),
            overdue: CancellationToken::new(),
            clock,
        }
    }

    /// Has one work.
    pub(super) fn begin(&self, sent: SentOff, work: BoxFuture<'static, Result<ToolOutput, Fault>>) {
        self.open();
        self.state.send_modify(|state| state.at_work += 1);
        let (ended, overdue) = (Ended(Arc::clone(&self.state)), self.overdue.clone());
        let task = async move {
            let outcome = tokio::select! {
                outcome = AssertUnwindSafe(work).catch_unwind() => {
                    outcome.unwrap_or_else(|_| Err(Fault::bug("the sub-agent panicked")))
                }
                () = overdue.cancelled() => Err(Fault::step("agent_overdue", stopped())),
            };
            match outcome {
                Err(fault) if fault.ends_try() => ended.0.send_modify(|state| state.fatal = Some(fault)),
                // Whose try has ended is not told.
                outcome => drop(sent.tell(outcome).await),
            }
            drop(ended);
        };
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task.in_current_span());
    }

    /// Ends those that are still at work: their agent is done.
    pub(super) async fn end(&self, recorder: &AttemptRecorder) {
        if !self.has_begun() {
            return;
        }
        let left = self.state.borrow().at_work;
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        if left > 0 {
            let (agents, were) = if left == 1 { ("sub-agent", "was") } else { ("sub-agents", "were") };
            let message = format!("{left} {agents} in the background {were} stopped: the agent was done before");
            recorder.observe(Body::Warning { code: "agents_stopped".to_owned(), message });
        }
    }

    /// One was sent off, here or in an earlier process.
    pub(super) fn open(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// From now on there is none: several agents share the conversation's place.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Why a sub-agent cannot be sent off, if it cannot.
    pub(super) fn refuse(&self) -> Result<(), Fault> {
        if !self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Fault::step("no_background", "no sub-agent can work in the background here")
            .with_hint("leave `background` out to wait for it"))
    }
}

fn stopped() -> String {
    let minutes = limits::AGENT_WAIT_MS / 60_000;
    format!("it was stopped: its agent had nothing else to do for {minutes} minutes")
}

impl SentOff {
    async fn tell(self, outcome: Result<ToolOutput, Fault>) -> Result<(), Fault> {
        let (text, failed) = match outcome {
            Ok(output) => (output.content.unwrap_or_default().to_string(), false),
            Err(fault) => (fault.message, true),
        };
        let AttemptRecorder { inbox, path, attempt, .. } = self.recorder;
        let post = Post { to: Some(self.to.to_string()), kind: MessageKind::Info, text, key: self.key, failed };
        let (wake, _, recorded) = posted(path, attempt, post);
        inbox.send(wake);
        recorded.await.unwrap_or_else(|_| Err(Fault::cancelled()))
    }
}

/// Counts one less at work, whatever ended it.
struct Ended(Arc<watch::Sender<State>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.send_modify(|state| state.at_work -= 1);
    }
}

impl Setting {
    /// The mailbox of an agent, with what its sub-agents in the background write.
    pub(super) fn letters(&self, terms: &Terms) -> Arc<dyn Mailbox> {
        let (Some(_), Some(attempt)) = (&terms.delegate, self.recorder.attempt) else { return Arc::clone(&self.mail) };
        let live: Arc<dyn Mailbox> = if self.coordinated {
            Arc::clone(&self.mail)
        } else {
            let AttemptRecorder { inbox, path, past, .. } = &*self.recorder;
            Arc::new(TryMailbox::new(inbox.clone(), (path.clone(), attempt), past.clone(), Vec::new()))
        };
        Arc::new(Letters {
            before: Arc::clone(&self.mail),
            live,
            background: Arc::clone(&self.background),
            recorder: Arc::clone(&self.recorder),
        })
    }
}

/// The mailbox of an agent that may have sub-agents in the background.
struct Letters {
    /// Where it reads as long as it has none.
    before: Arc<dyn Mailbox>,
    live: Arc<dyn Mailbox>,
    background: Arc<Background>,
    recorder: Arc<AttemptRecorder>,
}

impl Letters {
    fn now(&self) -> Result<&dyn Mailbox, Fault> {
        if let Some(fault) = &self.background.state.borrow().fatal {
            return Err(fault.clone());
        }
        Ok(if self.background.has_begun() { &*self.live } else { &*self.before })
    }

    async fn unread(&self, turn: u32) -> Result<Vec<Arc<str>>, Fault> {
        self.now()?.read(turn).await
    }

    /// What comes next; nothing when nobody is at work who could write.
    async fn next(&self, turn: u32) -> Result<Vec<Arc<str>>, Fault> {
        let background = &self.background;
        if !background.has_begun() {
            return self.unread(turn).await;
        }
        let mut state = background.state.subscribe();
        let mut patience = background.clock.sleep(Duration::from_millis(limits::AGENT_WAIT_MS));
        let was_begun = self.recorder.past.as_ref().is_some_and(|past| past.turn(turn).is_some());
        loop {
            // Whoever is not at work any more has told before.
            let at_work = state.borrow_and_update().at_work > 0;
            let letters = self.unread(turn).await?;
            if !letters.is_empty() || !at_work || was_begun {
                return Ok(letters);
            }
            tokio::select! {
                changed = state.changed() => changed.map_err(|_| Fault::cancelled())?,
                () = &mut patience, if !background.overdue.is_cancelled() => background.overdue.cancel(),
            }
        }
    }

    async fn last(&self, turn: u32) -> Result<Vec<Arc<str>>, Fault> {
        if self.background.has_begun() {
            let letters = self.next(turn).await?;
            if !letters.is_empty() {
                return Ok(letters);
            }
        }
        self.now()?.close(turn).await
    }
}

impl Mailbox for Letters {
    fn read(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(self.unread(turn))
    }

    fn close(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(self.last(turn))
    }

    fn wait(&self, turn: u32) -> BoxFuture<'_, Result<Vec<Arc<str>>, Fault>> {
        Box::pin(self.next(turn))
    }

    fn listens_on(&self) -> bool {
        // Also when none is at work any more: whether an agent goes on must not depend on who was faster.
        self.before.listens_on() || self.background.has_begun()
    }
}
