//! The span of a goal, which lies around two runs: the one that plans, and the one of the plan.
//!
//! The runs know nothing of it. It ends after them, also where whoever pursued the goal let go of it before.

use super::{Span, SpanEnd, SpanId, SpanKind, State, Tracer, TracerSink};
use cofferdam_core::event::RunEvent;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::message::Usage;
use cofferdam_core::port::Clock;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A goal that is pursued. Dropped before it has ended, it was cancelled.
pub(crate) struct GoalSpan {
    spans: Vec<(Arc<TracerSink>, SpanId)>,
    clock: Arc<dyn Clock>,
}

impl GoalSpan {
    /// Begins; the run is the one that plans.
    pub(crate) fn begin(tracers: &[Arc<TracerSink>], clock: Arc<dyn Clock>, run: &RunId) -> Self {
        let begin = |sink: &Arc<TracerSink>| {
            let id = sink.fresh();
            let span = Span {
                id,
                parent: None,
                kind: SpanKind::Goal,
                name: "goal".to_owned(),
                run_id: run.clone(),
                path: StepPath::ROOT,
                attempt: None,
                agent: None,
                model: None,
                tool: None,
                at: clock.now(),
            };
            survives(|| sink.tracer.start(&span)).then(|| (Arc::clone(sink), id))
        };
        Self { spans: tracers.iter().filter_map(begin).collect(), clock }
    }

    /// A run that is about to begin belongs to it.
    pub(crate) fn holds(&self, run: &RunId) {
        for (sink, id) in &self.spans {
            sink.state().goals.insert(run.clone(), *id);
        }
    }

    /// Ends, with the tokens of both runs.
    pub(crate) fn end(mut self, status: &'static str, error: Option<&Fault>, usage: Usage) {
        self.end_all(status, error, usage);
    }

    fn end_all(&mut self, status: &'static str, error: Option<&Fault>, usage: Usage) {
        for (sink, id) in self.spans.drain(..) {
            let end = SpanEnd { id, status, error: error.cloned(), usage, at: self.clock.now() };
            sink.state().end_goal(end, sink.tracer.as_ref());
        }
    }
}

impl Drop for GoalSpan {
    fn drop(&mut self) {
        self.end_all("cancelled", None, Usage::default());
    }
}

/// Calls a tracer from where nobody else looks after it; says whether it came back. One that panics hears no more of the goal.
fn survives(call: impl FnOnce()) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(call));
    if outcome.is_err() {
        tracing::warn!("a tracer panicked, and hears no more of the goal");
    }
    outcome.is_ok()
}

impl State {
    /// Ends a goal, or has the last of its runs end it.
    fn end_goal(&mut self, end: SpanEnd, tracer: &dyn Tracer) {
        // What never began belongs to nothing.
        let runs = &self.runs;
        self.goals.retain(|run, goal| *goal != end.id || runs.contains_key(run));
        if self.goals.values().any(|goal| *goal == end.id) {
            self.ended.insert(end.id, end);
        } else {
            survives(|| tracer.end(&end));
        }
    }

    /// A run has ended, and with it, perhaps, its goal.
    pub(super) fn leave_goal(&mut self, last: &RunEvent, tracer: &dyn Tracer) {
        let Some(goal) = self.goals.remove(&last.run_id) else { return };
        if self.goals.values().any(|other| *other == goal) {
            return;
        }
        if let Some(end) = self.ended.remove(&goal) {
            tracer.end(&SpanEnd { at: last.at, ..end });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracer::SpanEvent;
    use cofferdam_core::time::Timestamp;
    use std::sync::Mutex;

    /// Panics at the beginning or the end of a span.
    struct Panics {
        at: &'static str,
        called: Mutex<Vec<&'static str>>,
    }

    impl Panics {
        fn call(&self, what: &'static str) {
            self.called.lock().unwrap().push(what);
            assert_ne!(self.at, what, "a tracer that panics");
        }
    }

    impl Tracer for Panics {
        fn start(&self, _: &Span) {
            self.call("start");
        }

        fn event(&self, _: &SpanEvent) {}

        fn end(&self, _: &SpanEnd) {
            self.call("end");
        }
    }

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(5)
        }

        fn sleep(&self, _: std::time::Duration) -> cofferdam_core::port::BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn begin(tracers: &[Arc<Panics>]) -> GoalSpan {
        let sinks: Vec<_> =
            tracers.iter().map(|tracer| Arc::new(TracerSink::new(Arc::clone(tracer) as Arc<dyn Tracer>))).collect();
        GoalSpan::begin(&sinks, Arc::new(Still), &RunId::parse("r").unwrap())
    }

    #[test]
    fn a_tracer_that_panics_leaves_the_goal_and_other_tracers_alone() {
        let all = || ["start", "end", "never"].map(|at| Arc::new(Panics { at, called: Mutex::default() }));
        let heard =
            |tracers: &[Arc<Panics>; 3]| tracers.each_ref().map(|tracer| tracer.called.lock().unwrap().join(" "));
        let tracers = all();
        begin(&tracers).end("completed", None, Usage::default());
        assert_eq!(heard(&tracers), ["start", "start end", "start end"]);
        // Let go of while something else panics: a second panic would end the process.
        let tracers = all();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _span = begin(&tracers);
            panic!("whoever pursues the goal");
        }));
        assert!(outcome.is_err());
        assert_eq!(heard(&tracers), ["start", "start end", "start end"]);
    }
}
