//! How many requests go to a provider at once, how many in a minute, and when it wants to be left alone.
//!
//! It must not send. Whoever was refused speaks for all: a provider that answered 429 is left alone by every step and
//! every model of it.

use cofferdam_core::limits;
use cofferdam_core::port::Clock;
use serde::Deserialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What a user allows of a provider or a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests at once; at least 1.
    pub concurrency: Option<u32>,
    /// Requests begun in a minute, spread evenly; at least 1.
    pub requests_per_minute: Option<u32>,
}

impl Limits {
    /// What is wrong with them.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let each = [("concurrency", self.concurrency), ("requests_per_minute", self.requests_per_minute)];
        let (name, _) = each.into_iter().find(|(_, count)| *count == Some(0))?;
        Some(format!("`{name}` is 0, with which nothing would ever be asked"))
    }
}

/// The way to a provider or a model, which all requests to it share.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    closed_until: Mutex<Option<Instant>>,
    slots: Option<Arc<Semaphore>>,
    pace: Option<Pace>,
}

/// When the next request may begin.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// Takes the next place, and says how long it is until then.
    fn take(&self) -> Duration {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.max(now));
        *next = Some(at + self.interval);
        at - now
    }
}

impl Lane {
    /// A lane with these bounds.
    pub(crate) fn new(bounds: Limits) -> Self {
        let slots = bounds.concurrency.map(|count| usize::try_from(count.max(1)).unwrap_or(usize::MAX));
        let slots = slots.map(|count| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))));
        let interval = |count: u32| Duration::from_secs(60) / count.max(1);
        let pace = bounds.requests_per_minute.map(|count| Pace { interval: interval(count), next: Mutex::default() });
        Self { closed_until: Mutex::default(), slots, pace }
    }

    /// Waits until one more request may be under way; it is as long as what is given lives.
    pub(crate) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        // A semaphore that nobody closes gives its permits.
        Arc::clone(self.slots.as_ref()?).acquire_owned().await.ok()
    }

    /// Waits until a request may be sent: its turn has come, and the provider does not want to be left alone.
    pub(crate) async fn pass(&self, clock: &dyn Clock) {
        if let Some(wait) = self.pace.as_ref().map(Pace::take).filter(|wait| !wait.is_zero()) {
            clock.sleep(wait).await;
        }
        // Others may close it while this one waits, but not for ever.
        let mut until = None;
        for _ in 0..limits::MODEL_LANE_WAITS {
            let closed = *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(wait) = self.closed_for().filter(|_| closed != until) else {
                return;
            };
            until = closed;
            clock.sleep(wait).await;
        }
    }

    /// Leaves it alone for so long.
    pub(crate) fn close(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        *closed = Some(closed.map_or(until, |before| before.max(until)));
    }

    /// How long it is to be left alone from now on.
    pub(crate) fn closed_for(&self) -> Option<Duration> {
        let closed = *self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        closed.map(|until| until.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::port::BoxFuture;
    use cofferdam_core::time::Timestamp;
    use futures_util::FutureExt as _;

    /// Tokio's clock, which tests hold still.
    struct Paused;

    impl Clock for Paused {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }

        fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
            Box::pin(tokio::time::sleep(wait))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_spread_over_the_minute() {
        let lane = Lane::new(Limits { requests_per_minute: Some(120), ..Limits::default() });
        let begun = Instant::now();
        for number in 0..5_u32 {
            lane.pass(&Paused).await;
            assert_eq!(begun.elapsed(), Duration::from_millis(500) * number);
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        lane.pass(&Paused).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(62), "what was not used is not saved up");
    }

    #[tokio::test]
    async fn so_many_are_under_way_and_the_next_one_waits() {
        let lane = Lane::new(Limits { concurrency: Some(2), ..Limits::default() });
        let (first, _second) = (lane.enter().await, lane.enter().await);
        assert!(lane.enter().now_or_never().is_none());
        drop(first);
        assert!(lane.enter().now_or_never().is_some());
        assert!(Lane::default().enter().now_or_never().is_some_and(|entered| entered.is_none()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_closes_it_while_others_wait_is_heard_by_them() {
        let lane = Arc::new(Lane::default());
        lane.close(Duration::from_secs(2));
        let begun = Instant::now();
        let waiting = tokio::spawn({
            let lane = Arc::clone(&lane);
            async move { lane.pass(&Paused).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        lane.close(Duration::from_secs(5));
        waiting.await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(6));
    }

    #[test]
    fn nothing_at_once_is_refused() {
        assert!(Limits { concurrency: Some(0), ..Limits::default() }.fault().is_some());
        assert!(Limits { requests_per_minute: Some(1), ..Limits::default() }.fault().is_none());
    }
}
