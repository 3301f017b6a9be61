//! Exported runs: what comes back, and what is refused.

use super::*;
use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::port::{
    Append, BlobId, BoxFuture, Durability, Journal, Lease, LeaseRequest, Page, Record, RecordBody, RunFilter, RunIndex,
    RunPage,
};
use cofferdam_core::value::Map;
use cofferdam_store::Memory;
use sha2::{Digest as _, Sha256};
use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn run() -> RunId {
    RunId::parse("r-1").unwrap()
}

fn event(seq: u64, message: &str) -> Record {
    let at = Timestamp::from_millis(1_795_161_600_000 + i64::try_from(seq).unwrap());
    let body = match seq {
        1 => started(message),
        _ => Body::Warning { code: "w".into(), message: message.into() },
    };
    let event = RunEvent { seq, sub: None, at, run_id: run(), path: StepPath::ROOT, attempt: None, body };
    Record { at, body: RecordBody::Event(Arc::new(event)) }
}

/// How a run begins.
fn started(input: &str) -> Body {
    Body::RunStarted {
        schema_version: 1,
        workflow: "w".to_owned(),
        hash: "0".repeat(64),
        sources: Vec::new(),
        inputs: Map::new(),
        input: Some(input.into()),
        context_files: Arc::default(),
        plugins: Vec::new(),
        settings: Map::new(),
        plan: Vec::new(),
        sensitive: Vec::new(),
        branched_from: None,
    }
}

fn index(status: &str) -> RunIndex {
    RunIndex { workflow: "w".into(), status: status.into(), started_at: Timestamp::from_millis(1_795_161_600_000) }
}

async fn append(journal: &dyn Journal, head: u64, records: Vec<Record>) {
    let index = Some(index("completed"));
    let request = Append { run: run(), expected_head: head, records, index, durability: Durability::Written };
    journal.append(request).await.unwrap();
}

/// A run of many records, with a note, one blob, and a digest that is of none.
async fn recorded(count: u64) -> Memory {
    let journal = Memory::new();
    let blob = BlobId::of(b"large");
    journal.put_blob(blob.clone(), Arc::from(&b"large"[..])).await.unwrap();
    let note = RecordBody::Note { kind: "snapshot".into(), data: Map::new() };
    let note = Record { at: Timestamp::from_millis(1_795_161_600_000), body: note };
    let digest = BlobId::of(b"elsewhere");
    append(&journal, 0, vec![event(1, blob.as_str()), note, event(2, digest.as_str())]).await;
    let more: Vec<Record> = (3..count).map(|seq| event(seq, "\"text\"\nof 0.1 lines")).collect();
    append(&journal, 3, more).await;
    journal
}

async fn exported(journal: &dyn Journal) -> Vec<u8> {
    let mut bytes = Vec::new();
    export(journal, &run(), &mut bytes).await.unwrap();
    bytes
}

async fn imported(journal: &dyn Journal, bytes: &[u8]) -> Result<Imported, Error> {
    import(journal, Cursor::new(bytes.to_vec())).await
}

async fn is_empty(journal: &dyn Journal) -> bool {
    let page = journal.read(&run(), 0, 1).await;
    matches!(page, Err(JournalError::NotFound(_)))
        && journal.get_blob(&BlobId::of(b"large")).await.is_err()
        && journal.list(RunFilter::default()).await.unwrap().rows.is_empty()
}

#[tokio::test]
async fn a_run_comes_back_as_it_was() {
    let count = limits::ARCHIVE_RECORDS as u64 * 2 + 7;
    let journal = recorded(count).await;
    let bytes = exported(&journal).await;
    let other = Memory::new();
    let Imported::New(header) = imported(&other, &bytes).await.unwrap() else { panic!("it was there") };
    assert_eq!((header.records, header.blobs, header.status.as_str()), (count, 1, "completed"));
    let all = |journal: &Memory| {
        let page = futures_util::FutureExt::now_or_never(journal.read(&run(), 0, usize::MAX)).unwrap();
        page.unwrap().records
    };
    assert_eq!(all(&journal), all(&other));
    assert_eq!(&*other.get_blob(&BlobId::of(b"large")).await.unwrap(), b"large");
    assert_eq!(other.list(RunFilter::default()).await.unwrap().rows[0].index, index("completed"));
    assert_eq!(exported(&other).await, bytes);
    // Again, it is the same; and the blob goes with its run.
    assert!(matches!(imported(&other, &bytes).await, Ok(Imported::AlreadyThere(_))));
    other.delete(&run()).await.unwrap();
    assert!(is_empty(&other).await);
}

#[tokio::test]
async fn every_line_is_json() {
    let bytes = exported(&recorded(6).await).await;
    let lines: Vec<serde_json::Value> =
        String::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1 + 6 + 1 + 1);
    assert_eq!(lines[0]["cofferdam_export"], 1);
    assert_eq!(lines[2]["record"]["note"], "snapshot");
    assert_eq!(lines[7]["base64"], "bGFyZ2U=");
}

#[tokio::test]
async fn a_file_that_was_cut_is_refused_wherever_it_was() {
    let bytes = exported(&recorded(5).await).await;
    let other = Memory::new();
    for end in 0..bytes.len() {
        let error = imported(&other, &bytes[..end]).await.unwrap_err();
        assert!(matches!(error, Error::Broken { .. }), "{end}: {error}");
    }
    assert!(is_empty(&other).await);
}

#[tokio::test]
async fn a_file_with_a_changed_byte_is_refused_whichever_it_is() {
    let bytes = exported(&recorded(5).await).await;
    let other = Memory::new();
    for place in 0..bytes.len() {
        for change in [1, 0x80] {
            let mut changed = bytes.clone();
            changed[place] ^= change;
            assert!(imported(&other, &changed).await.is_err(), "{place}");
        }
    }
    assert!(is_empty(&other).await);
    let longer = [&bytes[..], b"\n"].concat();
    assert!(matches!(imported(&other, &longer).await, Err(Error::Broken { line: 9, .. })));
}

#[tokio::test]
async fn the_line_of_the_damage_is_named() {
    let bytes = exported(&recorded(5).await).await;
    let text = String::from_utf8(bytes).unwrap();
    let changed = text.replacen("\"input\":\"", "\"input\":\"x", 1);
    let error = imported(&Memory::new(), changed.as_bytes()).await.unwrap_err().to_string();
    assert_eq!(error, "line 2: record 1 is damaged: its text is not what was written");
    let error = imported(&Memory::new(), b"name: hello\n").await.unwrap_err().to_string();
    assert_eq!(error, "line 1: this is no export of a run");
}

/// An export with records of another kind than those of a run, and sums that are right.
fn forged(run: &RunId, records: &[Record]) -> Vec<u8> {
    let (at, count) = (Timestamp::from_millis(5), records.len() as u64);
    let (workflow, status) = ("w".to_owned(), "completed".to_owned());
    let header =
        Header { cofferdam_export: 1, run_id: run.clone(), workflow, status, started_at: at, records: count, blobs: 0 };
    let mut text = serde_json::to_string(&header).unwrap() + "\n";
    for (position, record) in (1..).zip(records) {
        text += &lines::of_record(run, position, &cofferdam_core::record::encode(record).unwrap());
        text += "\n";
    }
    let sum = lines::hex(&Sha256::digest(&text));
    (text + &lines::closing(&sum) + "\n").into_bytes()
}

fn said() -> Record {
    let body = RecordBody::Note { kind: "said".into(), data: Map::new() };
    Record { at: Timestamp::from_millis(5), body }
}

#[tokio::test]
async fn what_does_not_begin_like_a_run_is_none() {
    for records in [vec![said(), event(1, "x")], vec![event(2, "a warning")]] {
        let there = Memory::new();
        let error = imported(&there, &forged(&run(), &records)).await.unwrap_err().to_string();
        assert_eq!(error, "line 2: no run begins with this record");
        assert!(is_empty(&there).await);
    }
    imported(&Memory::new(), &forged(&run(), &[event(1, "x"), said()])).await.unwrap();
}

#[tokio::test]
async fn the_conversation_of_coordinators_is_not_imported() {
    let shared = RunId::parse(RunId::SHARED_COORDINATOR).unwrap();
    let there = Memory::new();
    let error = imported(&there, &forged(&shared, &[said()])).await.unwrap_err().to_string();
    assert!(error.starts_with("line 1: no run is called `shared-coordinator`"), "{error}");
    assert!(matches!(there.read(&shared, 0, 1).await, Err(JournalError::NotFound(_))));
}

#[tokio::test]
async fn a_newer_format_is_refused_with_a_sentence() {
    let text = String::from_utf8(exported(&recorded(5).await).await).unwrap();
    let newer = text.replacen("\"cofferdam_export\":1", "\"cofferdam_export\":2", 1);
    let error = imported(&Memory::new(), newer.as_bytes()).await.unwrap_err().to_string();
    assert_eq!(error, "the export has version 2; this version of Cofferdam reads up to 1");
}

#[tokio::test]
async fn another_run_of_the_same_id_is_not_touched() {
    let bytes = exported(&recorded(5).await).await;
    for count in [4, 6] {
        let there = recorded(count).await;
        assert!(matches!(imported(&there, &bytes).await, Err(Error::Exists(_))));
    }
    let there = Memory::new();
    append(&there, 0, (1..6).map(|seq| event(seq, "another")).collect()).await;
    assert!(matches!(imported(&there, &bytes).await, Err(Error::Exists(_))));
    assert_eq!(there.read(&run(), 0, 9).await.unwrap().head, 5);
}

#[tokio::test]
async fn a_run_that_is_not_there_is_not_exported() {
    let outcome = export(&Memory::new(), &run(), Vec::new()).await;
    assert!(matches!(outcome, Err(Error::Journal(JournalError::NotFound(_)))));
}

#[tokio::test]
async fn what_this_version_does_not_know_is_not_exported() {
    let journal = Memory::new();
    let RecordBody::Event(known) = event(1, "x").body else { panic!("it is an event") };
    let unknown = RunEvent { body: Body::Unknown, ..(*known).clone() };
    let record = Record { at: unknown.at, body: RecordBody::Event(Arc::new(unknown)) };
    append(&journal, 0, vec![record]).await;
    assert!(matches!(export(&journal, &run(), Vec::new()).await, Err(Error::Unknown { position: 1 })));
}

#[tokio::test]
async fn what_a_newer_minor_version_recorded_is_exported_and_imported_as_it_is() {
    let journal = Memory::new();
    let RecordBody::Event(known) = event(1, "x").body else { panic!("it is an event") };
    let fields = serde_json::json!({ "kind": "teleported", "to": "mars", "by": [1, null] });
    let body = Body::Newer(Arc::new(fields.as_object().unwrap().clone()));
    let newer = RunEvent { body, seq: 2, ..(*known).clone() };
    let newer = Record { at: newer.at, body: RecordBody::Event(Arc::new(newer)) };
    append(&journal, 0, vec![event(1, "x"), newer, event(3, "y")]).await;
    let bytes = exported(&journal).await;
    let there = Memory::new();
    imported(&there, &bytes).await.unwrap();
    assert_eq!(there.read(&run(), 0, 9).await.unwrap().records, journal.read(&run(), 0, 9).await.unwrap().records);
    assert!(String::from_utf8(bytes).unwrap().contains(r#""kind":"teleported","to":"mars","by":[1,null]"#));
}

#[tokio::test]
async fn a_run_that_could_not_be_imported_whole_is_deleted_again() {
    let bytes = exported(&recorded(limits::ARCHIVE_RECORDS as u64 + 9).await).await;
    let full = FullAfterOne::default();
    let error = imported(&full, &bytes).await.unwrap_err();
    assert!(matches!(error, Error::Journal(JournalError::Full(_))), "{error}");
    assert_eq!(full.appends.load(Ordering::Relaxed), 2);
    assert!(is_empty(&full.inner).await);
}

/// A store that has room for one append.
#[derive(Default)]
struct FullAfterOne {
    inner: Memory,
    appends: AtomicUsize,
}

impl Journal for FullAfterOne {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        match self.appends.fetch_add(1, Ordering::Relaxed) {
            0 => self.inner.append(request),
            _ => Box::pin(std::future::ready(Err(JournalError::Full("no room".into())))),
        }
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
        self.inner.lease(request)
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.inner.delete(run)
    }
}
