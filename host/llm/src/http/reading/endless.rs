//! Bodies of 1 GiB without an end, or without one of their lines or events: how much of them is taken.
//!
//! It must not make the bodies: it repeats a piece.

use super::{Body, next, reader};
use crate::protocol::Api;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits::{MODEL_RESPONSE_BYTES, SSE_EVENT_BYTES, SSE_LINE_BYTES};
use futures_util::{StreamExt as _, stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a piece, about.
const PIECE: usize = 64 * 1024;

/// What is read of a body that begins so and goes on so for 1 GiB: how many bytes, and how it ends.
fn taken(api: Api, begin: &'static str, repeated: &str) -> (usize, Fault) {
    let piece = Bytes::from(repeated.repeat(PIECE / repeated.len()));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let pieces = std::iter::once(Bytes::from_static(begin.as_bytes()));
    let pieces = pieces.chain(std::iter::repeat_n(piece, 1024 * 1024 * 1024 / PIECE));
    let body: Body = stream::iter(pieces)
        .map(move |piece| {
            counted.fetch_add(piece.len(), Ordering::Relaxed);
            Ok(piece)
        })
        .boxed();
    let mut reader = reader(api, body);
    loop {
        if let Err(fault) = next(&mut reader).expect("a stream ends with a word") {
            return (count.load(Ordering::Relaxed), fault);
        }
    }
}

/// Protocol, beginning, what is repeated, the bound.
const BODIES: &[(Api, &str, &str, usize)] = &[
    (Api::Chat, "data: {\"id\":\"", "x", SSE_LINE_BYTES),
    (Api::Responses, "event: ", "x", SSE_LINE_BYTES),
    (Api::Anthropic, ": ", "x", SSE_LINE_BYTES),
    (Api::Gemini, "data: {\"candidates\":[", "[", SSE_LINE_BYTES),
    (Api::Ollama, "{\"message\":{\"content\":\"", "x", SSE_EVENT_BYTES),
    // Lines of one event; the names of the fields are not part of it.
    (Api::Chat, "data: ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\ndata:", 2 * SSE_EVENT_BYTES),
    (Api::Anthropic, "data: ", "\ndata:", 16 * SSE_EVENT_BYTES),
    // Nothing in them is too large but they.
    (Api::Chat, "", " \r\n", MODEL_RESPONSE_BYTES),
    (Api::Ollama, "", "\n", MODEL_RESPONSE_BYTES),
    (Api::Chat, "", ": keep-alive\n\n", MODEL_RESPONSE_BYTES),
    (Api::Gemini, "retry: 1\n", "{\"odd\": 1}\n", MODEL_RESPONSE_BYTES),
    (Api::Responses, "{\"object\":\"response\",\"output\":[", "{},", MODEL_RESPONSE_BYTES),
    (Api::Gemini, "[", "{\"candidates\":[]},", MODEL_RESPONSE_BYTES),
    (Api::Ollama, "<html>", "<p>", MODEL_RESPONSE_BYTES),
    (
        Api::Chat,
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"x\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"xxxxxxxxxxxx\"}}]}}]}\n\n",
        MODEL_RESPONSE_BYTES,
    ),
    (
        Api::Anthropic,
        "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\"}}\n\n",
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n\n",
        MODEL_RESPONSE_BYTES,
    ),
    (Api::Ollama, "", "{\"message\":{\"content\":\"x\"},\"done\":false}\n", MODEL_RESPONSE_BYTES),
];

#[test]
fn a_body_without_an_end_is_read_up_to_its_bound_and_one_piece() {
    for (api, begin, repeated, bound) in BODIES {
        let (taken, fault) = taken(*api, begin, repeated);
        let of = format!("{api:?} `{begin}` `{repeated}`: {taken} bytes, {fault}");
        assert_eq!(fault.code, "model_answer_too_large", "{of}");
        assert!(taken <= bound + PIECE + begin.len(), "{of}");
        assert!(fault.message.contains("bytes") && fault.hint.is_some(), "{of}");
    }
}

#[test]
fn endless_calls_are_refused_in_every_protocol() {
    let calls: [(Api, &str, &str); 5] = [
        (
            Api::Chat,
            "",
            "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"x\",\"arguments\":\"{}\"}}]}}]}\n\n",
        ),
        (
            Api::Responses,
            "",
            "data: {\"type\":\"response.output_item.added\",\"item\":{\"type\":\"function_call\",\"name\":\"x\"}}\n\n",
        ),
        (
            Api::Anthropic,
            "",
            "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"name\":\"x\"}}\n\n",
        ),
        (
            Api::Gemini,
            "",
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"x\"}}]}}]}\n\n",
        ),
        (Api::Ollama, "", "{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"x\"}}]}}\n"),
    ];
    for (api, begin, repeated) in calls {
        let (taken, fault) = taken(api, begin, repeated);
        assert_eq!(fault.code, "model_answer_too_large", "{api:?}: {fault}");
        // All but Responses tell it at once: there one place may be filled again and again.
        let bound = if api == Api::Responses { MODEL_RESPONSE_BYTES } else { 0 };
        assert!(taken <= bound + PIECE, "{api:?}: {taken}");
    }
}
