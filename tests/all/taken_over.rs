//! A run that another process took over, while this one was silent: it ends here, and says why.

use crate::library::quick;
use cofferdam::core::id::RunId;
use cofferdam::core::port::{
    Append, BlobId, BoxFuture, JournalError, Lease, LeaseRequest, Owner, Page, RunFilter, RunPage,
};
use cofferdam::llm::Scripted;
use cofferdam::store::Memory;
use cofferdam::{Error, Journal, Orchestrator, RunOptions, RunResult, Workflow};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const DOCUMENT: &str = "name: w\nsteps: [{ id: a, instructions: x }, { id: b, dependsOn: [a], instructions: x }]";

/// How the store says that somebody else writes to the run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// The second append finds records that another process has written.
    AtAnAppend,
    /// The lease is renewed no more.
    AtTheLease,
    /// It was removed.
    Removed,
}

struct Shared {
    inner: Memory,
    told: Told,
    appends: AtomicUsize,
    leases: AtomicUsize,
}

fn other() -> Owner {
    Owner { host: "elsewhere".to_owned(), boot_id: "b".to_owned(), pid: 77, process_started: 1 }
}

impl Journal for Shared {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        Box::pin(async move {
            if self.appends.fetch_add(1, Ordering::SeqCst) != 1 {
                return self.inner.append(request).await;
            }
            match self.told {
                Told::AtTheLease => {}
                Told::AtAnAppend => drop(self.inner.append(request.clone()).await?),
                Told::Removed => self.inner.delete(&request.run).await?,
            }
            self.inner.append(request).await
        })
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        self.inner.read(run, after, limit)
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
        Box::pin(async move {
            if self.told == Told::AtTheLease && self.leases.fetch_add(1, Ordering::SeqCst) > 0 {
                let until = request.now.after(request.hold);
                return Err(JournalError::Held(Box::new(Lease { owner: other(), epoch: 2, until })));
            }
            self.inner.lease(request).await
        })
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.inner.delete(run)
    }
}

fn outcome(told: Told) -> Result<RunResult, Error> {
    let journal = Shared { inner: Memory::new(), told, appends: AtomicUsize::new(0), leases: AtomicUsize::new(0) };
    let model = Scripted::parse("default: { delay: 1h, text: late }").unwrap();
    let orchestrator = Orchestrator::builder().model(model).storage(Arc::new(journal)).build().unwrap();
    let options = RunOptions { run_id: Some(RunId::parse("r-1").unwrap()), ..RunOptions::default() };
    quick().block_on(orchestrator.run_flow(&Workflow::parse(DOCUMENT, ".").unwrap(), options))
}

#[test]
fn a_run_that_another_process_took_over_says_so() {
    let error = outcome(Told::AtAnAppend).unwrap_err();
    assert_eq!(error.to_string(), "another process took over run `r-1`");
    let Error::TakenOver { run, by: None } = error else { panic!("{error:?}") };
    assert_eq!(run.as_str(), "r-1");
    let error = outcome(Told::AtTheLease).unwrap_err();
    assert_eq!(error.to_string(), "process 77 on `elsewhere` took over run `r-1`");
    assert!(matches!(&error, Error::TakenOver { by: Some(by), .. } if *by == other()), "{error:?}");
}

#[test]
fn a_run_whose_record_was_removed_was_not_taken_over() {
    let error = outcome(Told::Removed).unwrap_err();
    assert!(matches!(error, Error::Journal(JournalError::Conflict { found: 0, .. })), "{error:?}");
}
