//! Calls of tools as servers send them that do not count, stop in the middle, or ask for very many.
//!
//! It must not damage bytes: that is for the other tests of reading.

use super::{Read, read};
use crate::protocol::Api;
use cofferdam_core::limits::TOOL_CALLS_PER_TURN;
use cofferdam_core::message::ToolCall;
use cofferdam_core::port::{FinishReason, ModelEvent};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A stream of these pieces.
fn framed(api: Api, pieces: &[Value]) -> String {
    let piece = |piece: &Value| if api == Api::Ollama { format!("{piece}\n") } else { format!("data: {piece}\n\n") };
    pieces.iter().map(piece).collect()
}

/// An answer of calls with these ids and one letter of arguments each, which ends so.
fn stream(api: Api, ids: &[String], arguments: &str, end: &str) -> String {
    let mut pieces = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        let parsed: Value = serde_json::from_str(arguments).unwrap_or_default();
        let item = json!({"type": "function_call", "call_id": id, "name": "x", "arguments": arguments});
        let function = json!({"name": "x", "arguments": arguments});
        let whole = json!({"id": id, "name": "x", "args": parsed});
        let block = json!({"type": "tool_use", "id": id, "name": "x", "input": {}});
        let delta = json!({"type": "input_json_delta", "partial_json": arguments});
        pieces.extend(match api {
            Api::Chat => {
                vec![json!({"choices": [{"delta": {"tool_calls": [{"index": at, "id": id, "function": function}]}}]})]
            }
            Api::Responses => vec![json!({"type": "response.output_item.done", "output_index": at, "item": item})],
            Api::Anthropic => vec![
                json!({"type": "message_start", "message": {"id": "msg_1"}}),
                json!({"type": "content_block_start", "index": at, "content_block": block}),
                json!({"type": "content_block_delta", "index": at, "delta": delta}),
            ],
            Api::Gemini => vec![json!({"candidates": [{"content": {"parts": [{"functionCall": whole}]}}]})],
            Api::Ollama => {
                vec![json!({"message": {"tool_calls": [{"id": id, "function": {"name": "x", "arguments": parsed}}]}})]
            }
        });
    }
    let details = json!({ "reason": end });
    let status = if end == "done" { "completed" } else { "incomplete" };
    pieces.extend(match api {
        Api::Chat => vec![json!({"choices": [{"delta": {}, "finish_reason": end}]}), Value::Null],
        Api::Responses => vec![
            json!({"type": format!("response.{status}"), "response": {"status": status, "incomplete_details": details}}),
        ],
        Api::Anthropic => {
            vec![json!({"type": "message_delta", "delta": {"stop_reason": end}}), json!({"type": "message_stop"})]
        }
        Api::Gemini => vec![json!({"candidates": [{"finishReason": if end == "done" { "STOP" } else { end }}]})],
        Api::Ollama => vec![json!({"done": true, "done_reason": end})],
    });
    pieces.retain(|piece| !piece.is_null());
    framed(api, &pieces)
}

fn calls(read: &Read) -> Vec<&ToolCall> {
    let calls = read.events.iter().filter_map(|event| match event {
        ModelEvent::ToolCall(call) => Some(call),
        _ => None,
    });
    calls.collect()
}

#[test]
fn an_id_that_comes_twice_is_given_once() {
    let twice = ["a".to_owned(), "a".to_owned(), String::new(), "b".to_owned()];
    for api in Api::ALL {
        let read = read(api, [stream(api, &twice, "{}", "done").as_bytes()]);
        let ids: BTreeSet<&str> = calls(&read).iter().map(|call| call.id.as_str()).collect();
        // Where pieces of calls are told apart by ids, the same id in the same place is the same call; here it is not.
        assert_eq!((ids.len(), &read.end), (4, &Ok(FinishReason::ToolCalls)), "{api:?}: {:?}", read.events);
        assert!(!ids.contains(""), "{api:?}");
    }
}

#[test]
fn an_answer_that_was_stopped_in_the_middle_of_a_call_gives_none() {
    let one = ["a".to_owned()];
    for (api, end, finish) in [
        (Api::Chat, "length", FinishReason::Length),
        (Api::Chat, "content_filter", FinishReason::ContentFilter),
        (Api::Responses, "max_output_tokens", FinishReason::Length),
        (Api::Responses, "content_filter", FinishReason::ContentFilter),
        (Api::Anthropic, "max_tokens", FinishReason::Length),
        (Api::Anthropic, "model_context_window_exceeded", FinishReason::Length),
        (Api::Anthropic, "refusal", FinishReason::Refusal),
        (Api::Gemini, "MAX_TOKENS", FinishReason::Length),
        (Api::Gemini, "SAFETY", FinishReason::ContentFilter),
        (Api::Ollama, "length", FinishReason::Length),
    ] {
        let read = read(api, [stream(api, &one, "{\"city\":", end).as_bytes()]);
        assert_eq!((calls(&read).len(), &read.end), (0, &Ok(finish)), "{api:?} {end}");
        let keeps = read.events.iter().any(|event| matches!(event, ModelEvent::Opaque(_)));
        assert!(!keeps, "{api:?} {end}: half a turn does not come back");
    }
}

#[test]
fn as_many_calls_as_the_bound_are_taken_and_one_more_is_not() {
    let ids = |count: usize| (0..count).map(|number| format!("id_{number}")).collect::<Vec<_>>();
    for api in Api::ALL {
        let most = read(api, [stream(api, &ids(TOOL_CALLS_PER_TURN), "{\"n\":1}", "done").as_bytes()]);
        let right = calls(&most).iter().zip(0..).all(|(call, number)| call.id == format!("id_{number}"));
        assert!(right && calls(&most).len() == TOOL_CALLS_PER_TURN, "{api:?}: {:?}", most.end);
        assert!(calls(&most).iter().all(|call| call.arguments == "{\"n\":1}"), "{api:?}");
        let more = read(api, [stream(api, &ids(TOOL_CALLS_PER_TURN + 1), "{}", "done").as_bytes()]);
        assert_eq!((more.code(), calls(&more).len()), ("model_answer_too_large", 0), "{api:?}");
    }
}

#[test]
fn arguments_with_nul_stay_and_half_a_character_of_utf_16_is_no_json() {
    for api in Api::ALL {
        let one = ["a".to_owned()];
        let nul = read(api, [stream(api, &one, "{\"s\":\"\\u0000\"}", "done").as_bytes()]);
        assert_eq!(calls(&nul)[0].arguments, "{\"s\":\"\\u0000\"}", "{api:?}");
        let text = stream(api, &one, "{}", "done").replace("\"x\"", "\"\\ud83d\"");
        let half = read(api, [text.as_bytes()]);
        assert_eq!((half.code(), calls(&half).len()), ("model_protocol", 0), "{api:?}");
    }
}
