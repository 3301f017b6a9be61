//! Calls of the builder that no other test would miss: models by name, coordinators, messages that reach nobody.

use crate::inner_runs::Log;
use crate::library::quick;
use cofferdam::core::event::RunStatus;
use cofferdam::core::port::{Durability, Journal, Model, RecordBody};
use cofferdam::llm::Scripted;
use cofferdam::store::Memory;
use cofferdam::{
    Builder, Coordinator, Error, ForkOptions, InputText, Orchestrator, ResumeOptions, RunOptions, Workflow,
};
use std::sync::{Arc, Mutex};

fn workflow(text: &str) -> Workflow {
    Workflow::parse(text, ".").unwrap()
}

#[test]
fn models_that_no_settings_know_come_from_the_program() {
    let resolve =
        |name: &str| (name == "mine/one").then(|| Arc::new(Scripted::answering("resolved")) as Arc<dyn Model>);
    let orchestrator = Orchestrator::builder().model_resolver(resolve).build().unwrap();
    let of = |model: &str| workflow(&format!("name: w\nsteps: [{{ id: a, instructions: Work., model: {model} }}]"));
    quick().block_on(async {
        let result = orchestrator.run_flow(&of("mine/one"), RunOptions::default()).await.unwrap();
        assert_eq!(result.output.as_str(), Some("resolved"));
        let refused = orchestrator.run_flow(&of("mine/two"), RunOptions::default()).await.unwrap_err();
        assert!(matches!(&refused, Error::Refused(faults) if faults[0].message.contains("`mine`")), "{refused}");
    });
}

/// Waits for an answer between two agents.
const HALVES: &str = "name: w
steps:
  - { id: a, instructions: Work. MODEL }
  - { id: sure, dependsOn: [a], ask: { prompt: Sure? } }
  - { id: b, dependsOn: [sure], instructions: Work. MODEL }";

#[test]
fn a_run_whose_model_the_program_gives_goes_on_where_the_program_gives_it() {
    let journal = Arc::new(Memory::default());
    let process = || Orchestrator::builder().storage(Arc::clone(&journal) as Arc<dyn Journal>);
    let knowing = |says: &'static str| {
        let resolve =
            move |name: &str| (name == "mine/one").then(|| Arc::new(Scripted::answering(says)) as Arc<dyn Model>);
        process().model_resolver(resolve).build().unwrap()
    };
    let answers = [("sure".to_owned(), InputText::Text("yes".to_owned()))].into();
    let options = ResumeOptions { answers, ..ResumeOptions::default() };
    // The document names it, or whoever starts the run.
    for (in_document, of_run) in [(", model: mine/one", None), ("", Some("mine/one".to_owned()))] {
        quick().block_on(async {
            let document = workflow(&HALVES.replace(" MODEL", in_document));
            let run = RunOptions { model: of_run, ..RunOptions::default() };
            let half = knowing("before").run_flow(&document, run).await.unwrap();
            assert_eq!(half.status, RunStatus::Waiting);
            let refused = process().build().unwrap().resume_flow(&half.run_id, None, options.clone()).await;
            let refused = refused.unwrap_err();
            assert!(matches!(&refused, Error::Refused(faults) if faults[0].message.contains("`mine`")), "{refused}");
            // What was refused has changed nothing: the run still waits for its answer.
            let whole = knowing("after").resume_flow(&half.run_id, None, options.clone()).await.unwrap();
            let gave = |step: &str| whole.step(step).unwrap().content.to_string();
            assert_eq!((gave("a"), gave("b")), ("before".to_owned(), "after".to_owned()));
        });
    }
}

/// Which appends of a run and of a fork of it had to survive a power cut, and whether they ended one.
fn durable(set: impl Fn(Builder) -> Builder) -> Vec<(bool, bool)> {
    let log = Arc::new(Log::default());
    let builder = set(Orchestrator::builder().storage(Arc::clone(&log) as Arc<dyn Journal>));
    let orchestrator = builder.model(Scripted::answering("done")).build().unwrap();
    let document = workflow("name: w\nsteps: [{ id: a, instructions: x }, { id: b, instructions: x, dependsOn: [a] }]");
    quick().block_on(async {
        let run = orchestrator.run_flow(&document, RunOptions::default()).await.unwrap();
        let options = ForkOptions { from: vec!["b".into()], ..ForkOptions::default() };
        orchestrator.fork(&run.run_id, options).await.unwrap();
    });
    let appends = log.appends.lock().unwrap();
    let ends = |body: &RecordBody| matches!(body, RecordBody::Event(event) if event.body.kind() == "run_finished");
    let told = appends.iter().map(|append| {
        let ends = append.records.iter().any(|record| ends(&record.body));
        (append.durability == Durability::Durable, ends)
    });
    told.collect()
}

#[test]
fn what_a_barrier_waits_for_is_the_programs_to_say() {
    let strict = durable(|builder| builder.durability(Durability::Durable));
    assert_eq!(strict.iter().filter(|(_, ends)| *ends).count(), 2);
    let barriers = strict.iter().filter(|(durable, ends)| *durable && !ends).count();
    assert!(barriers > 4, "what begins and ends is durable before anything follows from it: {strict:?}");
    assert_eq!(durable(|builder| builder), strict, "that is so where nobody says anything");
    let relaxed = durable(|builder| builder.durability(Durability::Written));
    assert_eq!(relaxed.len(), strict.len());
    assert!(relaxed.iter().all(|(durable, ends)| durable == ends), "only the end of a run is: {relaxed:?}");
}

const SCRIPT: &str = r#"
answers:
  - { step: "@coordinator", contains: "All steps have ended", times: 1, toolCalls: [{ tool: forward_to_agent, args: { target_step_id: nowhere, text: hi } }, { tool: finalize, args: { summary: all done } }] }
default: { text: ok }
"#;
const DOCUMENT: &str = "name: w\nsteps: [{ id: a, instructions: Work. }]";

#[test]
fn a_message_that_reaches_nobody_is_heard_of_once() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let builder = Orchestrator::builder().model(Scripted::parse(SCRIPT).unwrap()).coordinator(Coordinator::default());
    let orchestrator = builder
        .drop_callback(move |dropped| {
            hears.lock().unwrap().push((dropped.to.to_string(), dropped.message.to_string(), dropped.reason.as_str()));
        })
        .build()
        .unwrap();
    quick().block_on(orchestrator.run_flow(&workflow(DOCUMENT), RunOptions::default())).unwrap();
    assert_eq!(heard.lock().unwrap()[..], [("nowhere".to_owned(), "hi".to_owned(), "unknown_step")]);
}

/// What the model was asked in a run: the system prompt, everything, and how many tools there were.
fn asked(coordinator: Option<Coordinator>) -> (Option<String>, Vec<(String, String, usize)>) {
    let model = Arc::new(Scripted::parse(SCRIPT).unwrap().recording());
    let shared = Arc::clone(&model);
    let builder = Orchestrator::builder().model_resolver(move |_| Some(Arc::clone(&shared) as Arc<dyn Model>));
    let orchestrator = builder.default_model("mine/one").build().unwrap();
    let options = RunOptions { coordinator, ..RunOptions::default() };
    let result = quick().block_on(orchestrator.run_flow(&workflow(DOCUMENT), options)).unwrap();
    let requests = model.requests();
    let texts = requests.iter().map(|request| {
        let texts: Vec<&str> = request.messages.iter().map(cofferdam::core::message::Message::text).collect();
        (texts[0].to_owned(), texts.join("\n"), request.tools.len())
    });
    (result.summary.map(|summary| summary.to_string()), texts.collect())
}

#[test]
fn a_coordinator_is_as_the_program_describes_it() {
    assert_eq!(asked(None).1.len(), 1, "without one only the step asks");
    let (summary, all) = asked(Some(Coordinator::default().synthesize_only().extend_prompt("Be brief.")));
    assert_eq!(summary.as_deref(), Some("all done"));
    let own: Vec<_> = all.iter().filter(|(system, ..)| system.contains("Be brief.") && system.len() > 100).collect();
    assert!(!own.is_empty() && own.iter().all(|(_, all, _)| all.contains("All steps have ended")), "{all:?}");
    let (_, all) = asked(Some(Coordinator::default().prompt("You watch.").tools(["read"])));
    let watching: Vec<_> = all.iter().filter(|(system, ..)| system.starts_with("You watch.")).collect();
    assert!(watching.iter().any(|(_, all, _)| !all.contains("All steps have ended")), "it hears of all: {all:?}");
    let (_, all) = asked(Some(Coordinator::default().prompt("You watch.")));
    let without = all.iter().find(|(system, ..)| system.starts_with("You watch.")).unwrap();
    assert_eq!(watching[0].2, without.2 + 1, "it has one tool more");
}
