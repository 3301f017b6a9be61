//! Permits by how deep a call is in calls of tools by tools, so that whoever waits for a deeper call never holds what that
//! one needs.
//!
//! With one heap of permits, as many outer calls as there are permits would all wait for inner ones that can never begin.

use cofferdam_core::limits;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits of some levels.
pub(crate) struct Levels {
    outer: Arc<Semaphore>,
    inner: Vec<Arc<Semaphore>>,
}

/// One permit. Dropping it gives it to who waits next.
pub(crate) struct Permit {
    _permit: Option<OwnedSemaphorePermit>,
}

impl From<OwnedSemaphorePermit> for Permit {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: Some(permit) }
    }
}

/// How many permits there are in all, with so many outer ones.
pub(crate) fn all(outer: usize) -> usize {
    outer.saturating_add(inner(outer).sum())
}

/// How many permits each deeper level has; none where there are few.
fn inner(outer: usize) -> impl Iterator<Item = usize> {
    let each = outer / limits::PLUGIN_INNER_SHARE;
    std::iter::repeat_n(each, limits::PLUGIN_INVOKE_DEPTH as usize).filter(|permits| *permits > 0)
}

impl Levels {
    /// Levels of which the outer one has so many permits, after `bound` was asked for each how many it may have.
    pub(crate) fn of(outer: usize, bound: impl Fn(usize) -> usize) -> Self {
        let level = |permits| Arc::new(Semaphore::new(bound(permits)));
        Self { outer: level(outer), inner: inner(outer).map(level).collect() }
    }

    /// Waits for a permit of this depth; 0 is who is called by no tool. Who is deeper takes an outer one if one is free, and
    /// else waits for those that only calls of its depth have.
    pub(crate) async fn take(&self, depth: u32) -> Permit {
        let deeper = (depth as usize).min(self.inner.len());
        let Some(own) = deeper.checked_sub(1).and_then(|level| self.inner.get(level)) else {
            return Permit { _permit: Arc::clone(&self.outer).acquire_owned().await.ok() };
        };
        match Arc::clone(&self.outer).try_acquire_owned() {
            Ok(permit) => permit.into(),
            Err(_) => Permit { _permit: Arc::clone(own).acquire_owned().await.ok() },
        }
    }

    /// How many are free.
    pub(crate) fn free(&self) -> usize {
        self.inner.iter().chain([&self.outer]).map(|level| level.available_permits()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn whoever_waits_for_a_deeper_call_leaves_it_a_permit() {
        let levels = Levels::of(16, |permits| permits);
        assert_eq!((levels.free(), all(16)), (20, 20));
        let outer: Vec<Permit> = (0..16).map(|_| levels.take(0).now_or_never().unwrap()).collect();
        assert!(levels.take(0).now_or_never().is_none());
        let deeper: Vec<Permit> = (1..=4).map(|depth| levels.take(depth).now_or_never().unwrap()).collect();
        assert!(levels.take(4).now_or_never().is_none());
        assert!(levels.take(9).now_or_never().is_none(), "who is deeper than may be waits with the deepest");
        drop((outer, deeper));
        assert_eq!(levels.free(), 20);
    }

    #[tokio::test]
    async fn deeper_calls_have_what_nobody_else_needs() {
        let levels = Levels::of(16, |permits| permits);
        let deeper: Vec<Permit> = (0..17).map(|_| levels.take(1).now_or_never().unwrap()).collect();
        assert!(levels.take(1).now_or_never().is_none());
        drop(deeper);
        assert_eq!(levels.free(), 20);
    }

    #[tokio::test]
    async fn a_few_permits_are_for_all_depths() {
        let levels = Levels::of(2, |permits| permits);
        assert_eq!(all(2), 2);
        let _taken = (levels.take(0).await, levels.take(3).await);
        assert!(levels.take(1).now_or_never().is_none());
    }
}
