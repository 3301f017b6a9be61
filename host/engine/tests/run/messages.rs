//! What an agent is told, and what a tool is given: what is empty, cut or unfit is said.

use crate::scene::{Scene, agent, step, template, text, workflow};
use cofferdam_core::event::{Body, StepStatus};
use cofferdam_core::id::{AgentName, ToolName};
use cofferdam_core::spec::workflow::{AgentWork, Step, ToolWork, Work};
use cofferdam_core::template::Template;
use serde_json::json;

#[test]
fn a_template_that_gives_nothing_sends_nothing() {
    let input = Some(template(&json!("{{ '' }} \n"), &[]));
    let work = AgentWork { agent: Some(AgentName::parse("echo").unwrap()), input, ..AgentWork::new("") };
    let seen = Scene::default().echo().run(workflow(vec![step("a", Work::Agent(work))]));
    let result = seen.result.step("a").unwrap();
    assert_eq!(result.status, StepStatus::Failed);
    assert_eq!(result.error.as_ref().unwrap().message, "the step would send an empty message");
}

#[test]
fn inputs_that_are_shortened_are_said_aloud_once() {
    let long = |_, _| async { Ok(text(&"long ".repeat(200_000))) };
    let steps = vec![agent("a", "long", "Write."), Step { depends_on: vec![0], ..agent("b", "echo", "Read.") }];
    let seen = Scene::default().echo().agent("long", long).run(workflow(steps));
    let warnings: Vec<_> = seen
        .journal
        .iter()
        .filter_map(|event| match &event.body {
            Body::Warning { code, message } => Some((event.path.as_str(), code.as_str(), message.as_str())),
            _ => None,
        })
        .collect();
    let message = "its message was too large, and what it got of `a` was shortened";
    assert_eq!(warnings, [("b", "inputs_shortened", message)]);
    assert_eq!(seen.result.warnings, [format!("b: {message}")]);
}

#[test]
fn arguments_that_are_known_are_checked_before_anything_runs() {
    let tool = |args| {
        let work = ToolWork { tool: ToolName::parse("context_set").unwrap(), args: Template::constant(args) };
        step("keep", Work::Tool(work))
    };
    let faults = Scene::default().refused(workflow(vec![tool(json!({ "key": 7 }))]));
    assert_eq!(faults[0].code, "invalid_arguments");
    assert!(faults[0].message.starts_with("step `keep`: arguments of `context_set`"), "{}", faults[0].message);
    assert!(Scene::default().run(workflow(vec![tool(json!({ "key": "k", "value": 7 }))])).result.success());
}
