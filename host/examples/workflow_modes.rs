//! Four workflows that are built in code: one step after the other, by dependencies, a loop that an agent ends, and one with a
//! memory.
//!
//! `cargo run --example workflow_modes` needs no network and no key: the answers come from a script.

use cofferdam::llm::Scripted;
use cofferdam::store::MemoryRecall;
use cofferdam::{AgentConfig, Error, Orchestrator, Recall, RunOptions, Step, WorkflowConfig};
use std::io::Write;
use std::sync::Arc;

/// What the model answers. In the second iteration of the loop the critic sets the variable that ends it.
const ANSWERS: &str = r#"
chunk: 0
answers:
  - { step: gather, text: "Rust: memory safety without a garbage collector; fearless concurrency." }
  - { step: summarise, contains: "memory safety", text: "Rust is safe and concurrent." }
  - { step: fetch, text: "12 sales in March, 30 in April" }
  - { step: analyse, contains: "30 in April", text: "sales grew by 150 percent" }
  - { step: report, contains: "150 percent", text: "Report: sales grew by 150 percent." }
  - { step: "loop[0].write", text: "a first draft" }
  - { step: "loop[1].write", contains: "Be more precise.", text: "a second draft" }
  - step: "loop[1].criticise"
    turn: 1
    toolCalls: [{ tool: context_set, args: { key: loop_continue, value: false } }]
  - { step: "loop[0].criticise", text: "Be more precise." }
  - { step: "loop[1].criticise", text: "Good: a second draft." }
  - { step: note, text: "noted" }
  - { step: recall, contains: "The pump is reset with the red lever.", text: "Pull the red lever." }
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(&mut std::io::stdout()).await
}

pub(crate) async fn run(out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let orchestrator = Orchestrator::builder().model(Scripted::parse(ANSWERS)?).build()?;
    writeln!(out, "{}", one_after_the_other(&orchestrator).await?)?;
    writeln!(out, "{}", by_dependencies(&orchestrator).await?)?;
    writeln!(out, "{}", a_loop_that_an_agent_ends(&orchestrator).await?)?;
    writeln!(out, "{}", two_runs_with_one_memory(&orchestrator).await?)?;
    orchestrator.close().await;
    Ok(())
}

/// Each step works on what the one before it gave.
async fn one_after_the_other(orchestrator: &Orchestrator) -> Result<String, Error> {
    let mut flow = orchestrator.sequential(&WorkflowConfig::new("gather and summarise"));
    flow.add_step(Step::new("gather").agent(AgentConfig::new("gatherer").prompt("You gather facts.")))?;
    flow.add_step(Step::new("summarise").agent(AgentConfig::new("writer").prompt("You write one sentence.")))?;
    let result = flow.run("What is Rust good for?").await?;
    Ok(format!("sequential: {}", result.final_output()))
}

/// The report waits for both others, in whatever order they are declared.
async fn by_dependencies(orchestrator: &Orchestrator) -> Result<String, Error> {
    let mut flow = orchestrator.dag(&WorkflowConfig::new("fetch, analyse, report"));
    flow.add_step(Step::new("report").depends_on(["fetch", "analyse"]).instructions("Write the report."))?;
    flow.add_step(Step::new("fetch").instructions("Fetch the sales."))?;
    flow.add_step(Step::new("analyse").depends_on(["fetch"]).instructions("Analyse them."))?;
    let result = flow.run("").await?;
    let path: Vec<&str> = result.execution_path.iter().map(cofferdam::core::id::StepPath::as_str).collect();
    Ok(format!("dag: {} -> {}", path.join(", "), result.final_output()))
}

/// The critic decides: it sets `loop_continue` to false with the tool `context_set`, and the iteration is the last.
async fn a_loop_that_an_agent_ends(orchestrator: &Orchestrator) -> Result<String, Error> {
    let mut flow = orchestrator.looping(&WorkflowConfig { max_iterations: 5, ..WorkflowConfig::new("write well") });
    let critic = AgentConfig::new("critic").prompt("Set `loop_continue` to false when it is good.");
    flow.add_step(Step::new("write").instructions("Write a draft."))?;
    flow.add_step(Step::new("criticise").agent(critic.tools(["context_set"])).instructions("Criticise it."))?;
    let result = flow.run("A text about Rust.").await?;
    let iterations = result.loops.first().map_or(0, |ended| ended.iterations);
    Ok(format!("loop: {} after {iterations} iterations", result.final_output()))
}

/// What the agent of one run was told is found by the next run of the same session.
async fn two_runs_with_one_memory(orchestrator: &Orchestrator) -> Result<String, Error> {
    let memory: Arc<dyn Recall> = Arc::new(MemoryRecall::new());
    let with_memory = |name: &str| {
        let mut flow = orchestrator.sequential(&WorkflowConfig::new("pumps"));
        flow.set_memory(Arc::clone(&memory));
        flow.add_step(Step::new(name))?;
        Ok::<_, Error>(flow)
    };
    let told = |text: &str| RunOptions {
        input: Some(text.to_owned()),
        session: Some("pump-house".to_owned()),
        ..RunOptions::default()
    };
    with_memory("note")?.run_with(told("The pump is reset with the red lever.")).await?;
    let result = with_memory("recall")?.run_with(told("How is the pump reset?")).await?;
    Ok(format!("memory: {}", result.final_output()))
}
