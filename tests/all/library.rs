//! What embedders rely on: building starts nothing, runs do not see each other, streams end as runs do, closing is
//! final.

use crate::support::{TestRuntime, close, repository};
use cofferdam::core::event::{Changes, RunStatus, StepStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::permission::{Rule, Rules};
use cofferdam::core::port::{BoxFuture, Isolation, RunFilter, StepDirs, StepEntry, TryEnd};
use cofferdam::llm::Scripted;
use cofferdam::{
    Builder, ChunkKind, Error, InputText, Orchestrator, RunOptions, RunResult, Stream, StreamOptions, Undecided,
    Workflow,
};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

fn runtime() -> TestRuntime {
    TestRuntime::threads(2)
}

/// A runtime whose time stands still until nothing else is left to do.
pub(crate) fn quick() -> TestRuntime {
    TestRuntime::quick()
}

fn scripted(script: &str) -> Orchestrator {
    Orchestrator::builder().model(Scripted::parse(script).unwrap()).build().unwrap()
}

const ECHO: &str = "chunk: 0\ndefault: { text: '[{{prompt}}]' }";
const SLOW: &str = "default: { delay: 1h, text: too late }";
const ONE_STEP: &str = "name: one\nsteps: [{ id: a }]";

fn with_input(text: impl Into<String>) -> RunOptions {
    RunOptions { input: Some(text.into()), ..RunOptions::default() }
}

/// Threads and descriptors of this process.
fn resources() -> (usize, usize) {
    let count = |folder: &str| fs::read_dir(folder).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

/// Whether a test has a process for itself. It gets one where it has none: others of this binary start threads at any moment.
pub(crate) fn is_alone(test: &str) -> bool {
    const ALONE: &str = "COFFERDAM_TEST_ALONE";
    let alone = std::env::var_os(ALONE).is_some();
    if !alone {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--exact", test]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
    alone
}

#[test]
#[cfg(target_os = "linux")]
fn building_starts_nothing() {
    if !is_alone("library::building_starts_nothing") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let project = folder.path().join(".cofferdam");
    let before = resources();
    let orchestrator = Orchestrator::builder().project(&project).workdir(folder.path()).build().unwrap();
    let clone = orchestrator.clone();
    assert_eq!(resources(), before, "threads and descriptors");
    assert!(!project.exists(), "a directory was made");
    drop((orchestrator, clone));
    assert_eq!(resources(), before, "threads and descriptors at the end");
}

/// Gives no directories.
struct Nowhere;

impl Isolation for Nowhere {
    fn enter<'a>(&'a self, _: &'a StepEntry) -> BoxFuture<'a, Result<Arc<StepDirs>, Fault>> {
        Box::pin(async { Err(Fault::step("nowhere", "there is no directory")) })
    }

    fn leave<'a>(&'a self, _: &'a StepEntry, _: TryEnd) -> BoxFuture<'a, Option<Changes>> {
        Box::pin(async { None })
    }
}

#[test]
fn contradictory_settings_are_refused() {
    type Set = fn(Builder) -> Builder;
    const LOCKED: Undecided = Undecided { locked: true, strict: false };
    let contradictory: [(Set, Set, &str); 3] = [
        (
            |builder| builder.model(Scripted::answering("a")),
            |builder| builder.default_model("builtin/extract"),
            "both a model and the name of a default model",
        ),
        (
            |builder| builder.isolation(Arc::new(Nowhere)),
            |builder| builder.workdir("."),
            "a working directory is given, and an isolation that has its own",
        ),
        (|builder| builder.undecided(LOCKED), |builder| builder, "only locked plugins shall run"),
    ];
    for (one, other, says) in contradictory {
        let refused = other(one(Orchestrator::builder())).build().err();
        assert!(matches!(&refused, Some(Error::Settings(message)) if message.contains(says)), "{refused:?}");
    }
    // Each of them is none by itself.
    for (one, other, _) in &contradictory[..2] {
        assert!(one(Orchestrator::builder()).build().is_ok() && other(Orchestrator::builder()).build().is_ok());
    }
    assert!(Orchestrator::builder().undecided(LOCKED).lock("cofferdam.lock").build().is_ok());
}

#[test]
fn two_hundred_runs_at_once_see_their_own_data_only() {
    runtime().block_on(async {
        let orchestrator = scripted(ECHO);
        let workflow = Workflow::parse(
            "name: mine\nsteps:\n  - { id: first }\n  - { id: second, dependsOn: [first] }\n  - { id: third, dependsOn: [second], instructions: End. }",
            ".",
        )
        .unwrap();
        let runs = (0..200).map(|number| {
            let (orchestrator, workflow) = (orchestrator.clone(), workflow.clone());
            tokio::spawn(async move { orchestrator.run_flow(&workflow, with_input(format!("<run {number}>"))).await.unwrap() })
        });
        for (number, run) in runs.collect::<Vec<_>>().into_iter().enumerate() {
            let output = run.await.unwrap().final_output();
            assert!(output.contains(&format!("<run {number}>")), "{output}");
            let foreign = output.matches("<run ").count() - output.matches(&format!("<run {number}>")).count();
            assert_eq!(foreign, 0, "{output}");
        }
        close(&orchestrator).await;
    });
}

/// The cases that need no plugin, and whose documents load.
pub(crate) fn documents() -> Vec<PathBuf> {
    let folders = |of: &Path| fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path());
    let areas = folders(&repository().join("tests/cases")).filter(|area| !area.ends_with("invalid"));
    // Exit code 2: the document is not valid.
    let other = |case: &Path| {
        let about = fs::read_to_string(case.join("case.toml")).unwrap();
        about.contains("plugins = true") || about.contains("exit = 2")
    };
    let mut found: Vec<PathBuf> = areas
        .flat_map(|area| folders(&area).collect::<Vec<_>>())
        .filter(|case| case.join("workflow.yaml").is_file() && case.join("case.toml").is_file() && !other(case))
        .collect();
    found.sort();
    assert!(found.len() > 60, "only {} cases", found.len());
    found
}

/// What the arguments of a case say, as far as the library has it.
pub(crate) fn options(case: &Path) -> RunOptions {
    let case: toml::Table = fs::read_to_string(case.join("case.toml")).unwrap().parse().unwrap();
    let args = case.get("args").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let mut args = args.iter().map(|arg| arg.as_str().unwrap());
    let mut options = RunOptions::default();
    while let Some(arg) = args.next() {
        let mut pair = || args.next().unwrap().split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        match arg {
            "--yolo" | "--sandbox" => {}
            "--input" => options.inputs.extend(pair().map(|(key, value)| (key, InputText::Text(value)))),
            "--answer" => options.answers.extend(pair().map(|(key, value)| (key, InputText::Text(value)))),
            flag if flag.starts_with("--") => drop(pair()),
            input => options.input = Some(input.to_owned()),
        }
    }
    options
}

/// An orchestrator and a document of a case, in a folder of their own. One attempt at a time: the order is the same.
pub(crate) fn prepare(case: &Path) -> (TempDir, Orchestrator, Workflow) {
    let folder = TempDir::new().unwrap();
    if case.join("files").is_dir() {
        copy(&case.join("files"), folder.path());
    }
    fs::copy(case.join("workflow.yaml"), folder.path().join("workflow.yaml")).unwrap();
    let mut builder = Orchestrator::builder();
    if let Ok(script) = fs::read_to_string(case.join("model.yaml")) {
        builder = builder.model(Scripted::parse(&script).unwrap());
    }
    let orchestrator = builder.workdir(folder.path()).max_concurrency(1).build().unwrap();
    let workflow = Workflow::load(folder.path().join("workflow.yaml")).unwrap();
    (folder, orchestrator, workflow)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

/// A result without what differs from run to run.
pub(crate) fn comparable(result: &RunResult) -> Value {
    let mut value = serde_json::to_value(result).unwrap();
    let steps = value["steps"].as_array_mut().unwrap();
    for step in steps {
        step.as_object_mut().unwrap().retain(|key, _| key != "started_at" && key != "duration_ms");
    }
    value.as_object_mut().unwrap().retain(|key, _| !["run_id", "duration_ms", "worked_ms"].contains(&key.as_str()));
    value
}

/// Expressions are evaluated beside each other: what waits for different ones may end in any order.
pub(crate) fn sort_path(result: &mut Value) {
    result["execution_path"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
}

#[test]
fn a_stream_ends_as_the_run_does() {
    quick().block_on(async {
        let mut ran = 0;
        for case in documents() {
            let (_folder, orchestrator, workflow) = prepare(&case);
            let run = orchestrator.run_flow(&workflow, options(&case)).await;
            let (_folder, orchestrator, workflow) = prepare(&case);
            let mut stream = orchestrator.run_stream(&workflow, options(&case), StreamOptions::default());
            let mut kinds = Vec::new();
            while let Some(chunk) = stream.next().await {
                assert_eq!(chunk.index, kinds.len() as u64, "{}", case.display());
                kinds.push(chunk.kind);
            }
            let streamed = stream.wait().await;
            let count = |kind| kinds.iter().filter(|other| **other == kind).count();
            assert_eq!((count(ChunkKind::Done), kinds.last()), (1, Some(&ChunkKind::Done)), "{}", case.display());
            match (run, streamed) {
                (Ok(run), Ok(streamed)) => {
                    let (mut one, mut other) = (comparable(&run), comparable(&streamed));
                    let text = fs::read_to_string(case.join("workflow.yaml")).unwrap();
                    if ["condition", "while", "until", "forEach"].iter().any(|key| text.contains(key)) {
                        [&mut one, &mut other].into_iter().for_each(sort_path);
                    }
                    assert_eq!(one, other, "{}", case.display());
                    // One that waits for a person has begun and not ended; one whose condition fails ends without beginning.
                    let ended = count(ChunkKind::AgentStart) <= count(ChunkKind::AgentComplete);
                    assert!(ended || run.status == RunStatus::Waiting, "{}", case.display());
                    ran += 1;
                }
                (Err(run), Err(streamed)) => assert_eq!(run.to_string(), streamed.to_string()),
                (run, streamed) => panic!("{}: {run:?} and {streamed:?}", case.display()),
            }
        }
        assert!(ran > 60, "only {ran} ran");
    });
}

#[test]
fn a_stream_that_nobody_reads_still_has_its_result() {
    runtime().block_on(async {
        let orchestrator = scripted("chunk: 1\ndefault: { text: '{{prompt}}' }");
        let workflow = Workflow::parse(ONE_STEP, ".").unwrap();
        let long = "word ".repeat(2_000);
        let options = StreamOptions { buffer: 1, ..StreamOptions::default() };
        let stream = orchestrator.run_stream(&workflow, with_input(long.clone()), options);
        assert_eq!(stream.wait().await.unwrap().final_output(), long);
    });
}

#[test]
fn the_deltas_of_a_step_are_its_content() {
    runtime().block_on(async {
        let orchestrator = scripted("chunk: 3\ndefault: { text: 'a text in pieces' }");
        let workflow = Workflow::parse("name: one\nsteps: [{ id: a, instructions: Speak. }]", ".").unwrap();
        let mut stream = orchestrator.run_stream(&workflow, RunOptions::default(), StreamOptions::default());
        let mut text = String::new();
        while let Some(chunk) = stream.next().await {
            text.extend(chunk.delta);
        }
        assert_eq!(text, "a text in pieces");
    });
}

#[test]
fn a_dropped_stream_cancels_its_run_and_that_is_recorded() {
    runtime().block_on(async {
        let orchestrator = scripted(SLOW);
        let workflow = Workflow::parse("name: one\nsteps: [{ id: a, instructions: Wait. }]", ".").unwrap();
        let mut stream = orchestrator.run_stream(&workflow, RunOptions::default(), StreamOptions::default());
        begins(&mut stream).await;
        drop(stream);
        close(&orchestrator).await;
        assert_eq!(statuses(&orchestrator).await, ["cancelled"]);
    });
}

#[test]
fn the_last_clone_takes_the_streams_that_are_under_way_with_it() {
    runtime().block_on(async {
        let orchestrator = scripted(SLOW);
        let workflow = Workflow::parse("name: one\nsteps: [{ id: a, instructions: Wait. }]", ".").unwrap();
        let mut stream = orchestrator.run_stream(&workflow, RunOptions::default(), StreamOptions::default());
        begins(&mut stream).await;
        let clone = orchestrator.clone();
        drop(orchestrator);
        assert!(!clone.is_closed());
        drop(clone);
        assert_eq!(stream.wait().await.unwrap().status, RunStatus::Cancelled);
    });
}

#[test]
fn a_dropped_run_is_cancelled_and_that_is_recorded() {
    runtime().block_on(async {
        let orchestrator = scripted(SLOW);
        let workflow = Workflow::parse("name: one\nsteps: [{ id: a, instructions: Wait. }]", ".").unwrap();
        let journal = orchestrator.runs();
        let begun = async {
            while journal.list(RunFilter::default()).await.unwrap().rows.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = orchestrator.run_flow(&workflow, RunOptions::default()) => panic!("it cannot have ended"),
            () = begun => {}
        }
        close(&orchestrator).await;
        assert_eq!(statuses(&orchestrator).await, ["cancelled"]);
    });
}

/// Reads until a step has begun.
async fn begins(stream: &mut Stream) {
    while stream.next().await.expect("a step begins").kind != ChunkKind::AgentStart {}
}

async fn statuses(orchestrator: &Orchestrator) -> Vec<String> {
    let page = orchestrator.runs().list(RunFilter::default()).await.unwrap();
    page.rows.into_iter().map(|run| run.index.status).collect()
}

#[test]
fn a_closed_orchestrator_refuses_every_entry() {
    runtime().block_on(async {
        let orchestrator = scripted(ECHO);
        let workflow = Workflow::parse(ONE_STEP, ".").unwrap();
        orchestrator.clone().close().await;
        assert!(orchestrator.is_closed());
        assert!(matches!(orchestrator.run_flow(&workflow, with_input("x")).await, Err(Error::Closed)));
        let stream = orchestrator.run_stream(&workflow, with_input("x"), StreamOptions::default());
        assert!(matches!(stream.wait().await, Err(Error::Closed)));
        assert!(orchestrator.close().await.still_running.is_empty(), "closing twice is closing once");
    });
}

#[test]
fn closing_cancels_what_runs() {
    runtime().block_on(async {
        let orchestrator = scripted(SLOW);
        let workflow = Workflow::parse("name: one\nsteps: [{ id: a, instructions: Wait. }]", ".").unwrap();
        let mut stream = orchestrator.run_stream(&workflow, RunOptions::default(), StreamOptions::default());
        begins(&mut stream).await;
        close(&orchestrator).await;
        let result = stream.wait().await.unwrap();
        assert_eq!((result.status, result.steps[0].status), (RunStatus::Cancelled, StepStatus::Cancelled));
    });
}

#[test]
fn rules_of_the_builder_hold() {
    runtime().block_on(async {
        let folder = TempDir::new().unwrap();
        let workflow =
            Workflow::parse("name: w\nsteps: [{ id: a, tool: write, args: { path: a.txt, content: hi } }]", ".")
                .unwrap();
        let rules = Rules { deny: vec![Rule::parse("write").unwrap()], ..Rules::default() };
        let denied = Orchestrator::builder().workdir(folder.path()).permissions(rules).build().unwrap();
        let result = denied.run_flow(&workflow, RunOptions::default()).await.unwrap();
        assert_eq!(result.status, RunStatus::Failed);
        assert!(!folder.path().join("a.txt").exists());
        let allowed = Orchestrator::builder().workdir(folder.path()).build().unwrap();
        let result = allowed.run_flow(&workflow, RunOptions::default()).await.unwrap();
        assert_eq!((result.status, result.output), (RunStatus::Completed, json!({ "path": "a.txt", "bytes": 2 })));
        assert_eq!(fs::read_to_string(folder.path().join("a.txt")).unwrap(), "hi");
    });
}
