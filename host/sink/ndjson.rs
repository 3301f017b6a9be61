//! Events as lines of JSON, in the form of the journal's records.
//!
//! It must not choose among events: whoever reads it may count on every `seq`.

use super::Leaky;
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::port::{Ack, Batch, BoxFuture, Pressure, Sink, Want};
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// See [`super::ndjson()`].
pub struct Ndjson<W> {
    state: Mutex<State<W>>,
}

struct State<W> {
    writer: Leaky<W>,
    /// Kept, so that a batch costs no allocation.
    buffer: Vec<u8>,
}

impl<W: Write + Send> Ndjson<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { state: Mutex::new(State { writer: Leaky::new(writer), buffer: Vec::new() }) }
    }

    fn write(&self, batch: &Batch) -> Result<(), Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { writer, buffer } = &mut *state;
        buffer.clear();
        for event in &batch.events {
            serde_json::to_writer(&mut *buffer, &**event)
                .map_err(|error| Fault::bug(format!("an event is not JSON: {error}")))?;
            buffer.push(b'\n');
        }
        writer
            .write(buffer)
            .map_err(|error| Fault::new(Class::Run, "sink_write", format!("events cannot be written: {error}")))
    }
}

impl<W: Write + Send> Sink for Ndjson<W> {
    fn want(&self) -> Want {
        Want::new(Vec::new(), Pressure::Wait)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(std::future::ready(self.write(&batch).map(|()| Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Gone, Shared, batch, event};
    use super::*;
    use cofferdam_core::event::{Body, RunEvent};

    #[tokio::test]
    async fn every_event_is_one_line() {
        let out = Shared::default();
        let sink = super::super::ndjson(out.clone());
        let events =
            [event("", Body::StepReady {}), event("a", Body::Warning { code: "x".into(), message: "a\nb".into() })];
        assert_eq!(sink.deliver(batch(&events)).await, Ok(Ack::All));
        let text = out.text();
        let read: Vec<RunEvent> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, events);
    }

    #[tokio::test]
    async fn a_reader_that_leaves_is_no_fault() {
        let sink = super::super::ndjson(Gone);
        for _ in 0..2 {
            assert_eq!(sink.deliver(batch(&[event("", Body::StepReady {})])).await, Ok(Ack::All));
        }
    }
}
