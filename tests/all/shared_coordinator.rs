//! A coordinator that keeps one conversation over all runs of an orchestrator.

mod ending;
mod talk;

use crate::library::quick;
use cofferdam::core::event::{Body, RunEvent, RunStatus};
use cofferdam::core::id::RunId;
use cofferdam::core::message::Message;
use cofferdam::core::port::{Journal, Model, RunFilter};
use cofferdam::store::Memory;
use cofferdam::{
    Builder, Coordinator, Error, Orchestrator, ResumeOptions, RunOptions, RunResult, SecretSource, SharedMessage,
    Workflow,
};
use ending::Ending;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use talk::{Calls, Talk, is_woken, narrates};
use tempfile::TempDir;

/// The journal of the conversation.
const SHARED: &str = "shared-coordinator";

const DOCUMENT: &str =
    "name: w\nsteps: [{ id: a, instructions: Work. }, { id: b, dependsOn: [a], instructions: Work. }]";

fn builder(model: &Arc<Talk>) -> Builder {
    let model = Arc::clone(model);
    let resolve = move |_: &str| Some(Arc::clone(&model) as Arc<dyn Model>);
    Orchestrator::builder().model_resolver(resolve).default_model("mine/one")
}

fn shared() -> Coordinator {
    Coordinator::default().shared()
}

fn named(run: &str) -> RunOptions {
    RunOptions { run_id: Some(RunId::parse(run).unwrap()), ..RunOptions::default() }
}

fn workflow(text: &str) -> Workflow {
    Workflow::parse(text, ".").unwrap()
}

async fn run(orchestrator: &Orchestrator, run: &str) -> RunResult {
    orchestrator.run_flow(&workflow(DOCUMENT), named(run)).await.unwrap()
}

async fn resume(orchestrator: &Orchestrator, run: &str) -> Result<RunResult, Error> {
    orchestrator.resume_flow(&RunId::parse(run).unwrap(), None, ResumeOptions::default()).await
}

/// The runs of a conversation and their turns, in order, each once where its messages stand together.
fn wakes(said: &[SharedMessage]) -> Vec<(String, u32)> {
    let mut wakes: Vec<(String, u32)> = said.iter().map(|said| (said.run_id.to_string(), said.turn)).collect();
    wakes.dedup();
    wakes
}

async fn events(journal: &dyn Journal, run: &str) -> Vec<Arc<RunEvent>> {
    let page = journal.read(&RunId::parse(run).unwrap(), 0, 10_000).await;
    let records = page.map(|page| page.records).unwrap_or_default();
    records.iter().filter_map(|record| record.event().cloned()).collect()
}

/// The turns after which a run's coordinator had nothing more to do, by the run's own record.
async fn recorded_wakes(journal: &dyn Journal, run: &str) -> Vec<(String, u32)> {
    let events = events(journal, run).await;
    let ends = events.iter().filter(|event| event.path.is_coordinator()).filter_map(|event| match &event.body {
        Body::TurnFinished { turn, message: Message::Assistant { tool_calls, .. }, .. } if tool_calls.is_empty() => {
            Some((run.to_owned(), *turn))
        }
        _ => None,
    });
    ends.collect()
}

#[test]
fn what_a_coordinator_hears_in_one_run_it_knows_in_the_next() {
    for is_shared in [true, false] {
        let model = Talk::new(narrates);
        let coordinator = if is_shared { shared() } else { Coordinator::default() };
        let orchestrator = builder(&model).coordinator(coordinator).build().unwrap();
        let said = quick().block_on(async {
            for (name, summary) in [("one", "one is over"), ("two", "two is over")] {
                let result = run(&orchestrator, name).await;
                assert_eq!((result.summary.as_deref(), result.warnings), (Some(summary), Vec::new()));
            }
            orchestrator.conversation().await.unwrap()
        });
        let second = model.asked_of("two");
        assert!(!second.is_empty() && second.iter().all(|asked| asked.text().contains("[run one]") == is_shared));
        assert_eq!(second.last().unwrap().text().contains("one is over"), is_shared);
        assert_eq!(said.is_empty(), !is_shared);
        let prompt = second[0].messages[0].text();
        assert_eq!(prompt.contains("only its steps can be written to"), is_shared, "{prompt}");
        let news = |message: &&Message| matches!(message, Message::User { .. });
        let labelled = second[0].messages.iter().filter(news).all(|message| message.text().starts_with("[run "));
        assert_eq!(labelled, is_shared);
        for said in said {
            let is_news = matches!(said.message, Message::User { .. });
            assert_eq!(said.message.text().starts_with(&format!("[run {}]", said.run_id)), is_news, "{said:?}");
        }
    }
}

#[test]
fn the_conversation_survives_a_restart_and_can_be_forgotten() {
    let folder = TempDir::new().unwrap();
    let model = Talk::new(narrates);
    let open = || builder(&model).coordinator(shared()).project(folder.path().join(".cofferdam")).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let first = open();
        run(&first, "one").await;
        first.close().await;
        assert!(matches!(first.conversation().await, Err(Error::Closed)));
        let second = open();
        let before = second.conversation().await.unwrap();
        assert!(!before.is_empty());
        run(&second, "two").await;
        assert!(model.asked_of("two")[0].text().contains("one is over"));
        assert_eq!(second.conversation().await.unwrap()[..before.len()], before);
        let listed = second.runs().list(RunFilter::default()).await.unwrap();
        assert_eq!(listed.rows.len(), 2, "the conversation is no run");
        second.forget_conversation().await.unwrap();
        second.forget_conversation().await.unwrap();
        assert!(second.conversation().await.unwrap().is_empty());
        run(&second, "three").await;
        assert!(!model.asked_of("three")[0].text().contains("[run one]"));
        // A run is replayed by its own record, whatever became of the conversation.
        let replaying = Orchestrator::builder().project(folder.path().join(".cofferdam")).build().unwrap();
        for name in ["one", "two", "three"] {
            let replayed = replaying.replay(&RunId::parse(name).unwrap()).await.unwrap();
            assert!(replayed.unchecked.is_empty(), "{:?}", replayed.unchecked);
        }
    });
}

#[test]
fn runs_at_once_take_turns() {
    let model = Talk::slow((Duration::from_millis(200), Duration::from_millis(5)), narrates);
    let orchestrator = builder(&model).coordinator(shared()).build().unwrap();
    let names = ["one", "two", "three", "four", "five", "six"];
    let (said, results) = quick().block_on(async {
        let runs = names.map(|name| run(&orchestrator, name));
        let results = futures_util::future::join_all(runs).await;
        (orchestrator.conversation().await.unwrap(), results)
    });
    for (name, result) in names.iter().zip(&results) {
        assert_eq!(result.status, RunStatus::Completed);
        assert_eq!(result.summary.as_deref(), Some(format!("{name} is over").as_str()));
    }
    let asked = model.asked.lock().unwrap();
    for pair in asked.windows(2) {
        assert!(!pair[0].goes_on || pair[1].run == pair[0].run, "{} spoke while {} did", pair[1].run, pair[0].run);
    }
    let changes = asked.windows(2).filter(|pair| pair[0].run != pair[1].run).count();
    assert!(changes > names.len(), "they were there at once");
    // Each heard all that was said before, and it was said in this order.
    for (before, after) in asked.iter().zip(asked.iter().skip(1)) {
        let heard = before.messages.iter().filter(|message| !matches!(message, Message::System { .. }));
        assert!(heard.zip(after.messages.iter().skip(1)).all(|(one, other)| one == other));
    }
    let wakes = wakes(&said);
    assert_eq!(BTreeSet::from_iter(&wakes).len(), wakes.len(), "nothing is said twice or apart: {wakes:?}");
}

#[test]
fn a_message_goes_only_into_the_run_that_it_was_written_in() {
    let model = Talk::slow((Duration::from_secs(60), Duration::ZERO), |request| match is_woken(request) {
        true if request.run_id.as_str() == "one" => {
            vec![
                ("forward_to_agent", json!({ "target_step_id": "other", "text": "hello" })),
                ("forward_to_agent", json!({ "target_step_id": "same", "text": "hello" })),
            ]
        }
        _ => Calls::new(),
    });
    let journal = Arc::new(Memory::new());
    let orchestrator = builder(&model).storage(Arc::clone(&journal) as _).coordinator(shared()).build().unwrap();
    let document = |step: &str| {
        workflow(&format!("name: w\nsteps: [{{ id: {step}, instructions: W. }}, {{ id: same, instructions: W. }}]"))
    };
    let (of_one, of_two) = quick().block_on(async {
        let (one, two) = (document("own"), document("other"));
        let runs = (orchestrator.run_flow(&two, named("two")), orchestrator.run_flow(&one, named("one")));
        let (two, one) = futures_util::join!(runs.0, runs.1);
        assert!(one.unwrap().success() && two.unwrap().success());
        (events(&*journal, "one").await, events(&*journal, "two").await)
    });
    let kinds = |events: &[Arc<RunEvent>], kind: &str| events.iter().filter(|event| event.body.kind() == kind).count();
    let dropped: Vec<String> = of_one
        .iter()
        .filter_map(|event| match &event.body {
            Body::MessageDropped(dropped) => Some(format!("{} {}", dropped.to, dropped.reason)),
            _ => None,
        })
        .collect();
    assert!(dropped.iter().any(|dropped| dropped == "other unknown_step"), "{dropped:?}");
    assert!(kinds(&of_one, "message_delivered") > 0, "its own step reads");
    assert_eq!((kinds(&of_two, "message_posted"), kinds(&of_two, "message_delivered")), (0, 0));
}

#[test]
fn a_run_goes_on_without_a_coordinator_that_cannot_write_down_what_it_says() {
    let model = Talk::new(narrates);
    let memory = Arc::new(Memory::new());
    let (within, early) = (Arc::clone(&memory), Mutex::default());
    let ending = Arc::new(Ending { within, left: AtomicUsize::new(0), only_shared: true, early });
    let orchestrator = builder(&model).storage(ending).coordinator(shared()).build().unwrap();
    let result = quick().block_on(run(&orchestrator, "one"));
    assert_eq!(result.status, RunStatus::Completed);
    let events = quick().block_on(events(&*memory, "one"));
    let warned = events.iter().any(|event| match &event.body {
        Body::Warning { code, message } => {
            code == "coordinator_failed" && message.contains("the shared conversation cannot be written")
        }
        _ => false,
    });
    assert!(warned);
}

#[test]
fn runs_that_are_closed_go_on_in_the_conversation_when_they_do() {
    let model = Talk::slow((Duration::from_secs(3_600), Duration::from_secs(1)), narrates);
    let memory = Arc::new(Memory::new());
    let open = |model: &Arc<Talk>| {
        builder(model).storage(Arc::clone(&memory) as Arc<dyn Journal>).coordinator(shared()).build().unwrap()
    };
    quick().block_on(async {
        let first = open(&model);
        let runs = ["one", "two"].map(|name| {
            let first = first.clone();
            tokio::spawn(async move { run(&first, name).await })
        });
        // The one speaks, the other waits for its turn.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let report = first.close().await;
        assert!(report.still_running.is_empty(), "{report:?}");
        for run in runs {
            assert_eq!(run.await.unwrap().status, RunStatus::Cancelled);
        }
        let quick_model = Talk::new(narrates);
        let second = open(&quick_model);
        for name in ["one", "two"] {
            let result = resume(&second, name).await.unwrap();
            assert_eq!((result.status, result.warnings), (RunStatus::Completed, Vec::new()));
        }
        let mut wakes = wakes(&second.conversation().await.unwrap());
        let mut recorded = recorded_wakes(&*memory, "one").await;
        recorded.extend(recorded_wakes(&*memory, "two").await);
        wakes.sort();
        recorded.sort();
        assert_eq!(wakes, recorded);
        assert!(quick_model.asked_of("two").last().unwrap().text().contains("one is over"));
    });
}

#[test]
fn a_run_with_sensitive_steps_keeps_to_itself() {
    let model = Talk::new(narrates);
    let orchestrator = builder(&model).coordinator(shared()).build().unwrap();
    quick().block_on(async {
        run(&orchestrator, "one").await;
        let before = orchestrator.conversation().await.unwrap();
        let document = workflow(&DOCUMENT.replace("id: a,", "id: a, sensitive: true,"));
        let result = orchestrator.run_flow(&document, named("two")).await.unwrap();
        assert_eq!(result.summary.as_deref(), Some("two is over"));
        assert_eq!(orchestrator.conversation().await.unwrap(), before);
        assert!(model.asked_of("two").iter().all(|asked| !asked.text().contains("[run ")));
        let events = events(&*orchestrator.runs(), "two").await;
        assert!(warnings(&events).iter().any(|said| said.contains("steps of this one are sensitive")));
    });
}

fn warnings(events: &[Arc<RunEvent>]) -> Vec<String> {
    let warning = |event: &Arc<RunEvent>| match &event.body {
        Body::Warning { message, .. } => Some(message.clone()),
        _ => None,
    };
    events.iter().filter_map(warning).collect()
}

#[test]
fn a_run_that_is_taken_up_elsewhere_shares_only_where_that_is_wanted() {
    const ASKS: &str =
        "name: w\nsteps: [{ id: a, instructions: W. }, { id: sure, dependsOn: [a], ask: { prompt: Sure? } }]";
    let model = Talk::slow((Duration::from_secs(5), Duration::ZERO), narrates);
    let memory = Arc::new(Memory::new());
    let open = |coordinator: Option<Coordinator>| {
        let builder = builder(&model).storage(Arc::clone(&memory) as Arc<dyn Journal>);
        coordinator.into_iter().fold(builder, Builder::coordinator).build().unwrap()
    };
    quick().block_on(async {
        let first = open(Some(shared().context(|wake| Some(format!("wake {}", wake.number)))));
        for name in ["one", "two", "three"] {
            assert_eq!(first.run_flow(&workflow(ASKS), named(name)).await.unwrap().status, RunStatus::Waiting);
        }
        let before = first.conversation().await.unwrap().len();
        let answered = async |orchestrator: &Orchestrator, name: &str| {
            let answers = [("sure".to_owned(), cofferdam::InputText::Text("yes".to_owned()))].into();
            let options = ResumeOptions { answers, ..ResumeOptions::default() };
            orchestrator.resume_flow(&RunId::parse(name).unwrap(), None, options).await.unwrap();
            warnings(&events(&*memory, name).await)
        };
        let apart = open(None);
        let said = answered(&apart, "one").await;
        assert!(said.iter().any(|said| said.contains("here it has one of its own")), "{said:?}");
        assert!(said.iter().any(|said| said.contains("function of another program")), "{said:?}");
        assert_eq!(apart.conversation().await.unwrap().len(), before);
        let alone = open(Some(Coordinator::default().context(|_| None)));
        assert_eq!(answered(&alone, "two").await.len(), 1, "it has a function");
        let again = open(Some(shared().context(|wake| Some(format!("wake {} again", wake.number)))));
        assert_eq!(answered(&again, "three").await, Vec::<String>::new());
        assert!(model.asked_of("three").last().unwrap().text().contains(" again"));
        assert!(again.conversation().await.unwrap().len() > before);
    });
}

#[test]
fn secrets_are_not_kept_in_the_conversation() {
    let mut model = Talk::new(narrates);
    Arc::get_mut(&mut model).unwrap().says = "hunter2-hunter2";
    let secret = SecretSource::Value("hunter2-hunter2".into());
    let orchestrator = builder(&model).coordinator(shared()).secret("PASSWORD", secret).build().unwrap();
    let said = quick().block_on(async {
        run(&orchestrator, "one").await;
        run(&orchestrator, "two").await;
        orchestrator.conversation().await.unwrap()
    });
    assert!(said.len() > 4);
    let text: String = said.iter().map(|said| serde_json::to_string(said).unwrap()).collect();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(
        model.asked_of("two")[0].text().contains("in turn") && !model.asked_of("two")[0].text().contains("hunter2")
    );
}

#[test]
fn what_is_too_much_of_the_conversation_is_left_out_of_it() {
    let model = Talk::new(|request| match is_woken(request) {
        true => vec![("narrate", json!({ "text": "x".repeat(20_000) }))],
        false => Calls::new(),
    });
    let memory = Arc::new(Memory::new());
    let open =
        || builder(&model).storage(Arc::clone(&memory) as Arc<dyn Journal>).coordinator(shared()).build().unwrap();
    let orchestrator = open();
    quick().block_on(async {
        for number in 0..8 {
            run(&orchestrator, &format!("run-{number}")).await;
        }
        let asked = model.asked_of("run-7");
        let first = &asked[0].messages[1];
        assert!(first.text().starts_with("[what was said before is left out]\n\n[run run-"), "{}", first.text());
        assert!(!asked[0].text().contains("[run run-0]") && asked[0].text().contains("[run run-6]"));
        let size: usize = orchestrator.conversation().await.unwrap().iter().map(size).sum();
        assert!(size <= 256 * 1_024, "{size}");
        // Another process finds the same end, and knows of what it does not hold.
        let said = open().conversation().await.unwrap();
        assert!(!said.is_empty() && matches!(said[0].message, Message::User { .. }));
        assert_eq!(said.last(), orchestrator.conversation().await.unwrap().last());
    });
}

fn size(said: &SharedMessage) -> usize {
    let calls = match &said.message {
        Message::Assistant { tool_calls, .. } => tool_calls.iter().map(|call| call.arguments.len()).sum(),
        _ => 0,
    };
    said.message.text().len() + calls
}

#[test]
fn a_program_adds_to_what_a_coordinator_hears_at_each_wake() {
    let model = Talk::slow((Duration::from_secs(5), Duration::ZERO), narrates);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let coordinator = Coordinator::default().context(move |wake| {
        sees.lock().unwrap().push(wake.clone());
        Some(match wake.number {
            0 => "x".repeat(100_000),
            1 => panic!("not now"),
            number => format!("the clock says {number}, hunter2-hunter2"),
        })
    });
    let secret = SecretSource::Value("hunter2-hunter2".into());
    let orchestrator = builder(&model).coordinator(coordinator).secret("PASSWORD", secret).build().unwrap();
    let journal = orchestrator.runs();
    let events = quick().block_on(async {
        assert!(run(&orchestrator, "one").await.success());
        events(&*journal, "one").await
    });
    let seen = seen.lock().unwrap();
    let numbers: Vec<u32> = seen.iter().map(|wake| wake.number).collect();
    assert_eq!(numbers, Vec::from_iter(0..u32::try_from(numbers.len()).unwrap()));
    assert!(numbers.len() > 2 && seen.iter().all(|wake| wake.run_id.as_str() == "one"));
    let last: Vec<bool> = seen.iter().map(|wake| wake.is_last).collect();
    assert!(last.ends_with(&[false, true]), "{last:?}");
    let text = model.asked_of("one").last().unwrap().text();
    assert!(text.contains("[... 83616 of 100000 bytes left out ...]"), "{text}");
    for number in numbers.iter().skip(2) {
        assert!(text.contains(&format!("the clock says {number}, ")), "{text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    assert!(warnings(&events).iter().any(|said| said.contains("at each wake panicked")));
    let told = |event: &&Arc<RunEvent>| matches!(&event.body, Body::Told(told) if told.text.contains("clock says"));
    assert_eq!(events.iter().filter(told).count(), numbers.len() - 2, "it is recorded");
}

#[test]
fn the_number_of_wakes_can_be_set() {
    let steps: Vec<String> = (0..6).map(|step| format!("{{ id: s{step}, instructions: W. }}")).collect();
    let document = workflow(&format!("name: w\nmode: sequential\nsteps: [{}]", steps.join(", ")));
    let asked = |coordinator: Coordinator| {
        // The coordinator is always there when something happens.
        let model = Talk::slow((Duration::from_secs(5), Duration::ZERO), |_| Calls::new());
        let orchestrator = builder(&model).coordinator(coordinator).build().unwrap();
        quick().block_on(async {
            orchestrator.run_flow(&document, named("one")).await.unwrap();
            let said = warnings(&events(&*orchestrator.runs(), "one").await);
            (model.asked_of("one").len(), said)
        })
    };
    let (all, said) = asked(Coordinator::default());
    assert!(all > 6 && said.is_empty(), "{all} {said:?}");
    for (most, says) in [(0, 0), (2, 1)] {
        let (count, said) = asked(Coordinator::default().wakes(most));
        assert_eq!(count, 2 + usize::try_from(most).unwrap(), "the start, the wakes and the end");
        assert_eq!(said.len(), says, "{said:?}");
        assert!(said.iter().all(|said| said.contains("was woken 2 times")), "{said:?}");
    }
}

#[test]
fn no_run_has_the_name_of_the_conversation() {
    let model = Talk::new(narrates);
    let orchestrator = builder(&model).coordinator(shared()).build().unwrap();
    let id = RunId::parse(SHARED).unwrap();
    quick().block_on(async {
        run(&orchestrator, "one").await;
        let said = orchestrator.conversation().await.unwrap();
        let refused = |error: Error| matches!(&error, Error::Refused(faults) if &*faults[0].code == "reserved_run_id");
        assert!(refused(orchestrator.run_flow(&workflow(DOCUMENT), named(SHARED)).await.unwrap_err()));
        assert!(refused(orchestrator.resume_flow(&id, None, ResumeOptions::default()).await.unwrap_err()));
        assert!(refused(orchestrator.recorded(&id).await.map(drop).unwrap_err()));
        assert!(refused(orchestrator.claim(&id).await.unwrap_err()));
        assert_eq!(orchestrator.conversation().await.unwrap(), said);
    });
}
