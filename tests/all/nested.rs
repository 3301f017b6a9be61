//! A workflow as an agent of another one: what it gives and tells, how deep it may go, and that it ends with its caller.

use crate::counting::Counting;
use crate::support::{TestRuntime, close};
use cofferdam::core::event::{Body, RunStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::AgentName;
use cofferdam::core::port::{
    Ack, AgentContext, AgentFailure, AgentInput, AgentOutput, Batch, BoxFuture, Models, Pressure, RecordBody,
    RunFilter, Want,
};
use cofferdam::llm::Scripted;
use cofferdam::{
    Agent, AgentRef, ChunkKind, Error, Flow, InputText, Model, Orchestrator, RunOptions, RunResult, Sink, Step,
    StreamOptions, WorkflowAgent, WorkflowConfig,
};
use serde_json::json;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

fn runtime() -> TestRuntime {
    TestRuntime::quick()
}

fn scripted(script: &str) -> Orchestrator {
    Orchestrator::builder().model(Scripted::parse(script).unwrap()).build().unwrap()
}

const ECHO: &str = "chunk: 0\ndefault: { text: '[{{prompt}}]', usage: { input: 2, output: 3 } }";

/// Two steps, the second after the first.
fn inner(orchestrator: &Orchestrator) -> Flow {
    let mut inner = orchestrator.dag(&WorkflowConfig::new("inner"));
    inner.add_step(Step::new("gather")).unwrap();
    inner.add_step(Step::new("tell").depends_on(["gather"])).unwrap();
    inner
}

fn outer(orchestrator: &Orchestrator, agent: impl Into<AgentRef>) -> Flow {
    let mut outer = orchestrator.dag(&WorkflowConfig::new("main"));
    outer.add_step(Step::new("analyze").agent(agent)).unwrap();
    outer
}

#[test]
fn a_workflow_as_an_agent_gives_its_output_and_tells_what_it_did() {
    runtime().block_on(async {
        let orchestrator = scripted(ECHO);
        let agent = inner(&orchestrator).into_agent("analysis").unwrap();
        let result = outer(&orchestrator, agent.clone()).run("hello").await.unwrap();
        let alone = inner(&orchestrator).run("hello").await.unwrap();
        assert_eq!(result.final_output(), alone.final_output());
        assert_eq!(result.total_tokens(), 10);
        let metadata = &result.step("analyze").unwrap().metadata;
        let wanted = serde_json::json!({
            "type": "subworkflow", "workflow_name": "analysis", "workflow_path": "main/analysis", "depth": 1,
            "step_count": 2, "execution_path": ["gather", "tell"], "execution_count": 1,
        });
        for (key, value) in wanted.as_object().unwrap() {
            assert_eq!(&metadata[key], value, "{key}");
        }
        let recorded = metadata["workflow_run"].as_str().unwrap();
        let runs = orchestrator.runs().list(RunFilter::default()).await.unwrap().rows;
        assert!(runs.iter().any(|run| run.run_id.as_str() == recorded && run.index.workflow == "inner"));
    });
}

#[test]
fn a_workflow_counts_how_often_it_worked() {
    runtime().block_on(async {
        let orchestrator = scripted("default: { delay: 1s, text: done }");
        let agent = inner(&orchestrator).into_agent("analysis").unwrap();
        let outer = outer(&orchestrator, agent.clone());
        assert_eq!(agent.stats().average_duration(), Duration::ZERO);
        for _ in 0..3 {
            assert!(outer.run("go").await.unwrap().success());
        }
        let stats = agent.stats();
        assert_eq!(stats.runs, 3);
        assert!(stats.total_duration >= Duration::from_secs(6));
        assert_eq!(stats.average_duration(), stats.total_duration / 3);
    });
}

/// Workflows inside one another, so many deep.
fn nest(orchestrator: &Orchestrator, depth: usize) -> Flow {
    let mut flow = inner(orchestrator);
    for level in (1..=depth).rev() {
        let agent = flow.into_agent(&format!("level{level}")).unwrap();
        flow = orchestrator.dag(&WorkflowConfig::new("main"));
        flow.add_step(Step::new("deeper").agent(agent)).unwrap();
    }
    flow
}

#[test]
fn workflows_nest_as_deep_as_the_orchestrator_allows() {
    runtime().block_on(async {
        let build =
            |depth| Orchestrator::builder().model(Scripted::parse(ECHO).unwrap()).max_depth(depth).build().unwrap();
        assert!(nest(&build(3), 3).run("x").await.unwrap().success());
        let result = nest(&build(2), 3).run("x").await.unwrap();
        let fault = result.error.unwrap().fault;
        assert_eq!(fault.code, "workflow_depth");
        let wanted = "maximum workflow nesting depth of 2 is exceeded: main/level1/level2/level3";
        assert!(fault.message.contains(wanted), "{fault}");
        assert!(nest(&scripted(ECHO), 10).run("x").await.unwrap().success());
        assert!(!nest(&scripted(ECHO), 11).run("x").await.unwrap().success());
    });
}

/// An agent that is another one, known later.
struct Later(Arc<OnceLock<WorkflowAgent>>);

impl Agent for Later {
    fn name(&self) -> &'static str {
        "later"
    }

    fn run(&self, ctx: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        self.0.get().unwrap().run(ctx, input)
    }
}

#[test]
fn a_workflow_cannot_run_inside_itself() {
    runtime().block_on(async {
        let known = Arc::default();
        let orchestrator = Orchestrator::builder()
            .agent(AgentName::parse("later").unwrap(), Later(Arc::clone(&known)))
            .build()
            .unwrap();
        let flow = outer(&orchestrator, "later");
        known.set(flow.clone().into_agent("itself").unwrap()).ok().unwrap();
        let fault = flow.run("x").await.unwrap().error.unwrap().fault;
        assert_eq!(fault.code, "workflow_recursion");
        assert!(fault.message.contains("main/itself"), "{fault}");
    });
}

#[test]
fn the_time_of_a_step_ends_the_workflow_that_works_for_it() {
    runtime().block_on(async {
        let orchestrator = scripted("default: { delay: 1h, text: late }");
        let agent = inner(&orchestrator).into_agent("analysis").unwrap();
        let mut outer = orchestrator.dag(&WorkflowConfig::new("main"));
        outer.add_step(Step::new("analyze").agent(agent).timeout(Duration::from_secs(3))).unwrap();
        let began = tokio::time::Instant::now();
        let result = outer.run("x").await.unwrap();
        assert_eq!(result.error.unwrap().fault.code, "timeout");
        assert_eq!(began.elapsed().as_secs(), 3);
        close(&orchestrator).await;
        let runs = orchestrator.runs().list(RunFilter::default()).await.unwrap().rows;
        assert!(runs.len() == 2 && runs.iter().all(|run| run.index.status != "running"), "{runs:?}");
    });
}

#[test]
fn cancelling_a_run_cancels_the_workflow_inside() {
    runtime().block_on(async {
        let orchestrator = scripted("default: { delay: 1h, text: late }");
        let agent = inner(&orchestrator).into_agent("analysis").unwrap();
        let mut stream = outer(&orchestrator, agent).run_stream("x", StreamOptions::default()).unwrap();
        // The inner step has begun.
        while stream.next().await.expect("it begins").metadata.path.as_str() != "analyze.gather" {}
        stream.cancel();
        assert_eq!(stream.wait().await.unwrap().status, RunStatus::Cancelled);
        close(&orchestrator).await;
        let runs = orchestrator.runs().list(RunFilter::default()).await.unwrap().rows;
        assert!(runs.iter().all(|run| run.index.status == "cancelled"), "{runs:?}");
    });
}

#[test]
fn a_workflow_that_fails_fails_its_step_with_the_reason() {
    runtime().block_on(async {
        let orchestrator = scripted("answers: [{ step: tell, error: { status: 401 } }]\ndefault: { text: fine }");
        let agent = inner(&orchestrator).into_agent("analysis").unwrap();
        let result = outer(&orchestrator, agent).run("x").await.unwrap();
        let error = result.error.clone().unwrap();
        assert_eq!((error.step.as_str(), error.fault.code.as_ref()), ("analyze", "model_auth"));
        assert!(error.fault.message.contains("workflow `analysis`, step `tell`"), "{}", error.fault);
        assert_eq!(result.step("analyze").unwrap().metadata["execution_path"], serde_json::json!(["gather", "tell"]));
    });
}

#[test]
fn a_stream_shows_the_steps_inside_once() {
    runtime().block_on(async {
        let orchestrator = scripted("chunk: 3\ndefault: { text: 'said once' }");
        let agent = inner(&orchestrator).into_agent("analysis").unwrap();
        let mut stream = outer(&orchestrator, agent).run_stream("x", StreamOptions::default()).unwrap();
        let (mut inside, mut text, mut kinds) = (Vec::new(), String::new(), Vec::new());
        while let Some(chunk) = stream.next().await {
            text += chunk.text().unwrap_or_default();
            if chunk.metadata.workflow.is_some() {
                assert_eq!(chunk.metadata.workflow.as_deref(), Some("main/analysis"));
                assert_eq!(chunk.metadata.total_steps, 2);
                inside.push(chunk.metadata.path.to_string());
            }
            kinds.push(chunk.kind);
        }
        inside.dedup();
        assert_eq!(inside, ["analyze", "analyze.gather", "analyze.tell"]);
        assert_eq!(text, "said oncesaid once");
        assert_eq!(kinds.iter().filter(|kind| **kind == ChunkKind::Done).count(), 1);
        assert_eq!(kinds.iter().filter(|kind| **kind == ChunkKind::AgentComplete).count(), 3);
    });
}

#[test]
fn a_stream_says_once_what_steps_inside_gave_whole() {
    runtime().block_on(async {
        let (orchestrator, log) = (scripted(ECHO), Arc::default());
        let mut inner = orchestrator.sequential(&WorkflowConfig::new("inner"));
        inner.add_step(Step::new("only").agent(AgentRef::new(Counting::new("own", &log)))).unwrap();
        let agent = inner.into_agent("analysis").unwrap();
        let mut stream = outer(&orchestrator, agent).run_stream("x", StreamOptions::default()).unwrap();
        let mut text = String::new();
        while let Some(chunk) = stream.next().await {
            text += chunk.text().unwrap_or_default();
        }
        assert_eq!(text, "own(x)");
    });
}

#[test]
fn clones_of_a_workflow_are_independent_of_it() {
    runtime().block_on(async {
        let orchestrator = scripted(ECHO);
        let mut original = inner(&orchestrator);
        let (clone, agent) = (original.clone(), original.clone().into_agent("before").unwrap());
        original.add_step(Step::new("more").depends_on(["tell"])).unwrap();
        assert_eq!(original.run("x").await.unwrap().steps.len(), 3);
        assert_eq!(clone.run("x").await.unwrap().steps.len(), 2);
        assert_eq!(agent.workflow().document().scope.steps.len(), 2);
    });
}

#[test]
fn the_name_of_a_workflow_as_an_agent_is_a_name() {
    let orchestrator = scripted(ECHO);
    assert!(matches!(inner(&orchestrator).into_agent("Not A Name"), Err(Error::Agent { .. })));
}

/// Models that say who answers: `alpha` and `beta`.
struct ByName;

impl Models for ByName {
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
        let script = format!("chunk: 0\ndefault: {{ text: '{name} says [{{{{prompt}}}}]' }}");
        Ok(Arc::new(Scripted::parse(&script).unwrap().named(name)))
    }
}

fn by_name() -> Orchestrator {
    Orchestrator::builder().models(Arc::new(ByName)).default_model("alpha").build().unwrap()
}

#[test]
fn the_model_that_is_asked_for_reaches_the_workflow_inside() {
    runtime().block_on(async {
        let orchestrator = by_name();
        let agent = inner(&orchestrator).into_agent("analysis").unwrap();
        let flow = outer(&orchestrator, agent.clone());
        let says = |result: &RunResult, name: &str| result.final_output().matches(&format!("{name} says")).count();
        assert_eq!(says(&flow.run("x").await.unwrap(), "alpha"), 2);
        let options = || RunOptions { input: Some("x".to_owned()), ..RunOptions::default() };
        let overridden = RunOptions { model: Some("beta".to_owned()), ..options() };
        assert_eq!(says(&flow.run_with(overridden).await.unwrap(), "beta"), 2);
        let mut of_step = orchestrator.dag(&WorkflowConfig::new("main"));
        of_step.add_step(Step::new("analyze").agent(agent).set("model", "gamma")).unwrap();
        assert_eq!(says(&of_step.run_with(options()).await.unwrap(), "gamma"), 2);
    });
}

/// A workflow that asks before it goes on, in another one that does.
fn asking(orchestrator: &Orchestrator) -> Flow {
    let mut inner = orchestrator.dag(&WorkflowConfig::new("inner"));
    inner.add_step(Step::new("gather")).unwrap();
    inner.add_step(Step::new("approve").depends_on(["gather"]).set("ask", json!({ "prompt": "Go on?" }))).unwrap();
    let mut outer = orchestrator.dag(&WorkflowConfig::new("main"));
    outer.add_step(Step::new("analyze").agent(inner.into_agent("analysis").unwrap())).unwrap();
    outer.add_step(Step::new("last").depends_on(["analyze"]).set("ask", json!({ "prompt": "Done?" }))).unwrap();
    outer
}

#[test]
fn answers_find_the_questions_of_the_workflow_inside() {
    runtime().block_on(async {
        let orchestrator = scripted(ECHO);
        let run = async |answers: &[(&str, &str)]| {
            let answers = answers.iter().map(|(key, text)| ((*key).to_owned(), InputText::Text((*text).to_owned())));
            let options =
                RunOptions { input: Some("x".to_owned()), answers: answers.collect(), ..RunOptions::default() };
            asking(&orchestrator).run_with(options).await
        };
        for key in ["approve", "analyze.approve"] {
            let result = run(&[(key, "certainly"), ("last", "yes")]).await.unwrap();
            assert!(result.success(), "{:?}", result.error);
            assert_eq!(&*result.step("analyze").unwrap().content, "certainly", "{key}");
            assert!(result.warnings.is_empty(), "{:?}", result.warnings);
        }
        for (key, code) in [("aprove", "unknown_answer"), ("analyze.last", "unknown_answer")] {
            let error = run(&[(key, "x")]).await.unwrap_err();
            assert!(matches!(&error, Error::Refused(faults) if faults[0].code == code), "{error}");
        }
    });
}

/// Keeps which run each event is of.
#[derive(Default)]
struct Seen(Mutex<Vec<(String, String)>>);

impl Sink for Seen {
    fn want(&self) -> Want {
        Want::new(vec!["step_finished".into()], Pressure::Wait)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        let seen = batch.events.iter().map(|event| (event.run_id.to_string(), event.path.to_string()));
        self.0.lock().unwrap().extend(seen);
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[test]
fn the_session_and_the_sinks_of_a_run_are_those_of_the_runs_inside() {
    runtime().block_on(async {
        let shared = Arc::new(Seen::default());
        let model = Scripted::parse(ECHO).unwrap();
        let orchestrator =
            Orchestrator::builder().model(model).sink(Arc::clone(&shared) as Arc<dyn Sink>).build().unwrap();
        let flow = outer(&orchestrator, inner(&orchestrator).into_agent("analysis").unwrap());
        let own = Arc::new(Seen::default());
        let sinks: [Arc<dyn Sink>; 2] = [Arc::clone(&own) as _, Arc::clone(&shared) as _];
        let options = RunOptions {
            input: Some("x".to_owned()),
            session: Some("tuesday".to_owned()),
            sinks: sinks.to_vec(),
            ..RunOptions::default()
        };
        let result = flow.run_with(options).await.unwrap();
        let inside = result.step("analyze").unwrap().metadata["workflow_run"].as_str().unwrap().to_owned();
        let wanted = [(&inside, "gather"), (&inside, "tell"), (&result.run_id.to_string(), "analyze")];
        let wanted = wanted.map(|(run, path)| (run.clone(), path.to_owned()));
        assert_eq!(*own.0.lock().unwrap(), wanted);
        assert_eq!(*shared.0.lock().unwrap(), wanted, "one that is there already is not there twice");
        let page = orchestrator.runs().read(&inside.as_str().parse().unwrap(), 0, 1).await.unwrap();
        let RecordBody::Event(first) = &page.records[0].body else { panic!("an event begins a run") };
        let Body::RunStarted { settings, .. } = &first.body else { panic!("{first:?}") };
        assert_eq!(settings["session"], "tuesday");
    });
}

#[test]
fn a_run_with_sensitive_steps_keeps_the_runs_inside_from_every_sink() {
    runtime().block_on(async {
        let everywhere = Arc::new(Seen::default());
        let builder = Orchestrator::builder().model(Scripted::parse(ECHO).unwrap());
        let orchestrator = builder.sink(Arc::clone(&everywhere) as Arc<dyn Sink>).build().unwrap();
        let mut flow = outer(&orchestrator, inner(&orchestrator).into_agent("analysis").unwrap());
        flow.add_step(Step::new("secret").set("sensitive", true)).unwrap();
        let own = Arc::new(Seen::default());
        let options = RunOptions {
            input: Some("x".to_owned()),
            sinks: vec![Arc::clone(&own) as Arc<dyn Sink>],
            ..RunOptions::default()
        };
        let result = flow.run_with(options).await.unwrap();
        for sink in [own, everywhere] {
            let seen = sink.0.lock().unwrap();
            assert_eq!(seen.len(), 2);
            assert!(seen.iter().all(|(run, _)| *run == result.run_id.to_string()), "{seen:?}");
        }
    });
}
