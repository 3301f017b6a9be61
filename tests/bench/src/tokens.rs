//! Tokens from a provider's socket to a sink, in each protocol, beside a loop that only reads the socket.

use crate::measure::{count, micros, processor_time, row};
use anyhow::{Context as _, Result, ensure};
use cofferdam::{Orchestrator, RunOptions, Workflow};
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{Ack, Batch, BoxFuture, Clock, Pressure, Sink, Want};
use cofferdam_engine::TokioClock;
use cofferdam_llm::select::{ProviderSettings, Settings};
use cofferdam_llm::{Api, ModelCatalog};
use cofferdam_model_server::ModelServer;
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The argument with which this program is the provider; its own work must not be counted.
pub(crate) const SERVE: &str = "--serve-models";

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let server = Server::start()?;
    let many = count(100_000, 100);
    let floor = bare(runtime, &server, many)?;
    row("a token, read from the socket and nothing else, processor time", &micros(floor, many), "");
    for api in Api::ALL {
        let (took, tokens) = through(runtime, &server, api, many, 1)?;
        ensure!(tokens == many, "{tokens} of {many} tokens came");
        let name = format!("a token from socket to NDJSON sink, {}", api.name());
        row(&name, &micros(took, many), "2 us");
    }
    let (tenth, _) = through(runtime, &server, Api::Chat, many / 10, 1)?;
    let (whole, _) = through(runtime, &server, Api::Chat, many, 1)?;
    row("ten times as many tokens", &format!("{:.1} x", whole.as_secs_f64() / tenth.as_secs_f64()), "11 x");
    let first = first_token(runtime)?;
    row("a first token, from its write to the sink, median", &format!("{:.2} ms", first.as_secs_f64() * 1e3), "1 ms");
    let one = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (streams, each) = (count(200, 5), count(1_000, 20));
    let (took, tokens) = through(&one, &server, Api::Chat, each, streams)?;
    let lost = (streams * each).saturating_sub(tokens);
    row(&format!("{streams} streams at once on one thread, a token"), &micros(took, streams * each), "");
    row("the same, tokens lost", &lost.to_string(), "0");
    Ok(())
}

/// Reads an answer with the HTTP client alone.
fn bare(runtime: &Runtime, server: &Server, tokens: usize) -> Result<Duration> {
    // The client wants to know who speaks TLS, also where nobody does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().http1_only().build()?;
    let body = format!(
        "{{\"model\":\"tokens-{tokens}\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}]}}"
    );
    let request =
        client.post(format!("{}/v1/chat/completions", server.root)).header("content-type", "application/json");
    let before = processor_time();
    runtime.block_on(async {
        let mut answer = request.body(body).send().await?.bytes_stream();
        while let Some(piece) = answer.next().await {
            std::hint::black_box(piece?);
        }
        anyhow::Ok(())
    })?;
    Ok(processor_time() - before)
}

/// Runs so many agents at once that are told so many tokens each: the processor's time, and the tokens that the sink got.
fn through(runtime: &Runtime, server: &Server, api: Api, tokens: usize, agents: usize) -> Result<(Duration, usize)> {
    let models = catalog(&server.address(api), api);
    let seen = Arc::new(Counting::default());
    let lines = Arc::new(cofferdam::sink::ndjson(std::io::sink())) as Arc<dyn Sink>;
    let orchestrator = Orchestrator::builder()
        .models(Arc::new(models))
        .max_concurrency(agents)
        .sink(lines)
        .sink(Arc::clone(&seen) as Arc<dyn Sink>)
        .build()?;
    let steps: String = (0..agents).map(|index| format!("  - {{ id: s{index}, instructions: Speak. }}\n")).collect();
    let workflow = Workflow::parse(&format!("name: speak\nmode: parallel\nsteps:\n{steps}"), ".")?;
    let options = RunOptions { model: Some(format!("there/tokens-{tokens}")), ..RunOptions::default() };
    let before = processor_time();
    let result = runtime.block_on(orchestrator.run_flow(&workflow, options))?;
    let took = processor_time() - before;
    ensure!(result.success(), "the run completes: {:?}", result.error);
    Ok((took, seen.deltas.load(Ordering::Relaxed)))
}

fn catalog(base_url: &str, api: Api) -> ModelCatalog {
    let settings =
        ProviderSettings { base_url: Some(base_url.to_owned()), api: Some(api), ..ProviderSettings::default() };
    let settings = Settings { providers: BTreeMap::from([("there".to_owned(), settings)]), ..Settings::default() };
    ModelCatalog::new(Arc::new(TokioClock::new()) as Arc<dyn Clock>).with_settings(settings)
}

/// How long a first token is under way.
fn first_token(runtime: &Runtime) -> Result<Duration> {
    let mut waits = (0..count(51, 3)).map(|_| one_first_token(runtime)).collect::<Result<Vec<_>>>()?;
    waits.sort_unstable();
    waits.get(waits.len() / 2).copied().context("there is a first token")
}

fn one_first_token(runtime: &Runtime) -> Result<Duration> {
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let models = catalog(&format!("http://{}/v1", listener.local_addr()?), Api::Chat);
        let seen = Arc::new(Counting::default());
        let orchestrator =
            Orchestrator::builder().models(Arc::new(models)).sink(Arc::clone(&seen) as Arc<dyn Sink>).build()?;
        let workflow = Workflow::parse("name: speak\nsteps:\n  - { id: s, instructions: Speak. }\n", ".")?;
        let options = RunOptions { model: Some("there/x".to_owned()), ..RunOptions::default() };
        let (written, result) = tokio::join!(serve_slowly(&listener), orchestrator.run_flow(&workflow, options));
        ensure!(result?.success(), "the run completes");
        let first = seen.first.lock().ok().and_then(|first| *first).context("a token came")?;
        Ok(first.saturating_duration_since(written?))
    })
}

/// Answers one request: its head, a while later its first token, and a while later its end. When the token was written.
async fn serve_slowly(listener: &TcpListener) -> Result<Instant> {
    let pause = Duration::from_millis(5);
    let (mut stream, _) = listener.accept().await?;
    // The request of a run this small comes in one piece.
    let _ = stream.read(&mut [0; 16_384]).await?;
    stream.set_nodelay(true)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").await?;
    tokio::time::sleep(pause).await;
    let written = Instant::now();
    stream.write_all(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n").await?;
    tokio::time::sleep(pause).await;
    stream.write_all(b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n").await?;
    Ok(written)
}

/// Counts tokens, and knows when the first one came.
#[derive(Default)]
struct Counting {
    deltas: AtomicUsize,
    first: Mutex<Option<Instant>>,
}

impl Sink for Counting {
    fn want(&self) -> Want {
        Want::new(Vec::new(), Pressure::Wait)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        let deltas = batch.events.iter().filter(|event| matches!(event.body, Body::OutputDelta { .. })).count();
        if deltas > 0 && self.deltas.fetch_add(deltas, Ordering::Relaxed) == 0 {
            let now = Instant::now();
            if let Ok(mut first) = self.first.lock() {
                first.get_or_insert(now);
            }
        }
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// This program in another process.
struct Server {
    child: Child,
    root: String,
}

impl Server {
    fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg(SERVE).stdout(Stdio::piped()).spawn()?;
        let mut root = String::new();
        BufReader::new(child.stdout.take().context("it is piped")?).read_line(&mut root)?;
        Ok(Self { child, root: root.trim().to_owned() })
    }

    /// Where a protocol is served.
    fn address(&self, api: Api) -> String {
        match api {
            Api::Chat | Api::Responses => format!("{}/v1", self.root),
            Api::Anthropic | Api::Gemini | Api::Ollama => self.root.clone(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves models for ever.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = ModelServer::start(Default::default()).await?;
        anstream::println!("{}", server.root());
        std::future::pending::<()>().await;
        Ok(())
    })
}
