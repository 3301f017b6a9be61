//! The clock and the random numbers of a pure call: both stand still, so that a repetition gives the same.
//!
//! Standard libraries import both, for seeds of hash tables for instance, so they are there and not refused.

use cofferdam_core::port::{PureContext, ToolContext};
use cofferdam_core::time::Timestamp;
use std::time::Duration;
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// How many random bytes there are before they repeat.
const PERIOD_BYTES: usize = 4096;
/// Separates these random numbers from others that derive from the same names.
const PURPOSE: &str = "cofferdam 2026 random numbers of pure plugins";

/// What a pure call sees of time and chance.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    now: Duration,
    seed: [u8; 32],
}

impl Frozen {
    /// As it is for a step of a run.
    pub(crate) fn of(ctx: &PureContext) -> Self {
        Self::new(ctx.now.as_millis(), &[ctx.run_id.as_str(), ctx.path.as_str()])
    }

    /// As it is for a call of a tool whose effects are played.
    pub(crate) fn rehearsed(now: Timestamp, ctx: &ToolContext) -> Self {
        Self::new(now.as_millis(), &[ctx.run_id.as_str(), ctx.path.as_str(), &ctx.idempotency_key])
    }

    /// As it is for a plugin that describes itself, which belongs to no run.
    pub(crate) fn outside() -> Self {
        Self::new(0, &[])
    }

    fn new(now_ms: i64, names: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(PURPOSE);
        for name in names {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
        }
        Self { now: Duration::from_millis(u64::try_from(now_ms).unwrap_or(0)), seed: *hasher.finalize().as_bytes() }
    }

    /// The moment at which the clock stands, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn apply(&self, wasi: &mut WasiCtxBuilder) {
        wasi.wall_clock(Still(self.now))
            .monotonic_clock(Still(Duration::ZERO))
            .secure_random(self.numbers("secure"))
            .insecure_random(self.numbers("insecure"))
            .insecure_random_seed(u128::from_le_bytes(self.bytes("seed")));
    }

    fn numbers(&self, what: &str) -> Deterministic {
        Deterministic::new(self.bytes::<PERIOD_BYTES>(what).to_vec())
    }

    fn bytes<const N: usize>(&self, what: &str) -> [u8; N] {
        let mut bytes = [0; N];
        blake3::Hasher::new_keyed(&self.seed).update(what.as_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }
}

/// A clock that stands.
struct Still(Duration);

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

impl HostMonotonicClock for Still {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_are_those_of_the_run_and_the_step() {
        let numbers = |run: &str, path: &str| Frozen::new(1, &[run, path]).bytes::<16>("secure");
        assert_eq!(numbers("r", "a"), numbers("r", "a"));
        assert_ne!(numbers("r", "a"), numbers("r", "b"));
        assert_ne!(numbers("ra", "b"), numbers("r", "ab"));
    }
}
