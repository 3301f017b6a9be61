//! The time that people take: it counts in no timeout.
//!
//! Whoever asks a person opens a question here for as long as it is open; whoever bounds time sleeps here.

use cofferdam_core::id::StepPath;
use cofferdam_core::port::Clock;
use cofferdam_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// When people were asked, and by which steps; and who was at work while a question stood open.
#[derive(Default)]
pub(crate) struct PersonTime {
    times: Mutex<Times>,
    changed: Notify,
}

#[derive(Default)]
struct Times {
    questions: Vec<Asked>,
    /// When the run was no process's.
    outages: Spans,
    /// Tries under way, and those that ended while a question stood open that nobody here can answer.
    works: BTreeMap<u64, Span>,
    next_work: u64,
}

struct Asked {
    who: Presence,
    span: Span,
}

/// A time at a step; none = it goes on.
struct Span {
    path: StepPath,
    from: Timestamp,
    to: Option<Timestamp>,
}

/// Whether somebody is there who may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Here,
    /// Nobody: the question waits for another day. The steps around it wait with it as soon as nothing else is at work
    /// in them; a branch that hangs beside the question must have an end. The run itself ends as soon as nothing else is
    /// left to do, so its own time goes on.
    Away,
}

/// Moments in order, each pair apart from the next.
type Spans = Vec<(Timestamp, Timestamp)>;

impl Span {
    /// The part between two moments of what is inside of the step at `path`.
    fn part(&self, path: &StepPath, (from, to): (Timestamp, Timestamp)) -> Option<(Timestamp, Timestamp)> {
        let part = (self.from.max(from), self.to.unwrap_or(to).min(to));
        (path.holds(&self.path) && part.0 < part.1).then_some(part)
    }
}

/// The same moments without overlaps.
fn joined(mut spans: Spans) -> Spans {
    spans.sort_unstable();
    let mut joined: Spans = Vec::with_capacity(spans.len());
    for (from, to) in spans {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// What is left of the first without the second; both are joined.
fn without(spans: Spans, holes: &Spans) -> Spans {
    let mut left = Vec::with_capacity(spans.len());
    for (begun, to) in spans {
        let mut from = begun;
        for &(start, end) in holes.iter().filter(|(start, end)| *start < to && *end > begun) {
            if from < start {
                left.push((from, start));
            }
            from = from.max(end);
        }
        if from < to {
            left.push((from, to));
        }
    }
    left
}

impl Times {
    /// When the time of the step at `path` stood still, between two moments.
    fn stopped(&self, path: &StepPath, between: (Timestamp, Timestamp)) -> Spans {
        let asked = |who: Presence| -> Spans {
            let questions = self.questions.iter().filter(|asked| asked.who == who);
            joined(questions.filter_map(|asked| asked.span.part(path, between)).collect())
        };
        let mut stopped = asked(Presence::Here);
        let outage = |&(from, to): &(Timestamp, Timestamp)| (from.max(between.0), to.min(between.1));
        stopped.extend(self.outages.iter().map(outage).filter(|(from, to)| from < to));
        let away = if path.is_root() { Vec::new() } else { asked(Presence::Away) };
        if !away.is_empty() {
            let works = self.works.values().filter_map(|work| work.part(path, between)).collect();
            stopped.extend(without(away, &joined(works)));
        }
        joined(stopped)
    }

    /// Whether the time of the step at `path` stands still now.
    fn stands_still(&self, path: &StepPath) -> bool {
        let open = |who: Presence| {
            let open = self.questions.iter().filter(|asked| asked.who == who && asked.span.to.is_none());
            open.into_iter().any(|asked| path.holds(&asked.span.path))
        };
        let at_work = || self.works.values().any(|work| work.to.is_none() && path.holds(&work.path));
        open(Presence::Here) || !path.is_root() && open(Presence::Away) && !at_work()
    }

    /// Whether a question stood open since then that nobody here can answer.
    fn was_away(&self, since: Timestamp) -> bool {
        let away = self.questions.iter().filter(|asked| asked.who == Presence::Away);
        away.into_iter().any(|asked| asked.span.to.is_none_or(|to| to > since))
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
        if let Some(asked) = self.times.lock().questions.get_mut(self.index) {
            asked.span.to = Some(now);
        }
        self.times.changed.notify_waiters();
    }
}

/// A try that is under way as long as this lives.
pub(crate) struct AtWork {
    times: Arc<PersonTime>,
    clock: Arc<dyn Clock>,
    number: u64,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let now = self.clock.now();
        let mut times = self.times.lock();
        let Some(from) = times.works.get(&self.number).map(|work| work.from) else { return };
        if !times.was_away(from) {
            times.works.remove(&self.number);
        } else if let Some(work) = times.works.get_mut(&self.number) {
            work.to = Some(now);
        }
    }
}

impl PersonTime {
    fn lock(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says when the run was no process's: that counts for no step.
    pub(crate) fn stand_still(&self, outages: &[(Timestamp, Timestamp)]) {
        self.lock().outages = outages.to_vec();
    }

    /// Opens a question of the step at `path`.
    pub(crate) fn ask(self: &Arc<Self>, path: StepPath, clock: &Arc<dyn Clock>, who: Presence) -> Open {
        let questions = &mut self.lock().questions;
        questions.push(Asked { who, span: Span { path, from: clock.now(), to: None } });
        Open { times: Arc::clone(self), clock: Arc::clone(clock), index: questions.len() - 1 }
    }

    /// Says that a try of the step at `path` is under way.
    pub(crate) fn work(self: &Arc<Self>, path: StepPath, clock: &Arc<dyn Clock>) -> AtWork {
        let from = clock.now();
        let mut times = self.lock();
        let number = times.next_work;
        times.next_work += 1;
        times.works.insert(number, Span { path, from, to: None });
        let wakes = times.was_away(from);
        drop(times);
        if wakes {
            self.changed.notify_waiters();
        }
        AtWork { times: Arc::clone(self), clock: Arc::clone(clock), number }
    }

    /// How much of the time between two moments did not count for the step at `path`.
    pub(crate) fn within(&self, path: &StepPath, from: Timestamp, to: Timestamp) -> Duration {
        self.lock().stopped(path, (from, to)).iter().map(|(start, end)| end.since(*start)).sum()
    }

    fn is_open(&self, path: &StepPath) -> bool {
        self.lock().stands_still(path)
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
    async fn a_question_that_nobody_can_answer_stops_the_time_around_it_while_nothing_else_is_at_work() {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let times = Arc::new(PersonTime::default());
        let (start, second) = (clock.now(), Duration::from_secs(1));
        let _open = times.ask("g.ask".into(), &clock, Presence::Away);
        let first = times.work("g.a".into(), &clock);
        let (working, other) = (Arc::clone(&times), Arc::clone(&clock));
        let work = tokio::spawn(async move {
            other.sleep(second * 2).await;
            drop(first);
            other.sleep(second * 10).await;
            // It hangs, and is another's affair outside of the group.
            std::mem::forget((working.work("g.b".into(), &other), working.work("x".into(), &other)));
        });
        // Two seconds of work, ten of waiting, one of work.
        times.sleep(&clock, &"g".into(), start, second * 3).await;
        assert_eq!(clock.now().since(start), second * 13);
        assert_eq!(times.within(&"g".into(), start, clock.now()), second * 10);
        assert_eq!(times.within(&StepPath::ROOT, start, clock.now()), Duration::ZERO);
        work.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_asked_means_the_plain_time() {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let start = clock.now();
        PersonTime::default().sleep(&clock, &StepPath::ROOT, start, Duration::from_millis(70)).await;
        assert_eq!(clock.now().since(start), Duration::from_millis(70));
    }
}
