//! Where events go besides the journal.

use super::BoxFuture;
use crate::event::{Body, RunEvent, TRANSIENT};
use crate::fault::Fault;
use crate::limits;
use crate::spec::workflow::pattern_matches;
use std::sync::Arc;
use std::time::Duration;

/// Takes the events of runs.
///
/// One batch is under way at a time, in order. `(run_id, seq)` names a durable event: a sink may see it twice after
/// a crash, never out of order within a run. Events arrive in their public form.
pub trait Sink: Send + Sync {
    /// What it wants to see; asked once.
    fn want(&self) -> Want;

    /// What warnings call it.
    fn name(&self) -> String {
        "an event sink".to_owned()
    }

    /// Takes a batch.
    ///
    /// # Errors
    /// A fault of class `retry` gets the same batch again after a wait; any other stops the sink with a warning.
    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>>;

    /// Makes safe what it holds back. Called before shutdown.
    ///
    /// # Errors
    /// When something could not be made safe; it is reported.
    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>>;
}

/// What a sink wants to see, and how.
#[derive(Clone, Debug)]
pub struct Want {
    /// Kinds of events; a final `*` matches any rest. Empty means all.
    pub kinds: Vec<String>,
    /// What happens when it is slow.
    pub pressure: Pressure,
    /// Only durable events, those that the journal keeps.
    pub durable_only: bool,
    /// Most events of a batch.
    pub batch_events: usize,
    /// How long a batch may wait until it is full.
    pub linger: Duration,
}

impl Want {
    /// Wants these kinds, in batches as they come.
    #[must_use]
    pub fn new(kinds: Vec<String>, pressure: Pressure) -> Self {
        Self { kinds, pressure, durable_only: false, batch_events: limits::SINK_BATCH_EVENTS, linger: Duration::ZERO }
    }

    /// Whether it wants an event with this body.
    #[must_use]
    pub fn takes(&self, body: &Body) -> bool {
        if self.durable_only && body.is_transient() {
            return false;
        }
        self.names(body.kind())
    }

    /// Whether it wants any transient event.
    #[must_use]
    pub fn takes_transient(&self) -> bool {
        !self.durable_only && TRANSIENT.iter().any(|kind| self.names(kind))
    }

    fn names(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|pattern| pattern_matches(pattern, kind))
    }
}

/// What happens when a sink is slower than the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// The run does not wait for it. At most [`limits::SINK_QUEUE_EVENTS`] wait for it; beyond that transient events are
    /// dropped first, and of durable ones the oldest, each counted in [`Batch::dropped_before`]. The end of a run always
    /// comes. What it missed of the durable ones is in the journal, under their `seq`.
    Drop,
    /// The run waits for it, and it misses nothing.
    Wait,
}

/// Some events, in order.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The events.
    pub events: Vec<Arc<RunEvent>>,
    /// Events that it wanted and that were dropped since the last batch.
    pub dropped_before: u64,
}

/// What a sink did with a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// All of it is handled.
    All,
    /// The first so many are; send the rest again.
    First(usize),
    /// Some can never be delivered. Whoever keeps dead letters keeps them.
    Except {
        /// The first so many are handled, the rejected ones among them; send the rest again.
        handled: usize,
        /// What can never be delivered; each index is below `handled`.
        rejected: Vec<Rejection>,
    },
}

impl Ack {
    /// How many events need not be sent again, of a batch of so many. What a sink says is not checked.
    #[must_use]
    pub fn handled(&self, offered: usize) -> usize {
        match self {
            Self::All => offered,
            Self::First(handled) | Self::Except { handled, .. } => *handled,
        }
    }

    /// What can never be delivered.
    #[must_use]
    pub fn rejected(&self) -> &[Rejection] {
        match self {
            Self::All | Self::First(_) => &[],
            Self::Except { rejected, .. } => rejected,
        }
    }
}

/// An event that can never be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Its index in the batch.
    pub index: usize,
    /// Why.
    pub reason: String,
}
