//! Large results in recorded runs: each is kept once, as a blob, and whatever is done with the run has it whole.

use crate::support::Project;
use cofferdam::core::id::RunId;
use cofferdam::core::port::{BlobId, Record, RecordBody};
use cofferdam::llm::Scripted;
use cofferdam::store::Sqlite;
use cofferdam::{Journal, Orchestrator, ResumeOptions};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

const READS: &str = "
name: reads
agents: { reader: { description: Reads., tools: [read] } }
steps:
  - { id: load, tool: read, args: { path: big.txt } }
  - { id: look, agent: reader, input: Look., dependsOn: [load] }
output: steps.load.content
";
const MODEL: &str = "
answers:
  - { step: look, turn: 1, toolCalls: [{ tool: read, args: { path: big.txt } }] }
default: { text: looked }
";
const RUN: [&str; 4] = ["run", "reads.yaml", "--model", "scripted/model.yaml"];
const DIR_JOURNAL: &str = "
[plugins.journal]
source = \"builtin:dir-journal\"
grants = { fs = { also = [{ from = \"kept\", at = \"/journal\", read = true, write = true }] } }
";

/// 90 KB in lines, all different.
fn big() -> String {
    (0..6_000).map(|number| format!("line {number:08}\n")).collect()
}

fn project() -> Project {
    let project = Project::new();
    project.file("reads.yaml", READS).file("model.yaml", MODEL).file("big.txt", big());
    project
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The records of a run as its store keeps them.
fn kept(store: &Path, run: &str) -> Vec<Record> {
    let run = RunId::parse(run).unwrap();
    runtime().block_on(async { Sqlite::new(store).read(&run, 0, 10_000).await }).unwrap().records
}

/// The blobs that they name, in order, each once.
fn blobs(records: &[Record]) -> Vec<BlobId> {
    let mut blobs = Vec::new();
    for record in records {
        let RecordBody::Spilled(spilled) = &record.body else { continue };
        for part in &spilled.parts {
            if !blobs.contains(&part.blob) {
                blobs.push(part.blob.clone());
            }
        }
    }
    blobs
}

fn has(store: &Path, blob: &BlobId) -> bool {
    runtime().block_on(async { Sqlite::new(store).get_blob(blob).await }).is_ok()
}

fn events(project: &Project, run: &str) -> Vec<Value> {
    project.run(&["runs", "show", run, "--json"]).expect(0).json_lines()
}

fn id(project: &Project) -> String {
    events(project, "last")[0]["run_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_large_result_is_kept_once_and_everything_has_it_whole() {
    let project = project();
    let printed = project.run(&RUN).expect(0).stdout;
    let (store, run) = (project.path(".cofferdam/runs.db"), id(&project));
    let records = kept(&store, &run);
    let spilled = records.iter().filter(|record| matches!(record.body, RecordBody::Spilled(_))).count();
    assert!(spilled >= 4, "both calls, the step, the run: {spilled}");
    let blobs = blobs(&records);
    assert!(blobs.len() <= 2, "the text, and perhaps another form of it: {}", blobs.len());
    let bytes: usize = records.iter().map(|record| cofferdam::core::record::encode(record).unwrap().len()).sum();
    assert!(bytes < 40_000, "{bytes}");
    let shown = events(&project, "last");
    let whole = |kind: &str, field: &str| {
        let of_kind = shown.iter().filter(|event| event["kind"] == kind);
        of_kind
            .filter(|event| event.pointer(field).is_some_and(|value| value.to_string().contains("line 00005999")))
            .count()
    };
    assert_eq!((whole("tool_call_finished", "/content"), whole("run_finished", "/output")), (2, 1));
    assert!(printed.contains("line 00005999"));
    let told = project.run(&["runs", "show", "last", "--transcript", "--full"]).expect(0).stdout;
    assert!(told.contains("line 00000000") && told.contains("line 00005999"));
    std::fs::remove_file(project.path("big.txt")).unwrap();
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn a_large_result_moves_with_its_run_and_goes_with_the_last_that_has_it() {
    let project = project();
    project.run(&RUN).expect(0);
    let (store, first) = (project.path(".cofferdam/runs.db"), id(&project));
    let text = blobs(&kept(&store, &first));
    project.run(&["runs", "export", &first, "-o", "run.jsonl"]).expect(0);
    project.run(&["fork", &first, "--from", "look"]).expect(0);
    let second = id(&project);
    assert!(first != second && blobs(&kept(&store, &second)) == text);
    let before = events(&project, &first);
    project.run(&["runs", "rm", &first]).expect(0);
    assert!(text.iter().all(|blob| has(&store, blob)), "the other run has them");
    assert!(events(&project, &second).iter().any(|event| event.to_string().contains("line 00005999")));
    project.run(&["runs", "rm", &second]).expect(0);
    assert!(!text.iter().any(|blob| has(&store, blob)), "nobody has them");
    project.run(&["runs", "import", "run.jsonl"]).expect(0);
    assert_eq!(events(&project, &first), before);
    assert_eq!(blobs(&kept(&store, &first)), text);
    project.run(&["runs", "gc", "--older-than", "0s", "--yes"]).expect(0);
    assert!(!text.iter().any(|blob| has(&store, blob)));
}

#[test]
fn a_run_that_was_killed_goes_on_with_the_whole_result() {
    let project = project();
    project.file("model.yaml", MODEL.replace("default: { text", "default: { delay: 1h, text"));
    let running = project.start(&[&RUN[..], &["--json"]].concat());
    let in_second_turn = || {
        let shown = project.run(&["runs", "show", "last", "--json"]);
        shown.code == Some(0) && shown.stdout.matches("\"turn_started\"").count() == 2
    };
    while !project.path(".cofferdam/runs.db").exists() || !in_second_turn() {
        std::thread::yield_now();
    }
    running.signal(Signal::KILL);
    running.wait();
    std::fs::remove_file(project.path("big.txt")).unwrap();
    let store = project.path(".cofferdam/runs.db");
    let script = "
answers:
  - { turn: 2, toolCalls: [{ tool: read_result, args: { result: 1, from: 80000 } }] }
default: { text: looked on }
";
    let model = Arc::new(Scripted::parse(script).unwrap().recording());
    let run = RunId::parse(&id(&project)).unwrap();
    let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    threads.block_on(async {
        let models = Arc::new(Always(Arc::clone(&model)));
        let builder = Orchestrator::builder().storage(Arc::new(Sqlite::new(&store))).models(models);
        let orchestrator = builder.default_model("scripted").workdir(project.path("")).build().unwrap();
        let result = orchestrator.resume_flow(&run, None, ResumeOptions::default()).await.unwrap();
        assert_eq!(&*result.step("look").unwrap().content, "looked on");
        orchestrator.close().await;
    });
    let last = model.requests().pop().unwrap();
    let text = last.messages.last().unwrap().text().to_owned();
    assert!(text.ends_with("line 00005999\n"), "the end of what was read before: {text}");
}

/// One model, whatever its name.
struct Always(Arc<Scripted>);

impl cofferdam::core::port::Models for Always {
    fn resolve(&self, _: &str) -> Result<Arc<dyn cofferdam::core::port::Model>, cofferdam::core::fault::Fault> {
        Ok(Arc::clone(&self.0) as _)
    }
}

#[test]
fn a_blob_that_is_gone_or_damaged_is_an_error_with_its_record() {
    let project = project();
    project.file("cofferdam.toml", format!("[run]\nstorage = \"file\"\n{DIR_JOURNAL}"));
    project.run(&RUN).expect(0);
    let folder = project.path(".cofferdam/journal/blobs");
    let is_blob = |path: &Path| path.extension().is_none() && path.file_name().is_some_and(|name| name.len() == 64);
    let paths = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = paths.filter(|path| is_blob(path)).collect();
    assert!(!files.is_empty());
    for path in &files {
        std::fs::write(path, "something else").unwrap();
    }
    for command in [&["runs", "show", "last", "--json"][..], &["replay", "last"], &["runs", "export", "last"]] {
        let told = project.run(command);
        assert_ne!(told.code, Some(0), "{command:?}: {}", told.stdout);
        told.says(&["of run `", "is in blob `", "its bytes do not have its hash"]);
    }
    for path in &files {
        std::fs::remove_file(path).unwrap();
    }
    for command in [&["runs", "show", "last", "--json"][..], &["replay", "last"], &["fork", "last", "--from", "look"]] {
        let told = project.run(command);
        assert_ne!(told.code, Some(0), "{command:?}: {}", told.stdout);
        told.says(&["is damaged: its `", "which is not in the store"]);
    }
}

#[test]
fn a_storage_plugin_keeps_large_results() {
    let project = project();
    project.file("cofferdam.toml", format!("[run]\nstorage = \"plugin:journal\"\n{DIR_JOURNAL}"));
    std::fs::create_dir(project.path("kept")).unwrap();
    project.run(&RUN).expect(0);
    std::fs::remove_file(project.path("big.txt")).unwrap();
    assert!(events(&project, "last").iter().any(|event| event.to_string().contains("line 00005999")));
    project.run(&["replay", "last"]).expect(0);
    let exported = project.run(&["runs", "export", "last"]).expect(0).stdout;
    let other = Project::new();
    other.run_reading(&["runs", "import", "-"], &exported).expect(0);
    assert_eq!(events(&other, "last"), events(&project, "last"));
    assert!(!blobs(&kept(&other.path(".cofferdam/runs.db"), &id(&other))).is_empty());
}
