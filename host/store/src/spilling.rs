//! A journal whose large values are blobs: what is appended has them taken out, and what is read has them back.
//!
//! It stands in front of any journal, so that whoever reads or writes runs deals with whole events only. It must not know what is
//! large; [`cofferdam_core::record::spill`] does.

use cofferdam_core::event::RunEvent;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{
    Append, BlobId, BoxFuture, Journal, JournalError, Lease, LeaseRequest, Page, Record, RecordBody, RunFilter,
    RunPage, Spilled, SpilledPart,
};
use cofferdam_core::record;
use std::collections::HashMap;
use std::sync::Arc;

/// Keeps large values once, in blobs of the journal behind it.
///
/// A blob is put before the record that names it is appended. A blob that is gone or damaged makes its record a damaged one.
pub struct Spilling {
    inner: Arc<dyn Journal>,
}

impl Spilling {
    /// Large values go to blobs of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Journal>) -> Self {
        Self { inner }
    }

    async fn append_spilled(&self, mut request: Append) -> Result<u64, JournalError> {
        for record in &mut request.records {
            let Some((spilled, blobs)) = record.event().and_then(|event| record::spill(event)) else { continue };
            for (id, bytes) in blobs {
                self.inner.put_blob(id, bytes).await?;
            }
            record.body = RecordBody::Spilled(Arc::new(spilled));
        }
        self.inner.append(request).await
    }

    async fn read_whole(&self, run: &RunId, after: u64, limit: usize) -> Result<Page, JournalError> {
        let mut page = self.inner.read(run, after, limit).await?;
        let mut blobs = HashMap::new();
        // The records first: behind the last of all positions there is no further one.
        for (record, position) in page.records.iter_mut().zip(page.first..) {
            if let RecordBody::Spilled(spilled) = &record.body {
                let event = self.restored(spilled, (run, position), &mut blobs).await?;
                *record = Record { at: record.at, body: RecordBody::Event(Arc::new(event)) };
            }
        }
        Ok(page)
    }

    async fn restored(
        &self,
        spilled: &Spilled,
        (run, position): (&RunId, u64),
        blobs: &mut HashMap<BlobId, Arc<[u8]>>,
    ) -> Result<RunEvent, JournalError> {
        let mut bytes = Vec::with_capacity(spilled.parts.len());
        for part in &spilled.parts {
            let got = match blobs.get(&part.blob) {
                Some(known) => Arc::clone(known),
                None => self.inner.get_blob(&part.blob).await.map_err(|error| missing(error, part, (run, position)))?,
            };
            blobs.insert(part.blob.clone(), Arc::clone(&got));
            bytes.push(got);
        }
        record::restore(spilled, &bytes).map_err(|reason| record::damaged(run, position, &reason))
    }
}

/// What it means for a record that one of its blobs is not there.
fn missing(error: JournalError, part: &SpilledPart, (run, position): (&RunId, u64)) -> JournalError {
    let SpilledPart { at, blob, bytes, .. } = part;
    let what = format!("its `{at}` of {bytes} bytes is in blob `{}`", blob.as_str());
    match error {
        JournalError::NotFound(_) => record::damaged(run, position, &format!("{what}, which is not in the store")),
        JournalError::Unavailable(why) => {
            JournalError::Unavailable(format!("record {position} of run `{run}` cannot be read: {what}; {why}"))
        }
        other => other,
    }
}

impl Journal for Spilling {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        Box::pin(self.append_spilled(request))
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(self.read_whole(run, after, limit))
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        self.inner.list(filter)
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        self.inner.put_blob(id, bytes)
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        self.inner.get_blob(id)
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        self.inner.lease(request)
    }

    fn holder<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Option<Lease>, JournalError>> {
        self.inner.holder(run)
    }

    fn is_there<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.inner.is_there(run)
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.inner.delete(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{self, large, long};
    use crate::{File, Memory, Sqlite};
    use cofferdam_core::port::Durability;
    use std::fs;
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn run(name: &str) -> RunId {
        RunId::parse(name).unwrap()
    }

    async fn append(journal: &dyn Journal, name: &str, head: u64, text: &str) -> Result<u64, JournalError> {
        let records = vec![large(&run(name), head + 1, text)];
        let durability = Durability::Durable;
        journal.append(Append { run: run(name), expected_head: head, records, index: None, durability }).await
    }

    async fn read(journal: &dyn Journal, name: &str) -> Result<Vec<Record>, JournalError> {
        journal.read(&run(name), 0, 10).await.map(|page| page.records)
    }

    #[tokio::test]
    async fn it_holds_all_laws_in_front_of_any_journal() {
        let folder = tempfile::tempdir().unwrap();
        let made = AtomicU32::new(0);
        let name = || folder.path().join(made.fetch_add(1, Ordering::Relaxed).to_string());
        contract::journal(|| Arc::new(Spilling::new(Arc::new(Memory::new())))).await.unwrap();
        contract::journal(|| Arc::new(Spilling::new(Arc::new(File::new(name()))))).await.unwrap();
        contract::journal(|| Arc::new(Spilling::new(Arc::new(Sqlite::new(name()))))).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_read_is_what_was_appended_and_what_is_kept_is_small() {
        let folder = tempfile::tempdir().unwrap();
        let stores: [Arc<dyn Journal>; 3] = [
            Arc::new(Memory::new()),
            Arc::new(File::new(folder.path().join("runs"))),
            Arc::new(Sqlite::new(folder.path().join("runs.db"))),
        ];
        for inner in stores {
            let journal = Spilling::new(Arc::clone(&inner));
            for (name, head) in [("a", 0), ("a", 1), ("b", 0)] {
                append(&journal, name, head, "same").await.unwrap();
            }
            let whole = [large(&run("a"), 1, "same"), large(&run("a"), 2, "same")];
            assert_eq!(read(&journal, "a").await.unwrap(), whole);
            for record in read(&*inner, "a").await.unwrap() {
                assert!(matches!(&record.body, RecordBody::Spilled(spilled) if spilled.parts.len() == 2));
                assert!(record::encode(&record).unwrap().len() < 4_000);
            }
            // As whole as it was read, it goes into another journal: a copy has the blobs too.
            let copy = Spilling::new(Arc::new(Memory::new()));
            let request = Append {
                run: run("a"),
                expected_head: 0,
                records: read(&journal, "a").await.unwrap(),
                index: None,
                durability: Durability::Durable,
            };
            copy.append(request).await.unwrap();
            assert_eq!(read(&copy, "a").await.unwrap(), whole);
            journal.delete(&run("a")).await.unwrap();
            assert_eq!(read(&journal, "b").await.unwrap(), [large(&run("b"), 1, "same")]);
            journal.delete(&run("b")).await.unwrap();
            let gone = journal.get_blob(&BlobId::of(long("same").as_bytes())).await;
            assert!(matches!(gone, Err(JournalError::NotFound(_))));
        }
    }

    /// The file of the only blob.
    fn blob(folder: &Path) -> std::path::PathBuf {
        folder.join("blobs").join(BlobId::of(long("same").as_bytes()).as_str())
    }

    #[tokio::test]
    async fn a_record_whose_blob_is_not_what_it_was_is_never_read() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Spilling::new(Arc::new(File::new(folder.path())));
        append(&journal, "a", 0, "same").await.unwrap();
        fs::write(blob(folder.path()), "other").unwrap();
        let told = read(&journal, "a").await.unwrap_err().to_string();
        assert!(
            told.starts_with("record 1 of run `a` cannot be read: its `/result/text` of 131072 bytes is in blob"),
            "{told}"
        );
        assert!(told.ends_with("is damaged: its bytes do not have its hash"), "{told}");
        fs::remove_file(blob(folder.path())).unwrap();
        let JournalError::Damaged { position: 1, reason, .. } = read(&journal, "a").await.unwrap_err() else {
            panic!("it is damaged")
        };
        assert!(reason.ends_with("which is not in the store"), "{reason}");
    }

    /// What damaged bytes are in the place of a blob.
    fn damaged() -> [Vec<u8>; 3] {
        let mut changed = long("same").into_bytes();
        changed[100] ^= 1;
        [changed, b"cut".to_vec(), Vec::new()]
    }

    #[tokio::test]
    async fn a_damaged_blob_is_put_right_by_who_puts_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        for (number, bytes) in damaged().into_iter().enumerate() {
            let files = folder.path().join(number.to_string());
            let (database, path) = (folder.path().join(format!("{number}.db")), blob(&files));
            let hurt = |is_file: bool| match is_file {
                true => fs::write(&path, &bytes).unwrap(),
                false => {
                    let connection = rusqlite::Connection::open(&database).unwrap();
                    assert_eq!(connection.execute("UPDATE blobs SET bytes = ?1", [&bytes]), Ok(1));
                }
            };
            let stores: [(Arc<dyn Journal>, bool); 2] =
                [(Arc::new(File::new(&files)), true), (Arc::new(Sqlite::new(&database)), false)];
            for (inner, is_file) in stores {
                let journal = Spilling::new(inner);
                append(&journal, "a", 0, "same").await.unwrap();
                hurt(is_file);
                read(&journal, "a").await.unwrap_err();
                append(&journal, "b", 0, "same").await.unwrap();
                assert_eq!(read(&journal, "b").await.unwrap(), [large(&run("b"), 1, "same")]);
                assert_eq!(read(&journal, "a").await.unwrap(), [large(&run("a"), 1, "same")]);
                // It is kept for as long as one of the two is there.
                journal.delete(&run("a")).await.unwrap();
                assert_eq!(read(&journal, "b").await.unwrap(), [large(&run("b"), 1, "same")]);
                journal.delete(&run("b")).await.unwrap();
                let gone = journal.get_blob(&BlobId::of(long("same").as_bytes())).await;
                assert!(matches!(gone, Err(JournalError::NotFound(_))));
            }
        }
    }

    /// Refuses every blob, as a full disk does.
    struct Full(Memory);

    impl Journal for Full {
        fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
            self.0.append(request)
        }

        fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
            self.0.read(run, after, limit)
        }

        fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
            self.0.list(filter)
        }

        fn put_blob(&self, _: BlobId, _: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
            Box::pin(std::future::ready(Err(JournalError::Full("no room".to_owned()))))
        }

        fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
            self.0.get_blob(id)
        }

        fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
            self.0.lease(request)
        }

        fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
            self.0.delete(run)
        }
    }

    #[tokio::test]
    async fn no_record_names_a_blob_that_was_not_kept() {
        let journal = Spilling::new(Arc::new(Full(Memory::new())));
        assert_eq!(append(&journal, "a", 0, "same").await, Err(JournalError::Full("no room".to_owned())));
        assert_eq!(read(&journal, "a").await, Err(JournalError::NotFound("a".to_owned())));
    }
}
