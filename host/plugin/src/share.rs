//! How much one component may take at once of what all plugins share: threads and slots.
//!
//! Without it, whoever makes many calls has the others wait behind all of them. It must not know what the calls do.

use crate::engine::{Deadline, EPOCH_TICK, Engine};
use crate::lane::Pace;
use crate::levels::{Levels, Permit};
use crate::runtime::threads;
use cofferdam_core::limits;
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Poll, ready};
use tokio::sync::{Semaphore, TryAcquireError};

/// The share of one component. Clones are the same share.
#[derive(Clone)]
pub(crate) struct Share(Arc<Parts>);

struct Parts {
    /// For computing: a guest has one only while it runs, never while it waits.
    turns: Arc<Semaphore>,
    /// For living: some of the engine's slots are always left to others.
    places: Levels,
    pace: Pace,
}

/// Room for one instance. Dropping it gives it to the next.
pub(crate) struct Seat {
    _place: Permit,
    _slot: Permit,
}

/// The shares that are in use. A component that was loaded more than once has one.
pub(crate) struct Shares<K>(Mutex<HashMap<K, Weak<Parts>>>);

impl<K> Default for Shares<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash> Shares<K> {
    /// The share of this component, on an engine with so many slots.
    pub(crate) fn of(&self, component: K, slots: usize) -> Share {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parts) = shares.get(&component).and_then(Weak::upgrade) {
            return Share(parts);
        }
        shares.retain(|_, parts| parts.strong_count() > 0);
        let share = Share::of(slots);
        shares.insert(component, Arc::downgrade(&share.0));
        share
    }
}

impl Share {
    /// A share on an engine with so many slots.
    pub(crate) fn of(slots: usize) -> Self {
        let places = Levels::of(slots, |slots| limits::PLUGIN_SLOTS_EACH.min(slots.saturating_sub(slots / 4)).max(1));
        Self(Arc::new(Parts { turns: Arc::new(Semaphore::new(threads())), places, pace: Pace::default() }))
    }

    /// Waits until fewer calls of the component are alive than may be, and for a slot of the engine, at this depth of calls
    /// of tools by tools.
    pub(crate) async fn enter(&self, engine: &Engine, depth: u32) -> Seat {
        let _queued = self.0.pace.queue();
        let place = self.0.places.take(depth).await;
        Seat { _place: place, _slot: engine.slot(depth).await }
    }

    /// What its calls did lately.
    pub(crate) fn pace(&self) -> &Pace {
        &self.0.pace
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
                None => match Arc::clone(&self.0.turns).try_acquire_owned() {
                    Ok(turn) => Some(turn),
                    Err(TryAcquireError::NoPermits) => {
                        waiting = Some((Box::pin(Arc::clone(&self.0.turns).acquire_owned()), self.0.pace.queue()));
                        None
                    }
                    // Nobody closes it.
                    Err(TryAcquireError::Closed) => return Poll::Ready(None),
                },
            };
            let turn = match waiting.as_mut() {
                Some((turn, _)) => ready!(turn.as_mut().poll(cx)).ok(),
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
        for (slots, places) in [(64, 48 + 4 * 3), (8, 6), (1, 1), (1_000, 48 + 4 * 47)] {
            assert_eq!(Share::of(slots).0.places.free(), places, "{slots}");
        }
    }

    #[test]
    fn a_component_has_one_share_as_long_as_somebody_uses_it() {
        let shares = Shares::default();
        let (one, same, other) = (shares.of("a", 64), shares.of("a", 64), shares.of("b", 64));
        assert!(Arc::ptr_eq(&one.0, &same.0) && !Arc::ptr_eq(&one.0, &other.0));
        drop((one, same));
        drop(shares.of("c", 64));
        assert_eq!(shares.0.lock().unwrap().len(), 2);
    }
}
