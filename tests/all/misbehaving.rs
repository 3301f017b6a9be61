//! What an embedder plugs in and what goes wrong in it: a panic is the failure of its step alone, who ignores a
//! cancellation is left behind, and a journal that fails ends the run with an error that names it.

use crate::support::{TestRuntime, close};
use cofferdam::core::event::{RunStatus, StepStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{LocalName, RunId};
use cofferdam::core::limits::CANCEL_GRACE_MS;
use cofferdam::core::port::{
    Append, BlobId, BoxFuture, Effects, JournalError, Lease, LeaseRequest, Model, ModelInfo, ModelRequest, ModelStream,
    Page, RunFilter, RunPage, ToolContext, ToolDefinition, ToolOutput,
};
use cofferdam::llm::Scripted;
use cofferdam::store::Memory;
use cofferdam::{Builder, Error, Journal, Orchestrator, RunOptions, RunResult, Tool, Workflow};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
