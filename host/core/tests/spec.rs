//! Documents through the public surface: valid ones load, invalid ones give exactly the expected findings.
//!
//! `documents/invalid.cases` holds one case after another; `UPDATE=1` writes the findings as they are now.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail loudly")]

use cofferdam_core::diagnostic::{Diagnostics, Severity};
use cofferdam_core::port::{SourceError, SourceFile, Sources};
use cofferdam_core::spec::{self, Loaded};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files in memory.
#[derive(Default)]
struct Memory(BTreeMap<String, Vec<u8>>);

impl Sources for Memory {
    fn read(&self, path: &str, max_bytes: usize) -> Result<SourceFile, SourceError> {
        if path.split('/').any(|part| part == "..") || path.starts_with('/') {
            return Err(SourceError::Escape(path.into()));
        }
        let bytes = self.0.get(path.trim_start_matches("./")).ok_or_else(|| SourceError::Missing(path.into()))?;
        if bytes.len() > max_bytes {
            return Err(SourceError::TooLarge { path: path.into(), bytes: bytes.len() as u64, limit: max_bytes });
        }
        Ok(SourceFile { bytes: bytes.as_slice().into() })
    }
}

/// One case: a document, the files beside it, and what is expected of it.
#[derive(Debug)]
struct Case {
    name: String,
    document: String,
    files: BTreeMap<String, Vec<u8>>,
    expected: Vec<String>,
}

impl Case {
    fn load(&self, document: &str) -> Result<Loaded, Diagnostics> {
        spec::parse(document, "flow.yaml", &Memory(self.files.clone()))
    }

    fn findings(&self) -> Vec<String> {
        let found = match self.load(&self.document) {
            Ok(loaded) => loaded.warnings,
            Err(found) => found,
        };
        found.iter().map(describe).collect()
    }
}

fn describe(found: &cofferdam_core::diagnostic::Diagnostic) -> String {
    let place = found.place.as_ref().map_or_else(String::new, |place| {
        let file = if &*place.file == "flow.yaml" { String::new() } else { format!("{}:", place.file) };
        format!("{file}{}:{}", place.line, place.column)
    });
    let severity = if found.severity == Severity::Warning { " warning" } else { "" };
    let path = if found.path.is_empty() { "-" } else { &found.path };
    let hint = found.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
    format!("{}{severity} {place} {path}: {}{hint}", found.code, found.message)
}

/// YAML as JSON, where `yes` and `y` are text, as in documents.
fn to_json(text: &str) -> Result<serde_json::Value, serde_yaml::Error> {
    serde_yaml::from_str_with_options(text, serde_yaml::options! { strict_booleans: true })
}

/// Files of cases: of documents in general, and of the parts of the language.
const CASES: [&str; 2] = ["invalid.cases", "language.cases"];

/// Cases of documents that include others.
const INCLUDES: &str = "includes.cases";

fn all_cases() -> Vec<Case> {
    CASES
        .iter()
        .chain([&INCLUDES])
        .flat_map(|name| cases(&std::fs::read_to_string(documents().join(name)).unwrap()))
        .collect()
}

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents")
}

/// `=== name`, the document, `@@@ path` and a file, `>>>` and a line per finding.
fn cases(text: &str) -> Vec<Case> {
    let unescape =
        |text: &str| text.replace("\\u{202E}", "\u{202E}").replace("\\u{200B}", "\u{200B}").replace("\\t", "\t");
    let mut cases = Vec::new();
    for block in text.split("=== ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let (body, expected) = rest.split_once("\n>>>\n").unwrap_or_else(|| panic!("{name} has no findings"));
        let mut parts = body.split("@@@ ");
        let document = unescape(parts.next().unwrap().trim_end()) + "\n";
        let files = parts
            .map(|part| part.split_once('\n').unwrap_or((part, "")))
            .map(|(path, text)| (path.trim().to_owned(), unescape(text.trim_end()).into()));
        let expected = expected.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        cases.push(Case { name: name.to_owned(), document, files: files.collect(), expected });
    }
    cases
}

#[test]
fn every_invalid_document_has_exactly_its_findings() {
    for name in CASES {
        check_findings(&documents().join(name));
    }
}

#[test]
fn every_document_with_includes_has_exactly_its_findings() {
    check_findings(&documents().join(INCLUDES));
}

fn check_findings(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let cases = cases(&text);
    if std::env::var_os("UPDATE").is_some() {
        let mut updated = text.split("=== ").next().unwrap().to_owned();
        for (case, block) in cases.iter().zip(text.split("=== ").skip(1)) {
            let (source, _) = block.split_once("\n>>>\n").unwrap();
            updated.push_str(&format!("=== {source}\n>>>\n{}\n\n", case.findings().join("\n")));
        }
        std::fs::write(path, updated.trim_end().to_owned() + "\n").unwrap();
        return;
    }
    assert!(cases.len() > 15);
    for case in &cases {
        assert_eq!(case.findings(), case.expected, "{}", case.name);
        assert!(!case.expected.is_empty(), "{} finds nothing", case.name);
    }
}

#[test]
fn every_code_of_documents_has_a_case() {
    let seen: Vec<String> = all_cases().into_iter().flat_map(|case| case.expected).collect();
    // Inputs are bound, not written; what is too long is tested below; includes have tests of their own.
    let elsewhere = ["W009", "W061", "W062", "W081", "W082", "W083", "W084", "W099"];
    for code in spec::code::ALL.iter().filter(|code| !elsewhere.contains(&code.id)) {
        assert!(seen.iter().any(|finding| finding.starts_with(code.id)), "no case has {}: {}", code.id, code.title);
    }
}

#[test]
fn the_json_form_of_an_invalid_document_has_the_same_findings() {
    for case in all_cases() {
        let Ok(value) = to_json(&case.document) else { continue };
        // What a document loses on its way to JSON: anchors, and the letters that JSON escapes.
        if case.name.contains("yaml only") {
            continue;
        }
        let json = serde_json::to_string_pretty(&value).unwrap();
        let shape = |found: &Diagnostics| {
            let mut codes: Vec<_> = found.iter().map(|found| (found.code, found.path.clone())).collect();
            codes.sort();
            codes
        };
        let findings = |text: &str| shape(&case.load(text).map_or_else(|found| found, |loaded| loaded.warnings));
        assert_eq!(findings(&json), findings(&case.document), "{}", case.name);
    }
}

#[test]
fn bounds_hold_exactly() {
    let steps = |count: usize| {
        let list: String = (0..count).map(|step| format!("  - {{id: s{step}, instructions: x}}\n")).collect();
        format!("name: x\nsteps:\n{list}")
    };
    let described =
        |count: usize| format!("name: x\ndescription: {}\nsteps: [{{id: a, instructions: b}}]\n", "d".repeat(count));
    let instructed = |count: usize| format!("name: x\nsteps: [{{id: a, instructions: {}}}]\n", "i".repeat(count));
    let padded = |count: usize| {
        let head = "name: x\nsteps: [{id: a, instructions: b}]\n#";
        format!("{head}{}", " ".repeat(count - head.len()))
    };
    let loops = |count: usize| {
        let (open, close) = ("{id: a, loop: {forEach: [1], steps: [", "]}}");
        format!("name: x\nsteps: [{}{{id: a, instructions: b}}{}]\n", open.repeat(count), close.repeat(count))
    };
    let id = |count: usize| format!("name: x\nsteps: [{{id: {}, instructions: b}}]\n", "a".repeat(count));
    let condition = |count: usize| {
        let text = format!("{}true", " ".repeat(count - 4));
        format!("name: x\nsteps: [{{id: a, instructions: b, condition: \"{text}\"}}]\n")
    };
    let cases: [(String, String, &str); 7] = [
        (steps(1000), steps(1001), "W009"),
        (described(2000), described(2001), "W009"),
        (instructed(32 * 1024), instructed(32 * 1024 + 1), "W009"),
        (padded(1024 * 1024), padded(1024 * 1024 + 1), "W002"),
        (loops(6), loops(12), "W002"),
        (id(64), id(65), "W012"),
        (condition(1024), condition(1025), "W041"),
    ];
    for (good, bad, code) in cases {
        let loaded = spec::parse(&good, "flow.yaml", &Memory::default());
        assert!(loaded.is_ok(), "{code}: {}", loaded.unwrap_err());
        let found = spec::parse(&bad, "flow.yaml", &Memory::default()).unwrap_err();
        assert!(found.iter().any(|found| found.code == code && found.place.is_some()), "{code}: {found}");
    }
}

#[test]
fn a_chain_of_twenty_files_is_followed_and_no_longer_one() {
    let chain = |count: usize| {
        let mut files: BTreeMap<String, Vec<u8>> =
            (1..count).map(|file| (format!("{file}.md"), format!("@{}.md", file + 1).into())).collect();
        files.insert(format!("{count}.md"), b"the end".to_vec());
        spec::parse("name: x\nsteps: [{id: a, instructions: '@1.md'}]", "dir/flow.yaml", &Memory(files))
    };
    let loaded = chain(20).unwrap();
    assert_eq!(loaded.workflow.sources.len(), 21);
    assert_eq!(loaded.workflow.sources[1].path, "dir/1.md");
    assert_eq!(chain(21).unwrap_err().iter().next().unwrap().code, "W016");
}

#[test]
fn a_document_is_read_by_its_name_in_its_own_directory() {
    let files = |text: &[u8]| Memory(BTreeMap::from([("flow.yaml".to_owned(), text.to_vec())]));
    let loaded = spec::load("some/where/flow.yaml", &files(b"name: x\nsteps: [{id: a, instructions: b}]")).unwrap();
    assert_eq!(loaded.workflow.sources[0].path, "some/where/flow.yaml");
    assert_eq!(loaded.workflow.hash.len(), 64);
    for (name, text, code, line) in [
        ("gone.yaml", &b"name: x"[..], "W015", 1),
        ("flow.yaml", b"name: x\nsteps: \xff\xfe", "W001", 2),
        ("flow.yaml", b"\0\0\0", "W001", 1),
        ("flow.yaml", &vec![b' '; 1024 * 1024 + 1], "W002", 1),
    ] {
        let found = spec::load(name, &files(text)).unwrap_err();
        let first = found.iter().next().unwrap();
        assert_eq!((first.code, first.place.as_ref().unwrap().line), (code, line), "{found}");
    }
}

#[test]
fn another_file_means_another_hash() {
    let load = |text: &str| {
        let files = Memory(BTreeMap::from([("a.md".to_owned(), text.as_bytes().to_vec())]));
        spec::parse("name: x\nsteps: [{id: a, instructions: '@a.md'}]", "flow.yaml", &files).unwrap().workflow.hash
    };
    assert_eq!(load("one"), load("one"));
    assert_ne!(load("one"), load("two"));
}

#[test]
fn inputs_are_bound_with_all_faults_at_once() {
    use spec::InputText::{Text, Value};
    let document = "name: x
inputs:
  dir: {type: string, description: the folder}
  depth: {type: integer, default: 3}
  level: {type: string, enum: [low, high], default: low}
  list: {type: array, required: false}
steps: [{id: a, instructions: b}]";
    let workflow = spec::parse(document, "flow.yaml", &Memory::default()).unwrap().workflow;
    let bind = |given: &[(&str, spec::InputText)]| {
        let given: Vec<_> = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        workflow.bind_inputs(&given)
    };
    let bound =
        bind(&[("dir", Text("7".into())), ("depth", Text("4".into())), ("list", Value(serde_json::json!([1])))])
            .unwrap();
    assert_eq!(
        serde_json::Value::Object(bound),
        serde_json::json!({ "dir": "7", "depth": 4, "level": "low", "list": [1] })
    );
    let bound = bind(&[("dir", Text("a".into())), ("dir", Text("b".into()))]).unwrap();
    assert_eq!((&bound["dir"], &bound["list"]), (&serde_json::json!("b"), &serde_json::Value::Null));
    let found = bind(&[
        ("dirr", Text("a".into())),
        ("depth", Text("deep".into())),
        ("level", Text("mid".into())),
        ("list", Text("{}".into())),
    ]);
    let found: Vec<String> = found.unwrap_err().iter().map(describe).collect();
    assert_eq!(
        found,
        [
            "W045  inputs.dirr: unknown input `dirr` (did you mean `dir`?)",
            "W061  inputs.dir: input `dir` is missing (give it with `--input dir=...`: the folder)",
            "W062  inputs.depth: input `depth`: `deep` is not a whole number (write digits only: `42`)",
            "W062  inputs.level: input `level` cannot be `mid` (it is one of `low`, `high`)",
            "W062  inputs.list: input `list` takes a list, not an object",
        ]
    );
}

#[test]
fn steps_that_only_the_input_feeds_are_named() {
    let document = "name: x
agents: {a: {description: d}}
steps: [a, {id: b, dependsOn: [a]}, {id: c}, {id: d, input: x}, {id: e, loop: {forEach: [1]}},
  {id: f, mode: sequential, steps: [{id: g}, {id: h}]}, {id: i, loop: {maxIterations: 2, steps: [{id: k}]}},
  {id: l, loop: {maxIterations: 2}}, {id: m, dependsOn: [a], steps: [{id: n}]},
  {id: o, loop: {forEach: [1], steps: [{id: p}]}}]";
    let workflow = spec::parse(document, "flow.yaml", &Memory::default()).unwrap().workflow;
    let paths: Vec<String> = workflow.steps_fed_by_input().iter().map(ToString::to_string).collect();
    assert_eq!(paths, ["a", "c", "f.g", "i.k", "l"]);
}

fn valid() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(documents().join("valid")).unwrap() {
        let path = entry.unwrap().path();
        found.push((path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap()));
    }
    found.sort();
    assert!(found.len() > 5);
    found
}

fn beside() -> Memory {
    Memory(BTreeMap::from([
        ("prompts/review.md".to_owned(), b"Review it.\n".to_vec()),
        ("next.md".to_owned(), b"@prompts/review.md".to_vec()),
    ]))
}

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
options: {isolation: worktree-per-step}
steps: [{id: a, instructions: x, grants: {fs: {read: true}}}]";
    let loaded = spec::parse(document, "flow.yaml", &Memory::default()).unwrap();
    let paths: Vec<&str> = loaded.workflow.unbuilt.iter().map(|unbuilt| unbuilt.path.as_str()).collect();
    assert_eq!(paths, ["agents.a.budget", "agents.a.resumeOnMessage", "options.isolation", "steps[0].grants"]);
    assert_eq!(loaded.warnings.iter().filter(|found| found.code == "W006").count(), 4);
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

/// Cuts, repeats and mixes pieces of valid documents.
fn mutated(pieces: &[(usize, usize, usize)], documents: &[String]) -> String {
    let mut text = String::new();
    for (document, start, length) in pieces {
        let source: Vec<char> = documents[document % documents.len()].chars().collect();
        let start = start % source.len();
        text.extend(source.iter().skip(start).take(length % 400));
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let files = Memory(BTreeMap::from([("x.yaml".to_owned(), bytes)]));
        let _ = spec::load("x.yaml", &files);
    }

    #[test]
    fn no_mutation_makes_it_panic(pieces in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<usize>()), 1..6)) {
        let documents: Vec<String> = valid().into_iter().map(|(_, text)| text).collect();
        let _ = spec::parse(&mutated(&pieces, &documents), "flow.yaml", &beside());
    }

    #[test]
    fn no_value_at_any_place_makes_it_panic(
        at in any::<usize>(),
        put in prop::sample::select(vec!["null", "[]", "{}", "-1", "1e99", "''", "'{{'", "'steps.'", "[[[]]]", "{a: {b: c}}", "'@'", "true", "18446744073709551615"]),
    ) {
        for (name, text) in valid() {
            let mut value = to_json(&text).unwrap();
            let count = places(&mut value, &mut usize::MAX.clone(), &serde_json::Value::Null);
            let put = to_json(put).unwrap();
            places(&mut value, &mut (at % count), &put);
            let _ = spec::parse(&value.to_string(), &name, &beside());
        }
    }
}

/// Counts the values of a tree, and replaces the one at `left`.
fn places(value: &mut serde_json::Value, left: &mut usize, put: &serde_json::Value) -> usize {
    if *left == 0 {
        *value = put.clone();
        *left = usize::MAX;
        return 1;
    }
    *left = left.wrapping_sub(1);
    let inner: usize = match value {
        serde_json::Value::Array(items) => items.iter_mut().map(|item| places(item, left, put)).sum(),
        serde_json::Value::Object(map) => map.values_mut().map(|item| places(item, left, put)).sum(),
        _ => 0,
    };
    inner + 1
}

#[test]
fn a_thousand_steps_are_checked_quickly() {
    let step = |at: usize| match at {
        0 => "  - {id: step-0, tool: glob, args: {pattern: '*'}}\n".to_owned(),
        _ => format!(
            "  - id: step-{at}\n    dependsOn: [step-{}]\n    tool: read\n    args: {{path: '{{{{ steps.step-{}.result }}}}'}}\n    condition: steps.step-{}.status == 'completed' && size(steps.step-0.content) > 1\n",
            at - 1,
            at - 1,
            at - 1
        ),
    };
    let document = format!("name: x\nsteps:\n{}", (0..1000).map(step).collect::<String>());
    let times = (0..5).map(|_| {
        let start = std::time::Instant::now();
        assert!(spec::parse(&document, "flow.yaml", &Memory::default()).is_ok());
        start.elapsed()
    });
    let best = times.min().unwrap();
    // The goal of 50 ms is for an optimised build on a quiet machine.
    assert!(best.as_millis() < 1000, "{best:?}");
}

#[test]
fn hostile_documents_are_refused_quickly() {
    let many = |text: &str| text.repeat(1024 * 1024 / text.len() - 20);
    let documents = [
        many("["),
        many("{"),
        many("{a: "),
        many("- "),
        many("? "),
        many("a:\n"),
        many("&a "),
        many("*a "),
        many("!x "),
        many("\n"),
        many("'"),
        many("\""),
        many("%"),
        many("| "),
        many("#"),
        many("\t"),
        many("a: &x [*x]\n"),
        many("---\n"),
        many("<<: "),
        many("\u{FEFF}"),
        format!("name: x\nsteps: [{{id: a, tool: read, args: {{x: '{}'}}}}]", "{{ ".repeat(200_000)),
        format!("name: x\nsteps: [{{id: a, tool: read, args: {{x: '{}'}}}}]", "{{ a }}".repeat(100_000)),
        format!("name: x\nsteps: [{{id: a, tool: read, args: {{x: '{}'}}}}]", "{% if ".repeat(100_000)),
        format!("name: x\nsteps: [{{id: a, condition: '{}'}}]", "(".repeat(500_000)),
        format!("name: x\nsteps: [{}]", "a,".repeat(20_000)),
        format!("name: x\nsteps: [{{id: a, ask: {{prompt: x, default: b, choices: [{}a]}}}}]", "a,".repeat(20_000)),
        format!("name: x\nsteps: [{{id: a, transform: {{input: [{}a]}}}}]", "trimm,".repeat(20_000)),
        format!(
            "name: x\nsteps: [{{id: g, mode: parallel, steps: [{}]}}, {}]",
            (0..900).map(|at| format!("{{id: inner-step-{at}, instructions: x}},")).collect::<String>(),
            (0..900)
                .map(|at| format!("{{id: s{at}, dependsOn: [g], condition: steps.g.result.inner-stap-{at} == 1}},"))
                .collect::<String>()
        ),
        format!(
            "name: x\nsteps: [{}]",
            (0..900)
                .map(|at| format!(
                    "{{id: s{at}, dependsOn: [{}]}},",
                    (0..40).map(|other| format!("s{},", (at + other) % 900)).collect::<String>()
                ))
                .collect::<String>()
        ),
    ];
    for document in documents {
        let start = std::time::Instant::now();
        let found = spec::parse(&document, "flow.yaml", &Memory::default()).unwrap_err();
        let shown: String = document.chars().take(40).collect();
        assert!(!found.is_empty());
        // Generous, because machines that test are busy; what is meant is milliseconds.
        assert!(start.elapsed().as_secs() < 3, "{shown}: {:?}", start.elapsed());
    }
}
