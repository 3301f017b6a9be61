//! A copy of the mailboxes of one run, kept where an embedder wants it.

use super::BoxFuture;
use crate::fault::Fault;
use crate::id::RunId;
use crate::mail::Letter;
use std::sync::Arc;

/// Keeps what agents of a run wrote to each other and nobody has read yet.
///
/// What counts are the events of the run: they say what was written, read and dropped, whatever a store says. A store that
/// says something else is reported, and then told what is so. It is called in order, one call at a time, after the event is
/// recorded; a crash may lie in between. A call that fails or takes too long is the last one of the run.
pub trait MailboxStore: Send + Sync {
    /// Keeps a message; one that is there already, by its number, stays as it is.
    ///
    /// # Errors
    /// When it cannot be kept.
    fn append<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), Fault>>;

    /// The numbers of all messages that nobody has read, in order.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn unread(&self) -> BoxFuture<'_, Result<Vec<u64>, Fault>>;

    /// Marks messages as read, each once: gives those that were read before, and those that are not there.
    ///
    /// # Errors
    /// When they cannot be marked.
    fn mark_read<'a>(&'a self, ids: &'a [u64]) -> BoxFuture<'a, Result<Vec<u64>, Fault>>;

    /// The run is over here. It may go on later, with a store of the same run.
    ///
    /// # Errors
    /// When something could not be made safe; it is reported.
    fn close(&self) -> BoxFuture<'_, Result<(), Fault>>;
}

/// Gives a run its store.
pub type Mailboxes = Arc<dyn Fn(&RunId) -> Arc<dyn MailboxStore> + Send + Sync>;
