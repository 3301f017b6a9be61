//! `--json=zenflow`: what a program that reads zenflow's event stream gets of a run, and the page that says so.

use crate::support::{Golden, Project, check_golden, repository};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const DOCUMENT: &str = "
name: stream
agents: { reader: { description: Reads., tools: [read] } }
steps:
  - { id: look, agent: reader, instructions: Read it. }
  - { id: each, dependsOn: [look], instructions: 'Say {{ item }}.', loop: { forEach: [one, two] } }
  - { id: again, dependsOn: [each], instructions: Again., loop: { maxIterations: 2 } }
  - { id: not, dependsOn: [again], instructions: Not., condition: 'false' }
  - { id: bad, dependsOn: [not], instructions: Fail. }
  - { id: after, dependsOn: [bad], instructions: Never. }
";
const SCRIPT: &str = "
chunk: 0
answers:
  - { step: look, turn: 1, toolCalls: [{ tool: read, args: { path: a.md } }], usage: { input: 5, output: 2 } }
  - { step: look, turn: 2, text: It is read., reasoning: Let me think. }
  - { step: bad, error: { status: 401, message: who are you } }
default: { text: said, usage: { input: 1, output: 1 } }
";

fn project() -> Project {
    let project = Project::new();
    project.file("w.yaml", DOCUMENT).file("model.yaml", SCRIPT).file("a.md", "the text\n");
    project
}

/// The lines without what differs between two runs.
fn alike(lines: &[Value]) -> String {
    let mut text = String::new();
    for line in lines {
        let mut line = line.clone();
        let map = line.as_object_mut().unwrap();
        for key in ["timestamp", "runId"] {
            assert!(map.remove(key).is_some_and(|value| value.is_string()), "{line} has no `{key}`");
        }
        let map = line.as_object_mut().unwrap();
        if let Some(took) = map.get_mut("duration") {
            assert!(took.as_str().unwrap().ends_with('s'), "{took}");
            *took = "0s".into();
        }
        text += &format!("{line}\n");
    }
    text
}

const FLAGS: [&str; 5] = ["--model", "scripted/model.yaml", "--max-concurrency", "1", "--json=zenflow"];

#[test]
fn a_run_is_told_in_the_words_of_zenflow() {
    let done = project().run(&[&["run", "w.yaml"][..], &FLAGS].concat()).expect(1);
    let path = repository().join("tests/all/zenflow_events.ndjson");
    let lines = done.json_lines();
    check_golden(&Golden { path, actual: alike(&lines) }).unwrap();
    assert_eq!(lines.last().unwrap()["type"], "workflow_end");
    assert_eq!(lines.last().unwrap()["data"]["status"], "partial");
}

#[test]
fn plain_json_stays_as_it_was_and_other_forms_are_refused() {
    let project = project();
    let run = |form: &str| project.run(&["run", "w.yaml", "--model", "scripted/model.yaml", form]);
    for form in ["--json", "--json=cofferdam"] {
        assert_eq!(run(form).expect(1).json_lines()[0]["kind"], "run_started", "{form}");
    }
    let refused = run("--json=other").expect(3);
    assert!(refused.stderr.contains("cofferdam") && refused.stderr.contains("zenflow"), "{}", refused.stderr);
    // What keeps a run from beginning is no event.
    let refused = project.run(&["run", "none.yaml", "--json=zenflow"]).expect(3);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("none.yaml"), "{}", refused.stdout);
}

#[test]
fn a_run_that_goes_on_has_its_name_and_ends_once_more() {
    let project = project();
    project.run(&[&["run", "w.yaml"][..], &FLAGS].concat()).expect(1);
    let script = SCRIPT.replace("error: { status: 401, message: who are you }", "text: well");
    project.file("model.yaml", script);
    let resumed = project.run(&["resume", "last", "--json=zenflow"]).expect(0).json_lines();
    assert_eq!((&resumed[0]["type"], &resumed[0]["message"]), (&"workflow_start".into(), &"stream".into()));
    assert_eq!(resumed[0]["data"]["resumed"], true);
    let started = resumed.iter().find(|line| line["stepId"] == "bad" && line["type"] == "step_start").unwrap();
    assert_eq!((&started["data"]["index"], &started["data"]["total"]), (&4.into(), &6.into()), "{started}");
    // It is completed now: nothing runs.
    let again = project.run(&["resume", "last", "--json=zenflow"]).expect(0).json_lines();
    let types: Vec<&Value> = again.iter().map(|line| &line["type"]).collect();
    assert_eq!(types, ["workflow_start", "workflow_end"]);
    assert_eq!(again[1]["tokens"]["total"].as_u64().map(|total| total > 7), Some(true), "{}", again[1]);
}

#[test]
fn an_agent_alone_and_a_goal_are_told_as_well() {
    let project = project();
    let said = project.run(&["agent", "Hello.", "--model", "scripted/model.yaml", "--json=zenflow"]).expect(0);
    let lines = said.json_lines();
    assert_eq!(lines.last().unwrap()["type"], "workflow_end");
    let plan = "name: planned\nsteps: [{ id: one, instructions: Work. }]";
    let planner = format!("answers: [{{ step: agent, text: {} }}]\ndefault: {{ text: done }}", serde_json::json!(plan));
    project.file("planner.yaml", planner);
    let args = ["goal", "Do it.", "--yes", "--model", "scripted/planner.yaml", "--json=zenflow"];
    let lines = project.run(&args).expect(0).json_lines();
    let at = |kind: &str| lines.iter().position(|line| line["type"] == kind).unwrap();
    assert!(at("agent_turn") < at("plan_ready") && at("plan_ready") < at("workflow_start"), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line["type"] == "workflow_start").count(), 1);
    assert_eq!(lines.last().unwrap()["type"], "workflow_end");
}

#[test]
fn what_a_coordinator_does_is_told() {
    let project = Project::new();
    project.file("w.yaml", "name: small\nsteps: [{ id: only, instructions: Work. }]");
    let script = r#"
answers:
  - { step: "@coordinator", contains: "All steps have ended", times: 1, toolCalls: [{ tool: narrate, args: { text: so far } }, { tool: forward_to_agent, args: { target_step_id: nowhere, text: hi } }, { tool: finalize, args: { summary: all done } }] }
default: { text: ok }
"#;
    project.file("model.yaml", script);
    let args = ["run", "w.yaml", "--coordinator", "--model", "scripted/model.yaml", "--json=zenflow"];
    let lines = project.run(&args).expect(0).json_lines();
    let one =
        |kind: &str| lines.iter().find(|line| line["type"] == kind).unwrap_or_else(|| panic!("{kind}: {lines:#?}"));
    assert_eq!(
        (&one("coordinator_narration")["message"], &one("coordinator_narration")["stepId"]),
        (&"so far".into(), &"coordinator".into())
    );
    assert_eq!(one("coordinator_synthesis")["message"], "all done");
    assert_eq!(one("message_sent")["data"]["to"], "nowhere");
    assert_eq!(one("message_dropped")["data"]["reason"], "unknown-step");
    assert!(lines.iter().any(|line| line["type"] == "agent_turn" && line["stepId"] == "coordinator"));
    assert!(!lines.iter().any(|line| line["type"] == "step_start" && line["stepId"] == "coordinator"));
    assert_eq!(lines.last().unwrap()["type"], "workflow_end");
}

/// The cells of the table below a heading of the page for zenflow's users.
fn table(heading: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(repository().join("host/docs/zenflow.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    rows.filter(|line| !line.starts_with("| ---")).skip(1).map(cells).collect()
}

#[test]
fn the_page_names_every_type_that_is_printed() {
    let code = include_str!("../../host/sink/zenflow/mapping.rs");
    let quoted = |from: &str| code.split(from).skip(1).filter_map(|rest| rest.split('"').next()).collect::<Vec<_>>();
    let printed: BTreeSet<&str> = ["Line::new(\"", "line(\""].into_iter().flat_map(quoted).collect();
    assert!(printed.len() > 12, "{printed:?}");
    let rows = table("Events as zenflow prints them");
    for kind in printed {
        assert!(rows.iter().any(|row| row[0].contains(&format!("`{kind}`"))), "the page does not name `{kind}`");
    }
}

#[test]
fn every_test_that_the_table_of_options_names_is_there() {
    let rows = table("Options and entry points");
    assert!(rows.len() > 60, "only {} rows", rows.len());
    for row in &rows {
        assert_eq!(row.len(), 4, "{row:?}");
        let (here, tests) = (&row[1], &row[3]);
        let named: Vec<&str> = tests.split('`').filter(|part| part.contains("::")).collect();
        let is_absent = here.starts_with("none") || here.starts_with("not there yet");
        assert!(!named.is_empty() || is_absent, "{row:?} names no test");
        for test in named {
            let (file, function) = test.split_once("::").unwrap();
            let path = match file.strip_prefix("run/") {
                Some(file) => format!("host/engine/tests/run/{file}.rs"),
                None => format!("tests/all/{file}.rs"),
            };
            let code = fs::read_to_string(repository().join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(code.contains(&format!("fn {function}(")), "{path} has no test `{function}`");
        }
    }
}
