//! The only time there is.

use super::BoxFuture;
use crate::time::Timestamp;
use std::time::Duration;

/// Gives the time and waits. Simulated in tests.
///
/// `now` is the wall clock and may jump; `sleep` measures its wait on a monotonic clock.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Waits. Dropping the future ends the wait.
    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()>;
}
