//! The life of a workflow that is built in code: its agents are prepared once and cleaned up all, and it runs many times
//! at once.

use crate::counting::{Counting, runs, three};
use crate::support::TestRuntime;
use cofferdam::core::event::StepStatus;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::AgentName;
use cofferdam::core::port::{AgentContext, AgentFailure, AgentInput, AgentOutput, BoxFuture};
use cofferdam::llm::Scripted;
use cofferdam::{
    Agent, AgentRef, ChunkKind, Condition, Error, InputText, Orchestrator, RunOptions, Step, StreamOptions, Workflow,
    WorkflowConfig, WorkflowContext,
};
use std::sync::Arc;
use std::time::Duration;

fn runtime() -> TestRuntime {
    TestRuntime::quick()
}

fn scripted(script: &str) -> Orchestrator {
    Orchestrator::builder().model(Scripted::parse(script).unwrap()).build().unwrap()
}

const ECHO: &str = "chunk: 0\ndefault: { text: '[{{prompt}}]' }";

#[test]
fn agents_are_prepared_in_step_order_once_and_cleaned_up_all_also_when_one_fails() {
    runtime().block_on(async {
        let (orchestrator, log) = (scripted(ECHO), Arc::default());
        let mut flow = orchestrator.sequential(&WorkflowConfig::new("w"));
        let agents = [
            Counting::new("zeta", &log),
            Counting::failing("mu", "cleanup", &log),
            Counting::failing("alpha", "cleanup", &log),
        ];
        for agent in agents {
            flow.add_step(Step::new(agent.name).agent(AgentRef::new(agent))).unwrap();
        }
        flow.initialize().await.unwrap();
        flow.initialize().await.unwrap();
        assert!(flow.run("x").await.unwrap().success());
        assert!(flow.run("x").await.unwrap().success());
        let Err(Error::Shutdown(faults)) = flow.shutdown().await else { panic!("two agents are broken") };
        assert_eq!(faults.len(), 2, "{faults:?}");
        flow.shutdown().await.unwrap();
        let ran = ["zeta run", "mu run", "alpha run"];
        let all = [
            &["zeta initialize", "mu initialize", "alpha initialize"][..],
            &ran,
            &ran,
            &["alpha cleanup", "mu cleanup", "zeta cleanup"],
        ];
        assert_eq!(*log.lock().unwrap(), all.concat());
    });
}

#[test]
fn preparing_again_prepares_what_was_added_since_and_all_is_cleaned_up_once() {
    runtime().block_on(async {
        let (orchestrator, log) = (scripted(ECHO), Arc::default());
        let mut flow = orchestrator.sequential(&WorkflowConfig::new("w"));
        flow.initialize().await.unwrap();
        for name in ["one", "two"] {
            flow.add_step(Step::new(name).agent(AgentRef::new(Counting::new(name, &log)))).unwrap();
            flow.initialize().await.unwrap();
            flow.initialize().await.unwrap();
        }
        assert!(flow.run("x").await.unwrap().success());
        flow.add_step(Step::new("three").agent(AgentRef::new(Counting::failing("three", "initialize", &log)))).unwrap();
        assert!(flow.initialize().await.is_err(), "the third is broken");
        flow.shutdown().await.unwrap();
        flow.shutdown().await.unwrap();
        let wanted = [
            "one initialize",
            "two initialize",
            "one run",
            "two run",
            "three initialize",
            "two cleanup",
            "one cleanup",
        ];
        assert_eq!(*log.lock().unwrap(), wanted);
    });
}

/// An agent whose preparation never ends.
struct Endless;

impl Agent for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn initialize(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::pending())
    }

    fn run(&self, _: AgentContext, _: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(std::future::ready(Ok(AgentOutput::default())))
    }
}

#[test]
fn who_gives_up_waiting_for_the_preparation_can_still_clean_up() {
    runtime().block_on(async {
        let (orchestrator, log) = (scripted(ECHO), Arc::default());
        let mut flow = orchestrator.sequential(&WorkflowConfig::new("w"));
        flow.add_step(Step::new("one").agent(AgentRef::new(Counting::new("one", &log)))).unwrap();
        flow.add_step(Step::new("two").agent(AgentRef::new(Endless))).unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(1), flow.initialize()).await.is_err());
        flow.shutdown().await.unwrap();
        assert_eq!(*log.lock().unwrap(), ["one initialize", "one cleanup"]);
    });
}

#[test]
fn an_agent_that_cannot_be_prepared_leaves_none_prepared() {
    runtime().block_on(async {
        let (orchestrator, log) = (scripted(ECHO), Arc::default());
        let mut flow = orchestrator.sequential(&WorkflowConfig::new("w"));
        for agent in [Counting::new("one", &log), Counting::failing("two", "initialize", &log)] {
            flow.add_step(Step::new(agent.name).agent(AgentRef::new(agent))).unwrap();
        }
        let error = flow.initialize().await.err().unwrap().to_string();
        assert!(error.contains("agent `two` cannot be prepared: two is broken"), "{error}");
        assert_eq!(*log.lock().unwrap(), ["one initialize", "two initialize", "one cleanup"]);
        assert!(flow.run("x").await.is_err());
        assert!(runs(&log).is_empty());
    });
}

#[test]
fn a_run_without_initialize_prepares_and_cleans_up_itself() {
    runtime().block_on(async {
        let (orchestrator, log) = (scripted(ECHO), Arc::default());
        let mut flow = orchestrator.sequential(&WorkflowConfig::new("w"));
        three(&mut flow, &log);
        flow.run("x").await.unwrap();
        let each = |what: &str, names: [&str; 3]| names.map(|name| format!("{name} {what}"));
        let all = [
            each("initialize", ["one", "two", "three"]),
            each("run", ["one", "two", "three"]),
            each("cleanup", ["three", "two", "one"]),
        ];
        assert_eq!(*log.lock().unwrap(), all.concat());
    });
}

#[test]
fn a_run_whose_agents_cannot_be_prepared_cleans_up_those_that_were() {
    runtime().block_on(async {
        let (orchestrator, log) = (scripted(ECHO), Arc::default());
        let mut flow = orchestrator.sequential(&WorkflowConfig::new("w"));
        for agent in [Counting::new("one", &log), Counting::failing("two", "initialize", &log)] {
            flow.add_step(Step::new(agent.name).agent(AgentRef::new(agent))).unwrap();
        }
        let error = flow.run("x").await.err().unwrap().to_string();
        assert!(error.contains("agent `two` cannot be prepared"), "{error}");
        assert_eq!(*log.lock().unwrap(), ["one initialize", "two initialize", "one cleanup"]);
    });
}

#[test]
fn runs_that_overlap_share_the_agents_of_the_orchestrator() {
    runtime().block_on(async {
        let log = Arc::default();
        let orchestrator = Orchestrator::builder()
            .model(Scripted::parse("default: { delay: 1s, text: done }").unwrap())
            .agent(AgentName::parse("own").unwrap(), Counting::new("own", &log))
            .build()
            .unwrap();
        let text = "name: w\nagents: { own: { description: x } }\nsteps: [{ id: wait, instructions: x }, { id: work, agent: own, dependsOn: [wait] }]";
        let workflow = Workflow::parse(text, ".").unwrap();
        let mut flow = orchestrator.sequential(&WorkflowConfig::new("flow"));
        flow.add_step(Step::new("wait")).unwrap();
        flow.add_step(Step::new("work").agent("own")).unwrap();
        let of_document = (0..5).map(|_| orchestrator.run_flow(&workflow, RunOptions::default()));
        let (all, of_flow) = tokio::join!(futures_util::future::join_all(of_document), flow.run("x"));
        assert!(all.into_iter().chain([of_flow]).all(|result| result.unwrap().success()));
        let log = log.lock().unwrap();
        assert_eq!((log.first().unwrap().as_str(), log.last().unwrap().as_str()), ("own initialize", "own cleanup"));
        assert_eq!(log.iter().filter(|entry| *entry == "own run").count(), log.len() - 2, "{log:?}");
    });
}

#[test]
fn one_workflow_runs_many_times_at_once() {
    runtime().block_on(async {
        let (orchestrator, log) = (scripted(ECHO), Arc::default());
        let mut flow = orchestrator.sequential(&WorkflowConfig::new("w"));
        three(&mut flow, &log);
        let flow = Arc::new(flow);
        let runs = (0..50).map(|number| {
            let flow = Arc::clone(&flow);
            tokio::spawn(async move { flow.run(format!("run {number}")).await.unwrap() })
        });
        for (number, run) in runs.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(run.await.unwrap().final_output(), format!("three(two(one(run {number})))"));
        }
        let prepared = log.lock().unwrap().iter().filter(|entry| entry.ends_with("initialize")).count();
        let cleaned = log.lock().unwrap().iter().filter(|entry| entry.ends_with("cleanup")).count();
        assert_eq!(prepared, cleaned);
    });
}

#[test]
fn an_empty_workflow_can_be_initialized_and_shut_down_and_not_run() {
    runtime().block_on(async {
        let flow = scripted(ECHO).dag(&WorkflowConfig::default());
        flow.initialize().await.unwrap();
        flow.shutdown().await.unwrap();
        assert!(matches!(flow.run("x").await, Err(Error::Invalid(_))));
    });
}

#[test]
fn inputs_are_the_first_variables() {
    runtime().block_on(async {
        let mut flow = scripted(ECHO).sequential(&WorkflowConfig::new("w"));
        flow.set("inputs", serde_json::json!({ "word": { "type": "string" }, "tone": { "type": "string" } }));
        flow.set("vars", serde_json::json!({ "tone": "low" }));
        flow.add_step(Step::new("say").set("input", "{{ vars.word }}, {{ vars.tone }}")).unwrap();
        let heard = |ctx: WorkflowContext| async move { Ok(ctx.get("word") == Some("hey".into())) };
        flow.add_step(Step::new("heard").condition(Condition::closure("heard", heard))).unwrap();
        let text = |key: &str, text: &str| (key.to_owned(), InputText::Text(text.to_owned()));
        let inputs = vec![text("word", "hey"), text("tone", "high")];
        let result = flow.run_with(RunOptions { inputs, ..RunOptions::default() }).await.unwrap();
        assert_eq!(&*result.step("say").unwrap().content, "[hey, low]");
        assert_eq!(result.step("heard").unwrap().status, StepStatus::Completed);
    });
}

#[test]
fn a_run_and_a_stream_of_a_workflow_take_all_that_runs_take() {
    runtime().block_on(async {
        let mut flow = scripted(ECHO).dag(&WorkflowConfig::new("w"));
        flow.set("inputs", serde_json::json!({ "word": { "type": "string" } }));
        flow.add_step(Step::new("say").set("input", "{{ inputs.word }}!")).unwrap();
        let options = || RunOptions {
            inputs: vec![("word".to_owned(), InputText::Text("hey".to_owned()))],
            session: Some("anna".to_owned()),
            ..RunOptions::default()
        };
        let result = flow.run_with(options()).await.unwrap();
        assert_eq!((result.final_output().as_str(), result.session.as_deref()), ("[hey!]", Some("anna")));
        let mut stream = flow.run_stream_with(options(), StreamOptions::default()).unwrap();
        while stream.next().await.is_some_and(|chunk| chunk.kind != ChunkKind::Done) {}
        assert_eq!(stream.wait().await.unwrap().final_output(), "[hey!]");
    });
}
