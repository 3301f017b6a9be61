//! Workflow engines of the embedder's own: they order the steps, and everything else holds under them.

mod memory;

use crate::counting::Counting;
use crate::support::TestRuntime;
use cofferdam::core::event::{Body, RunEvent, RunReason, RunStatus, StepOutput, StepStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::AgentName;
use cofferdam::core::port::{BoxFuture, RecordBody};
use cofferdam::llm::Scripted;
use cofferdam::{
    EngineHandle, EngineRun, EngineStep, Error, Orchestrator, RunOptions, RunResult, Step, Workflow, WorkflowConfig,
    WorkflowEngine,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn runtime() -> TestRuntime {
    TestRuntime::quick()
}

type Drive = fn(EngineHandle) -> BoxFuture<'static, Result<(), Fault>>;

/// An engine that does what a function says, and keeps what it was prepared with.
#[derive(Clone)]
struct Doing(Drive, Arc<Mutex<Vec<Prepared>>>);

type Prepared = (WorkflowConfig, Vec<EngineStep>);

impl Doing {
    fn new(drive: Drive) -> Self {
        Self(drive, Arc::default())
    }
}

impl WorkflowEngine for Doing {
    fn prepare(&self, config: &WorkflowConfig, steps: &[EngineStep]) -> Result<Box<dyn EngineRun>, Fault> {
        self.1.lock().unwrap().push((config.clone(), steps.to_vec()));
        Ok(Box::new(self.clone()))
    }
}

impl EngineRun for Doing {
    fn drive(self: Box<Self>, run: EngineHandle) -> BoxFuture<'static, Result<(), Fault>> {
        (self.0)(run)
    }
}

/// One step at a time, the last ready one first.
fn backwards(run: EngineHandle) -> BoxFuture<'static, Result<(), Fault>> {
    Box::pin(async move {
        while let Some(name) = run.ready().pop() {
            run.run_step(&name, None).await?;
        }
        Ok(())
    })
}

fn with(engine: &Doing) -> Orchestrator {
    let model = Scripted::parse("chunk: 0\ndefault: { text: '[{{prompt}}]' }").unwrap();
    Orchestrator::builder().model(model).workflow_engine("default", engine.clone()).build().unwrap()
}

const FOUR: &str = "name: four
steps:
  - { id: a, instructions: A. }
  - { id: b, instructions: B. }
  - { id: c, dependsOn: [a], instructions: C. }
  - { id: d, dependsOn: [b], instructions: D. }";

fn path(result: &RunResult) -> Vec<&str> {
    result.execution_path.iter().map(cofferdam::core::id::StepPath::as_str).collect()
}

async fn run(orchestrator: &Orchestrator, document: &str) -> RunResult {
    let workflow = Workflow::parse(document, ".").unwrap();
    orchestrator.run_flow(&workflow, RunOptions::default()).await.unwrap()
}

#[test]
fn the_default_engine_replaces_ours_for_documents_and_built_workflows() {
    runtime().block_on(async {
        let engine = Doing::new(backwards);
        let orchestrator = with(&engine);
        let result = run(&orchestrator, FOUR).await;
        assert!(result.success());
        assert_eq!(path(&result), ["b", "d", "a", "c"]);
        let mut flow = orchestrator.parallel(&WorkflowConfig::new("built"));
        flow.add_step(Step::new("one").metadata("k", 1)).unwrap();
        flow.add_step(Step::new("two")).unwrap();
        assert_eq!(path(&flow.run("x").await.unwrap()), ["two", "one"]);
        let prepared = engine.1.lock().unwrap();
        assert_eq!((prepared[1].0.name.as_str(), prepared[1].0.mode), ("built", cofferdam::Mode::Parallel));
        assert_eq!(
            (prepared[0].1[2].name.as_str(), prepared[0].1[2].depends_on.as_slice()),
            ("c", &["a".to_owned()][..])
        );
        assert_eq!(prepared[1].1[0].metadata["k"], 1);
    });
}

#[test]
fn the_result_is_that_of_our_engine_but_for_the_order() {
    runtime().block_on(async {
        let ours = Orchestrator::builder()
            .model(Scripted::parse("chunk: 0\ndefault: { text: '[{{prompt}}]' }").unwrap())
            .build()
            .unwrap();
        let documents = [
            FOUR,
            "name: w\nsteps: [{ id: a, instructions: x, condition: 'false' }, { id: b, dependsOn: [a], instructions: y }]",
            "name: w\nsteps: [{ id: a, tool: read, args: { path: no-such-file } }, { id: b, dependsOn: [a], instructions: y }, { id: c, instructions: z }]",
            "name: w\nsteps: [{ id: l, loop: { forEach: [1, 2, 3] }, instructions: x }]",
            "name: w\nmode: loop\nloop: { maxIterations: 2 }\nsteps: [{ id: a, instructions: x }]",
            "name: w\nmode: sequential\nsteps: [{ id: a, instructions: x }, { id: b }]",
        ];
        for document in documents {
            let (one, other) = (run(&ours, document).await, run(&with(&Doing::new(backwards)), document).await);
            let outline = |result: &RunResult| -> Vec<(String, StepStatus, String)> {
                let of = |step: &cofferdam::StepResult| (step.path.to_string(), step.status, step.content.to_string());
                result.steps.iter().map(of).collect()
            };
            assert_eq!((one.status, outline(&one)), (other.status, outline(&other)), "{document}");
            assert_eq!(one.output, other.output, "{document}");
        }
    });
}

#[test]
fn a_document_chooses_its_engine_by_name() {
    runtime().block_on(async {
        let model = Scripted::answering("done");
        let orchestrator =
            Orchestrator::builder().model(model).workflow_engine("last-first", Doing::new(backwards)).build().unwrap();
        assert_eq!(path(&run(&orchestrator, FOUR).await)[0], "a");
        let named = |name: &str| format!("{FOUR}\noptions: {{ engine: {name}, maxConcurrency: 1 }}");
        assert_eq!(path(&run(&orchestrator, &named("last-first")).await)[0], "b");
        let config = WorkflowConfig { engine: Some("last-first".to_owned()), ..WorkflowConfig::new("w") };
        let mut flow = orchestrator.dag(&config);
        flow.add_step(Step::new("a")).unwrap();
        flow.add_step(Step::new("b")).unwrap();
        assert_eq!(path(&flow.run("x").await.unwrap()), ["b", "a"]);
        let unknown = Workflow::parse(&named("lastfirst"), ".").unwrap();
        for error in [
            orchestrator.run_flow(&unknown, RunOptions::default()).await.err().unwrap(),
            orchestrator.check_host(&unknown).await.err().unwrap(),
        ] {
            assert!(matches!(&error, Error::Refused(faults) if faults[0].code == "unknown_engine"), "{error}");
        }
    });
}

#[test]
fn an_engine_that_leaves_steps_fails_the_run_with_what_they_wait_for() {
    runtime().block_on(async {
        let drives: [(Drive, &str); 2] = [
            (
                |_| Box::pin(async { Ok(()) }),
                "`a` waits for the engine; `b` waits for the engine; `c` waits for `a`; `d` waits for `b`",
            ),
            (
                |run| Box::pin(async move { run.run_step("a", None).await.map(drop) }),
                "`b` waits for the engine; `c` waits for the engine; `d` waits for `b`",
            ),
        ];
        for (drive, left) in drives {
            let result = run(&with(&Doing::new(drive)), FOUR).await;
            assert_eq!((result.status, result.reason), (RunStatus::Failed, Some(RunReason::Deadlock)));
            let fault = result.error.unwrap().fault;
            assert_eq!(fault.code, "deadlock");
            assert!(fault.message.contains(left), "{fault}");
        }
    });
}

#[test]
fn an_engine_that_leaves_only_what_a_failure_cancelled_leaves_nothing() {
    runtime().block_on(async {
        let document = "name: w\nsteps: [{ id: a, tool: read, args: { path: no-such-file } }, { id: b, dependsOn: [a], instructions: x }]";
        let result = run(&with(&Doing::new(backwards)), document).await;
        assert_eq!((result.status, result.reason), (RunStatus::Failed, None));
    });
}

#[test]
fn an_engine_cannot_begin_what_must_wait_and_gives_messages() {
    runtime().block_on(async {
        let drive: Drive = |run| {
            Box::pin(async move {
                let refused = run.run_step("c", None).await.unwrap_err();
                assert_eq!(refused.message, "step `c` waits for `a`");
                assert!(run.run_step("nobody", None).await.is_err());
                assert_eq!(run.ready(), ["a", "b"]);
                let a = run.run_step("a", Some("from the engine")).await?;
                assert_eq!((&*a.output.content, a.status), ("[from the engine]", StepStatus::Completed));
                assert!(run.run_step("a", None).await.is_err(), "a step begins once");
                assert_eq!(run.ready(), ["b", "c"]);
                let both = (run.run_step("b", None), run.run_step("c", None));
                let (b, c) = tokio::join!(both.0, both.1);
                assert!(c?.output.content.contains("from the engine") && b.is_ok());
                assert!(run.journal().read(run.run_id(), 0, 1).await.is_ok());
                assert_eq!(run.steps().len(), 4);
                run.run_step("d", None).await.map(drop)
            })
        };
        let result = run(&with(&Doing::new(drive)), FOUR).await;
        assert!(result.success(), "{:?}", result.error);
    });
}

#[test]
fn an_engine_that_fails_or_panics_fails_the_run() {
    runtime().block_on(async {
        let drives: [(Drive, &str); 2] = [
            (|_| Box::pin(async { Err(Fault::step("mine", "the engine gave up")) }), "the engine gave up"),
            (|_| Box::pin(async { panic!("a broken engine") }), "panicked"),
        ];
        for (drive, wanted) in drives {
            let result = run(&with(&Doing::new(drive)), FOUR).await;
            assert_eq!(result.status, RunStatus::Failed);
            assert!(result.error.unwrap().fault.message.contains(wanted));
        }
    });
}

#[test]
fn an_engine_that_does_nothing_ends_with_its_run() {
    runtime().block_on(async {
        let orchestrator = with(&Doing::new(|_| Box::pin(std::future::pending())));
        let workflow = Workflow::parse(FOUR, ".").unwrap();
        let options = RunOptions { timeout: Some(Duration::from_secs(1)), ..RunOptions::default() };
        let result = orchestrator.run_flow(&workflow, options).await.unwrap();
        assert_eq!(result.error.unwrap().fault.code, "timeout");
    });
}

#[test]
fn what_an_engine_has_spawned_does_not_wait_for_a_run_that_never_began() {
    runtime().block_on(async {
        let (log, refused) = (Arc::default(), Arc::default());
        let orchestrator = Orchestrator::builder()
            .agent(AgentName::parse("own").unwrap(), Counting::failing("own", "initialize", &log))
            .workflow_engine("default", Spawning(Arc::clone(&refused)))
            .build()
            .unwrap();
        let mut flow = orchestrator.dag(&WorkflowConfig::new("w"));
        flow.add_step(Step::new("a").agent("own")).unwrap();
        assert!(flow.run("x").await.is_err());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(refused.load(Ordering::SeqCst), "the task waits for ever");
    });
}

/// Begins a step from a task of its own, as an engine may, and says when it is refused.
struct Spawning(Arc<AtomicBool>);

impl WorkflowEngine for Spawning {
    fn prepare(&self, _: &WorkflowConfig, _: &[EngineStep]) -> Result<Box<dyn EngineRun>, Fault> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

impl EngineRun for Spawning {
    fn drive(self: Box<Self>, run: EngineHandle) -> BoxFuture<'static, Result<(), Fault>> {
        tokio::spawn(async move {
            let ended = run.run_step("a", None).await;
            self.0.store(ended.is_err(), Ordering::SeqCst);
        });
        Box::pin(std::future::pending())
    }
}

#[test]
fn an_engine_is_told_how_the_workflow_was_made() {
    runtime().block_on(async {
        let engine = Doing::new(backwards);
        let orchestrator = with(&engine);
        let made = WorkflowConfig {
            max_iterations: 3,
            timeout: Some(Duration::from_secs(90)),
            max_concurrency: Some(2),
            ..WorkflowConfig::new("w")
        };
        let mut flow = orchestrator.looping(&made);
        flow.add_step(Step::new("a")).unwrap();
        assert!(flow.run("x").await.unwrap().success());
        let told = engine.1.lock().unwrap()[0].0.clone();
        assert_eq!(told, WorkflowConfig { mode: cofferdam::Mode::Loop, ..made });
    });
}

const TWO_AGENTS: &str = "name: w
agents:
  writer: { description: Writes., prompt: You write. }
  critic: { description: Reads., transform: { output: [trim] } }
steps:
  - { id: a, agent: writer, instructions: Write. }";

#[test]
fn an_engine_works_on_a_step_with_the_tools_and_agents_of_the_run() {
    runtime().block_on(async {
        let drive: Drive = |run| {
            Box::pin(async move {
                let ended = run.work_on("a", |step| async move {
                    assert_eq!((step.path().as_str(), step.attempt()), ("a", 1));
                    let names: Vec<String> = step.agents().iter().map(ToString::to_string).collect();
                    assert_eq!(names, ["critic", "writer"]);
                    assert!(step.tools().iter().any(|tool| tool.name == "read"));
                    let draft =
                        step.run_agent("writer", step.input().clone()).await.map_err(|failure| failure.fault)?;
                    let text = draft.output.content.to_string();
                    let review = step.run_agent("critic", text).await.map_err(|failure| failure.fault)?;
                    let found = step.call_tool("read", &serde_json::json!({ "path": "Cargo.toml" })).await?;
                    assert!(found.error.is_none(), "{found:?}");
                    let denied =
                        step.call_tool("write", &serde_json::json!({ "path": "out:x", "content": "x" })).await?;
                    assert_eq!(denied.error.unwrap().code, "tool_denied");
                    let unknown = step.run_agent("nobody", "x").await.unwrap_err().fault;
                    assert_eq!(unknown.code, "unknown_agent");
                    Ok(StepOutput { content: review.output.content, ..StepOutput::default() })
                });
                assert_eq!(ended.await?.status, StepStatus::Completed);
                Ok(())
            })
        };
        let model = Scripted::parse(USING).unwrap();
        let builder = Orchestrator::builder().model(model).workdir(".");
        let orchestrator = builder.workflow_engine("default", Doing::new(drive)).build().unwrap();
        let result = run(&orchestrator, TWO_AGENTS).await;
        assert!(result.success(), "{:?}", result.error);
        let output = result.final_output();
        assert!(output.starts_with("[ [") && output.contains("Write."), "trimmed by the critic alone: {output}");
        assert_eq!(result.total_tokens(), 10, "both agents count");
        let told = told_at(&orchestrator, &result, "a").await;
        let wanted = [
            "turn_started 1",
            "turn_finished 1",
            "turn_started 2",
            "turn_finished 2",
            "tool_call_started read",
            "tool_call_finished read",
            "step_finished",
        ];
        assert_eq!(
            told.iter().filter(|kind| wanted.contains(&kind.as_str())).collect::<Vec<_>>(),
            wanted.iter().collect::<Vec<_>>()
        );
        assert!(!told.contains(&"tool_call_started write".to_owned()));
        assert!(told.contains(&"permission_decided write".to_owned()));
    });
}

const USING: &str = "chunk: 0\ndefault: { text: ' [{{prompt}}] ', usage: { input: 2, output: 3 } }";

/// What the journal has of a step, in order.
async fn told_at(orchestrator: &Orchestrator, result: &RunResult, path: &str) -> Vec<String> {
    let page = orchestrator.runs().read(&result.run_id, 0, 1_000).await.unwrap();
    let events = page.records.into_iter().filter_map(|record| match record.body {
        RecordBody::Event(event) if event.path.as_str() == path => Some(event),
        _ => None,
    });
    let told = |event: &RunEvent| match &event.body {
        Body::TurnStarted { turn, .. } | Body::TurnFinished { turn, .. } => format!("{} {turn}", event.body.kind()),
        Body::ToolCallStarted { tool, .. }
        | Body::ToolCallFinished { tool, .. }
        | Body::PermissionDecided { tool, .. } => format!("{} {tool}", event.body.kind()),
        body => body.kind().to_owned(),
    };
    events.map(|event| told(&event)).collect()
}

#[test]
fn what_an_engine_does_for_a_step_is_bounded_retried_and_ends_with_it() {
    runtime().block_on(async {
        let drive: Drive = |run| {
            Box::pin(async move {
                let slow = run.work_on("slow", |step| async move {
                    // Also what it has spawned ends with the try.
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                        let late = step.run_agent("writer", "late").await.unwrap_err();
                        LATE.store(late.fault == Fault::cancelled(), Ordering::SeqCst);
                    });
                    std::future::pending().await
                });
                let flaky = run.work_on("flaky", |step| async move {
                    match step.attempt() {
                        1 => Err(Fault::retry("flaky", "try again")),
                        _ => Ok(StepOutput { content: "second".into(), ..StepOutput::default() }),
                    }
                });
                let broken = run.work_on("broken", |_| async { panic!("a broken engine") });
                let (slow, flaky, broken) = tokio::join!(slow, flaky, broken);
                assert_eq!(slow?.error.unwrap().code, "timeout");
                assert_eq!(&*flaky?.output.content, "second");
                assert_eq!(broken?.status, StepStatus::Failed);
                for (name, wanted) in [("loop", "a loop"), ("call", "a tool call"), ("group", "a group")] {
                    let refused = run.work_on(name, |_| async { Ok(StepOutput::default()) }).await.unwrap_err();
                    assert!(refused.message.contains(wanted), "{refused}");
                    run.run_step(name, None).await?;
                }
                Ok(())
            })
        };
        let document = "name: w
steps:
  - { id: slow, instructions: x, timeout: 1s }
  - { id: flaky, instructions: x, retries: 1 }
  - { id: broken, instructions: x }
  - { id: loop, instructions: x, loop: { forEach: [1] } }
  - { id: call, tool: read, args: { path: Cargo.toml } }
  - { id: group, steps: [{ id: in, instructions: x }] }
agents: { writer: { description: Writes. } }";
        let result = run(&with(&Doing::new(drive)), document).await;
        assert_eq!(result.status, RunStatus::Partial, "{:?}", result.error);
        assert_eq!(result.step("flaky").unwrap().attempts, 2);
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert!(LATE.load(Ordering::SeqCst), "nothing is done for a step that has ended");
    });
}

static LATE: AtomicBool = AtomicBool::new(false);

#[test]
fn the_error_of_an_engine_fails_the_run_also_when_no_step_is_left_to_begin() {
    runtime().block_on(async {
        let drives: [Drive; 2] = [
            |run| {
                Box::pin(async move {
                    while let Some(name) = run.ready().pop() {
                        run.run_step(&name, None).await?;
                    }
                    Err(Fault::step("mine", "the books do not balance"))
                })
            },
            |run| {
                Box::pin(async move {
                    let begun = ["a", "b", "c"].map(|name| run.run_step(name, None));
                    let [a, b, c] = begun;
                    for begun in [a, b, c] {
                        begun.await?;
                    }
                    let _last = futures_util::poll!(Box::pin(run.run_step("d", None)));
                    Err(Fault::step("mine", "the books do not balance"))
                })
            },
        ];
        for drive in drives {
            let result = run(&with(&Doing::new(drive)), FOUR).await;
            assert_eq!((result.status, result.reason), (RunStatus::Failed, None));
            let error = result.error.unwrap();
            assert_eq!((&*error.fault.message, error.step.is_root()), ("the books do not balance", true));
            assert!(result.steps.iter().all(|step| step.status == StepStatus::Completed));
        }
    });
}

#[test]
fn a_run_does_not_wait_long_for_an_engine_that_has_nothing_left_to_do() {
    runtime().block_on(async {
        let drive: Drive = |run| {
            Box::pin(async move {
                backwards(run).await?;
                std::future::pending().await
            })
        };
        let began = tokio::time::Instant::now();
        let result = run(&with(&Doing::new(drive)), FOUR).await;
        assert!(result.success() && began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(result.warnings.iter().any(|warning| warning.contains("did not return")), "{:?}", result.warnings);
    });
}
