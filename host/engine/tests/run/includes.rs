//! Included documents: their inputs, what they return, and what changes that.

use crate::scene::{Scene, agent, expr, step, template, workflow};
use cofferdam_core::event::RunStatus;
use cofferdam_core::spec::workflow::{AgentWork, Include, Input, InputKind, Scope, Step, Work, Workflow};
use cofferdam_core::transform::{Transform, Transforms};
use serde_json::{Value, json};
use std::sync::Arc;

fn input(name: &str, kind: InputKind, default: Option<Value>) -> Input {
    let required = default.is_none();
    Input { name: name.to_owned(), kind, description: None, default, choices: Vec::new(), required }
}

fn include(with: &Value, output: Option<&str>) -> Workflow {
    let mut inner = agent("inner", "echo", "");
    let Work::Agent(work) = &mut inner.work else { panic!() };
    *work = AgentWork { input: Some(template(&json!("{{ inputs.topic }} {{ inputs.count }}"), &[])), ..work.clone() };
    let work = Include {
        name: "part".into(),
        path: "part.yaml".to_owned(),
        scope: Arc::new(Scope { steps: vec![inner], ..Scope::default() }),
        inputs: Arc::new([input("topic", InputKind::String, None), input("count", InputKind::Integer, Some(json!(3)))]),
        timeout: None,
        with: template(with, &["first"]),
        output: output.map(|output| expr(output, &["inner"])),
    };
    let include = Step { depends_on: vec![0], ..step("part", Work::Include(Box::new(work))) };
    workflow(vec![agent("first", "echo", "tides"), include])
}

#[test]
fn inputs_are_filled_from_with_and_from_defaults() {
    let seen = Scene::default().echo().run(include(&json!({ "topic": "{{ steps.first.content }}" }), None));
    assert_eq!(seen.result.status, RunStatus::Completed, "{:?}", seen.result.error);
    assert_eq!(seen.content("part"), "## Task\ntides 3");
    let numbers = include(&json!({ "topic": "x", "count": "{{ 1 + 1 }}" }), None);
    assert_eq!(Scene::default().echo().run(numbers).content("part"), "x 2");
}

#[test]
fn inputs_that_do_not_fit_fail_the_step() {
    for (with, said) in [
        (json!({}), "input `topic` is missing"),
        (json!({ "topic": 1 }), "input `topic` takes text, not an integer"),
        (json!({ "topic": "x", "toppic": "x" }), "unknown input `toppic`"),
    ] {
        let seen = Scene::default().echo().run(include(&with, None));
        let error = seen.result.step("part").unwrap().error.clone().unwrap();
        assert_eq!(error.code, "include_inputs");
        assert!(error.message.contains(said), "{error}");
    }
}

#[test]
fn the_output_of_a_document_is_what_its_include_gives() {
    let seen = Scene::default().echo().run(include(&json!({ "topic": "x" }), Some("steps.inner.content + '!'")));
    assert_eq!(seen.content("part"), "x 3!");
    let seen = Scene::default().echo().run(include(&json!({ "topic": "x" }), Some("[inputs.topic, inputs.count]")));
    let part = seen.result.step("part").unwrap();
    assert_eq!((&*part.content, &*part.result), ("x 3", &json!(["x", 3])));
    let seen = Scene::default().echo().run(include(&json!({ "topic": "x" }), Some("steps.inner.result.gone")));
    let part = seen.result.step("part").unwrap();
    assert_eq!((part.error.as_ref().unwrap().code.as_ref(), &*part.content), ("output", "x 3"));
}

#[test]
fn transforms_come_after_the_output() {
    let mut document = include(&json!({ "topic": "x" }), Some("steps.inner.content + '!'"));
    let mut scope = Arc::unwrap_or_clone(document.scope);
    scope.steps[1].transform = Transforms { output: vec![Transform::Upper], ..Transforms::default() };
    document.scope = Arc::new(scope);
    assert_eq!(Scene::default().echo().run(document).content("part"), "X 3!");
}
