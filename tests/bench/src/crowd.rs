//! Many agents that wait for a model behind a socket: memory, time, and whether others get their turn meanwhile.

use crate::measure::{count, resident_kib, row};
use anyhow::{Context as _, Result, ensure};
use cofferdam::{Orchestrator, RunOptions, Workflow};
use cofferdam_core::port::Clock;
use cofferdam_engine::TokioClock;
use cofferdam_llm::ModelCatalog;
use cofferdam_llm::select::{ProviderSettings, Settings};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// The argument with which this program is the model's server; it has a process of its own, or its half of the sockets would
/// be counted.
pub(crate) const SERVE: &str = "--serve-slow-model";

/// How long the model thinks.
const THINKING: Duration = Duration::from_secs(3);
/// How often somebody else wants a turn.
const TICK: Duration = Duration::from_millis(10);

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let agents = count(9_000, 20);
    let server = Server::start(count(3_000, 30))?;
    let settings = ProviderSettings { base_url: Some(server.url.clone()), ..ProviderSettings::default() };
    let settings = Settings { providers: BTreeMap::from([("slow".to_owned(), settings)]), ..Settings::default() };
    let models = ModelCatalog::new(Arc::new(TokioClock::new()) as Arc<dyn Clock>).with_settings(settings);
    let orchestrator = Orchestrator::builder().models(Arc::new(models)).max_concurrency(agents).build()?;
    let steps: Vec<String> = (0..agents / 1_000 + 1).map(|group| scope(group, agents)).collect();
    let workflow = Workflow::parse(&format!("name: crowd\nsteps:\n{}", steps.concat()), ".")?;
    let options = RunOptions { model: Some("slow/any".to_owned()), ..RunOptions::default() };
    let (peak, late) = (AtomicU64::new(0), AtomicU64::new(0));
    let (before, started) = (resident_kib(), Instant::now());
    let result = runtime.block_on(async {
        tokio::select! {
            result = orchestrator.run_flow(&workflow, options) => result,
            () = watch(&peak, &late) => unreachable!("it watches for ever"),
        }
    })?;
    let took = started.elapsed();
    ensure!(result.success(), "the run completes: {:?}", result.error);
    let grown = peak.into_inner().saturating_sub(before) / 1_024;
    row(&format!("{agents} agents waiting for a model behind a socket"), &format!("{grown} MiB"), "160 MiB");
    let over = (took.as_secs_f64() / THINKING.as_secs_f64() - 1.0) * 100.0;
    row("the whole run against the model's time", &format!("{:.2} s, {over:+.0} %", took.as_secs_f64()), "+20 %");
    row("longest wait of another task for its turn", &format!("{} ms", late.into_inner()), "250 ms");
    Ok(())
}

/// Steps of a group: a scope has no more than a thousand.
fn scope(group: usize, all: usize) -> String {
    let steps: String = (group * 1_000..all.min((group + 1) * 1_000))
        .map(|index| format!("      - {{ id: s{index}, instructions: Think. }}\n"))
        .collect();
    if steps.is_empty() { steps } else { format!("  - id: g{group}\n    mode: parallel\n    steps:\n{steps}") }
}

/// Looks at the memory of this process and at how late it is itself.
async fn watch(peak: &AtomicU64, late: &AtomicU64) {
    loop {
        let asked = Instant::now();
        tokio::time::sleep(TICK).await;
        let waited = asked.elapsed().saturating_sub(TICK);
        late.fetch_max(u64::try_from(waited.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        peak.fetch_max(resident_kib(), Ordering::Relaxed);
    }
}

/// This program in another process.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(millis: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args([SERVE, &millis.to_string()]).stdout(Stdio::piped()).spawn()?;
        let mut port = String::new();
        BufReader::new(child.stdout.take().context("it is piped")?).read_line(&mut port)?;
        Ok(Self { child, url: format!("http://127.0.0.1:{}/v1", port.trim()) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers every request after so many milliseconds, for ever.
pub(crate) fn serve(millis: &str) -> Result<()> {
    let pause = Duration::from_millis(millis.parse().context("milliseconds")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        anstream::println!("{}", listener.local_addr()?.port());
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(answer(stream, pause));
        }
    })
}

async fn answer(mut stream: TcpStream, pause: Duration) -> std::io::Result<()> {
    const ANSWER: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"done\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let mut bytes = Vec::new();
    while !is_whole(&bytes) {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    tokio::time::sleep(pause).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ncontent-length:";
    stream.write_all(format!("{head} {}\r\n\r\n{ANSWER}", ANSWER.len()).as_bytes()).await
}

/// Whether the head and as much of a body as it promises are there.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()).is_none_or(|length: usize| body.len() >= length)
}
