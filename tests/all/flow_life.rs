//! The life of a workflow that is built in code: its agents are prepared once and cleaned up all, and it runs many times
//! at once.

use crate::counting::{Counting, runs, three};
use cofferdam::llm::Scripted;
use cofferdam::{AgentRef, ChunkKind, Error, Orchestrator, RunOptions, Step, StreamOptions, WorkflowConfig};
use std::sync::Arc;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
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
        let mut flow = orchestrator.dag(&WorkflowConfig::new("w"));
        flow.add_step(Step::new("a").agent(AgentRef::new(Counting::new("one", &log)))).unwrap();
        flow.run("x").await.unwrap();
        assert_eq!(*log.lock().unwrap(), ["one initialize", "one run", "one cleanup"]);
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
fn a_run_and_a_stream_of_a_workflow_take_all_that_runs_take() {
    runtime().block_on(async {
        let mut flow = scripted(ECHO).dag(&WorkflowConfig::new("w"));
        flow.set("inputs", serde_json::json!({ "word": { "type": "string" } }));
        flow.add_step(Step::new("say").set("input", "{{ inputs.word }}!")).unwrap();
        let options = || RunOptions {
            inputs: vec![("word".to_owned(), cofferdam::InputText::Text("hey".to_owned()))],
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
