//! `cofferdam test`: every expectation can hold and can fail, broken test files are refused with their places, and
//! nothing outside the case is touched.

use crate::support::{Project, repository};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const DOCUMENT: &str = r#"
name: flow
inputs: { who: { type: string, default: you } }
steps:
  - { id: draft, instructions: Write to them. }
  - id: measure
    tool: glob
    args: { pattern: "*.md" }
    dependsOn: [draft]
  - { id: perhaps, instructions: Perhaps., dependsOn: [draft], condition: "steps.draft.result.nothing == 1" }
  - { id: never, instructions: Not this one., condition: "inputs.who == 'nobody'" }
  - id: each
    dependsOn: [measure]
    loop: { forEach: [x, y] }
    instructions: Look at it.
  - { id: broken, instructions: Fail., retries: 1, onFailure: continue }
output: steps.each.content
"#;

const MODEL: &str = r#"
usage: { input: 10, output: 5 }
answers:
  - { step: draft, text: Dear you. }
  - { step: broken, error: { code: model_odd, class: retry, message: no luck } }
default: { text: seen }
"#;

/// An expectation that holds of the run, one that does not, and what the second is told to be about.
const EXPECTATIONS: &[(&str, &str, &str)] = &[
    ("status: completed", "status: failed", "status"),
    ("status: { not: failed }", "status: { not: completed }", "status"),
    ("reason: null", "reason: timeout", "reason"),
    ("error: null", "error: { step: broken }", "error.step"),
    ("output: { contains: '### each[0]' }", "output: { contains: nothing of the kind }", "output"),
    ("output: { matches: 'seen$' }", "output: { matches: '^seen$' }", "output"),
    ("output: { cel: 'size(value) > 3' }", "output: { cel: 'size(value) > 300' }", "output"),
    ("output: { schema: { type: string } }", "output: { schema: { type: object } }", "output"),
    ("steps: { draft: completed }", "steps: { draft: skipped }", "steps.draft.status"),
    ("steps: { draft: { content: Dear you. } }", "steps: { draft: { content: Dear me. } }", "steps.draft.content"),
    (
        "steps: { measure: { result: { contains: { files: [a.md] } } } }",
        "steps: { measure: { result: null } }",
        "steps.measure.result",
    ),
    ("steps: { 'each[1]': completed }", "steps: { 'each[2]': completed }", "steps.each[2]"),
    ("steps: { nothing: null }", "steps: { draft: null }", "steps.draft"),
    (
        "steps: { broken: { error: model_odd, attempts: 2 } }",
        "steps: { broken: { attempts: 1 } }",
        "steps.broken.attempts",
    ),
    (
        "steps: { broken: { error: { message: { contains: no luck } } } }",
        "steps: { broken: { error: timeout } }",
        "steps.broken.error.code",
    ),
    (
        "steps: { never: { skippedBecause: condition } }",
        "steps: { never: { skippedBecause: upstream } }",
        "steps.never.skippedBecause",
    ),
    ("steps: { draft: { truncated: false } }", "steps: { draft: { truncated: true } }", "steps.draft.truncated"),
    ("steps: { draft: { usage: 15 } }", "steps: { draft: { usage: { input: 1 } } }", "steps.draft.usage.input"),
    ("path: { contains: each }", "path: [draft, each]", "path"),
    ("order: [draft before measure before each]", "order: [each before draft]", "order"),
    ("order: [[draft, 'each[0]']]", "order: [[draft, never]]", "order"),
    ("together: [[draft, broken]]", "together: [[draft, measure]]", "together"),
    // Each of the two tries of `broken` asks three times.
    (
        "steps: { broken: { usage: { requests: 6 } } }",
        "steps: { broken: { usage: { requests: 2 } } }",
        "steps.broken.usage.requests",
    ),
    ("usage: { total: 45, requests: 9 }", "usage: { total: { atMost: 44 } }", "usage.total"),
    ("loops: { each: 2 }", "loops: { each: 3 }", "loops.each.iterations"),
    ("loops: { each: { items: 2, completed: 2 } }", "loops: { each: { completed: 1 } }", "loops.each.completed"),
    ("messages: { draft: { contains: Write to them. } }", "messages: { draft: Write to me. }", "messages.draft.user"),
    (
        "messages: { draft: { system: null, turn: 1 } }",
        "messages: { draft: { system: { contains: x } } }",
        "messages.draft.system",
    ),
    (
        "messages: { 'each[1]': { contains: [y, Look at it.] } }",
        "messages: { 'each[1]': { contains: x, excludes: y } }",
        "messages.each[1].user",
    ),
    (
        "messages: { broken: [{ attempt: 1 }, { attempt: 2 }] }",
        "messages: { broken: [{ attempt: 1 }] }",
        "messages.broken",
    ),
    (
        "messages: { draft: { tools: { contains: read } } }",
        "messages: { draft: { tools: { excludes: read } } }",
        "messages.draft.tools",
    ),
    ("messages: { never: null }", "messages: { draft: null }", "messages.draft"),
    ("messages: { draft: { model: scripted } }", "messages: { never: { model: scripted } }", "messages.never"),
    ("calls: { glob: 1 }", "calls: { glob: 2 }", "calls.glob.times"),
    (
        "calls: { glob: { args: { contains: { pattern: '*.md' } } } }",
        "calls: { write: { times: 1 } }",
        "calls.write.times",
    ),
    ("calls: { write: 0 }", "calls: { write: { atLeast: 1 } }", "calls.write.times"),
    ("warnings: { contains: nothing }", "warnings: []", "warnings"),
    ("vars: { k: null }", "vars: { k: 1 }", "vars.k"),
    ("durationMs: { atLeast: 500, atMost: 5000 }", "durationMs: 0", "durationMs"),
];

fn indented(text: &str, by: usize) -> String {
    text.trim().lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
}

fn file_of(expectations: impl Iterator<Item = &'static str>) -> String {
    let mut text =
        format!("workflow: |\n{}model:\n{}files: {{ a.md: A }}\ncases:\n", indented(DOCUMENT, 2), indented(MODEL, 2));
    for expectation in expectations {
        let name = serde_json::to_string(expectation).unwrap();
        writeln!(text, "  - name: {name}\n    expect:\n      {expectation}").unwrap();
    }
    text
}

/// A test file whose document has one step, with what its model says.
fn one_step(says: &str, cases: &str) -> String {
    let document = "workflow: |\n  name: w\n  steps: [{ id: a, instructions: x }]\n";
    format!("{document}model: {{ default: {{ text: {says} }} }}\ncases:\n{cases}")
}

fn cases(project: &Project, args: &[&str], code: i32) -> Vec<Value> {
    let outcome = project.run(args).expect(code);
    outcome.json_lines().into_iter().filter(|line| line["kind"] == "case").collect()
}

#[test]
fn every_expectation_can_hold() {
    let project = Project::new();
    project.file("holds.test.yaml", file_of(EXPECTATIONS.iter().map(|(holds, _, _)| *holds)));
    let told = project.run(&["test", "holds.test.yaml"]);
    assert_eq!(told.code, Some(0), "{}{}", told.stdout, told.stderr);
    assert!(told.stdout.contains(&format!("{} passed, 0 failed", EXPECTATIONS.len())), "{}", told.stdout);
}

#[test]
fn every_expectation_can_fail() {
    let project = Project::new();
    project.file("fails.test.yaml", file_of(EXPECTATIONS.iter().map(|(_, fails, _)| *fails)));
    let verdicts = cases(&project, &["test", "fails.test.yaml", "--json"], 1);
    assert_eq!(verdicts.len(), EXPECTATIONS.len());
    for (verdict, (_, fails, about)) in verdicts.iter().zip(EXPECTATIONS) {
        assert_eq!(verdict["case"], *fails);
        let misses = verdict["misses"].as_array().unwrap();
        assert!(misses.iter().any(|miss| miss["about"].as_str().unwrap().starts_with(about)), "{fails}: {verdict}");
    }
}

#[test]
fn what_is_refused_is_expected_with_its_place() {
    let broken = "name: w\nsteps:\n  - { id: a, instructions: x, dependsOn: [b] }\n";
    let project = Project::new();
    let case = |name: &str, expect: &str| format!("  - {{ name: {name}, expect: {expect} }}\n");
    let text = format!(
        "workflow: broken.yaml\ncases:\n{}{}{}{}",
        case("by code", "{ refused: W021 }"),
        case("with place", "{ refused: { code: W021, line: 3, column: 43, message: { contains: '`b`' } } }"),
        case("elsewhere", "{ refused: { code: W021, line: 4 } }"),
        case("not at all", "{ status: completed }")
    );
    project.file("broken.yaml", broken).file("broken.test.yaml", text);
    let verdicts = cases(&project, &["test", "--json"], 1);
    let passed: Vec<bool> = verdicts.iter().map(|verdict| verdict["passed"] == true).collect();
    assert_eq!(passed, [true, true, false, false], "{verdicts:?}");
    assert!(verdicts[3]["misses"][0]["found"].as_str().unwrap().contains("refused with W021 at 3:43"), "{verdicts:?}");
    let runs = one_step("x", "  - { name: a, expect: { refused: W021 } }\n");
    project.file("runs.test.yaml", runs);
    let outcome = project.run(&["test", "runs.test.yaml"]).expect(1);
    assert!(outcome.stdout.contains("it ran: completed"), "{}", outcome.stdout);
}

/// Test files that are broken, and what is said: line, column and a part of the message or hint.
const BROKEN: &[(&str, &str, &str)] = &[
    ("", "1:1", "empty"),
    ("cases: [", "", "W001"),
    ("cases: 1\n", "1:8", "expected a list, found a whole number"),
    ("case: []\n", "1:1", "did you mean `cases`?"),
    ("description: x\n", "1:1", "`cases` is missing"),
    ("cases: []\n", "1:8", "there is no case"),
    ("cases:\n  - nmae: a\n", "2:5", "did you mean `name`?"),
    ("cases:\n  - name: a\n", "2:5", "the case has no document"),
    (
        "cases:\n  - { name: a, workflow: none.yaml, expect: { status: completed } }\n",
        "2:26",
        "no document `none.yaml`",
    ),
    ("workflow: w.yaml\ncases:\n  - { name: a }\n", "3:5", "expects nothing"),
    ("workflow: w.yaml\ncases:\n  - { name: a, timeout: 5, expect: { status: failed } }\n", "3:25", "expected text"),
    (
        "workflow: w.yaml\ncases:\n  - { name: a, expect: { status: failed } }\n  - { name: a, expect: { status: failed } }\n",
        "4:13",
        "two cases are called `a`",
    ),
];

/// The same for what a case expects.
const BROKEN_EXPECTATIONS: &[(&str, &str, &str)] = &[
    ("{ stauts: failed }", "3:26", "did you mean `status`?"),
    ("{ status: complete }", "3:34", "did you mean `completed`?"),
    ("{ steps: { a: { statsu: failed } } }", "3:40", "did you mean `status`?"),
    ("{ output: { contians: x, matches: '(' } }", "3:36", "did you mean `contains`?"),
    ("{ output: { matches: '(' } }", "3:45", "not a regular expression"),
    ("{ output: { cel: 'valeu == 1' } }", "3:42", "unknown variable `valeu`"),
    ("{ usage: { total: many } }", "3:42", "expected a number"),
    ("{ order: [a] }", "3:34", "at least two steps"),
    ("{ together: [a before b] }", "3:37", "expected a list"),
    ("{ refused: W021, status: failed }", "3:49", "can never hold"),
];

/// The same for what stands between the document and the cases.
const BROKEN_SETTINGS: &[(&str, &str, &str)] = &[
    ("model: scripted\n", "2:8", "`@answers.yaml` names a file"),
    ("model: '@none.yaml'\n", "2:8", "none.yaml"),
    ("model:\n  answers:\n    - { text: a }\n    - { step: a, txet: b }\n", "5:24", "unknown field `txet`"),
    ("model:\n  answers:\n    - { text: a }\n    - { step: a }\n", "5:7", "answer 2 says nothing"),
    ("tools: { a.b: {} }\n", "2:15", "the answer says nothing"),
    ("tools: { a-B: { content: x } }\n", "2:15", "must match"),
    ("files: { ../x: a }\n", "2:16", "leads out of the working directory"),
    ("allow: [')(']\n", "2:9", "is not a permission rule"),
];

/// All of them as whole files.
fn broken_files() -> impl Iterator<Item = (String, &'static str, &'static str)> {
    let files = BROKEN.iter().map(|(text, place, told)| ((*text).to_owned(), *place, *told));
    let expectations = BROKEN_EXPECTATIONS.iter().map(|(expect, place, told)| {
        (format!("workflow: w.yaml\ncases:\n  - {{ name: a, expect: {expect} }}\n"), *place, *told)
    });
    let settings = BROKEN_SETTINGS.iter().map(|(settings, place, told)| {
        (format!("workflow: w.yaml\n{settings}cases: [{{ name: a, expect: {{ status: failed }} }}]\n"), *place, *told)
    });
    files.chain(expectations).chain(settings)
}

#[test]
fn broken_test_files_are_refused_with_place_and_hint() {
    let project = Project::new();
    project.file("w.yaml", "name: w\nsteps: [{ id: a, instructions: x }]\n");
    let mut faults = String::new();
    for (text, place, told) in broken_files() {
        project.file("b.test.yaml", &text);
        let outcome = project.run(&["test", "b.test.yaml"]).expect(2);
        let shown = format!("--> b.test.yaml:{place}");
        if !outcome.stderr.contains(told)
            || !(place.is_empty()
                || outcome.stderr.contains(&format!("{shown} "))
                || outcome.stderr.contains(&format!("{shown}\n")))
        {
            writeln!(faults, "{text}expected {place} {told}\n{}", outcome.stderr).unwrap();
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn hostile_test_files_end_quickly() {
    let project = Project::new();
    let deep = format!("cases: {}", "[".repeat(10_000));
    let many: String = (0..20_000).map(|index| format!("key{index}: 1\n")).collect();
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]\n";
    let large = format!("description: {}\n", "x".repeat(2 << 20));
    let binary = b"cases: \xff\xfe".to_vec();
    for text in [deep.into_bytes(), many.into_bytes(), bomb.as_bytes().to_vec(), large.into_bytes(), binary] {
        project.file("h.test.yaml", text);
        project.run(&["test", "h.test.yaml"]).expect(2);
    }
    project.run(&["test", "missing.test.yaml"]).expect(2);
    project.run(&["test", "."]).expect(2);
}

#[test]
fn all_test_files_below_are_found_and_filtered() {
    let project = Project::new();
    project.copy_from_repository("host/examples");
    project.file(".hidden/x.test.yaml", "broken: [");
    let all = project.run(&["test"]).expect(0);
    assert!(all.stdout.contains("hello.test.yaml") && all.stdout.contains("review.test.yaml"), "{}", all.stdout);
    let some = project.run(&["test", "--filter", "busy"]).expect(0).stdout;
    assert!(some.contains("1 passed") && some.contains("tries a busy model again"), "{some}");
    project.run(&["test", "--filter", "no such case"]).expect(3).says(&["none of"]);
    Project::new().run(&["test"]).expect(3).says(&["there are no test files here", "`.test.yaml`"]);
}

#[test]
fn a_test_leaves_nothing_behind() {
    let project = Project::bare();
    project.copy_from_repository("host/examples");
    project.run(&["test"]).expect(0);
    assert!(!project.path(".cofferdam").exists());
    assert!(project.run(&["runs", "list"]).expect(0).stdout.trim().is_empty());
}

#[test]
fn verdicts_are_printed_in_order_whatever_runs_at_once() {
    let project = Project::new();
    let cases: String =
        (0..40).map(|index| format!("  - {{ name: case {index}, expect: {{ output: x }} }}\n")).collect();
    project.file("many.test.yaml", one_step("x, delay: 1h", &cases));
    for jobs in ["1", "7"] {
        let verdicts = self::cases(&project, &["test", "--json", "--jobs", jobs], 0);
        let names: Vec<&str> = verdicts.iter().map(|verdict| verdict["case"].as_str().unwrap()).collect();
        assert_eq!(names, (0..40).map(|index| format!("case {index}")).collect::<Vec<_>>());
    }
}

#[test]
fn a_difference_can_be_read() {
    let project = Project::new();
    let text = one_step(
        "\"one\\ntwo\\nthree\"",
        "  - name: lines\n    expect:\n      output: |\n        one\n        2\n        three\n  - name: a line\n    expect: { steps: { a: { content: one } } }\n",
    );
    project.file("d.test.yaml", text);
    let told = project.run(&["test", "d.test.yaml"]).expect(1).stdout;
    for line in [
        "  FAILED lines",
        "      - 2",
        "      + two",
        "        three",
        "  FAILED a line",
        "    steps.a.content",
        "expected: one",
        "0 passed, 2 failed",
        "  d.test.yaml:6 lines",
    ] {
        assert!(told.contains(line), "`{line}` is not in\n{told}");
    }
}

#[test]
fn a_report_for_build_servers_is_xml() {
    let project = Project::new();
    let text = one_step(
        "\"<b> & \\\"c\\\" \\e[1m\"",
        "  - { name: \"is <it>?\", expect: { output: \"]]>\" } }\n  - { name: fine, expect: { output: { contains: <b> } } }\n",
    );
    project.file("x.test.yaml", text);
    project.run(&["test", "--junit", "report.xml"]).expect(1);
    let report = project.read("report.xml");
    let printed = project.run(&["test", "--format", "junit"]).expect(1).stdout;
    for xml in [&report, &printed] {
        assert!(
            xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"2\" failures=\"1\""),
            "{xml}"
        );
        assert!(xml.contains("name=\"is &lt;it&gt;?\" file=\"x.test.yaml\" line=\"6\""), "{xml}");
        assert!(xml.contains("expected: ]]&gt;\nfound:    &lt;b&gt; &amp; &quot;c&quot; [1m</failure>"), "{xml}");
        assert!(!xml.contains('\u{1b}'));
    }
}

#[test]
fn scripted_tools_play_in_place_of_real_ones() {
    let project = Project::new();
    project.file("w.yaml", "name: w\nplugins: { far: ./not-there.wasm }\nsteps:\n  - { id: a, tool: far.fetch, args: { url: x } }\n  - { id: b, tool: write, args: { path: out.txt, content: hi }, dependsOn: [a] }\n");
    let case = |name: &str, tools: &str, expect: &str| {
        format!("  - {{ name: {name}, tools: {{ {tools} }}, expect: {expect} }}\n")
    };
    let text = ["workflow: w.yaml\ntools: { far.fetch: { result: 1 } }\ncases:\n",
        &case("both", "write: { result: ok }", "{ steps: { a: { result: 1 }, b: { result: ok } }, calls: { write: { args: { contains: { path: out.txt } } } } }"),
        &case("one", "", "{ steps: { b: completed } }"),
        &case("by arguments", "far.fetch: [{ args: { url: y }, result: 2 }, { args: { url: x }, result: 3 }]", "{ steps: { a: { result: 3 } } }"),
        &case("failing", "far.fetch: { error: { code: gone, message: it is gone } }", "{ status: failed, steps: { a: { error: gone }, b: cancelled } }"),
        &case("without an answer", "far.fetch: { step: other, result: 1 }", "{ status: failed, error: tool_script_no_answer }"),
    ].concat();
    project.file("w.test.yaml", text);
    let told = project.run(&["test"]);
    assert_eq!(told.code, Some(0), "{}{}", told.stdout, told.stderr);
    assert!(!project.path("out.txt").exists());
}

#[test]
fn the_page_names_every_key() {
    let page = std::fs::read_to_string(repository().join("host/docs/testing.md")).unwrap();
    let words: BTreeSet<&str> = page.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
    for key in cofferdam::testing::keys() {
        assert!(words.contains(key), "testing.md does not say what `{key}` is");
    }
}

#[test]
fn an_interrupted_test_tells_of_what_has_run_and_of_how_much_has_not() {
    for (flag, parts) in [("--format=text", ["passed", "not run"]), ("--json", ["\"passed\":", "\"not_run\":"])] {
        let project = Project::new();
        let cases: String =
            (0..2_000).map(|number| format!("  - {{ name: case {number}, expect: {{ output: x }} }}\n")).collect();
        for file in 0..10 {
            project.file(&format!("many{file}.test.yaml"), one_step("x", &cases));
        }
        let running = project.start(&["test", "--jobs", "1", flag]);
        std::thread::sleep(std::time::Duration::from_secs(3));
        running.signal(rustix::process::Signal::INT);
        let outcome = running.wait().expect(130);
        let last = outcome.stdout.lines().last().unwrap();
        assert!(parts.iter().all(|part| last.contains(part)), "{last}");
        assert!(outcome.stdout.lines().count() > 2, "some had run");
    }
}
