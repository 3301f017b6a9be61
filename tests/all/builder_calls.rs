//! Calls of the builder that no other test would miss: models by name, coordinators, messages that reach nobody.

use crate::library::quick;
use cofferdam::core::port::Model;
use cofferdam::llm::Scripted;
use cofferdam::{Coordinator, Error, Orchestrator, RunOptions, Workflow};
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
