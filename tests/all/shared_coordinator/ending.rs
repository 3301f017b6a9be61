//! Processes that end while a conversation is shared.

use super::talk::{Calls, Talk, narrates};
use super::{DOCUMENT, SHARED, builder, events, named, recorded_wakes, resume, run, shared, wakes, workflow};
use crate::library::quick;
use cofferdam::core::event::{Body, RunStatus};
use cofferdam::core::id::RunId;
use cofferdam::core::limits;
use cofferdam::core::port::{
    Append, BlobId, BoxFuture, Durability, Journal, JournalError, Lease, LeaseRequest, ModelRequest, Page, Record,
    RecordBody, RunFilter, RunPage,
};
use cofferdam::store::Memory;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A journal that ends after so many appends, as a process does, and looks whether what is shared stands in its run before.
pub(super) struct Ending {
    pub(super) within: Arc<Memory>,
    pub(super) left: AtomicUsize,
    /// Only appends to the conversation fail.
    pub(super) only_shared: bool,
    pub(super) early: Mutex<Vec<String>>,
}

impl Ending {
    fn after(within: &Arc<Memory>, appends: usize) -> Arc<Self> {
        let (within, left) = (Arc::clone(within), AtomicUsize::new(appends));
        Arc::new(Self { within, left, only_shared: false, early: Mutex::default() })
    }

    async fn look(&self, request: &Append) {
        let RecordBody::Note { data, .. } = &request.records[0].body else { panic!("it is no run") };
        let (run, turn) = (data["run_id"].as_str().unwrap(), data["turn"].as_u64().unwrap());
        let recorded = recorded_wakes(&*self.within, run).await;
        if recorded.iter().all(|(_, known)| u64::from(*known) != turn) {
            self.early.lock().unwrap().push(format!("{run} {turn}"));
        }
    }
}

impl Journal for Ending {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        Box::pin(async move {
            let is_shared = request.run.as_str() == SHARED;
            let counts = is_shared || !self.only_shared;
            let take = |left: usize| left.checked_sub(usize::from(counts));
            if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
                return Err(JournalError::Unavailable("the process has ended".to_owned()));
            }
            if is_shared {
                self.look(&request).await;
            }
            self.within.append(request).await
        })
    }
    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        self.within.read(run, after, limit)
    }
    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        self.within.list(filter)
    }
    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        self.within.put_blob(id, bytes)
    }
    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        self.within.get_blob(id)
    }
    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        self.within.lease(request)
    }
    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.within.delete(run)
    }
}

#[test]
fn a_process_that_ends_anywhere_loses_and_repeats_nothing_of_the_conversation() {
    let model = Talk::new(narrates);
    let open = |journal: Arc<dyn Journal>| builder(&model).storage(journal).coordinator(shared()).build().unwrap();
    quick().block_on(async {
        let (mut cut, mut resumed) = (0, 0);
        loop {
            let memory = Arc::new(Memory::new());
            run(&open(Arc::clone(&memory) as _), "before").await;
            let ending = Ending::after(&memory, cut);
            let orchestrator = open(Arc::clone(&ending) as _);
            let first = orchestrator.run_flow(&workflow(DOCUMENT), named("one")).await;
            assert!(ending.early.lock().unwrap().is_empty(), "{:?}", ending.early.lock().unwrap());
            drop(orchestrator);
            let again = open(Arc::clone(&memory) as _);
            // Somebody else speaks meanwhile.
            run(&again, "between").await;
            if !events(&*memory, "one").await.is_empty() {
                let result = resume(&again, "one").await.unwrap();
                assert_eq!(result.status, RunStatus::Completed, "{cut}");
                assert_eq!(result.summary.as_deref(), Some("one is over"), "{cut}");
                resumed += 1;
            }
            let said = again.conversation().await.unwrap();
            let mut wakes = wakes(&said);
            let mut recorded = Vec::new();
            for run in ["before", "between", "one"] {
                recorded.extend(recorded_wakes(&*memory, run).await);
            }
            wakes.sort();
            recorded.sort();
            assert_eq!(wakes, recorded, "after {cut} appends");
            if first.is_ok_and(|result| result.warnings.is_empty()) {
                break;
            }
            cut += 1;
        }
        assert!(cut > 10 && resumed > 8, "{cut} {resumed}");
    });
}

/// Calls a tool in every turn, and so comes to no end.
fn never_done(request: &ModelRequest) -> Calls {
    vec![("narrate", json!({ "text": format!("still there in turn {}", request.turn) }))]
}

#[test]
fn what_a_coordinator_said_before_it_ran_out_of_turns_is_known_to_the_others() {
    let most = limits::COORDINATOR_TURNS;
    let model = Talk::new(never_done);
    let open = |journal: Arc<dyn Journal>| builder(&model).storage(journal).coordinator(shared()).build().unwrap();
    // So long a wake is kept, and more than others are given to read.
    let said_last = async |journal: &Memory| {
        let page = journal.read(&RunId::parse(SHARED).unwrap(), 0, 10_000).await.unwrap();
        match &page.records.last().unwrap().body {
            RecordBody::Note { data, .. } => (data["run_id"].clone(), data["turn"].clone()),
            other => panic!("{other:?}"),
        }
    };
    quick().block_on(async {
        let memory = Arc::new(Memory::new());
        let orchestrator = open(Arc::clone(&memory) as _);
        assert!(run(&orchestrator, "one").await.success());
        assert_eq!(said_last(&memory).await, (json!("one"), json!(most)));
        // The process ended when all was in the run's own record, and nothing in the conversation.
        let cut = Arc::new(Memory::new());
        let id = RunId::parse("one").unwrap();
        let is_end = |record: &Record| match record.event() {
            Some(event) => matches!(&event.body, Body::Warning { code, .. } if code == "out_of_turns"),
            None => false,
        };
        let (mut head, mut ended) = (0, false);
        while !ended {
            let mut records = memory.read(&id, head, 1_000).await.unwrap().records;
            let end = records.iter().position(is_end);
            ended = end.is_some();
            records.truncate(end.unwrap_or(records.len()));
            let (run, durability) = (id.clone(), Durability::Durable);
            head = cut.append(Append { run, expected_head: head, records, index: None, durability }).await.unwrap();
        }
        let again = open(Arc::clone(&cut) as _);
        assert!(resume(&again, "one").await.unwrap().success());
        assert_eq!(said_last(&cut).await, (json!("one"), json!(most)));
    });
}
