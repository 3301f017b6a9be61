//! Cost of a delta: from a model's stream to a sink that takes NDJSON.

use crate::graph::{ports, request, step, workflow};
use crate::measure::{count, micros, processor_time, row};
use anyhow::Result;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{BoxFuture, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream, Sink};
use cofferdam_engine::Executor;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let floor = spent(runtime, false)?;
    let whole = spent(runtime, true)?;
    row("delta without a sink, processor time", &micros(floor, deltas()), "");
    row("delta from provider to NDJSON sink, processor time", &micros(whole, deltas()), "2 us");
    Ok(())
}

fn deltas() -> usize {
    count(200_000, 40)
}

fn spent(runtime: &Runtime, with_sink: bool) -> Result<Duration> {
    let workflow = workflow(vec![step(0, Vec::new())]);
    let mut ports = ports(Arc::new(Talkative));
    if with_sink {
        ports.sinks = vec![Arc::new(cofferdam::sink::ndjson(std::io::sink())) as Arc<dyn Sink>];
    }
    let before = processor_time();
    let request = request(&workflow, 1);
    let result =
        runtime.block_on(async { tokio::spawn(async move { Executor::new().run(ports, request).await }).await })??;
    assert!(result.success(), "the run completes");
    Ok(processor_time() - before)
}

/// Says one word very often.
struct Talkative;

impl Model for Talkative {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "talkative".into(), is_language_model: false, summary: String::new() }
    }

    fn stream(&self, _: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        let deltas = (0..deltas()).map(|_| Ok(ModelEvent::Text("word ".to_owned())));
        let events = deltas.chain([Ok(ModelEvent::Finished(FinishReason::Stop))]);
        let stream = futures_util::stream::iter(events);
        // Gives way as a stream that comes over a network does.
        let paced =
            futures_util::StreamExt::then(futures_util::StreamExt::enumerate(stream), |(index, event)| async move {
                if index % 16 == 0 {
                    tokio::task::yield_now().await;
                }
                event
            });
        Box::pin(std::future::ready(Ok(Box::pin(paced) as ModelStream)))
    }
}
