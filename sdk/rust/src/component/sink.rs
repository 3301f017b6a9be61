//! A sink's exports.

use super::bindings::cofferdam::types::common::PluginError;
use super::bindings::sink::exports::cofferdam::sink::sink as wit;
use super::{error_out, not_open, outside};
use crate::error::Result;
use crate::sink::{Ack, Batch, Event, Sink, SinkPlugin, Want};

impl<P: SinkPlugin> wit::Guest for P {
    fn open(config: String) -> Result<wit::Want, PluginError> {
        let (sink, want) = P::Sink::open(&outside(), &config).map_err(|error| error_out(&error))?;
        P::with(|open| *open = Some(sink));
        let Want { kinds, max_batch_events, max_batch_bytes, max_linger_ms, durable } = want;
        Ok(wit::Want { kinds, max_batch_events, max_batch_bytes, max_linger_ms, durable })
    }

    fn deliver(batch: wit::Batch) -> Result<wit::Ack, PluginError> {
        let batch = batch_in(batch);
        let ack = P::with(|open| match open {
            Some(sink) => sink.deliver(&outside(), &batch),
            None => Err(not_open()),
        });
        ack.map(ack_out).map_err(|error| error_out(&error))
    }

    fn flush() -> Result<(), PluginError> {
        let flushed = P::with(|open| open.as_mut().map_or(Ok(()), |sink| sink.flush(&outside())));
        flushed.map_err(|error| error_out(&error))
    }

    fn close() {
        if let Some(mut sink) = P::with(Option::take) {
            sink.close(&outside());
        }
    }
}

fn batch_in(batch: wit::Batch) -> Batch {
    let event = |event: wit::Event| Event {
        run_id: event.run_id,
        seq: event.seq,
        sub: event.sub,
        at_ms: event.at,
        kind: event.kind,
        path: event.path,
        body: event.body,
    };
    Batch {
        id: batch.batch_id,
        attempt: batch.attempt,
        events: batch.events.into_iter().map(event).collect(),
        dropped_before: batch.dropped_before,
    }
}

fn ack_out(ack: Ack) -> wit::Ack {
    match ack {
        Ack::All => wit::Ack::All,
        Ack::First(count) => wit::Ack::First(count),
        Ack::Except(rejected) => {
            wit::Ack::Except(rejected.into_iter().map(|(index, reason)| wit::Rejection { index, reason }).collect())
        }
    }
}
