//! Sub-agents in the background: whatever agents send off, wherever a run is cut, each answer is read once by the agent that
//! is there for it.

use crate::scene::{Scene, Seen, agent, workflow};
use cofferdam_core::event::{Body, Delivered, DropReason, RunEvent, RunStatus, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{AgentName, StepPath};
use cofferdam_core::mail::{self, tally};
use cofferdam_core::message::{Message, ToolCall, Usage};
use cofferdam_core::permission::{Rule, Rules};
use cofferdam_core::port::{
    BoxFuture, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelSettings, ModelStream,
};
use cofferdam_core::spec::workflow::{AgentSpec, Step, ToolFilter, Workflow};
use cofferdam_engine::Coordinator;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A model that says what a closure does, after a wait in milliseconds.
struct Says<F>(F);

/// What a model says: how long it takes, its text, its calls.
pub(crate) type Said = Result<(u64, String, Vec<(&'static str, Value)>), Fault>;

impl<F: Fn(&ModelRequest) -> Said + Send + Sync> Model for Says<F> {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "model".into(), is_language_model: false, summary: String::new() }
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        Box::pin(async move {
            let (wait, text, calls) = (self.0)(&request)?;
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let reason = if calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
            let mut events = vec![ModelEvent::Text(text)];
            events.extend(calls.into_iter().enumerate().map(|(number, (name, arguments))| {
                let (id, arguments) = (format!("{}-{number}", request.turn), arguments.to_string());
                ModelEvent::ToolCall(ToolCall { id, name: name.to_owned(), arguments })
            }));
            let usage = Usage { input: 1, output: 1, ..Usage::default() };
            events.extend([ModelEvent::Usage(usage), ModelEvent::Finished(reason)]);
            Ok(Box::pin(futures_util::stream::iter(events.into_iter().map(Ok))) as ModelStream)
        })
    }
}

pub(crate) fn says(act: impl Fn(&ModelRequest) -> Said + Send + Sync + 'static) -> Option<Arc<dyn Model>> {
    Some(Arc::new(Says(act)))
}

pub(crate) fn lead(result_schema: Option<Value>) -> AgentSpec {
    AgentSpec {
        name: AgentName::parse("lead").unwrap(),
        description: "leads".to_owned(),
        prompt: Some("You lead.".into()),
        model: None,
        tools: ToolFilter { allow: Some(vec!["agent".to_owned(), "send_message".to_owned()]), ..ToolFilter::default() },
        max_turns: Some(30),
        settings: ModelSettings::default(),
        result_schema: result_schema.map(Arc::new),
        transform: Default::default(),
        grants: None,
        budget: Default::default(),
        resume_on_message: false,
    }
}

pub(crate) fn led(steps: Vec<Step>, spec: AgentSpec) -> Workflow {
    let mut workflow = workflow(steps);
    workflow.agents = BTreeMap::from([(spec.name.clone(), Arc::new(spec))]);
    workflow
}

fn one_step() -> Workflow {
    led(vec![agent("a", "lead", "Work.")], lead(None))
}

fn scene(model: Option<Arc<dyn Model>>) -> Scene {
    let rules = Rules { allow: vec![Rule::parse("agent").unwrap()], ..Rules::default() };
    Scene { models: model, rules, ..Scene::default() }
}

/// A number below `most` that is the same for the same turn of the same agent.
fn draw(seed: u64, request: &ModelRequest, what: &str, most: usize) -> usize {
    let text = format!("{seed} {} {} {} {what}", request.path, request.attempt, request.turn);
    let bytes = cofferdam_core::digest::sha256_hex(text.as_bytes());
    usize::from_str_radix(bytes.get(..8).unwrap(), 16).unwrap() % most
}

/// A model that sends agents off, waits for others, fails, or is done, as a seed says.
fn chance(seed: u64) -> Option<Arc<dyn Model>> {
    says(move |request| {
        let draw = |what: &str, most| draw(seed, request, what, most);
        if draw("fails", 30) == 0 {
            return Err(Fault::retry("busy", "not now"));
        }
        let depth = request.path.as_str().matches('@').count();
        let count = if request.turn > 5 || depth > 2 { 0 } else { draw("count", 4).saturating_sub(depth) };
        let calls = (0..count).map(|number| {
            let background = draw(&format!("background {number}"), 3) > 0;
            let mut args = json!({ "task": format!("task {number}"), "background": background });
            if draw(&format!("instructed {number}"), 3) == 0 {
                args["instructions"] = json!("Be brief.");
            }
            ("agent", args)
        });
        Ok((draw("wait", 40) as u64, format!("turn {} of {}", request.turn, request.path), calls.collect()))
    })
}

fn two_steps() -> Workflow {
    let step = |id| Step { retries: 2, ..agent(id, "lead", "Work.") };
    led(vec![step("a"), step("b")], lead(None))
}

/// What agents that were done in a try of a step sent off: who, and by which call.
fn sent_off(events: &[Arc<RunEvent>]) -> Vec<(StepPath, StepPath, Option<u32>)> {
    let done = |path: &StepPath, attempt| {
        events.iter().any(|event| {
            event.path == *path
                && event.attempt == attempt
                && matches!(event.body, Body::StepFinished { status: StepStatus::Completed, .. })
        })
    };
    let calls = events.iter().filter(|event| mail::sends_off(&event.body));
    // A sub-agent that failed, or was stopped because its agent was done, reads no more.
    let answered = |path: &StepPath, attempt: Option<u32>| {
        events.iter().filter(|event| event.attempt == attempt).any(|event| match &event.body {
            Body::MessagePosted(posted) => event.path == *path && !posted.failed,
            Body::ToolCallFinished { call_id, error: None, .. } => {
                event.path.delegate(call_id) == *path && !mail::sends_off(&event.body)
            }
            _ => false,
        })
    };
    let calls = calls.filter(|event| {
        done(&event.path.step(), event.attempt) && (!event.path.is_delegate() || answered(&event.path, event.attempt))
    });
    let mut sent: Vec<_> = calls
        .filter_map(|event| match &event.body {
            Body::ToolCallFinished { call_id, .. } => {
                Some((event.path.clone(), event.path.delegate(call_id), event.attempt))
            }
            _ => None,
        })
        .collect();
    sent.dedup();
    sent
}

/// Each answer was read once, by the agent that is there for it; nothing else is.
fn check(seen: &Seen) -> usize {
    let told = || seen.journal.iter().map(|event| format!("{}\n", serde_json::to_string(&**event).unwrap()));
    let counted = tally(&seen.journal).unwrap_or_else(|why| panic!("{why}\n{}", told().collect::<String>()));
    let sent = sent_off(&seen.journal);
    for (by, who, attempt) in &sent {
        let read = |event: &&Arc<RunEvent>| {
            matches!(&event.body, Body::MessageDelivered(Delivered { from, .. }) if from == who)
                && event.path == *by
                && event.attempt == *attempt
        };
        let count = seen.journal.iter().filter(read).count();
        assert_eq!(count, 1, "{who} in try {attempt:?}\n{}", told().collect::<String>());
    }
    assert!(counted.delivered >= sent.len());
    sent.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(60), ..ProptestConfig::default() })]

    #[test]
    fn each_answer_is_read_once_by_the_agent_that_is_there_for_it(
        seed in any::<u64>(),
        timeout in proptest::option::of(1_u64..300),
        coordinated in any::<bool>(),
    ) {
        let coordinator = coordinated.then(Coordinator::default);
        let timeout = timeout.map(Duration::from_millis);
        let seen = Scene { timeout, coordinator, ..scene(chance(seed)) }.run(two_steps());
        check(&seen);
    }

    /// The same in a run that goes on from any place of its record.
    #[test]
    fn a_run_that_is_cut_anywhere_loses_and_doubles_no_answer(
        seed in any::<u64>(),
        (part, timeout) in (any::<u16>(), proptest::option::of(1_u64..200)),
    ) {
        // One that was stopped is cut behind its end as well.
        let timeout = timeout.map(Duration::from_millis);
        let whole = Scene { timeout, ..scene(chance(seed)) }.run(two_steps());
        check(&whole);
        let cut = 1 + usize::from(part) % whole.records.len();
        let again = scene(chance(seed)).resume_from(two_steps(), &whole.records[..cut]);
        check(&again);
    }
}

/// What the agent at a path read, turn by turn.
fn read(seen: &Seen, path: &str) -> Vec<(u32, String)> {
    let own = seen.journal.iter().filter(|event| event.path.as_str() == path);
    own.filter_map(|event| match &event.body {
        Body::MessageDelivered(read) => Some((read.turn, read.text.to_string())),
        _ => None,
    })
    .collect()
}

fn warned(seen: &Seen, of: &str) -> bool {
    seen.result.warnings.iter().any(|warning| warning.contains(of))
}

/// Sends one off that takes a minute, and then does what a turn says.
fn sends_one(rest: impl Fn(u32, &ModelRequest) -> Said + Send + Sync + 'static) -> Option<Arc<dyn Model>> {
    says(move |request| match (request.path.is_delegate(), request.turn) {
        (true, _) => Ok((60_000, "the answer".to_owned(), Vec::new())),
        (false, 1) => Ok((0, String::new(), vec![("agent", json!({ "task": "find", "background": true }))])),
        (false, turn) => rest(turn, request),
    })
}

fn done(text: &str) -> Said {
    Ok((0, text.to_owned(), Vec::new()))
}

#[test]
fn an_agent_that_has_nothing_else_to_do_waits_for_those_at_work() {
    let seen = scene(sends_one(|turn, _| done(&format!("said in turn {turn}")))).run(one_step());
    assert_eq!(read(&seen, "a"), [(3, "the answer".to_owned())]);
    assert_eq!((seen.content("a"), seen.took), ("said in turn 3", Duration::from_secs(60)));
}

#[test]
fn one_that_owes_a_result_is_asked_for_it_when_all_have_answered() {
    let schema = json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } });
    let choices = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&choices);
    let model = sends_one(move |turn, request| {
        asked.lock().unwrap().push(format!("{:?}", request.tool_choice));
        match turn {
            4 => Ok((0, String::new(), vec![("submit_result", json!({ "n": 7 }))])),
            _ => done("I wait."),
        }
    });
    let seen = scene(model).run(led(vec![agent("a", "lead", "Work.")], lead(Some(schema))));
    assert_eq!(read(&seen, "a"), [(3, "the answer".to_owned())]);
    assert_eq!(*seen.result.step("a").unwrap().result, json!({ "n": 7 }));
    assert_eq!(*choices.lock().unwrap(), ["Auto", "Auto", "Tool(\"submit_result\")"]);
}

#[test]
fn whoever_is_done_without_waiting_stops_those_at_work() {
    let schema = json!({ "type": "object" });
    let model = sends_one(|_, _| Ok((0, String::new(), vec![("submit_result", json!({}))])));
    let seen = scene(model).run(led(vec![agent("a", "lead", "Work.")], lead(Some(schema))));
    assert_eq!((seen.result.status, seen.took), (RunStatus::Completed, Duration::ZERO));
    assert!(warned(&seen, "1 sub-agent in the background was stopped"), "{:?}", seen.result.warnings);
    assert!(read(&seen, "a").is_empty());
}

#[test]
fn they_end_with_the_time_of_their_step() {
    let model = sends_one(|_, _| done("I wait."));
    let seen = Scene { timeout: Some(Duration::from_secs(5)), ..scene(model) }.run(one_step());
    assert_eq!((seen.result.status, seen.took), (RunStatus::Failed, Duration::from_secs(5)));
    assert_eq!(tally(&seen.journal).unwrap().posted, 0);
}

#[test]
fn one_that_hangs_is_stopped_and_its_agent_is_told() {
    let model = says(|request| match (request.path.is_delegate(), request.turn) {
        (true, _) => Ok((7_200_000, "too late".to_owned(), Vec::new())),
        (false, 1) => Ok((0, String::new(), vec![("agent", json!({ "task": "find", "background": true }))])),
        (false, turn) => done(&format!("said in turn {turn}")),
    });
    let seen = scene(model).run(one_step());
    let (turn, text) = read(&seen, "a").remove(0);
    assert_eq!((turn, seen.content("a"), seen.took), (3, "said in turn 3", Duration::from_secs(1_800)));
    assert_eq!(text, "it was stopped: its agent had nothing else to do for 30 minutes");
}

#[test]
fn one_that_fails_is_an_answer_and_one_with_instructions_of_its_own_follows_them() {
    let prompts = Arc::new(Mutex::new(Vec::new()));
    let seen_by = Arc::clone(&prompts);
    let model = says(move |request| {
        let first = request.messages.first().map(Message::text).unwrap_or_default();
        if request.turn == 1 {
            seen_by.lock().unwrap().push(format!("{}: {first}", request.path));
        }
        match (request.path.as_str(), request.turn) {
            ("a", 1) => {
                let calls = [
                    json!({ "task": "1", "background": true, "instructions": "You break things." }),
                    json!({ "task": "2", "instructions": "You mend things." }),
                    json!({ "task": "3", "instructions": " " }),
                ];
                Ok((0, String::new(), calls.map(|args| ("agent", args)).to_vec()))
            }
            ("a@1", _) => Err(Fault::step("broken", "it broke")),
            ("a", turn) => Ok((5, format!("said in turn {turn}"), Vec::new())),
            _ => done("mended"),
        }
    });
    let seen = scene(model).run(one_step());
    let read = read(&seen, "a");
    assert!(read.len() == 1 && read[0].1.contains("the sub-agent failed: it broke"), "{read:?}");
    assert!(seen.journal.iter().any(|event| matches!(&event.body, Body::MessagePosted(posted) if posted.failed)));
    let mut prompts = prompts.lock().unwrap().clone();
    prompts.sort();
    assert_eq!(prompts, ["a: You lead.", "a@1: You break things.", "a@2: You mend things."]);
}

/// What they came to in a try that failed is nothing for the next one.
#[test]
fn another_try_hears_nothing_of_those_of_the_one_before() {
    let model = says(|request| match (request.path.as_str(), request.attempt, request.turn) {
        ("a@1", 1, _) => done("early"),
        ("a", 1, 1) => Ok((0, String::new(), vec![("agent", json!({ "task": "find", "background": true }))])),
        ("a", 1, _) => {
            // The answer has come by now, and is not read.
            Err(Fault::retry("busy", "not now"))
        }
        _ => done("second try"),
    });
    let steps = vec![Step { retries: 1, ..agent("a", "lead", "Work.") }];
    let seen = scene(model).run(led(steps, lead(None)));
    assert_eq!(seen.content("a"), "second try");
    let counted = tally(&seen.journal).unwrap();
    assert_eq!(counted.posted, counted.delivered + counted.dropped);
    let in_second =
        |event: &&Arc<RunEvent>| event.attempt == Some(2) && matches!(event.body, Body::MessageDelivered(_));
    assert!(!seen.journal.iter().any(|event| in_second(&event)));
    let dropped = seen.journal.iter().filter_map(|event| match &event.body {
        Body::MessageDropped(dropped) => Some(dropped.reason),
        _ => None,
    });
    assert!(dropped.into_iter().all(|reason| reason == DropReason::TargetFinished));
}
