//! Cost of a batch for a sink that stays up, beside a native sink that writes the same events as JSON.

use crate::measure::{micros, micros_each, row};
use anyhow::{Result, ensure};
use cofferdam_core::event::{Body, RunEvent, StepOutput, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, RunId, StepPath};
use cofferdam_core::message::Usage;
use cofferdam_core::port::{Ack, Batch, BoxFuture, NoRedactor, Pressure, Sink, Want};
use cofferdam_core::time::Timestamp;
use cofferdam_engine::TokioClock;
use cofferdam_plugin::{HostSettings, PluginHost, PluginReference, Source};
use serde_json::json;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const EVENTS: u64 = 100;
const BATCHES: usize = 2_000;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let component: Arc<[u8]> = cofferdam_guests::built_bytes("fickle")?.into();
    let reference = PluginReference {
        config: json!({ "do": "take" }),
        ..PluginReference::new(Alias::parse("sink")?, Source::Bytes(component))
    };
    let plugin = runtime.block_on(host().load(reference))?;
    let sink = runtime.block_on(plugin.sink())?;
    let native = runtime.block_on(deliver_often(&Native))?;
    let warm = runtime.block_on(deliver_often(&sink))?;
    row("floor: a native sink that writes a 100-event batch as JSON", &micros(native, BATCHES), "");
    row("warm sink delivery of a 100-event batch", &micros(warm, BATCHES), "150 us");
    row("warm against native", &format!("{:.2} x", micros_each(warm, BATCHES) / micros_each(native, BATCHES)), "");
    Ok(())
}

fn host() -> PluginHost {
    PluginHost::new(HostSettings { redactor: Arc::new(NoRedactor), ..HostSettings::alone(Arc::new(TokioClock::new())) })
}

/// The fastest of five rounds.
async fn deliver_often(sink: &dyn Sink) -> Result<Duration> {
    let batch = batch()?;
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..BATCHES {
            ensure!(sink.deliver(batch.clone()).await? == Ack::All, "it does not take the batch");
        }
        best = best.min(start.elapsed());
    }
    Ok(best)
}

fn batch() -> Result<Batch> {
    let run_id = RunId::parse("bench")?;
    let event = |seq| {
        let output = StepOutput { content: "what a step gave, in a sentence".into(), ..StepOutput::default() };
        let body = Body::StepFinished {
            status: StepStatus::Completed,
            output,
            error: None,
            usage: Usage::default(),
            truncated_inputs: Vec::new(),
        };
        let path = StepPath::from("step");
        Arc::new(RunEvent {
            seq,
            sub: None,
            at: Timestamp::from_millis(0),
            run_id: run_id.clone(),
            path,
            attempt: Some(1),
            body,
        })
    };
    Ok(Batch { events: (1..=EVENTS).map(event).collect(), dropped_before: 0 })
}

/// Writes events as JSON, to nowhere.
struct Native;

impl Sink for Native {
    fn want(&self) -> Want {
        Want::new(Vec::new(), Pressure::Drop)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(async move {
            for event in &batch.events {
                let text = serde_json::to_string(event.as_ref());
                black_box(text.map_err(|error| Fault::bug(error.to_string()))?);
            }
            Ok(Ack::All)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
