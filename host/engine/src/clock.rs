//! The clock of a host: the wall clock at its start, moved on by tokio's monotonic one. Paused with tokio's time.

use cofferdam_core::port::{BoxFuture, Clock, Randomness};
use cofferdam_core::time::Timestamp;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Real time, or tokio's paused time in tests.
#[derive(Debug)]
pub struct TokioClock {
    /// The wall clock and the monotonic clock at the first use.
    start: std::sync::OnceLock<(Timestamp, Instant)>,
}

impl TokioClock {
    /// A clock that starts with its first use.
    #[must_use]
    pub const fn new() -> Self {
        Self { start: std::sync::OnceLock::new() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let (wall, monotonic) = self.start.get_or_init(|| (wall_clock(), Instant::now()));
        wall.after(monotonic.elapsed())
    }

    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(wait))
    }
}

#[expect(clippy::disallowed_methods, reason = "the clock that everything else goes through")]
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Always the same number: retries without jitter, for tests.
#[derive(Clone, Copy, Debug)]
pub struct FixedRandomness(pub f64);

impl Randomness for FixedRandomness {
    fn unit(&self) -> f64 {
        self.0
    }
}
