//! Sinks: where the events of runs go.

use serde_json::Value;

use crate::context::Context;
use crate::error::Result;
use crate::plugin::Plugin;

/// A sink; the type must be `pub`. One value of it lives as long as its instance: the host opens it once, gives it one batch at a time, and
/// makes a new one after a crash. Durable events come at least once and in order within their run: `(run_id, seq)` is the
/// key.
///
/// ```
/// use cofferdam_sdk::{Ack, Batch, Context, Fake, Result, Sink, Want};
///
/// pub struct Count(usize);
///
/// impl Sink for Count {
///     fn open(_ctx: &Context, _config: &str) -> Result<(Self, Want)> {
///         Ok((Self(0), Want { kinds: vec!["step_*".into()], ..Want::default() }))
///     }
///
///     fn deliver(&mut self, _ctx: &Context, batch: &Batch) -> Result<Ack> {
///         self.0 += batch.events.len();
///         Ok(Ack::All)
///     }
/// }
///
/// cofferdam_sdk::plugin!(id = "acme/count", summary = "Counts events", sink = Count);
///
/// let ctx = Fake::new().context();
/// let (mut sink, want) = Count::open(&ctx, "{}")?;
/// assert_eq!(want.kinds, ["step_*"]);
/// assert_eq!(sink.deliver(&ctx, &Batch::default())?, Ack::All);
/// # Ok::<(), cofferdam_sdk::Error>(())
/// ```
pub trait Sink: Sized + 'static {
    /// Begins. `config` is the plugin's configuration as JSON, `{}` if there is none; see [`Context::config`].
    ///
    /// # Errors
    ///
    /// Why it cannot begin; the host tries again later.
    fn open(ctx: &Context, config: &str) -> Result<(Self, Want)>;

    /// Takes a batch.
    ///
    /// # Errors
    ///
    /// One that may be retried brings the same batch again after a wait; after any other the run goes on without the sink,
    /// which gets what it missed later if it is durable.
    fn deliver(&mut self, ctx: &Context, batch: &Batch) -> Result<Ack>;

    /// Makes safe what it holds back. Called before the end of a run.
    ///
    /// # Errors
    ///
    /// What could not be made safe.
    fn flush(&mut self, _ctx: &Context) -> Result<()> {
        Ok(())
    }

    /// Ends.
    fn close(&mut self, _ctx: &Context) {}
}

/// A plugin that is a sink. Implemented by [`plugin!`](crate::plugin!).
pub trait SinkPlugin: Plugin {
    /// The sink.
    type Sink: Sink;

    /// Works with the sink that is open, if one is.
    fn with<R>(work: impl FnOnce(&mut Option<Self::Sink>) -> R) -> R;
}

/// One event in its public form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    /// The run.
    pub run_id: String,
    /// Dense in a run; a transient event has that of the last durable one.
    pub seq: u64,
    /// Counts the transient events after `seq`; none for a durable one.
    pub sub: Option<u64>,
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What happened, e.g. `step_finished`.
    pub kind: String,
    /// The step, e.g. `build[2].test`; empty for the run itself.
    pub path: String,
    /// The whole event as JSON, as the command line's `--json` prints it.
    pub body: String,
}

impl Event {
    /// The whole event, parsed.
    ///
    /// # Errors
    ///
    /// Never, for an event that the host made.
    pub fn parsed(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.body)?)
    }
}

/// Events in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The same for each try of the same batch.
    pub id: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// The events.
    pub events: Vec<Event>,
    /// Events that it wanted and that were dropped since the last batch, more having
    /// come than wait for a sink. None for a durable sink, which gets them later.
    pub dropped_before: u64,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// All of it is handled.
    All,
    /// The first so many are; the rest comes again.
    First(u32),
    /// All is handled but these, by index and with the reason: they can never be delivered.
    Except(Vec<(u32, String)>),
}

/// What a sink wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// Kinds of events; a final `*` matches any rest; empty means all.
    pub kinds: Vec<String>,
    /// Most events of a batch; 0 leaves it to the host.
    pub max_batch_events: u32,
    /// Most bytes of the bodies of a batch; 0 leaves it to the host.
    pub max_batch_bytes: u32,
    /// How long the host may wait for a batch to fill, in milliseconds.
    pub max_linger_ms: u32,
    /// Durable events only.
    pub durable: bool,
}
