//! A call in one lane, until it ends or turns out to belong into another.
//!
//! It must not know what the call does: it looks at the time of the processor that it takes.

use crate::engine::EPOCH_TICK;
use crate::lane::{Lane, Pace};
use crate::runtime::{Lanes, Panicked};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A call in a lane.
pub(crate) struct Leg<T> {
    /// There until it ended or moved.
    parts: Option<Parts<T>>,
    /// Of the processor, in all legs.
    computed: Duration,
}

struct Parts<T> {
    work: Work<T>,
    lane: Lane,
    /// None for work that stays where it is.
    pace: Option<Pace>,
    answers: oneshot::Sender<Result<T, Panicked>>,
    course: Arc<Course>,
    /// Its timers belong to the lane where it began: none goes before it has ended.
    lanes: Arc<Lanes>,
}

impl<T: Send + 'static> Leg<T> {
    /// The first leg of a call that answers there.
    pub(crate) fn new(
        work: Work<T>,
        (lane, pace): (Lane, Option<Pace>),
        answers: oneshot::Sender<Result<T, Panicked>>,
        course: Arc<Course>,
        lanes: Arc<Lanes>,
    ) -> Self {
        Self { parts: Some(Parts { work, lane, pace, answers, course, lanes }), computed: Duration::ZERO }
    }

    /// Whether it has taken so long that short calls must not wait for it.
    fn is_long(&self) -> bool {
        self.computed >= EPOCH_TICK / 2
    }

    /// Goes on in another lane.
    fn moves(&mut self, mut parts: Parts<T>, lane: Lane) {
        parts.lane = lane;
        let (course, lanes) = (Arc::clone(&parts.course), Arc::clone(&parts.lanes));
        let next = Self { parts: Some(parts), computed: self.computed };
        course.goes_on(|| lanes.of(lane).spawn(next).abort_handle());
    }
}

impl<T: Send + 'static> Future for Leg<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut parts) = self.parts.take() else { return Poll::Ready(()) };
        // What the others of its component did meanwhile, while it waited for them.
        if let Some(lane) = parts.further() {
            self.moves(parts, lane);
            return Poll::Ready(());
        }
        let begun = processor_time();
        let polled = catch_unwind(AssertUnwindSafe(|| parts.work.as_mut().poll(cx)));
        self.computed += processor_time().saturating_sub(begun);
        match polled {
            Ok(Poll::Pending) if self.is_long() && parts.may_move() => {
                parts.note(true);
                self.moves(parts, Lane::Long);
            }
            Ok(Poll::Pending) => {
                self.parts = Some(parts);
                return Poll::Pending;
            }
            Ok(Poll::Ready(answer)) => {
                parts.note(self.is_long());
                parts.end(Ok(answer));
            }
            Err(payload) => parts.end(Err(Panicked(message(&*payload)))),
        }
        Poll::Ready(())
    }
}

impl<T> Parts<T> {
    fn may_move(&self) -> bool {
        self.pace.is_some() && self.lane != Lane::Long
    }

    /// Where calls of its component begin now, if that makes way for more than where it is.
    fn further(&self) -> Option<Lane> {
        self.pace.as_ref().map(Pace::lane).filter(|lane| *lane > self.lane)
    }

    fn note(&self, long: bool) {
        if let Some(pace) = &self.pace {
            pace.note(long);
        }
    }

    /// Lets everything of the call go before it answers: whoever has the answer may count on that.
    fn end(self, answer: Result<T, Panicked>) {
        let Self { work, answers, .. } = self;
        drop(work);
        let _ = answers.send(answer);
    }
}

/// The way of a call through the lanes, for whoever may end it.
#[derive(Default)]
pub(crate) struct Course(Mutex<Now>);

#[derive(Default)]
struct Now {
    leg: Option<AbortHandle>,
    is_over: bool,
}

impl Course {
    /// Begins the next leg, unless the call was ended.
    pub(crate) fn goes_on(&self, begin: impl FnOnce() -> AbortHandle) {
        let mut now = self.now();
        if !now.is_over {
            now.leg = Some(begin());
        }
    }

    /// Ends the call, wherever it is.
    pub(crate) fn end(&self) {
        let mut now = self.now();
        now.is_over = true;
        if let Some(leg) = now.leg.take() {
            leg.abort();
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this thread has computed so far. That it waited for a processor is no fault of its guest.
fn processor_time() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
