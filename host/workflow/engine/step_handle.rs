//! A step in the hands of an engine: the tools and agents that it may use there.

use crate::workflow::WorkflowContext;
use cofferdam_core::event::StepOutput;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{AgentName, StepPath, ToolName};
use cofferdam_core::message::{ToolCall, Usage};
use cofferdam_core::port::{
    AgentContext, AgentFailure, AgentInput, AgentOutput, BoxFuture, Team, ToolReply, ToolSpec, Worker,
};
use cofferdam_core::time::Timestamp;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// One try of a step that an engine works on itself; see [`super::EngineHandle::work_on`]. When the try has ended, also
/// what the engine has spawned can do nothing more through it. All clones are one.
#[derive(Clone)]
pub struct StepHandle(Arc<Shared>);

struct Shared {
    ctx: AgentContext,
    input: AgentInput,
    team: Arc<dyn Team>,
    usage: Mutex<Usage>,
    /// The try has ended.
    over: CancellationToken,
}

impl StepHandle {
    /// The step.
    #[must_use]
    pub fn path(&self) -> &StepPath {
        &self.0.ctx.path
    }

    /// The try of the step, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.ctx.attempt
    }

    /// When the step's time is over.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.0.ctx.deadline
    }

    /// What the step's agent would have been asked.
    #[must_use]
    pub fn input(&self) -> &AgentInput {
        &self.0.input
    }

    /// The run as the step sees it: its variables and the steps that have ended.
    #[must_use]
    pub fn context(&self) -> WorkflowContext {
        WorkflowContext::from(Arc::clone(&self.0.ctx.run))
    }

    /// The tools that the step's agent would have had.
    #[must_use]
    pub fn tools(&self) -> Arc<[ToolSpec]> {
        self.0.ctx.tools.specs()
    }

    /// Calls a tool, by `name` or `alias.name`. It passes the gateway as a model's call does: the arguments are checked,
    /// the call is permitted, recorded, run, and its outcome recorded. Refusals and failures are replies with an error.
    ///
    /// # Errors
    /// Only what ends the try: it was cancelled, or the journal refuses.
    pub async fn call_tool(&self, name: &str, args: &Value) -> Result<ToolReply, Fault> {
        let wire = ToolName::parse(name).map_or_else(|_| name.to_owned(), |name| name.wire());
        let call = ToolCall { id: String::new(), name: wire, arguments: args.to_string() };
        tokio::select! {
            biased;
            () = self.0.over.cancelled() => Err(Fault::cancelled()),
            reply = self.0.ctx.tools.call(&call) => reply,
        }
    }

    /// The agents that may work here: those that the document describes or a step of it names.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentName> {
        self.0.team.names()
    }

    /// Has an agent work under the step, with its own tools, and counts its tokens among the step's.
    ///
    /// # Errors
    /// What failed, with what the agent had by then; also when there is no such agent.
    pub async fn run_agent(
        &self,
        name: &str,
        input: impl Into<AgentInput> + Send,
    ) -> Result<AgentOutput, AgentFailure> {
        let outcome = tokio::select! {
            biased;
            () = self.0.over.cancelled() => return Err(Fault::cancelled().into()),
            outcome = self.0.team.run(name, input.into()) => outcome,
        };
        let spent = match &outcome {
            Ok(given) => given.usage,
            Err(failure) => failure.usage,
        };
        *self.0.usage.lock().unwrap_or_else(PoisonError::into_inner) += spent;
        outcome
    }

    fn spent(&self) -> Usage {
        *self.0.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an engine does as the port that the run knows.
pub(super) fn worker<W, F>(work: W) -> Arc<dyn Worker>
where
    W: Fn(StepHandle) -> F + Send + Sync + 'static,
    F: Future<Output = Result<StepOutput, Fault>> + Send + 'static,
{
    Arc::new(Hands(work))
}

struct Hands<W>(W);

impl<W, F> Worker for Hands<W>
where
    W: Fn(StepHandle) -> F + Send + Sync,
    F: Future<Output = Result<StepOutput, Fault>> + Send + 'static,
{
    fn work(
        &self,
        ctx: AgentContext,
        input: AgentInput,
        team: Arc<dyn Team>,
    ) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(async move {
            let over = CancellationToken::new();
            let _ended = over.clone().drop_guard();
            let handle = StepHandle(Arc::new(Shared { ctx, input, team, usage: Mutex::default(), over }));
            let outcome = (self.0)(handle.clone()).await;
            let usage = handle.spent();
            match outcome {
                Ok(output) => Ok(AgentOutput { output, usage }),
                Err(fault) => Err(AgentFailure { fault, output: StepOutput::default(), usage }),
            }
        })
    }
}
