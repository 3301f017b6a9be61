//! A workflow as an agent of another one.
//!
//! Its run is a run of its own: recorded under its own id, with the rules, limits and sinks of the orchestrator that it
//! was built with. From the outer run it has the model that is asked for, the answers to its questions, and, when both run
//! in one orchestrator, the session, whom to ask and the run's own sinks. The step that it works for gets its output, its tokens, and in
//! its metadata what it did; a stream of the outer run shows the inner steps below the outer one's path. An outer run that is
//! taken up goes on with it.

use super::Workflow;
use super::lifecycle::{cleanup_all, initialize_all};
use crate::error::Error;
use crate::orchestrator::{Inner, Lineage, Orchestrator, RunOptions};
use cofferdam_core::event::{Body, OpenApproval, OpenQuestion, RunStatus, StepOutput, Waiting};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{AgentName, StepPath};
use cofferdam_core::port::{Agent, AgentContext, AgentFailure, AgentInput, AgentOutput, AgentQuestion, BoxFuture};
use cofferdam_core::run::RunResult;
use cofferdam_core::value::Map;
use cofferdam_engine::questions_of;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A workflow as an agent. All clones are one.
#[derive(Clone)]
pub struct WorkflowAgent(Arc<Shared>);

pub(super) struct Shared {
    name: AgentName,
    orchestrator: Orchestrator,
    workflow: Workflow,
    /// What the workflow may ask, and the agents inside it.
    questions: Vec<AgentQuestion>,
    stats: Mutex<WorkflowAgentStats>,
}

/// How often a workflow worked as an agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkflowAgentStats {
    /// How often it was run, failures included.
    pub runs: u32,
    /// How long it ran in all.
    pub total_duration: Duration,
}

impl WorkflowAgentStats {
    /// How long a run took on average.
    #[must_use]
    pub fn average_duration(&self) -> Duration {
        self.total_duration.checked_div(self.runs).unwrap_or_default()
    }
}

impl WorkflowAgent {
    pub(crate) fn new(orchestrator: Orchestrator, name: &str, workflow: Workflow) -> Result<Self, Error> {
        let name = AgentName::parse(name).map_err(|error| Error::Agent { message: error.to_string() })?;
        let questions = questions_of(workflow.document(), &orchestrator.agents_for(&workflow)).collect();
        Ok(Self(Arc::new(Shared { name, orchestrator, workflow, questions, stats: Mutex::default() })))
    }

    /// The workflow that works.
    #[must_use]
    pub fn workflow(&self) -> &Workflow {
        &self.0.workflow
    }

    /// How often it has worked.
    #[must_use]
    pub fn stats(&self) -> WorkflowAgentStats {
        *self.0.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn into_shared(self) -> Arc<dyn Agent> {
        self.0
    }
}

impl Agent for WorkflowAgent {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn questions(&self) -> Vec<AgentQuestion> {
        self.0.questions()
    }

    fn initialize(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.0.initialize()
    }

    fn run(&self, ctx: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        self.0.run(ctx, input)
    }

    fn cleanup(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.0.cleanup()
    }
}

impl Agent for Shared {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn questions(&self) -> Vec<AgentQuestion> {
        self.questions.clone()
    }

    /// Prepares the agents of the workflow.
    fn initialize(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async { initialize_all(self.workflow.kept()).await.map_err(|faults| joined(&faults)) })
    }

    fn run(&self, ctx: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(self.work(ctx, input))
    }

    fn cleanup(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async {
            let faults = cleanup_all(self.workflow.kept()).await;
            if faults.is_empty() { Ok(()) } else { Err(joined(&faults)) }
        })
    }
}

impl Shared {
    async fn work(&self, ctx: AgentContext, input: AgentInput) -> Result<AgentOutput, AgentFailure> {
        let lineage = self.lineage(&ctx)?;
        let clock = self.orchestrator.clock();
        if !input.attachments.is_empty() {
            let message = format!("the workflow `{}` takes text alone; the files are left out", self.name);
            ctx.events.observe(Body::Warning { code: "attachments".to_owned(), message });
        }
        let options = RunOptions {
            input: Some(input.message.as_ref().to_owned()),
            model: ctx.model.as_deref().map(str::to_owned),
            model_options: (*ctx.model_options).clone(),
            answers: ctx.answers.clone(),
            session: lineage.session.clone(),
            approver: lineage.approver.clone(),
            sinks: lineage.sinks.clone(),
            purse: Some(Arc::clone(&ctx.purse)),
            defer_approvals: ctx.approvals.defer && self.orchestrator.refuse_foreign_engine(&self.workflow).is_ok(),
            timeout: ctx.deadline.map(|deadline| deadline.since(clock.now()).max(Duration::from_millis(1))),
            ..RunOptions::default()
        };
        let began = clock.now();
        let run = Inner { lineage: lineage.clone(), ctx: &ctx, name: self.name.as_str() };
        let outcome = self.orchestrator.run_inner(&self.workflow, options, run).await;
        let runs = self.count(clock.now().since(began));
        let result = outcome.map_err(|error| Fault::step("workflow", format!("workflow `{}`: {error}", self.name)))?;
        let (output, usage) = (self.output(&result, &lineage, runs), result.usage);
        match result.status {
            RunStatus::Completed => Ok(AgentOutput { output, usage }),
            RunStatus::Cancelled => Err(AgentFailure { fault: Fault::cancelled(), output, usage }),
            RunStatus::Waiting => Err(AgentFailure { fault: self.waits(&result, &ctx.path), output, usage }),
            _ => Err(AgentFailure { fault: self.failure(&result), output, usage }),
        }
    }

    /// The chain of workflows with this one at its end.
    fn lineage(&self, ctx: &AgentContext) -> Result<Lineage, Fault> {
        let around = self.orchestrator.lineage(&ctx.run_id);
        let workflow = self.workflow.shared();
        let lineage = around.inner(self.name.as_str(), workflow);
        if around.contains(workflow) {
            let message = format!("the workflow `{}` would run inside itself: {}", self.name, lineage.path());
            return Err(Fault::step("workflow_recursion", message));
        }
        let most = self.orchestrator.max_depth();
        if lineage.depth() > most {
            let message = format!("the maximum workflow nesting depth of {most} is exceeded: {}", lineage.path());
            return Err(Fault::step("workflow_depth", message).with_hint("`max_depth` of the builder raises it"));
        }
        Ok(lineage)
    }

    fn count(&self, took: Duration) -> u32 {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.runs = stats.runs.saturating_add(1);
        stats.total_duration = stats.total_duration.saturating_add(took);
        stats.runs
    }

    fn output(&self, result: &RunResult, lineage: &Lineage, runs: u32) -> StepOutput {
        StepOutput {
            content: result.final_output().into(),
            metadata: Arc::new(self.metadata(result, lineage, runs)),
            result: Arc::new(if result.output.is_string() { Value::Null } else { result.output.clone() }),
            truncated: false,
        }
    }

    /// Why the workflow failed; trying it again helps when it would have helped its step.
    fn failure(&self, result: &RunResult) -> Fault {
        let status = result.status.as_str();
        match &result.error {
            Some(error) if error.step.is_root() => {
                Fault { message: format!("workflow `{}`: {}", self.name, error.fault.message), ..error.fault.clone() }
            }
            Some(error) => {
                let message = format!("workflow `{}`, step `{}`: {}", self.name, error.step, error.fault.message);
                Fault { message, ..error.fault.clone() }
            }
            None => Fault::step("workflow", format!("workflow `{}` ended as {status}", self.name)),
        }
    }

    /// What the workflow waits for, and its step with it. For a higher budget of its own it would wait for ever: nobody could
    /// give it one through the run around it.
    fn waits(&self, result: &RunResult, at: &StepPath) -> Fault {
        let RunResult { questions, approvals, resume_at, .. } = result.public();
        let below = |step: StepPath| StepPath::from(format!("{at}.{step}").as_str());
        let waiting = Waiting {
            questions: questions.into_iter().map(|open| OpenQuestion { step: below(open.step), ..open }).collect(),
            approvals: approvals.into_iter().map(|open| OpenApproval { step: below(open.step), ..open }).collect(),
            until: resume_at,
        };
        if waiting.is_empty() {
            return Fault::step("workflow", format!("workflow `{}` waits for a higher budget", self.name))
                .with_hint("raise the budget of its document, and resume the run");
        }
        waiting.to_fault()
    }

    fn metadata(&self, result: &RunResult, lineage: &Lineage, runs: u32) -> Map {
        let table = json!({
            "type": "subworkflow",
            "workflow_name": self.name,
            "workflow_path": lineage.path(),
            "workflow_run": result.run_id,
            "depth": lineage.depth(),
            "step_count": result.steps.len(),
            "execution_path": result.execution_path,
            "execution_count": runs,
        });
        if let Value::Object(table) = table { table } else { Map::new() }
    }
}

fn joined(faults: &[Fault]) -> Fault {
    let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    let first = faults.first().cloned().unwrap_or_else(Fault::cancelled);
    Fault { message: messages.join("; "), ..first }
}
