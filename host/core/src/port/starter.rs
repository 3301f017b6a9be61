//! Who decides when the steps of a document begin, when it is not the machine.

use super::{BoxFuture, StepEnd};
use crate::fault::Fault;
use crate::id::StepId;
use std::sync::Arc;

/// Decides when the steps of a document's own scope begin, and with what message. Everything else stays with the engine:
/// dependencies, conditions, slots, retries, records. Steps inside loops, groups and includes are not its business.
pub trait Starter: Send + Sync {
    /// The step's dependencies have ended, so that it may begin; answers when it shall. Asked once for each step.
    ///
    /// # Errors
    /// It never shall: the run is stopped and fails with this.
    fn admit(&self, step: StepId) -> BoxFuture<'_, Result<(), Fault>>;

    /// The message of an agent step, when it is not the one that is assembled from what the step depends on.
    fn message(&self, step: &StepId) -> Option<Arc<str>>;

    /// A step of the document has ended.
    fn ended(&self, end: StepEnd);
}
