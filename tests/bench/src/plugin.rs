//! Cost of a plugin: a call with a fresh instance, and a load from the cache.

use crate::graph::Nowhere;
use crate::measure::{micros, micros_each, row};
use anyhow::{Context as _, Result, anyhow};
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, LocalName, RunId, StepPath};
use cofferdam_core::port::{
    BoxFuture, CancelFlag, Detached, Isolation as _, NoRedactor, Recorder, Tool as _, ToolContext,
};
use cofferdam_engine::TokioClock;
use cofferdam_plugin::{CacheDirs, HostSettings, LoadedPlugin, PluginHost, PluginReference, Source};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const CALLS: usize = 5_000;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let component: Arc<[u8]> = cofferdam_guests::built_bytes("echo")?.into();
    let bare = crate::bare::call(runtime, &component, CALLS).map_err(|error| anyhow!("{error:#}"))?;
    row("floor: bare wasmtime, fresh instance + call", &micros(bare, CALLS), "47 us");
    let plugin = runtime.block_on(host(dir.path()).load(reference(&component)))?;
    let (driven, spawned) = (calls(runtime, &plugin)?, calls_in_task(runtime, &plugin)?);
    row("tool call with a fresh instance, small JSON", &micros(spawned, CALLS), "60 us");
    row("the same, driven from outside the runtime", &micros(driven, CALLS), "");
    row("call against bare wasmtime", &format!("{:.2} x", micros_each(spawned, CALLS) / micros_each(bare, CALLS)), "");
    let load = cached_load(runtime, dir.path(), &component)?;
    row("cached component load", &format!("{:.2} ms", load.as_secs_f64() * 1e3), "1 ms");
    Ok(())
}

fn host(dir: &Path) -> PluginHost {
    PluginHost::new(HostSettings {
        clock: Arc::new(TokioClock::new()),
        cache: Some(CacheDirs { code: dir.join("code"), state: dir.join("state") }),
        compile_child: None,
        network: None,
        state: None,
        blobs: None,
        redactor: Arc::new(NoRedactor),
    })
}

fn reference(component: &Arc<[u8]>) -> PluginReference {
    let alias = Alias::parse("echo").expect("the name follows the grammar");
    PluginReference::new(alias, Source::Bytes(Arc::clone(component)))
}

async fn context() -> Result<ToolContext> {
    let run_id = RunId::parse("bench")?;
    let dirs = Nowhere.enter(&run_id, &StepPath::ROOT).await?;
    Ok(ToolContext {
        run: Arc::new(Detached::new(run_id.clone(), StepPath::from("step"))),
        run_id,
        path: StepPath::from("step"),
        attempt: 1,
        call_id: "1".into(),
        idempotency_key: "bench/step/1".into(),
        deadline: None,
        dirs,
        events: Arc::new(Deaf),
        cancel: CancelFlag::default(),
        narrowings: Arc::default(),
        tools: None,
        kept: Arc::default(),
        depth: 0,
    })
}

async fn call_often(plugin: Arc<LoadedPlugin>) -> Result<Duration> {
    let (ctx, name) = (context().await?, LocalName::parse("echo")?);
    let args = Arc::new(json!({ "value": "a small argument" }));
    plugin.call(ctx.clone(), &name, Arc::clone(&args)).await.context("the first call")?;
    let start = Instant::now();
    for _ in 0..CALLS {
        plugin.call(ctx.clone(), &name, Arc::clone(&args)).await?;
    }
    Ok(start.elapsed())
}

fn calls(runtime: &Runtime, plugin: &Arc<LoadedPlugin>) -> Result<Duration> {
    runtime.block_on(call_often(Arc::clone(plugin)))
}

fn calls_in_task(runtime: &Runtime, plugin: &Arc<LoadedPlugin>) -> Result<Duration> {
    runtime.block_on(runtime.spawn(call_often(Arc::clone(plugin))))?
}

/// The fastest of some loads, each by a host of its own, engine and threads not counted.
fn cached_load(runtime: &Runtime, dir: &Path, component: &Arc<[u8]>) -> Result<Duration> {
    let mut best = Duration::MAX;
    let host = host(dir);
    for _ in 0..20 {
        let start = Instant::now();
        let plugin = runtime.block_on(host.load(reference(component)))?;
        best = best.min(start.elapsed());
        drop(plugin);
    }
    Ok(best)
}

/// Records nothing.
struct Deaf;

impl Recorder for Deaf {
    fn record(&self, _: Body) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn observe(&self, _: Body) {}
}
