//! Sub-agents on the command line: shown, permitted, taken up where a process was killed, replayed.

use crate::support::Project;
use rustix::process::Signal;
use serde_json::Value;

const LEAD: &str = "
name: lead
agents: { lead: { description: Leads., tools: [agent, write, glob] } }
steps:
  - { id: find, agent: lead, instructions: Find it. }
  - { id: last, dependsOn: [find], tool: glob, args: { pattern: '*.none' } }
output: steps.find.content
";

/// The sub-agent is in its second turn for an hour.
const SLOW: &str = "
answers:
  - { step: find, turn: 1, toolCalls: [{ tool: agent, args: { task: Look. } }] }
  - { step: find@1, turn: 1, toolCalls: [{ tool: glob, args: { pattern: '*.yaml' } }], usage: { input: 5, output: 1 } }
  - { step: find@1, turn: 2, delay: 1h, text: too late }
";
const QUICK: &str = "
answers:
  - { step: find@1, turn: 2, text: it is there, usage: { input: 7, output: 1 } }
  - { step: find, turn: 2, text: found }
default: { error: { code: asked_again, class: step, message: 'this was answered before' } }
";
const MODEL: [&str; 2] = ["--model", "scripted/model.yaml"];

fn events(project: &Project) -> Vec<Value> {
    events_of(project, "last")
}

fn events_of(project: &Project, run: &str) -> Vec<Value> {
    project.run(&["runs", "show", run, "--json"]).expect(0).json_lines()
}

fn count(events: &[Value], kind: &str, path: &str) -> usize {
    events.iter().filter(|event| event["kind"] == kind && event["path"] == path).count()
}

fn second_turn(project: &Project) -> bool {
    let shown = project.run(&["runs", "show", "last", "--json"]);
    shown.code == Some(0) && count(&shown.json_lines(), "turn_started", "find@1") == 2
}

#[test]
fn a_sub_agent_goes_on_where_its_process_was_killed() {
    let project = Project::new();
    project.file("lead.yaml", LEAD).file("model.yaml", SLOW);
    let running = project.start(&[&["run", "lead.yaml", "--json"], &MODEL[..]].concat());
    while !project.path(".cofferdam/runs.db").exists() || !second_turn(&project) {
        std::thread::yield_now();
    }
    running.signal(Signal::KILL);
    running.wait();
    project.file("model.yaml", QUICK);
    let outcome = project.run(&["resume", "last"]).expect(0);
    assert_eq!(outcome.stdout, "found\n");
    let events = events(&project);
    assert_eq!((count(&events, "turn_finished", "find@1"), count(&events, "turn_finished", "find")), (2, 2));
    assert_eq!(count(&events, "tool_call_started", "find@1"), 1, "its call was not made again");
    let ended = events.iter().rfind(|event| event["kind"] == "run_finished").unwrap();
    assert_eq!(ended["usage"]["input"], 12, "what it spent is spent once: {ended}");
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    let lines: Vec<&str> = shown.lines().filter(|line| line.contains("completed ")).collect();
    let at = lines.iter().position(|line| line.contains("find ")).unwrap();
    assert!(lines[at + 1].contains("  @1 ") && lines[at + 1].contains("sub-agent"), "below its step: {shown}");
    assert!(lines[at + 2].contains("last"), "{shown}");
    let said = project.run(&["runs", "show", "last", "--transcript"]).expect(0).stdout;
    assert!(said.contains("it is there") && said.contains("Look."), "{said}");
    project.run(&["replay", "last"]).expect(0);
    project.run(&["fork", "last", "--from", "find"]).expect(1).says(&["this was answered before"]);
    let events = events_of(&project, "last");
    assert!(events.iter().all(|event| event["path"] != "find@1"), "nothing of it is taken over");
    let ended = events.iter().rfind(|event| event["kind"] == "run_finished").unwrap();
    assert!(ended["usage"]["input"].as_u64().unwrap_or_default() == 0, "{ended}");
}

#[test]
fn a_sub_agent_that_is_stopped_is_not_shown_as_running() {
    let project = Project::new();
    project.file("lead.yaml", LEAD).file("model.yaml", SLOW);
    let running = project.start(&[&["run", "lead.yaml"], &MODEL[..]].concat());
    while !project.path(".cofferdam/runs.db").exists() || !second_turn(&project) {
        std::thread::yield_now();
    }
    running.signal(Signal::INT);
    running.wait().expect(130);
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    let line = shown.lines().find(|line| line.contains("@1 ")).unwrap_or_else(|| panic!("{shown}"));
    assert!(line.contains("cancelled"), "{shown}");
}

#[test]
fn what_a_sensitive_step_has_a_sub_agent_say_is_not_shown() {
    let project = Project::new();
    let model = "
answers:
  - { step: find, turn: 1, toolCalls: [{ tool: agent, args: { task: whisper } }] }
  - { step: find@1, text: the word is harbour }
default: { text: done }
";
    project.file("lead.yaml", LEAD.replace("id: find,", "id: find, sensitive: true,")).file("model.yaml", model);
    let outcome = project.run(&[&["run", "lead.yaml", "--json"], &MODEL[..]].concat()).expect(0);
    assert!(outcome.stdout.contains("find@1") && !outcome.stdout.contains("harbour"), "{}", outcome.stdout);
    let shown = project.run(&["runs", "show", "last", "--transcript"]).expect(0).stdout;
    assert!(!shown.contains("harbour"), "{shown}");
}

#[test]
fn what_a_sub_agent_calls_passes_the_same_gate() {
    let project = Project::new();
    let model = "
answers:
  - { step: find, turn: 1, toolCalls: [{ tool: agent, args: { task: Write. } }] }
  - { step: find@1, turn: 1, toolCalls: [{ tool: write, args: { path: no.txt, content: x } }] }
default: { text: done }
";
    project.file("lead.yaml", LEAD).file("model.yaml", model);
    project.run(&[&["run", "lead.yaml"], &MODEL[..]].concat()).expect(0).says(&["`write` was denied"]);
    assert!(!project.path("no.txt").exists());
    let denied: Vec<_> = events(&project).into_iter().filter(|event| event["decision"] == "deny").collect();
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0]["path"], "find@1");
    project
        .run(&[&["run", "lead.yaml", "--deny", "agent"], &MODEL[..]].concat())
        .expect(0)
        .says(&["`agent` was denied"]);
    project.run(&[&["run", "lead.yaml", "--allow", "write"], &MODEL[..]].concat()).expect(0);
    assert!(project.path("no.txt").exists());
}

/// The agent waits for a sub-agent in the background, which is in its second turn for an hour.
const WAITS: &str = "
answers:
  - { step: find, turn: 1, toolCalls: [{ tool: agent, args: { task: Look., background: true, instructions: You only look. } }] }
  - { step: find, turn: 2, text: I wait. }
  - { step: find@1, turn: 1, toolCalls: [{ tool: glob, args: { pattern: '*.yaml' } }], usage: { input: 5, output: 1 } }
  - { step: find@1, turn: 2, delay: 1h, text: too late }
";
const GOES_ON: &str = "
answers:
  - { step: find@1, turn: 2, text: it is there, usage: { input: 7, output: 1 } }
  - { step: find, turn: 3, contains: it is there, text: found }
default: { error: { code: asked_again, class: step, message: 'this was answered before' } }
";

/// A run whose agent waits for a sub-agent in the background.
fn waiting(project: &Project) -> crate::support::Running {
    project.file("lead.yaml", LEAD).file("model.yaml", WAITS);
    let running = project.start(&[&["run", "lead.yaml", "--json"], &MODEL[..]].concat());
    let is_waiting = || {
        let shown = project.run(&["runs", "show", "last", "--json"]);
        let events = if shown.code == Some(0) { shown.json_lines() } else { Vec::new() };
        count(&events, "turn_started", "find@1") == 2 && count(&events, "turn_finished", "find") == 2
    };
    while !project.path(".cofferdam/runs.db").exists() || !is_waiting() {
        std::thread::yield_now();
    }
    running
}

#[test]
fn a_sub_agent_in_the_background_goes_on_where_its_process_was_killed_and_its_answer_is_a_message() {
    let project = Project::new();
    let running = waiting(&project);
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    let line = shown.lines().find(|line| line.contains("@1 ")).unwrap_or_else(|| panic!("{shown}"));
    assert!(!line.contains("completed"), "its call is over, and it works on: {shown}");
    running.signal(Signal::KILL);
    running.wait();
    project.file("model.yaml", GOES_ON);
    assert_eq!(project.run(&["resume", "last"]).expect(0).stdout, "found\n");
    let events = events(&project);
    let kinds = |kind: &str, path: &str| count(&events, kind, path);
    assert_eq!((kinds("turn_finished", "find@1"), kinds("turn_finished", "find")), (2, 3));
    assert_eq!(kinds("tool_call_started", "find@1"), 1, "its call was not made again");
    assert_eq!((kinds("message_posted", "find@1"), kinds("message_delivered", "find")), (1, 1));
    let ended = events.iter().rfind(|event| event["kind"] == "run_finished").unwrap();
    assert_eq!(ended["usage"]["input"], 12, "what it spent is spent once: {ended}");
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    let line = shown.lines().find(|line| line.contains("@1 ")).unwrap_or_else(|| panic!("{shown}"));
    assert!(line.contains("completed") && line.contains("sub-agent"), "{shown}");
    let said = project.run(&["runs", "show", "last", "--transcript"]).expect(0).stdout;
    assert!(said.contains("message from sub-agent 1, which is done"), "{said}");
    project.run(&["replay", "last"]).expect(0);
    project.run(&["fork", "last", "--from", "last"]).expect(0);
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn a_stopped_agent_takes_those_in_the_background_along_and_goes_on_with_them() {
    let project = Project::new();
    let running = waiting(&project);
    running.signal(Signal::INT);
    running.wait().expect(130);
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    let line = shown.lines().find(|line| line.contains("@1 ")).unwrap_or_else(|| panic!("{shown}"));
    assert!(line.contains("cancelled"), "{shown}");
    project.file("model.yaml", GOES_ON);
    assert_eq!(project.run(&["resume", "last"]).expect(0).stdout, "found\n");
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn a_budget_counts_what_is_spent_in_the_background() {
    let project = Project::new();
    project.file("lead.yaml", LEAD).file("model.yaml", WAITS.replace("delay: 1h, ", ""));
    let outcome = project.run(&[&["run", "lead.yaml", "--budget", "toolCalls=1"], &MODEL[..]].concat());
    outcome.expect(5).says(&["budget"]);
}

#[test]
fn what_a_sensitive_step_hears_from_the_background_is_not_shown() {
    let project = Project::new();
    let model = "
answers:
  - { step: find, turn: 1, toolCalls: [{ tool: agent, args: { task: whisper, background: true } }] }
  - { step: find@1, text: the word is harbour }
default: { text: done }
";
    project.file("lead.yaml", LEAD.replace("id: find,", "id: find, sensitive: true,")).file("model.yaml", model);
    let outcome = project.run(&[&["run", "lead.yaml", "--json"], &MODEL[..]].concat()).expect(0);
    assert!(outcome.stdout.contains("message_posted") && !outcome.stdout.contains("harbour"), "{}", outcome.stdout);
}
