//! A workflow engine of one's own: it takes the step first whose `cost` is the smallest. Agents, tools, permissions and
//! records stay what they are; dependencies hold.
//!
//! `cargo run --example workflow_engine` needs no network and no key: the answers come from a script.

use cofferdam::core::fault::Fault;
use cofferdam::core::port::BoxFuture;
use cofferdam::llm::Scripted;
use cofferdam::{
    EngineHandle, EngineRun, EngineStep, Orchestrator, RunOptions, Workflow, WorkflowConfig, WorkflowEngine,
};
use std::io::Write;

/// Makes an engine for each run.
struct CheapestFirst;

impl WorkflowEngine for CheapestFirst {
    fn prepare(&self, _: &WorkflowConfig, _: &[EngineStep]) -> Result<Box<dyn EngineRun>, Fault> {
        Ok(Box::new(Self))
    }
}

impl EngineRun for CheapestFirst {
    fn drive(self: Box<Self>, run: EngineHandle) -> BoxFuture<'static, Result<(), Fault>> {
        Box::pin(async move {
            while let Some(name) = run.ready().into_iter().min_by_key(|name| cost(&run, name)) {
                run.run_step(&name, None).await?;
            }
            Ok(())
        })
    }
}

fn cost(run: &EngineHandle, name: &str) -> u64 {
    let step = run.steps().iter().find(|step| step.name == name);
    step.and_then(|step| step.metadata.get("cost")).and_then(serde_json::Value::as_u64).unwrap_or(u64::MAX)
}

const DOCUMENT: &str = "
name: house
steps:
  - { id: roof, dependsOn: [walls], instructions: Build the roof., metadata: { cost: 1 } }
  - { id: walls, instructions: Build the walls., metadata: { cost: 9 } }
  - { id: garden, instructions: Plant the garden., metadata: { cost: 3 } }
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(&mut std::io::stdout()).await
}

pub(crate) async fn run(out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let model = Scripted::answering("done");
    let ours = Orchestrator::builder().model(Scripted::answering("done")).max_concurrency(1).build()?;
    let theirs = Orchestrator::builder().model(model).workflow_engine("default", CheapestFirst).build()?;
    let workflow = Workflow::parse(DOCUMENT, ".")?;
    for (name, orchestrator) in [("ours", ours), ("cheapest first", theirs)] {
        let result = orchestrator.run_flow(&workflow, RunOptions::default()).await?;
        let path: Vec<&str> = result.execution_path.iter().map(cofferdam::core::id::StepPath::as_str).collect();
        writeln!(out, "{name}: {}", path.join(", "))?;
        orchestrator.close().await;
    }
    Ok(())
}
