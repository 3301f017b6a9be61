//! How code inside a run uses the shared memory of the run.

use super::RunContext;
use crate::fault::Fault;
use crate::memory::{MemoryChange, MemoryEntry, MemoryItem};
use serde_json::Value;
use std::sync::Arc;

/// What somebody asks of the shared memory.
#[derive(Clone, Debug, PartialEq)]
pub enum MemoryRequest {
    /// An entry.
    Read {
        /// Whose; none = one's own.
        namespace: Option<String>,
        /// Its key.
        key: String,
    },
    /// What there is, as far as one may read it.
    List {
        /// Whose; none = everybody's.
        namespace: Option<String>,
    },
    /// A change of one's own entries.
    Change(MemoryChange),
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum MemoryReply {
    /// The entry; none where there is none.
    Entry(Option<MemoryEntry>),
    /// What there is, in the order of namespaces and keys.
    Items(Vec<MemoryItem>),
    /// The revision of the change.
    Changed(u64),
}

/// The shared memory of a run, as one step of it sees it. The namespace is that of the step's agent; `default` where
/// a step of an agent names none, `workflow` where no agent works.
#[derive(Clone, Copy)]
pub struct SharedMemory<'r>(&'r dyn RunContext);

impl dyn RunContext + '_ {
    /// The shared memory of the run.
    #[must_use]
    pub fn memory(&self) -> SharedMemory<'_> {
        SharedMemory(self)
    }
}

impl SharedMemory<'_> {
    /// Reads an entry of an agent.
    ///
    /// # Errors
    /// `memory_denied` when the step's agent may not read it; otherwise when the run has ended.
    pub async fn read(&self, namespace: &str, key: &str) -> Result<Option<MemoryEntry>, Fault> {
        let request = MemoryRequest::Read { namespace: Some(namespace.to_owned()), key: key.to_owned() };
        match self.0.remember(request).await? {
            MemoryReply::Entry(entry) => Ok(entry),
            _ => Err(other()),
        }
    }

    /// Lists the entries that the step's agent may read.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub async fn list(&self) -> Result<Vec<MemoryItem>, Fault> {
        match self.0.remember(MemoryRequest::List { namespace: None }).await? {
            MemoryReply::Items(items) => Ok(items),
            _ => Err(other()),
        }
    }

    /// Writes an entry, whatever is there; done when it is recorded. Gives its revision.
    ///
    /// # Errors
    /// As of [`Memory::check`](crate::memory::Memory::check); otherwise when the run has ended.
    pub async fn write(&self, key: &str, value: Value) -> Result<u64, Fault> {
        self.change(key, Some(value), None).await
    }

    /// Writes an entry that still has the revision that the writer has seen; 0 for none.
    ///
    /// # Errors
    /// As of [`Self::write`], and `memory_conflict` when somebody was quicker.
    pub async fn write_if(&self, key: &str, value: Value, expected: u64) -> Result<u64, Fault> {
        self.change(key, Some(value), Some(expected)).await
    }

    /// Removes an entry.
    ///
    /// # Errors
    /// As of [`Self::write`], and `unknown_memory_key` when there is none.
    pub async fn delete(&self, key: &str) -> Result<u64, Fault> {
        self.change(key, None, None).await
    }

    /// Makes a change of which a repetition is known by its `call`.
    ///
    /// # Errors
    /// As of [`Self::write_if`].
    pub async fn make(&self, change: MemoryChange) -> Result<u64, Fault> {
        match self.0.remember(MemoryRequest::Change(change)).await? {
            MemoryReply::Changed(revision) => Ok(revision),
            _ => Err(other()),
        }
    }

    async fn change(&self, key: &str, value: Option<Value>, expected: Option<u64>) -> Result<u64, Fault> {
        let call: Option<Arc<str>> = None;
        self.make(MemoryChange { key: key.to_owned(), value, expected, call }).await
    }
}

fn other() -> Fault {
    Fault::bug("the shared memory answered something else than it was asked")
}
