//! The server itself: its log, its pages, its bounds.

use crate::client::{connect, get, request, send};
use crate::reading::{Form, PROTOCOLS, Protocol};
use cofferdam_model_server::{MODE_HEADER, ModelServer, Options, modes};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

async fn start() -> ModelServer {
    ModelServer::start(Options::default()).await.unwrap()
}

#[tokio::test]
async fn the_log_has_every_request_and_no_key() {
    let server = start().await;
    send(&server, &Protocol::Chat.request("text", Form::Stream, &json!({}))).await.unwrap();
    send(&server, &request("POST", "/v1/responses", "x-api-key: k\r\n", "not json")).await.unwrap();
    get(&server, "/nowhere").await;
    let log = get(&server, "/_log").await.json();
    let paths: Vec<&Value> = log.as_array().unwrap().iter().map(|entry| &entry["path"]).collect();
    assert_eq!(paths, ["/v1/chat/completions", "/v1/responses", "/nowhere"]);
    assert_eq!(log[0]["headers"]["authorization"], "*** (20 bytes)");
    assert_eq!((&log[0]["method"], &log[0]["body"]["model"]), (&json!("POST"), &json!("text")));
    assert_eq!((&log[1]["headers"]["x-api-key"], &log[1]["body"]), (&json!("*** (1 bytes)"), &json!("not json")));
    let requests = server.requests();
    assert_eq!(requests[0].header("authorization"), Some("Bearer sk-secret-key"));
    assert_eq!((requests[1].json(), requests[1].body()), (Value::Null, &b"not json"[..]));
    send(&server, &request("DELETE", "/_log", "", "")).await.unwrap();
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn modes_are_chosen_by_names_paths_and_a_header() {
    let server = start().await;
    let chat = json!({"model": "acme/e401:latest", "messages": [{"role": "user", "content": "x"}]}).to_string();
    let plain = chat.replace("acme/e401:latest", "text");
    let contents = json!({"contents": [{"parts": [{"text": "x"}]}]}).to_string();
    let header = format!("{MODE_HEADER}: e401\r\n");
    let cases = [
        ("/v1/chat/completions", "", &chat),
        ("/chat/completions", "", &chat),
        ("/openai/v1/chat/completions", "", &chat),
        ("/v1/chat/completions", header.as_str(), &plain),
        ("/openai/deployments/e401/chat/completions?api-version=2024-10-21", "", &plain),
        ("/v1/models/e401:generateContent", "", &contents),
        ("/v1beta/models/e401:latest:streamGenerateContent?alt=sse", "", &contents),
        ("/v1/models/text:generateContent", header.as_str(), &contents),
    ];
    for (path, headers, body) in cases {
        assert_eq!(send(&server, &request("POST", path, headers, body)).await.unwrap().status, 401, "{path}");
    }
}

#[tokio::test]
async fn gemini_without_events_is_an_array() {
    let server = start().await;
    let body = json!({"contents": [{"parts": [{"text": "x"}]}]}).to_string();
    for (mode, count) in
        [("text", 3), ("mid-error", 2), ("keepalive", 3), ("crlf", 3), ("tokens-100", 101), ("tokens-0", 1)]
    {
        let path = format!("/v1beta/models/{mode}:streamGenerateContent");
        let answer = send(&server, &request("POST", &path, "", &body)).await.unwrap();
        assert_eq!(answer.json().as_array().unwrap().len(), count, "{mode}");
    }
}

#[tokio::test]
async fn models_are_listed_in_every_protocol() {
    let server = start().await;
    let cases = [
        ("/v1/models", "", "/data", "id", ""),
        ("/v1/models", "anthropic-version: 2023-06-01\r\n", "/data", "id", ""),
        ("/v1/models", "x-goog-api-key: k\r\n", "/models", "name", "models/"),
        ("/v1beta/models?key=k", "", "/models", "name", "models/"),
        ("/api/tags", "", "/models", "name", ""),
    ];
    for (path, headers, list, field, before) in cases {
        let page = send(&server, &request("GET", path, headers, "")).await.unwrap().json();
        let first = page.pointer(list).unwrap()[0][field].as_str().unwrap().to_owned();
        assert_eq!(first.strip_prefix(before).unwrap().trim_end_matches(":latest"), modes()[0].name, "{path}");
        assert_eq!(page.pointer(list).unwrap().as_array().unwrap().len(), modes().len());
    }
    assert!(get(&server, "/api/version").await.json()["version"].is_string());
    assert_eq!(get(&server, "/v1/nothing").await.status, 404);
    assert_eq!(get(&server, "/v1/messages").await.status, 405);
}

#[tokio::test]
async fn tokens_are_as_many_as_asked_for() {
    let server = start().await;
    for protocol in PROTOCOLS {
        let answer = send(&server, &protocol.request("tokens-5000", Form::Stream, &json!({}))).await.unwrap();
        assert!(answer.chunks.len() < 200, "{protocol:?}: many events are one write");
        let found = protocol.read(&answer);
        assert_eq!((found.text.len(), found.usage, found.is_ended), (20_000, Some((20, 5000)), true), "{protocol:?}");
    }
}

#[tokio::test]
async fn what_is_malformed_is_400_and_what_is_too_large_is_told() {
    let server = start().await;
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000));
    let cases = [
        ("hello\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/3\r\n\r\n".to_owned(), 400),
        ("POST /v1/messages HTTP/1.1\r\ncontent-length: many\r\n\r\n".to_owned(), 400),
        (long, 431),
        ("POST /v1/messages HTTP/1.1\r\ncontent-length: 67108865\r\n\r\n".to_owned(), 413),
    ];
    for (text, status) in cases {
        let mut stream = connect(&server, text.as_bytes()).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&head), format!("HTTP/1.1 {status}"));
    }
    for protocol in PROTOCOLS {
        let request = String::from_utf8(protocol.request("text", Form::Stream, &json!({}))).unwrap();
        let path = request.split(' ').nth(1).unwrap();
        for body in ["", "[]", "{", "\u{0}", &"[".repeat(100_000)] {
            let answer = send(&server, &crate::client::request("POST", path, "", body)).await.unwrap();
            assert_eq!(answer.status, 400, "{protocol:?} {body:.20}");
            assert!(answer.json().get("error").is_some());
        }
    }
    assert!(server.requests().len() >= 20, "it still serves");
}

#[tokio::test]
async fn a_server_that_is_dropped_ends_its_connections() {
    let server = start().await;
    let mut stalled = connect(&server, &Protocol::Chat.request("stall-headers", Form::Stream, &json!({}))).await;
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let address = server.address();
    drop(server);
    assert_eq!(stalled.read(&mut [0; 1]).await.unwrap_or_default(), 0);
    // The listener is closed with its task, which was aborted before the connection ended.
    assert!(TcpStream::connect(address).await.is_err());
}
