//! Valid documents load, in both forms, and fit the schema for editors.

use crate::case::{Memory, all_cases, beside, to_json, valid};
use cofferdam_core::server::ServerReference;
use cofferdam_core::spec;
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn every_valid_document_loads_without_a_finding() {
    for (name, text) in valid() {
        let loaded = spec::parse(&text, &name, &beside()).unwrap_or_else(|found| panic!("{name}:\n{found}"));
        assert!(loaded.warnings.is_empty(), "{name}:\n{}", loaded.warnings);
    }
}

#[test]
fn the_examples_of_the_repository_load_without_a_finding() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = std::fs::read_dir(&examples).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let all: BTreeMap<String, Vec<u8>> = files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    let memory = Memory(all.clone());
    // A scripted model's answers and tests of workflows are no workflows.
    let other = |name: &str| name.ends_with(".model.yaml") || name.ends_with(".test.yaml");
    let flows = all.keys().filter(|name| name.ends_with(".yaml") && !other(name));
    let loaded = flows.map(|name| {
        let loaded = spec::load(name, &memory).unwrap_or_else(|found| panic!("{found}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    });
    assert!(loaded.count() > 0);
}

#[test]
fn every_valid_document_fits_the_schema_for_editors() {
    let validator = jsonschema::draft202012::new(&spec::schema()).unwrap();
    for (name, text) in valid() {
        let value = to_json(&text).unwrap();
        assert!(validator.is_valid(&value), "{name}: {:?}", validator.validate(&value));
    }
}

#[test]
fn what_the_schema_for_editors_rejects_is_rejected() {
    let validator = jsonschema::draft202012::new(&spec::schema()).unwrap();
    let mut rejected = 0;
    for case in all_cases() {
        let Ok(value) = to_json(&case.document) else { continue };
        let is_valid = case.load(&case.document).is_ok();
        assert!(!is_valid || validator.is_valid(&value), "{}: {:?}", case.name, validator.validate(&value));
        rejected += usize::from(!validator.is_valid(&value));
    }
    assert!(rejected > 20, "the schema rejects {rejected} cases");
}

#[test]
fn what_cannot_run_yet_is_listed() {
    let document = "name: x
agents: {a: {description: d, budget: {tokens: 5}, resumeOnMessage: true}}
plugins: {p: {source: 'builtin:text', permissions: {upper: ask}}}
options: {isolation: worktree-per-step, budget: {tokens: 5}}
steps: [{id: a, instructions: x, grants: {fs: {read: true}}}]";
    let loaded = spec::parse(document, "flow.yaml", &Memory::default()).unwrap();
    let paths: Vec<&str> = loaded.workflow.unbuilt.iter().map(|unbuilt| unbuilt.path.as_str()).collect();
    assert_eq!(paths, ["plugins.p.permissions"]);
    assert_eq!(loaded.warnings.iter().filter(|found| found.code == "W006").count(), 1);
}

#[test]
fn a_document_that_loops_is_one_step() {
    use spec::workflow::{LoopKind, OnLimit, Wiring, Work};
    let document = "name: x
mode: loop
loop: {maxIterations: 3, while: 'iteration < 2'}
steps: [{id: a, instructions: x}, {id: b}]";
    let workflow = spec::parse(document, "flow.yaml", &Memory::default()).unwrap().workflow;
    let [step] = &workflow.scope.steps[..] else { panic!("{:?}", workflow.scope) };
    assert!(matches!(step.work, Work::Body) && step.id.as_str() == "loop");
    let repeat = step.repeat.as_ref().unwrap();
    let body = repeat.body.as_ref().unwrap();
    assert_eq!((body.wiring, body.steps[1].depends_on.as_slice()), (Wiring::Sequential, &[0][..]));
    assert!(matches!(&repeat.kind, LoopKind::Repeat(kind) if kind.on_limit == OnLimit::Fail && kind.go_on.is_some()));
}

#[test]
fn inner_steps_have_the_request_retries_of_what_holds_them() {
    let document = "name: x
steps: [{id: g, maxRetries: 7, steps: [{id: h, steps: [{id: a, instructions: x}]}]}, {id: b, instructions: x}]";
    let workflow = spec::parse(document, "flow.yaml", &Memory::default()).unwrap().workflow;
    let inner = workflow.scope.steps[0].inner().unwrap();
    assert_eq!(inner.defaults.max_retries, Some(7));
    assert_eq!(inner.steps[0].inner().unwrap().defaults.max_retries, Some(7));
    assert_eq!(workflow.scope.defaults.max_retries, None);
}

#[test]
fn yaml_and_json_give_the_same_workflow() {
    for (name, text) in valid() {
        let value = to_json(&text).unwrap();
        let [from_yaml, from_json, minified] = [text, serde_json::to_string_pretty(&value).unwrap(), value.to_string()]
            .map(|text| {
                let mut workflow =
                    spec::parse(&text, "flow", &beside()).unwrap_or_else(|found| panic!("{name}:\n{found}")).workflow;
                // These two tell the texts apart, and nothing else may.
                workflow.hash.clear();
                workflow.sources.clear();
                format!("{workflow:#?}")
            });
        assert_eq!(from_yaml, from_json, "{name}");
        assert_eq!(from_yaml, minified, "{name}");
    }
}

#[test]
fn names_that_others_gave_may_begin_like_extensions() {
    let text = "name: x
mcpServers:
  web: { url: 'https://x.example/mcp', headers: { x-team: docs, x-api-key: '${TOKEN}', X-A: b } }
  files: { command: c, env: { x-level: '5', A: b } }
options: { modelOptions: { headers: { x-team: docs }, provider: { x-ai: { a: 1 }, b: {} } } }
steps: [{ id: a, instructions: x }]";
    let loaded = spec::parse(text, "flow.yaml", &Memory::default()).unwrap_or_else(|found| panic!("{found}"));
    let workflow = loaded.workflow;
    let server = |name: &str| match &workflow.servers[name] {
        ServerReference::Command { env: table, .. } | ServerReference::Address { headers: table, .. } => {
            table.keys().map(String::as_str).collect::<Vec<_>>()
        }
        ServerReference::Project => panic!("{name}"),
    };
    assert_eq!((server("web"), server("files")), (vec!["X-A", "x-api-key", "x-team"], vec!["A", "x-level"]));
    let options = &workflow.options.model_options;
    assert_eq!(options.headers.keys().collect::<Vec<_>>(), ["x-team"]);
    assert_eq!(options.provider.keys().collect::<Vec<_>>(), ["b", "x-ai"]);
    let validator = jsonschema::draft202012::new(&spec::schema()).unwrap();
    assert!(validator.is_valid(&to_json(text).unwrap()));
    assert!(!validator.is_valid(&to_json(&text.replace("x-level: '5'", "x-level: 5")).unwrap()));
}
