//! Large values of an event, taken out of its record and put back: each is a blob, kept once however often it is given.
//!
//! What is large is judged by the event alone, so that the same event is always the same record. It must not know where blobs
//! are kept.

use crate::event::{Body, Delivered, Dropped, Posted, RunEvent};
use crate::limits::{JOURNAL_HEAD_BYTES, JOURNAL_VALUE_BYTES};
use crate::message::Message;
use crate::port::{BlobId, Spilled, SpilledPart};
use crate::value::Map;
use serde_json::Value;
use std::sync::Arc;

/// Members that may hold any JSON: a list or map there may be empty without being something else.
const DATA: [&str; 6] = ["/result", "/args", "/value", "/items", "/inputs", "/output/result"];
/// What a run returns is such a member too; what a step gives under the same name has a form of its own.
const RUN_OUTPUT: &str = "/output";

/// A part of an event, and its bytes.
type Blob = (BlobId, Arc<[u8]>);

/// The event without its large values, and these, in the order of the parts; none when nothing in it is large.
///
/// A text is large by its bytes; a list or map by what it holds beside large texts.
#[must_use]
pub fn spill(event: &RunEvent) -> Option<(Spilled, Vec<Blob>)> {
    if !may_be_large(&event.body) {
        return None;
    }
    let mut body = serde_json::to_value(&event.body).ok()?;
    let mut taken = Taken { is_end: matches!(event.body, Body::RunFinished { .. }), ..Taken::default() };
    taken.walk(&mut body, String::new());
    if taken.parts.is_empty() {
        return None;
    }
    let body = serde_json::from_value(body).ok()?;
    let event = RunEvent { body, ..event.clone() };
    Some((Spilled { event, parts: taken.parts }, taken.blobs))
}

/// The whole event. `bytes` has those of each part, in order.
///
/// # Errors
/// What is wrong: the bytes are not those of the part, or the event has no place for them.
pub fn restore(spilled: &Spilled, bytes: &[Arc<[u8]>]) -> Result<RunEvent, String> {
    let mut body = serde_json::to_value(&spilled.event.body).map_err(|error| error.to_string())?;
    if spilled.parts.len() != bytes.len() {
        return Err("a blob is missing".to_owned());
    }
    for (part, bytes) in spilled.parts.iter().zip(bytes) {
        put_back(&mut body, part, bytes)
            .ok_or_else(|| format!("blob `{}` is not the `{}` that it should be", part.blob.as_str(), part.at))?;
    }
    let body = serde_json::from_value(body).map_err(|error| error.to_string())?;
    Ok(RunEvent { body, ..spilled.event.clone() })
}

fn put_back(body: &mut Value, part: &SpilledPart, bytes: &[u8]) -> Option<()> {
    let place = body.pointer_mut(&part.at).filter(|_| bytes.len() as u64 == part.bytes)?;
    *place = match place {
        Value::String(_) => Value::String(String::from_utf8(bytes.to_vec()).ok()?),
        Value::Array(_) => Value::Array(serde_json::from_slice(bytes).ok()?),
        Value::Object(_) => Value::Object(serde_json::from_slice(bytes).ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) => return None,
    };
    Some(())
}

/// What was taken out of an event.
#[derive(Default)]
struct Taken {
    /// It is the end of a run.
    is_end: bool,
    parts: Vec<SpilledPart>,
    blobs: Vec<Blob>,
}

impl Taken {
    fn walk(&mut self, value: &mut Value, at: String) {
        match value {
            Value::String(text) if text.len() > JOURNAL_VALUE_BYTES => {
                let head = head_of(text).to_owned();
                let text = std::mem::replace(text, head);
                self.take(at, text.into_bytes(), None);
            }
            Value::Array(_) | Value::Object(_) if self.is_data(&at) && is_large(value) => {
                let bytes = serde_json::to_vec(value).unwrap_or_default();
                let head = String::from_utf8_lossy(bytes.get(..JOURNAL_HEAD_BYTES).unwrap_or_default());
                let head = head.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned();
                *value = if value.is_array() { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
                self.take(at, bytes, Some(head));
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate().filter(|(_, item)| may_hold(item)) {
                    self.walk(item, format!("{at}/{index}"));
                }
            }
            Value::Object(members) => {
                for (name, member) in members.iter_mut().filter(|(_, member)| may_hold(member)) {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    self.walk(member, format!("{at}/{name}"));
                }
            }
            Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn is_data(&self, at: &str) -> bool {
        DATA.contains(&at) || (self.is_end && at == RUN_OUTPUT)
    }

    fn take(&mut self, at: String, bytes: Vec<u8>, head: Option<String>) {
        let blob = BlobId::of(&bytes);
        self.parts.push(SpilledPart { at, blob: blob.clone(), bytes: bytes.len() as u64, head });
        // The same value in two places is one blob.
        if self.blobs.iter().all(|(known, _)| *known != blob) {
            self.blobs.push((blob, bytes.into()));
        }
    }
}

fn head_of(text: &str) -> &str {
    text.get(..text.floor_char_boundary(JOURNAL_HEAD_BYTES)).unwrap_or_default()
}

/// Whether it can have anything large in it.
fn may_hold(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() > JOURNAL_VALUE_BYTES,
        Value::Array(_) | Value::Object(_) => true,
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a list or map is large without its large texts.
fn is_large(value: &Value) -> bool {
    !Room::default().data(value, &|text| text.len() <= JOURNAL_VALUE_BYTES)
}

/// Whether a body may have a large value; told without writing it out.
fn may_be_large(body: &Body) -> bool {
    let mut room = Room::default();
    let all = |_: &str| true;
    let is_small = match body {
        Body::ToolCallFinished { result, content, .. } => room.data(result, &all) && room.take(content.len()),
        Body::StepFinished { output, .. } => room.data(&output.result, &all) && room.take(output.content.len()),
        Body::ToolCallStarted { args: value, .. } | Body::MemoryWritten { value, .. } => room.data(value, &all),
        Body::RunFinished { output: value, .. } | Body::VariableSet { value, .. } => room.data(value, &all),
        Body::StepStarted { items, inputs, .. } => {
            let mut values =
                items.iter().flat_map(|items| items.iter()).chain(inputs.iter().flat_map(|inputs| inputs.values()));
            values.all(|value| room.data(value, &all))
        }
        Body::TurnFinished { message: Message::Assistant { text, tool_calls, .. }, .. } => {
            room.take(text.len()) && tool_calls.iter().all(|call| room.take(call.arguments.len()))
        }
        Body::MessagePosted(Posted { text, .. }) | Body::MessageDelivered(Delivered { text, .. }) => {
            room.take(text.len())
        }
        Body::MessageDropped(Dropped { text, .. }) => room.take(text.len()),
        _ => true,
    };
    !is_small
}

/// How much more is not large.
struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(JOURNAL_VALUE_BYTES)
    }
}

impl Room {
    /// Takes what a value holds, of texts only those that count; false when there is no room.
    fn data(&mut self, value: &Value, counts: &impl Fn(&str) -> bool) -> bool {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => self.take(4),
            Value::String(text) => self.take(if counts(text) { text.len() } else { 0 }),
            Value::Array(items) => self.take(2) && items.iter().all(|item| self.data(item, counts)),
            Value::Object(members) => {
                self.take(2)
                    && members.iter().all(|(name, member)| self.take(name.len() + 4) && self.data(member, counts))
            }
        }
    }

    fn take(&mut self, bytes: usize) -> bool {
        self.0.checked_sub(bytes).map(|left| self.0 = left).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{StepOutput, StepStatus};
    use crate::id::{RunId, ToolName};
    use crate::message::Usage;
    use crate::port::{JournalError, Record, RecordBody};
    use crate::record::{decode_whole, encode, sum_of};
    use crate::time::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    fn event(body: Body) -> RunEvent {
        let (at, run_id) = (Timestamp::from_millis(5), RunId::parse("r").unwrap());
        RunEvent { seq: 3, sub: None, at, run_id, path: "a".into(), attempt: Some(1), body }
    }

    fn finished(result: Value, content: &str) -> RunEvent {
        event(Body::ToolCallFinished {
            call_id: "1.1".into(),
            tool: ToolName::parse("read").unwrap(),
            result: Arc::new(result),
            content: content.into(),
            error: None,
            duration_ms: 1,
        })
    }

    fn gave(result: Value, content: &str) -> RunEvent {
        let output = StepOutput { content: content.into(), result: Arc::new(result), ..StepOutput::default() };
        let (status, usage) = (StepStatus::Completed, Usage::default());
        event(Body::StepFinished { status, output, error: None, usage, truncated_inputs: Vec::new() })
    }

    /// Through the text of its record and back.
    fn kept(event: &RunEvent) -> (String, RunEvent, Vec<Blob>) {
        let (spilled, blobs) = spill(event).unwrap();
        let record = Record { at: event.at, body: RecordBody::Spilled(Arc::new(spilled)) };
        let text = encode(&record).unwrap();
        let read = decode_whole((&event.run_id, 1), (sum_of(&event.run_id, 1, &text), &text)).unwrap();
        assert_eq!(read, record);
        let RecordBody::Spilled(spilled) = read.body else { panic!("it is spilled") };
        let of = |blob: &BlobId| blobs.iter().find(|(known, _)| known == blob).unwrap().1.clone();
        let bytes: Vec<_> = spilled.parts.iter().map(|part| of(&part.blob)).collect();
        (text, restore(&spilled, &bytes).unwrap(), blobs)
    }

    fn rows() -> Value {
        (0..4_000).map(|number| json!({ "number": number, "even": number % 2 == 0 })).collect()
    }

    #[test]
    fn a_large_value_leaves_its_digest_size_and_head() {
        let long = format!("{}end", "ä\"\n".repeat(9_000));
        let whole = finished(json!({ "a/b~": [long] }), &long);
        let (text, read, blobs) = kept(&whole);
        assert_eq!(read, whole);
        let id = BlobId::of(long.as_bytes());
        assert_eq!(blobs.iter().map(|(blob, _)| blob).collect::<Vec<_>>(), [&id]);
        let part = |at: &str| format!(r#"{{"at":"{at}","blob":"{}","bytes":{}}}"#, id.as_str(), long.len());
        let spilled = format!(r#"{{"v":3,"spilled":[{},{}],"event":"#, part("/result/a~1b~0/0"), part("/content"));
        assert!(text.starts_with(&spilled), "{}", text.get(..500).unwrap());
        assert!(text.len() < 4_000 && text.contains(r#""content":"ä\"\nä\"\n"#));
    }

    #[test]
    fn what_is_given_again_is_the_same_blob() {
        let long = "x".repeat(JOURNAL_VALUE_BYTES + 1);
        let end = event(Body::RunFinished {
            status: crate::event::RunStatus::Completed,
            reason: None,
            output: json!({ "a": { "text": long, "data": rows() } }),
            usage: Usage::default(),
            cost: None,
            error: None,
        });
        let step = event(Body::StepStarted {
            agent: None,
            tool: None,
            items: Some(Arc::new(rows().as_array().unwrap().clone())),
            inputs: Some(Arc::new(json!({ "x": long }).as_object().unwrap().clone())),
            narrowed: Vec::new(),
        });
        let (rows_id, text_id) = (BlobId::of(rows().to_string().as_bytes()), BlobId::of(long.as_bytes()));
        for (whole, ids) in [
            (finished(rows(), &long), [&text_id, &rows_id]),
            (gave(rows(), &long), [&text_id, &rows_id]),
            (step, [&text_id, &rows_id]),
        ] {
            let (text, read, blobs) = kept(&whole);
            assert!(read == whole && text.len() < 4_000, "{text}");
            let mut found: Vec<_> = blobs.iter().map(|(blob, _)| blob).collect();
            found.sort_unstable_by_key(|blob| **blob != text_id);
            assert_eq!(found, ids);
        }
        let (_, read, blobs) = kept(&end);
        assert_eq!((read, blobs.len()), (end, 1));
    }

    #[test]
    fn what_is_not_large_stands_in_its_record() {
        let (most, half) = ("x".repeat(JOURNAL_VALUE_BYTES), "x".repeat(JOURNAL_VALUE_BYTES / 2));
        for event in [
            finished(json!([half]), &most),
            gave(json!(null), &most),
            event(Body::Warning { code: "w".into(), message: most.repeat(2) }),
        ] {
            assert_eq!(spill(&event), None);
        }
        let (spilled, blobs) = spill(&finished(json!([format!("{most}x"), half]), "")).unwrap();
        assert_eq!((blobs.len(), &*spilled.parts[0].at), (1, "/result/0"));
    }

    #[test]
    fn other_bytes_are_never_put_back() {
        let long = "x".repeat(JOURNAL_VALUE_BYTES + 1);
        let (spilled, _) = spill(&finished(Value::Null, &long)).unwrap();
        let other = |bytes: &[u8]| restore(&spilled, &[bytes.into()]);
        let not_text = vec![0xff; long.len()];
        for bytes in [&b""[..], &long.as_bytes()[1..], &not_text] {
            assert!(other(bytes).unwrap_err().contains("is not the `/content` that it should be"));
        }
        assert!(restore(&spilled, &[]).is_err());
        let mut elsewhere = spilled;
        elsewhere.parts[0].at = "/duration_ms".into();
        assert!(restore(&elsewhere, &[long.as_bytes().into()]).is_err());
    }

    /// An older version takes a record for one of a newer one, not for a short result.
    #[test]
    fn its_record_says_a_version_of_its_own() {
        let (text, ..) = kept(&finished(Value::Null, &"x".repeat(JOURNAL_VALUE_BYTES + 1)));
        assert!(text.starts_with(r#"{"v":3,"#));
        let newer = text.replacen(r#"{"v":3,"#, r#"{"v":4,"#, 1);
        let run = RunId::parse("r").unwrap();
        let read = decode_whole((&run, 1), (sum_of(&run, 1, &newer), &newer));
        assert_eq!(read, Err(JournalError::TooNew { found: 4, supported: 3 }));
    }

    fn value() -> impl Strategy<Value = Value> {
        let long = prop_oneof![Just(0_usize), 0..20_usize, Just(JOURNAL_VALUE_BYTES), Just(JOURNAL_VALUE_BYTES + 1)];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            (long, "[a-zä\"]").prop_map(|(length, letter)| Value::from(letter.repeat(length))),
            (0..9_000_usize).prop_map(|count| Value::from(vec![7; count])),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map("[a-z/~]{0,3}", inner, 0..4)
                    .prop_map(|members| Value::from(members.into_iter().collect::<Map>())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_is_spilled_comes_back(result in value(), of_step in any::<bool>()) {
            let whole = if of_step { gave(result, "") } else { finished(result, "") };
            if spill(&whole).is_some() {
                let (_, read, _) = kept(&whole);
                prop_assert_eq!(read, whole);
            }
        }
    }
}
