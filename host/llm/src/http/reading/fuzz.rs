//! Any bytes, and answers of every protocol with something changed, in any pieces.
//!
//! It must not know what is right: only that there is one end, within bounds, and the same one for all pieces.

use super::{Read, answer, read};
use crate::protocol::Api;
use cofferdam_core::limits::TOOL_CALLS_PER_TURN;
use cofferdam_core::port::{FinishReason, ModelEvent};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A change of a stream.
#[derive(Clone, Debug)]
enum Change {
    Put(Index, u8),
    Insert(Index, &'static str),
    Remove(Index, usize),
    /// A part of it once more, elsewhere.
    Again(Index, usize, Index),
    Cut(Index),
}

/// What changes more than a letter does.
const PIECES: &[&str] = &[
    "\n\n",
    "\r",
    "\r\n",
    "data: {\r\ndata: }\r\n\r\n",
    "data: ",
    "data: [DONE]\n\n",
    ":",
    "\u{feff}",
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    "null",
    "true",
    "-1",
    "1e999",
    "18446744073709551616",
    "\\ud800",
    "\\u0000",
    "\u{0}",
    "{}",
    "[]",
    "\"error\":{},",
    "\"error\":\"x\",",
    "\"index\":0,",
    "\"id\":\"a\",",
    "data: {\"error\":{\"message\":\"x\"}}\n\n",
    "{\"error\":\"x\"}\n",
    "<html>",
    "😀",
    "\"arguments\":{},",
    "\"type\":\"message_stop\",",
    "\"done\":true,",
    "\"finish_reason\":\"length\",",
];

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Put(at, byte)),
        (any::<Index>(), select(PIECES)).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<Index>(), 1..200_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<Index>(), 1..400_usize, any::<Index>()).prop_map(|(at, count, to)| Change::Again(at, count, to)),
        any::<Index>().prop_map(Change::Cut),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let length = bytes.len();
        let place = |at: &Index| at.index(length + 1);
        match change {
            Change::Put(at, byte) => {
                if let Some(place) = bytes.get_mut(place(at)) {
                    *place = *byte;
                }
            }
            Change::Insert(at, piece) => drop(bytes.splice(place(at)..place(at), piece.bytes()).count()),
            Change::Remove(at, count) => drop(bytes.drain(place(at)..(place(at) + count).min(length))),
            Change::Again(at, count, to) => {
                let part = bytes[place(at)..(place(at) + count).min(length)].to_vec();
                bytes.splice(place(to)..place(to), part).count();
            }
            Change::Cut(at) => bytes.truncate(place(at)),
        }
    }
    bytes
}

fn api() -> impl Strategy<Value = Api> {
    select(Api::ALL.to_vec())
}

/// A body in pieces of these sizes, over and over.
fn pieces<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (head, tail) = bytes.split_at((*size).min(bytes.len()));
        pieces.push(head);
        bytes = tail;
    }
    pieces
}

/// What holds for whatever was read.
fn check(api: Api, bytes: &[u8], sizes: &[usize]) -> Result<(), TestCaseError> {
    let whole = read(api, [bytes]);
    prop_assert_eq!(&read(api, pieces(bytes, sizes)), &whole);
    let Read { events, end } = &whole;
    prop_assert!(whole.calls() <= TOOL_CALLS_PER_TURN);
    prop_assert!(whole.calls() == 0 || *end == Ok(FinishReason::ToolCalls), "calls before {:?}", end);
    let said = events.iter().map(|event| match event {
        ModelEvent::Text(text) | ModelEvent::Reasoning(text) => text.len(),
        ModelEvent::ToolCall(call) => call.name.len(),
        _ => 0,
    });
    // What is no UTF-8 grows to three bytes.
    prop_assert!(said.sum::<usize>() <= 3 * bytes.len());
    if let Err((code, message)) = end {
        prop_assert!(code.starts_with("model_") && message.chars().count() < 1_000, "{}: {}", code, message);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_have_one_end(
        api in api(),
        bytes in vec(any::<u8>(), 0..300),
        sizes in vec(1..20_usize, 1..5),
    ) {
        check(api, &bytes, &sizes)?;
    }

    #[test]
    fn any_words_of_the_protocols_have_one_end(
        api in api(),
        words in vec(select(PIECES), 0..40),
        sizes in vec(1..20_usize, 1..5),
    ) {
        check(api, words.concat().as_bytes(), &sizes)?;
    }

    #[test]
    fn answers_with_something_changed_have_one_end(
        api in api(),
        of in api(),
        foreign in 0..8_u8,
        changes in vec(change(), 1..8),
        sizes in vec(1..300_usize, 1..5),
    ) {
        // Now and then the answer is one of another protocol.
        let of = if foreign == 0 { of } else { api };
        check(api, &changed(answer(of).as_bytes().to_vec(), &changes), &sizes)?;
    }
}
