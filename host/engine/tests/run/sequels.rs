//! Messages for steps that have completed: the conversation goes on, its answer goes back, and what the step gave stays as it was.

mod again;

use crate::background::{Said, lead, led, says};
use crate::scene::{Scene, Seen, agent, group, step};
use cofferdam_core::event::{Body, Delivered, DropReason, Posted, RunEvent, RunStatus, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::mail::tally;
use cofferdam_core::message::Message;
use cofferdam_core::permission::{Rule, Rules};
use cofferdam_core::port::ModelRequest;
use cofferdam_core::spec::workflow::{
    AgentSpec, FailurePolicy, ForEach, IsolationMode, ItemFailure, Items, Loop, LoopKind, Scope, Step, ToolFilter,
    Work, Workflow,
};
use cofferdam_engine::Coordinator;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

fn late(result_schema: Option<Value>) -> AgentSpec {
    AgentSpec { resume_on_message: true, tools: ToolFilter::default(), ..lead(result_schema) }
}

/// `a`, and `b` that depends on it and takes ten seconds.
fn two(spec: AgentSpec) -> Workflow {
    led(vec![agent("a", "lead", "Draft."), Step { depends_on: vec![0], ..agent("b", "lead", "Print.") }], spec)
}

/// What the agent that is asked has heard last.
fn heard(request: &ModelRequest) -> String {
    let last = request.messages.iter().rev().find_map(|message| match message {
        Message::User { text, .. } => Some(text.to_string()),
        _ => None,
    });
    last.unwrap_or_default()
}

fn forward(to: &str, text: &str) -> (&'static str, Value) {
    ("forward_to_agent", json!({ "target_step_id": to, "text": text }))
}

fn quiet(wait: u64, text: impl Into<String>) -> Said {
    Ok((wait, text.into(), Vec::new()))
}

/// A coordinator that says what a closure says to what it hears, beside steps that take 10 s (`b`) or 1 s and repeat what
/// they hear.
fn scene(coordinator: impl Fn(&str) -> Vec<(&'static str, Value)> + Send + Sync + 'static) -> Scene {
    with(coordinator, |request| {
        let wait = if request.path.as_str() == "b" { 10_000 } else { 1_000 };
        quiet(wait, format!("{} {}: {}", request.path, request.turn, heard(request)))
    })
}

fn with(
    coordinator: impl Fn(&str) -> Vec<(&'static str, Value)> + Send + Sync + 'static,
    steps: impl Fn(&ModelRequest) -> Said + Send + Sync + 'static,
) -> Scene {
    let model = says(move |request| {
        if !request.path.is_coordinator() {
            return steps(request);
        }
        // Behind its own calls it has nothing to say.
        let heard = match request.messages.last() {
            Some(Message::User { text, .. }) => text.to_string(),
            _ => return quiet(1, "well"),
        };
        Ok((1, "hm".to_owned(), coordinator(&heard)))
    });
    let rules = Rules { allow: vec![Rule::parse("*").unwrap()], ..Rules::default() };
    Scene { models: model, rules, coordinator: Some(Coordinator::default()), ..Scene::default() }
}

/// A coordinator that asks `a` once when that has completed.
fn asks_a(heard: &str) -> Vec<(&'static str, Value)> {
    if heard.contains("step `a` completed") { vec![forward("a", "why?")] } else { Vec::new() }
}

fn told(seen: &Seen) -> String {
    let event = |event: &Arc<RunEvent>| format!("{}\n", serde_json::to_string(&**event).unwrap());
    seen.journal.iter().map(event).collect()
}

fn drops(seen: &Seen) -> Vec<DropReason> {
    let drops = seen.journal.iter().filter_map(|event| match &event.body {
        Body::MessageDropped(dropped) => Some(dropped.reason),
        _ => None,
    });
    drops.collect()
}

/// The answers of steps that had completed: who, to which message, and what.
fn answers(seen: &Seen) -> Vec<(&str, u64, &str)> {
    let answers = seen.journal.iter().filter_map(|event| match &event.body {
        Body::MessagePosted(Posted { in_reply_to: Some(to), text, .. }) => Some((event.path.as_str(), *to, &**text)),
        _ => None,
    });
    answers.collect()
}

/// What holds of every record with such answers, and of the result.
pub(crate) fn held(seen: &Seen) {
    let tally = tally(&seen.journal).unwrap_or_else(|why| panic!("{why}\n{}", told(seen)));
    assert_eq!(tally.posted, tally.delivered + tally.dropped);
    assert!(matches!(seen.journal.last().unwrap().body, Body::RunFinished { .. }), "nothing comes after the end");
    let mut turns = BTreeSet::new();
    let (mut replied, mut spent) = (BTreeSet::new(), 0);
    let mut given: BTreeMap<&str, &Arc<str>> = BTreeMap::new();
    let mut open = BTreeSet::new();
    for event in &seen.journal {
        match &event.body {
            Body::TurnFinished { turn, usage, .. } => {
                let new = turns.insert((event.path.as_str(), event.attempt, *turn));
                assert!(new, "turn {turn} of {} is recorded twice\n{}", event.path, told(seen));
                spent += usage.input;
            }
            Body::MessagePosted(Posted { in_reply_to: Some(to), .. }) => {
                assert!(replied.insert(*to), "message {to} is answered twice\n{}", told(seen));
                assert!(open.remove(event.path.as_str()), "nothing was read before {to}\n{}", told(seen));
            }
            Body::MessageDelivered(Delivered { turn: 1.., from, .. })
                if given.contains_key(event.path.as_str()) && !from.is_delegate() =>
            {
                open.insert(event.path.as_str());
            }
            Body::StepStarted { .. } => drop(given.remove(event.path.as_str())),
            Body::StepFinished { status: StepStatus::Completed, output, .. } => {
                given.insert(event.path.as_str(), &output.content);
            }
            _ => {}
        }
    }
    assert_eq!(seen.result.usage.input, spent, "{}", told(seen));
    // What was read is answered, unless the run was stopped, or nobody would have heard of it.
    let stopped = matches!(&seen.journal.last().unwrap().body, Body::RunFinished { status, reason, .. }
        if *status == RunStatus::Cancelled || *status == RunStatus::Waiting || reason.is_some());
    let alone = seen.result.warnings.iter().any(|warning| warning.contains("coordinator"));
    assert!(open.is_empty() || stopped || alone, "{open:?} did not answer\n{}", told(seen));
    for step in seen.result.steps.iter().filter(|step| step.status == StepStatus::Completed) {
        if let Some(content) = given.get(step.path.as_str()) {
            assert_eq!(**content, step.content, "what {} gave is another text", step.path);
        }
    }
}

#[test]
fn a_message_for_a_completed_step_goes_on_with_its_conversation() {
    let seen = scene(asks_a).run(two(late(None)));
    held(&seen);
    let said = "a 2: [message from the coordinator]\nwhy?";
    assert_eq!(answers(&seen), [("a", 1, said)], "{}", told(&seen));
    let kinds = seen.kinds("a");
    let end = kinds.iter().position(|kind| *kind == "step_finished").unwrap();
    assert_eq!(kinds[end..], ["step_finished", "message_delivered", "turn_started", "turn_finished", "message_posted"]);
    assert_eq!(seen.content("a"), "a 1: ## Task\nDraft.", "what it gave is what it gave");
    assert_eq!(seen.result.step("a").unwrap().usage.input, 2, "what it spent since counts");
    assert!(!seen.content("b").contains("why?"), "{}", seen.content("b"));
    let back = seen.journal.iter().find_map(|event| match &event.body {
        Body::MessageDelivered(Delivered { text, .. }) if event.path.is_coordinator() => Some(text),
        _ => None,
    });
    assert_eq!(back.map(|text| &**text), Some(said), "the coordinator reads it");
    assert_eq!(seen.result.status, RunStatus::Completed);
}

#[test]
fn without_the_flag_or_its_directory_nobody_reads_it() {
    let plain = AgentSpec { resume_on_message: false, ..late(None) };
    let mut apart = two(late(None)).scope.steps.clone();
    apart[0].isolation = Some(IsolationMode::Copy);
    for document in [two(plain), led(apart, late(None))] {
        let seen = scene(asks_a).run(document);
        held(&seen);
        assert_eq!((drops(&seen), answers(&seen).len()), (vec![DropReason::TargetFinished], 0));
    }
}

#[test]
fn what_comes_at_once_is_read_at_once_and_what_comes_meanwhile_goes_along_or_is_next() {
    let writes = |heard: &str| match heard {
        heard if heard.contains("step `a` completed") => vec![forward("a", "one"), forward("a", "two")],
        heard if heard.contains("step `c` completed") => vec![forward("a", "three")],
        _ => Vec::new(),
    };
    // It completes while `a` answers.
    let mut document = two(late(None));
    let scope = Arc::make_mut(&mut document.scope);
    scope.steps.push(Step { depends_on: vec![0], ..agent("c", "lead", "Look.") });
    let seen = scene(writes).run(led(scope.steps.clone(), late(None)));
    held(&seen);
    let answers = answers(&seen);
    assert_eq!(answers.iter().map(|(_, to, _)| *to).collect::<Vec<_>>().len(), 2, "{}", told(&seen));
    let shown = |text: &str| format!("[message from the coordinator]\n{text}");
    assert_eq!(answers[0].2, format!("a 2: {}\n\n{}", shown("one"), shown("two")));
    assert_eq!(answers[1].2, format!("a 3: {}", shown("three")));
}

#[test]
fn an_agent_that_submitted_its_result_answers_in_words_and_with_its_tools() {
    let schema = json!({ "type": "object", "required": ["n"] });
    let steps = |request: &ModelRequest| {
        let offered = |name: &str| request.tools.iter().any(|tool| tool.name == name);
        match (request.path.as_str(), request.turn) {
            ("b", 1) => Ok((10_000, String::new(), vec![("submit_result", json!({ "n": 1 }))])),
            (_, 1) => Ok((1, String::new(), vec![("submit_result", json!({ "n": 7 }))])),
            (_, 2) if offered("submit_result") => Err(Fault::step("offered", "it has its result")),
            (_, 2) => Ok((1, String::new(), vec![("send_message", json!({ "text": "wait" }))])),
            _ => quiet(1, "because"),
        }
    };
    let seen = with(asks_a, steps).run(two(late(Some(schema))));
    held(&seen);
    assert_eq!(answers(&seen), [("a", 1, "because")], "{}", told(&seen));
    assert_eq!(*seen.result.step("a").unwrap().result, json!({ "n": 7 }));
    let sent = seen.journal.iter().any(|event| {
        matches!(&event.body, Body::MessagePosted(Posted { text, in_reply_to: None, .. })
            if event.path.as_str() == "a" && &**text == "wait")
    });
    assert!(sent, "{}", told(&seen));
}

#[test]
fn an_agent_is_woken_ten_times_at_most_and_has_no_more_turns_than_it_has() {
    let always = |heard: &str| match heard {
        heard if heard.contains("step `a` completed") || heard.contains("message from step `a`") => {
            vec![forward("a", "again")]
        }
        _ => Vec::new(),
    };
    let seen = scene(always).run(two(late(None)));
    held(&seen);
    assert_eq!((answers(&seen).len(), drops(&seen)), (10, vec![DropReason::MaxWakeCycles]), "{}", told(&seen));
    let seen = scene(always).run(two(AgentSpec { max_turns: Some(3), ..late(None) }));
    held(&seen);
    assert_eq!((answers(&seen).len(), drops(&seen)), (2, vec![DropReason::TargetFinished]), "{}", told(&seen));
}

#[test]
fn a_conversation_that_fails_says_so_and_the_next_message_goes_on_with_it() {
    let writes = |heard: &str| match heard {
        heard if heard.contains("step `a` completed") => vec![forward("a", "one")],
        heard if heard.contains("there is no answer") => vec![forward("a", "two")],
        _ => Vec::new(),
    };
    let tries = std::sync::atomic::AtomicU32::new(0);
    let steps = move |request: &ModelRequest| match (request.path.as_str(), request.turn) {
        ("b", _) => quiet(10_000, "printed"),
        (_, 2) if tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => Err(Fault::step("broken", "no")),
        _ => quiet(1, format!("heard: {}", heard(request))),
    };
    let seen = with(writes, steps).run(two(late(None)));
    held(&seen);
    let answers = answers(&seen);
    assert!(answers[0].2.starts_with("there is no answer"), "{}", told(&seen));
    assert!(answers[1].2.contains("one") && answers[1].2.contains("two"), "{}", told(&seen));
    assert_eq!((answers.len(), seen.result.status), (2, RunStatus::Completed));
}

#[test]
fn the_run_waits_for_what_is_asked_with_the_last_word() {
    let writes = |heard: &str| match heard {
        heard if heard.contains("All steps have ended") => vec![forward("a", "what was it?")],
        heard if heard.contains("message from step `a`") => vec![("finalize", json!({ "summary": heard }))],
        _ => Vec::new(),
    };
    let seen = scene(writes).run(two(late(None)));
    held(&seen);
    assert!(seen.result.summary.as_ref().unwrap().contains("what was it?"), "{}", told(&seen));
    // It hears of the end, and waits no longer than it may.
    let slow = |request: &ModelRequest| quiet(if request.turn == 1 { 1 } else { 1_000_000 }, "x");
    let seen = with(writes, slow).run(two(late(None)));
    held(&seen);
    assert_eq!((answers(&seen).len(), seen.result.status), (0, RunStatus::Completed), "{}", told(&seen));
    assert!(seen.took < Duration::from_secs(150), "{:?}", seen.took);
}

#[test]
fn nothing_follows_a_run_whose_coordinator_fails_while_an_agent_answers() {
    for wait in 0..3 {
        let model = says(move |request| match (request.path.as_str(), request.turn) {
            ("a", 1) | ("b", _) => quiet(1, "done"),
            ("a", 2) => Ok((1, "hm".to_owned(), vec![("send_message", json!({ "text": "let me see" }))])),
            ("a", _) => quiet(wait, "because"),
            _ if heard(request).contains("let me see") => Err(Fault::step("broken", "no")),
            _ if matches!(request.messages.last(), Some(Message::User { text, .. }) if text.contains("All steps")) => {
                Ok((1, "hm".to_owned(), vec![forward("a", "why?")]))
            }
            _ => quiet(1, "well"),
        });
        let coordinator = Some(Coordinator::default());
        let seen = Scene { models: model, coordinator, ..Scene::default() }.run(two(late(None)));
        held(&seen);
        assert!(told(&seen).contains("coordinator_failed"), "{}", told(&seen));
    }
}

#[test]
fn the_run_does_not_end_while_an_answer_is_on_its_way() {
    let steps = |request: &ModelRequest| match (request.path.as_str(), request.turn) {
        ("b", _) => quiet(100, "printed"),
        (_, 1) => quiet(1, "draft"),
        _ => quiet(60_000, "because"),
    };
    let seen = with(asks_a, steps).run(two(late(None)));
    held(&seen);
    assert_eq!(answers(&seen), [("a", 1, "because")], "{}", told(&seen));
    let read = seen.journal.iter().any(|event| {
        matches!(&event.body, Body::MessageDelivered(read) if event.path.is_coordinator() && &*read.text == "because")
    });
    assert!(read, "{}", told(&seen));
}

#[test]
fn it_takes_a_slot_and_has_the_time_of_its_step() {
    let steps = |request: &ModelRequest| match (request.path.as_str(), request.turn) {
        ("b", _) => quiet(5_000, "printed"),
        (_, 1) => quiet(1, "draft"),
        _ => quiet(30_000, "because"),
    };
    let mut document = two(late(None));
    document.options.max_concurrency = Some(1);
    let seen = with(asks_a, steps).run(document);
    held(&seen);
    let place = |path: &str, kind: &str| {
        seen.journal.iter().position(|event| event.path.as_str() == path && event.body.kind() == kind).unwrap()
    };
    assert!(place("b", "step_finished") < place("a", "message_delivered"), "{}", told(&seen));
    assert_eq!(answers(&seen).len(), 1);
    let mut steps_of = two(late(None)).scope.steps.clone();
    steps_of[0].timeout = Some(Duration::from_secs(20));
    let seen = with(asks_a, steps).run(led(steps_of, late(None)));
    held(&seen);
    assert!(answers(&seen)[0].2.contains("was not done within 20s"), "{}", told(&seen));
    assert_eq!(seen.result.status, RunStatus::Completed);
}

#[test]
fn the_coordinator_can_call_it_off() {
    let writes = |heard: &str| match heard {
        heard if heard.contains("step `a` completed") => vec![forward("a", "why?")],
        heard if heard.contains("step `c` completed") => {
            vec![("forward_to_agent", json!({ "target_step_id": "a", "text": "never mind", "kind": "cancel" }))]
        }
        _ => Vec::new(),
    };
    let steps = |request: &ModelRequest| match (request.path.as_str(), request.turn) {
        ("b", _) => quiet(10_000, "printed"),
        ("c", _) => quiet(2_000, "looked"),
        (_, 1) => quiet(1, "draft"),
        _ => quiet(60_000, "because"),
    };
    let mut all = two(late(None)).scope.steps.clone();
    all.push(Step { depends_on: vec![0], ..agent("c", "lead", "Look.") });
    let seen = with(writes, steps).run(led(all, late(None)));
    held(&seen);
    assert!(answers(&seen)[0].2.contains("never mind"), "{}", told(&seen));
    assert!(seen.took < Duration::from_secs(30), "{:?}", seen.took);
    assert_eq!(seen.result.step("a").unwrap().status, StepStatus::Completed);
}

#[test]
fn each_iteration_is_asked_by_its_path() {
    let writes = |heard: &str| match heard {
        heard if heard.contains("step `l[1].a` completed") => vec![forward("l[1].a", "you?")],
        _ => Vec::new(),
    };
    let items = Items::List(Arc::new(vec![json!("x"), json!("y"), json!("z")]));
    let each = ForEach { items, max_concurrency: None, on_item_failure: ItemFailure::Stop };
    let body = Scope { steps: vec![agent("a", "lead", "Look.")], ..Scope::default() };
    let repeat = Some(Loop { kind: LoopKind::ForEach(each), body: Some(Arc::new(body)) });
    let looped = Step { repeat, ..step("l", Work::Body) };
    let seen = scene(writes).run(led(vec![looped, agent("b", "lead", "Print.")], late(None)));
    held(&seen);
    let answers = answers(&seen);
    assert_eq!(answers.len(), 1, "{}", told(&seen));
    assert!(answers[0].0 == "l[1].a" && answers[0].2.contains("you?"), "{answers:?}");
}

#[test]
fn a_group_that_begins_anew_ends_what_its_steps_were_asked() {
    let fails = std::sync::atomic::AtomicBool::new(true);
    let steps = move |request: &ModelRequest| match (request.path.as_str(), request.turn) {
        ("b", _) => quiet(90_000, "printed"),
        ("g.c", 1) => Ok((5_000, String::new(), vec![("send_message", json!({ "text": "hm" }))])),
        ("g.c", _) if fails.swap(false, std::sync::atomic::Ordering::Relaxed) => Err(Fault::retry("busy", "not now")),
        ("g.a", 2..) => quiet(60_000, "because"),
        _ => quiet(1_000, "done"),
    };
    let writes = |heard: &str| match heard {
        heard if heard.contains("step `g.a` completed") => vec![forward("g.a", "why?")],
        _ => Vec::new(),
    };
    let inner = vec![agent("a", "lead", "Draft."), Step { depends_on: vec![0], ..agent("c", "lead", "Check.") }];
    let holder = Step { retries: 1, ..group("g", inner) };
    let document = || led(vec![holder.clone(), agent("b", "lead", "Print.")], late(None));
    let seen = with(writes, steps).run(document());
    held(&seen);
    let answers = answers(&seen);
    assert_eq!(answers.len(), 2, "{}", told(&seen));
    assert!(answers[0].2.contains("begins anew") && answers[1].2 == "because", "{answers:?}");
    assert_eq!(seen.result.status, RunStatus::Completed);
}

#[test]
fn a_step_that_aborts_the_run_ends_what_others_were_asked() {
    let steps = |request: &ModelRequest| match (request.path.as_str(), request.turn) {
        ("b", 1) => Ok((5_000, String::new(), vec![("send_message", json!({ "text": "hm" }))])),
        ("b", _) => Err(Fault::step("broken", "no")),
        (_, 1) => quiet(1, "draft"),
        _ => quiet(600_000, "because"),
    };
    let mut all = two(late(None)).scope.steps.clone();
    all[1].on_failure = Some(FailurePolicy::Abort);
    let seen = with(asks_a, steps).run(led(all, late(None)));
    held(&seen);
    assert_eq!((answers(&seen).len(), seen.result.status), (0, RunStatus::Failed), "{}", told(&seen));
    assert!(seen.took < Duration::from_secs(60), "{:?}", seen.took);
}
