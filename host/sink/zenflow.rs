//! Events as lines of JSON with the names and fields of zenflow's event stream, version 1, for programs that read that.
//!
//! It must not invent what a run does not tell: what has no equal there is left out, and what is left out is in
//! `host/docs/zenflow.md`.

mod line;
mod mapping;

use super::{Leaky, LoopBounds};
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::plan::Plan;
use cofferdam_core::port::{Ack, Batch, BoxFuture, Pressure, Sink, Want};
use cofferdam_core::spec::workflow::Workflow;
use mapping::Mapping;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

/// See [`super::zenflow()`].
pub struct Zenflow<W> {
    state: Mutex<State<W>>,
}

struct State<W> {
    writer: Leaky<W>,
    mapping: Mapping,
    /// Kept, so that a batch costs no allocation.
    buffer: Vec<u8>,
}

impl<W: Write + Send> Zenflow<W> {
    pub(super) fn new(writer: W) -> Self {
        let state = State { writer: Leaky::new(writer), mapping: Mapping::default(), buffer: Vec::new() };
        Self { state: Mutex::new(state) }
    }

    /// With what the events of runs of this document do not tell: which loops repeat, and, when a run goes on, its name and
    /// the positions of its steps. Default: without.
    #[must_use]
    pub fn document(self, document: &Workflow) -> Self {
        let plan = Plan::new(&document.scope);
        let steps = plan.order().iter().filter_map(|index| document.scope.steps.get(*index));
        let steps = steps.map(|step| step.id.to_string()).collect();
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.mapping = Mapping::of(document.name.clone(), steps, LoopBounds::of(document));
        }
        self
    }

    fn write(&self, batch: &Batch) -> Result<(), Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { writer, mapping, buffer } = &mut *state;
        buffer.clear();
        for event in &batch.events {
            for line in mapping.tell(event) {
                serde_json::to_writer(&mut *buffer, &line)
                    .map_err(|error| Fault::bug(format!("an event is not JSON: {error}")))?;
                buffer.push(b'\n');
            }
        }
        writer
            .write(buffer)
            .map_err(|error| Fault::new(Class::Run, "sink_write", format!("events cannot be written: {error}")))
    }
}

impl<W: Write + Send> Sink for Zenflow<W> {
    fn want(&self) -> Want {
        Want::new(mapping::KINDS.map(str::to_owned).to_vec(), Pressure::Wait)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(std::future::ready(self.write(&batch).map(|()| Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests;
