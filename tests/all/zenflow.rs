//! Documents of zenflow: each of `tests/cases/zenflow` that is valid there says the same in YAML and in JSON, and keeps
//! the promise of `compat: zenflow`; what zenflow does not have breaks it.
//!
//! It must not know what the cases prove: that stands in each of them, and is checked with all others.

use crate::support::{Project, repository};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    exit: i32,
    #[serde(default)]
    order: Option<String>,
}

fn cases() -> Vec<(PathBuf, Case)> {
    let folder = repository().join("tests/cases/zenflow");
    let mut folders: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let read = |folder: PathBuf| {
        let case = toml::from_str(&fs::read_to_string(folder.join("case.toml")).unwrap()).unwrap();
        (folder, case)
    };
    folders.into_iter().map(read).collect()
}

/// Those that are valid in zenflow.
fn valid() -> Vec<(PathBuf, Case)> {
    let valid: Vec<_> = cases().into_iter().filter(|(_, case)| case.exit < 2).collect();
    assert!(valid.len() >= 50, "only {} valid documents", valid.len());
    valid
}

fn name(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}

fn document(folder: &Path) -> Value {
    let options = serde_yaml::options! { strict_booleans: true };
    let text = fs::read_to_string(folder.join("workflow.yaml")).unwrap();
    serde_yaml::from_str_with_options(&text, options).unwrap()
}

fn project(folder: &Path) -> Project {
    let project = Project::new();
    if folder.join("files").is_dir() {
        project.copy_from(&folder.join("files"));
    }
    for part in ["workflow.yaml", "model.yaml"] {
        if let Ok(text) = fs::read(folder.join(part)) {
            project.file(part, text);
        }
    }
    project.file("workflow.json", document(folder).to_string());
    project
}

/// The plan without what names the document's own file.
fn plan(project: &Project, file: &str) -> Value {
    let mut plan: Value =
        serde_json::from_str(&project.run(&["plan", "--format", "json", file]).expect(0).stdout).unwrap();
    if let Some(plan) = plan.as_object_mut() {
        plan.retain(|key, _| !["file", "hash", "sources"].contains(&key.as_str()));
    }
    plan
}

/// The events of a run without what differs between two runs of one document, or between two forms of it.
fn events(project: &Project, file: &str, folder: &Path, case: &Case) -> Vec<Value> {
    let mut args = vec!["run", file];
    args.extend(case.args.iter().map(String::as_str));
    args.extend(["--json", "--max-concurrency", "1"]);
    if folder.join("model.yaml").is_file() {
        args.extend(["--model", "scripted/model.yaml"]);
    }
    let stdout = project.run(&args).expect(case.exit).stdout;
    let mut events: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for event in events.iter_mut().filter_map(Value::as_object_mut) {
        event.retain(|key, _| !["at", "run_id", "hash", "sources", "duration_ms", "delay_ms"].contains(&key.as_str()));
    }
    events
}

#[test]
fn a_document_says_the_same_in_json() {
    for (folder, case) in valid() {
        let project = project(&folder);
        let name = name(&folder);
        assert_eq!(plan(&project, "workflow.yaml"), plan(&project, "workflow.json"), "{name}");
        // Steps beside each other come in any order.
        if case.order.is_none() {
            let yaml = events(&project, "workflow.yaml", &folder, &case);
            assert_eq!(yaml, events(&project, "workflow.json", &folder, &case), "{name}");
        }
    }
}

/// The document with one more option.
fn compatible(mut document: Value) -> Value {
    let root = document.as_object_mut().unwrap();
    let options = root.entry("options").or_insert_with(|| json!({}));
    options.as_object_mut().unwrap().insert("compat".into(), "zenflow".into());
    document
}

fn findings(project: &Project, document: &Value) -> Vec<(String, String)> {
    project.file("compat.json", document.to_string());
    let outcome = project.run(&["validate", "--json", "compat.json"]);
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let lines: Vec<Value> = outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["kind"] == "summary"), "{}", outcome.stderr);
    let findings = lines.iter().filter(|line| line["kind"] == "finding");
    findings.map(|finding| (text(finding, "code"), text(finding, "path"))).collect()
}

#[test]
fn what_is_valid_in_zenflow_is_compatible() {
    for (folder, _) in valid() {
        let project = project(&folder);
        let found = findings(&project, &compatible(document(&folder)));
        let broken: Vec<_> = found.iter().filter(|(code, _)| code == "W080").collect();
        assert!(broken.is_empty(), "{}: {broken:?}", name(&folder));
    }
}

/// Each changes a document that is compatible in one place: where it stands, and what stands there.
fn beyond() -> Vec<(&'static str, Value)> {
    vec![
        ("x-note", json!("a note")),
        ("mode", json!("sequential")),
        ("inputs", json!({ "topic": { "type": "string", "default": "rivers" } })),
        ("vars", json!({ "seen": 0 })),
        ("plugins", json!({ "text": "builtin:text" })),
        ("mcpServers", json!({ "files": { "command": "serve-files" } })),
        ("output", json!("steps.first.content")),
        ("agents.worker.maxTokens", json!(100)),
        ("agents.worker.memory", json!({ "write": true })),
        ("agents.worker.transform", json!({ "output": ["trim"] })),
        ("agents.worker.budget", json!({ "tokens": 1 })),
        ("agents.worker.modelOptions", json!({ "seed": 1 })),
        ("agents.worker.grants", json!({ "fs": "none" })),
        ("agents.worker.resumeOnMessage", json!(true)),
        ("steps[0].label", json!("First")),
        ("steps[0].metadata", json!({ "a": 1 })),
        ("steps[0].input", json!("Work.")),
        ("steps[0].transform", json!({ "output": ["trim"] })),
        ("steps[0].resultSchema", json!({ "type": "object" })),
        ("steps[0].onFailure", json!("abort")),
        ("steps[0].isolation", json!("none")),
        ("steps[0].grants", json!({ "fs": "none" })),
        ("steps[0].sensitive", json!(true)),
        ("steps[0].budget", json!({ "tokens": 1 })),
        ("steps[0].timeout", json!("500ms")),
        ("steps[0].instructions", json!("x".repeat(2001))),
        ("steps[1].args", json!({ "path": "a.txt" })),
        ("steps[1].loop", json!({ "forEach": [1] })),
        ("steps[2].loop.while", json!("iteration < 1")),
        ("steps[2].loop.onLimit", json!("complete")),
        ("steps[2].loop.mode", json!("sequential")),
        ("steps[2].loop.steps[0].loop", json!({ "maxIterations": 1 })),
        ("steps[3].loop.onItemFailure", json!("continue")),
        ("steps[4].with", json!({})),
        ("steps[5]", json!("worker")),
        ("steps[5]", json!({ "id": "group", "steps": [{ "id": "inner", "instructions": "Work." }] })),
        ("steps[5]", json!({ "id": "question", "ask": { "prompt": "Shall we?" } })),
        ("options.model", json!("scripted/model.yaml")),
        ("options.onStepFailure", json!("continue")),
        ("options.outputTransform", json!(["trim"])),
        ("options.budget", json!({ "tokens": 1 })),
        ("options.memory", json!({ "scope": "run" })),
        ("options.modelOptions", json!({ "seed": 1 })),
        ("options.onUnknownEffect", json!("fail")),
        ("options.limits", json!({ "stepInstances": 10 })),
        ("options.engine", json!("default")),
    ]
}

fn base() -> Value {
    json!({
        "name": "base",
        "agents": { "worker": { "description": "Works." } },
        "steps": [
            { "id": "first", "agent": "worker", "instructions": "Work." },
            { "id": "second", "tool": "read", "toolInput": { "path": "a.txt" } },
            { "id": "third", "loop": { "maxIterations": 2, "steps": [{ "id": "inner", "instructions": "Work." }] } },
            { "id": "fourth", "instructions": "Work.", "loop": { "forEach": [1, 2] } },
            { "id": "fifth", "include": "sub.yaml" },
        ],
        "options": { "compat": "zenflow" },
    })
}

/// Puts a value where a path leads: `steps[2].loop.mode`.
fn put(document: &mut Value, path: &str, value: Value) {
    let mut place = document;
    for part in path.split(['.', '[']) {
        place = match part.strip_suffix(']') {
            Some(index) => {
                let list = place.as_array_mut().unwrap();
                let index: usize = index.parse().unwrap();
                if index == list.len() {
                    list.push(Value::Null);
                }
                &mut list[index]
            }
            None => place.as_object_mut().unwrap().entry(part).or_insert(Value::Null),
        };
    }
    *place = value;
}

#[test]
fn what_goes_beyond_zenflow_is_not_compatible() {
    let project = Project::new();
    project.file("sub.yaml", "name: sub\nsteps:\n  - { id: one, instructions: Work. }\n");
    assert_eq!(findings(&project, &base()), []);
    for (path, value) in beyond() {
        let mut document = base();
        put(&mut document, path, value.clone());
        if path == "steps[1].args" {
            document["steps"][1].as_object_mut().unwrap().remove("toolInput");
        }
        let found = findings(&project, &document);
        let is_told = found.iter().any(|(code, at)| code == "W080" && at.starts_with(path));
        assert!(is_told, "{path}: {value} gave {found:?}");
    }
}
