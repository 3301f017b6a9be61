//! Calls of the builder that no other test would miss: models by name, coordinators, messages that reach nobody, what holds for
//! every document, tools, what plugins may do.

use crate::inner_runs::Log;
use crate::library::quick;
use cofferdam::core::event::RunStatus;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{Alias, LocalName};
use cofferdam::core::policy::Grants;
use cofferdam::core::port::{
    Ack, Batch, BoxFuture, Durability, Effects, Model, Pressure, RecordBody, ToolContext, ToolDefinition, ToolOutput,
    Want,
};
use cofferdam::core::spec::RunLimits;
use cofferdam::core::transform::Transform;
use cofferdam::llm::Scripted;
use cofferdam::store::Memory;
use cofferdam::{
    Builder, Coordinator, Error, ForkOptions, InputText, Journal, Orchestrator, ResumeOptions, RunOptions, RunResult,
    Sink, Tool, Workflow,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

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

/// Lets somebody go when the run ends.
struct AtTheEnd(Mutex<mpsc::Sender<()>>);

impl Sink for AtTheEnd {
    fn want(&self) -> Want {
        Want::new(vec!["run_finished".to_owned()], Pressure::Wait)
    }

    fn deliver(&self, _: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        let _ = self.0.lock().unwrap().send(());
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[test]
fn who_hears_of_dropped_messages_does_not_hold_up_the_run() {
    let (ends, end) = mpsc::channel();
    let (end, heard) = (Mutex::new(end), Arc::new(Mutex::new(Vec::new())));
    let hears = Arc::clone(&heard);
    let builder = Orchestrator::builder().model(Scripted::parse(SCRIPT).unwrap()).coordinator(Coordinator::default());
    let builder = builder.sink(Arc::new(AtTheEnd(Mutex::new(ends)))).drop_callback(move |dropped| {
        let end = end.lock().unwrap().recv_timeout(Duration::from_secs(20));
        hears.lock().unwrap().push((dropped.message.to_string(), end.is_ok()));
    });
    let orchestrator = builder.build().unwrap();
    let result = quick().block_on(orchestrator.run_flow(&workflow(DOCUMENT), RunOptions::default())).unwrap();
    assert!(result.warnings.is_empty(), "{:?}", result.warnings);
    // Once, after the run had come to its end, and before its result was there.
    assert_eq!(heard.lock().unwrap()[..], [("hi".to_owned(), true)]);
}

/// A model that answers to any name, and what it was asked.
fn asked_in(builder: Builder, script: &str, document: &str) -> (RunResult, Arc<Scripted>) {
    let model = Arc::new(Scripted::parse(script).unwrap().recording());
    let shared = Arc::clone(&model);
    let builder = builder.model_resolver(move |_| Some(Arc::clone(&shared) as Arc<dyn Model>));
    let orchestrator = builder.default_model("mine/one").build().unwrap();
    let result = quick().block_on(orchestrator.run_flow(&workflow(document), RunOptions::default())).unwrap();
    (result, model)
}

#[test]
fn agents_that_name_no_number_have_so_many_turns() {
    let script = "default: { toolCalls: [{ tool: glob, args: { pattern: '*.{{turn}}' } }] }";
    let document = "name: w
agents: { silent: { description: Works. }, own: { description: Works., maxTurns: 3 } }
steps:
  - { id: a, instructions: Work. }
  - { id: b, agent: silent, instructions: Work. }
  - { id: c, agent: own, instructions: Work. }";
    let (result, model) = asked_in(Orchestrator::builder().max_turns(2), script, document);
    assert!(["a", "b", "c"].iter().all(|step| result.step(step).unwrap().truncated), "{:?}", result.warnings);
    let turns = |step: &str| model.requests().iter().filter(|request| request.path.as_str() == step).count();
    assert_eq!(["a", "b", "c"].map(turns), [2, 2, 3]);
    let none = Orchestrator::builder().max_turns(0).build().err().unwrap();
    assert!(none.to_string().contains("no turn"), "{none}");
}

#[test]
fn outputs_enter_prompts_as_the_program_says_where_the_document_says_nothing() {
    let script = "answers: [{ step: a, text: ' Raw ' }]\ndefault: { text: done }";
    let document = |options: &str| {
        format!(
            "name: w\n{options}steps: [{{ id: a, instructions: x }}, {{ id: b, dependsOn: [a], instructions: Read. }}]"
        )
    };
    let read = |document: &str| {
        let builder = Orchestrator::builder().output_transform([Transform::Trim, Transform::Upper]);
        let (result, model) = asked_in(builder, script, document);
        assert_eq!(&*result.step("a").unwrap().content, " Raw ", "what the step gave stays");
        let last = model.requests().pop().unwrap();
        last.messages.last().unwrap().text().to_owned()
    };
    assert!(read(&document("")).contains("RAW"));
    let own = read(&document("options: { outputTransform: [lower] }\n"));
    assert!(own.contains(" raw ") && !own.contains("RAW"), "{own}");
    let named = Orchestrator::builder().output_transform([Transform::Native("mine".into())]).build().err().unwrap();
    assert!(named.to_string().contains("only built-in ones"), "{named}");
}

fn three(options: &str) -> String {
    format!("name: w\n{options}steps: [{{ id: each, loop: {{ forEach: [1, 2, 3] }}, instructions: x }}]")
}

#[test]
fn no_run_exceeds_the_limits_of_the_program_and_each_keeps_those_that_it_was_started_with() {
    let limited = |items: usize, journal: &Arc<Memory>| {
        let limits = RunLimits { for_each_items: items, ..RunLimits::default() };
        let builder = Orchestrator::builder().model(Scripted::answering("fine")).storage(Arc::clone(journal) as _);
        builder.limits(limits).build().unwrap()
    };
    let why = |result: &RunResult| result.error.as_ref().map(|error| error.fault.message.clone()).unwrap_or_default();
    quick().block_on(async {
        let journal = Arc::new(Memory::new());
        let run = async |items: usize, document: &str| {
            limited(items, &journal).run_flow(&workflow(document), RunOptions::default()).await.unwrap()
        };
        assert!(run(3, &three("")).await.success());
        let own = run(3, &three("options: { limits: { forEachItems: 1 } }\n")).await;
        assert!(why(&own).contains("more than the limit of 1"), "{}", why(&own));
        let failed = run(2, &three("")).await;
        assert_eq!(failed.status, RunStatus::Failed);
        assert!(why(&failed).contains("more than the limit of 2"), "{}", why(&failed));
        // Another program, without limits of its own.
        let other = Orchestrator::builder().model(Scripted::answering("fine")).storage(Arc::clone(&journal) as _);
        let other = other.build().unwrap();
        other.replay(&failed.run_id).await.unwrap();
        let again = other.resume_flow(&failed.run_id, None, ResumeOptions::default()).await.unwrap();
        assert_eq!(why(&again), why(&failed));
        assert!(other.run_flow(&workflow(&three("")), RunOptions::default()).await.unwrap().success());
        let first = journal.read(&failed.run_id, 0, 1).await.unwrap().records.remove(0);
        let first = format!("{:?}", first.body);
        assert!(first.contains("\"for_each_items\": Number(2)"), "it is recorded: {first}");
    });
    let above = RunLimits { message_bytes: usize::MAX, ..RunLimits::default() };
    let above = Orchestrator::builder().limits(above).build().err().unwrap();
    assert!(above.to_string().contains("above the most there is"), "{above}");
}

/// A tool that says its name.
struct Says(Vec<ToolDefinition>);

impl Says {
    fn shared(name: &str) -> Arc<dyn Tool> {
        Arc::new(Self(vec![ToolDefinition {
            name: LocalName::parse(name).unwrap(),
            title: None,
            description: "Says its name.".into(),
            input_schema: Arc::new(json!({ "type": "object" })),
            output_schema: None,
            effects: Effects { read_only: true, ..Effects::default() },
            examples: Vec::new(),
        }]))
    }
}

impl Tool for Says {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.0
    }

    fn call<'a>(
        &'a self,
        _: ToolContext,
        name: &'a LocalName,
        _: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async move { Ok(ToolOutput { result: Arc::new(json!(name.as_str())), content: None }) })
    }
}

#[test]
fn several_tools_are_given_at_once_beside_those_that_are_there() {
    let builder =
        Orchestrator::builder().tools([Says::shared("one"), Says::shared("two")]).tools([Says::shared("three")]);
    let orchestrator = builder.build().unwrap();
    let document = "name: w\noutput: '[steps.a.result, steps.b.result, steps.c.result]'
steps: [{ id: a, tool: one }, { id: b, tool: two }, { id: c, tool: three }, { id: d, tool: glob, args: { pattern: x } }]";
    let result = quick().block_on(orchestrator.run_flow(&workflow(document), RunOptions::default())).unwrap();
    assert!(result.success(), "{:?}", result.error);
    assert_eq!(result.output, json!(["one", "two", "three"]));
}

#[test]
fn what_a_plugin_may_do_is_said_for_its_alias_and_source() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("echo.wasm"), cofferdam_guests::built_bytes("echo").unwrap()).unwrap();
    let document = "name: w
plugins: { echo: { source: ./echo.wasm, grants: { fs: { read: true } } } }
steps: [{ id: a, tool: glob, args: { pattern: x } }]";
    let workflow = Workflow::parse(document, folder.path()).unwrap();
    let grants = Grants::parse(&json!({ "fs": { "read": true } })).unwrap();
    let missing = |builder: Builder| {
        let orchestrator = builder.build().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let checks = runtime.block_on(orchestrator.check(&workflow, &RunOptions::default())).unwrap();
        checks.into_iter().find(|check| check.alias == "echo").unwrap().missing.len()
    };
    let alias = |name: &str| Alias::parse(name).unwrap();
    let builder = Orchestrator::builder;
    assert_eq!(missing(builder()), 1);
    assert_eq!(missing(builder().plugin(alias("echo"), "./echo.wasm", grants.clone())), 0);
    assert_eq!(missing(builder().plugin(alias("echo"), "./other.wasm", grants.clone())), 1);
    let before = builder().plugin(alias("echo"), "./echo.wasm", grants).grants(cofferdam::GrantPolicy::deny_all());
    assert_eq!(missing(before), 0, "in whatever order");
}
