//! Transforms and conditions by plugin, with a native plugin: what they change, skip, stop and choose.

use crate::scene::{Scene, agent, text, workflow};
use cofferdam_core::event::{Body, RunStatus, SkippedBecause, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, StepId};
use cofferdam_core::limits;
use cofferdam_core::port::{self, BoxFuture, Choice, PureContext, PureVerdict};
use cofferdam_core::spec::workflow::{Condition, FailurePolicy, PluginCondition, Step, Work, Workflow};
use cofferdam_core::transform::{Transform, Transforms};
use cofferdam_core::value::Map;
use cofferdam_engine::contract::Mirror;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn alias() -> Alias {
    Alias::parse("mirror").unwrap()
}

fn options(act: &str, text: &str) -> Map {
    let Value::Object(options) = json!({ "do": act, "text": text }) else { unreachable!() };
    options
}

fn scene() -> Scene {
    let mut scene = Scene::default().echo();
    scene.plugins.transforms.insert(alias(), Arc::new(Mirror));
    scene.plugins.conditions.insert(alias(), Arc::new(Mirror));
    scene
}

fn link(act: &str, text: &str) -> Transform {
    Transform::Plugin { plugin: alias(), options: options(act, text) }
}

fn when(act: &str, text: &str, label: Option<&str>) -> Option<Condition> {
    let label = label.map(str::to_owned);
    Some(Condition::Plugin(PluginCondition { plugin: alias(), options: options(act, text), label }))
}

fn plain(id: &str) -> Step {
    agent(id, "echo", id)
}

fn after(step: Step, depends_on: &[usize]) -> Step {
    Step { depends_on: depends_on.to_vec(), ..step }
}

#[tokio::test]
async fn the_native_twin_keeps_the_laws() {
    cofferdam_engine::contract::transform(&Mirror).await.unwrap();
    cofferdam_engine::contract::condition(&Mirror).await.unwrap();
}

#[test]
fn a_plugin_changes_the_message_and_the_output() {
    let transform = Transforms { input: vec![link("upper", "")], output: vec![link("twice", ""), Transform::Trim] };
    let seen = scene().run(workflow(vec![Step { transform, ..plain("a") }]));
    assert_eq!(seen.content("a"), "## TASK\nA\n\n## TASK\nA");
}

#[test]
fn an_item_that_fails_fails_the_step_and_what_is_dropped_is_warned_about() {
    let fails = Transforms { output: vec![link("fail", "no")], ..Transforms::default() };
    let drops = Transforms { output: vec![link("drop", "old")], ..Transforms::default() };
    let steps = vec![Step { transform: fails, ..plain("a") }, Step { transform: drops, ..plain("b") }];
    let seen = scene().run(workflow(steps));
    assert_eq!(seen.result.step("a").unwrap().status, StepStatus::Failed);
    assert_eq!(seen.content("b"), "");
    assert!(seen.result.warnings.iter().any(|warning| warning.contains("left nothing: old")), "{:?}", seen.result);
}

fn with_output_transform(steps: Vec<Step>, chain: Vec<Transform>) -> Workflow {
    let mut workflow = workflow(steps);
    let mut scope = (*workflow.scope).clone();
    scope.defaults.output_transform = chain;
    workflow.scope = Arc::new(scope);
    workflow
}

#[test]
fn outputs_are_changed_before_they_enter_a_prompt_and_nowhere_else() {
    let steps = vec![plain("a"), after(plain("b"), &[0]), after(plain("c"), &[0, 1])];
    let seen = scene().run(with_output_transform(steps, vec![Transform::Trim, link("upper", "")]));
    assert_eq!(seen.content("a"), "## Task\na");
    assert_eq!(seen.content("b"), "## Task\nb\n\n## Results of earlier steps\n\n### a\n## TASK\nA");
    assert!(seen.content("c").contains("### a\n## TASK\nA"), "{}", seen.content("c"));
}

/// Changes nothing, after a second, and counts how often it was asked to and how often it came to its end.
#[derive(Default)]
struct Slow {
    asked: AtomicUsize,
    done: AtomicUsize,
}

impl port::Transform for Slow {
    fn refuse(&self, _: &Map) -> Option<String> {
        None
    }

    fn apply<'a>(
        &'a self,
        _: PureContext,
        _: &'a Map,
        items: Vec<port::Item>,
    ) -> BoxFuture<'a, Result<Vec<port::Outcome>, Fault>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.done.fetch_add(1, Ordering::Relaxed);
            Ok(items.into_iter().map(port::Outcome::Keep).collect())
        })
    }
}

fn slowly() -> (Arc<Slow>, Scene) {
    let (slow, mut scene) = (Arc::new(Slow::default()), scene());
    scene.plugins.transforms.insert(alias(), Arc::clone(&slow) as Arc<dyn port::Transform>);
    (slow, scene)
}

#[test]
fn readers_that_start_together_have_an_output_changed_once() {
    let readers = ["b", "c", "d"].map(|id| after(plain(id), &[0]));
    let hasty = Step { timeout: Some(Duration::from_millis(500)), ..after(plain("e"), &[0]) };
    // Whoever gives up first was the first to ask, and leaves the work to the others.
    let steps = [plain("a"), hasty].into_iter().chain(readers).collect();
    let (slow, scene) = slowly();
    let seen = scene.run(with_output_transform(steps, vec![link("keep", "")]));
    assert_eq!((slow.asked.load(Ordering::Relaxed), slow.done.load(Ordering::Relaxed)), (1, 1));
    assert_eq!(seen.result.step("e").unwrap().status, StepStatus::Failed);
    assert!(seen.content("d").contains("### a\n## Task\na"), "{}", seen.content("d"));
    let alone = Step { timeout: Some(Duration::from_millis(500)), ..after(plain("b"), &[0]) };
    let (slow, scene) = slowly();
    scene.run(with_output_transform(vec![plain("a"), alone], vec![link("keep", "")]));
    assert_eq!((slow.asked.load(Ordering::Relaxed), slow.done.load(Ordering::Relaxed)), (1, 0), "nobody waits for it");
}

#[test]
fn a_stop_that_comes_together_with_the_end_of_a_change_ends_who_waited_for_it() {
    // Both come at the same second, the change first: the step that fails has waited as long as the transform.
    let late = Step { on_failure: Some(FailurePolicy::Abort), ..agent("x", "late", "x") };
    let (slow, scene) = slowly();
    let begun = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&begun);
    let scene = scene
        .agent("late", |_, _| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Err(Fault::step("late", "it fails"))
        })
        .agent("reads", move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
            // Long, and not for ever: whoever begins it shows in the time that the run took.
            async {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Ok(text("read"))
            }
        });
    let reader = after(agent("b", "reads", "b"), &[0]);
    let seen = scene.run(with_output_transform(vec![plain("a"), reader, late], vec![link("keep", "")]));
    assert_eq!(slow.done.load(Ordering::Relaxed), 1, "the change had come to its end");
    assert_eq!((seen.result.status, seen.took), (RunStatus::Failed, Duration::from_secs(1)));
    assert_eq!(seen.result.step("b").unwrap().status, StepStatus::Cancelled);
    assert_eq!(begun.load(Ordering::Relaxed), 0);
}

#[test]
fn an_output_that_cannot_be_changed_fails_who_reads_it() {
    let steps = vec![plain("a"), after(plain("b"), &[0])];
    let seen = scene().run(with_output_transform(steps, vec![link("fail", "no")]));
    assert_eq!(seen.result.step("a").unwrap().status, StepStatus::Completed);
    let error = seen.result.step("b").unwrap().error.clone().unwrap();
    assert!(error.message.contains("step `a`") && error.message.contains("no"), "{error:?}");
}

#[test]
fn a_condition_lets_a_step_run_or_skips_it_and_its_dependents_go_on() {
    let skipped = Step { condition: when("skip", "not today", None), ..plain("b") };
    let steps = vec![Step { condition: when("keep", "", None), ..plain("a") }, skipped, after(plain("c"), &[1])];
    let seen = scene().run(workflow(steps));
    assert_eq!(seen.result.step("a").unwrap().status, StepStatus::Completed);
    let skipped = seen.result.step("b").unwrap();
    assert_eq!((skipped.status, skipped.skipped_because), (StepStatus::Skipped, Some(SkippedBecause::Condition)));
    assert!(seen.content("c").contains("not today"), "{}", seen.content("c"));
}

#[test]
fn a_stop_ends_the_scope_as_completed_and_skips_what_has_not_begun() {
    let stop = Step { condition: when("stop", "enough", None), ..after(plain("b"), &[0]) };
    let steps = vec![plain("a"), stop, after(plain("c"), &[1]), after(plain("d"), &[0, 2])];
    let seen = scene().run(workflow(steps));
    assert_eq!(seen.result.status, RunStatus::Completed);
    for id in ["b", "c", "d"] {
        let step = seen.result.step(id).unwrap();
        assert_eq!((step.status, step.skipped_because), (StepStatus::Skipped, Some(SkippedBecause::Stop)), "{id}");
    }
}

#[test]
fn a_stop_in_a_group_ends_the_group_and_not_the_run() {
    let inner = vec![plain("x"), Step { condition: when("stop", "enough", None), ..after(plain("y"), &[0]) }];
    let group = Step { work: Work::Group(Arc::clone(&workflow(inner).scope)), ..plain("g") };
    let seen = scene().run(workflow(vec![group, after(plain("z"), &[0])]));
    assert_eq!(seen.result.status, RunStatus::Completed);
    assert_eq!(seen.content("g"), "## Task\nx");
    assert!(seen.content("z").contains("## Task\nx"));
}

/// Lets every step run, and knows how many it was asked about at once.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl port::Condition for Crowd {
    fn refuse(&self, _: &Map) -> Option<String> {
        None
    }

    fn decide<'a>(&'a self, _: PureContext, _: &'a Map, _: Map) -> BoxFuture<'a, Result<PureVerdict, Fault>> {
        Box::pin(async move {
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            self.now.fetch_sub(1, Ordering::Relaxed);
            Ok(PureVerdict::Proceed)
        })
    }

    fn choose<'a>(&'a self, _: PureContext, _: &'a Map, _: Choice) -> BoxFuture<'a, Result<Option<usize>, Fault>> {
        Box::pin(async { Ok(None) })
    }
}

#[test]
fn only_so_many_views_are_held_for_conditions_at_once() {
    let crowd = Arc::new(Crowd::default());
    let mut scene = scene();
    scene.plugins.conditions.insert(alias(), Arc::clone(&crowd) as Arc<dyn port::Condition>);
    let step = |number: usize| Step { condition: when("keep", "", None), ..plain(&format!("s{number}")) };
    let seen = scene.run(workflow((0..100).map(step).collect()));
    assert_eq!(seen.result.status, RunStatus::Completed);
    let most = crowd.most.load(Ordering::Relaxed);
    assert!((2..=limits::EVALUATIONS).contains(&most), "{most} at once");
}

fn branch(id: &str, label: &str, picked: &str) -> Step {
    Step { condition: when("pick", picked, Some(label)), ..plain(id) }
}

#[test]
fn one_choice_decides_all_steps_with_the_same_plugin_and_options() {
    let steps = |picked: &str| {
        let first = branch("a", "one", picked);
        // It comes up later, and the choice holds for it too.
        let later = after(branch("b", "two", picked), &[0]);
        vec![first, later, branch("c", "three", picked), Step { condition: None, ..plain("d") }]
    };
    for (picked, runs) in [("one", Some("a")), ("two", Some("b")), ("three", Some("c")), ("four", None)] {
        let seen = scene().run(workflow(steps(picked)));
        for id in ["a", "b", "c"] {
            let wanted = if runs == Some(id) { StepStatus::Completed } else { StepStatus::Skipped };
            assert_eq!(seen.result.step(id).unwrap().status, wanted, "{id} of {picked}");
        }
        assert_eq!(seen.result.step("d").unwrap().status, StepStatus::Completed);
        let chosen: Vec<&Body> =
            seen.journal.iter().map(|event| &event.body).filter(|body| body.kind() == "branch_chosen").collect();
        assert!(matches!(chosen[..], [Body::BranchChosen { step, .. }] if step.as_ref().map(StepId::as_str) == runs));
    }
}

#[test]
fn a_choice_that_cannot_be_made_fails_every_step_of_it() {
    let steps = ["a", "b"].map(|id| Step { condition: when("fail", "no idea", Some(id)), ..plain(id) });
    let seen = scene().run(workflow(steps.to_vec()));
    for id in ["a", "b"] {
        assert_eq!(seen.result.step(id).unwrap().error.clone().unwrap().message, "no idea");
    }
}

#[test]
fn a_condition_sees_what_an_expression_could_read() {
    let looks = Step { condition: when("config", "", None), ..after(plain("c"), &[1]) };
    let seen = scene().run(workflow(vec![plain("a"), after(plain("b"), &[0]), looks, plain("d")]));
    let shown = seen.journal.iter().find_map(|event| match &event.body {
        Body::StepSkipped { detail, .. } => Some(detail.clone()),
        _ => None,
    });
    let shown = shown.unwrap();
    let view: Value = serde_json::from_str(shown.split_once(": ").unwrap().1).unwrap();
    let steps: Vec<&String> = view["steps"].as_object().unwrap().keys().collect();
    assert_eq!(steps, ["a", "b"]);
    assert_eq!(view["steps"]["a"]["content"], "## Task\na");
    assert!(view["inputs"].is_object() && view.get("content").is_none(), "{view}");
}

#[test]
fn a_plugin_of_another_kind_and_options_that_do_not_fit_are_refused_at_the_start() {
    let other = Alias::parse("other").unwrap();
    let transform = Transforms { output: vec![link("fly", "")], ..Transforms::default() };
    let condition = PluginCondition { plugin: other.clone(), options: Map::new(), label: None };
    let steps =
        vec![Step { transform, ..plain("a") }, Step { condition: Some(Condition::Plugin(condition)), ..plain("b") }];
    let chain = vec![Transform::Plugin { plugin: other, options: Map::new() }];
    let faults = scene().refused(with_output_transform(steps, chain));
    let told: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("`outputTransform`: the plugin `other` is no transform"), "{told:?}");
    assert!(told[1].contains("step `a`: the plugin `mirror` does not take these options"), "{told:?}");
    assert!(told[2].contains("step `b`: the plugin `other` is no condition"), "{told:?}");
}
