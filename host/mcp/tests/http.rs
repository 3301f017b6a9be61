//! Servers at an address, on loopback: sessions, events, headers from the environment, and answers that are none.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail loudly")]

#[path = "support/real.rs"]
#[expect(dead_code, reason = "what was heard is nothing here")]
mod real;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, LocalName, RunId, StepPath};
use cofferdam_core::policy::Trust;
use cofferdam_core::port::{CancelFlag, Detached, DirHandle, StepDirs, Tool as _, ToolContext, ToolOutput};
use cofferdam_core::server::ServerReference;
use cofferdam_mcp::{Server, ServerSettings};
use real::{Real, Warnings};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// What the server does with a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Json,
    Events,
    Redirect,
    Denies,
    Endless,
    Forgets,
}

#[derive(Clone)]
struct Scripted {
    mode: Mode,
    /// What arrived: the method and the headers of each request.
    seen: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

async fn handle(State(server): State<Scripted>, method: Method, headers: HeaderMap, body: String) -> Response {
    let message: Value = serde_json::from_str(&body).unwrap_or_default();
    let name = message["method"].as_str().unwrap_or(method.as_str()).to_owned();
    let calls = {
        let mut seen = server.seen.lock().unwrap();
        seen.push((name.clone(), headers));
        seen.iter().filter(|(seen, _)| *seen == "tools/call").count()
    };
    if method == Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let object = json!({ "type": "object" });
    let result = match name.as_str() {
        "initialize" => json!({
            "protocolVersion": message["params"]["protocolVersion"], "capabilities": { "tools": {} },
            "serverInfo": { "name": "far", "version": "1" },
        }),
        "tools/list" => json!({ "tools": [{ "name": "say", "inputSchema": object }] }),
        "tools/call" => match server.mode {
            Mode::Redirect => return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/other")]).into_response(),
            Mode::Denies => return (StatusCode::UNAUTHORIZED, "no such token: abc-secret-abc").into_response(),
            Mode::Endless => {
                let text = format!("data: {}", "x".repeat(9 * 1024 * 1024));
                return ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response();
            }
            Mode::Forgets if calls == 1 => return StatusCode::NOT_FOUND.into_response(),
            _ => json!({ "content": [{ "type": "text", "text": message["params"]["arguments"]["text"] }] }),
        },
        _ => return StatusCode::ACCEPTED.into_response(),
    };
    let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
    let (media, text) = match server.mode {
        Mode::Events => {
            let notice = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": { "level": "info", "data": 1 } });
            let notices = format!("event: message\ndata: {notice}\n\n").repeat(2_000);
            ("text/event-stream", format!("{notices}event: message\ndata: {answer}\n\n"))
        }
        _ => ("application/json", answer),
    };
    ([(header::CONTENT_TYPE, media), (header::HeaderName::from_static("mcp-session-id"), "session-1")], text)
        .into_response()
}

struct Scene {
    server: Arc<Server>,
    seen: Arc<Mutex<Vec<(String, HeaderMap)>>>,
    folder: TempDir,
}

fn settings(url: String) -> ServerSettings {
    let headers = BTreeMap::from([("Authorization".to_owned(), "Bearer ${TOKEN}".to_owned())]);
    ServerSettings {
        alias: Alias::parse("far").unwrap(),
        reference: ServerReference::Address { url, headers },
        directory: ".".into(),
        trust: Trust::default(),
        variables: Arc::new(|name| (name == "TOKEN").then(|| SecretString::from("abc-secret-abc".to_owned()))),
        clock: Arc::new(Real::new()),
    }
}

impl Scene {
    async fn new(mode: Mode) -> Self {
        let seen: Arc<Mutex<Vec<(String, HeaderMap)>>> = Arc::default();
        let app = Router::new().fallback(handle).with_state(Scripted { mode, seen: Arc::clone(&seen) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let server = Server::connect(settings(url)).await.unwrap();
        Self { server, seen, folder: TempDir::new().unwrap() }
    }

    async fn say(&self, text: &str) -> Result<ToolOutput, Fault> {
        let open = || DirHandle::new(std::fs::File::open(self.folder.path()).unwrap());
        let run_id = RunId::parse("run").unwrap();
        let context = ToolContext {
            narrowings: Arc::default(),
            kept: Arc::default(),
            tool: None,
            depth: 0,
            tools: None,
            agents: None,
            run_id: run_id.clone(),
            path: StepPath::ROOT,
            attempt: 1,
            call_id: Arc::from("call"),
            idempotency_key: Arc::from("key"),
            deadline: None,
            dirs: Arc::new(StepDirs { step: open(), out: open() }),
            events: Arc::new(Warnings::default()),
            run: Arc::new(Detached::new(run_id, StepPath::ROOT)),
            cancel: CancelFlag::default(),
        };
        self.server.call(context, &LocalName::parse("say").unwrap(), Arc::new(json!({ "text": text }))).await
    }

    fn count(&self, method: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|(seen, _)| seen == method).count()
    }
}

#[tokio::test]
async fn a_server_at_an_address_gets_its_headers_and_its_session() {
    for mode in [Mode::Json, Mode::Events] {
        let scene = Scene::new(mode).await;
        assert_eq!(scene.say("hi").await.unwrap().content.as_deref(), Some("hi"));
        let seen = scene.seen.lock().unwrap().clone();
        let (_, call) = seen.iter().find(|(method, _)| method == "tools/call").unwrap();
        assert_eq!(
            (call["authorization"].as_bytes(), call["mcp-session-id"].as_bytes()),
            (&b"Bearer abc-secret-abc"[..], &b"session-1"[..])
        );
        assert!(seen.iter().any(|(method, _)| method == "notifications/initialized"));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_refusal_is_quoted_without_the_secret() {
    let scene = Scene::new(Mode::Redirect).await;
    let fault = scene.say("hi").await.unwrap_err();
    assert!(fault.message.contains("redirects (307)"), "{fault}");
    let scene = Scene::new(Mode::Denies).await;
    let fault = scene.say("hi").await.unwrap_err();
    assert!(fault.message.contains("HTTP 401") && fault.message.contains("[redacted]"), "{fault}");
    assert!(!fault.message.contains("abc-secret-abc"), "{fault}");
}

#[tokio::test]
async fn an_event_without_end_fails_the_call() {
    let scene = Scene::new(Mode::Endless).await;
    let outcome = tokio::time::timeout(Duration::from_secs(30), scene.say("hi")).await;
    assert!(outcome.expect("it ended").is_err());
}

#[tokio::test]
async fn a_session_that_was_forgotten_is_opened_again_for_the_next_call() {
    let scene = Scene::new(Mode::Forgets).await;
    assert!(scene.say("one").await.is_err());
    assert_eq!(scene.say("two").await.unwrap().content.as_deref(), Some("two"));
    assert_eq!(scene.count("initialize"), 2);
}

#[tokio::test]
async fn nobody_at_an_address_is_said_at_the_start() {
    let fault = Server::connect(settings("http://127.0.0.1:9/mcp".to_owned())).await.unwrap_err();
    assert!(fault.message.contains("MCP server `far`: it could not be spoken to"), "{fault}");
}
