//! Tests of how bodies are read, without a network: answers of every protocol cut and split at every byte, bodies that do
//! not end. Not compiled otherwise.
//!
//! It must not send anything.

mod calls;
mod endless;
mod fuzz;

use super::failure::{Head, Origin};
use super::reader::Reader;
use crate::protocol::{Api, Asked};
use crate::provider::Provider;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{FinishReason, ModelEvent};
use cofferdam_egress::EgressError;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt as _, stream};
use std::sync::Arc;

/// A body of pieces.
pub(super) type Body = BoxStream<'static, Result<Bytes, EgressError>>;

/// What was read: the events, and how they ended.
#[derive(Debug, PartialEq)]
pub(super) struct Read {
    pub(super) events: Vec<ModelEvent>,
    /// The last event of an answer, or the code and the message of a fault.
    pub(super) end: Result<FinishReason, (String, String)>,
}

impl Read {
    pub(super) fn calls(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, ModelEvent::ToolCall(_))).count()
    }

    pub(super) fn code(&self) -> &str {
        self.end.as_ref().err().map_or("", |(code, _)| code.as_str())
    }
}

/// An answer with text and two calls of about 2 KiB.
pub(super) fn answer(api: Api) -> &'static str {
    match api {
        Api::Chat => include_str!("reading/answers/chat.txt"),
        Api::Responses => include_str!("reading/answers/responses.txt"),
        Api::Anthropic => include_str!("reading/answers/anthropic.txt"),
        Api::Gemini => include_str!("reading/answers/gemini.txt"),
        Api::Ollama => include_str!("reading/answers/ollama.txt"),
    }
}

/// The reader of a body.
pub(super) fn reader(api: Api, body: Body) -> Reader {
    let mut provider = Provider::new("acme", "http://acme.test/v1");
    provider.speak(api);
    let origin = Arc::new(Origin { provider, model: "m".to_owned() });
    let asked = Asked { turn: 1, provider: "acme".to_owned(), model: "m".to_owned(), ..Asked::default() };
    Reader::new(origin, Head::default(), body, &asked)
}

/// The next event of a body that is all there.
pub(super) fn next(reader: &mut Reader) -> Option<Result<ModelEvent, Fault>> {
    reader.next().now_or_never().expect("pieces in memory are ready")
}

/// Reads these pieces to their end, and makes sure that it is the only one.
pub(super) fn read<'a>(api: Api, pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
    let pieces: Vec<_> = pieces.into_iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let mut reader = reader(api, Box::pin(stream::iter(pieces)));
    let mut events = Vec::new();
    let end = loop {
        match next(&mut reader).expect("a stream ends with a word") {
            Ok(ModelEvent::Finished(reason)) => break Ok(reason),
            Ok(event) => events.push(event),
            Err(fault) => break Err((fault.code.to_string(), fault.message)),
        }
    };
    assert!(next(&mut reader).is_none(), "something after the end {end:?}");
    Read { events, end }
}

/// From where on an answer is complete: behind the piece in which the provider says why it ended.
fn complete_at(api: Api) -> usize {
    let (reason, end) = match api {
        Api::Chat => ("\"finish_reason\":\"tool_calls\"", "\n\n"),
        Api::Responses => ("event: response.completed", "\n\n"),
        Api::Anthropic => ("\"stop_reason\":\"tool_use\"", "\n\n"),
        // A carriage return ends a line by itself.
        Api::Gemini => ("\"finishReason\":\"STOP\"", "\r\n\r"),
        // The last line needs no end.
        Api::Ollama => ("\"done\":true", "}"),
    };
    let text = answer(api);
    let (before, after) = text.split_once(reason).unwrap();
    let (rest, _) = after.split_once(end).unwrap();
    before.len() + reason.len() + rest.len() + end.len()
}

#[test]
fn an_answer_that_is_cut_at_any_byte_gives_no_call_and_no_end() {
    for api in Api::ALL {
        let (bytes, complete_at) = (answer(api).as_bytes(), complete_at(api));
        assert!(bytes.len() >= 1_500, "{api:?}");
        for at in 0..=bytes.len() {
            let read = read(api, [&bytes[..at]]);
            if at < complete_at {
                assert_eq!((read.code(), read.calls()), ("model_truncated", 0), "{api:?} cut at {at}");
            } else {
                assert_eq!((&read.end, read.calls()), (&Ok(FinishReason::ToolCalls), 2), "{api:?} cut at {at}");
            }
        }
    }
}

#[test]
fn an_answer_that_is_split_at_any_byte_is_the_same() {
    for api in Api::ALL {
        let bytes = answer(api).as_bytes();
        let whole = read(api, [bytes]);
        assert_eq!((&whole.end, whole.calls()), (&Ok(FinishReason::ToolCalls), 2), "{api:?}");
        let usage = whole.events.iter().any(|event| matches!(event, ModelEvent::Usage(usage) if usage.total() == 29));
        assert!(usage, "{api:?}: {:?}", whole.events);
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(read(api, [head, tail]), whole, "{api:?} split at {at}");
        }
        assert_eq!(read(api, bytes.chunks(1)), whole, "{api:?} byte by byte");
    }
}

#[test]
fn white_space_before_an_answer_says_nothing_however_it_comes() {
    for api in Api::ALL {
        let bytes = answer(api).as_bytes();
        let spaced = [b" \r\n ".as_slice(), bytes].concat();
        for at in 0..8 {
            let (head, tail) = spaced.split_at(at);
            assert_eq!(read(api, [head, tail]), read(api, [bytes]), "{api:?} split at {at}");
        }
    }
}

#[test]
fn what_comes_after_the_end_is_not_read_however_long_it_is() {
    for api in [Api::Chat, Api::Responses, Api::Anthropic, Api::Ollama] {
        let bytes = answer(api).as_bytes();
        let more = [bytes, &vec![b'x'; 5 * 1024 * 1024]].concat();
        assert_eq!(read(api, [more.as_slice()]), read(api, [bytes]), "{api:?}");
    }
}
