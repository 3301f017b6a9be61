//! What an embedder plugs in and what goes wrong in it: a panic is the failure of its step alone, who ignores a
//! cancellation is left behind, a model that never ends is stopped, a sink that panics or stalls holds up nobody, and a
//! journal that fails ends the run with an error that names it.

use crate::support::{TestRuntime, close};
use cofferdam::core::event::{Body, RunStatus, StepStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{LocalName, RunId};
use cofferdam::core::limits::{CANCEL_GRACE_MS, MODEL_RESPONSE_BYTES, SINK_QUEUE_EVENTS};
use cofferdam::core::message::ToolCall;
use cofferdam::core::port::{
    Ack, Append, Batch, BlobId, BoxFuture, Effects, JournalError, Lease, LeaseRequest, Model, ModelEvent, ModelInfo,
    ModelRequest, ModelStream, Page, Pressure, RunFilter, RunPage, ToolContext, ToolDefinition, ToolOutput, Want,
};
use cofferdam::llm::Scripted;
use cofferdam::store::Memory;
use cofferdam::{Builder, Error, Journal, Orchestrator, RunOptions, RunResult, Sink, Tool, Workflow};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn runtime() -> TestRuntime {
    TestRuntime::threads(4)
}

async fn run(orchestrator: &Orchestrator, document: &str) -> Result<RunResult, Error> {
    let workflow = Workflow::parse(document, ".").unwrap();
    orchestrator.run_flow(&workflow, RunOptions::default()).await
}

/// A tool that panics.
struct Broken(Vec<ToolDefinition>);

impl Broken {
    fn new() -> Self {
        Self(vec![ToolDefinition {
            name: LocalName::parse("broken").unwrap(),
            title: None,
            description: "Panics.".into(),
            input_schema: Arc::new(json!({ "type": "object" })),
            output_schema: None,
            effects: Effects { read_only: true, ..Effects::default() },
            examples: Vec::new(),
        }])
    }
}

impl Tool for Broken {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.0
    }

    fn call<'a>(&'a self, _: ToolContext, _: &'a LocalName, _: Arc<Value>) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async { panic!("a broken tool") })
    }
}

/// What a model does when it is asked by a step called `odd`; other steps get an answer.
type Oddity = fn() -> BoxFuture<'static, Result<ModelStream, Fault>>;

struct Odd(Oddity, Scripted);

impl Odd {
    fn new(oddity: Oddity) -> Self {
        Self(oddity, Scripted::answering("fine"))
    }
}

impl Model for Odd {
    fn info(&self) -> ModelInfo {
        self.1.info()
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        if request.path.as_str() == "odd" { (self.0)() } else { self.1.stream(request) }
    }
}

fn builder(oddity: Oddity) -> Builder {
    Orchestrator::builder().model(Odd::new(oddity)).tool(Broken::new())
}

#[test]
fn a_panic_in_a_tool_or_a_model_fails_its_step_alone() {
    runtime().block_on(async {
        let orchestrator = builder(|| Box::pin(async { panic!("a broken model") })).build().unwrap();
        let document = "name: w
steps:
  - { id: odd, instructions: x }
  - { id: call, tool: broken, args: {} }
  - { id: good, instructions: x }
  - { id: after, dependsOn: [odd], instructions: x }";
        for _ in 0..2 {
            let result = run(&orchestrator, document).await.unwrap();
            assert_eq!(result.status, RunStatus::Partial);
            let status = |step: &str| result.step(step).unwrap().status;
            assert_eq!([status("odd"), status("call")], [StepStatus::Failed; 2]);
            assert_eq!([status("good"), status("after")], [StepStatus::Completed, StepStatus::Cancelled]);
            for (step, told) in [("odd", "step `odd` panicked"), ("call", "tool `broken` panicked")] {
                let fault = result.step(step).unwrap().error.clone().unwrap();
                assert!(fault.message.contains(told), "{fault}");
            }
        }
        close(&orchestrator).await;
    });
}

const GRACE: Duration = Duration::from_millis(CANCEL_GRACE_MS);

/// Never answers; never stops to look at its time; leaves work behind that nobody can end.
const IGNORING: [Oddity; 3] = [
    || Box::pin(std::future::pending()),
    || {
        Box::pin(async {
            loop {
                tokio::task::yield_now().await;
            }
        })
    },
    || {
        Box::pin(async {
            let _ = tokio::task::spawn_blocking(|| std::thread::sleep(GRACE * 4)).await;
            Err(Fault::step("late", "too late"))
        })
    },
];

#[test]
fn a_step_whose_model_ignores_its_time_limit_ends_within_the_grace() {
    for oddity in IGNORING {
        let runtime = runtime();
        runtime.block_on(async {
            let document =
                "name: w\nsteps: [{ id: odd, instructions: x, timeout: 200ms }, { id: good, instructions: x }]";
            let began = Instant::now();
            let result = run(&builder(oddity).build().unwrap(), document).await.unwrap();
            assert!(began.elapsed() < GRACE + Duration::from_secs(1), "{:?}", began.elapsed());
            assert_eq!(result.step("odd").unwrap().error.clone().unwrap().code, "timeout");
            assert_eq!(result.step("good").unwrap().status, StepStatus::Completed);
        });
        runtime.shutdown_background();
    }
}

#[test]
fn a_run_whose_model_ignores_cancellation_ends_within_the_grace() {
    for oddity in IGNORING {
        let runtime = runtime();
        runtime.block_on(async {
            let orchestrator = builder(oddity).build().unwrap();
            let closing = orchestrator.clone();
            let close = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(200)).await;
                closing.close().await
            });
            let began = Instant::now();
            let result = run(&orchestrator, "name: w\nsteps: [{ id: odd, instructions: x }]").await.unwrap();
            assert!(began.elapsed() < GRACE + Duration::from_secs(1), "{:?}", began.elapsed());
            assert_eq!(result.status, RunStatus::Cancelled);
            assert!(close.await.unwrap().still_running.is_empty());
        });
        runtime.shutdown_background();
    }
}

/// A journal that takes so many appends and fails from then on.
struct Failing {
    inner: Memory,
    left: AtomicUsize,
}

impl Failing {
    fn after(appends: usize) -> Arc<Self> {
        Arc::new(Self { inner: Memory::new(), left: AtomicUsize::new(appends) })
    }
}

impl Journal for Failing {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        let take = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            return Box::pin(std::future::ready(Err(JournalError::Unavailable("the disk is gone".to_owned()))));
        }
        self.inner.append(request)
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        self.inner.read(run, after, limit)
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        self.inner.list(filter)
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        self.inner.put_blob(id, bytes)
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        self.inner.get_blob(id)
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        self.inner.lease(request)
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.inner.delete(run)
    }
}

#[test]
fn a_journal_that_fails_ends_the_run_with_an_error_that_names_it() {
    runtime().block_on(async {
        let document = "name: w
steps:
  - { id: a, tool: glob, args: { pattern: '*.nothing' } }
  - { id: each, dependsOn: [a], loop: { forEach: [1, 2, 3, 4, 5, 6, 7, 8] }, instructions: x }
  - { id: z, dependsOn: [each], instructions: x }";
        // At once, and wherever it begins to fail while the run is under way.
        let mut failed = 0;
        for appends in 0..30 {
            let model = Scripted::answering("fine");
            let orchestrator = Orchestrator::builder().model(model).storage(Failing::after(appends)).build().unwrap();
            let outcome = tokio::time::timeout(Duration::from_secs(10), run(&orchestrator, document)).await.unwrap();
            match outcome {
                Ok(result) => assert!(result.success() && appends > 3),
                Err(error) => {
                    failed += 1;
                    let told = error.to_string();
                    assert!(told.contains("journal") && told.contains("the disk is gone"), "{told}");
                }
            }
            close(&orchestrator).await;
        }
        assert!(failed > 3, "{failed}");
    });
}

/// A model whose answer never ends: text, reasoning, calls of tools, nothing at all; and one that ends without saying so.
const ENDLESS: [Oddity; 4] = [
    || endless(|| ModelEvent::Text("and so on ".repeat(1_000))),
    || endless(|| ModelEvent::Reasoning("hm, ".repeat(10_000))),
    || {
        endless(|| {
            let arguments = format!("{{\"text\":\"{}\"}}", "x".repeat(10_000));
            ModelEvent::ToolCall(ToolCall { id: "c".to_owned(), name: "broken".to_owned(), arguments })
        })
    },
    || endless(|| ModelEvent::Text(String::new())),
];

fn endless(event: fn() -> ModelEvent) -> BoxFuture<'static, Result<ModelStream, Fault>> {
    let events = stream::repeat_with(move || Ok(event())).boxed();
    Box::pin(std::future::ready(Ok(events)))
}

#[test]
fn an_answer_that_never_ends_fails_its_step_alone() {
    let document = "name: w\nsteps: [{ id: odd, instructions: x }, { id: good, instructions: x }]";
    for oddity in ENDLESS {
        runtime().block_on(async {
            let orchestrator = builder(oddity).build().unwrap();
            let result = tokio::time::timeout(Duration::from_secs(60), run(&orchestrator, document)).await;
            let result = result.unwrap().unwrap();
            assert_eq!(result.step("good").unwrap().status, StepStatus::Completed);
            let step = result.step("odd").unwrap();
            let fault = step.error.clone().unwrap();
            assert_eq!((fault.code.as_ref(), step.attempts), ("model_answer_too_large", 1), "{fault}");
            assert!(fault.message.contains(&MODEL_RESPONSE_BYTES.to_string()), "{fault}");
        });
    }
}

#[test]
fn an_answer_that_ends_without_its_end_is_none() {
    let cut: Oddity = || {
        let events = stream::iter([Ok(ModelEvent::Text("half an ans".to_owned()))]).boxed();
        Box::pin(std::future::ready(Ok(events)))
    };
    runtime().block_on(async {
        let document = "name: w\nsteps: [{ id: odd, instructions: x }]";
        let result = run(&builder(cut).build().unwrap(), document).await.unwrap();
        let step = result.step("odd").unwrap();
        assert_eq!(step.status, StepStatus::Failed);
        assert_eq!(step.error.clone().unwrap().code, "model_truncated");
        assert!(!result.final_output().contains("half"), "{}", result.final_output());
    });
}

/// A document whose run has more durable events than wait for a sink.
fn many_events() -> String {
    let items = Vec::from_iter(0..SINK_QUEUE_EVENTS / 4);
    format!("name: w\nsteps: [{{ id: each, loop: {{ forEach: {items:?} }}, instructions: x }}]")
}

/// A sink that panics in one of its functions.
struct BrokenSink(&'static str, Pressure);

impl BrokenSink {
    fn at(&self, place: &str) {
        assert_ne!(self.0, place, "a broken sink");
    }
}

impl Sink for BrokenSink {
    fn want(&self) -> Want {
        self.at("want");
        Want::new(Vec::new(), self.1)
    }

    fn name(&self) -> String {
        self.at("name");
        "the broken sink".to_owned()
    }

    fn deliver(&self, _: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        self.at("deliver");
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.at("flush");
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Takes nothing before the last event of the run has come by another way, then all.
#[derive(Default)]
struct Stalled {
    over: tokio::sync::Notify,
    taken: Mutex<Vec<Batch>>,
}

impl Sink for Stalled {
    fn want(&self) -> Want {
        Want { durable_only: true, ..Want::new(Vec::new(), Pressure::Drop) }
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(async move {
            if self.taken.lock().unwrap().is_empty() {
                self.over.notified().await;
            }
            self.taken.lock().unwrap().push(batch);
            Ok(Ack::All)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Counts all durable events, and lets the other one go when the run ends.
struct Counts(Arc<Stalled>, AtomicUsize);

impl Sink for Counts {
    fn want(&self) -> Want {
        Want { durable_only: true, ..Want::new(Vec::new(), Pressure::Wait) }
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        self.1.fetch_add(batch.events.len(), Ordering::SeqCst);
        if batch.events.iter().any(|event| matches!(event.body, Body::RunFinished { .. })) {
            self.0.over.notify_one();
        }
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

async fn run_of_many_events(sinks: Vec<Arc<dyn Sink>>) -> RunResult {
    let orchestrator = Orchestrator::builder().model(Scripted::answering("fine")).build().unwrap();
    let workflow = Workflow::parse(&many_events(), ".").unwrap();
    let options = RunOptions { sinks, ..RunOptions::default() };
    let run = orchestrator.run_flow(&workflow, options);
    tokio::time::timeout(Duration::from_secs(120), run).await.expect("nobody holds it up").unwrap()
}

#[test]
fn a_sink_that_panics_is_a_warning_and_holds_up_nobody() {
    runtime().block_on(async {
        for (place, pressure) in [("deliver", Pressure::Wait), ("deliver", Pressure::Drop), ("name", Pressure::Wait)] {
            let broken = Arc::new(BrokenSink(place, pressure));
            let stalled = Arc::new(Stalled::default());
            let counts = Arc::new(Counts(Arc::clone(&stalled), AtomicUsize::new(0)));
            let result = run_of_many_events(vec![broken, Arc::clone(&counts) as _]).await;
            assert!(result.success());
            assert!(counts.1.load(Ordering::SeqCst) > SINK_QUEUE_EVENTS, "the other one has all");
            assert!(result.warnings.iter().any(|told| told.contains("sink panicked")), "{:?}", result.warnings);
        }
    });
}

#[test]
fn a_sink_that_stalls_misses_events_is_told_how_many_and_has_the_end() {
    runtime().block_on(async {
        let stalled = Arc::new(Stalled::default());
        let counts = Arc::new(Counts(Arc::clone(&stalled), AtomicUsize::new(0)));
        let result = run_of_many_events(vec![Arc::clone(&stalled) as _, Arc::clone(&counts) as _]).await;
        assert!(result.success() && result.warnings.is_empty(), "{:?}", result.warnings);
        let taken = stalled.taken.lock().unwrap();
        let events = taken.iter().flat_map(|batch| &batch.events);
        let (count, last) = (events.clone().count(), events.last().unwrap());
        let missed: u64 = taken.iter().map(|batch| batch.dropped_before).sum();
        assert!(missed > 0 && count < SINK_QUEUE_EVENTS + 1_000, "{count} events, {missed} missed");
        assert_eq!(count as u64 + missed, counts.1.load(Ordering::SeqCst) as u64);
        assert!(matches!(last.body, Body::RunFinished { .. }));
    });
}
