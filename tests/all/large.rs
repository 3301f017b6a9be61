//! Outputs near the bound of the journal: large values are no part of its commits, what fits in several of these is kept, and a
//! record that no commit can hold ends the run, in the journal too.

use cofferdam::core::event::{Body, RunStatus, StepOutput};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{AgentName, Alias, LocalName};
use cofferdam::core::policy::Grants;
use cofferdam::core::port::{
    Agent, AgentContext, AgentFailure, AgentInput, AgentOutput, BoxFuture, Effects, JournalError, RecordBody,
    RunFilter, ToolContext, ToolDefinition, ToolOutput,
};
use cofferdam::{Error, Orchestrator, RunOptions, RunResult, ServicePlugin, Tool, Workflow};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

const MIB: usize = 1024 * 1024;

/// Answers with a text.
struct Big(Vec<ToolDefinition>, String);

impl Big {
    fn new(text: String) -> Self {
        let definition = ToolDefinition {
            name: LocalName::parse("big").unwrap(),
            title: None,
            description: "Answers at length.".into(),
            input_schema: Arc::new(json!({ "type": "object" })),
            output_schema: None,
            effects: Effects { read_only: true, ..Effects::default() },
            examples: Vec::new(),
        };
        Self(vec![definition], text)
    }
}

impl Tool for Big {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.0
    }

    fn call<'a>(&'a self, _: ToolContext, _: &'a LocalName, _: Arc<Value>) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        let output = ToolOutput { result: Arc::new(Value::Null), content: Some(self.1.as_str().into()) };
        Box::pin(std::future::ready(Ok(output)))
    }
}

/// Tells so many bytes of its work besides, in small pieces, after it has warned in so many bytes.
#[derive(Clone, Copy, Default)]
struct Talkative {
    told: usize,
    warned: usize,
}

impl Agent for Talkative {
    fn name(&self) -> &'static str {
        "talkative"
    }

    fn run(&self, ctx: AgentContext, _: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        for _ in 0..self.warned / MIB {
            ctx.events.observe(Body::Warning { code: "long".to_owned(), message: "z".repeat(MIB) });
        }
        let piece = "y".repeat(1_024);
        let pieces = (0..self.told / 1_024).map(|number| (number.to_string(), Value::from(piece.as_str())));
        let output =
            StepOutput { content: "done".into(), metadata: Arc::new(pieces.collect()), ..StepOutput::default() };
        Box::pin(std::future::ready(Ok(AgentOutput { output, ..AgentOutput::default() })))
    }
}

fn orchestrator(folder: &Path, text: String, agent: Talkative) -> Orchestrator {
    let mount = json!({ "from": folder, "at": "/journal", "read": true, "write": true });
    let plugin = ServicePlugin {
        grants: Grants::parse(&json!({ "fs": { "also": [mount] } })).unwrap(),
        ..ServicePlugin::new(Alias::parse("journal").unwrap(), "builtin:dir-journal", folder)
    };
    Orchestrator::builder()
        .storage_plugin(plugin)
        .tool(Big::new(text))
        .agent(AgentName::parse("talkative").unwrap(), agent)
        .build()
        .unwrap()
}

async fn run(orchestrator: &Orchestrator) -> Result<RunResult, Error> {
    let document = "
name: w
agents: { talkative: { description: Tells much. } }
steps:
  - { id: a, tool: big, args: {} }
  - { id: b, tool: big, args: {} }
  - { id: c, agent: talkative, instructions: Tell. }
";
    let workflow = Workflow::parse(document, ".").unwrap();
    orchestrator.run_flow(&workflow, RunOptions::default()).await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// How the only run is listed, and the kinds of its records.
async fn kept(orchestrator: &Orchestrator) -> (String, Vec<Body>) {
    let journal = orchestrator.runs();
    let row = journal.list(RunFilter::default()).await.unwrap().rows.remove(0);
    let (mut bodies, mut after) = (Vec::new(), 0);
    while after < row.head {
        let page = journal.read(&row.run_id, after, 1_000).await.unwrap();
        after += page.records.len() as u64;
        bodies.extend(page.records.into_iter().filter_map(|record| match record.body {
            RecordBody::Event(event) => Some(event.body.clone()),
            RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
        }));
    }
    (row.index.status, bodies)
}

#[test]
fn outputs_may_be_more_than_a_storage_plugin_takes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let orchestrator = orchestrator(folder.path(), "x".repeat(9 * MIB), Talkative::default());
        // The end of the last step and that of the run, with both outputs, are recorded at once: 27 MiB.
        let result = run(&orchestrator).await.unwrap();
        assert_eq!(result.status, RunStatus::Completed);
        let (status, bodies) = kept(&orchestrator).await;
        assert_eq!(status, "completed");
        let Body::RunFinished { output, .. } = bodies.last().unwrap() else { panic!("it has no end") };
        assert!(output.to_string().len() > 18 * MIB, "both outputs");
        orchestrator.close().await;
    });
}

#[test]
fn what_is_recorded_at_once_may_be_more_than_a_storage_plugin_takes_at_once() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        // All but the first of them are recorded at once.
        let agent = Talkative { warned: 40 * MIB, ..Talkative::default() };
        let orchestrator = orchestrator(folder.path(), "x".to_owned(), agent);
        let result = run(&orchestrator).await.unwrap();
        assert_eq!(result.status, RunStatus::Completed);
        let (status, bodies) = kept(&orchestrator).await;
        assert_eq!((status.as_str(), bodies.last().unwrap().kind()), ("completed", "run_finished"));
        assert_eq!(bodies.iter().filter(|body| body.kind() == "warning").count(), 40);
        orchestrator.close().await;
    });
}

#[test]
fn a_record_that_no_commit_can_hold_ends_the_run_in_the_journal_too() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let orchestrator =
            orchestrator(folder.path(), "x".to_owned(), Talkative { told: 17 * MIB, ..Talkative::default() });
        let error = run(&orchestrator).await.unwrap_err();
        let Error::Journal(JournalError::TooLarge(why)) = &error else { panic!("{error}") };
        assert!(why.contains("`step_finished`") && why.contains("takes 16777216 at once"), "{why}");
        let (status, bodies) = kept(&orchestrator).await;
        assert_eq!(status, "failed");
        let Body::RunFinished { status, error, .. } = bodies.last().unwrap() else { panic!("it has no end") };
        let fault = error.as_ref().unwrap();
        assert_eq!((*status, &*fault.code), (RunStatus::Failed, "record_too_large"));
        assert!(fault.hint.as_ref().is_some_and(|hint| hint.contains("out:NAME")));
        orchestrator.close().await;
    });
}
