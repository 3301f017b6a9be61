//! Memory of agents that wait for a slow model.

use crate::graph::{ports, request, step, workflow};
use crate::measure::{count, resident_kib, row};
use anyhow::Result;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{BoxFuture, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream};
use cofferdam_engine::Executor;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    for (count, goal) in [(count(1_000, 3), "12 KiB"), (count(10_000, 5), "12 KiB")] {
        let each = waiting(runtime, count)?;
        row(&format!("{count} agents waiting for a model, each"), &format!("{each:.1} KiB"), goal);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures are rounded for people")]
fn waiting(runtime: &Runtime, count: usize) -> Result<f64> {
    let workflow = workflow((0..count).map(|index| step(index, Vec::new())).collect());
    let model = Arc::new(Slow { asked: AtomicUsize::new(0), gate: Arc::new(Semaphore::new(0)) });
    let (ports, request) = (ports(Arc::clone(&model) as _), request(&workflow, count));
    let before = resident_kib();
    let run = runtime.spawn(async move { Executor::new().run(ports, request).await });
    while model.asked.load(Ordering::Relaxed) < count {
        std::thread::yield_now();
    }
    let grown = resident_kib().saturating_sub(before);
    model.gate.add_permits(count);
    let result = runtime.block_on(run)??;
    assert!(result.success(), "the run completes");
    Ok(grown as f64 / count as f64)
}

/// Answers when the gate opens.
struct Slow {
    asked: AtomicUsize,
    gate: Arc<Semaphore>,
}

impl Model for Slow {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "slow".into(), is_language_model: false, summary: String::new() }
    }

    fn stream(&self, _: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.gate.acquire().await.map_err(|_| Fault::cancelled())?.forget();
            let events = [Ok(ModelEvent::Text("done".to_owned())), Ok(ModelEvent::Finished(FinishReason::Stop))];
            Ok(Box::pin(futures_util::stream::iter(events)) as ModelStream)
        })
    }
}
