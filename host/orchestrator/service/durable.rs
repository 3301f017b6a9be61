//! A sink with a durable place: what it has taken of a run is remembered, and what it can never take is put aside.

use super::ServiceSink;
use cofferdam_core::event::RunEvent;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{Ack, Batch, BoxFuture, JournalError, Put, Rejection, Sink, State, Want};
use serde_json::json;
use std::sync::Arc;

/// Remembers a sink's place in each run, and keeps its dead letters.
pub(crate) struct DurableSink {
    sink: Arc<ServiceSink>,
    state: Arc<dyn State>,
}

impl DurableSink {
    pub(crate) fn new(sink: Arc<ServiceSink>, state: Arc<dyn State>) -> Self {
        Self { sink, state }
    }

    async fn pass(&self, mut batch: Batch) -> Result<Ack, Fault> {
        if !self.want().durable_only {
            let events = batch.events.clone();
            let ack = self.sink.deliver(batch).await?;
            self.put_aside(&events, &ack).await?;
            return Ok(ack);
        }
        let Some(first) = batch.events.first() else { return Ok(Ack::All) };
        let run = first.run_id.clone();
        let place = self.place(&run).await.map_err(|error| lost(&error))?;
        let count = batch.events.len();
        batch.events.retain(|event| event.seq > place);
        let known = count - batch.events.len();
        if batch.events.is_empty() {
            return Ok(Ack::All);
        }
        let events = batch.events.clone();
        let ack = self.sink.deliver(batch).await?;
        self.put_aside(&events, &ack).await?;
        if let Some(last) = ack.handled(events.len()).checked_sub(1).and_then(|last| events.get(last)) {
            self.remember(&run, last.seq).await.map_err(|error| lost(&error))?;
        }
        Ok(match ack {
            Ack::First(taken) => Ack::First(taken + known),
            Ack::Except { handled, rejected } => Ack::Except {
                handled: handled + known,
                rejected: rejected
                    .into_iter()
                    .map(|rejection| Rejection { index: rejection.index + known, ..rejection })
                    .collect(),
            },
            Ack::All => Ack::All,
        })
    }

    fn places(&self) -> String {
        format!("sink/{}", self.sink.alias())
    }

    /// The last event of a run that the sink has taken; 0 = none.
    async fn place(&self, run: &RunId) -> Result<u64, JournalError> {
        let entry = self.state.get(&self.places(), run.as_str()).await?;
        let text = entry.and_then(|entry| String::from_utf8(entry.value.to_vec()).ok());
        Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    async fn remember(&self, run: &RunId, seq: u64) -> Result<(), JournalError> {
        let value = Some(Arc::from(seq.to_string().into_bytes()));
        let put = Put { namespace: self.places(), key: run.to_string(), value, expected: None };
        self.state.put_if(put).await.map(drop)
    }

    /// Keeps what can never be delivered, before the sink's place moves past it.
    async fn put_aside(&self, events: &[Arc<RunEvent>], ack: &Ack) -> Result<(), Fault> {
        for Rejection { index, reason } in ack.rejected() {
            let Some(event) = events.get(*index) else { continue };
            let letter = json!({ "reason": reason, "event": event.as_ref() });
            let key = format!("{}/{:020}/{:020}", event.run_id, event.seq, event.sub.unwrap_or(0));
            let value = Some(Arc::from(letter.to_string().into_bytes()));
            let namespace = format!("dead-letters/{}", self.sink.alias());
            self.state.put_if(Put { namespace, key, value, expected: None }).await.map_err(|error| lost(&error))?;
        }
        Ok(())
    }
}

/// The state may be there again soon; the events come again then.
fn lost(error: &JournalError) -> Fault {
    Fault::retry("sink_place", format!("the place of a sink cannot be kept: {error}"))
}

impl Sink for DurableSink {
    fn want(&self) -> Want {
        self.sink.want()
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(self.pass(batch))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.sink.flush()
    }
}
