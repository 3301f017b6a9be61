//! How much one plugin may take at once of what all plugins share: threads and slots.
//!
//! Without it, whoever makes many calls has the others wait behind all of them. It must not know what the calls do.

use crate::engine::{Deadline, EPOCH_TICK};
use crate::runtime::threads;
use cofferdam_core::limits;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// The share of one plugin. Clones are the same share.
#[derive(Clone)]
pub(crate) struct Share {
    /// For computing: a guest has one only while it runs, never while it waits.
    turns: Arc<Semaphore>,
    /// For living: some of the engine's slots are always left to others.
    places: Arc<Semaphore>,
}

/// A place of the plugin. Dropping it gives it to the next call.
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// The share of a plugin on an engine with so many slots.
    pub(crate) fn of(slots: usize) -> Self {
        let places = limits::PLUGIN_SLOTS_EACH.min(slots.saturating_sub(slots / 4)).max(1);
        Self { turns: Arc::new(Semaphore::new(threads())), places: Arc::new(Semaphore::new(places)) }
    }

    /// Waits until fewer calls of the plugin are alive than may be.
    pub(crate) async fn place(&self) -> Place {
        Place { _permit: Arc::clone(&self.places).acquire_owned().await.ok() }
    }

    /// Runs a guest in turns with the other calls of its plugin: each time that it could go on, it waits for one. None
    /// when its time is over before it could: it is not resumed just to be told so, which would take a tick of everybody's
    /// time.
    pub(crate) async fn paced<T>(&self, deadline: Deadline, work: impl Future<Output = T>) -> Option<T> {
        let (mut work, mut waiting) = (pin!(work), None);
        poll_fn(|cx| {
            if deadline.is_past_by(EPOCH_TICK) {
                return Poll::Ready(None);
            }
            let turn = match waiting.as_mut() {
                Some(_) => None,
                None => match Arc::clone(&self.turns).try_acquire_owned() {
                    Ok(turn) => Some(turn),
                    Err(TryAcquireError::NoPermits) => {
                        waiting = Some(Box::pin(Arc::clone(&self.turns).acquire_owned()));
                        None
                    }
                    // Nobody closes it.
                    Err(TryAcquireError::Closed) => return Poll::Ready(None),
                },
            };
            let turn = match waiting.as_mut() {
                Some(queued) => ready!(queued.as_mut().poll(cx)).ok(),
                None => turn,
            };
            waiting = None;
            let answer = work.as_mut().poll(cx);
            drop(turn);
            answer.map(Some)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn deadline() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_guests_of_a_plugin_compute_at_once_than_there_are_turns() {
        let (share, now, most) = (Share::of(64), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let guests: Vec<_> = (0..4 * threads())
            .map(|_| {
                let (share, now, most) = (share.clone(), Arc::clone(&now), Arc::clone(&most));
                tokio::spawn(async move {
                    let work = async {
                        for _ in 0..50 {
                            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            std::thread::yield_now();
                            now.fetch_sub(1, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                        }
                        7
                    };
                    share.paced(deadline(), work).await
                })
            })
            .collect();
        for guest in guests {
            assert_eq!(guest.await.unwrap(), Some(7));
        }
        let most = most.load(Ordering::SeqCst);
        assert!((1..=threads()).contains(&most), "{most} at once");
    }

    #[tokio::test]
    async fn who_waits_for_something_has_no_turn() {
        let share = Share::of(64);
        let waiting: Vec<_> = (0..3 * threads())
            .map(|_| {
                let share = share.clone();
                tokio::spawn(async move { share.paced(deadline(), std::future::pending::<()>()).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(share.paced(deadline(), async { 1 }).await, Some(1));
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn who_is_late_is_not_resumed() {
        let share = Share::of(64);
        let late = Deadline::after(Duration::ZERO);
        while !late.is_past_by(EPOCH_TICK) {
            std::thread::yield_now();
        }
        let mut resumed = false;
        assert_eq!(share.paced(late, async { resumed = true }).await, None);
        assert!(!resumed);
    }

    #[test]
    fn some_slots_are_left_to_others() {
        for (slots, places) in [(64, 48), (8, 6), (1, 1), (1_000, 48)] {
            assert_eq!(Share::of(slots).places.available_permits(), places, "{slots}");
        }
    }
}
