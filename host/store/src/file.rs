//! The journal in a directory: a file of JSON lines for each run, blobs by hash, and leases.
//!
//! ```text
//! RUN.jsonl     a line for each record; an upper-case letter of the run's id is `+` and the lower-case one
//! blobs/        what is too large for a record
//! leases/       who writes to a run
//! ```
//!
//! A line is a record, its position, its sum, how many lines of the same append follow, and in the last line of an
//! append what listings show. An append is one write, and counts when its last line is there. It must not know what
//! runs on which thread.

mod blob;
mod fault;
mod held;
mod leases;
mod line;
mod lock;
mod page;
mod places;
mod prepared;
mod rows;
mod scan;
mod tail;
mod threads;
mod writer;

use crate::append::{check, check_blob};
use cofferdam_core::id::RunId;
use cofferdam_core::port::{
    Append, BlobId, BoxFuture, Journal, JournalError, Lease, LeaseRequest, Page, RunFilter, RunPage,
};
use page::Reader;
use places::Places;
use prepared::Prepared;
use std::path::PathBuf;
use std::sync::Arc;
use threads::Threads;
use writer::Job;

/// Other work that blocks; it is given what a thread remembers of the runs that it read.
type Other = Box<dyn FnOnce(&mut Reader, &Places) + Send>;

/// Keeps runs in a directory, which is made when the first record is written. Processes on one machine may share it.
pub struct File {
    writers: Threads<Job>,
    others: Threads<Other>,
}

impl File {
    /// A journal in the directory at `directory`. Nothing is opened.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let places = Places::new(directory.into());
        let own = places.clone();
        let writers = Threads::new("cofferdam-store", Arc::new(move |jobs| writer::run(&own, jobs)));
        let others = Threads::new(
            "cofferdam-store-read",
            Arc::new(move |mut jobs: tokio::sync::mpsc::Receiver<Other>| {
                let mut reader = Reader::default();
                while let Some(job) = jobs.blocking_recv() {
                    job(&mut reader, &places);
                }
            }),
        );
        Self { writers, others }
    }

    /// Does blocking work on the thread of a key.
    async fn ask<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(&mut Reader, &Places) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let job = |reply: writer::Reply<T>| -> Other {
            Box::new(move |reader, places| {
                // A caller that left does not want to know.
                let _ = reply.send(work(reader, places));
            })
        };
        self.others.ask(&key, job).await
    }
}

impl Journal for File {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        Box::pin(async move {
            check(&request)?;
            let run = request.run.clone();
            let prepared = Prepared::new(request)?;
            self.writers.ask(&run, |reply| Job::Append(prepared, reply)).await
        })
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        let wanted = run.clone();
        Box::pin(self.ask(run.as_str(), move |reader, places| reader.read(places, &wanted, after, limit)))
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        Box::pin(self.ask("", move |_, places| rows::list(places, &filter)))
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move {
            check_blob(&id, &bytes)?;
            let key = id.as_str().to_owned();
            self.ask(&key, move |_, places| blob::put(places, &id, &bytes)).await
        })
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        let wanted = id.clone();
        Box::pin(self.ask(id.as_str(), move |_, places| blob::get(places, &wanted)))
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        Box::pin(async move {
            let key = request.run.as_str().to_owned();
            self.ask(&key, move |_, places| leases::take(places, &request)).await
        })
    }

    fn holder<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Option<Lease>, JournalError>> {
        let wanted = run.clone();
        Box::pin(self.ask(run.as_str(), move |_, places| leases::present(places, &wanted)))
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(self.writers.ask(run, |reply| Job::Delete(run.clone(), reply)))
    }
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod leftovers;
#[cfg(test)]
mod sharing;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use cofferdam_core::event::{Body, RunEvent};
    use cofferdam_core::id::StepPath;
    use cofferdam_core::port::{Durability, Owner, Record, RecordBody, RunIndex};
    use cofferdam_core::time::Timestamp;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    pub(super) fn run() -> RunId {
        RunId::parse("r").unwrap()
    }

    /// An append of a record for each text; a power cut may lose it.
    pub(super) fn request(run: &RunId, expected_head: u64, texts: &[&str]) -> Append {
        let at = Timestamp::from_millis(1_000);
        let record = |(seq, text): (u64, &&str)| {
            let body = Body::Warning { code: "W".into(), message: (*text).to_owned() };
            let event = RunEvent { seq, sub: None, at, run_id: run.clone(), path: StepPath::ROOT, attempt: None, body };
            Record { at, body: RecordBody::Event(Arc::new(event)) }
        };
        let records = (expected_head + 1..).zip(texts).map(record).collect();
        let index = RunIndex { workflow: "w".into(), status: "running".into(), started_at: at };
        let durability = Durability::Written;
        Append { run: run.clone(), expected_head, records, index: Some(index), durability }
    }

    pub(super) fn durable(append: Append) -> Append {
        Append { durability: Durability::Durable, ..append }
    }

    pub(super) fn lease(pid: u32) -> LeaseRequest {
        let owner = Owner { host: "h".into(), boot_id: "b".into(), pid, process_started: 1 };
        let (now, hold) = (Timestamp::from_millis(5), Duration::from_secs(30));
        LeaseRequest { run: run(), owner, epoch: 0, now, hold, owner_is_gone: false }
    }

    pub(super) async fn all(folder: &Path) -> Result<Page, JournalError> {
        File::new(folder).read(&run(), 0, 10_000).await
    }

    #[tokio::test]
    async fn the_journal_in_a_directory_holds_all_laws() {
        let folder = tempfile::tempdir().unwrap();
        let made = AtomicU32::new(0);
        let make = || -> Arc<dyn Journal> {
            let name = made.fetch_add(1, Ordering::Relaxed).to_string();
            Arc::new(File::new(folder.path().join("runs").join(name)))
        };
        contract::journal(make).await.unwrap();
    }

    #[tokio::test]
    async fn everything_outlives_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let (id, bytes) = (BlobId::of(b"bytes"), Arc::from(&b"bytes"[..]));
        let wanted = request(&run(), 0, &["one", "two"]).records;
        {
            let journal = File::new(folder.path());
            journal.append(durable(request(&run(), 0, &["one", "two"]))).await.unwrap();
            journal.put_blob(id.clone(), bytes).await.unwrap();
            journal.lease(lease(1)).await.unwrap();
        }
        let journal = File::new(folder.path());
        assert_eq!(journal.read(&run(), 0, 10).await.unwrap().records, wanted);
        assert_eq!(&*journal.get_blob(&id).await.unwrap(), b"bytes");
        assert_eq!(journal.list(RunFilter::default()).await.unwrap().rows.len(), 1);
        assert!(matches!(journal.lease(lease(2)).await, Err(JournalError::Held(_))));
        assert_eq!(journal.append(request(&run(), 2, &["three"])).await, Ok(3));
    }

    #[tokio::test]
    async fn nothing_is_made_before_the_first_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".cofferdam").join("runs");
        let journal = File::new(&path);
        assert_eq!(journal.list(RunFilter::default()).await, Ok(RunPage::default()));
        assert_eq!(journal.read(&run(), 0, 1).await, Err(JournalError::NotFound("r".into())));
        assert_eq!(journal.delete(&run()).await, Err(JournalError::NotFound("r".into())));
        let late = journal.append(request(&run(), 3, &["four"])).await;
        assert_eq!(late, Err(JournalError::Conflict { expected: 3, found: 0 }));
        drop(journal.append(request(&run(), 0, &["never asked"])));
        assert!(!path.parent().unwrap().exists());
    }

    #[tokio::test]
    async fn the_folder_is_private_and_no_repository_takes_it_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".cofferdam").join("runs");
        let journal = File::new(&path);
        journal.append(request(&run(), 0, &["one"])).await.unwrap();
        journal.lease(lease(1)).await.unwrap();
        journal.put_blob(BlobId::of(b"b"), Arc::from(&b"b"[..])).await.unwrap();
        let mut seen = 0;
        let mut folders = vec![path.parent().unwrap().to_owned()];
        while let Some(folder) = folders.pop() {
            assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{folder:?}");
            for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                seen += 1;
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
                }
            }
        }
        assert!(seen > 8, "{seen}");
        assert_eq!(fs::read_to_string(path.join(".gitignore")).unwrap(), "*\n");
    }

    #[tokio::test]
    async fn a_run_is_a_file_of_lines_that_ordinary_tools_read() {
        let folder = tempfile::tempdir().unwrap();
        let journal = File::new(folder.path());
        journal.append(request(&run(), 0, &["one", "two\nlines"])).await.unwrap();
        journal.append(request(&run(), 2, &["three"])).await.unwrap();
        let text = fs::read_to_string(folder.path().join("r.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told = lines.iter().map(|line| (line["position"].as_u64(), line["record"]["event"]["message"].as_str()));
        let wanted = [(Some(1), Some("one")), (Some(2), Some("two\nlines")), (Some(3), Some("three"))];
        assert_eq!(told.collect::<Vec<_>>(), wanted);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_or_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "a letter").unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir_all(taken.join("r.jsonl")).unwrap();
        for path in [file.clone(), file.join("below"), taken] {
            let journal = File::new(&path);
            let append = journal.append(request(&run(), 0, &["one"])).await;
            let read = journal.read(&run(), 0, 1).await.map(drop);
            for error in [append.unwrap_err(), read.unwrap_err()] {
                let JournalError::Unavailable(message) = error else { panic!("{path:?}: {error:?}") };
                assert!(message.contains(&path.display().to_string()), "{message}");
            }
        }
        assert_eq!(fs::read_to_string(file).unwrap(), "a letter");
    }

    #[tokio::test]
    async fn rows_without_records_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let journal = File::new(folder.path());
        journal.append(request(&run(), 0, &["one"])).await.unwrap();
        let mut ended = request(&run(), 1, &[]);
        ended.index.as_mut().unwrap().status = "failed".into();
        for _ in 0..2 {
            assert_eq!(journal.append(ended.clone()).await, Ok(1));
        }
        let row = File::new(folder.path()).list(RunFilter::default()).await.unwrap().rows.remove(0);
        assert_eq!((row.head, row.index.status.as_str(), row.updated_at.as_millis()), (1, "failed", 1_000));
        assert_eq!(journal.append(request(&run(), 1, &["two"])).await, Ok(2));
        assert_eq!(all(folder.path()).await.unwrap().records.len(), 2);
        assert_eq!(journal.read(&run(), 1, 1).await.unwrap().records.len(), 1);
    }
}
