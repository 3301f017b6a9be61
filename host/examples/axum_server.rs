//! An orchestrator in a web server: built once, shared by all requests, closed with the server.
//!
//! `cargo run --example axum_server` asks itself three things at once and stops; a server of your own would serve on. It needs no
//! network and no key.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use cofferdam::llm::Scripted;
use cofferdam::{InputText, Orchestrator, RunOptions, Workflow};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const DOCUMENT: &str = "
name: answer
inputs: { question: { type: string } }
steps:
  - { id: think, input: 'Think about this: {{ inputs.question }}' }
  - { id: say, dependsOn: [think], instructions: Say it in a sentence. }
output: steps.say.content
";
const SCRIPT: &str = "
answers:
  - { step: think, text: '{{prompt}} I did.' }
  - { step: say, contains: tides, text: The moon pulls the water. }
  - { step: say, contains: locks, text: Gates lift a ship step by step. }
  - { step: say, error: { code: unknown, class: step, message: I do not know } }
";

/// What all requests share; clones are one.
#[derive(Clone)]
struct App {
    orchestrator: Orchestrator,
    workflow: Workflow,
}

/// `POST /ask {"question": ...}`: the answer of a run, and the run's id to look it up by.
async fn ask(State(app): State<App>, Json(body): Json<Value>) -> (StatusCode, Json<Value>) {
    let options = RunOptions {
        inputs: vec![("question".to_owned(), InputText::Value(body.get("question").cloned().unwrap_or_default()))],
        ..RunOptions::default()
    };
    // Nothing ran: the input is missing, or the server is closing.
    let result = match app.orchestrator.run_flow(&app.workflow, options).await {
        Ok(result) => result,
        Err(error) => return (StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() }))),
    };
    let status = if result.success() { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
    let error = result.error.as_ref().map(|error| error.fault.message.clone());
    (status, Json(json!({ "answer": result.output, "error": error, "run": result.run_id.to_string() })))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(&mut std::io::stdout()).await
}

pub(crate) async fn run(out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let app = App {
        orchestrator: Orchestrator::builder().model(Scripted::parse(SCRIPT)?).build()?,
        workflow: Workflow::parse(DOCUMENT, ".")?,
    };
    let orchestrator = app.orchestrator.clone();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, Router::new().route("/ask", post(ask)).with_state(app));
    let server = tokio::spawn(async move { server.with_graceful_shutdown(async { drop(stopped.await) }).await });

    let (tides, locks, nothing) = tokio::join!(
        request(address, r#"{"question": "Why are there tides?"}"#),
        request(address, r#"{"question": "How do locks work?"}"#),
        request(address, r#"{"question": 7}"#),
    );
    for (status, body) in [tides?, locks?, nothing?] {
        writeln!(out, "{status}: {}", said(&body))?;
    }
    let (status, body) = request(address, r#"{"question": "What is north of north?"}"#).await?;
    writeln!(out, "{status}: {}", said(&body))?;

    // First no new requests, then the runs that are under way.
    drop(stop);
    server.await??;
    let report = orchestrator.close().await;
    writeln!(out, "closed, with nothing left: {}", report.still_running.is_empty())?;
    Ok(())
}

/// The answer in a body, or why there is none.
fn said(body: &Value) -> &str {
    ["answer", "error"]
        .iter()
        .find_map(|key| body.get(key).and_then(Value::as_str).filter(|said| !said.is_empty()))
        .unwrap_or_default()
}

/// The status and body of an answer, asked for as any client would.
async fn request(address: SocketAddr, body: &str) -> Result<(u16, Value), Box<dyn std::error::Error>> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST /ask HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
    Ok((status, serde_json::from_str(body)?))
}
