//! What an embedder plugs in takes part: tools, agents, sinks, journals, models, limits. Each of these tests fails when
//! the builder's call is ignored.

use crate::support::{TestRuntime, close};
use cofferdam::core::event::StepOutput;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{AgentName, LocalName, RunId};
use cofferdam::core::port::{
    Ack, AgentContext, AgentFailure, AgentInput, AgentOutput, Batch, BoxFuture, Effects, Pressure, RunFilter,
    ToolContext, ToolDefinition, ToolOutput, Want,
};
use cofferdam::llm::Scripted;
use cofferdam::store::Memory;
use cofferdam::{Agent, Builder, Journal as _, Orchestrator, RunOptions, RunResult, Sink, Tool, Workflow};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Barrier;

const ONE_STEP: &str = "name: one\nsteps: [{ id: a, instructions: Speak. }]";

fn run_with(builder: Builder, document: &str, options: RunOptions) -> RunResult {
    TestRuntime::threads(2).block_on(async {
        let orchestrator = builder.build().unwrap();
        let workflow = Workflow::parse(document, ".").unwrap();
        let result = orchestrator.run_flow(&workflow, options).await.unwrap();
        close(&orchestrator).await;
        result
    })
}

/// A tool that doubles a number, and counts how many of its calls are under way.
struct Double {
    definitions: Vec<ToolDefinition>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    /// Where each call waits until so many are there.
    meeting: Barrier,
}

impl Double {
    fn new(most: &Arc<AtomicUsize>, at_once: usize) -> Self {
        let definition = ToolDefinition {
            name: LocalName::parse("double").unwrap(),
            title: None,
            description: "Doubles a number.".into(),
            input_schema: Arc::new(
                json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } }),
            ),
            output_schema: None,
            effects: Effects { read_only: true, ..Effects::default() },
            examples: Vec::new(),
        };
        let meeting = Barrier::new(at_once);
        Self { definitions: vec![definition], under_way: Arc::default(), most: Arc::clone(most), meeting }
    }
}

impl Tool for Double {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        _: ToolContext,
        _: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async move {
            let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            self.meeting.wait().await;
            // Those that may not come in beside it get the chance to.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            let number = args["n"].as_i64().unwrap();
            Ok(ToolOutput { result: Arc::new(json!(number * 2)), content: None })
        })
    }
}

#[test]
fn a_tool_of_the_embedder_is_a_step() {
    let builder = Orchestrator::builder().tool(Double::new(&Arc::default(), 1));
    let result = run_with(builder, "name: w\nsteps: [{ id: a, tool: double, args: { n: 21 } }]", RunOptions::default());
    assert_eq!(result.output, json!(42));
}

#[test]
fn a_tool_of_the_embedder_is_offered_to_models() {
    let script = "answers: [{ turn: 1, toolCalls: [{ tool: double, args: { n: 4 } }] }]\ndefault: { text: done }";
    let most = Arc::default();
    let builder = Orchestrator::builder().tool(Double::new(&most, 1)).model(Scripted::parse(script).unwrap());
    assert_eq!(run_with(builder, ONE_STEP, RunOptions::default()).final_output(), "done");
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn the_smaller_bound_on_attempts_holds() {
    let document = "name: w\noptions: { maxConcurrency: 50, timeout: 20s }\nsteps: [{ id: a, loop: { forEach: [1,2,3,4,5,6,7,8,9] }, tool: double, args: { n: '{{ item }}' } }]";
    let most = Arc::default();
    let builder = Orchestrator::builder().tool(Double::new(&most, 3)).max_concurrency(3);
    assert!(run_with(builder, document, RunOptions::default()).success());
    assert_eq!(most.load(Ordering::SeqCst), 3, "at once");
}

/// An agent that needs no model.
struct Shouting;

impl Agent for Shouting {
    fn name(&self) -> &'static str {
        "shouting"
    }

    fn run(&self, _: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        let content = input.message.to_uppercase().into();
        let output = StepOutput { content, ..StepOutput::default() };
        Box::pin(async move { Ok(AgentOutput { output, ..AgentOutput::default() }) })
    }
}

#[test]
fn an_agent_of_the_embedder_wins_over_one_of_the_document() {
    let document =
        "name: w\nagents: { shouting: { description: Shouts. } }\nsteps: [{ id: a, agent: shouting, input: hello }]";
    let builder = Orchestrator::builder().agent(AgentName::parse("shouting").unwrap(), Shouting);
    assert_eq!(run_with(builder, document, RunOptions::default()).final_output(), "HELLO");
}

/// A sink that keeps kinds and positions.
#[derive(Default)]
struct Kept(Mutex<Vec<(u64, &'static str)>>);

impl Sink for Kept {
    fn want(&self) -> Want {
        Want::new(vec!["run_*".into(), "step_*".into()], Pressure::Wait)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        let seen = batch.events.iter().map(|event| (event.seq, event.body.kind()));
        self.0.lock().unwrap().extend(seen);
        Box::pin(async { Ok(Ack::All) })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { Ok(()) })
    }
}

#[test]
fn sinks_of_the_orchestrator_and_of_the_run_see_what_they_want_in_order() {
    let (always, once) = (Arc::new(Kept::default()), Arc::new(Kept::default()));
    let builder = Orchestrator::builder().model(Scripted::answering("hi")).sink(Arc::clone(&always) as Arc<dyn Sink>);
    let options = RunOptions { sinks: vec![Arc::clone(&once) as Arc<dyn Sink>], ..RunOptions::default() };
    run_with(builder, ONE_STEP, options);
    let seen = always.0.lock().unwrap();
    let kinds: Vec<&str> = seen.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(kinds, ["run_started", "step_ready", "step_started", "step_finished", "run_finished"]);
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(*seen, *once.0.lock().unwrap());
}

#[test]
fn a_run_has_the_id_that_it_is_given_and_is_kept_in_the_journal_that_it_is_given() {
    let journal = Arc::new(Memory::new());
    let builder = Orchestrator::builder().model(Scripted::answering("hi")).storage(Arc::clone(&journal) as _);
    let run_id = RunId::parse("run-of-this-test").unwrap();
    let options = RunOptions { run_id: Some(run_id.clone()), ..RunOptions::default() };
    assert_eq!(run_with(builder, ONE_STEP, options).run_id, run_id);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rows = runtime.block_on(journal.list(RunFilter::default())).unwrap().rows;
    assert_eq!((rows[0].run_id.as_str(), rows[0].index.status.as_str()), ("run-of-this-test", "completed"));
}

#[test]
fn a_run_has_the_time_that_it_is_given() {
    let builder = Orchestrator::builder().model(Scripted::parse("default: { delay: 1h, text: late }").unwrap());
    let options = RunOptions { timeout: Some(Duration::from_millis(50)), ..RunOptions::default() };
    let result = run_with(builder, ONE_STEP, options);
    let error = result.error.unwrap();
    assert_eq!((error.fault.code.as_ref(), error.step.as_str()), ("timeout", ""));
}

#[test]
fn the_model_of_a_run_beats_that_of_the_document() {
    let document = "name: w\nsteps: [{ id: a, model: openai/never-asked, instructions: Speak. }]";
    let builder = Orchestrator::builder().model(Scripted::answering("from the script"));
    let options = RunOptions { model: Some("scripted".into()), ..RunOptions::default() };
    assert_eq!(run_with(builder, document, options).final_output(), "from the script");
}

#[test]
fn what_a_step_writes_for_the_user_lies_in_the_project() {
    let folder = TempDir::new().unwrap();
    let project = folder.path().join(".cofferdam");
    let builder = Orchestrator::builder().project(&project).workdir(folder.path());
    let document = "name: w\nsteps: [{ id: a, tool: write, args: { path: 'out:a.txt', content: hi } }]";
    let result = run_with(builder, document, RunOptions::default());
    let written = project.join("runs").join(result.run_id.as_str()).join("out/a.txt");
    assert_eq!(std::fs::read_to_string(written).unwrap(), "hi");
    assert!(project.join("runs.db").is_file());
}

/// A tool that counts its calls in a variable of the run, and knows how the step before it ended.
struct Remember(Vec<ToolDefinition>);

impl Tool for Remember {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.0
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        _: &'a LocalName,
        _: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async move {
            let run = cofferdam::WorkflowContext::from(ctx.run);
            let count = run.get("count").and_then(|count| count.as_i64()).unwrap_or(0) + 1;
            run.set("count", count).await?;
            assert_eq!((run.run_id(), run.path()), (&ctx.run_id, &ctx.path));
            let before = run.step_result("first").await.map(|first| first.output.result.to_string());
            Ok(ToolOutput {
                result: Arc::new(json!({ "before": before, "version": run.workflow_id() })),
                content: None,
            })
        })
    }
}

#[test]
fn a_tool_of_the_embedder_knows_its_run() {
    let definition = ToolDefinition {
        name: LocalName::parse("remember").unwrap(),
        title: None,
        description: "Counts its calls.".into(),
        input_schema: Arc::new(json!({ "type": "object" })),
        output_schema: None,
        effects: Effects::default(),
        examples: Vec::new(),
    };
    let builder = Orchestrator::builder().tool(Remember(vec![definition]));
    let document = "name: w
vars: { count: 40 }
output: '{\"count\": vars.count, \"before\": steps.second.result.before, \"version\": steps.second.result.version}'
steps: [{ id: first, tool: remember }, { id: second, tool: remember, dependsOn: [first] }]";
    let result = run_with(builder, document, RunOptions::default());
    assert_eq!(result.output["count"], 42);
    assert_eq!(result.output["version"], json!(result.workflow_id));
    assert!(result.output["before"].as_str().unwrap().contains("version"));
}

/// An agent that says what it was asked for, and gives a number as its result.
struct Numbers;

impl Agent for Numbers {
    fn name(&self) -> &'static str {
        "numbers"
    }

    fn run(&self, ctx: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        let asked = json!({ "model": ctx.model.as_deref(), "schema": ctx.result_schema.is_some() });
        let result = Arc::new(input.message.trim().parse::<i64>().map_or(Value::Null, Value::from));
        let output = StepOutput { content: asked.to_string().into(), result, ..StepOutput::default() };
        let usage = cofferdam::core::message::Usage { input: 3, ..Default::default() };
        Box::pin(async move { Ok(AgentOutput { output, usage }) })
    }
}

#[test]
fn an_agent_of_the_embedder_is_told_the_model_and_its_result_must_fit_the_schema() {
    let run = |step: &str, model: Option<&str>| {
        let builder = Orchestrator::builder().agent(AgentName::parse("numbers").unwrap(), Numbers);
        let document = format!(
            "name: w\nagents: {{ numbers: {{ description: Counts., model: of/agent }} }}\nsteps: [{{ id: a, agent: numbers, {step} }}]"
        );
        run_with(builder, &document, RunOptions { model: model.map(str::to_owned), ..RunOptions::default() })
    };
    let asked = |result: &RunResult| serde_json::from_str::<Value>(&result.step("a").unwrap().content).unwrap();
    let schema = "resultSchema: { type: integer, minimum: 10 }";
    let fits = run(&format!("input: '12', {schema}"), None);
    assert!(fits.success(), "{:?}", fits.error);
    assert_eq!((&fits.output, asked(&fits)), (&json!(12), json!({ "model": "of/agent", "schema": true })));
    assert_eq!(asked(&run("input: '12', model: of/step", None))["model"], "of/step");
    assert_eq!(asked(&run("input: '12', model: of/step", Some("of/run")))["model"], "of/run");
    for (input, what) in [("7", "minimum"), ("words", "null")] {
        let result = run(&format!("input: '{input}', {schema}"), None);
        let fault = result.error.as_ref().unwrap().fault.clone();
        assert_eq!(fault.code, "no_result");
        let wanted = "the agent's result does not fit its schema";
        assert!(fault.message.contains(wanted) && fault.message.contains(what), "{fault}");
        assert_eq!(result.total_tokens(), 3, "what it spent counts");
    }
}
