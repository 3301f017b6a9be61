//! Who hears of what happens in runs, and the agents of a run that write to each other.

use super::Builder;
use crate::tracer::{Tracer, TracerSink};
use cofferdam_core::id::RunId;
use cofferdam_core::port::MailboxStore;
use cofferdam_engine::{Coordinator, DroppedMessage};
use std::sync::Arc;

impl Builder {
    /// Takes spans of every goal and run: of the run, its steps, iterations, sub-agents, turns and calls of tools.
    #[must_use]
    pub fn tracer(mut self, tracer: Arc<dyn Tracer>) -> Self {
        let sink = Arc::new(TracerSink::new(tracer));
        self.tracers.push(Arc::clone(&sink));
        self.sink(sink)
    }

    /// The coordinator of every run: an agent that hears of what happens, writes to the agents of steps, and sums up; each
    /// run has a conversation of its own with it, unless it is [shared](Coordinator::shared). Default: none, and agents cannot
    /// write to each other. It costs tokens.
    #[must_use]
    pub fn coordinator(mut self, coordinator: Coordinator) -> Self {
        self.coordinator = Some(coordinator);
        self
    }

    /// Keeps a copy of the mailboxes of each run, beside its record, which counts. Default: none, since whatever keeps the records
    /// has all messages.
    #[must_use]
    pub fn mailbox_store(mut self, store_of: impl Fn(&RunId) -> Arc<dyn MailboxStore> + Send + Sync + 'static) -> Self {
        self.mailboxes = Some(Arc::new(store_of));
        self
    }

    /// Hears of each message that reached nobody, once, after that is recorded: one message of a run after another, on a thread
    /// beside the run, before the run gives its result. Only when [`DROP_CALLBACK_MESSAGES`] wait for it, it is called where the run is
    /// driven, and holds that up. A panic in it is a warning of the run, and so is that it is not done when the run has
    /// waited for it at its end; then it hears of the rest later.
    ///
    /// [`DROP_CALLBACK_MESSAGES`]: cofferdam_core::limits::DROP_CALLBACK_MESSAGES
    #[must_use]
    pub fn drop_callback(mut self, callback: impl Fn(DroppedMessage) + Send + Sync + 'static) -> Self {
        self.drops = Some(Arc::new(callback));
        self
    }
}
