//! Small values in memory: the twin of the state store for tests and for embedders that keep nothing.
//!
//! It must not differ from the durable one in anything but durability.

use crate::entry::{self, Held};
use cofferdam_core::port::{BoxFuture, JournalError, Put, PutOne, Puts, State, StateEntry};
use std::collections::BTreeMap;
use std::future::ready;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps values as long as the process lives.
#[derive(Default)]
pub struct MemoryState {
    values: Mutex<Values>,
}

#[derive(Default)]
struct Values {
    namespaces: BTreeMap<String, BTreeMap<String, StateEntry>>,
    /// The version of the last write of all: versions are never used twice, also when a key comes back.
    last: u64,
}

impl MemoryState {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State for MemoryState {
    fn get<'a>(&'a self, namespace: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<StateEntry>, JournalError>> {
        let values = self.values();
        let entry = values.namespaces.get(namespace).and_then(|entries| entries.get(key)).cloned();
        Box::pin(ready(Ok(entry)))
    }

    fn put_if(&self, put: Put) -> BoxFuture<'_, Result<u64, JournalError>> {
        let version = entry::check(&put).and_then(|()| self.values().put_if(put));
        Box::pin(ready(version))
    }

    fn put_all(&self, puts: Puts) -> BoxFuture<'_, Result<Vec<u64>, JournalError>> {
        let versions = entry::check_all(&puts).and_then(|()| self.values().put_all(puts));
        Box::pin(ready(versions))
    }

    fn clear<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, JournalError>> {
        let mut cleared = 0;
        self.values().namespaces.retain(|namespace, entries| {
            let goes = namespace.starts_with(prefix);
            cleared += if goes { entries.len() as u64 } else { 0 };
            !goes
        });
        Box::pin(ready(Ok(cleared)))
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StateEntry>, JournalError>> {
        Box::pin(ready(Ok(self.values().scan(namespace, prefix, after, limit))))
    }
}

impl Values {
    fn put_if(&mut self, put: Put) -> Result<u64, JournalError> {
        let entries = self.namespaces.entry(put.namespace).or_default();
        let found = entries.get(&put.key).map_or(0, |entry| entry.version);
        entry::check_version(put.expected, found)?;
        let Some(value) = put.value else {
            entries.remove(&put.key);
            return Ok(0);
        };
        self.last += 1;
        let entry = StateEntry { key: put.key.clone(), value, version: self.last };
        entries.insert(put.key, entry);
        Ok(self.last)
    }

    fn put_all(&mut self, puts: Puts) -> Result<Vec<u64>, JournalError> {
        let entries = self.namespaces.entry(puts.namespace.clone()).or_default();
        let counted = entry::counted(puts.quota);
        let mut before = Held::default();
        for (key, entry) in entries.iter().filter(|(key, _)| key.starts_with(counted)) {
            before.write(key, None, Some(entry.value.len()));
        }
        let mut held = before;
        for write in &puts.writes {
            let found = entries.get(&write.key);
            entry::check_version(write.expected, found.map_or(0, |entry| entry.version))?;
            if write.key.starts_with(counted) {
                let after = write.value.as_ref().map(|value| value.len());
                held.write(&write.key, found.map(|entry| entry.value.len()), after);
            }
        }
        held.check(before, puts.quota)?;
        let Puts { namespace, writes, .. } = puts;
        let put = |PutOne { key, value, .. }| Put { namespace: namespace.clone(), key, value, expected: None };
        writes.into_iter().map(|write| self.put_if(put(write))).collect()
    }

    fn scan(&self, namespace: &str, prefix: &str, after: Option<&str>, limit: usize) -> Vec<StateEntry> {
        let Some(entries) = self.namespaces.get(namespace) else { return Vec::new() };
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let found = entries.range::<str, _>((start, Bound::Unbounded)).map(|(_, entry)| entry);
        let found = found.take_while(|entry| entry.key.starts_with(prefix));
        found.take(entry::entries_of_scan(limit)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use std::sync::Arc;

    #[tokio::test]
    async fn the_state_in_memory_holds_all_laws() {
        contract::state(|| Arc::new(MemoryState::new())).await.unwrap();
    }
}
