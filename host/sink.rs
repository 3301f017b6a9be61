//! Views of a run's events, each over a writer: NDJSON for machines, lines for people.
//!
//! They must not know where the writer leads, nor ask whether anybody reads it: a broken pipe ends the view, never
//! the run.

mod changed;
mod clean;
mod human;
mod narrator;
mod ndjson;
mod quantity;
mod rounds;
mod wanted;
mod zenflow;

pub use changed::{changed, overlaps};
pub use clean::clean;
pub use human::{Human, Paint};
pub use narrator::{Line, Narrator, Tone};
pub use ndjson::Ndjson;
pub use quantity::{bytes, duration, spent, tokens};
pub use rounds::{LoopBounds, iteration_of, iterations, loop_end};
pub use wanted::{awaited, wanted};
pub use zenflow::Zenflow;

use std::io::{ErrorKind, Result, Write};

/// Every event as one line of JSON. The run waits for the writer; nothing is left out.
pub fn ndjson<W: Write + Send + 'static>(writer: W) -> Ndjson<W> {
    Ndjson::new(writer)
}

/// What has an equal in zenflow's event stream as lines of JSON, with its names and fields. The run waits for the writer.
pub fn zenflow<W: Write + Send + 'static>(writer: W) -> Zenflow<W> {
    Zenflow::new(writer)
}

/// One line for each thing that a person wants to know: `10:31:02  scan[3]  completed  12 ms`.
pub fn human<W: Write + Send + 'static>(writer: W) -> Human<W> {
    Human::new(writer)
}

/// A writer whose reader may leave: what comes after that is dropped.
struct Leaky<W> {
    writer: W,
    gone: bool,
}

impl<W: Write> Leaky<W> {
    fn new(writer: W) -> Self {
        Self { writer, gone: false }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.gone {
            return Ok(());
        }
        match self.writer.write_all(bytes).and_then(|()| self.writer.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod testing;
