//! A sink: takes the events of runs. One instance stays up, gets one batch at a time, and is replaced after a crash.

use cofferdam_sdk::{Ack, Batch, Context, Level, Result, Sink, Want};

/// The sink.
pub struct Failures;

impl Sink for Failures {
    fn open(_ctx: &Context, _config: &str) -> Result<(Self, Want)> {
        // With `durable` each event comes at least once: `(run_id, seq)` is its key.
        Ok((Self, Want { kinds: vec!["step_finished".into()], durable: true, ..Want::default() }))
    }

    fn deliver(&mut self, ctx: &Context, batch: &Batch) -> Result<Ack> {
        for event in &batch.events {
            if event.parsed()?["status"] == "failed" {
                ctx.log(Level::Warn, &format!("{} of {} failed", event.path, event.run_id));
            }
        }
        Ok(Ack::All)
    }
}

cofferdam_sdk::plugin!(id = "acme/__NAME__", summary = "Logs failures", sink = Failures);
