//! What an attempt records goes to the loop of its run, which stamps it, appends it and passes it on.

use crate::executor::Wake;
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::port::{BoxFuture, PastTry, Recorder};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};

/// The way into the loop of a run.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    wakes: mpsc::UnboundedSender<Wake>,
    /// Transient events that the loop has not seen; bounded, so that the queue is.
    transient: Arc<AtomicUsize>,
    /// Transient events that were dropped because too many waited.
    lost: Arc<AtomicU64>,
}

impl Inbox {
    pub(crate) fn new(wakes: mpsc::UnboundedSender<Wake>) -> Self {
        Self { wakes, transient: Arc::default(), lost: Arc::default() }
    }

    /// Wakes the loop; nobody listens once the run has ended.
    pub(crate) fn send(&self, wake: Wake) {
        let _ = self.wakes.send(wake);
    }

    pub(crate) fn saw_transient(&self) {
        self.transient.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many transient events were dropped since this was asked last.
    pub(crate) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// Whether half of the transient events that may wait do.
    fn is_crowded(&self) -> bool {
        self.transient.load(Ordering::Relaxed) > limits::SINK_QUEUE_EVENTS / 2
    }

    fn admit_transient(&self) -> bool {
        let before = self.transient.fetch_add(1, Ordering::Relaxed);
        let room = before < limits::SINK_QUEUE_EVENTS;
        if !room {
            self.saw_transient();
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        room
    }
}

/// Records for one attempt, or for what is found out about a step outside of its attempts.
#[derive(Clone, Debug)]
pub(crate) struct AttemptRecorder {
    pub(crate) inbox: Inbox,
    pub(crate) path: StepPath,
    pub(crate) attempt: Option<u32>,
    /// What an earlier process recorded of the same try.
    pub(crate) past: Option<Arc<PastTry>>,
}

impl AttemptRecorder {
    /// Tells the loop which inputs were shortened in the message of this try.
    pub(crate) fn shortened(&self, inputs: Vec<String>) {
        let Some(attempt) = self.attempt else { return };
        // Also when none was: what an earlier try told counts no more.
        if !inputs.is_empty() || attempt > 1 {
            self.inbox.send(Wake::Shortened { path: self.path.clone(), attempt, inputs });
        }
    }
}

impl Recorder for AttemptRecorder {
    fn record(&self, body: Body) -> BoxFuture<'_, Result<(), Fault>> {
        let (done, answer) = oneshot::channel();
        let (path, attempt) = (self.path.clone(), self.attempt);
        self.inbox.send(Wake::Record { path, attempt, body, done: Some(done) });
        Box::pin(async { answer.await.unwrap_or_else(|_| Err(Fault::cancelled())) })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        let (done, answer) = oneshot::channel();
        self.inbox.send(Wake::Flush(done));
        Box::pin(async { answer.await.unwrap_or_else(|_| Err(Fault::cancelled())) })
    }

    fn past(&self) -> Option<&PastTry> {
        self.past.as_deref()
    }

    fn is_crowded(&self) -> bool {
        self.inbox.is_crowded()
    }

    fn observe(&self, body: Body) {
        if body.is_transient() && !self.inbox.admit_transient() {
            return;
        }
        let (path, attempt) = (self.path.clone(), self.attempt);
        self.inbox.send(Wake::Record { path, attempt, body, done: None });
    }
}
