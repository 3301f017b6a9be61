//! Cost of a delta: from a model's stream to a sink that takes NDJSON.

use crate::graph::{ports, request, step, workflow};
use crate::measure::{count, micros, processor_time, row};
use anyhow::Result;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{BoxFuture, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream, Sink};
use cofferdam_engine::Executor;
use futures_util::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

#[expect(clippy::cast_precision_loss, reason = "figures are rounded for people")]
pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let many = count(200_000, 40);
    let (bare, floor) = (alone(runtime, many), spent(runtime, many, 1, 0)?);
    let (tenth, whole) = (spent(runtime, many / 10, 1, 1)?, spent(runtime, many, 1, 1)?);
    row("delta of the model's stream alone, processor time", &micros(bare, many), "");
    row("delta without a sink, processor time", &micros(floor, many), "");
    row("delta from provider to NDJSON sink, processor time", &micros(whole, many), "2 us");
    let linear = whole.as_secs_f64() / tenth.as_secs_f64();
    row("ten times as many deltas", &format!("{linear:.1} x"), "11 x");
    let of_a_second = floor.saturating_sub(bare).as_secs_f64() / many as f64 * 1_000.0 * 100.0;
    row("what the loop takes of the time at 1 000 tokens a second", &format!("{of_a_second:.2} %"), "2 %");
    let three = best_of(5, || spent(runtime, count(5_000, 40), 3, 3))?;
    let shown = format!("{:.1} ms", three.as_secs_f64() * 1e3);
    row("3 agents x 5 000 deltas through three sinks", &shown, "15 ms");
    Ok(())
}

fn best_of(rounds: usize, mut work: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    (0..rounds).try_fold(Duration::MAX, |best, _| Ok(best.min(work()?)))
}

/// The stream of the model, read by nobody who does anything with it.
fn alone(runtime: &Runtime, deltas: usize) -> Duration {
    let before = processor_time();
    runtime.block_on(async {
        tokio::spawn(async move {
            let mut words = words(deltas);
            while let Some(word) = words.next().await {
                std::hint::black_box(word).expect("it speaks");
            }
        })
        .await
        .expect("the task does not panic");
    });
    processor_time() - before
}

fn spent(runtime: &Runtime, deltas: usize, agents: usize, sinks: usize) -> Result<Duration> {
    let workflow = workflow((0..agents).map(|index| step(index, Vec::new())).collect());
    let mut ports = ports(Arc::new(Talkative(deltas)));
    let sink = || Arc::new(cofferdam::sink::ndjson(std::io::sink())) as Arc<dyn Sink>;
    ports.sinks = (0..sinks).map(|_| sink()).collect();
    let before = processor_time();
    let request = request(&workflow, agents);
    let result =
        runtime.block_on(async { tokio::spawn(async move { Executor::new().run(ports, request).await }).await })??;
    assert!(result.success(), "the run completes");
    Ok(processor_time() - before)
}

/// One word so often.
fn words(deltas: usize) -> ModelStream {
    let deltas = (0..deltas).map(|_| Ok(ModelEvent::Text("word ".to_owned())));
    let events = deltas.chain([Ok(ModelEvent::Finished(FinishReason::Stop))]);
    // Gives way as a stream that comes over a network does.
    let paced = futures_util::stream::iter(events).enumerate().then(|(index, event)| async move {
        if index % 16 == 0 {
            tokio::task::yield_now().await;
        }
        event
    });
    Box::pin(paced)
}

/// Says it.
struct Talkative(usize);

impl Model for Talkative {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "talkative".into(), is_language_model: false, summary: String::new() }
    }

    fn stream(&self, _: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        Box::pin(std::future::ready(Ok(words(self.0))))
    }
}
