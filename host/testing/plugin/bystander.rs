//! What stands beside a case: a clock that does not move, a meter, and nobody to hear of events.

use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{BoxFuture, Clock, Recorder};
use cofferdam_core::time::Timestamp;
use cofferdam_plugin::{HostCall, HostCalls, Spent, Tap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A wall clock that stands.
pub(super) struct Still(pub(super) Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }

    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(wait))
    }
}

/// Adds up what a case takes; whoever else watches hears of its calls.
pub(super) struct MeterOf {
    outer: Option<Tap>,
    spent: Mutex<Option<Spent>>,
}

impl MeterOf {
    pub(super) fn new(outer: Option<Tap>) -> Self {
        Self { outer, spent: Mutex::default() }
    }

    /// What was taken so far; none when nothing was called.
    pub(super) fn spent(&self) -> Option<Spent> {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostCalls for MeterOf {
    fn called(&self, call: HostCall) {
        if let Some(Tap(outer)) = &self.outer {
            outer.called(call);
        }
    }

    fn ended(&self, spent: Spent) {
        let mut sum = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let before = sum.unwrap_or(Spent { fuel: Some(0), memory_bytes: 0 });
        let fuel = before.fuel.zip(spent.fuel).map(|(before, fuel)| before.saturating_add(fuel));
        *sum = Some(Spent { fuel, memory_bytes: before.memory_bytes.max(spent.memory_bytes) });
    }
}

/// Nobody hears of what fails here: the failure is the outcome.
pub(super) struct Unheard;

impl Recorder for Unheard {
    fn record(&self, _: Body) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn observe(&self, _: Body) {}
}
