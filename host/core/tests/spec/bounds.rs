//! Bounds, files, inputs.

use crate::case::{Memory, describe};
use cofferdam_core::spec;
use std::collections::BTreeMap;

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
    let variable =
        |count: usize| format!("name: x\nvars: {{v: {}}}\nsteps: [{{id: a, instructions: b}}]\n", "v".repeat(count));
    let variables = |count: usize| {
        let list: String = (0..count).map(|name| format!("  v{name}: 1\n")).collect();
        format!("name: x\nvars:\n{list}steps: [{{id: a, instructions: b}}]\n")
    };
    let cases: [(String, String, &str); 9] = [
        (variable(64 * 1024 - 2), variable(64 * 1024 - 1), "W009"),
        (variables(1000), variables(1001), "W009"),
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

#[test]
fn options_of_models_have_a_bound_also_together() {
    let options =
        |name: &str, kib: usize| format!("modelOptions: {{provider: {{p: {{{name}: {}}}}}}}", "x".repeat(kib * 1024));
    let agents = |kib: usize| format!("agents: {{a: {{description: d, {}}}}}\n", options("a", kib));
    let steps = "steps: [{id: s, agent: a, instructions: x}]\n";
    let document =
        |own: usize, agent: usize| format!("name: x\noptions: {{{}}}\n{}{steps}", options("d", own), agents(agent));
    let found = |text: &str, files: Memory| match spec::parse(text, "flow.yaml", &files) {
        Ok(_) => Vec::new(),
        Err(found) => found.iter().map(describe).collect(),
    };
    let message = "with those of the document's `options`, the options take more than 65536 bytes, or are too deep \
                   (each request carries them: say less)";
    assert_eq!(found(&document(40, 20), Memory::default()), [""; 0]);
    let place = "W076 3:30 agents.a.modelOptions: ";
    assert_eq!(found(&document(40, 40), Memory::default()), [format!("{place}{message}")]);
    // An agent of an included document has the options of the one that runs.
    let inner =
        Memory(BTreeMap::from([("in.yaml".to_owned(), format!("name: i\n{}{steps}", agents(40)).into_bytes())]));
    let outer = format!("name: x\noptions: {{{}}}\nsteps: [{{id: i, include: in.yaml}}]\n", options("d", 40));
    let told = found(&outer, inner);
    assert!(told[0].starts_with("W076 in.yaml:2:30 agents.a.modelOptions: with those of"), "{told:?}");
}
