//! Spans of what happens in runs, for systems that collect traces.
//!
//! They are made from the events of a run alone, so a trace says no more than the record does, and what views must not show is
//! not in it. The library installs no collector.

mod goal;
mod spans;

pub(crate) use goal::GoalSpan;

use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::message::Usage;
use cofferdam_core::port::{Ack, Batch, BoxFuture, Pressure, Sink, Want};
use cofferdam_core::time::Timestamp;
use spans::Spans;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Takes spans. Calls come in the order of the events, beside the run, which does not wait for them.
pub trait Tracer: Send + Sync {
    /// A span begins.
    fn start(&self, span: &Span);

    /// Something happens within a span: a warning, a decision, a message.
    fn event(&self, event: &SpanEvent);

    /// A span ends; all spans within it have ended before.
    fn end(&self, end: &SpanEnd);
}

/// Names a span, unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub u64);

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A goal: around the run that plans and the run of the plan.
    Goal,
    /// A run, as this process has it: one that goes on later has a span for each process.
    Run,
    /// A step that works, asks, or holds others.
    Step,
    /// A step that goes through a list.
    Loop,
    /// One iteration of a loop.
    Iteration,
    /// An included document.
    Include,
    /// The coordinator of the run.
    Coordinator,
    /// A sub-agent.
    Agent,
    /// One question to a model, and its answer.
    Turn,
    /// One call of a tool, of a document or a model.
    ToolCall,
}

/// A span that begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its name among spans.
    pub id: SpanId,
    /// The span around it; none for a goal, and for a run that belongs to none.
    pub parent: Option<SpanId>,
    /// What it is about.
    pub kind: SpanKind,
    /// For people: the workflow, the step's path, the model, the tool.
    pub name: String,
    /// The run; of a goal, the one that plans.
    pub run_id: RunId,
    /// The step; the run itself has none.
    pub path: StepPath,
    /// The try of the step, from 1, where there is one.
    pub attempt: Option<u32>,
    /// The agent that works on a step.
    pub agent: Option<String>,
    /// The model of a turn.
    pub model: Option<Arc<str>>,
    /// The tool of a call, or of a step.
    pub tool: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Something that happened within a span.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEvent {
    /// In which span.
    pub span: SpanId,
    /// The kind of the run's event: `warning`, `permission_decided`, `step_retrying`.
    pub name: &'static str,
    /// For people.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

/// A span that ends.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanEnd {
    /// Which.
    pub id: SpanId,
    /// `completed`, `failed`, `skipped`, `cancelled`, `waiting`; `unknown` where the run ended before it said.
    pub status: &'static str,
    /// Why it failed.
    pub error: Option<Fault>,
    /// Tokens that were counted to it; of a sub-agent and the coordinator, those of their own turns.
    pub usage: Usage,
    /// When.
    pub at: Timestamp,
}

/// A tracer as a sink of events.
pub(crate) struct TracerSink {
    tracer: Arc<dyn Tracer>,
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Runs that are under way.
    runs: HashMap<RunId, Spans>,
    /// The goals that runs belong to.
    goals: HashMap<RunId, SpanId>,
    /// Goals that have ended before their runs did.
    ended: HashMap<SpanId, SpanEnd>,
}

impl TracerSink {
    pub(crate) fn new(tracer: Arc<dyn Tracer>) -> Self {
        Self { tracer, next: AtomicU64::new(1), state: Mutex::default() }
    }

    fn fresh(&self) -> SpanId {
        SpanId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for TracerSink {
    fn want(&self) -> Want {
        Want { durable_only: true, ..Want::new(Vec::new(), Pressure::Drop) }
    }

    fn name(&self) -> String {
        "the tracer".to_owned()
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        let mut state = self.state();
        let State { runs, goals, .. } = &mut *state;
        let mut over = Vec::new();
        for event in &batch.events {
            let run = &event.run_id;
            let spans = runs.entry(run.clone()).or_insert_with(|| Spans::within(goals.get(run).copied()));
            spans.take(event, self.tracer.as_ref(), &|| self.fresh());
            if spans.are_over() {
                runs.remove(run);
                over.push(event);
            }
        }
        over.into_iter().for_each(|event| state.leave_goal(event, self.tracer.as_ref()));
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Knows which spans are open.
    #[derive(Default)]
    struct Open(Mutex<HashSet<SpanId>>);

    impl Tracer for Open {
        fn start(&self, span: &Span) {
            assert!(self.0.lock().unwrap().insert(span.id), "{span:?} begins twice");
        }

        fn event(&self, event: &SpanEvent) {
            assert!(self.0.lock().unwrap().contains(&event.span), "{event:?} is in no open span");
        }

        fn end(&self, end: &SpanEnd) {
            assert!(self.0.lock().unwrap().remove(&end.id), "{end:?} ends what is not open");
        }
    }

    #[tokio::test]
    async fn a_tracer_keeps_the_laws_of_sinks_and_every_span_ends_also_of_what_it_missed_a_part() {
        let all = Mutex::new(Vec::new());
        let make = || {
            let open = Arc::new(Open::default());
            all.lock().unwrap().push(Arc::clone(&open));
            Arc::new(TracerSink::new(open)) as Arc<dyn Sink>
        };
        cofferdam_engine::contract::sink(make).await.unwrap();
        for open in all.into_inner().unwrap() {
            assert_eq!(*open.0.lock().unwrap(), HashSet::new());
        }
    }
}
