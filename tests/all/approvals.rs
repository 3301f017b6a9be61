//! Calls that nobody is there to allow: the run waits with them, and goes on when somebody has said something, days later and in
//! another process.

mod library;
mod words;

use crate::support::Project;
use serde_json::{Value, json};

const TIDY: &str = "
name: tidy
agents: { scribe: { description: Writes., tools: [write, glob] } }
steps:
  - { id: note, agent: scribe, instructions: Write a note. }
  - { id: other, instructions: Do something else. }
  - { id: last, dependsOn: [note], tool: glob, args: { pattern: '*.none' } }
output: steps.note.content
";

/// Three calls in one turn: one that only reads, and two that somebody must allow.
const MODEL: &str = "
answers:
  - step: note
    turn: 1
    usage: { input: 5, output: 1 }
    toolCalls:
      - { tool: glob, args: { pattern: '*.yaml' } }
      - { tool: write, args: { path: note.txt, content: hello } }
      - { tool: write, args: { path: two.txt, content: again } }
  - { step: note, turn: 2, text: 'written: {{prompt}}', usage: { input: 7, output: 1 } }
default: { text: words }
";

/// What the model is asked once more that has answered.
const NO_FIRST_TURN: &str = "
answers:
  - { step: note, turn: 2, text: written, usage: { input: 7, output: 1 } }
default: { error: { code: asked_again, class: step, message: 'this was answered before' } }
";

const FLAGS: [&str; 3] = ["--defer-approvals", "--model", "scripted/model.yaml"];

fn project(document: &str, model: &str) -> Project {
    let project = Project::new();
    project.file("tidy.yaml", document).file("model.yaml", model);
    project
}

fn run(project: &Project, flags: &[&str]) -> crate::support::Outcome {
    project.run(&[&["run", "tidy.yaml"], &FLAGS[..], flags].concat())
}

fn waiting(document: &str, model: &str) -> Project {
    let project = project(document, model);
    run(&project, &[]).expect(4);
    project
}

fn events(project: &Project) -> Vec<Value> {
    project.run(&["runs", "show", "last", "--json"]).expect(0).json_lines()
}

fn count(events: &[Value], kind: &str, path: &str) -> usize {
    events.iter().filter(|event| event["kind"] == kind && event["path"] == path).count()
}

#[test]
fn a_run_waits_with_calls_that_nobody_is_there_to_allow_and_says_which() {
    let project = project(TIDY, MODEL);
    let outcome = run(&project, &[]).expect(4).says(&[
        "nobody to ask: models may call tools that only read; others wait for `cofferdam approve`, or need `--allow`",
        "nobody is there to allow it: agent `scribe` wants to call `write` with path: \"note.txt\", content: \"hello\"",
        "approval   note, call 2: agent `scribe` wants to call `write`",
        "note --call 3",
    ]);
    let last = outcome.stderr.lines().last().unwrap();
    assert!(last.starts_with("resume     cofferdam resume "), "{last}");
    assert!(!project.path("note.txt").exists());
    let events = events(&project);
    let asked: Vec<&Value> = events.iter().filter(|event| event["kind"] == "permission_asked").collect();
    assert_eq!(asked.len(), 2);
    assert_eq!(
        (&asked[0]["agent"], &asked[0]["call_id"], &asked[0]["args"]["content"]),
        (&json!("scribe"), &json!("2"), &json!("hello"))
    );
    assert_eq!(count(&events, "step_waiting", "note"), 1);
    assert_eq!(count(&events, "tool_call_finished", "note"), 1, "what only reads is not held up");
    assert_eq!(count(&events, "step_finished", "other"), 1);
    assert_eq!(count(&events, "step_started", "last"), 0);
    let ended = events.last().unwrap();
    assert_eq!((&ended["status"], &ended["usage"]["input"]), (&json!("waiting"), &json!(5)), "{ended}");
    assert_eq!(events[0]["settings"]["defer_approvals"], true);
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    assert!(shown.lines().any(|line| line.starts_with("note") && line.contains("waiting")), "{shown}");
    assert!(shown.contains("approval  note, call 2: agent `scribe` wants to call `write` with path: \"note.txt\""));
    assert!(shown.contains(" note --call 3"), "{shown}");
    let said = project.run(&["runs", "show", "last", "--transcript"]).expect(0).stdout;
    assert!(said.contains("asks write: call 2 waits for a person"), "{said}");
    project.run(&["runs", "list"]).expect(0).says(&[" waits: note, call 2: agent `scribe` wants to call `write`"]);
    let listed = project.run(&["runs", "list", "--json"]).expect(0).json_lines();
    assert_eq!(listed[0]["approvals"][1]["args"], json!({ "path": "two.txt", "content": "again" }));
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn each_call_is_allowed_or_denied_by_itself_and_made_once() {
    let project = waiting(TIDY, MODEL);
    project.file("model.yaml", NO_FIRST_TURN);
    project
        .run(&["approve", "last", "note"])
        .expect(3)
        .says(&["step `note` waits with 2 calls: `2` (write), `3` (write)", "`--call ID` means one of them"]);
    project.run(&["approve", "last", "note", "--call", "7"]).expect(3).says(&["step `note` waits with no call `7`"]);
    project.run(&["approve", "last", "nte"]).expect(3).says(&["did you mean `note`?"]);
    project.run(&["approve", "last", "note", "--reason", "x"]).expect(3);
    let outcome = project.run(&["approve", "last", "note", "--call", "2"]).expect(4);
    assert!(outcome.stderr.contains("note --call 3") && !outcome.stderr.contains("--call 2"), "{}", outcome.stderr);
    assert_eq!(project.read("note.txt"), "hello");
    assert!(!project.path("two.txt").exists());
    let reason = ["--deny", "--reason", "one note is enough"];
    let outcome = project.run(&[&["approve", "last", "note", "--call", "3"], &reason[..]].concat()).expect(0);
    assert_eq!(outcome.stdout, "written\n");
    assert!(!project.path("two.txt").exists());
    let events = events(&project);
    assert_eq!((count(&events, "turn_started", "note"), count(&events, "tool_call_started", "note")), (2, 2));
    assert_eq!(count(&events, "permission_asked", "note"), 2, "nobody is asked twice about one call");
    let decided = |call: &str| {
        let own = |event: &&Value| event["kind"] == "permission_decided" && event["call_id"] == call;
        let all: Vec<&Value> = events.iter().filter(own).map(|event| &event["rule"]).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0].clone()
    };
    assert_eq!(decided("2"), "a person allowed it");
    assert_eq!(decided("3"), "a person denied it: one note is enough");
    let resumed: Vec<&Value> = events.iter().filter(|event| event["kind"] == "run_resumed").collect();
    let mut said = resumed[0]["approved"][0].clone();
    assert_eq!(said["seal"].take().as_str().map(str::len), Some(64), "it is the user's own word");
    let same = json!({ "step": "note", "attempt": 1, "call": "2", "decision": "allow", "seal": null });
    assert_eq!(said, same);
    assert_eq!(resumed[1]["approved"][0]["reason"], "one note is enough");
    assert_eq!(events.last().unwrap()["usage"]["input"], 12, "what was spent is spent once");
    let said = project.run(&["runs", "show", "last", "--transcript"]).expect(0).stdout;
    assert!(said.contains("denied write: a person denied it: one note is enough"), "{said}");
    project.run(&["replay", "last"]).expect(0);
    // Whoever comes late is told so, unless it is the very same.
    project.run(&["approve", "last", "note", "--call", "3", "--deny"]).expect(0);
    project.run(&["approve", "last", "note", "--call", "2", "--deny"]).expect(3).says(&["waits with no call any more"]);
}

#[test]
fn a_word_that_comes_after_another_one_is_refused_and_nothing_is_recorded() {
    let project = waiting(TIDY, MODEL);
    project.file("model.yaml", NO_FIRST_TURN);
    project.run(&["approve", "last", "note", "--call", "2"]).expect(4);
    let before = events(&project).len();
    let late = ["approve", "last", "note", "--call", "2", "--deny"];
    project.run(&late).expect(3).says(&["the call that step `note` waited with was allowed already"]);
    assert_eq!(events(&project).len(), before);
    // The very same is no mistake.
    project.run(&["approve", "last", "note", "--call", "2"]).expect(4);
    project.run(&["approve", "last", "note", "--all"]).expect(0);
    assert_eq!(project.read("two.txt"), "again");
}

#[test]
fn rules_that_are_given_later_decide_as_well() {
    for (flags, written) in [
        (&["--allow", "write"][..], [true, true]),
        (&["--allow", "write(path=note.txt)", "--deny", "write(path=two.txt)"], [true, false]),
        (&["--yolo"], [true, true]),
        (&["--strict"], [false, false]),
    ] {
        let project = waiting(TIDY, MODEL);
        project.file("model.yaml", NO_FIRST_TURN);
        project.run(&[&["resume", "last"], flags].concat()).expect(0);
        let found = ["note.txt", "two.txt"].map(|path| project.path(path).exists());
        assert_eq!(found, written, "{flags:?}");
        project.run(&["replay", "last"]).expect(0);
    }
    // A deny rule beats what a person says.
    let project = waiting(TIDY, MODEL);
    project.file("model.yaml", NO_FIRST_TURN);
    let rule = ["--deny-tool", "write(path=two.txt)"];
    project.run(&[&["approve", "last", "note", "--all"], &rule[..]].concat()).expect(0).says(&["by the deny rule"]);
    assert!(project.path("note.txt").exists() && !project.path("two.txt").exists());
}

#[test]
fn a_run_that_goes_on_with_nobody_there_waits_again() {
    let project = waiting(TIDY, MODEL);
    project.file("model.yaml", NO_FIRST_TURN);
    let before = count(&events(&project), "permission_asked", "note");
    // The run was started so; nobody has to say it again.
    project.run(&["resume", "last"]).expect(4).says(&["note --call 2", "note --call 3"]);
    let events = events(&project);
    assert_eq!((count(&events, "permission_asked", "note"), count(&events, "step_waiting", "note")), (before, 2));
    project.run(&["replay", "last"]).expect(0);
    project.run(&["approve", "last", "note", "--all"]).expect(0);
}

#[test]
fn without_the_flag_such_calls_are_denied() {
    let project = project(TIDY, MODEL);
    project.run(&["run", "tidy.yaml", "--model", "scripted/model.yaml"]).expect(0).says(&["`write` was denied"]);
    run(&project, &["--strict"]).expect(3);
    project.file("cofferdam.toml", "strict = true\n");
    run(&project, &[]).expect(3).says(&["strict = true"]);
}

#[test]
fn a_sub_agent_waits_within_its_conversation() {
    let lead = "
name: lead
agents: { lead: { description: Leads., tools: [agent, write, glob] } }
steps: [{ id: find, agent: lead, instructions: Find it. }]
";
    let model = "
answers:
  - step: find
    turn: 1
    toolCalls: [{ tool: agent, args: { task: Write. } }, { tool: glob, args: { pattern: '*' } }]
  - { step: find@1, turn: 1, toolCalls: [{ tool: write, args: { path: a.txt, content: x } }], usage: { input: 5, output: 1 } }
";
    let project = waiting(lead, model);
    let shown = project.run(&["runs", "show", "last"]).expect(0).stdout;
    assert!(shown.contains("find, call @1/1: agent `lead` wants to call `write`"), "{shown}");
    assert!(shown.lines().any(|line| line.contains("@1 ") && line.contains("waiting")), "{shown}");
    project.file(
        "model.yaml",
        "
answers:
  - { step: find@1, turn: 2, text: done below, usage: { input: 7, output: 1 } }
  - { step: find, turn: 2, text: found }
default: { error: { code: asked_again, class: step, message: 'this was answered before' } }
",
    );
    assert_eq!(project.run(&["approve", "last", "find"]).expect(0).stdout, "found\n");
    assert_eq!(project.read("a.txt"), "x");
    let events = events(&project);
    assert_eq!((count(&events, "turn_finished", "find@1"), count(&events, "turn_finished", "find")), (2, 2));
    assert_eq!(count(&events, "tool_call_started", "find@1"), 1);
    assert_eq!(events.last().unwrap()["usage"]["input"], 12);
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn a_budget_of_calls_that_is_used_up_by_allowed_ones_is_so_in_a_replay_too() {
    let budget = TIDY.replace("id: note,", "id: note, budget: { toolCalls: 2 },");
    let approved = &["approve", "last", "note", "--all"][..];
    for go_on in [approved, &["resume", "last", "--allow", "write"]] {
        let project = waiting(&budget, MODEL);
        project.file("model.yaml", NO_FIRST_TURN);
        project.run(go_on).expect(1).says(&["the budget is used up: step `note` has spent 2 tool calls"]);
        assert!(project.path("note.txt").exists() && !project.path("two.txt").exists());
        project.run(&["replay", "last"]).expect(0);
    }
    let tools = "
name: tidy
steps:
  - id: both
    budget: { toolCalls: 1 }
    steps:
      - { id: one, tool: write, args: { path: one.txt, content: a } }
      - { id: two, tool: write, args: { path: two.txt, content: b } }
";
    let project = project(tools, MODEL);
    run(&project, &["--ask", "write"]).expect(4);
    project.run(&["approve", "last", "both.one", "--ask", "write"]).expect(4);
    project.run(&["approve", "last", "both.two", "--ask", "write"]).expect(1).says(&["the budget is used up"]);
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn steps_inside_of_others_wait_and_judges_do() {
    let document = "
name: nested
agents:
  scribe: { description: Writes., tools: [write] }
  judge:
    description: Judges.
    tools: [write]
    resultSchema: { type: object, required: [done], properties: { done: { type: boolean } } }
steps:
  - id: each
    loop: { forEach: [a, b], steps: [{ id: w, agent: scribe, instructions: Write. }] }
  - id: both
    retries: 1
    steps: [{ id: w, agent: scribe, instructions: Write. }, { id: x, tool: glob, args: { pattern: '*' } }]
  - { id: part, include: inner.yaml }
  - { id: rounds, instructions: Try., loop: { maxIterations: 3, untilAgent: judge } }
  - { id: end, dependsOn: [each, both, part, rounds], tool: glob, args: { pattern: '*.txt' } }
output: steps.end.result
";
    let model = "
answers:
  - { step: 'each[0].w', turn: 1, toolCalls: [{ tool: write, args: { path: each0.txt, content: x } }] }
  - { step: 'each[1].w', turn: 1, toolCalls: [{ tool: write, args: { path: each1.txt, content: x } }] }
  - { step: both.w, turn: 1, toolCalls: [{ tool: write, args: { path: both.txt, content: x } }] }
  - { step: part.w, turn: 1, toolCalls: [{ tool: write, args: { path: part.txt, content: x } }] }
  - { step: 'rounds.judge[0]', turn: 1, toolCalls: [{ tool: write, args: { path: judge.txt, content: x } }] }
  - { step: 'rounds.judge[0]', turn: 2, toolCalls: [{ tool: submit_result, args: { done: true } }] }
default: { text: words }
";
    let project = project(document, model);
    project.file(
        "inner.yaml",
        "name: inner\nagents: { scribe: { description: Writes., tools: [write] } }\nsteps: [{ id: w, agent: scribe, instructions: Write. }]",
    );
    run(&project, &["--max-concurrency", "1"]).expect(4);
    project.run(&["replay", "last"]).expect(0);
    project.run(&["approve", "last", "w"]).expect(3).says(&["name the step by its whole path"]);
    for step in ["each[1].w", "both.w", "part.w", "rounds.judge[0]"] {
        project.run(&["approve", "last", step]).expect(4);
    }
    let outcome = project.run(&["approve", "last", "each[0].w"]).expect(0);
    let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
    for name in ["each0", "each1", "both", "part", "judge"] {
        assert!(found.to_string().contains(&format!("{name}.txt")), "{found}");
    }
    let events = events(&project);
    let asked = events.iter().filter(|event| event["kind"] == "permission_asked").count();
    let made = events.iter().filter(|event| event["kind"] == "tool_call_started" && event["tool"] == "write").count();
    assert_eq!((asked, made), (5, 5));
    project.run(&["replay", "last"]).expect(0);
}

#[test]
fn a_call_of_the_document_waits_where_a_rule_asks() {
    let document = "
name: own
steps:
  - { id: say, tool: write, args: { path: a.txt, content: x } }
  - { id: then, dependsOn: [say], tool: read, args: { path: a.txt } }
output: steps.then.content
";
    let project = project(document, MODEL);
    run(&project, &["--ask", "write"]).expect(4).says(&["say, call step: the document wants to call `write`"]);
    project.run(&["replay", "last"]).expect(0);
    // The rule is of the run that was started with it: without it the document is enough.
    let outcome = project.run(&["approve", "last", "say", "--ask", "write", "--deny"]).expect(1);
    assert!(outcome.stderr.contains("a person denied it"), "{}", outcome.stderr);
    run(&project, &["--ask", "write"]).expect(4);
    project.run(&["approve", "last", "say", "--ask", "write"]).expect(0);
    project.run(&["replay", "last"]).expect(0);
    assert_eq!(project.read("a.txt"), "x");
}

#[test]
fn a_fork_of_a_run_that_waits_asks_for_itself() {
    let project = waiting(TIDY, MODEL);
    project.file(
        "model.yaml",
        format!("{NO_FIRST_TURN}\n").replace("default:", "  - { step: other, text: once more }\ndefault:"),
    );
    project.run(&["fork", "last", "--from", "other"]).expect(4).says(&["note --call 2"]);
    assert_eq!(count(&events(&project), "turn_started", "note"), 1, "its conversation was taken over");
    project.run(&["approve", "last", "note", "--all"]).expect(0);
    project.run(&["replay", "last"]).expect(0);
    let first = project.run(&["runs", "list", "--json"]).expect(0).json_lines();
    assert_eq!(first.iter().filter(|row| row["status"] == "waiting").count(), 1, "{first:?}");
}

#[test]
fn a_directory_of_a_step_waits_with_it() {
    let document = TIDY.replace("id: note,", "id: note, isolation: copy-per-step,");
    let project = project(&document, MODEL);
    run(&project, &["--allow", "write(path=note.txt)"]).expect(4);
    project.file("model.yaml", NO_FIRST_TURN);
    project.run(&["approve", "last", "note"]).expect(0);
    let events = events(&project);
    let changed = events.iter().rfind(|event| event["kind"] == "files_changed").unwrap();
    let files: Vec<&str> =
        changed["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(files, ["note.txt", "two.txt"]);
}

#[test]
fn what_a_sensitive_step_wants_is_not_shown() {
    let document = TIDY.replace("id: note,", "id: note, sensitive: true,");
    let project = project(&document, &MODEL.replace("content: hello", "content: harbour"));
    let outcome = run(&project, &["--json"]).expect(4);
    assert!(outcome.stdout.contains("permission_asked"));
    for text in [
        outcome.stdout,
        outcome.stderr,
        project.run(&["runs", "show", "last"]).expect(0).stdout,
        project.run(&["runs", "list", "--json"]).expect(0).stdout,
        project.run(&["runs", "list"]).expect(0).stderr,
    ] {
        assert!(!text.contains("harbour"), "{text}");
    }
    assert!(project.run(&["runs", "show", "last", "--reveal"]).expect(0).stdout.contains("harbour"));
}

#[test]
fn an_agent_alone_waits_too() {
    let project = Project::new();
    project.file(
        "model.yaml",
        MODEL
            .replace("step: note, ", "")
            .replace("    step: note\n", "")
            .replace("- step: note\n    turn: 1", "- turn: 1"),
    );
    let outcome = project.run(&[&["agent", "Write."], &FLAGS[..]].concat()).expect(4);
    assert!(outcome.stderr.contains(" agent --call 2"), "{}", outcome.stderr);
    project.run(&["approve", "last", "agent", "--all"]).expect(0);
    assert_eq!(project.read("note.txt"), "hello");
}

const COMMAND: &str = "
name: command
agents: { builder: { description: Builds., tools: [exec, write] } }
steps: [{ id: make, agent: builder, instructions: Build. }]
";

const CALLS_A_COMMAND: &str = "
answers:
  - { step: make, turn: 1, toolCalls: [{ tool: exec, args: { command: touch it } }] }
  - { step: make, turn: 2, text: built }
";

/// The words of a printed command, as a shell has them, without the program.
fn typed(outcome: &str, label: &str) -> Vec<String> {
    let line = outcome.lines().find_map(|line| line.strip_prefix(label)).unwrap().trim();
    let words = format!("for word in {line}; do printf '%s\\n' \"$word\"; done");
    let told = std::process::Command::new("sh").args(["-c", &words]).output().unwrap();
    String::from_utf8(told.stdout).unwrap().lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn the_printed_commands_work_as_they_are() {
    let project = Project::new();
    project.file("tidy.yaml", COMMAND).file("model.yaml", CALLS_A_COMMAND);
    let flags = ["--allow", "exec(it's*)", "--ask", "exec(zz*)", "--deny", "write(*.md)"];
    let outcome = run(&project, &flags).expect(4);
    let resume = typed(&outcome.stderr, "resume ");
    assert_eq!(resume[0], "resume");
    assert_eq!(resume[2..], flags);
    project.run(&resume.iter().map(String::as_str).collect::<Vec<_>>()).expect(4);
    let approve = typed(&outcome.stderr, "approve ");
    assert_eq!(approve[9..], ["--deny-tool", "write(*.md)"]);
    project.run(&approve.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
    assert!(project.path("it").exists());
}
