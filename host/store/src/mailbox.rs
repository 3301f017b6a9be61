//! Mailboxes in memory: a copy of what waits to be read, for programs that look at it and as a model for stores of one's own.

use cofferdam_core::fault::Fault;
use cofferdam_core::mail::Letter;
use cofferdam_core::port::{BoxFuture, MailboxStore};
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The mailboxes of one run, in memory.
#[derive(Debug, Default)]
pub struct MemoryMailbox(Mutex<BTreeMap<u64, Kept>>);

#[derive(Debug)]
struct Kept {
    letter: Letter,
    read: bool,
}

impl MemoryMailbox {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The messages that nobody has read, in order.
    #[must_use]
    pub fn waiting(&self) -> Vec<Letter> {
        self.all().values().filter(|kept| !kept.read).map(|kept| kept.letter.clone()).collect()
    }
}

impl MailboxStore for MemoryMailbox {
    fn append<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), Fault>> {
        self.all().entry(letter.id).or_insert_with(|| Kept { letter: letter.clone(), read: false });
        Box::pin(ready(Ok(())))
    }

    fn unread(&self) -> BoxFuture<'_, Result<Vec<u64>, Fault>> {
        let ids = self.all().iter().filter(|(_, kept)| !kept.read).map(|(id, _)| *id).collect();
        Box::pin(ready(Ok(ids)))
    }

    fn mark_read<'a>(&'a self, ids: &'a [u64]) -> BoxFuture<'a, Result<Vec<u64>, Fault>> {
        let mut all = self.all();
        let mut before = Vec::new();
        for id in ids {
            match all.get_mut(id) {
                Some(kept) if !kept.read => kept.read = true,
                _ => before.push(*id),
            }
        }
        Box::pin(ready(Ok(before)))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(ready(Ok(())))
    }
}
