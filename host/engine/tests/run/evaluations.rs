//! Evaluations that take longer than there is time: nobody waits for them, and what they give comes too late.
//!
//! Time stands still here until nothing is left to do but to wait, so an evaluation of a second is one that never ends.

use crate::scene::{Scene, Seen, agent, expr, step, workflow};
use cofferdam_core::event::{RunReason, RunStatus, StepOutput, StepStatus};
use cofferdam_core::run::StepResult;
use cofferdam_core::spec::workflow::{
    Condition, ForEach, ItemFailure, Items, Loop, LoopKind, Scope, Step, Work, Workflow,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const SLOW: &str = "steps.list.result.map(a, size(steps.list.result.map(b, b)))";

fn run(steps: Vec<Step>, fill: impl FnOnce(&mut Workflow), timeout: Option<Duration>) -> Seen {
    let list: Vec<Value> = (0..900).map(|n| json!(n)).collect();
    let scene = Scene { timeout, ..Scene::default() }.echo().agent("lister", move |_, _| {
        let result = Arc::new(Value::Array(list.clone()));
        async move { Ok(StepOutput { result, ..StepOutput::default() }) }
    });
    let mut document = workflow([vec![agent("list", "lister", "List.")], steps].concat());
    fill(&mut document);
    scene.run(document)
}

fn later(step: Step) -> Step {
    Step { depends_on: vec![0], timeout: Some(Duration::from_secs(2)), ..step }
}

fn failed_of_time(seen: &Seen) {
    let step = seen.result.step("slow").unwrap();
    assert_eq!((step.status, seen.result.status), (StepStatus::Failed, RunStatus::Partial));
    assert_eq!(step.error.as_ref().map(|fault| &*fault.code), Some("timeout"));
    assert_eq!(seen.took, Duration::from_secs(2));
}

#[test]
fn a_condition_has_the_time_of_its_step() {
    let condition = Some(Condition::Expr(expr(&format!("size({SLOW}) > 0"), &["list"])));
    failed_of_time(&run(vec![later(Step { condition, ..agent("slow", "echo", "Do it.") })], |_| (), None));
}

#[test]
fn a_list_has_the_time_of_its_loop() {
    let (items, on_item_failure) = (Items::Expr(expr(SLOW, &["list"])), ItemFailure::Stop);
    let kind = LoopKind::ForEach(ForEach { items, max_concurrency: None, on_item_failure });
    let repeat = Some(Loop { kind, body: None });
    failed_of_time(&run(vec![later(Step { repeat, ..agent("slow", "echo", "Do it.") })], |_| (), None));
}

#[test]
fn the_output_has_the_time_of_the_run() {
    let fill = |document: &mut Workflow| document.output = Some(expr(SLOW, &["list"]));
    let seen = run(Vec::new(), fill, Some(Duration::from_secs(2)));
    assert_eq!((seen.result.status, seen.result.reason), (RunStatus::Failed, Some(RunReason::Timeout)));
    assert_eq!((&seen.result.output, seen.took), (&Value::Null, Duration::from_secs(2)));
    assert_eq!(seen.result.step("list").unwrap().status, StepStatus::Completed);
}

#[test]
fn conditions_that_wait_for_others_are_all_decided() {
    let items = Items::List(Arc::new((0..300).map(|n| json!(n)).collect()));
    let kind = LoopKind::ForEach(ForEach { items, max_concurrency: None, on_item_failure: ItemFailure::Stop });
    let inner = Step { condition: Some(Condition::Expr(expr("item % 3 == 0", &[]))), ..agent("a", "echo", "Do it.") };
    let body = Scope { steps: vec![inner], ..Scope::default() };
    let repeat = Some(Loop { kind, body: Some(Arc::new(body)) });
    let seen = Scene::default().echo().run(workflow(vec![Step { repeat, ..step("each", Work::Body) }]));
    assert_eq!(seen.result.status, RunStatus::Completed);
    let of = |status| move |step: &&StepResult| step.path.as_str().ends_with(".a") && step.status == status;
    assert_eq!(seen.result.steps.iter().filter(of(StepStatus::Completed)).count(), 100);
    assert_eq!(seen.result.steps.iter().filter(of(StepStatus::Skipped)).count(), 200);
}
