//! Small durable values outside the journals: remembered answers, values of plugins, later cursors of sinks.

use super::{BoxFuture, JournalError};
use std::sync::Arc;

/// A key-value store by namespace.
pub trait State: Send + Sync {
    /// Starts what it needs now, from the thread that calls this; otherwise the first access does. A failure shows there.
    fn prepare(&self) {}

    /// The entry of a key.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn get<'a>(&'a self, namespace: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<StateEntry>, JournalError>>;

    /// Writes or deletes one entry if it has the expected version, and gives the new version, 0 after deleting. Durable
    /// when it returns. A version never comes back, also when a key does.
    ///
    /// # Errors
    /// `conflict` when the version is another; else when the store cannot be written.
    fn put_if(&self, put: Put) -> BoxFuture<'_, Result<u64, JournalError>>;

    /// Writes and deletes several entries of one namespace, or none of them, and gives the new versions in order, 0 for
    /// what was deleted. Durable when it returns. A key stands in it at most once.
    ///
    /// # Errors
    /// `conflict` when a version is another; `full` when the namespace would hold more than it may; else when the
    /// store cannot be written. Nothing was changed then.
    fn put_all(&self, puts: Puts) -> BoxFuture<'_, Result<Vec<u64>, JournalError>>;

    /// Deletes every namespace whose name begins with `prefix`, and gives how many entries that were. Makes no store
    /// where none is.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn clear<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, JournalError>>;

    /// Entries whose key begins with `prefix`, by key, after the key `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StateEntry>, JournalError>>;
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateEntry {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub value: Arc<[u8]>,
    /// Grows with each write; never 0.
    pub version: u64,
}

/// A conditional write.
#[derive(Clone, Debug)]
pub struct Put {
    /// The namespace.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// The new value; none deletes.
    pub value: Option<Arc<[u8]>>,
    /// The version that must be there: none = any, 0 = absent.
    pub expected: Option<u64>,
}

/// Conditional writes that happen together.
#[derive(Clone, Debug)]
pub struct Puts {
    /// The namespace of all of them.
    pub namespace: String,
    /// The writes.
    pub writes: Vec<PutOne>,
    /// What the namespace may hold afterwards; none = anything.
    pub quota: Option<Quota>,
}

/// One of several writes.
#[derive(Clone, Debug)]
pub struct PutOne {
    /// The key.
    pub key: String,
    /// The new value; none deletes.
    pub value: Option<Arc<[u8]>>,
    /// The version that must be there: none = any, 0 = absent.
    pub expected: Option<u64>,
}

/// What a namespace may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What the keys begin with that count; all do that begin with nothing.
    pub prefix: &'static str,
    /// Entries.
    pub entries: u64,
    /// Bytes of keys and values together.
    pub bytes: u64,
}
