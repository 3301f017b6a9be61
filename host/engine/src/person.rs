//! The time that people take: it counts in no timeout.
//!
//! Whoever asks a person opens a question here for as long as it is open; whoever bounds time sleeps here.

use cofferdam_core::id::StepPath;
use cofferdam_core::port::Clock;
use cofferdam_core::time::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// When people were asked, and by which steps.
#[derive(Default)]
pub(crate) struct PersonTime {
    questions: Mutex<Vec<Asked>>,
    changed: Notify,
}

struct Asked {
    path: StepPath,
    who: Presence,
    from: Timestamp,
    to: Option<Timestamp>,
}

/// Whether somebody is there who may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Here,
    /// Nobody: the question waits for another day. The steps around it wait with it, but the run itself ends as soon as
    /// nothing else is left to do, so its own time goes on.
    Away,
}

impl Asked {
    /// Whether the question stops the time of the step at `path`.
    fn stops(&self, path: &StepPath) -> bool {
        path.holds(&self.path) && !(path.is_root() && self.who == Presence::Away)
    }
}

/// A question that is open as long as this lives.
pub(crate) struct Open {
    times: Arc<PersonTime>,
    clock: Arc<dyn Clock>,
    index: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        let now = self.clock.now();
        if let Some(asked) = self.times.questions().get_mut(self.index) {
            asked.to = Some(now);
        }
        self.times.changed.notify_waiters();
    }
}

impl PersonTime {
    fn questions(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a question of the step at `path`.
    pub(crate) fn ask(self: &Arc<Self>, path: StepPath, clock: &Arc<dyn Clock>, who: Presence) -> Open {
        let mut questions = self.questions();
        questions.push(Asked { path, who, from: clock.now(), to: None });
        Open { times: Arc::clone(self), clock: Arc::clone(clock), index: questions.len() - 1 }
    }

    /// How much of the time between two moments somebody was asked by the step at `path` or a step inside of it.
    pub(crate) fn within(&self, path: &StepPath, from: Timestamp, to: Timestamp) -> Duration {
        let questions = self.questions();
        let mut spans: Vec<(Timestamp, Timestamp)> = questions
            .iter()
            .filter(|asked| asked.stops(path))
            .map(|asked| (asked.from.max(from), asked.to.unwrap_or(to).min(to)))
            .filter(|(start, end)| start < end)
            .collect();
        drop(questions);
        spans.sort_unstable();
        let (mut sum, mut at) = (Duration::ZERO, from);
        for (start, end) in spans {
            sum += end.since(start.max(at));
            at = at.max(end);
        }
        sum
    }

    fn is_open(&self, path: &StepPath) -> bool {
        self.questions().iter().any(|asked| asked.to.is_none() && asked.stops(path))
    }

    /// Sleeps until the step at `path` has had `left` of its own time since `from`.
    pub(crate) async fn sleep(&self, clock: &Arc<dyn Clock>, path: &StepPath, from: Timestamp, left: Duration) {
        loop {
            let changed = self.changed.notified();
            let now = clock.now();
            let spent = now.since(from).saturating_sub(self.within(path, from, now));
            let rest = left.saturating_sub(spent);
            if rest.is_zero() {
                return;
            }
            if self.is_open(path) {
                changed.await;
            } else {
                clock.sleep(rest).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TokioClock;

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_person_extends_what_is_around_the_step_that_asks() {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let times = Arc::new(PersonTime::default());
        let (start, second) = (clock.now(), Duration::from_secs(1));
        let (asking, other) = (Arc::clone(&times), Arc::clone(&clock));
        let person = tokio::spawn(async move {
            other.sleep(second).await;
            let both = (
                asking.ask("a.ask".into(), &other, Presence::Here),
                asking.ask("a.again".into(), &other, Presence::Here),
            );
            other.sleep(second * 10).await;
            drop(both);
        });
        times.sleep(&clock, &"b".into(), start, second * 2).await;
        assert_eq!(clock.now().since(start), second * 2);
        times.sleep(&clock, &"a".into(), start, second * 2).await;
        assert_eq!(clock.now().since(start), second * 12);
        assert_eq!(times.within(&StepPath::ROOT, start, clock.now()), second * 10);
        person.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_asked_means_the_plain_time() {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let start = clock.now();
        PersonTime::default().sleep(&clock, &StepPath::ROOT, start, Duration::from_millis(70)).await;
        assert_eq!(clock.now().since(start), Duration::from_millis(70));
    }
}
