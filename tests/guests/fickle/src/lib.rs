//! A sink that does what its configuration says, and a model that does what its name says: what tests of supervision need, and what no plugin should do.

mod chatter;

use cofferdam_sdk::{Ack, Batch, Context, Error, ErrorKind, Result, Sink, Want};
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// What to do with a batch.
    #[serde(default, rename = "do")]
    act: Act,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Act {
    #[default]
    Take,
    /// Takes one event at a time.
    One,
    /// Refuses every second event for good.
    Odd,
    /// Crashes with the first try of each batch.
    TrapOnce,
    Trap,
    Loop,
    /// Takes more than there is.
    TakeMore,
    /// Refuses an event that there is not.
    RefuseMore,
    Fail,
    /// Does not open.
    Shut,
    /// Takes all, and does not close.
    Stay,
}

/// The sink.
pub struct Fickle {
    act: Act,
}

impl Sink for Fickle {
    fn open(_ctx: &Context, config: &str) -> Result<(Self, Want)> {
        let Config { act } = serde_json::from_str(config).map_err(|error| Error::invalid_input(error.to_string()))?;
        if matches!(act, Act::Shut) {
            return Err(Error::new(ErrorKind::Unavailable, "it stays shut"));
        }
        Ok((Self { act }, Want { kinds: vec!["step_*".into()], durable: true, ..Want::default() }))
    }

    fn deliver(&mut self, ctx: &Context, batch: &Batch) -> Result<Ack> {
        let count = u32::try_from(batch.events.len()).unwrap_or(u32::MAX);
        ctx.log(cofferdam_sdk::Level::Info, &format!("{count} events, try {}", batch.attempt));
        match self.act {
            Act::TrapOnce if batch.attempt == 1 => crash(),
            Act::Trap => crash(),
            Act::Loop => hang(),
            Act::One => Ok(Ack::First(1)),
            Act::Odd => Ok(Ack::Except((0..count).step_by(2).map(|index| (index, "it is odd".to_owned())).collect())),
            Act::TakeMore => Ok(Ack::First(count + 1)),
            Act::RefuseMore => Ok(Ack::Except(vec![(count, "it is not there".to_owned())])),
            Act::Fail => Err(Error::new(ErrorKind::Internal, "it does not want to")),
            Act::Take | Act::TrapOnce | Act::Shut | Act::Stay => Ok(Ack::All),
        }
    }

    fn close(&mut self, ctx: &Context) {
        if matches!(self.act, Act::Stay) {
            hang();
        }
        ctx.log(cofferdam_sdk::Level::Info, "it is closed");
    }
}

fn hang() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

#[expect(clippy::panic, reason = "it is what is tried")]
pub(crate) fn crash() -> ! {
    panic!("crash")
}

cofferdam_sdk::plugin!(id = "tests/fickle", config = Config, sink = Fickle, model = chatter::Chatter);
