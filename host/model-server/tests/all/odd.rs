//! Bodies that are odd in one place, and requests that end early: each gets an answer, and none ends the server.

use crate::client::{connect, request, send};
use crate::reading::{Form, PROTOCOLS, Protocol};
use cofferdam_model_server::{ModelServer, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What a body may have, so that there is much to spoil.
fn more(protocol: Protocol) -> Value {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    let function = json!({"name": "x", "parameters": schema});
    let user = json!({"role": "user", "content": [{"type": "text", "text": "x"}]});
    match protocol {
        Protocol::Chat => json!({
            "messages": [user, {"role": "assistant", "tool_calls": [{"id": "a"}]}, {"role": "tool", "tool_call_id": "a", "content": "x"}],
            "tools": [{"type": "function", "function": function}],
            "response_format": {"json_schema": {"schema": schema}},
        }),
        Protocol::Responses => json!({
            "input": [user, {"type": "reasoning", "summary": [{"text": "x"}]}, {"type": "function_call", "call_id": "a"}, {"type": "function_call_output", "call_id": "a", "output": "x"}],
            "tools": [{"type": "function", "name": "x", "parameters": schema}],
            "text": {"format": {"schema": schema}},
        }),
        Protocol::Messages => json!({
            "messages": [user, {"role": "assistant", "content": [{"type": "thinking"}, {"type": "tool_use", "id": "a"}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}],
            "tools": [{"name": "x", "input_schema": schema}],
            "output_config": {"format": {"schema": schema}},
        }),
        Protocol::Gemini => json!({
            "contents": [{"parts": [{"functionCall": {}, "thoughtSignature": "x"}]}, {"parts": [{"functionResponse": {"response": {"output": "x"}}}]}],
            "tools": [{"functionDeclarations": [function]}],
            "generationConfig": {"responseJsonSchema": schema},
        }),
        Protocol::Ollama => json!({
            "messages": [user, {"role": "user", "images": ["iVBOR"]}, {"role": "tool", "content": "x"}],
            "tools": [{"function": function}],
            "format": schema,
        }),
    }
}

/// Every place in a value.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(object) => object.iter().for_each(|(name, part)| places(part, &format!("{at}/{name}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, part)| places(part, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_body_that_is_odd_in_one_place_is_answered() {
    let server = ModelServer::start(Options::default()).await.unwrap();
    let odd = [json!(null), json!([]), json!({}), json!(""), json!(-1), json!([[{"x": null}]]), json!("\u{0}\u{1}ä")];
    let mut sent = 0;
    for protocol in PROTOCOLS {
        let more = more(protocol);
        let mut all = Vec::new();
        places(&more, "", &mut all);
        for place in all.iter().filter(|place| !place.is_empty()) {
            for (number, value) in odd.iter().enumerate() {
                let mut spoilt = more.clone();
                *spoilt.pointer_mut(place).unwrap() = value.clone();
                let modes = ["tools-parallel", "json-schema", "thinking-tools", "images", "tools-then-text"];
                let form = if number % 2 == 0 { Form::Stream } else { Form::Whole };
                for mode in modes {
                    let answer = send(&server, &protocol.request(mode, form, &spoilt)).await;
                    let answer = answer.unwrap_or_else(|| panic!("{protocol:?} {mode} {place} {value}"));
                    assert!(
                        matches!(answer.status, 200 | 400),
                        "{protocol:?} {mode} {place} {value}: {}",
                        answer.status
                    );
                    assert!(!answer.bytes().is_empty());
                    sent += 1;
                }
            }
        }
        server.clear();
    }
    assert!(sent > 2000, "{sent}");
}

#[tokio::test]
async fn a_request_that_ends_early_leaves_no_trace() {
    let server = ModelServer::start(Options::default()).await.unwrap();
    let whole = Protocol::Messages.request("text", Form::Stream, &json!({}));
    for length in 0..whole.len() {
        let mut stream = connect(&server, &whole[..length]).await;
        stream.shutdown().await.unwrap();
        let mut nothing = Vec::new();
        stream.read_to_end(&mut nothing).await.unwrap();
        assert!(nothing.is_empty(), "{length}: {}", String::from_utf8_lossy(&nothing));
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte_and_in_chunks() {
    let server = ModelServer::start(Options::default()).await.unwrap();
    let body = json!({"model": "echo-request", "messages": [{"role": "user", "content": "x"}]}).to_string();
    let mut stream = connect(&server, b"").await;
    for byte in request("POST", "/v1/chat/completions", "expect: 100-continue\r\n", &body) {
        stream.write_all(&[byte]).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    let chunked = format!(
        "POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(send(&server, chunked.as_bytes()).await.unwrap().status, 200);
    assert_eq!(server.requests().len(), 2);
}
