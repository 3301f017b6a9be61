//! An answer that is kept once: a step that gave what its agent said last leaves the text to the record before its own.
//!
//! It must not know how records become text.

use crate::event::{Body, RunEvent};
use crate::message::Message;
use std::sync::Arc;

/// Shorter texts are not worth a look at two records.
const LEAST_BYTES: usize = 64;

/// The body of an event without the text that the event before it said, if that is what it holds.
pub(super) fn leave_out(event: &RunEvent, before: &RunEvent) -> Option<Body> {
    let Body::StepFinished { output, .. } = &event.body else { return None };
    let text = &output.content;
    if text.len() < LEAST_BYTES || said(event, before) != Some(text) {
        return None;
    }
    let mut body = event.body.clone();
    if let Body::StepFinished { output, .. } = &mut body {
        output.content = Arc::from("");
    }
    Some(body)
}

/// Puts the text back; says whether there was one.
pub(super) fn put_back(event: &mut RunEvent, before: &RunEvent) -> bool {
    let Some(text) = said(event, before).cloned() else { return false };
    match &mut event.body {
        Body::StepFinished { output, .. } if output.content.is_empty() => {
            output.content = text;
            true
        }
        _ => false,
    }
}

/// What the agent said last, if the event before is of the same try.
fn said<'e>(event: &RunEvent, before: &'e RunEvent) -> Option<&'e Arc<str>> {
    let Body::TurnFinished { message: Message::Assistant { text, .. }, .. } = &before.body else { return None };
    (before.path == event.path && before.attempt == event.attempt).then_some(text)
}

#[cfg(test)]
mod tests {
    use crate::event::{Body, RunEvent, StepOutput, StepStatus};
    use crate::id::RunId;
    use crate::message::{Message, Usage};
    use crate::port::{JournalError, Record, RecordBody};
    use crate::record::{decode, decode_whole, encode, encode_all, sum_of};
    use crate::time::Timestamp;
    use std::sync::Arc;

    const ANSWER: &str = "This is what the agent said, in words enough to be worth it: they are kept once.";

    fn record(path: &str, attempt: u32, body: Body) -> Record {
        let (at, run_id) = (Timestamp::from_millis(5), RunId::parse("r").unwrap());
        let event = RunEvent { seq: 3, sub: None, at, run_id, path: path.into(), attempt: Some(attempt), body };
        Record { at, body: RecordBody::Event(Arc::new(event)) }
    }

    fn turn(path: &str, attempt: u32, text: &str) -> Record {
        let message = Message::Assistant { text: text.into(), tool_calls: Vec::new(), opaque: Vec::new() };
        let body =
            Body::TurnFinished { turn: 1, model: "m".into(), message, usage: Usage::default(), cost: None, cut: false };
        record(path, attempt, body)
    }

    fn end(text: &str) -> Record {
        let output = StepOutput { content: text.into(), ..StepOutput::default() };
        let (status, usage) = (StepStatus::Completed, Usage::default());
        record("a", 1, Body::StepFinished { status, output, error: None, usage, truncated_inputs: Vec::new() })
    }

    fn read(text: &str, before: Option<&Record>) -> Result<Record, JournalError> {
        let run = RunId::parse("r").unwrap();
        decode((&run, 2), (sum_of(&run, 2, text), text), || Ok(before.and_then(Record::event).cloned()))
    }

    #[test]
    fn the_text_is_kept_once_where_the_record_before_says_it() {
        let note = Record {
            at: Timestamp::from_millis(5),
            body: RecordBody::Note { kind: "n".into(), data: Default::default() },
        };
        let cases = [
            (turn("a", 1, ANSWER), end(ANSWER), true),
            (turn("b", 1, ANSWER), end(ANSWER), false),
            (turn("a", 2, ANSWER), end(ANSWER), false),
            (turn("a", 1, &ANSWER.replace("This", "That")), end(ANSWER), false),
            (turn("a", 1, "no"), end("no"), false),
            (note, end(ANSWER), false),
            (end(ANSWER), end(ANSWER), false),
        ];
        for (number, (before, after, once)) in cases.into_iter().enumerate() {
            let texts = encode_all(&[before.clone(), after.clone()]).unwrap();
            assert_eq!(texts[1].matches("agent said").count(), usize::from(!once && number != 4), "{number}");
            assert_eq!(texts[1].starts_with(r#"{"v":2,"said":true,"#), once, "{number}");
            assert_eq!(texts[1] == encode(&after).unwrap(), !once, "{number}");
            assert_eq!(read(&texts[1], Some(&before)), Ok(after), "{number}");
        }
    }

    #[test]
    fn a_record_whose_text_is_not_there_is_damaged() {
        let texts = encode_all(&[turn("a", 1, ANSWER), end(ANSWER)]).unwrap();
        for before in [None, Some(turn("b", 1, ANSWER)), Some(end(ANSWER))] {
            assert!(matches!(read(&texts[1], before.as_ref()), Err(JournalError::Damaged { position: 2, .. })));
        }
        let run = RunId::parse("r").unwrap();
        let alone = decode_whole((&run, 2), (sum_of(&run, 2, &texts[1]), &texts[1]));
        assert!(matches!(alone, Err(JournalError::Damaged { .. })));
        // Another text than one that was left out is not replaced.
        let full = encode(&end(ANSWER)).unwrap().replacen(r#"{"v":1,"#, r#"{"v":2,"said":true,"#, 1);
        assert!(matches!(read(&full, Some(&turn("a", 1, ANSWER))), Err(JournalError::Damaged { .. })));
    }
}
