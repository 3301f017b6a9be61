//! Writers and events for the tests of the views.

use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::port::Batch;
use cofferdam_core::time::Timestamp;
use std::io::{Error, ErrorKind, Result, Write};
use std::sync::{Arc, Mutex};

/// A writer whose bytes can be looked at.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A writer whose reader has left.
pub(super) struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> Result<usize> {
        Err(Error::from(ErrorKind::BrokenPipe))
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

pub(super) fn event(path: &str, body: Body) -> RunEvent {
    RunEvent {
        seq: 1,
        sub: None,
        at: Timestamp::from_millis(1_795_161_600_000),
        run_id: RunId::parse("r1").unwrap(),
        path: StepPath::from(path),
        attempt: Some(1),
        body,
    }
}

pub(super) fn later(path: &str, millis: i64, body: Body) -> RunEvent {
    let event = event(path, body);
    RunEvent { at: Timestamp::from_millis(event.at.as_millis() + millis), ..event }
}

pub(super) fn batch(events: &[RunEvent]) -> Batch {
    Batch { events: events.iter().cloned().map(Arc::new).collect(), dropped_before: 0 }
}
