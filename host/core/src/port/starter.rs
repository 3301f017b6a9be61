//! Who decides when the steps of a document begin, when it is not the machine, and who works on them instead of their
//! own agents.

use super::{AgentContext, AgentFailure, AgentInput, AgentOutput, BoxFuture, RunContext, StepEnd};
use crate::fault::Fault;
use crate::id::{AgentName, StepId};
use std::sync::Arc;

/// Decides when the steps of a document's own scope begin, and with what message. Everything else stays with the engine:
/// dependencies, conditions, slots, retries, records. Steps inside loops, groups and includes are not its business.
pub trait Starter: Send + Sync {
    /// The run has begun; this is the whole of it, for what belongs to no step. Called once, before anything else.
    fn attach(&self, _: Arc<dyn RunContext>) {}

    /// The step's dependencies have ended, so that it may begin; answers when it shall. Asked once for each step.
    ///
    /// # Errors
    /// It never shall: the run is stopped and fails with this.
    fn admit(&self, step: StepId) -> BoxFuture<'_, Result<(), Fault>>;

    /// The message of an agent step, when it is not the one that is assembled from what the step depends on.
    fn message(&self, step: &StepId) -> Option<Arc<str>>;

    /// Who works on an agent step; none = its own agent. Asked before each try.
    fn worker(&self, _: &StepId) -> Option<Arc<dyn Worker>> {
        None
    }

    /// A step of the document has ended.
    fn ended(&self, end: StepEnd);

    /// All steps have ended; answers when whoever starts them has nothing more to do or say. Asked once at most.
    ///
    /// # Errors
    /// It failed, and so does the run, however its steps have ended.
    fn over(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Does the work of a step in place of its agent. It is a try of the step like any other: recorded there, within its
/// time, limits and directories; dropping the future cancels it.
pub trait Worker: Send + Sync {
    /// Works on what the step's agent would have been asked, with the tools that it would have had.
    ///
    /// # Errors
    /// What failed, with the tokens spent.
    fn work(
        &self,
        ctx: AgentContext,
        input: AgentInput,
        team: Arc<dyn Team>,
    ) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>>;
}

/// The agents that may work for a [`Worker`], under its step: those that the document describes or a step of it names.
pub trait Team: Send + Sync {
    /// Their names.
    fn names(&self) -> Vec<AgentName>;

    /// Has one of them work, with its own tools and transforms. Turns of all that work in one try are numbered through.
    ///
    /// # Errors
    /// What failed, with the tokens spent: also when there is no such agent, or it has no model.
    fn run<'a>(&'a self, name: &'a str, input: AgentInput) -> BoxFuture<'a, Result<AgentOutput, AgentFailure>>;
}
