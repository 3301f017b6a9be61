//! A provider on loopback that misbehaves as real ones do: the model's name chooses how. Not compiled outside tests.
//!
//! It must not share code with the client: what it writes are the bytes of the wire format, spelled out.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a connection after it has read a request.
#[derive(Clone, Debug)]
enum Act {
    Write(Vec<u8>),
    /// Says nothing until the client is gone.
    Stall,
}

/// A running server; it ends with the runtime.
pub(crate) struct FaultServer {
    pub(crate) base_url: String,
    log: Arc<Mutex<Vec<Recorded>>>,
}

/// A request that it got.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl FaultServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let log: Arc<Mutex<Vec<Recorded>>> = Arc::default();
        let recorded = Arc::clone(&log);
        tokio::spawn(async move {
            let failures: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&recorded), Arc::clone(&failures)));
            }
        });
        Self { base_url, log }
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.log.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<Recorded>>>, failures: Arc<Mutex<HashMap<String, u32>>>) {
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    let model = request.body.get("model").and_then(Value::as_str).unwrap_or("text").to_owned();
    let is_tags = request.path == "/api/tags";
    log.lock().unwrap().push(request);
    let acts = if is_tags { tags() } else { behaviour(&model, &failures) };
    for act in acts {
        match act {
            Act::Write(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
                let _ = stream.flush().await;
            }
            Act::Stall => {
                let _ = stream.read(&mut [0; 1]).await;
            }
        }
    }
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut TcpStream) -> Option<Recorded> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length:").map(|rest| rest.trim().parse::<usize>().unwrap())
    });
    while bytes.len() < end + 4 + length.unwrap_or(0) {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
    }
    let path = head.split(' ').nth(1)?.to_owned();
    let body = serde_json::from_slice(&bytes[end + 4..]).unwrap_or(Value::Null);
    Some(Recorded { path, head, body })
}

/// The bytes of a whole answer with these frames.
pub(crate) fn sse(frames: &[Value]) -> String {
    let frames: String = frames.iter().map(|frame| format!("data: {frame}\n\n")).collect();
    frames + "data: [DONE]\n\n"
}

pub(crate) fn delta(delta: &Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": null}], "usage": null, "obfuscation": "x"})
}

pub(crate) fn finish(reason: &str) -> Value {
    json!({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

pub(crate) fn usage() -> Value {
    json!({"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}})
}

fn text_frames() -> Vec<Value> {
    vec![
        delta(&json!({"role": "assistant", "content": "", "refusal": null})),
        delta(&json!({"content": "Grüße, "})),
        delta(&json!({"content": "Wörld 😀"})),
        finish("stop"),
        usage(),
    ]
}

/// Two parallel calls, their arguments in pieces.
pub(crate) fn parallel_frames() -> Vec<Value> {
    vec![
        delta(
            &json!({"role": "assistant", "content": null, "tool_calls": [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "get_weather", "arguments": ""}}]}),
        ),
        delta(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"city\":"}}]})),
        delta(&json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"Paris\"}"}}]})),
        delta(
            &json!({"tool_calls": [{"index": 1, "id": "call_b", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Oslo\"}"}}]}),
        ),
        finish("tool_calls"),
        usage(),
    ]
}

fn response(status: &str, headers: &str, body: &str) -> Vec<Act> {
    let head = format!("HTTP/1.1 {status}\r\nx-request-id: req_1\r\nconnection: close\r\n{headers}\r\n");
    vec![Act::Write(head.into_bytes()), Act::Write(body.as_bytes().to_vec())]
}

fn stream(body: &str) -> Vec<Act> {
    response("200 OK", "content-type: text/event-stream\r\n", body)
}

fn error(status: &str, headers: &str, error: &Value) -> Vec<Act> {
    response(status, &format!("content-type: application/json\r\n{headers}"), &json!({ "error": error }).to_string())
}

fn rate_limit(headers: &str) -> Vec<Act> {
    error(
        "429 Too Many Requests",
        headers,
        &json!({"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}),
    )
}

fn behaviour(model: &str, failures: &Mutex<HashMap<String, u32>>) -> Vec<Act> {
    let text = sse(&text_frames());
    if let Some(times) = model.strip_prefix("flaky-").and_then(|times| times.parse::<u32>().ok()) {
        let mut failures = failures.lock().unwrap();
        let failed = failures.entry(model.to_owned()).or_default();
        *failed += 1;
        return if *failed <= times { error("500 Oops", "", &json!({"message": "oops"})) } else { stream(&text) };
    }
    errors(model).or_else(|| breaks(model)).unwrap_or_else(|| answers(model, &text))
}

fn errors(model: &str) -> Option<Vec<Act>> {
    Some(match model {
        "e400" => error(
            "400 Bad Request",
            "",
            &json!({"message": "bad field", "type": "invalid_request_error", "param": "x"}),
        ),
        "e401" => error(
            "401 Unauthorized",
            "",
            &json!({"message": "Incorrect API key provided: sk-secret.", "code": "invalid_api_key"}),
        ),
        "e404" => response("404 Not Found", "", "404 page not found"),
        "e422" => error("422 Unprocessable", "", &json!({"message": "no"})),
        "e429-after" => rate_limit("retry-after: 7\r\n"),
        "e429-ms" => rate_limit("retry-after-ms: 250\r\nretry-after: 9\r\n"),
        "e429-hours" => rate_limit("retry-after: 7200\r\n"),
        "e429-none" => rate_limit(""),
        "e429-quota" => error(
            "429 Too Many Requests",
            "retry-after: 1\r\n",
            &json!({"message": "pay", "type": "insufficient_quota", "code": "insufficient_quota"}),
        ),
        "e500" => error("500 Oops", "", &json!({"message": "oops", "type": "server_error"})),
        "e503" => error("503 Unavailable", "", &json!({"message": "busy", "type": "service_unavailable_error"})),
        "e502-html" => response(
            "502 Bad Gateway",
            "content-type: text/html\r\n",
            "<html><head><title>502 Bad Gateway</title></head></html>",
        ),
        "e200-html" => response("200 OK", "content-type: text/html\r\n", "<!doctype html><title>Sign in</title>"),
        "e200-error-body" => error("200 OK", "", &json!({"message": "no such key", "code": "invalid_api_key"})),
        "redirect" => response("302 Found", "location: http://169.254.169.254/latest/meta-data\r\n", ""),
        _ => return None,
    })
}

fn breaks(model: &str) -> Option<Vec<Act>> {
    let begun = sse(&text_frames()[..2]).replace("data: [DONE]\n\n", "");
    Some(match model {
        "nothing" => Vec::new(),
        "headers-only" => stream(""),
        "cut" => stream(&begun),
        "cut-call" => stream(&sse(&parallel_frames()[..3]).replace("data: [DONE]\n\n", "")),
        "stall-headers" => vec![Act::Stall],
        "stall-body" => [stream(&begun), vec![Act::Stall]].concat(),
        "mid-error" => stream(&format!(
            "{begun}data: {}\n\n",
            json!({"error": {"message": "boom", "type": "server_error", "param": null, "code": null}})
        )),
        "huge-line" => stream(&format!("{begun}data: {}", "x".repeat(2 * 1024 * 1024))),
        "garbage" => stream("data: {not json}\n\n"),
        "done-only" => stream("data: [DONE]\n\n"),
        _ => return None,
    })
}

fn answers(model: &str, text: &str) -> Vec<Act> {
    match model {
        "tools-parallel" => stream(&sse(&parallel_frames())),
        "crlf" => stream(&format!("\u{feff}{}", text.replace('\n', "\r\n"))),
        "keepalive" => stream(&text.replace("data: {", ": keep-alive\n\ndata: {")),
        "no-done" => stream(&text.replace("data: [DONE]\n\n", "")),
        "length" => stream(&sse(&[parallel_frames().swap_remove(0), finish("length")])),
        "bad-json-args" => stream(&sse(&[
            delta(&json!({"tool_calls": [{"index": 0, "id": "call_a", "function": {"name": "get_weather", "arguments": "{\"city\": oops"}}]})),
            finish("tool_calls"),
        ])),
        "not-streamed" => response("200 OK", "content-type: application/json\r\n", &json!({"id": "x", "object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}).to_string()),
        "split-utf8" => {
            let mut acts = stream("");
            acts.extend(text.bytes().map(|byte| Act::Write(vec![byte])));
            acts
        }
        _ => stream(text),
    }
}

fn tags() -> Vec<Act> {
    let models = json!({"models": [
        {"name": "nomic-embed-text:latest", "details": {"family": "nomic-bert"}},
        {"name": "llama3.2:latest", "details": {"family": "llama"}},
        {"name": "qwen3:8b", "details": {"family": "qwen3"}},
    ]});
    response("200 OK", "content-type: application/json\r\n", &models.to_string())
}
