//! Questions: who answers them, in what time, and what becomes of them when nobody does.

use crate::scene::{Scene, agent, ask, group, workflow};
use cofferdam_core::event::{AnsweredBy, Body, RunStatus, StepStatus};
use cofferdam_core::spec::workflow::{AskWork, Step, Workflow};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

fn second(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A question and a step that gets its answer.
fn release(fill: impl FnOnce(&mut AskWork)) -> Workflow {
    let then = Step { depends_on: vec![0], ..agent("then", "echo", "") };
    workflow(vec![ask("approve", fill), then])
}

fn choices(work: &mut AskWork) {
    work.choices = vec!["yes".into(), "no".into()];
}

#[test]
fn an_answer_that_was_given_is_taken_and_nobody_is_asked() {
    let seen = Scene::default().echo().person(&[(1, "no")]).answer("approve", "yes").run(release(choices));
    assert_eq!(seen.result.status, RunStatus::Completed);
    assert!(seen.asked.is_empty());
    let expected = ["step_ready", "step_started", "question_asked", "question_answered", "step_finished"];
    assert_eq!(seen.kinds("approve"), expected);
    assert!(
        seen.journal
            .iter()
            .any(|event| { event.body == Body::QuestionAnswered { answer: json!("yes"), by: AnsweredBy::Given } })
    );
    assert_eq!((seen.content("approve"), &*seen.result.step("approve").unwrap().result), ("yes", &json!("yes")));
    assert!(seen.content("then").contains("yes"));
}

#[test]
fn a_person_is_asked_again_with_what_was_wrong() {
    let seen = Scene::default().echo().person(&[(1, "perhaps"), (1, "no")]).run(release(choices));
    let problems: Vec<_> = seen.asked.iter().map(|inquiry| inquiry.problem.as_deref()).collect();
    assert_eq!(problems, [None, Some("`perhaps` is none of `yes`, `no`")]);
    assert_eq!(&*seen.asked[0].prompt, "Ship it?");
    assert_eq!(seen.content("approve"), "no");
}

#[test]
fn whoever_never_gives_an_answer_that_fits_is_not_asked_for_ever() {
    let wrong: Vec<(u64, &str)> = std::iter::repeat_n((1, "perhaps"), 20).collect();
    let seen = Scene::default().echo().person(&wrong).run(release(choices));
    assert_eq!(seen.asked.len(), 5);
    assert_eq!(seen.result.step("approve").unwrap().error.as_ref().unwrap().code, "bad_answer");
}

#[test]
fn an_answer_fits_its_schema() {
    let schema = |work: &mut AskWork| work.schema = Some(Arc::new(json!({ "type": "integer" })));
    let seen = Scene::default().echo().person(&[(1, "many"), (1, "7")]).run(release(schema));
    assert_eq!(*seen.result.step("approve").unwrap().result, json!(7));
    assert!(seen.asked[1].problem.as_ref().unwrap().contains("not valid JSON"));
}

#[test]
fn without_anybody_the_default_is_taken() {
    let seen = Scene::default().echo().run(release(|work| work.default = Some(json!("no"))));
    assert_eq!((seen.result.status, seen.content("approve")), (RunStatus::Completed, "no"));
}

#[test]
fn without_anybody_the_question_stays_open_and_other_branches_finish() {
    let mut document = release(choices);
    let mut steps = Arc::unwrap_or_clone(document.scope);
    steps.steps.push(agent("beside", "echo", "work"));
    document.scope = Arc::new(steps);
    for scene in [Scene::default(), Scene::default().person(&[])] {
        let seen = scene.echo().run(document.clone());
        assert_eq!(seen.result.status, RunStatus::Waiting);
        assert_eq!(seen.result.step("beside").unwrap().status, StepStatus::Completed);
        assert!(!seen.kinds("then").contains(&"step_started"));
        let open = |body: &Body| matches!(body, Body::QuestionAsked { deferred: true, .. });
        assert!(seen.journal.iter().any(|event| open(&event.body)));
        assert!(!seen.kinds("approve").contains(&"question_answered"));
    }
}

#[test]
fn who_is_too_late_is_answered_by_the_default_or_fails_the_step() {
    let late = |work: &mut AskWork| work.timeout = Some(second(10));
    let seen = Scene::default().echo().person(&[(60, "yes")]).run(release(late));
    assert_eq!(seen.result.step("approve").unwrap().error.as_ref().unwrap().code, "ask_timeout");
    assert_eq!(seen.took, second(10));
    let seen = Scene::default().echo().person(&[(60, "yes")]).run(release(|work| {
        late(work);
        work.default = Some(json!("later"));
    }));
    assert_eq!((seen.content("approve"), seen.took), ("later", second(10)));
}

#[test]
fn the_time_of_a_person_counts_in_no_timeout() {
    let document = || {
        let inner = vec![ask("approve", |_| ()), Step { depends_on: vec![0], ..agent("slow", "slow", "work") }];
        workflow(vec![Step { timeout: Some(second(5)), ..group("outer", inner) }])
    };
    let scene = |wait: u64| {
        let scene = Scene { timeout: Some(second(6)), ..Scene::default() };
        scene.person(&[(3_600, "yes")]).agent("slow", move |_, message| async move {
            tokio::time::sleep(second(wait)).await;
            Ok(crate::scene::text(&message))
        })
    };
    let seen = scene(4).run(document());
    assert_eq!((seen.result.status, seen.took), (RunStatus::Completed, second(3_604)));
    let seen = scene(100).run(document());
    assert_eq!((seen.result.status, seen.took), (RunStatus::Failed, second(3_605)));
}

/// A group with a time limit, in which somebody works beside a question, and a step beside the group.
fn beside_a_question(in_group: u64, outside: u64, timeout: Option<Duration>) -> crate::scene::Seen {
    let inner = vec![ask("approve", |_| ()), agent("slow", "slow", "work")];
    let document =
        workflow(vec![Step { timeout: Some(second(5)), ..group("outer", inner) }, agent("long", "long", "work")]);
    let scene = Scene { timeout, ..Scene::default() };
    let works = |wait: u64| {
        move |_, message: Arc<str>| async move {
            tokio::time::sleep(second(wait)).await;
            Ok(crate::scene::text(&message))
        }
    };
    scene.agent("slow", works(in_group)).agent("long", works(outside)).run(document)
}

#[test]
fn a_question_that_nobody_can_answer_stops_the_time_of_what_is_around_it_but_not_of_the_run() {
    let seen = beside_a_question(3, 60, None);
    assert_eq!((seen.result.status, seen.took), (RunStatus::Waiting, second(60)));
    assert_eq!(seen.result.step("outer.slow").unwrap().status, StepStatus::Completed);
    let seen = beside_a_question(3, 60, Some(second(6)));
    assert_eq!((seen.result.status, seen.took), (RunStatus::Failed, second(6)));
}

#[test]
fn who_hangs_beside_a_question_that_nobody_can_answer_has_the_time_of_the_group() {
    let seen = beside_a_question(100_000, 7, None);
    assert_eq!((seen.result.status, seen.took), (RunStatus::Partial, second(7)));
    let outer = seen.result.step("outer").unwrap();
    assert!(outer.error.as_ref().unwrap().message.contains("5s"), "{outer:?}");
    assert_eq!(seen.result.step("outer.slow").unwrap().status, StepStatus::Cancelled);
}

#[test]
fn answers_to_no_question_are_refused_before_anything_runs() {
    let faults = Scene::default().echo().answer("aprove", "yes").refused(release(choices));
    assert_eq!(
        (faults[0].code.as_ref(), faults[0].hint.as_deref()),
        ("unknown_answer", Some("did you mean `approve`?"))
    );
    let faults = Scene::default().echo().answer("approve", "maybe").refused(release(choices));
    assert_eq!(faults[0].code, "bad_answer");
}

#[test]
fn a_run_that_is_over_asks_nobody_any_more() {
    let scene = Scene { timeout: Some(second(6)), ..Scene::default() };
    let slow = agent("slow", "slow", "work");
    let seen = scene
        .person(&[(1, "yes")])
        .agent("slow", |_, _| async {
            tokio::time::sleep(second(100)).await;
            Ok(crate::scene::text("late"))
        })
        .run(workflow(vec![slow, ask("approve", |_| ())]));
    assert_eq!(seen.result.step("approve").unwrap().status, StepStatus::Completed);
    assert_eq!((seen.result.status, seen.took), (RunStatus::Failed, second(7)));
}
