//! The same work in four ways, side by side: counting words, asked for and answered in JSON, by a native tool, by a
//! component that stays up, by a fresh component, and by a program that is started for it.

use crate::bare::{self, Instance, Work};
use crate::measure::{Spread, count, micros, row, spread};
use crate::plugin::{context, hand_over, host, reference};
use anyhow::{Context as _, Result, anyhow, ensure};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::LocalName;
use cofferdam_core::port::{BoxFuture, Tool, ToolContext, ToolDefinition, ToolOutput};
use cofferdam_sdk::{Context, Payload, Plugin as _};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Runtime;

const TOOL: &str = "words";

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let args = Arc::new(json!({ "text": "the quick brown fox jumps over the lazy dog and runs away ".repeat(20) }));
    let dir = tempfile::tempdir()?;
    let component: Arc<[u8]> = cofferdam_guests::dist_bytes("text")?.into();
    let plugin = runtime.block_on(host(dir.path()).load(reference("text", &component)))?;
    let (many, few) = (count(3_000, 3), count(200, 2));
    let native = runtime.block_on(runtime.spawn(often(Arc::new(Native), Arc::clone(&args), many)))??;
    let work = Work { component: &component, tool: TOOL, args: &args.to_string(), calls: many };
    let warm = bare::call(runtime, &work, Instance::Warm).map_err(|error| anyhow!("{error:#}"))?;
    let bare = bare::call(runtime, &work, Instance::Fresh).map_err(|error| anyhow!("{error:#}"))?;
    let fresh = runtime.block_on(runtime.spawn(often(plugin, Arc::clone(&args), many)))??;
    let program = started(&args, few)?;
    let native_answer = &native.answer;
    ensure!(fresh.answer == *native_answer && program.answer == *native_answer, "they count differently");
    figure("word count, native tool", &native.spread, "");
    figure("word count, component that stays up (bare wasmtime)", &spread(warm), "");
    figure("word count, fresh component (bare wasmtime)", &spread(bare), "");
    figure("word count, fresh component (as a tool of the host)", &fresh.spread, "");
    let handed = hand_over(runtime, many)? / u32::try_from(many)?;
    row("of that, the hand-over to the guests' threads and back", &micros(handed, 1), "");
    row("the median without it", &micros(fresh.spread.median.saturating_sub(handed), 1), "60 us");
    figure("word count, program started for each call", &program.spread, "");
    let ratio = program.spread.median.as_secs_f64() / fresh.spread.median.as_secs_f64();
    row("program against fresh component", &format!("{ratio:.1} x"), "");
    Ok(())
}

fn figure(what: &str, spread: &Spread, goal: &str) {
    row(&format!("{what}, median"), &spread.median(), goal);
    row(&format!("{what}, p99"), &spread.p99(), "");
}

struct Measured {
    spread: Spread,
    answer: Value,
}

async fn often(tool: Arc<dyn Tool>, args: Arc<Value>, calls: usize) -> Result<Measured> {
    let (ctx, name) = (context().await?, LocalName::parse(TOOL)?);
    let first = tool.call(ctx.clone(), &name, Arc::clone(&args)).await?;
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        tool.call(ctx.clone(), &name, Arc::clone(&args)).await?;
        times.push(start.elapsed());
    }
    Ok(Measured { spread: spread(times), answer: Value::clone(&first.result) })
}

/// The code of the component, linked into this program.
struct Native;

impl Tool for Native {
    fn definitions(&self) -> &[ToolDefinition] {
        &[]
    }

    fn call<'a>(
        &'a self,
        _: ToolContext,
        name: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        let answer = plugin_text::Plugin::call(&Context::fake(), name.as_str(), &args.to_string());
        let answer = answer.map_err(|error| Fault::step("native", error.message().to_owned())).and_then(|output| {
            match output.value {
                Payload::Json(value) => Ok(ToolOutput { result: Arc::new(value), content: None }),
                _ => Err(Fault::bug("the word count is data")),
            }
        });
        Box::pin(std::future::ready(answer))
    }
}

fn started(args: &Value, calls: usize) -> Result<Measured> {
    let program = std::env::current_exe()?.with_file_name("cofferdam-bench-words");
    ensure!(program.exists(), "`{}` is not built; build the whole crate first", program.display());
    let (args, mut times, mut answer) = (args.to_string(), Vec::with_capacity(calls), Value::Null);
    for _ in 0..calls {
        let start = Instant::now();
        let mut child = Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().context("the child has a standard input")?.write_all(args.as_bytes())?;
        let output = child.wait_with_output()?;
        answer = serde_json::from_slice(&output.stdout)?;
        times.push(start.elapsed());
        ensure!(output.status.success(), "the program ended with {}", output.status);
    }
    Ok(Measured { spread: spread(times), answer })
}
