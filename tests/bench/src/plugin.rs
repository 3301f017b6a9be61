//! Cost of a call with a fresh instance, and the surroundings that calls need.

use crate::bare::{self, Instance, Work};
use crate::graph::Nowhere;
use crate::measure::{count, micros, micros_each, row};
use anyhow::{Context as _, Result, anyhow};
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, LocalName, RunId, StepPath};
use cofferdam_core::port::{
    BoxFuture, CancelFlag, Detached, Isolation as _, NoRedactor, Recorder, StepEntry, Tool as _, ToolContext,
};
use cofferdam_core::spec::workflow::IsolationMode;
use cofferdam_engine::TokioClock;
use cofferdam_plugin::{CacheDirs, HostSettings, LoadedPlugin, PluginHost, PluginReference, Source};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let component: Arc<[u8]> = cofferdam_guests::built_bytes("echo")?.into();
    let calls = count(5_000, 3);
    let work = Work { component: &component, tool: "echo", args: r#"{"value":"a small argument"}"#, calls };
    let bare = bare::call(runtime, &work, Instance::Fresh).map_err(|error| anyhow!("{error:#}"))?.iter().sum();
    row("floor: bare wasmtime, fresh instance + call", &micros(bare, calls), "47 us");
    let plugin = runtime.block_on(host(dir.path()).load(reference("echo", &component)))?;
    let driven = runtime.block_on(call_often(Arc::clone(&plugin), calls))?;
    let spawned = runtime.block_on(runtime.spawn(call_often(plugin, calls)))??;
    let handed = hand_over(runtime, calls)?;
    row("floor: hand-over to another runtime and back", &micros(handed, calls), "");
    row("tool call with a fresh instance, small JSON", &micros(spawned, calls), "");
    row("the same without the hand-over", &micros(spawned.saturating_sub(handed), calls), "60 us");
    row("the same, driven from outside the runtime", &micros(driven, calls), "");
    row("call against bare wasmtime", &format!("{:.2} x", micros_each(spawned, calls) / micros_each(bare, calls)), "");
    Ok(())
}

/// What two threads take to wake each other: guests run on threads of their own, and a call waits for one of them.
pub(crate) fn hand_over(runtime: &Runtime, times: usize) -> Result<Duration> {
    let other = tokio::runtime::Builder::new_multi_thread().build()?;
    let handle = other.handle().clone();
    let took = runtime.block_on(runtime.spawn(async move {
        let start = Instant::now();
        for _ in 0..times {
            handle.spawn(std::future::ready(())).await?;
        }
        Ok(start.elapsed())
    }))?;
    other.shutdown_background();
    took
}

pub(crate) fn host(dir: &Path) -> PluginHost {
    PluginHost::new(HostSettings {
        cache: Some(CacheDirs { code: dir.join("code"), state: dir.join("state") }),
        redactor: Arc::new(NoRedactor),
        ..HostSettings::alone(Arc::new(TokioClock::new()))
    })
}

pub(crate) fn reference(alias: &str, component: &Arc<[u8]>) -> PluginReference {
    let alias = Alias::parse(alias).expect("the name follows the grammar");
    PluginReference::new(alias, Source::Bytes(Arc::clone(component)))
}

pub(crate) async fn context() -> Result<ToolContext> {
    let run_id = RunId::parse("bench")?;
    let entry = StepEntry {
        run: run_id.clone(),
        step: StepPath::ROOT,
        attempt: 1,
        mode: IsolationMode::None,
        continues: false,
    };
    let dirs = Nowhere.enter(&entry).await?;
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
        agents: None,
        kept: Arc::default(),
        tool: None,
        depth: 0,
    })
}

pub(crate) async fn call_often(plugin: Arc<LoadedPlugin>, calls: usize) -> Result<Duration> {
    let (ctx, name) = (context().await?, LocalName::parse("echo")?);
    let args = Arc::new(json!({ "value": "a small argument" }));
    plugin.call(ctx.clone(), &name, Arc::clone(&args)).await.context("the first call")?;
    let start = Instant::now();
    for _ in 0..calls {
        plugin.call(ctx.clone(), &name, Arc::clone(&args)).await?;
    }
    Ok(start.elapsed())
}

/// Records nothing.
struct Deaf;

impl Recorder for Deaf {
    fn record(&self, _: Body) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn observe(&self, _: Body) {}
}
