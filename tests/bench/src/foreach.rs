//! Cost of an item of a `forEach` whose model answers at once, journal in memory.

use crate::graph::{ports, request, step, workflow};
use crate::measure::{best, count, micros, row};
use anyhow::Result;
use cofferdam_core::port::Model;
use cofferdam_core::spec::workflow::{ForEach, ItemFailure, Items, Loop, LoopKind, Step};
use cofferdam_engine::Executor;
use cofferdam_llm::Scripted;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let (few, many) = (count(1_000, 2), count(10_000, 4));
    let (small, large) = (items(runtime, few), items(runtime, many));
    row("forEach over 1 000 items, per item", &micros(small, few), "40 us");
    row("forEach over 10 000 items, per item", &micros(large, many), "40 us");
    let growth = large.as_secs_f64() / small.as_secs_f64();
    row("forEach over 10 000 items against 1 000", &format!("{growth:.1} x"), "12 x");
    Ok(())
}

fn items(runtime: &Runtime, count: usize) -> Duration {
    let items = Items::List(Arc::new((0..count).map(Value::from).collect()));
    let each = ForEach { items, max_concurrency: None, on_item_failure: ItemFailure::Stop };
    let repeat = Some(Loop { kind: LoopKind::ForEach(each), body: None });
    let workflow = workflow(vec![Step { repeat, ..step(0, Vec::new()) }]);
    let model: Arc<dyn Model> = Arc::new(Scripted::answering("done"));
    best(3, || {
        let (ports, request) = (ports(Arc::clone(&model)), request(&workflow, 5));
        let outcome =
            runtime.block_on(async { tokio::spawn(async move { Executor::new().run(ports, request).await }).await });
        let result = outcome.expect("the task does not panic").expect("the run starts");
        assert!(result.success(), "the run completes");
    })
}
