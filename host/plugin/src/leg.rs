//! A call in one lane, until it ends or turns out to belong into another.
//!
//! It must not know what the call does: it looks at the time of the processor that each of its steps takes.

use crate::engine::EPOCH_TICK;
use crate::lane::{Counted, Lane, Pace};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A call in a lane.
pub(crate) struct Leg<T> {
    /// There until it ended or moved.
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    call: Counted,
    computed_long: bool,
    lane: Lane,
}

/// How a leg ended.
pub(crate) enum End<T> {
    /// With the call.
    Of(T),
    /// The call goes on in another lane.
    Moves(Leg<T>),
}

impl<T> Leg<T> {
    /// The first leg of a call.
    pub(crate) fn new(pace: &Pace, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)), lane: pace.lane(), call: pace.count(), computed_long: false }
    }

    /// Where it runs.
    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }
}

impl<T> Future for Leg<T> {
    type Output = End<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let begun = processor_time();
        let polled = work.as_mut().poll(cx);
        // Less than a tick, since the first may come at once.
        self.computed_long |= processor_time().saturating_sub(begun) >= EPOCH_TICK / 2;
        match polled {
            Poll::Ready(answer) => {
                self.call.pace().ended(self.computed_long);
                Poll::Ready(End::Of(answer))
            }
            Poll::Pending if self.computed_long && self.lane != Lane::Long => {
                let call = self.call.pace().count();
                Poll::Ready(End::Moves(Self { work: Some(work), call, computed_long: true, lane: Lane::Long }))
            }
            Poll::Pending => {
                self.work = Some(work);
                Poll::Pending
            }
        }
    }
}

/// What this thread has computed so far. That it waited for a processor is no fault of its guest.
fn processor_time() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
}
