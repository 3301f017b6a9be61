//! Branches of recorded runs on the command line: forks, and runs that go on with a changed document.

use crate::support::{Outcome, Project};
use serde_json::Value;

const REPORT: &str = "
name: report
inputs:
  folder: { type: string, default: docs }
  title: { type: string, default: Report }
agents:
  writer: { description: writes, prompt: Be short }
steps:
  - { id: files, tool: glob, args: { pattern: '{{ inputs.folder }}/*.md' } }
  - { id: outline, instructions: outline it, dependsOn: [files] }
  - { id: draft, agent: writer, instructions: draft it, dependsOn: [outline] }
  - { id: aside, instructions: look aside }
  - id: keep
    tool: write
    dependsOn: [draft]
    args: { path: 'out:report.md', content: '{{ inputs.title }}: {{ steps.draft.content }}' }
";

const NESTED: &str = "
name: nested
steps:
  - id: g
    mode: dag
    steps:
      - { id: h, instructions: h }
      - { id: i, instructions: i, dependsOn: [h] }
      - { id: j, instructions: j }
  - id: each
    loop:
      forEach: [one, two, three]
      steps:
        - { id: x, instructions: x }
        - { id: y, instructions: y, dependsOn: [x] }
  - id: rounds
    instructions: round
    loop: { maxIterations: 3 }
  - { id: end, instructions: end, dependsOn: [g, each, rounds] }
";

fn project() -> Project {
    let project = Project::new();
    project.file("report.yaml", REPORT).file("nested.yaml", NESTED).file("model.yaml", "default: { text: words }\n");
    project.file("docs/a.md", "a").file("notes/b.md", "b");
    project
}

fn run(project: &Project, document: &str) -> String {
    project.run(&["run", document, "--model", "scripted/model.yaml"]).expect(0);
    last(project)
}

/// The id of the run that was written to last.
fn last(project: &Project) -> String {
    let listed = project.run(&["runs", "list", "--json"]).expect(0).json_lines();
    listed[0]["run_id"].as_str().unwrap().to_owned()
}

fn events(project: &Project, run: &str) -> Vec<Value> {
    project.run(&["runs", "show", run, "--json"]).expect(0).json_lines()
}

/// The steps that asked a model or called a tool since the run was taken up, each once, in order.
fn worked(project: &Project, run: &str) -> Vec<String> {
    let events = events(project, run);
    let from = events.iter().position(|event| event["kind"] == "run_resumed").unwrap();
    let mut steps: Vec<String> = Vec::new();
    let called = |event: &&Value| event["kind"] == "turn_started" || event["kind"] == "tool_call_started";
    for event in events[from..].iter().filter(called) {
        let step = event["path"].as_str().unwrap().to_owned();
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    steps.sort();
    steps
}

fn status(project: &Project, run: &str) -> String {
    events(project, run).last().unwrap()["status"].as_str().unwrap().to_owned()
}

fn fork(project: &Project, flags: &[&str], code: i32) -> Outcome {
    project.run(&[&["fork", "last"][..], flags].concat()).expect(code)
}

const COUNTED: &str = "
name: counted
steps:
  - { id: a, tool: write, args: { path: 'out:x.txt', content: hello } }
  - { id: b, dependsOn: [a], tool: glob, args: { pattern: 'out:**' } }
output: string(size(steps.b.result.files))
";

#[test]
fn a_branch_has_what_the_steps_that_it_takes_over_wrote_to_the_output() {
    let project = Project::new();
    project.file("counted.yaml", COUNTED);
    assert_eq!(project.run(&["run", "counted.yaml"]).expect(0).stdout, "1\n");
    assert_eq!(project.run(&["fork", "last", "--from", "b"]).expect(0).says(&["reused: a"]).stdout, "1\n");
    project.file("counted.yaml", COUNTED.replace("size(steps.b.result.files)", "size(steps.b.result.files) + 1"));
    let accepted = project.run(&["resume", "last", "--accept-changes"]);
    assert_eq!(accepted.expect(0).stdout, "2\n");
}

#[test]
fn a_fork_from_the_middle_keeps_what_came_before_and_what_stands_beside() {
    let project = project();
    let first = run(&project, "report.yaml");
    let before = events(&project, &first);
    fork(&project, &["--from", "draft"], 0).says(&[
        &format!("is a fork of {first}"),
        "reused: files, outline, aside",
        "runs again: draft, keep",
    ]);
    let second = last(&project);
    assert_ne!(first, second);
    assert_eq!(worked(&project, &second), ["draft", "keep"]);
    assert_eq!(status(&project, &second), "completed");
    let copied = events(&project, &second);
    assert_eq!(copied[0]["branched_from"]["run_id"], first.as_str());
    assert!(copied.iter().all(|event| event["run_id"] == second.as_str()));
    let seqs: Vec<u64> = copied.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=copied.len() as u64).collect::<Vec<_>>());
    assert_eq!(events(&project, &first), before, "the run itself stays as it was");
}

#[test]
fn a_fork_with_an_input_runs_its_readers_again() {
    let project = project();
    run(&project, "report.yaml");
    fork(&project, &["--input", "title=Summary"], 0).says(&["reused: files, outline, draft, aside"]);
    let run_id = last(&project);
    assert_eq!(worked(&project, &run_id), ["keep"]);
    assert_eq!(project.read(&format!(".cofferdam/runs/{run_id}/out/report.md")), "Summary: words");
    fork(&project, &["--input", "folder=notes"], 0);
    assert_eq!(worked(&project, &last(&project)), ["draft", "files", "keep", "outline"]);
    fork(&project, &["--from", "aside", "--input", "title=Once more"], 0);
    assert_eq!(worked(&project, &last(&project)), ["aside", "keep"]);
}

#[test]
fn a_fork_may_begin_inside_a_group_or_an_iteration() {
    let project = project();
    let first = run(&project, "nested.yaml");
    for (from, expected) in [
        ("g.h", &["end", "g.h", "g.i"][..]),
        ("each[1].y", &["each[1].y", "end"]),
        ("each[2]", &["each[2].x", "each[2].y", "end"]),
        ("rounds[1]", &["end", "rounds[1]", "rounds[2]"]),
        ("end", &["end"]),
    ] {
        project.run(&["fork", &first, "--from", from]).expect(0);
        let second = last(&project);
        assert_eq!(worked(&project, &second), expected, "from {from}");
        assert_eq!(status(&project, &second), "completed");
    }
}

#[test]
fn a_fork_from_a_fork_is_one() {
    let project = project();
    run(&project, "report.yaml");
    fork(&project, &["--from", "outline"], 0);
    fork(&project, &["--from", "keep"], 0).says(&["reused: files, outline, draft, aside"]);
    assert_eq!(worked(&project, &last(&project)), ["keep"]);
}

#[test]
fn what_cannot_be_forked_is_refused_and_leaves_no_run() {
    let project = project();
    let first = run(&project, "report.yaml");
    fork(&project, &["--from", "drafd"], 3).says(&["`drafd`", "did you mean `draft`?"]);
    fork(&project, &["--input", "title=Report"], 3).says(&["nothing would be different"]);
    fork(&project, &["--input", "titel=x"], 3).says(&["titel", "did you mean `title`?"]);
    fork(&project, &[], 3).says(&["--from"]);
    project.file("report.yaml", REPORT.replace("outline it", "outline all of it"));
    fork(&project, &["--from", "draft"], 2).says(&["has changed", "--accept-changes"]);
    assert_eq!(last(&project), first);
    assert_eq!(project.run(&["runs", "list", "--json"]).expect(0).json_lines().len(), 1);
}

/// Runs the report, changes its document, goes on with it; what worked again.
fn accepted(change: impl Fn(&str) -> String, says: &[&str]) -> Vec<String> {
    let project = project();
    let first = run(&project, "report.yaml");
    let before = events(&project, &first);
    project.file("report.yaml", change(REPORT));
    let outcome = project.run(&["resume", "last", "--accept-changes"]).expect(0);
    let second = last(&project);
    outcome.says(&[&format!("run {first} goes on as {second} with the changed document")]).says(says);
    assert_eq!(status(&project, &second), "completed");
    assert_eq!(events(&project, &first), before, "the run itself stays as it was");
    worked(&project, &second)
}

#[test]
fn an_accepted_change_runs_what_it_touches_again() {
    let changed = accepted(|text| text.replace("outline it", "outline all of it"), &["reused: files, aside"]);
    assert_eq!(changed, ["draft", "keep", "outline"]);
    let agent = accepted(|text| text.replace("Be short", "Be long"), &["reused: files, outline, aside"]);
    assert_eq!(agent, ["draft", "keep"]);
    let removed =
        accepted(|text| text.replace("  - { id: aside, instructions: look aside }\n", ""), &["reused: files"]);
    assert!(removed.is_empty(), "{removed:?}");
    let added =
        accepted(|text| format!("{text}  - {{ id: more, instructions: more, dependsOn: [aside] }}\n"), &["reused"]);
    assert_eq!(added, ["more"]);
    let input = accepted(|text| text.replace("default: Report", "default: Summary"), &["runs again: keep"]);
    assert_eq!(input, ["keep"]);
    let option = accepted(|text| format!("{text}options: {{ stepTimeout: 5m }}\n"), &["reused: nothing"]);
    assert_eq!(option, ["aside", "draft", "files", "keep", "outline"]);
}

#[test]
fn a_document_that_has_not_changed_is_resumed_as_ever() {
    let project = project();
    let first = run(&project, "report.yaml");
    project.run(&["resume", "last", "--accept-changes"]).expect(0).says(&["nothing was left to do"]);
    assert_eq!(last(&project), first);
    project.file("report.yaml", REPORT.replace("outline it", "outline all of it"));
    project.run(&["resume", "last"]).expect(0).says(&["nothing was left to do"]);
}

#[test]
fn a_run_that_failed_goes_on_with_a_mended_document() {
    let project = project();
    let broken = REPORT.replace("path: 'out:report.md'", "path: '../report.md'");
    project.file("report.yaml", &broken);
    project.run(&["run", "report.yaml", "--model", "scripted/model.yaml"]).expect(1);
    project.file("report.yaml", REPORT);
    project.run(&["resume", "last"]).expect(2).says(&["--accept-changes"]);
    project.run(&["resume", "last", "--accept-changes"]).expect(0).says(&["reused: files, outline, draft, aside"]);
    assert_eq!(worked(&project, &last(&project)), ["keep"]);
}
