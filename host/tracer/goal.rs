//! The span of a goal, which lies around two runs: the one that plans, and the one of the plan.
//!
//! The runs know nothing of it. It ends after them, also where whoever pursued the goal let go of it before.

use super::{Span, SpanEnd, SpanId, SpanKind, State, Tracer, TracerSink};
use cofferdam_core::event::RunEvent;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::message::Usage;
use cofferdam_core::port::Clock;
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
            sink.tracer.start(&Span {
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
            });
            (Arc::clone(sink), id)
        };
        Self { spans: tracers.iter().map(begin).collect(), clock }
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

impl State {
    /// Ends a goal, or has the last of its runs end it.
    fn end_goal(&mut self, end: SpanEnd, tracer: &dyn Tracer) {
        // What never began belongs to nothing.
        let runs = &self.runs;
        self.goals.retain(|run, goal| *goal != end.id || runs.contains_key(run));
        if self.goals.values().any(|goal| *goal == end.id) {
            self.ended.insert(end.id, end);
        } else {
            tracer.end(&end);
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
