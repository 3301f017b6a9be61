//! Documents that include others, as they come out of loading: each read once, checked by itself, put together.

#![expect(clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

use cofferdam_core::diagnostic::Diagnostics;
use cofferdam_core::port::{SourceError, SourceFile, Sources};
use cofferdam_core::spec::workflow::{FailurePolicy, Include, Wiring, Work, Workflow};
use cofferdam_core::spec::{self, InputText};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Files in memory, which count how often they are read.
#[derive(Default)]
struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    reads: AtomicUsize,
}

impl Memory {
    fn of<T: AsRef<[u8]>>(files: impl IntoIterator<Item = (&'static str, T)>) -> Self {
        let files = files.into_iter().map(|(path, text)| (path.to_owned(), text.as_ref().to_vec())).collect();
        Self { files, reads: AtomicUsize::new(0) }
    }

    fn load(&self) -> Result<spec::Loaded, Diagnostics> {
        spec::load("dir/flow.yaml", self)
    }

    fn workflow(&self) -> Workflow {
        self.load().unwrap_or_else(|found| panic!("{found}")).workflow
    }

    /// Codes and places of what is found.
    fn findings(&self) -> Vec<String> {
        let found = self.load().map_or_else(|found| found, |loaded| loaded.warnings);
        let place = |found: &cofferdam_core::diagnostic::Diagnostic| {
            found.place.as_ref().map(|place| format!("{}:{}:{}", place.file, place.line, place.column))
        };
        found.iter().map(|found| format!("{} {}", found.code, place(found).unwrap_or_default())).collect()
    }
}

impl Sources for Memory {
    fn read(&self, path: &str, max_bytes: usize) -> Result<SourceFile, SourceError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        // What a file system would understand as well must not be needed.
        assert!(!path.contains("./") && !path.starts_with('/'), "{path}");
        let bytes = self.files.get(path).ok_or_else(|| SourceError::Missing(path.into()))?;
        if bytes.len() > max_bytes {
            return Err(SourceError::TooLarge { path: path.into(), bytes: bytes.len() as u64, limit: max_bytes });
        }
        Ok(SourceFile { bytes: bytes.as_slice().into() })
    }
}

fn include(workflow: &Workflow, step: usize) -> &Include {
    match &workflow.scope.steps[step].work {
        Work::Include(include) => include,
        other => panic!("{other:?}"),
    }
}

const STEPS: &str = "name: inner\nsteps: [{id: a, instructions: x}]\n";

#[test]
fn what_an_included_document_names_is_relative_to_it() {
    let files = Memory::of([
        ("flow.yaml", "name: x\nincludes: {one: lib/one.yaml}\nsteps: [{id: a, include: one}]"),
        (
            "lib/one.yaml",
            "name: one
plugins: {mine: ./mine.wasm, yours: ../yours.wasm, text: builtin:text}
agents: {writer: {description: d, prompt: '@../prompts/writer.md'}}
steps:
  - {id: a, agent: writer, instructions: '@task.md', contextFiles: [data.txt, ./more/../x.png, ../top.md]}
  - {id: b, include: deep/two.yaml}",
        ),
        ("lib/task.md", "@more.md"),
        ("lib/more.md", "Write."),
        ("prompts/writer.md", "You write."),
        ("lib/deep/two.yaml", "name: two\nsteps: [{id: a, instructions: '@two.md'}, {id: b, include: ../three.json}]"),
        ("lib/deep/two.md", "Two."),
        ("lib/three.json", r#"{"name": "three", "steps": [{"id": "a", "instructions": "x"}]}"#),
    ]);
    let workflow = files.workflow();
    let one = include(&workflow, 0);
    assert_eq!((&*one.name, one.path.as_str()), ("one", "lib/one.yaml"));
    let Work::Agent(writer) = &one.scope.steps[0].work else { panic!("{one:?}") };
    assert_eq!(&*writer.instructions, "Write.");
    assert_eq!(writer.context_files, ["lib/data.txt", "lib/x.png", "top.md"]);
    let sources: Vec<_> = workflow.plugins.values().map(|plugin| plugin.source.as_str()).collect();
    assert_eq!(sources, ["./lib/mine.wasm", "builtin:text", "./yours.wasm"]);
    assert_eq!(workflow.agents.values().next().unwrap().prompt.as_deref(), Some("You write."));
    let Work::Include(two) = &one.scope.steps[1].work else { panic!("{one:?}") };
    assert_eq!(two.path, "lib/deep/two.yaml");
    let Work::Include(three) = &two.scope.steps[1].work else { panic!("{two:?}") };
    assert_eq!(three.path, "lib/three.json");
    let read: Vec<&str> = workflow.sources.iter().map(|source| source.path.as_str()).collect();
    let expected = [
        "dir/flow.yaml",
        "dir/lib/one.yaml",
        "dir/prompts/writer.md",
        "dir/lib/task.md",
        "dir/lib/more.md",
        "dir/lib/deep/two.yaml",
        "dir/lib/deep/two.md",
        "dir/lib/three.json",
    ];
    assert_eq!(read, expected);
}

#[test]
fn another_included_document_means_another_hash() {
    let hash = |inner: &str| {
        Memory::of([("flow.yaml", "name: x\nsteps: [{id: a, include: one.yaml}]"), ("one.yaml", inner)]).workflow().hash
    };
    assert_eq!(hash(STEPS), hash(STEPS));
    assert_ne!(hash(STEPS), hash(&STEPS.replace("instructions: x", "instructions: y")));
}

#[test]
fn options_and_mode_of_an_included_document_hold_inside() {
    let files = Memory::of([
        (
            "flow.yaml",
            "name: x
options: {stepTimeout: 1s, maxRetries: 9}
steps:
  - {id: a, include: one.yaml}
  - {id: b, include: one.yaml, timeout: 1m}
  - {id: c, include: one.yaml, timeout: 1h, retries: 2, onFailure: continue}
  - {id: d, include: one.yaml, timeout: 0s}
  - {id: e, include: two.yaml, timeout: 3m}
  - {id: f, include: two.yaml}
  - {id: g, include: two.yaml, timeout: 0s}",
        ),
        (
            "one.yaml",
            "name: one
mode: sequential
options: {onStepFailure: skip-dependents, timeout: 5m, stepTimeout: 2m, maxRetries: 4, outputTransform: [trim]}
output: steps.b.content
steps: [{id: a, instructions: x}, {id: b}, {id: g, steps: [{id: h, instructions: x}]}]",
        ),
        ("two.yaml", "name: two\nmode: loop\nloop: {maxIterations: 2}\nsteps: [{id: a, instructions: x}]"),
    ]);
    let workflow = files.workflow();
    let timeouts: Vec<_> =
        workflow.scope.steps.iter().map(|step| step.timeout.map(|timeout| timeout.as_secs())).collect();
    assert_eq!(timeouts, [Some(300), Some(60), Some(300), Some(300), Some(180), None, Some(0)]);
    let one = include(&workflow, 2);
    let defaults = &one.scope.defaults;
    assert_eq!((one.scope.wiring, defaults.on_step_failure), (Wiring::Sequential, FailurePolicy::SkipDependents));
    assert_eq!((defaults.step_timeout, defaults.max_retries), (Some(Duration::from_secs(120)), Some(4)));
    assert_eq!(defaults.output_transform.len(), 1);
    assert_eq!(one.scope.steps[2].inner().unwrap().defaults.step_timeout, Some(Duration::from_secs(120)));
    assert_eq!(one.output.as_ref().map(cofferdam_core::expr::Expr::source), Some("steps.b.content"));
    let two = include(&workflow, 5);
    assert!(matches!(two.scope.steps[0].work, Work::Body) && two.scope.defaults.step_timeout.is_none());
    assert_eq!((workflow.scope.defaults.max_retries, workflow.options.max_retries), (None, Some(9)));
}

#[test]
fn what_a_step_gives_is_bound_to_typed_inputs() {
    let files = Memory::of([
        (
            "flow.yaml",
            "name: x
inputs: {n: {type: integer, default: 1}}
steps:
  - {id: a, instructions: x}
  - {id: b, dependsOn: [a], include: one.yaml, with: {topic: '{{ steps.a.content }}', list: [1, '{{ inputs.n }}'], level: low}}
  - {id: c, include: two.yaml}",
        ),
        (
            "one.yaml",
            "name: one
inputs:
  topic: {type: string}
  list: {type: array, required: false}
  level: {type: string, enum: [low, high], default: high}
  n: {type: string, default: n}
steps: [{id: a, input: '{{ inputs.topic }} {{ inputs.n }}'}]",
        ),
        ("two.yaml", STEPS),
    ]);
    let workflow = files.workflow();
    let one = include(&workflow, 1);
    let variables = json!({"steps": {"a": {"content": "cats"}}, "inputs": {"n": 2}});
    let given = one.with.render(variables.as_object().unwrap()).unwrap();
    assert_eq!(given, json!({"topic": "cats", "list": [1, 2], "level": "low"}));
    let bind = |given: serde_json::Value| {
        let given: Vec<_> = given
            .as_object()
            .unwrap()
            .clone()
            .into_iter()
            .map(|(name, value)| (name, InputText::Value(value)))
            .collect();
        one.bind_inputs(&given)
    };
    let bound = bind(given).unwrap();
    assert_eq!(serde_json::Value::Object(bound), json!({"topic": "cats", "list": [1, 2], "level": "low", "n": "n"}));
    assert!(bind(json!({"topic": 1})).unwrap_err().to_string().contains("input `topic` takes text"));
    let two = include(&workflow, 2);
    assert_eq!((two.with.source(), two.with.is_constant()), (&json!({}), true));
}

#[test]
fn equal_definitions_of_several_documents_are_one() {
    let inner = "name: one
agents: {writer: {description: writes, tools: [read], resultSchema: {type: object, properties: {a: {}, b: {}}}}}
plugins: {mine: ./mine.wasm}
vars: {n: {a: 1, b: 2}}
steps: [writer]";
    let files = Memory::of([
        (
            "flow.yaml",
            "name: x
agents: {writer: {resultSchema: {properties: {b: {}, a: {}}, type: object}, tools: [read], description: writes}, own: {description: d}}
plugins: {mine: lib/mine.wasm}
vars: {n: {b: 2, a: 1}, m: 1}
steps: [{id: a, include: lib/one.yaml}, {id: b, include: lib/two.yaml}, {id: c, include: lib/one.yaml}]",
        ),
        ("lib/one.yaml", inner),
        ("lib/two.yaml", inner),
    ]);
    let workflow = files.workflow();
    assert_eq!(workflow.agents.keys().map(ToString::to_string).collect::<Vec<_>>(), ["own", "writer"]);
    assert_eq!(workflow.plugins.values().map(|plugin| plugin.source.as_str()).collect::<Vec<_>>(), ["lib/mine.wasm"]);
    assert_eq!(serde_json::Value::Object(workflow.vars), json!({"m": 1, "n": {"b": 2, "a": 1}}));
    // Each document is read once, however it is named and however often.
    assert_eq!(files.reads.load(Ordering::Relaxed), 3);
}

#[test]
fn a_document_that_no_step_uses_shares_nothing() {
    let files = Memory::of([
        (
            "flow.yaml",
            "name: x\nincludes: {unused: one.yaml}\nagents: {writer: {description: d}}\nsteps: [writer]".to_owned(),
        ),
        ("one.yaml", "name: one\nagents: {writer: {description: other}}\nsteps: [writer]".to_owned()),
    ]);
    let loaded = files.load().unwrap_or_else(|found| panic!("{found}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.workflow.agents.len(), 1);
}

#[test]
fn what_cannot_run_in_an_included_document_is_listed_with_its_file() {
    let files = Memory::of([
        ("flow.yaml", "name: x\nsteps: [{id: a, include: lib/one.yaml}]"),
        (
            "lib/one.yaml",
            "name: one\nplugins: {p: {source: 'builtin:text', permissions: {upper: ask}}}\nsteps: [{id: a, tool: p.upper}]",
        ),
    ]);
    let unbuilt = files.workflow().unbuilt;
    assert_eq!(unbuilt.len(), 1);
    assert_eq!(unbuilt[0].path, "dir/lib/one.yaml: plugins.p.permissions");
}

#[test]
fn yaml_and_json_of_an_included_document_are_equal() {
    let yaml = "name: one
inputs: {topic: {type: string, default: cats}}
agents: {writer: {description: d}}
mode: sequential
steps: [writer, {id: b, agent: writer, instructions: 'x {{ not a template }}', timeout: 5s}]
options: {onStepFailure: abort, timeout: 1m}";
    let value: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
    let shown = |inner: String| {
        let files = Memory::of([
            ("flow.yaml", "name: x\nsteps: [{id: a, include: one.txt, with: {topic: dogs}}]".to_owned()),
            ("one.txt", inner),
        ]);
        let mut workflow = files.workflow();
        workflow.hash.clear();
        workflow.sources.clear();
        format!("{workflow:#?}")
    };
    assert_eq!(shown(yaml.to_owned()), shown(value.to_string()));
    assert_eq!(shown(yaml.to_owned()), shown(serde_json::to_string_pretty(&value).unwrap()));
    assert_eq!(shown(yaml.to_owned()), shown(format!("\u{FEFF}{}", yaml.replace('\n', "\r\n"))));
}

#[test]
fn five_documents_inside_each_other_are_enough() {
    let inner = |next: usize| format!("name: d\nsteps: [{{id: a, include: {next}.yaml}}]");
    let mut files = Memory::default();
    files.files.insert("flow.yaml".into(), inner(1).into());
    for at in 1..5 {
        files.files.insert(format!("{at}.yaml"), inner(at + 1).into());
    }
    files.files.insert("5.yaml".into(), STEPS.into());
    assert!(files.load().is_ok());
    files.files.insert("5.yaml".into(), inner(6).into());
    files.files.insert("6.yaml".into(), STEPS.into());
    assert_eq!(files.findings(), ["W082 dir/5.yaml:2:26"]);
}

#[test]
fn what_is_no_text_or_too_large_is_said_where_it_is() {
    let files = |inner: &[u8]| {
        Memory::of([
            ("flow.yaml", b"name: x\nsteps: [{id: a, include: lib/one.yaml}]".as_slice()),
            ("lib/one.yaml", inner),
        ])
    };
    assert_eq!(files(b"name: x\nsteps: \xff").findings(), ["W001 dir/lib/one.yaml:2:8"]);
    assert_eq!(files(&vec![b' '; 1024 * 1024 + 1]).findings(), ["W002 dir/flow.yaml:2:26"]);
    let mut full = STEPS.as_bytes().to_vec();
    full.resize(1024 * 1024, b' ');
    assert!(files(&full).load().is_ok());
    assert_eq!(files(b"name: x\nsteps: [\0]").findings().len(), 1);
}

/// Steps that each include the same document.
fn many(count: usize, target: &str) -> String {
    let steps: String = (0..count).map(|step| format!("  - {{id: s{step}, include: {target}}}\n")).collect();
    format!("name: d\nsteps:\n{steps}")
}

#[test]
fn documents_that_multiply_are_refused_quickly() {
    let start = Instant::now();
    let files = Memory::of([
        ("flow.yaml", many(1000, "a.yaml")),
        ("a.yaml", many(1000, "b.yaml")),
        ("b.yaml", many(1000, "c.yaml")),
        ("c.yaml", many(1000, "d.yaml")),
        ("d.yaml", STEPS.to_owned()),
    ]);
    // 2 000 steps of `c.yaml` fit fifty times.
    assert_eq!(files.findings(), ["W009 dir/b.yaml:53:24"]);
    assert_eq!(files.reads.load(Ordering::Relaxed), 5);
    let files =
        Memory::of([("flow.yaml", many(400, "a.yaml")), ("a.yaml", many(100, "b.yaml")), ("b.yaml", STEPS.to_owned())]);
    assert!(files.load().is_ok());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn many_and_large_documents_are_refused_quickly() {
    let start = Instant::now();
    let mut files = Memory::default();
    let names: String = (0..20_000).map(|at| format!("  n{at}: {at}.yaml\n")).collect();
    files
        .files
        .insert("flow.yaml".into(), format!("name: x\nincludes:\n{names}steps: [{{id: a, instructions: x}}]").into());
    files.files.extend((0..20_000).map(|at| (format!("{at}.yaml"), STEPS.into())));
    assert_eq!(files.findings(), ["W002 dir/flow.yaml:10901:11"]);
    assert!(files.reads.load(Ordering::Relaxed) < 1_100);
    let mut files = Memory::default();
    let steps: String = (0..50).map(|at| format!("  - {{id: s{at}, include: {at}.yaml}}\n")).collect();
    files.files.insert("flow.yaml".into(), format!("name: x\nsteps:\n{steps}").into());
    let large = format!("{STEPS}# {}", "x".repeat(1024 * 1024 - 100));
    files.files.extend((0..50).map(|at| (format!("{at}.yaml"), large.clone().into())));
    assert_eq!(files.findings(), ["W002 dir/flow.yaml:12:23"]);
    assert_eq!(files.reads.load(Ordering::Relaxed), 1 + 9);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn many_inputs_of_a_document_that_many_steps_include_cost_little() {
    let inputs: String = (0..10_000).map(|at| format!("  i{at}: {{type: string}}\n")).collect();
    let start = Instant::now();
    let files = Memory::of([
        ("flow.yaml", many(900, "a.yaml")),
        ("a.yaml", format!("name: d\ninputs:\n{inputs}steps: [{{id: a, instructions: x}}]\n")),
    ]);
    assert_eq!(files.findings().len(), 900);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn deep_documents_inside_each_other_do_not_overflow_a_small_stack() {
    let deep = |inner: &str| {
        let (open, close) = ("{id: a, steps: [", "]}");
        format!("name: d\nsteps: [{}{{id: a, {inner}}}{}]\n", open.repeat(14), close.repeat(14))
    };
    let mut files = Memory::default();
    files.files.insert("flow.yaml".into(), deep("include: 1.yaml").into());
    for at in 1..5 {
        files.files.insert(format!("{at}.yaml"), deep(&format!("include: {}.yaml", at + 1)).into());
    }
    files.files.insert("5.yaml".into(), deep("instructions: x").into());
    let load = move || files.workflow().hash.len();
    let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(load).unwrap();
    assert_eq!(thread.join().unwrap(), 64);
}

#[test]
fn documents_full_of_faults_are_not_all_opened() {
    let faulty = format!("name: d\nsteps: [{}]", "{id: A},".repeat(900));
    let mut files = Memory::default();
    files.files.insert(
        "flow.yaml".into(),
        (0..200)
            .fold("name: x\nsteps:\n".to_owned(), |text, at| format!("{text}  - {{id: s{at}, include: {at}.yaml}}\n"))
            .into(),
    );
    files.files.extend((0..200).map(|at| (format!("{at}.yaml"), faulty.clone().into())));
    assert_eq!(files.findings().len(), 1001);
    assert!(files.reads.load(Ordering::Relaxed) < 10);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whatever documents include each other, loading ends; what it accepts has no circle and is not deeper than five.
    #[test]
    fn any_documents_that_include_each_other_end(edges in proptest::collection::vec(proptest::collection::vec(0_usize..7, 0..3), 7)) {
        let mut files = Memory::default();
        for (at, targets) in edges.iter().enumerate() {
            let name = if at == 0 { "flow.yaml".to_owned() } else { format!("{at}.yaml") };
            let steps: String = targets.iter().enumerate().map(|(step, target)| {
                let target = if *target == 0 { "flow.yaml".to_owned() } else { format!("./{target}.yaml") };
                format!("  - {{id: s{step}, include: {target}}}\n")
            }).collect();
            files.files.insert(name, format!("name: d\nsteps:\n  - {{id: own, instructions: x}}\n{steps}").into());
        }
        let loaded = files.load();
        let depth = depth(&edges, 0, 0);
        proptest::prop_assert_eq!(loaded.is_ok(), depth.is_some(), "{:?}", loaded.err());
        proptest::prop_assert!(files.reads.load(Ordering::Relaxed) <= 7);
    }
}

/// How deep documents nest below one; none when that is too deep or without end.
fn depth(edges: &[Vec<usize>], document: usize, from: usize) -> Option<usize> {
    if from > 5 {
        return None;
    }
    edges[document].iter().try_fold(from, |deepest, next| Some(deepest.max(depth(edges, *next, from + 1)?)))
}
