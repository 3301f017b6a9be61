//! The archived sink: every import that sinks may have, and every acknowledgement.

use cofferdam_sdk::{Ack, Batch, Context, Result, Sink, Want};
use guest_kept::{Config, basics, http, kv, secrets, tell};
use serde_json::json;

/// The sink.
pub struct Kept {
    url: String,
}

impl Sink for Kept {
    fn open(ctx: &Context, config: &str) -> Result<(Self, Want)> {
        let config: Config = serde_json::from_str(config)?;
        let url = config.url;
        let report = json!({
            "config": basics(ctx, "sink"),
            "kv": kv(ctx),
            "secrets": secrets(ctx, &url),
            "http": http(ctx, &url),
        });
        tell(ctx, &url, &report)?;
        let kinds = vec!["step_*".into(), "run_finished".into()];
        Ok((Self { url }, Want { kinds, max_batch_events: 2, max_linger_ms: 1, durable: true, ..Want::default() }))
    }

    fn deliver(&mut self, ctx: &Context, batch: &Batch) -> Result<Ack> {
        let kinds: Vec<&str> = batch.events.iter().map(|event| event.kind.as_str()).collect();
        let ack = match kinds.as_slice() {
            ["run_finished"] => Ack::Except(vec![(0, "refused as asked".to_owned())]),
            [_] => Ack::All,
            _ => Ack::First(1),
        };
        let taken = if matches!(ack, Ack::All | Ack::First(_)) { kinds.first() } else { None };
        tell(ctx, &self.url, &json!({ "taken": taken, "attempt": batch.attempt }))?;
        Ok(ack)
    }

    fn flush(&mut self, ctx: &Context) -> Result<()> {
        tell(ctx, &self.url, &json!("flushed"))
    }
}

cofferdam_sdk::plugin!(id = "tests/kept-sink", config = Config, sink = Kept);
