//! The journal in memory: for tests, for embedders that keep nothing, and as the floor of what a journal costs.
//!
//! It must not serialise a record, except to find the blobs that it names, when there are any.

use crate::listing::{self, Cursor};
use crate::mention::Mentions;
use crate::{append, lease};
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{
    Append, BlobId, BoxFuture, Journal, JournalError, Lease, LeaseRequest, Page, Record, RunFilter, RunIndex, RunPage,
    RunRow,
};
use cofferdam_core::time::Timestamp;
use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keeps runs as long as the process lives. Every operation is done when its future is made.
#[derive(Default)]
pub struct Memory {
    store: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    runs: HashMap<RunId, Run>,
    leases: HashMap<RunId, Lease>,
    blobs: HashMap<String, Blob>,
    /// Runs ever made; orders those that were written to at the same moment.
    made: u64,
}

struct Run {
    number: u64,
    records: Vec<Record>,
    index: Option<RunIndex>,
    updated_at: Timestamp,
    blobs: HashSet<String>,
}

struct Blob {
    bytes: Arc<[u8]>,
    /// How often it was put without a record that names it yet: such a blob is not deleted.
    pending: u64,
}

impl Memory {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // No operation can leave the store half changed, so that a panic elsewhere does not spoil it.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Memory {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        let head = append::check(&request).and_then(|()| self.store().append(request));
        Box::pin(ready(head))
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(ready(self.store().read(run, after, limit)))
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        Box::pin(ready(self.store().list(&filter)))
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        let put = append::check_blob(&id, &bytes).map(|()| {
            let mut store = self.store();
            let blob = store.blobs.entry(id.as_str().to_owned()).or_insert(Blob { bytes, pending: 0 });
            blob.pending = blob.pending.saturating_add(1);
        });
        Box::pin(ready(put))
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        let bytes = self.store().blobs.get(id.as_str()).map(|blob| Arc::clone(&blob.bytes));
        Box::pin(ready(bytes.ok_or_else(|| JournalError::NotFound(id.as_str().to_owned()))))
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        let mut store = self.store();
        let lease = lease::decide(store.leases.get(&request.run).cloned(), &request);
        if let Ok(lease) = &lease {
            store.leases.insert(request.run, lease.clone());
        }
        Box::pin(ready(lease))
    }

    fn holder<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Option<Lease>, JournalError>> {
        Box::pin(ready(Ok(self.store().leases.get(run).cloned())))
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(ready(self.store().delete(run)))
    }
}

impl Store {
    fn append(&mut self, request: Append) -> Result<u64, JournalError> {
        let found = self.runs.get(&request.run).map_or(0, Run::head);
        if found != request.expected_head {
            return Err(JournalError::Conflict { expected: request.expected_head, found });
        }
        let mentions = self.mentions(&request.records);
        if found == 0 {
            self.made += 1;
        }
        let run = self.runs.entry(request.run).or_insert_with(|| Run::new(self.made));
        run.append(request.records, request.index);
        run.blobs.extend(mentions);
        Ok(run.head())
    }

    /// The blobs that the records name; each is waited for once less.
    fn mentions(&mut self, records: &[Record]) -> Vec<String> {
        if self.blobs.is_empty() {
            return Vec::new();
        }
        let mut mentions: Vec<_> = records.iter().flat_map(Mentions::in_record).collect();
        mentions.retain(|id| match self.blobs.get_mut(id) {
            Some(blob) => {
                blob.pending = blob.pending.saturating_sub(1);
                true
            }
            None => false,
        });
        mentions
    }

    fn read(&self, run: &RunId, after: u64, limit: usize) -> Result<Page, JournalError> {
        let found = self.runs.get(run).ok_or_else(|| JournalError::NotFound(run.to_string()))?;
        let skip = usize::try_from(after).unwrap_or(usize::MAX);
        let take = limit.min(limits::JOURNAL_PAGE_RECORDS);
        Ok(Page {
            first: after.saturating_add(1),
            records: found.records.iter().skip(skip).take(take).cloned().collect(),
            head: found.head(),
        })
    }

    fn list(&self, filter: &RunFilter) -> Result<RunPage, JournalError> {
        let before = filter.cursor.as_deref().map(Cursor::parse).transpose()?;
        let mut rows: Vec<_> = self.runs.iter().filter_map(|(id, run)| run.row(id, filter)).collect();
        rows.retain(|(cursor, _)| before.is_none_or(|before| *cursor < before));
        rows.sort_unstable_by_key(|(cursor, _)| std::cmp::Reverse(*cursor));
        Ok(listing::page(rows, filter.limit))
    }

    fn delete(&mut self, run: &RunId) -> Result<(), JournalError> {
        let deleted = self.runs.remove(run).ok_or_else(|| JournalError::NotFound(run.to_string()))?;
        self.leases.remove(run);
        for id in deleted.blobs {
            let is_wanted = self.blobs.get(&id).is_some_and(|blob| blob.pending > 0);
            if !is_wanted && !self.runs.values().any(|other| other.blobs.contains(&id)) {
                self.blobs.remove(&id);
            }
        }
        Ok(())
    }
}

impl Run {
    fn new(number: u64) -> Self {
        Self { number, records: Vec::new(), index: None, updated_at: Timestamp::default(), blobs: HashSet::new() }
    }

    fn head(&self) -> u64 {
        self.records.len() as u64
    }

    fn append(&mut self, mut records: Vec<Record>, index: Option<RunIndex>) {
        if let Some(last) = records.last() {
            self.updated_at = last.at;
        }
        self.records.append(&mut records);
        if index.is_some() {
            self.index = index;
        }
    }

    /// The run's row, if it has one and the filter wants it.
    fn row(&self, id: &RunId, filter: &RunFilter) -> Option<(Cursor, RunRow)> {
        let index = self.index.as_ref()?;
        listing::admits(filter, index).then(|| {
            let row =
                RunRow { run_id: id.clone(), head: self.head(), updated_at: self.updated_at, index: index.clone() };
            (Cursor { updated_at: self.updated_at.as_millis(), number: self.number }, row)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn the_journal_in_memory_holds_all_laws() {
        contract::journal(|| Arc::new(Memory::new())).await.unwrap();
    }
}
