//! How work inside an attempt tells the run what happened.

use super::{BoxFuture, PastTry};
use crate::event::Body;
use crate::fault::Fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Records events of one attempt: the engine adds run, path, attempt, time and position.
///
/// Events of one recorder keep their order. A recorder of an attempt that has ended drops what still comes.
pub trait Recorder: Send + Sync {
    /// Returns when the event is durable in the run's journal. Dropping the future may leave it recorded.
    ///
    /// # Errors
    /// When the journal refuses or the attempt has ended; the caller stops its work.
    fn record(&self, body: Body) -> BoxFuture<'_, Result<(), Fault>>;

    /// Passes the event on and does not wait: for transient kinds, denials and warnings.
    fn observe(&self, body: Body);

    /// Whether so many events wait that whoever observes more of them should let others go first, or transient ones may be lost.
    fn is_crowded(&self) -> bool {
        false
    }

    /// Returns when all that was passed on before is recorded, so that it survives the end of the process.
    ///
    /// # Errors
    /// When the journal refuses or the run has ended.
    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// What an earlier process recorded of the same try, when the run was taken up in the middle of it.
    fn past(&self) -> Option<&PastTry> {
        None
    }
}

/// Says whether the work was cancelled; for code that polls. Futures are cancelled by being dropped.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Marks the work as cancelled.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the work was cancelled.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
