//! Sub-agents in the background: the call that asks for one is answered at once, and what it comes to is a message to its
//! agent, who waits for it when there is nothing else to do.
//!
//! They belong to the conversation that sent them off, and end with it.

use super::{Setting, Terms};
use crate::executor::posted;
use crate::mailbox::TryMailbox;
use crate::person::PersonTime;
use crate::recorder::AttemptRecorder;
use cofferdam_core::event::{Body, MessageKind};
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::port::{BoxFuture, Clock, Mailbox, Post, Recorder as _, ToolOutput};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
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
    /// They had the time that an idle agent waits for them; another one for those that come after.
    overdue: Mutex<CancellationToken>,
    room: Room,
}

/// Where they work for.
pub(super) struct Room {
    /// Their agent.
    pub(super) path: StepPath,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) person: Arc<PersonTime>,
    /// Says that a message for the step was written.
    pub(super) mail_came: Arc<Notify>,
}

/// How they stand.
#[derive(Clone, Debug, Default)]
struct State {
    at_work: usize,
    /// Some wait for a person who is not there.
    waiting: Option<Fault>,
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
    pub(super) fn new(room: Room) -> Self {
        Self {
            tasks: Mutex::default(),
            begun: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            state: Arc::new(watch::Sender::new(State::default())),
            overdue: Mutex::default(),
            room,
        }
    }

    /// Has one work.
    pub(super) fn begin(&self, sent: SentOff, work: BoxFuture<'static, Result<ToolOutput, Fault>>) {
        self.open();
        self.state.send_modify(|state| state.at_work += 1);
        let (ended, overdue) = (Ended(Arc::clone(&self.state)), self.overdue().clone());
        let task = async move {
            let outcome = tokio::select! {
                outcome = AssertUnwindSafe(work).catch_unwind() => {
                    outcome.unwrap_or_else(|_| Err(Fault::bug("the sub-agent panicked")))
                }
                () = overdue.cancelled() => Err(Fault::step("agent_overdue", stopped())),
            };
            match outcome {
                Err(fault) if fault.class == Class::Waiting => {
                    ended.0.send_modify(|state| state.waiting = Some(fault));
                }
                Err(fault) if fault.ends_try() => ended.0.send_modify(|state| state.fatal = Some(fault)),
                // Whose try has ended is not told.
                outcome => drop(sent.tell(outcome).await),
            }
            drop(ended);
        };
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task.in_current_span());
    }

    /// Those that are still at work end as their agent has: with it when it is done, and when they are done when it waits for a
    /// person.
    pub(super) async fn end(&self, waits: bool, recorder: &AttemptRecorder) {
        if !self.has_begun() {
            return;
        }
        if waits {
            self.rest().await;
        }
        let left = if waits { 0 } else { self.left() };
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        if left > 0 {
            let (agents, were) = if left == 1 { ("sub-agent", "was") } else { ("sub-agents", "were") };
            let message = format!("{left} {agents} in the background {were} stopped: the agent was done before");
            recorder.observe(Body::Warning { code: "agents_stopped".to_owned(), message });
        }
    }

    /// Waits until none is at work, for as long as an idle agent does.
    async fn rest(&self) {
        let mut state = self.state.subscribe();
        let mut patience = std::pin::pin!(self.patience());
        while state.borrow_and_update().at_work > 0 {
            tokio::select! {
                changed = state.changed() => if changed.is_err() { return },
                () = &mut patience => return,
            }
        }
    }

    /// How many are not done.
    fn left(&self) -> usize {
        let state = self.state.borrow();
        state.at_work + usize::from(state.waiting.is_some())
    }

    /// The time that an idle agent waits for those at work. That of a person does not count.
    async fn patience(&self) {
        let Room { path, clock, person, .. } = &self.room;
        person.sleep(clock, path, clock.now(), Duration::from_millis(limits::AGENT_WAIT_MS)).await;
    }

    /// Stops those that are at work, and not those that come after.
    fn give_up(&self) {
        std::mem::take(&mut *self.overdue()).cancel();
    }

    fn overdue(&self) -> MutexGuard<'_, CancellationToken> {
        self.overdue.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (mut patience, mut is_patient) = (std::pin::pin!(background.patience()), true);
        let was_begun = self.recorder.past.as_ref().is_some_and(|past| past.turn(turn).is_some());
        loop {
            // Whoever is not at work any more has told before.
            let (at_work, waiting) = {
                let state = state.borrow_and_update();
                (state.at_work > 0, state.waiting.clone())
            };
            let letters = self.unread(turn).await?;
            if !letters.is_empty() || was_begun {
                return Ok(letters);
            }
            if !at_work {
                return waiting.map_or(Ok(letters), Err);
            }
            tokio::select! {
                changed = state.changed() => changed.map_err(|_| Fault::cancelled())?,
                () = background.room.mail_came.notified() => {}
                () = &mut patience, if is_patient => {
                    is_patient = false;
                    background.give_up();
                }
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
