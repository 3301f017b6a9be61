//! What an attempt records goes to the loop of its run, which stamps it, appends it and passes it on.

use crate::executor::Wake;
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::port::{BoxFuture, Recorder};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};

/// The way into the loop of a run.
#[derive(Clone, Debug)]
pub(crate) struct Inbox {
    wakes: mpsc::UnboundedSender<Wake>,
    /// Transient events that the loop has not seen; bounded, so that the queue is.
    transient: Arc<AtomicUsize>,
}

impl Inbox {
    pub(crate) fn new(wakes: mpsc::UnboundedSender<Wake>) -> Self {
        Self { wakes, transient: Arc::default() }
    }

    /// Wakes the loop; nobody listens once the run has ended.
    pub(crate) fn send(&self, wake: Wake) {
        let _ = self.wakes.send(wake);
    }

    pub(crate) fn saw_transient(&self) {
        self.transient.fetch_sub(1, Ordering::Relaxed);
    }

    fn admit_transient(&self) -> bool {
        let before = self.transient.fetch_add(1, Ordering::Relaxed);
        let room = before < limits::SINK_QUEUE_EVENTS;
        if !room {
            self.saw_transient();
        }
        room
    }
}

/// Records for one attempt.
#[derive(Clone, Debug)]
pub(crate) struct AttemptRecorder {
    pub(crate) inbox: Inbox,
    pub(crate) path: StepPath,
    pub(crate) attempt: u32,
}

impl Recorder for AttemptRecorder {
    fn record(&self, body: Body) -> BoxFuture<'_, Result<(), Fault>> {
        let (done, answer) = oneshot::channel();
        self.inbox.send(Wake::Record { path: self.path.clone(), attempt: self.attempt, body, done: Some(done) });
        Box::pin(async { answer.await.unwrap_or_else(|_| Err(Fault::cancelled())) })
    }

    fn observe(&self, body: Body) {
        if body.is_transient() && !self.inbox.admit_transient() {
            return;
        }
        self.inbox.send(Wake::Record { path: self.path.clone(), attempt: self.attempt, body, done: None });
    }
}
