//! Loops that repeat: what ends them.

use crate::scene::{Scene, agent, expr, text, workflow};
use cofferdam_core::event::{RunStatus, StepOutput};
use cofferdam_core::fault::Fault;
use cofferdam_core::spec::workflow::{
    Loop, LoopCheck, LoopKind, OnLimit, OutputMode, Repeat, Scope, Step, Work, Workflow,
};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

fn repeat(fill: impl FnOnce(&mut Repeat)) -> Workflow {
    let mut repeat = Repeat {
        max_iterations: 5,
        go_on: None,
        until: None,
        judge: None,
        on_limit: OnLimit::Complete,
        delay: Duration::ZERO,
        output_mode: OutputMode::Last,
    };
    fill(&mut repeat);
    let body = Scope { steps: vec![agent("draft", "counting", "Write.")], ..Scope::default() };
    let repeat = Loop { kind: LoopKind::Repeat(Box::new(repeat)), body: Some(Arc::new(body)) };
    workflow(vec![Step { repeat: Some(repeat), ..crate::scene::step("again", Work::Body) }])
}

/// Says which iteration it is, by the path of its step.
fn counting() -> Scene {
    Scene::default().agent("counting", |ctx, _| async move { Ok(text(ctx.path.as_str())) })
}

fn iterations(seen: &crate::scene::Seen) -> usize {
    seen.result.loops[0].iterations
}

#[test]
fn until_sees_the_inner_steps_and_ends_the_loop() {
    let seen = counting().run(repeat(|repeat| {
        repeat.until = Some(expr("steps.draft.content == 'again[2].draft' && iteration == 2", &["draft"]));
    }));
    assert_eq!((seen.result.status, iterations(&seen)), (RunStatus::Completed, 3));
    assert_eq!(seen.content("again"), "again[2].draft");
}

#[test]
fn while_is_asked_before_the_first_iteration() {
    let check = |source: &str| Some(LoopCheck::Expr(expr(source, &[])));
    let seen = counting().run(repeat(|repeat| repeat.go_on = check("status == 'completed'")));
    assert_eq!((seen.result.status, iterations(&seen)), (RunStatus::Completed, 0));
    let seen = counting().run(repeat(|repeat| repeat.go_on = check("iteration < 2")));
    assert_eq!((seen.result.status, iterations(&seen)), (RunStatus::Completed, 2));
}

#[test]
fn a_check_that_gives_no_answer_fails_the_loop() {
    for (source, said) in
        [("content", "`until` gave a string instead of true or false"), ("result.gone", "cannot evaluate `until`")]
    {
        let seen = counting().run(repeat(|repeat| repeat.until = Some(expr(source, &[]))));
        let error = seen.result.step("again").unwrap().error.clone().unwrap();
        assert_eq!(error.code, "loop_condition");
        assert!(error.message.contains(said), "{error}");
    }
}

#[test]
fn a_signal_from_inside_an_agent_ends_the_loop_and_is_taken_back() {
    let scene = Scene::default().agent("counting", |ctx, _| async move {
        if ctx.path.as_str() == "again[1].draft" {
            ctx.run.set_variable("loop_continue".to_owned(), json!(false)).await?;
        }
        Ok(text(ctx.path.as_str()))
    });
    let scene = scene.agent("after", |ctx, _| async move {
        Ok(text(if ctx.run.variable("loop_continue").is_none() { "gone" } else { "still there" }))
    });
    let mut document = repeat(|_| ());
    let mut scope = Arc::unwrap_or_clone(document.scope);
    scope.steps.push(Step { depends_on: vec![0], ..agent("after", "after", "") });
    document.scope = Arc::new(scope);
    let seen = scene.run(document);
    assert_eq!((seen.result.status, iterations(&seen)), (RunStatus::Completed, 2));
    assert_eq!((seen.content("again"), seen.content("after")), ("again[1].draft", "gone"));
}

#[test]
fn a_judge_ends_the_loop_and_one_that_fails_does_not() {
    let judged = |fails: bool| {
        let scene = counting().agent("judge", move |ctx, _| async move {
            if fails {
                return Err(Fault::step("broken", "no verdict"));
            }
            let done = ctx.path.as_str() == "again.judge[1]";
            Ok(StepOutput { result: Arc::new(json!({ "done": done })), ..text("hm") })
        });
        scene.run(repeat(|repeat| repeat.judge = Some(Arc::new(agent("judge", "judge", "Is it good?")))))
    };
    let seen = judged(false);
    assert_eq!((seen.result.status, iterations(&seen)), (RunStatus::Completed, 2));
    let seen = judged(true);
    assert_eq!((seen.result.status, iterations(&seen)), (RunStatus::Completed, 5));
    assert!(seen.result.warnings.iter().any(|warning| warning.contains("no verdict")), "{:?}", seen.result.warnings);
}
