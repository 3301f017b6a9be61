//! Cases as data: `tests/cases/<area>/<name>/` holds a document, the answers of its model, arguments, and what must come
//! out. `UPDATE=1` rewrites what must come out; what belongs to no case fails.
//!
//! | file | what it is |
//! | --- | --- |
//! | `case.toml` | `about` (the sentence that the case proves), `args`, `exit`, `plugins` (whether some are used), `order` |
//! | `workflow.yaml` | the document |
//! | `model.yaml` | what the scripted model answers; absent: no model is named |
//! | `files/` | what else lies in the folder |
//! | `expected/stdout`, `expected/stderr` | the output; messages only when nothing ran |
//! | `expected/events.ndjson` | the events of the same run, with times, ids and durations taken out |
//!
//! A folder may instead hold `case.test.yaml`, with the documents that it names: cases that `cofferdam test` runs and
//! judges, for what is better said as an expectation than shown as a golden text.
//!
//! Events stand in the order of the run with their `seq`; calls of one turn in that of the calls. With `order = "path"` steps run beside each other and only the
//! order within each path is kept.

use crate::support::{Golden, Project, check_golden, is_update, repository};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    exit: i32,
    #[serde(default)]
    plugins: bool,
    #[serde(default)]
    order: Order,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Run,
    Path,
}

const PARTS: [&str; 5] = ["case.toml", "workflow.yaml", "model.yaml", "files", "expected"];
/// What a folder holds instead, besides documents.
const JUDGED: &str = "case.test.yaml";
const EXPECTED: [&str; 3] = ["stdout", "stderr", "events.ndjson"];

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(of).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn all() -> Vec<PathBuf> {
    let areas = folders(&repository().join("tests/cases"));
    let cases: Vec<PathBuf> = areas.iter().flat_map(|area| folders(area)).collect();
    assert!(cases.len() >= 40, "only {} cases were found", cases.len());
    cases
}

fn name(folder: &Path) -> String {
    folder.strip_prefix(repository().join("tests/cases")).unwrap().display().to_string()
}

/// Cases wait more than they compute.
const AT_ONCE: usize = 4;

#[test]
fn every_case_comes_out_as_written() {
    let cases = all();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(folder) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = check(folder) {
                        failures.lock().unwrap().push(format!("case {}: {error}", name(folder)));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} cases\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn nothing_lies_among_the_cases_that_belongs_to_none() {
    for folder in all() {
        for path in folders(&folder) {
            let name = path.file_name().unwrap().to_str().unwrap();
            if folder.join(JUDGED).is_file() {
                let belongs = name.ends_with(".yaml") || name == "files";
                assert!(belongs && name != "workflow.yaml", "{} belongs to no case", path.display());
                continue;
            }
            assert!(PARTS.contains(&name), "{} belongs to no case", path.display());
        }
        if folder.join(JUDGED).is_file() {
            continue;
        }
        for path in folders(&folder.join("expected")) {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(EXPECTED.contains(&name), "{} is expected by nobody", path.display());
        }
    }
}

fn check(folder: &Path) -> Result<(), String> {
    if folder.join(JUDGED).is_file() {
        return judge(folder);
    }
    let text = fs::read_to_string(folder.join("case.toml")).map_err(|error| format!("case.toml: {error}"))?;
    let case: Case = toml::from_str(&text).map_err(|error| format!("case.toml: {error}"))?;
    if !case.about.ends_with('.') {
        return Err("`about` is no sentence".to_owned());
    }
    let plain = run(folder, &case, &[])?;
    let mut goldens = vec![golden(folder, "stdout", plain.stdout)];
    if case.exit == 2 || case.exit == 3 {
        goldens.push(golden(folder, "stderr", plain.stderr));
    } else {
        let recorded = run(folder, &case, &["--json"])?;
        goldens.push(golden(folder, "events.ndjson", events(&recorded.stdout, case.order)?));
    }
    if is_update() {
        let _ = fs::remove_dir_all(folder.join("expected"));
    }
    let faults: Vec<String> = goldens.iter().filter_map(|golden| check_golden(golden).err()).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// Runs the cases of a test file, as a user would.
fn judge(folder: &Path) -> Result<(), String> {
    let project = Project::new();
    project.copy_from(folder);
    let outcome = project.run(&["test", JUDGED]);
    if outcome.code == Some(0) { Ok(()) } else { Err(outcome.stdout + &outcome.stderr) }
}

fn golden(folder: &Path, name: &str, actual: String) -> Golden {
    Golden { path: folder.join("expected").join(name), actual }
}

struct Said {
    stdout: String,
    stderr: String,
}

fn run(folder: &Path, case: &Case, more: &[&str]) -> Result<Said, String> {
    let project = if case.plugins { Project::with_plugins() } else { Project::new() };
    if folder.join("files").is_dir() {
        project.copy_from(&folder.join("files"));
    }
    for part in ["workflow.yaml", "model.yaml"] {
        if let Ok(text) = fs::read(folder.join(part)) {
            project.file(part, text);
        }
    }
    let mut args = vec!["run", "workflow.yaml"];
    args.extend(case.args.iter().map(String::as_str));
    if folder.join("model.yaml").is_file() {
        args.extend(["--model", "scripted/model.yaml"]);
    }
    if case.order == Order::Run {
        args.extend(["--max-concurrency", "1"]);
    }
    args.extend(more);
    let outcome = project.run(&args);
    if outcome.code != Some(case.exit) {
        return Err(format!("exit code {:?} instead of {}\n{}", outcome.code, case.exit, outcome.stderr));
    }
    if outcome.stderr.contains("panicked") {
        return Err(outcome.stderr);
    }
    Ok(Said { stdout: outcome.stdout, stderr: outcome.stderr })
}

/// The events as they are compared: one a line, what differs from run to run taken out.
fn events(stdout: &str, order: Order) -> Result<String, String> {
    let parse = |line| serde_json::from_str::<Map<String, Value>>(line).map_err(|error| format!("{error}: {line}"));
    let mut events = stdout.lines().map(parse).collect::<Result<Vec<_>, _>>()?;
    check_order(&events)?;
    settle_parallel_calls(&mut events);
    for event in &mut events {
        normalise(event, order);
    }
    if order == Order::Path {
        let path =
            |event: &Map<String, Value>| event.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
        events.sort_by_key(path);
    }
    Ok(events.into_iter().map(|event| Value::Object(event).to_string() + "\n").collect())
}

/// Dense from 1; transient events carry the number of the last durable one.
fn check_order(events: &[Map<String, Value>]) -> Result<(), String> {
    let mut last = 0;
    for event in events {
        let seq = event.get("seq").and_then(Value::as_u64).unwrap_or_default();
        let expected = if event.contains_key("sub") { last } else { last + 1 };
        if seq != expected {
            return Err(format!("seq {seq} after {last}"));
        }
        last = seq;
    }
    Ok(())
}

/// Calls of one turn run beside each other: their events are put in the order of the calls, the positions stay.
fn settle_parallel_calls(events: &mut [Map<String, Value>]) {
    let text =
        |event: &Map<String, Value>, key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let same_turn = |a: &Map<String, Value>, b: &Map<String, Value>| {
        a.contains_key("call_id") && b.contains_key("call_id") && text(a, "path") == text(b, "path")
    };
    for calls in events.chunk_by_mut(same_turn) {
        let positions: Vec<Option<Value>> = calls.iter().map(|event| event.get("seq").cloned()).collect();
        calls.sort_by_key(|event| text(event, "call_id"));
        for (event, seq) in calls.iter_mut().zip(positions) {
            if let (Some(place), Some(seq)) = (event.get_mut("seq"), seq) {
                *place = seq;
            }
        }
    }
}

fn normalise(event: &mut Map<String, Value>, order: Order) {
    event.shift_remove("at");
    event.shift_remove("run_id");
    if order == Order::Path {
        event.shift_remove("seq");
        event.shift_remove("sub");
    }
    if event.get("kind").is_some_and(|kind| kind == "run_started") {
        // The document and the components are beside the case; their digests would only be noise.
        for key in ["hash", "sources", "plugins"] {
            event.shift_remove(key);
        }
    }
    for key in ["duration_ms", "delay_ms"] {
        if let Some(value) = event.get_mut(key) {
            *value = Value::from(0);
        }
    }
    event.values_mut().for_each(shorten);
}

/// Digests of components, whole or cut short: they change with every compiler.
fn shorten(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        Value::String(text) => {
            let words: Vec<&str> = text.split_inclusive(|found: char| !found.is_ascii_alphanumeric()).collect();
            let is_digest = |word: &str| {
                let word = word.trim_end_matches(|found: char| !found.is_ascii_alphanumeric());
                matches!(word.len(), 12 | 64) && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            };
            if words.iter().any(|word| is_digest(word)) {
                let shown = |word: &str| {
                    let end = word.trim_start_matches(|found: char| found.is_ascii_alphanumeric());
                    if is_digest(word) { format!("DIGEST{end}") } else { word.to_owned() }
                };
                *text = words.into_iter().map(shown).collect();
            }
        }
        _ => {}
    }
}
