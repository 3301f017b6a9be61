//! A workflow as a stream: what it is of, text as it is written, the end of each step, and the result.
//!
//! `cargo run --example workflow_stream` needs no network and no key: the answers come from a script.

use cofferdam::llm::Scripted;
use cofferdam::{ChunkKind, Orchestrator, Step, StreamOptions, WorkflowConfig};
use std::io::Write;

const ANSWERS: &str = r#"
chunk: 8
answers:
  - { step: outline, text: "1. Ownership 2. Borrowing" }
  - { step: write, text: "Every value has one owner; others may borrow it." }
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(&mut std::io::stdout()).await
}

pub(crate) async fn run(out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let orchestrator = Orchestrator::builder().model(Scripted::parse(ANSWERS)?).build()?;
    let mut flow = orchestrator.sequential(&WorkflowConfig::new("article"));
    flow.add_step(Step::new("outline").instructions("Make an outline."))?;
    flow.add_step(Step::new("write").instructions("Write the article."))?;
    let mut stream = flow.run_stream("Ownership in Rust", StreamOptions::default())?;
    writeln!(out, "steps: {}", stream.metadata().step_names.join(", "))?;
    while let Some(chunk) = stream.next().await {
        match chunk.kind {
            ChunkKind::AgentStart => {
                let (at, of) = (chunk.metadata.step_index.unwrap_or_default() + 1, chunk.metadata.total_steps);
                write!(out, "[{at}/{of} {}] ", chunk.metadata.step_name.unwrap_or_default())?;
            }
            ChunkKind::Delta => write!(out, "{}", chunk.delta.unwrap_or_default())?,
            ChunkKind::AgentComplete => writeln!(out)?,
            ChunkKind::Done => writeln!(out, "done")?,
            _ => {}
        }
        out.flush()?;
    }
    let result = stream.wait().await?;
    writeln!(out, "{} with {} tokens", result.status.as_str(), result.total_tokens())?;
    orchestrator.close().await;
    Ok(())
}
