//! Records and requests for the laws.
//!
//! It must not decide anything: a law says what it wants.

use cofferdam_core::event::{Body, RunEvent, Source, StepOutput, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{LocalName, RunId, StepPath, ToolName};
use cofferdam_core::limits;
use cofferdam_core::message::{Message, Usage};
use cofferdam_core::port::{Append, Durability, Journal, JournalError, Page, Record, RecordBody, RunIndex};
use cofferdam_core::time::Timestamp;
use cofferdam_core::value::Map;
use serde_json::json;
use std::sync::Arc;

/// A moment; later ones have larger numbers.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_795_161_600_000 + second * 1_000)
}

/// A run.
pub(super) fn run(name: &str) -> RunId {
    RunId::parse(name).expect("samples have proper names")
}

/// A record of an event that says a text.
pub(super) fn event(run: &RunId, seq: u64, message: &str) -> Record {
    record(run, seq, Body::Warning { code: "W000".to_owned(), message: message.to_owned() })
}

/// A record of an event.
pub(super) fn record(run: &RunId, seq: u64, body: Body) -> Record {
    let at = at(i64::try_from(seq).unwrap_or(0));
    let event = RunEvent {
        seq,
        sub: None,
        at,
        run_id: run.clone(),
        path: StepPath::from("scan[2].lint"),
        attempt: Some(1),
        body,
    };
    Record { at, body: RecordBody::Event(Arc::new(event)) }
}

/// A record of a call that gave a long text.
pub(crate) fn large(run: &RunId, seq: u64, text: &str) -> Record {
    record(
        run,
        seq,
        Body::ToolCallFinished {
            call_id: seq.to_string(),
            tool: ToolName::new(None, LocalName::parse("read").expect("samples have proper names")),
            result: Arc::new(json!({ "text": long(text), "lines": 1 })),
            content: long(text).into(),
            error: None,
            duration_ms: 1,
        },
    )
}

/// A text that is too long for a record.
pub(crate) fn long(text: &str) -> String {
    text.repeat(limits::JOURNAL_VALUE_BYTES)
}

/// A record of bookkeeping.
pub(super) fn note(second: i64, kind: &str) -> Record {
    let data = Map::from_iter([("steps".to_owned(), json!({"done": 3, "open": ["ä", null, 1.5]}))]);
    Record { at: at(second), body: RecordBody::Note { kind: kind.to_owned(), data } }
}

/// Records of many shapes.
pub(super) fn shapes(run: &RunId) -> Vec<Record> {
    let mut late = event(run, 3, "line\nbreaks, \"quotes\", \u{1f980} and \u{0}");
    late.at = at(99);
    vec![
        record(run, 1, started(json!({"text": "ü", "number": -7, "big": u64::MAX, "list": [[], {}, null, true]}))),
        record(run, 2, finished()),
        late,
        note(4, "snapshot"),
        event(run, 5, &"long ".repeat(50_000)),
        record(run, 6, Body::StepReady {}),
        record(run, 7, newer()),
    ]
}

/// A kind of event that a newer minor version knows.
fn newer() -> Body {
    let fields = json!({ "kind": "teleported", "to": "mars", "by": [1, null, { "at": 1.5 }] });
    Body::Newer(Arc::new(fields.as_object().cloned().unwrap_or_default()))
}

fn started(value: serde_json::Value) -> Body {
    Body::RunStarted {
        schema_version: 1,
        workflow: "audit".to_owned(),
        hash: "0".repeat(64),
        sources: vec![Source { path: "a.yaml".to_owned(), sha256: "1".repeat(64), text: "name: a\n".into() }],
        inputs: Map::from_iter([("value".to_owned(), value)]),
        input: Some("look".into()),
        context_files: Arc::default(),
        plugins: Vec::new(),
        settings: Map::new(),
        plan: vec!["scan".to_owned()],
        sensitive: Vec::new(),
        branched_from: None,
    }
}

fn finished() -> Body {
    Body::StepFinished {
        status: StepStatus::Failed,
        output: StepOutput {
            content: "half".into(),
            result: Arc::new(json!({"a": 0.25})),
            truncated: true,
            ..StepOutput::default()
        },
        error: Some(Fault::retry("timeout", "too slow").with_hint("wait").with_detail(json!({"ms": 5}))),
        usage: Usage { input: 1, output: 2, ..Usage::default() },
        truncated_inputs: vec!["x".to_owned()],
    }
}

/// The last turn of a try and its end, which gives the same text.
pub(super) fn answer(run: &RunId, seq: u64, text: &str) -> Vec<Record> {
    let text: Arc<str> = text.repeat(20).into();
    let message = Message::Assistant { text: Arc::clone(&text), tool_calls: Vec::new(), opaque: Vec::new() };
    let usage = Usage { input: 1, output: seq, ..Usage::default() };
    let turn = Body::TurnFinished { turn: 1, model: "m".into(), message, usage, cost: None, cut: false };
    let output = StepOutput { content: text, ..StepOutput::default() };
    let status = StepStatus::Completed;
    let end = Body::StepFinished { status, output, error: None, usage, truncated_inputs: Vec::new() };
    vec![record(run, seq, turn), record(run, seq + 1, end)]
}

/// A row for listings.
pub(super) fn index(workflow: &str, status: &str) -> RunIndex {
    RunIndex { workflow: workflow.to_owned(), status: status.to_owned(), started_at: at(0) }
}

/// An append without a row.
pub(super) fn request(run: &RunId, expected_head: u64, records: Vec<Record>) -> Append {
    Append { run: run.clone(), expected_head, records, index: None, durability: Durability::Durable }
}

/// Appends events behind a head, and says where the head is then.
pub(super) async fn append(journal: &dyn Journal, run: &RunId, head: u64, count: u64) -> Result<u64, String> {
    let records = (head + 1..=head + count).map(|seq| event(run, seq, &format!("event {seq}"))).collect();
    super::done("an append at the head", journal.append(request(run, head, records)).await)
}

/// Reads a whole run in one page.
pub(super) async fn read_all(journal: &dyn Journal, run: &RunId) -> Result<Page, JournalError> {
    journal.read(run, 0, 10_000).await
}
