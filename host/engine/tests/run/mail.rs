//! Messages between agents: the law of mail holds whatever they write, whenever the run is closed, and wherever it is cut.

use crate::scene::{Scene, Seen, ask, step, workflow};
use cofferdam_core::event::{Body, DropReason, RunEvent, RunStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::AgentName;
use cofferdam_core::mail::{Tally, tally};
use cofferdam_core::message::{ToolCall, Usage};
use cofferdam_core::port::{BoxFuture, FinishReason, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream};
use cofferdam_core::spec::workflow::{AgentSpec, AgentWork, Step, ToolFilter, Work, Workflow};
use cofferdam_engine::{Coordinator, DroppedMessage};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const STEPS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A model that does what a seed says: waits, writes messages, fails, or is done.
struct Chance(u64);

impl Chance {
    /// A number below `most` that is the same for the same turn of the same agent.
    fn draw(&self, request: &ModelRequest, what: &str, most: usize) -> usize {
        let text = format!("{} {} {} {} {what}", self.0, request.path, request.attempt, request.turn);
        let bytes = cofferdam_core::digest::sha256_hex(text.as_bytes());
        usize::from_str_radix(bytes.get(..8).unwrap(), 16).unwrap() % most
    }

    fn calls(&self, request: &ModelRequest) -> Vec<(&'static str, Value)> {
        let count = self.draw(request, "count", 4);
        let last = request.turn > 12;
        let calls = (0..count).filter(|_| !last).map(|number| {
            let draw = |what: &str, most| self.draw(request, &format!("{what} {number}"), most);
            let text = format!("{} says {} in turn {}", request.path, number, request.turn);
            if !request.path.is_coordinator() {
                return ("send_message", json!({ "text": text }));
            }
            let target = STEPS.get(draw("target", 8)).copied().unwrap_or("nobody");
            let kind = ["info", "info", "context_update", "cancel"][draw("kind", 4).saturating_sub(draw("less", 4))];
            match draw("tool", 8) {
                0 => ("narrate", json!({ "text": text })),
                1 => ("finalize", json!({ "summary": text })),
                _ => ("forward_to_agent", json!({ "target_step_id": target, "text": text, "kind": kind })),
            }
        });
        calls.collect()
    }
}

impl Model for Chance {
    fn info(&self) -> ModelInfo {
        ModelInfo { name: "model".into(), is_language_model: false, summary: String::new() }
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(self.draw(&request, "wait", 40) as u64)).await;
            if self.draw(&request, "fails", 40) == 0 {
                return Err(Fault::retry("busy", "not now"));
            }
            let calls = self.calls(&request);
            let reason = if calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
            let mut events = vec![ModelEvent::Text(format!("turn {}", request.turn))];
            events.extend(calls.into_iter().enumerate().map(|(number, (name, arguments))| {
                let (id, arguments) = (format!("{}-{number}", request.turn), arguments.to_string());
                ModelEvent::ToolCall(ToolCall { id, name: name.to_owned(), arguments })
            }));
            events.extend([
                ModelEvent::Usage(Usage { input: 1, output: 1, ..Usage::default() }),
                ModelEvent::Finished(reason),
            ]);
            Ok(Box::pin(futures_util::stream::iter(events.into_iter().map(Ok))) as ModelStream)
        })
    }
}

/// Steps that depend on each other as the seed says; two thirds of their agents read on behind the end of their step.
fn document(seed: u64) -> Workflow {
    let steps = STEPS.iter().enumerate().map(|(index, id)| {
        let depends_on = (0..index).filter(|before| seed >> (index * 3 + before) & 3 == 0).collect();
        let agent = (index % 3 > 0).then(|| AgentName::parse("late").unwrap());
        Step { depends_on, retries: 1, ..step(id, Work::Agent(AgentWork { agent, ..AgentWork::new("Work.") })) }
    });
    let spec = AgentSpec {
        name: AgentName::parse("late").unwrap(),
        max_turns: Some(30),
        tools: ToolFilter::default(),
        resume_on_message: true,
        ..crate::background::lead(None)
    };
    let mut workflow = workflow(steps.collect());
    workflow.agents = BTreeMap::from([(spec.name.clone(), Arc::new(spec))]);
    workflow
}

fn scene(seed: u64, timeout: Option<u64>) -> (Scene, Arc<Mutex<Vec<DroppedMessage>>>) {
    let dropped: Arc<Mutex<Vec<DroppedMessage>>> = Arc::default();
    let hears = Arc::clone(&dropped);
    let scene = Scene {
        models: Some(Arc::new(Chance(seed))),
        coordinator: Some(Coordinator::default()),
        drops: Some(Arc::new(move |message| hears.lock().unwrap().push(message))),
        timeout: timeout.map(Duration::from_millis),
        ..Scene::default()
    };
    (scene, dropped)
}

fn counted(seen: &Seen) -> Tally {
    let tally = tally(&seen.journal).unwrap_or_else(|why| {
        let event = |event: &Arc<_>| format!("{}\n", serde_json::to_string(&**event).unwrap());
        panic!("{why}\n{}", seen.journal.iter().map(event).collect::<String>())
    });
    crate::sequels::held(seen);
    tally
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Posted = delivered + dropped, in order, nothing twice: also when the run is closed at any moment.
    #[test]
    fn whatever_agents_write_each_message_is_read_once_or_dropped_once(
        seed in any::<u64>(),
        timeout in proptest::option::of(1_u64..400),
    ) {
        let (scene, dropped) = scene(seed, timeout);
        let seen = scene.run(document(seed));
        let tally = counted(&seen);
        let heard = dropped.lock().unwrap();
        let recorded: Vec<DropReason> = seen.journal.iter().filter_map(|event| match &event.body {
            Body::MessageDropped(dropped) => Some(dropped.reason),
            _ => None,
        }).collect();
        prop_assert_eq!(heard.iter().map(|message| message.reason).collect::<Vec<_>>(), recorded);
        prop_assert_eq!(heard.len(), tally.dropped);
    }

    /// The same in a run that goes on from any place of its record, whatever it was cut in.
    #[test]
    fn a_run_that_is_cut_anywhere_goes_on_with_its_messages(seed in any::<u64>(), part in any::<u16>()) {
        let whole = scene(seed, None).0.run(document(seed));
        let all = counted(&whole);
        let cut = 1 + usize::from(part) % whole.records.len();
        let again = scene(seed, None).0.resume_from(document(seed), &whole.records[..cut]);
        let again = counted(&again);
        prop_assert!(again.posted > 0 || all.posted == 0, "{:?} {:?}", all, again);
    }
}

/// These laws are about agents that answer behind the end of their step too.
#[test]
fn agents_of_these_laws_answer_behind_the_end_of_their_step() {
    let answers = |seed: u64| {
        let seen = scene(seed, None).0.run(document(seed));
        counted(&seen);
        let reply =
            |event: &&Arc<RunEvent>| matches!(&event.body, Body::MessagePosted(posted) if posted.in_reply_to.is_some());
        seen.journal.iter().filter(reply).count()
    };
    let all: Vec<usize> = (0..40).map(answers).collect();
    assert!(all.iter().sum::<usize>() > 15 && all.iter().any(|&count| count > 2), "{all:?}");
}

/// A coordinator that waits with its run goes on with its conversation when that does.
#[test]
fn a_coordinator_goes_on_with_a_run_that_waited() {
    let document = || workflow(vec![ask("ship", |_| {}), step("a", Work::Agent(AgentWork::new("Work.")))]);
    let waits = scene(3, None).0.run(document());
    assert_eq!(waits.result.status, RunStatus::Waiting);
    let turns = |seen: &Seen| seen.kinds("@coordinator").iter().filter(|kind| **kind == "turn_finished").count();
    let before = turns(&waits);
    assert!(before > 0);
    let done = scene(3, None).0.answer("ship", "yes").resume(document(), &waits.journal);
    assert_eq!(done.result.status, RunStatus::Completed);
    let numbers: Vec<u32> = done
        .journal
        .iter()
        .filter_map(|event| match &event.body {
            Body::TurnFinished { turn, .. } if event.path.is_coordinator() => Some(*turn),
            _ => None,
        })
        .collect();
    assert!(numbers.len() > before && numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    let told = |event: &Arc<RunEvent>| match &event.body {
        Body::Told(told) => Some(told.text.to_string()),
        _ => None,
    };
    let told: Vec<String> = done.journal.iter().filter_map(told).collect();
    assert!(told.iter().any(|text| text.contains("The run goes on")), "{told:?}");
    assert!(told.last().unwrap().contains("All steps have ended"), "{told:?}");
}

#[test]
fn a_panic_in_what_hears_of_dropped_messages_is_a_warning() {
    let panics = |seed| Scene { drops: Some(Arc::new(|_| panic!("not today"))), ..scene(seed, None).0 };
    let mut all = (0..).map(|seed| panics(seed).run(document(seed)));
    let seen = all.find(|seen| counted(seen).dropped > 0).unwrap();
    assert!(seen.result.warnings.iter().any(|warning| warning.contains("what hears of dropped messages panicked")));
}
