//! A record as text: one line of versioned JSON, and the sum that shows damage.
//!
//! It must not know where the text is kept.

mod said;
mod spill;

pub use spill::{restore, spill};

use crate::event::{Body, RunEvent};
use crate::id::{RunId, StepPath};
use crate::limits;
use crate::mail;
use crate::port::{JournalError, Record, RecordBody, Spilled, SpilledPart};
use crate::time::Timestamp;
use crate::value::Map;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// The newest form that is read. A record says the oldest one that it needs.
pub const VERSION: u32 = 3;
/// The form of a record that stands for itself.
const WHOLE: u32 = 1;
/// The form of a step's end whose text is that of the record before it.
const SAID: u32 = 2;
/// The form of a record that versions before it would take for something else: large values are in blobs, or a sub-agent
/// works on whose answer comes as a message.
const LATER: u32 = 3;

/// A record as it is kept: `{"v":1,"event":{...}}` or `{"v":1,"at":"...","note":"...","data":{...}}`; with `"v":2` and
/// `"said":true`, the content of the event's output is the text of the turn in the record before; with `"v":3` and
/// `"spilled":[{"at":"/content","blob":"...","bytes":70000}]`, these values of the event are in blobs.
#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    said: bool,
    #[serde(skip_serializing_if = "<[SpilledPart]>::is_empty")]
    spilled: &'a [SpilledPart],
    /// Absent when the event says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<WrittenEvent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Map>,
}

#[derive(Deserialize)]
struct Read {
    v: u32,
    #[serde(default)]
    said: bool,
    #[serde(default)]
    spilled: Vec<SpilledPart>,
    at: Option<Timestamp>,
    event: Option<ReadEvent>,
    note: Option<String>,
    #[serde(default)]
    data: Map,
}

/// An event as it is kept: without the id of its run, which the journal knows.
#[derive(Serialize)]
struct WrittenEvent<'a> {
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<u64>,
    at: Timestamp,
    #[serde(skip_serializing_if = "StepPath::is_root")]
    path: &'a StepPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(flatten)]
    body: WrittenBody<'a>,
}

/// What happened, as it is kept.
#[derive(Serialize)]
#[serde(untagged)]
enum WrittenBody<'a> {
    Known(&'a Body),
    /// As a newer minor version wrote it.
    Newer(&'a Map),
}

/// The same, read; older records have the id.
#[derive(Deserialize)]
struct ReadEvent {
    seq: u64,
    #[serde(default)]
    sub: Option<u64>,
    at: Timestamp,
    #[serde(default)]
    run_id: Option<RunId>,
    #[serde(default)]
    path: StepPath,
    #[serde(default)]
    attempt: Option<u32>,
    #[serde(flatten)]
    body: Body,
}

impl<'a> WrittenEvent<'a> {
    fn of(event: &'a RunEvent, body: &'a Body) -> Self {
        let RunEvent { seq, sub, at, run_id: _, path, attempt, body: _ } = event;
        let body = match body {
            Body::Newer(fields) => WrittenBody::Newer(fields),
            known => WrittenBody::Known(known),
        };
        Self { seq: *seq, sub: *sub, at: *at, path, attempt: *attempt, body }
    }
}

impl ReadEvent {
    fn of_run(self, run: &RunId) -> RunEvent {
        let Self { seq, sub, at, run_id, path, attempt, body } = self;
        RunEvent { seq, sub, at, run_id: run_id.unwrap_or_else(|| run.clone()), path, attempt, body }
    }
}

/// The fields of an event that are not its own.
const AROUND: [&str; 6] = ["seq", "sub", "at", "run_id", "path", "attempt"];

#[derive(Deserialize)]
struct Fields {
    event: Map,
}

/// What a newer minor version wrote of an event.
fn newer(text: &str) -> Result<Body, serde_json::Error> {
    let Fields { mut event } = serde_json::from_str(text)?;
    event.retain(|name, _| !AROUND.contains(&name.as_str()));
    Ok(Body::Newer(Arc::new(event)))
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// Writes a record that stands for itself.
///
/// # Errors
/// When it cannot be written as JSON, or is larger than a journal keeps.
pub fn encode(record: &Record) -> Result<String, JournalError> {
    encode_behind(None, record)
}

/// Writes records that are kept one behind the other: what one of them has from the one before it stands there alone.
///
/// # Errors
/// As of [`encode`].
pub fn encode_all(records: &[Record]) -> Result<Vec<String>, JournalError> {
    let befores = std::iter::once(None).chain(records.iter().map(Some));
    befores.zip(records).map(|(before, record)| encode_behind(before, record)).collect()
}

fn encode_behind(before: Option<&Record>, record: &Record) -> Result<String, JournalError> {
    match (&record.body, before.map(|record| &record.body)) {
        (RecordBody::Event(event), Some(RecordBody::Event(before))) => match said::leave_out(event, before) {
            Some(body) => write(&written(record, event, &body, SAID)),
            None => write(&written(record, event, &event.body, form_of(&event.body))),
        },
        (RecordBody::Event(event), _) => write(&written(record, event, &event.body, form_of(&event.body))),
        (RecordBody::Spilled(spilled), _) => {
            let Spilled { event, parts } = &**spilled;
            write(&Written { spilled: parts, ..written(record, event, &event.body, LATER) })
        }
        (RecordBody::Note { kind, data }, _) => {
            let (at, note) = (Some(record.at), Some(kind.as_str()));
            write(&Written { v: WHOLE, said: false, spilled: &[], at, event: None, note, data: Some(data) })
        }
    }
}

fn form_of(body: &Body) -> u32 {
    if mail::sends_off(body) { LATER } else { WHOLE }
}

fn written<'a>(record: &'a Record, event: &'a RunEvent, body: &'a Body, v: u32) -> Written<'a> {
    let at = (event.at != record.at).then_some(record.at);
    let event = Some(WrittenEvent::of(event, body));
    Written { v, said: v == SAID, spilled: &[], at, event, note: None, data: None }
}

fn write(written: &Written<'_>) -> Result<String, JournalError> {
    let text = serde_json::to_string(written);
    let text = text.map_err(|error| JournalError::Invalid(format!("a record cannot be written as JSON: {error}")))?;
    if text.len() > limits::JOURNAL_RECORD_BYTES {
        let (found, most) = (text.len(), limits::JOURNAL_RECORD_BYTES);
        return Err(JournalError::TooLarge(format!("a record of {found} bytes is larger than {most} bytes")));
    }
    Ok(text)
}

/// Reads a record back. `before` gives the event in the place before it, and is asked only where that has a part of it.
///
/// # Errors
/// When its text is not what was written, is no record, or was written by a newer version; those of `before`.
pub fn decode(
    (run, position): (&RunId, u64),
    (sum, text): (i64, &str),
    before: impl FnOnce() -> Result<Option<Arc<RunEvent>>, JournalError>,
) -> Result<Record, JournalError> {
    if sum_of(run, position, text) != sum {
        return Err(damaged(run, position, "its text is not what was written"));
    }
    let read: Read = serde_json::from_str(text).map_err(|error| match serde_json::from_str::<Version>(text) {
        Ok(version) if version.v > VERSION => too_new(version.v),
        _ => damaged(run, position, &error.to_string()),
    })?;
    if read.v > VERSION {
        return Err(too_new(read.v));
    }
    match (read.event, read.note, read.at) {
        (Some(mut event), None, at) => {
            if event.body == Body::Unknown {
                event.body = newer(text).map_err(|error| damaged(run, position, &error.to_string()))?;
            }
            let mut event = event.of_run(run);
            if read.said && !before()?.is_some_and(|before| said::put_back(&mut event, &before)) {
                return Err(damaged(run, position, "the record before it is not what it stands on"));
            }
            let at = at.unwrap_or(event.at);
            let body = match read.spilled {
                none if none.is_empty() => RecordBody::Event(Arc::new(event)),
                parts => RecordBody::Spilled(Arc::new(Spilled { event, parts })),
            };
            Ok(Record { at, body })
        }
        (None, Some(kind), Some(at)) => Ok(Record { at, body: RecordBody::Note { kind, data: read.data } }),
        _ => Err(damaged(run, position, "it is neither an event nor a note")),
    }
}

/// Reads a record that stands for itself.
///
/// # Errors
/// As of [`decode`]; when it has a part of it in the record before.
pub fn decode_whole(place: (&RunId, u64), written: (i64, &str)) -> Result<Record, JournalError> {
    decode(place, written, || Ok(None))
}

/// The sum of a record (the first eight bytes of a SHA-256): it binds the text to its place, so that records cannot change places unseen.
#[must_use]
pub fn sum_of(run: &RunId, position: u64, text: &str) -> i64 {
    let mut sum = Sha256::new();
    sum.update(run.as_str().as_bytes());
    sum.update([0]);
    sum.update(position.to_le_bytes());
    sum.update(text.as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(sum.finalize());
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The error of a record that cannot be read.
#[must_use]
pub fn damaged(run: &RunId, position: u64, reason: &str) -> JournalError {
    JournalError::Damaged { run: run.clone(), position, reason: reason.to_owned() }
}

fn too_new(found: u32) -> JournalError {
    JournalError::TooNew { found, supported: VERSION }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_a_newer_minor_version_is_kept_as_it_is() {
        let run = RunId::parse("r").unwrap();
        let text = r#"{"v":1,"event":{"seq":7,"at":"2026-11-20T08:00:00.000Z","path":"a","attempt":2,"kind":"teleported","to":"mars","by":[1,null]}}"#;
        let record = decode_whole((&run, 1), (sum_of(&run, 1, text), text)).unwrap();
        let RecordBody::Event(event) = &record.body else { panic!("it is an event") };
        assert_eq!((event.seq, event.path.as_str(), event.attempt), (7, "a", Some(2)));
        assert!(matches!(&event.body, Body::Newer(fields) if fields["kind"] == "teleported" && fields.len() == 3));
        assert_eq!(encode(&record).unwrap(), text);
        let shown = serde_json::to_value(&**event).unwrap();
        assert_eq!((&shown["kind"], shown.get("to")), (&"unknown".into(), None));
    }
}
