//! Closures of the embedder: conditions, transforms and loop conditions, and what a panic in one means.

use crate::scene::{Scene, agent, group, workflow};
use cofferdam_core::event::{Body, RunStatus, StepOutput, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepId;
use cofferdam_core::port::{BoxFuture, ConditionFn, LoopFn, LoopView, RunContext, Starter, StepEnd, TransformFn};
use cofferdam_core::spec::workflow::{
    Condition, FailurePolicy, Loop, LoopCheck, LoopKind, OnLimit, OutputMode, Repeat, Step, Workflow,
};
use cofferdam_core::transform::{Transform, Transforms};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

struct Says(Option<bool>);

impl ConditionFn for Says {
    fn decide(&self, ctx: Arc<dyn RunContext>) -> BoxFuture<'_, Result<bool, Fault>> {
        let Some(says) = self.0 else { panic!("asked by {}", ctx.path()) };
        Box::pin(async move { Ok(says) })
    }
}

/// Puts a mark around a text.
struct Around(&'static str);

impl TransformFn for Around {
    fn apply(&self, _: Arc<dyn RunContext>, value: StepOutput) -> BoxFuture<'_, Result<StepOutput, Fault>> {
        let content = format!("{}{}{}", self.0, value.content, self.0).into();
        Box::pin(async move { Ok(StepOutput { content, ..value }) })
    }
}

/// Goes on so many times.
struct Times(u32);

impl LoopFn for Times {
    fn go_on(&self, ctx: Arc<dyn RunContext>, so_far: LoopView) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin(async move {
            ctx.set_variable("seen".to_owned(), so_far.outputs.len().into()).await?;
            Ok(so_far.iteration < self.0)
        })
    }
}

fn scene(says: Option<bool>) -> Scene {
    let mut scene = Scene::default().echo();
    scene.natives.conditions.insert("decide".into(), Arc::new(Says(says)));
    scene.natives.transforms.insert("star".into(), Arc::new(Around("*")));
    scene.natives.transforms.insert("dash".into(), Arc::new(Around("-")));
    scene.natives.loops.insert("times".into(), Arc::new(Times(3)));
    scene
}

fn conditional() -> Workflow {
    workflow(vec![Step { condition: Some(Condition::Native("decide".into())), ..agent("a", "echo", "hello") }])
}

#[test]
fn a_condition_decides_and_a_panic_in_it_fails_the_step() {
    let status = |says| scene(says).run(conditional()).result.step("a").unwrap().status;
    assert_eq!(status(Some(true)), StepStatus::Completed);
    assert_eq!(status(Some(false)), StepStatus::Skipped);
    let seen = scene(None).run(conditional());
    let error = seen.result.step("a").unwrap().error.clone().unwrap();
    assert_eq!((error.code.as_ref(), error.message.as_str()), ("closure_panicked", "condition `decide` panicked"));
}

/// Says yes after five and a half seconds, and no after two when it is asked again.
#[derive(Default)]
struct Hesitates(AtomicU32);

impl ConditionFn for Hesitates {
    fn decide(&self, _: Arc<dyn RunContext>) -> BoxFuture<'_, Result<bool, Fault>> {
        let first = self.0.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(if first { 5_500 } else { 1_900 })).await;
            Ok(first)
        })
    }
}

#[test]
fn a_condition_has_the_time_of_its_step() {
    let mut scene = Scene::default().echo();
    scene.natives.conditions.insert("decide".into(), Arc::new(Hesitates::default()));
    let mut document = conditional();
    let mut scope = Arc::unwrap_or_clone(document.scope);
    scope.steps[0].timeout = Some(Duration::from_secs(2));
    document.scope = Arc::new(scope);
    let seen = scene.run(document);
    assert_eq!(seen.result.step("a").unwrap().error.as_ref().unwrap().code, "timeout");
    assert_eq!(seen.took, Duration::from_secs(2));
}

#[test]
fn what_is_found_out_for_one_try_does_not_count_for_the_next() {
    // The inner group's time is over at 2 s, the outer one fails at 3 s and begins again at 4 s.
    let gate = Step { condition: Some(Condition::Native("decide".into())), ..agent("gate", "echo", "hello") };
    let timeout = Some(Duration::from_secs(2));
    let inner = Step { timeout, on_failure: Some(FailurePolicy::Continue), ..group("inner", vec![gate]) };
    let outer = Step { retries: 1, ..group("outer", vec![inner, agent("boom", "boom", "fail")]) };
    let mut scene = Scene::default().echo().agent("boom", |ctx, _| async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        if ctx.attempt > 1 { Ok(StepOutput::default()) } else { Err(Fault::retry("busy", "try again")) }
    });
    scene.natives.conditions.insert("decide".into(), Arc::new(Hesitates::default()));
    let seen = scene.run(workflow(vec![outer]));
    assert_eq!(seen.result.step("outer.inner.gate").unwrap().status, StepStatus::Skipped);
    assert_eq!((seen.result.status, seen.took), (RunStatus::Completed, Duration::from_secs(7)));
}

#[test]
fn chains_change_what_goes_in_and_what_comes_out() {
    let chain = |names: &[&str]| names.iter().map(|&name| Transform::Native(name.into())).collect();
    let transform =
        Transforms { input: chain(&["star", "dash"]), output: vec![Transform::Upper, Transform::Truncate(12)] };
    let seen = scene(None).run(workflow(vec![Step { transform, ..agent("a", "echo", "hello") }]));
    assert_eq!(seen.content("a"), "-*## TASK\nH\u{2026}");
}

#[test]
fn a_transform_that_fails_fails_its_step() {
    let transform = Transforms { output: vec![Transform::Json], ..Transforms::default() };
    let seen = scene(None).run(workflow(vec![Step { transform, ..agent("a", "echo", "hello") }]));
    assert_eq!(seen.result.step("a").unwrap().error.as_ref().unwrap().code, "transform");
    assert_eq!(seen.result.status, RunStatus::Failed);
}

fn looping(check: &str) -> Workflow {
    let repeat = Repeat {
        max_iterations: 10,
        go_on: Some(LoopCheck::Native(check.into())),
        until: None,
        judge: None,
        on_limit: OnLimit::Fail,
        delay: Duration::ZERO,
        output_mode: OutputMode::Last,
    };
    let repeat = Loop { kind: LoopKind::Repeat(Box::new(repeat)), body: None };
    workflow(vec![Step { repeat: Some(repeat), ..agent("again", "echo", "hello") }])
}

#[test]
fn a_loop_condition_sees_what_has_happened() {
    let seen = scene(None).run(looping("times"));
    assert_eq!(seen.result.status, RunStatus::Completed, "{:?}", seen.result.error);
    assert_eq!(seen.result.loops[0].iterations, 3);
    assert_eq!(seen.content("again[0]"), "## Task\nhello");
    let set = seen.journal.iter().filter_map(|event| match &event.body {
        Body::VariableSet { value, .. } => value.as_u64(),
        _ => None,
    });
    assert_eq!(set.collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn names_that_nothing_is_registered_under_are_refused_by_name() {
    let faults = Scene::default().echo().refused(conditional());
    assert_eq!(faults[0].message, "step `a`: this program has no condition called `decide`");
    let faults = scene(None).refused(looping("tims"));
    assert_eq!(faults[0].hint.as_deref(), Some("did you mean `times`?"));
}

/// Panics when it is asked whether a step begins.
struct Panics;

impl Starter for Panics {
    fn admit(&self, step: StepId) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move { panic!("asked about {step}") })
    }
    fn message(&self, _: &StepId) -> Option<Arc<str>> {
        None
    }
    fn ended(&self, _: StepEnd) {}
}

#[test]
fn a_panic_in_what_starts_steps_fails_the_step() {
    let scene = Scene { starter: Some(Arc::new(Panics)), timeout: Some(Duration::from_secs(60)), ..Scene::default() };
    let seen = scene.echo().run(workflow(vec![agent("a", "echo", "hello")]));
    assert_eq!((seen.result.status, seen.result.reason), (RunStatus::Failed, None));
    assert!(seen.result.step("a").unwrap().error.as_ref().unwrap().message.contains("panicked"));
}
