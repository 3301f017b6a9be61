//! One agent without a graph: a run of one step, recorded, shown, replayed and taken up again like every other.

use super::{Lineage, Orchestrator, RunOptions};
use crate::error::Error;
use crate::workflow::{AgentConfig, Workflow};
use cofferdam_core::event::{Body, OpenApproval, RunStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::message::Usage;
use cofferdam_core::port::{Ack, Batch, BoxFuture, Pressure, Sink, Want};
use cofferdam_core::run::RunResult;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What an agent gave.
#[derive(Clone, Debug)]
pub struct AgentResult {
    /// The recorded run.
    pub run_id: RunId,
    /// How it ended.
    pub status: RunStatus,
    /// The text that it wrote last.
    pub content: Arc<str>,
    /// The data that it submitted, where it has a schema; else null.
    pub result: Arc<Value>,
    /// Whether it was cut off: at its most turns, at the model's token limit, or since it repeated itself.
    pub truncated: bool,
    /// Tokens of all requests.
    pub usage: Usage,
    /// How many requests to the model were answered, those of all tries together.
    pub turns: u32,
    /// From its beginning to its end.
    pub duration: Duration,
    /// Why it failed.
    pub error: Option<Fault>,
    /// Calls that it waits with, which nobody was there to allow.
    pub approvals: Vec<OpenApproval>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl AgentResult {
    /// Whether it came to its end.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == RunStatus::Completed
    }

    pub(super) fn new(run: RunResult, turns: u32) -> Self {
        let step = run.step(AgentConfig::STEP);
        Self {
            content: step.map(|step| Arc::clone(&step.content)).unwrap_or_default(),
            result: step.map(|step| Arc::clone(&step.result)).unwrap_or_default(),
            truncated: step.is_some_and(|step| step.truncated),
            status: run.status,
            usage: run.usage,
            turns,
            duration: Duration::from_millis(run.duration_ms),
            error: run.error.map(|error| error.fault),
            approvals: run.approvals,
            warnings: run.warnings,
            run_id: run.run_id,
        }
    }
}

impl Orchestrator {
    /// Runs one agent to its end: the prompt, its turns and its tools, without a graph. What is written into the record is a
    /// run of one step, `agent`. Dropping the future cancels it and records that.
    ///
    /// # Errors
    /// When nothing ran, or nothing could be recorded; what the agent did, failures included, is in the result.
    pub async fn run_agent(
        &self,
        agent: &AgentConfig,
        prompt: &str,
        mut options: RunOptions,
    ) -> Result<AgentResult, Error> {
        let (workflow, turns) = self.alone(agent, prompt, &mut options)?;
        let lineage = Lineage::outermost(workflow.name(), workflow.shared(), None);
        let result = self.run_within(&workflow, options, lineage, Vec::new()).await?;
        Ok(AgentResult::new(result, turns.count()))
    }

    /// The workflow that an agent is when it runs alone, and the count of its turns.
    pub(super) fn alone(
        &self,
        agent: &AgentConfig,
        prompt: &str,
        options: &mut RunOptions,
    ) -> Result<(Workflow, Arc<Turns>), Error> {
        let workflow = Workflow::from_agent(agent, &self.shared.settings.workdir)?;
        let turns = Arc::new(Turns::default());
        options.input = Some(prompt.to_owned());
        options.coordinator = None;
        options.sinks.push(Arc::clone(&turns) as Arc<dyn Sink>);
        Ok((workflow, turns))
    }
}

/// Counts the turns of a run.
#[derive(Default)]
pub(super) struct Turns(AtomicU32);

impl Turns {
    pub(super) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Sink for Turns {
    fn want(&self) -> Want {
        Want::new(vec!["turn_finished".to_owned()], Pressure::Wait)
    }

    fn name(&self) -> String {
        "the count of turns".to_owned()
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        let turns = batch.events.iter().filter(|event| matches!(event.body, Body::TurnFinished { .. })).count();
        self.0.fetch_add(u32::try_from(turns).unwrap_or(u32::MAX), Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
