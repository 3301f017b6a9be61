//! The life of an orchestrator: built once, it runs workflows for as long as the program lives; closed, it runs nothing more.
//! Agents of a run write to each other through a coordinator, and a goal becomes a plan.
//!
//! `cargo run --example orchestrator_life` needs no network and no key: the answers come from a script.

use cofferdam::core::event::RunStatus;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::RunId;
use cofferdam::core::port::{Model, Models, RunFilter};
use cofferdam::llm::Scripted;
use cofferdam::store::Memory;
use cofferdam::{
    AgentConfig, Coordinator, Error, ForkOptions, Orchestrator, ResumeOptions, RunOptions, Step, StreamOptions,
    Workflow, WorkflowConfig,
};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

const DOCUMENT: &str = "
name: letter
agents: { writer: { description: Writes. } }
steps:
  - { id: draft, agent: writer, instructions: Write a letter. }
  - { id: check, agent: writer, instructions: Check the letter., dependsOn: [draft] }
";

const SCRIPT: &str = r#"
answers:
  - { step: "@coordinator", contains: "All steps have ended", times: 1, toolCalls: [{ tool: finalize, args: { summary: The letter is written and checked. } }] }
  - { step: "@coordinator", text: ok }
  - { step: agent, contains: "The goal:", text: "```yaml\nname: plan\nsteps: [{ id: only, instructions: Think of a word. }]\n```" }
  - { step: draft, text: Dear reader, delay: 20ms }
  - { step: check, text: It is well written. }
  - { step: only, text: harbour }
  - { text: "[{{prompt}}]" }
"#;

/// A model under a name that no settings know.
fn resolver(name: &str) -> Option<Arc<dyn Model>> {
    (name == "house/parrot").then(|| Arc::new(Scripted::answering("so they say")) as Arc<dyn Model>)
}

/// Finds nothing but the scripted model.
struct Script(Arc<Scripted>);

impl Models for Script {
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
        match name {
            "script" => Ok(Arc::clone(&self.0) as _),
            other => Err(Fault::user("unknown_model", format!("there is no model `{other}`"))),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Box::pin(run(&mut std::io::stdout())).await
}

pub(crate) async fn run(out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    // Building starts nothing: no thread, file, socket or database.
    let orchestrator = Orchestrator::builder()
        .models(Arc::new(Script(Arc::new(Scripted::parse(SCRIPT)?))))
        .default_model("script")
        .model_resolver(resolver)
        .storage(Arc::new(Memory::default()))
        .coordinator(Coordinator::default())
        .build()?;
    let letter = Workflow::parse(DOCUMENT, ".")?;

    let result = orchestrator.run_flow(&letter, RunOptions::default()).await?;
    writeln!(out, "run: {}, {}", result.status.as_str(), result.output)?;
    writeln!(out, "summary: {}", result.summary.as_deref().unwrap_or_default())?;

    // The same again, as a stream; dropping a stream cancels its run, and the next run is like the first.
    let stream = orchestrator.run_stream(&letter, RunOptions::default(), StreamOptions::default());
    drop(stream);
    let id = RunId::parse("kept")?;
    let options =
        RunOptions { run_id: Some(id.clone()), timeout: Some(Duration::from_millis(1)), ..RunOptions::default() };
    let late = orchestrator.run_flow(&letter, options).await?;
    writeln!(out, "in no time: {}", late.status.as_str())?;
    let again = orchestrator.resume_flow(&id, None, ResumeOptions::default()).await?;
    writeln!(out, "resumed: {}, {}", again.status.as_str(), again.output)?;

    let agent = orchestrator.run_agent(&AgentConfig::new("helper"), "Say it.", RunOptions::default()).await?;
    writeln!(out, "agent: {}", agent.content)?;
    let parrot = RunOptions { model: Some("house/parrot".to_owned()), ..RunOptions::default() };
    let agent = orchestrator.run_agent(&AgentConfig::new("helper"), "Say it.", parrot).await?;
    writeln!(out, "agent with a model of our own: {}", agent.content)?;
    let plan = orchestrator.run_goal("Find a word.", RunOptions::default()).await?;
    writeln!(out, "goal: {}", plan.output)?;

    let rows = orchestrator.runs().list(RunFilter::default()).await?.rows;
    let completed = rows.iter().filter(|row| row.index.status == RunStatus::Completed.as_str()).count();
    writeln!(out, "recorded as completed: {completed}")?;

    Box::pin(close(&orchestrator, &letter, &id, out)).await
}

/// Closes it: whatever is asked of it from then on is refused.
async fn close(
    orchestrator: &Orchestrator,
    letter: &Workflow,
    id: &RunId,
    out: &mut impl Write,
) -> Result<(), Box<dyn std::error::Error>> {
    // Made before, and of no use after: a run that goes another way from one step on, a plan, a workflow built in code.
    let from_check = || ForkOptions { from: vec!["check".into()], ..ForkOptions::default() };
    let branch = orchestrator.branch(id, None, &from_check()).await?;
    let plan = orchestrator.plan_goal("Find a word.", &RunOptions::default()).await?;
    let mut flow = orchestrator.dag(&WorkflowConfig::new("built"));
    flow.add_step(Step::new("say").instructions("Say it."))?;
    let helper = AgentConfig::new("helper");

    let first = orchestrator.close().await;
    let second = orchestrator.close().await;
    writeln!(out, "closed twice: {}", first.still_running.is_empty() && second.still_running.is_empty())?;
    let closed = [
        orchestrator.run_flow(letter, RunOptions::default()).await.err(),
        orchestrator.run_stream(letter, RunOptions::default(), StreamOptions::default()).wait().await.err(),
        orchestrator.resume_flow(id, None, ResumeOptions::default()).await.err(),
        orchestrator.fork(id, from_check()).await.err(),
        orchestrator.branch(id, None, &from_check()).await.err(),
        orchestrator.run_branch(branch, ResumeOptions::default()).await.err(),
        orchestrator.replay(id).await.err(),
        orchestrator.run_agent(&helper, "x", RunOptions::default()).await.err(),
        orchestrator.run_agent_async(&helper, "x", RunOptions::default()).err(),
        orchestrator.run_goal("x", RunOptions::default()).await.err(),
        orchestrator.plan_goal("x", &RunOptions::default()).await.err(),
        orchestrator.run_plan("x", &plan, RunOptions::default()).await.err(),
        flow.run("x").await.err(),
        flow.run_stream("x", StreamOptions::default())?.wait().await.err(),
    ];
    let shut = closed.iter().filter(|error| matches!(error, Some(Error::Closed))).count();
    writeln!(out, "closed: {shut} of {} ways in", closed.len())?;
    Ok(())
}
