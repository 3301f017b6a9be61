//! The same where a run was cut, stopped, replayed or branched.

use super::{answers, asks_a, forward, held, late, quiet, told, two, with};
use crate::background::{Said, lead};
use crate::replayed::{changed, elsewhere};
use crate::scene::{Scene, Seen};
use cofferdam_core::event::{Body, Posted, RunEvent, RunStatus};
use cofferdam_core::id::RunId;
use cofferdam_core::port::{ModelRequest, Record, RecordBody};
use cofferdam_core::run::branch::{Opaque, Recorded, Wish, branch};
use cofferdam_core::spec::workflow::AgentSpec;
use cofferdam_core::time::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What `a` does when it is asked: it writes to the coordinator, then answers.
fn careful(request: &ModelRequest) -> Said {
    match (request.path.as_str(), request.turn) {
        ("b", _) => quiet(10_000, "printed"),
        (_, 1) => quiet(1, "draft"),
        (_, 2 | 4) => Ok((1, String::new(), vec![("send_message", json!({ "text": "let me see" }))])),
        (_, turn) => quiet(1, format!("because of {turn}")),
    }
}

fn asks_twice(heard: &str) -> Vec<(&'static str, Value)> {
    match heard {
        heard if heard.contains("step `a` completed") => vec![forward("a", "why?")],
        heard if heard.contains("because of 3") => vec![forward("a", "really?")],
        _ => Vec::new(),
    }
}

#[test]
fn a_run_that_is_cut_anywhere_answers_each_message_once() {
    let whole = with(asks_twice, careful).run(two(late(None)));
    held(&whole);
    let said = [("a", 1, "because of 3"), ("a", 4, "because of 5")];
    assert_eq!(answers(&whole), said, "{}", told(&whole));
    for cut in 1..=whole.records.len() {
        let seen = with(asks_twice, careful).resume_from(two(late(None)), &whole.records[..cut]);
        held(&seen);
        assert_eq!(answers(&seen), said, "cut at {cut}\n{}", told(&seen));
        let spent = |seen: &Seen| ["a", "b"].map(|path| seen.result.step(path).unwrap().usage);
        assert_eq!(spent(&seen), spent(&whole), "cut at {cut}");
        let sent = seen
            .journal
            .iter()
            .filter(|event| matches!(&event.body, Body::MessagePosted(Posted { text, .. }) if &**text == "let me see"));
        assert_eq!(sent.count(), 2, "cut at {cut}");
    }
}

#[test]
fn a_forged_answer_is_found_by_a_replay() {
    let whole = with(asks_twice, careful).run(two(late(None)));
    assert!(elsewhere(two(late(None)), &whole.journal).is_ok());
    let forged = changed(&whole, |event| match &mut event.body {
        Body::MessagePosted(Posted { in_reply_to: Some(4), text, .. }) => {
            *text = "because of nothing".into();
            true
        }
        _ => false,
    });
    let difference = elsewhere(two(late(None)), &forged).unwrap_err();
    assert_eq!((difference.path.as_str(), difference.what.as_str()), ("a", "`message_posted` is another one"));
    let without: Vec<_> = whole
        .journal
        .iter()
        .filter(|event| !matches!(event.body, Body::TurnFinished { turn: 5, .. }) || event.path.as_str() != "a")
        .cloned()
        .collect();
    let difference = elsewhere(two(late(None)), &without).unwrap_err();
    assert_eq!(difference.what, "turn 5 is asked for, and is not in the record");
}

#[test]
fn a_branch_knows_the_step_and_not_what_was_asked_behind_its_end() {
    let whole = with(asks_twice, careful).run(two(late(None)));
    let workflow = Arc::new(two(late(None)));
    let wish = Wish {
        from: vec!["b".into()],
        inputs: serde_json::Map::new(),
        workflow: Arc::clone(&workflow),
        opaque: Opaque::default(),
        context_files: Vec::new(),
    };
    let recorded = Recorded { workflow: &workflow, events: &whole.journal };
    let made = branch(recorded, &wish, (&RunId::parse("r").unwrap(), Timestamp::default())).unwrap();
    let kinds: Vec<&str> =
        made.events.iter().filter(|event| event.path.as_str() == "a").map(|event| event.body.kind()).collect();
    assert_eq!(kinds, ["step_ready", "step_started", "turn_started", "turn_finished", "step_finished"]);
    let events: Vec<_> = made.events.into_iter().map(Arc::new).collect();
    // Of what its coordinator did not hear it writes nothing; of a message to `a` it makes the same.
    let writes = |heard: &str| match heard {
        heard if heard.contains("step `b` completed") => vec![forward("a", "why?")],
        _ => Vec::new(),
    };
    let seen = with(writes, careful).resume(two(late(None)), &events);
    assert_eq!(answers(&seen).iter().map(|(_, _, text)| *text).collect::<Vec<_>>(), ["because of 3"]);
}

#[test]
fn sub_agents_help_behind_the_end_and_those_that_were_stopped_before_stay_so() {
    let schema = json!({ "type": "object" });
    let steps = |request: &ModelRequest| match (request.path.as_str(), request.turn) {
        ("b", _) => Ok((10_000, String::new(), vec![("submit_result", json!({}))])),
        ("a", 1) => Ok((1, String::new(), vec![("agent", json!({ "task": "dig", "background": true }))])),
        ("a", 2) => Ok((1_000, String::new(), vec![("submit_result", json!({ "n": 7 }))])),
        ("a", 3) => Ok((1, String::new(), vec![("agent", json!({ "task": "look" }))])),
        ("a@2", _) => quiet(1, "found"),
        ("a", _) => quiet(1, "because it was found"),
        _ => quiet(900_000, "dug"),
    };
    let spec = || AgentSpec { tools: lead(None).tools, ..late(Some(schema.clone())) };
    let whole = with(asks_a, steps).run(two(spec()));
    let after = |seen: &Seen| {
        held(seen);
        assert_eq!(answers(seen), [("a", 1, "because it was found")], "{}", told(seen));
        let end = |event: &Arc<RunEvent>| event.path.as_str() == "a" && event.body.kind() == "step_finished";
        let end = seen.journal.iter().position(end).unwrap();
        let began = seen.journal[end..].iter().filter(|event| event.path.as_str() == "a@1");
        assert_eq!(began.count(), 0, "{}", told(seen));
    };
    after(&whole);
    for cut in (1..=whole.records.len()).filter(|cut| {
        let end = |record: &Record| {
            matches!(&record.body, RecordBody::Event(event)
            if event.path.as_str() == "a" && event.body.kind() == "step_finished")
        };
        whole.records[..*cut].iter().any(end)
    }) {
        after(&with(asks_a, steps).resume_from(two(spec()), &whole.records[..cut]));
    }
}

#[test]
fn a_run_that_is_stopped_meanwhile_answers_when_it_goes_on() {
    let slow = |request: &ModelRequest| match (request.path.as_str(), request.turn) {
        ("b", _) => quiet(90_000, "printed"),
        (_, 1) => quiet(1, "draft"),
        _ => quiet(60_000, "because"),
    };
    let stopped = Scene { timeout: Some(Duration::from_secs(30)), ..with(asks_a, slow) }.run(two(late(None)));
    held(&stopped);
    assert_eq!((answers(&stopped).len(), stopped.result.status), (0, RunStatus::Failed));
    let again = with(asks_a, slow).resume_from(two(late(None)), &stopped.records);
    held(&again);
    assert_eq!(answers(&again), [("a", 1, "because")], "{}", told(&again));
}
