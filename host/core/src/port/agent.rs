//! Agents: the LLM agent, and an embedder's own types.

use super::{Approvals, BoxFuture, CancelFlag, Kept, Mailbox, PastAttempt, Purse, Recorder, RunContext, ToolSpec};
use crate::event::StepOutput;
use crate::fault::Fault;
use crate::id::{RunId, StepPath};
use crate::message::{Attachment, ToolCall, Usage};
use crate::model_options::ModelOptions;
use crate::policy::Narrowings;
use crate::spec::InputText;
use crate::spec::workflow::AskWork;
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Does the work of an agent step.
///
/// Before the first step of every run that uses it `initialize` has been called, and `cleanup` is called after the last,
/// also after a failure. Runs that overlap share one preparation: the first makes it, the last cleans up. Several `run`s
/// may be under way at once, each for another step or run. Dropping the future of `run` cancels it.
pub trait Agent: Send + Sync {
    /// Its name, as documents use it.
    fn name(&self) -> &str;

    /// The questions that its work may ask a person, so that answers which come with a run find them.
    fn questions(&self) -> Vec<AgentQuestion> {
        Vec::new()
    }

    /// Prepares it.
    ///
    /// # Errors
    /// When it cannot work; the run does not start.
    fn initialize(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Works on one input.
    ///
    /// # Errors
    /// What failed, with the tokens spent and the text written so far. What [`Toolbox::call`] ends with is passed on as it is:
    /// the try may have to wait for a person.
    fn run(&self, ctx: AgentContext, input: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>>;

    /// How many turns it has, where a message for a step of its that has completed resumes its conversation; none where it does
    /// not. Such an agent goes on from what [`Recorder::past`] has, and ends each time that it has answered.
    fn resumes(&self) -> Option<u32> {
        None
    }

    /// Frees what `initialize` took.
    ///
    /// # Errors
    /// When something could not be freed; it is reported.
    fn cleanup(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Where and for whom an agent works.
#[derive(Clone)]
pub struct AgentContext {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub path: StepPath,
    /// The try of the step, from 1.
    pub attempt: u32,
    /// The tries of earlier processes whose work this one may go on with, the oldest first: those that failed, and this one
    /// itself where it was cut short. None when the work begins anew.
    pub earlier: Vec<PastAttempt>,
    /// What agents keep between two pieces of work of one try.
    pub kept: Arc<Kept>,
    /// When the step's time is over.
    pub deadline: Option<Timestamp>,
    /// The model that is asked for here: the run's, else the step's, else that of the agent's description in the document;
    /// none when they leave it to the agent. What documents and hosts have as a default is for agents that a model drives.
    pub model: Option<Arc<str>>,
    /// What is to be said to a model besides, whichever it is: the run's options, and below them those of the agent's
    /// description.
    pub model_options: Arc<ModelOptions>,
    /// JSON Schema of the result, of the step, else of the agent's description. What the agent gives is checked against it,
    /// and fails the step when it does not fit: an agent that has no result of its own reads here that it needs one.
    pub result_schema: Option<Arc<Value>>,
    /// Answers that came with the run for [`Agent::questions`], by path below the step.
    pub answers: BTreeMap<String, InputText>,
    /// What becomes of calls of a run inside this one that nobody is there to allow; steps stand below this one.
    pub approvals: Approvals,
    /// The tools that the step may use, behind the gateway.
    pub tools: Arc<dyn Toolbox>,
    /// Messages of other agents.
    pub mail: Arc<dyn Mailbox>,
    /// Pays for what is asked of models.
    pub purse: Arc<dyn Purse>,
    /// What the step takes away from what its plugins may do.
    pub narrowings: Arc<Narrowings>,
    /// Turns, deltas and warnings go here.
    pub events: Arc<dyn Recorder>,
    /// The run as this step sees it: its variables and the steps that have ended.
    pub run: Arc<dyn RunContext>,
    /// For agents that poll.
    pub cancel: CancelFlag,
}

/// A question that the work of an agent may ask a person.
#[derive(Clone, Debug)]
pub struct AgentQuestion {
    /// Where it is asked, below the step that the agent works for.
    pub path: StepPath,
    /// What is asked.
    pub work: AskWork,
    /// Whether views must not show the answer.
    pub sensitive: bool,
}

/// What an agent is asked.
#[derive(Clone, Debug, Default)]
pub struct AgentInput {
    /// The whole user message.
    pub message: Arc<str>,
    /// Images and documents.
    pub attachments: Vec<Attachment>,
}

impl From<String> for AgentInput {
    fn from(message: String) -> Self {
        Self { message: message.into(), attachments: Vec::new() }
    }
}

impl From<&str> for AgentInput {
    fn from(message: &str) -> Self {
        Self { message: message.into(), attachments: Vec::new() }
    }
}

/// What an agent gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentOutput {
    /// Text and data.
    pub output: StepOutput,
    /// Tokens of all its turns.
    pub usage: Usage,
}

/// Why an agent failed, and what it had by then.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentFailure {
    /// Why.
    pub fault: Fault,
    /// What it had written.
    pub output: StepOutput,
    /// Tokens spent.
    pub usage: Usage,
}

impl From<Fault> for AgentFailure {
    fn from(fault: Fault) -> Self {
        Self { fault, output: StepOutput::default(), usage: Usage::default() }
    }
}

/// The tools of one attempt. Every call passes the gateway: permission, argument check, record, limits.
pub trait Toolbox: Send + Sync {
    /// The tools on offer.
    fn specs(&self) -> Arc<[ToolSpec]>;

    /// Runs one call. Failures and denials are replies for the model, not errors.
    ///
    /// # Errors
    /// Only what ends the attempt: it is cancelled or waits for a person, or the journal refuses.
    fn call<'a>(&'a self, call: &'a ToolCall) -> BoxFuture<'a, Result<ToolReply, Fault>>;
}

/// The answer to a call of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolReply {
    /// What the model reads.
    pub text: Arc<str>,
    /// The data.
    pub result: Arc<Value>,
    /// Why the call failed or was denied.
    pub error: Option<Fault>,
}
