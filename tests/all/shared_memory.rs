//! The shared memory of a run on the command line: shown, restored when the run goes on, replayed, followed by forks.

use crate::support::Project;
use serde_json::Value;

const NOTES: &str = "
name: notes
agents:
  scout: { description: Finds., memory: { read: true, write: true } }
steps:
  - { id: find, agent: scout, instructions: Find. }
  - { id: sure, dependsOn: [find], ask: { prompt: 'Sure?', choices: ['yes', 'no'] } }
  - { id: count, dependsOn: [sure], tool: memory_write, args: { key: count, value: '{{ memory.scout.found }}' } }
  - { id: clear, agent: scout, dependsOn: [count], instructions: Clear. }
  - { id: beside, tool: glob, args: { pattern: '*.none' } }
output: '[has(memory.scout.found), memory.workflow.count]'
";

const MODEL: &str = "
answers:
  - { step: find, turn: 1, toolCalls: [{ tool: memory_write, args: { key: found, value: [a, b] } }] }
  - { step: find, turn: 2, text: found }
  - { step: clear, turn: 1, toolCalls: [{ tool: memory_delete, args: { key: found } }] }
  - { step: clear, turn: 2, text: cleared }
";

fn project() -> Project {
    let project = Project::new();
    project.file("notes.yaml", NOTES).file("model.yaml", MODEL);
    project
}

fn kinds(project: &Project) -> Vec<String> {
    let events = project.run(&["runs", "show", "last", "--json"]).expect(0).json_lines();
    events.iter().filter_map(|event| event["kind"].as_str().map(str::to_owned)).collect()
}

fn shows(project: &Project, text: &str) {
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    assert!(shown.contains(text), "{shown}");
}

#[test]
fn the_memory_is_what_it_was_when_a_run_goes_on() {
    let project = project();
    let model = ["--model", "scripted/model.yaml"];
    project.run(&[&["run", "notes.yaml"], &model[..]].concat()).expect(4);
    shows(&project, "memory  scout.found = [\"a\",\"b\"]");
    let outcome = project.run(&["answer", "last", "sure", "yes"]).expect(0);
    assert_eq!(serde_json::from_str::<Value>(&outcome.stdout).unwrap(), serde_json::json!([false, ["a", "b"]]));
    let kinds = kinds(&project);
    let count = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
    assert_eq!((count("memory_written"), count("memory_deleted")), (2, 1));
    shows(&project, "memory  workflow.count = [\"a\",\"b\"]");
    project.run(&["replay", "last"]).expect(0);
    let entry = project.run(&["memory", "show", "last", "--json"]).expect(0).json_lines().remove(0);
    assert_eq!(entry, serde_json::json!({ "agent": "workflow", "key": "count", "value": ["a", "b"], "revision": 2 }));
    assert!(project.run(&["memory", "show", "last"]).expect(0).stdout.contains("workflow"));
    project.run(&["memory", "show", "last", "--session", "x"]).expect(3);
    project.run(&["memory", "show", "nothing"]).expect(3);
}

#[test]
fn a_fork_runs_again_whoever_may_have_read_what_is_different() {
    let project = project();
    let model = ["--model", "scripted/model.yaml"];
    project.run(&[&["run", "notes.yaml", "--answer", "sure=yes"], &model[..]].concat()).expect(0);
    // Who does not touch the memory and depends on nobody stays.
    project.run(&["fork", "last", "--from", "find", "--answer", "sure=yes"]).expect(0).says(&["reused: beside"]);
    project.run(&["replay", "last"]).expect(0);
}
