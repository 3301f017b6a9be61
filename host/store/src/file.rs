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

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(self.writers.ask(run, |reply| Job::Delete(run.clone(), reply)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use std::sync::atomic::{AtomicU32, Ordering};

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
}
