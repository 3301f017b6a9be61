//! One try of a step, as a task of its own: renders what it needs, does the work, answers the loop.

mod background;
mod delegate;
mod recalled;
mod team;
mod toolbox;

pub(crate) use delegate::no_agents;
pub(crate) use team::Members;

use crate::agent::LlmAgent;
use crate::chain::Chains;
use crate::context_files::{self, ContextFiles};
use crate::gateway::{Call, Gateway};
use crate::recollection::Recollection;
use crate::recorder::AttemptRecorder;
use background::{Background, Room};
use cofferdam_core::event::{Body, Changes, StepOutput};
use cofferdam_core::expr::EvalError;
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::id::{RunId, StepPath, ToolName};
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::permission::Origin;
use cofferdam_core::policy::Narrowings;
use cofferdam_core::port::{
    Agent, AgentContext, AgentFailure, AgentInput, AgentOutput, Approvals, CancelFlag, Clock, Delegate, Invoke,
    Isolation, Kept, Mailbox, PastAttempt, Purse, Recorder, Sources, StepDirs, StepEntry, ToolContext, ToolReply,
    ToolSpec, TryEnd, Worker,
};
use cofferdam_core::run::{Draft, MessageError, with_files};
use cofferdam_core::schema::Checker;
use cofferdam_core::spec::workflow::IsolationMode;
use cofferdam_core::spec::{InputText, RunLimits};
use cofferdam_core::template::Template;
use cofferdam_core::time::Timestamp;
use cofferdam_core::transform::Transform;
use cofferdam_core::value::{self, Map};
use delegate::Delegates;
use futures_util::FutureExt as _;
use serde_json::Value;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;
use tokio::sync::{Notify, OnceCell};
use toolbox::AttemptTools;

/// What one try needs, taken from the state of the run when it starts.
pub(crate) struct Attempt {
    pub(crate) run_id: RunId,
    pub(crate) path: StepPath,
    pub(crate) number: u32,
    /// The tries of earlier processes that it may go on with.
    pub(crate) earlier: Vec<PastAttempt>,
    pub(crate) limits: RunLimits,
    pub(crate) chains: Chains,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) cancel: CancelFlag,
    pub(crate) recorder: AttemptRecorder,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) place: Arc<Place>,
    pub(crate) narrowings: Arc<Narrowings>,
    /// Answers that came with the run for questions of the step's agent.
    pub(crate) answers: BTreeMap<String, InputText>,
    /// What becomes of calls of a run inside the step that nobody is there to allow.
    pub(crate) approvals: Approvals,
    /// Messages of other agents.
    pub(crate) mail: Arc<dyn Mailbox>,
    /// Says that a message for the step was written.
    pub(crate) mail_came: Arc<Notify>,
    /// The run has a coordinator, who may write.
    pub(crate) coordinated: bool,
    /// Retrieval memory.
    pub(crate) recollection: Option<Recollection>,
    /// Pays for what is asked of models.
    pub(crate) purse: Arc<dyn Purse>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) work: AttemptWork,
}

/// The directories of one try, opened when it first needs them.
pub(crate) struct Place {
    isolation: Arc<dyn Isolation>,
    entry: StepEntry,
    dirs: OnceCell<Arc<StepDirs>>,
}

impl Place {
    pub(crate) fn new(isolation: Arc<dyn Isolation>, entry: StepEntry) -> Self {
        Self { isolation, entry, dirs: OnceCell::new() }
    }

    async fn enter(&self) -> Result<Arc<StepDirs>, Fault> {
        self.dirs.get_or_try_init(|| self.isolation.enter(&self.entry)).await.cloned()
    }

    /// Whether the step works in a directory of its own.
    pub(crate) fn is_own(&self) -> bool {
        self.dirs.initialized() && self.entry.mode != IsolationMode::None
    }

    /// The number of the try.
    pub(crate) fn attempt(&self) -> u32 {
        self.entry.attempt
    }

    /// Leaves the directories if they were entered; gives what changed in them, if they were the step's own.
    pub(crate) async fn leave(&self, end: TryEnd) -> Option<Changes> {
        if self.dirs.initialized() { self.isolation.leave(&self.entry, end).await } else { None }
    }
}

/// When a step's time is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// When the try began.
    pub(crate) from: Timestamp,
    pub(crate) left: Duration,
    pub(crate) whole: Duration,
}

/// What a try does.
pub(crate) enum AttemptWork {
    Agent(Box<AgentWork>),
    Tool(Box<ToolCallWork>),
}

/// The work of a tool step.
pub(crate) struct ToolCallWork {
    pub(crate) tool: ToolName,
    pub(crate) args: Template,
    pub(crate) variables: Map,
    /// What changes what the tool gives.
    pub(crate) output: Vec<Transform>,
}

/// The work of an agent step.
pub(crate) struct AgentWork {
    pub(crate) hands: Hands,
    pub(crate) terms: Terms,
    pub(crate) message: AgentMessage,
    pub(crate) context_files: Vec<String>,
    pub(crate) sources: Arc<dyn Sources>,
    /// What changes the message: the step's own chain, then the agent's.
    pub(crate) input: Vec<Transform>,
    /// What changes what the agent gives: its own chain, then the step's.
    pub(crate) output: Vec<Transform>,
}

/// Who does the work of an agent step.
pub(crate) enum Hands {
    /// Its agent.
    Agent(Arc<dyn Agent>),
    /// Whoever starts the steps of the run, and the agents that may work for it.
    Worker(Arc<dyn Worker>, Arc<Members>),
}

/// What an agent works with, and what its result must be.
#[derive(Clone)]
pub(crate) struct Terms {
    /// What the document calls it.
    pub(crate) agent: Arc<str>,
    pub(crate) tools: Arc<[ToolSpec]>,
    /// The model that is asked for; none = the agent's own affair.
    pub(crate) model: Option<Arc<str>>,
    /// What is said to it besides, by the run and by the agent's description.
    pub(crate) options: Arc<ModelOptions>,
    /// The schema of the result, in both forms.
    pub(crate) result: Option<(Arc<Value>, Arc<Checker>)>,
    /// Who works where the agent hands a task on: itself, without a result of its own; none where it cannot.
    pub(crate) delegate: Option<Arc<LlmAgent>>,
}

impl Terms {
    /// Why a result is not what it must be, if it is not.
    pub(crate) fn refuse(&self, result: &Value) -> Option<Fault> {
        let (_, schema) = self.result.as_ref()?;
        let depth = value::check_depth(result).map_err(|error| error.to_string());
        let what = depth.and_then(|()| schema.check(result)).err()?;
        Some(Fault::step("no_result", format!("the agent's result does not fit its schema: {what}")))
    }
}

/// The message of an agent step.
pub(crate) enum AgentMessage {
    /// Said by whoever starts steps.
    Given(Arc<str>),
    /// Assembled from the run's state.
    Draft(Box<Draft>),
    /// The step's own template.
    Template(Template, Map),
}

impl Attempt {
    /// Does the work; a panic in it is its failure. Its time is bounded by whoever started it: work that holds its thread
    /// would not hear a clock beside it.
    pub(crate) async fn run(self) -> Result<AgentOutput, AgentFailure> {
        let (place, path, recorder) = (Arc::clone(&self.place), self.path.clone(), self.recorder.clone());
        let outcome = AssertUnwindSafe(self.work()).catch_unwind().await;
        let end = if outcome.as_ref().is_ok_and(waits) { TryEnd::CutShort } else { TryEnd::Itself };
        if let Some(changes) = place.leave(end).await {
            recorder.observe(Body::FilesChanged(changes));
        }
        match outcome {
            Ok(outcome) => outcome,
            Err(_) => Err(Fault::bug(format!("step `{path}` panicked")).into()),
        }
    }

    async fn work(self) -> Result<AgentOutput, AgentFailure> {
        let (rest, work) = self.split();
        match work {
            AttemptWork::Agent(work) => rest.run_agent(*work).await,
            AttemptWork::Tool(work) => Ok(rest.run_tool(*work).await?),
        }
    }

    fn split(self) -> (Arc<Setting>, AttemptWork) {
        let background = Arc::new(Background::new(Room {
            path: self.path.clone(),
            clock: Arc::clone(&self.clock),
            person: Arc::clone(self.gateway.person()),
            mail_came: self.mail_came,
        }));
        let setting = Setting {
            run_id: self.run_id,
            path: self.path,
            number: self.number,
            earlier: self.earlier,
            limits: self.limits,
            chains: self.chains,
            clock: self.clock,
            deadline: self.deadline,
            cancel: self.cancel,
            recorder: Arc::new(self.recorder),
            gateway: self.gateway,
            place: self.place,
            narrowings: self.narrowings,
            kept: Arc::default(),
            answers: self.answers,
            approvals: self.approvals,
            mail: self.mail,
            coordinated: self.coordinated,
            recollection: self.recollection,
            purse: self.purse,
            calls: AtomicU32::new(0),
            delegates: Delegates::default(),
            background,
        };
        let delegates = Delegates::of_try(&setting);
        (Arc::new(Setting { delegates, ..setting }), self.work)
    }
}

/// Whether work has ended since it waits for a person who is not there.
fn waits(outcome: &Result<AgentOutput, AgentFailure>) -> bool {
    outcome.as_ref().is_err_and(|failure| failure.fault.class == Class::Waiting)
}

/// The id of the call that a tool step makes.
pub(crate) const DOCUMENT_CALL: &str = "step";

/// What all work of one try shares.
struct Setting {
    run_id: RunId,
    path: StepPath,
    number: u32,
    earlier: Vec<PastAttempt>,
    limits: RunLimits,
    chains: Chains,
    clock: Arc<dyn Clock>,
    deadline: Option<Deadline>,
    cancel: CancelFlag,
    recorder: Arc<AttemptRecorder>,
    gateway: Arc<Gateway>,
    place: Arc<Place>,
    narrowings: Arc<Narrowings>,
    kept: Arc<Kept>,
    answers: BTreeMap<String, InputText>,
    approvals: Approvals,
    mail: Arc<dyn Mailbox>,
    coordinated: bool,
    recollection: Option<Recollection>,
    purse: Arc<dyn Purse>,
    calls: AtomicU32,
    delegates: Delegates,
    /// Sub-agents that work while their agent goes on.
    background: Arc<Background>,
}

impl Setting {
    async fn run_tool(&self, work: ToolCallWork) -> Result<AgentOutput, Fault> {
        let ToolCallWork { tool, args, variables, output: chain } = work;
        let args = args.render(&variables).map_err(|error| template_fault("args", &error))?;
        let args = arguments_within_bounds(&tool, args, self.limits)?;
        let ctx = self.tool_context(DOCUMENT_CALL.into(), None).await?;
        let reply =
            self.gateway.call(Call { ctx, tool, args, origin: Origin::Document, agent: None, caller: None }).await?;
        match reply.error {
            Some(fault) => Err(fault),
            None => {
                let output = StepOutput { content: reply.text, result: reply.result, ..StepOutput::default() };
                let output = self.chains.apply(&chain, output).await?;
                Ok(AgentOutput { output, usage: cofferdam_core::message::Usage::default() })
            }
        }
    }

    async fn run_agent(self: Arc<Self>, work: AgentWork) -> Result<AgentOutput, AgentFailure> {
        let AgentWork { hands, terms, message, context_files, sources, input, output: chain } = work;
        let ContextFiles { section, attachments } = context_files::read(&context_files, &sources).await?;
        let message = self.message_text(message, &section, !attachments.is_empty())?;
        let message = within_bounds(self.chains.apply_to_text(&input, message).await?, self.limits)?;
        if message.trim().is_empty() && attachments.is_empty() {
            return Err(message_fault(&MessageError::Empty).into());
        }
        let message = self.with_recalled(message).await?;
        let ctx = self.agent_context(&terms, Arc::clone(&self.recorder) as Arc<dyn Recorder>);
        let input = AgentInput { message: message.into(), attachments };
        let given = match hands {
            Hands::Agent(agent) => {
                let given = agent.run(ctx, input).await;
                self.background.end(waits(&given), &self.recorder).await;
                given?
            }
            Hands::Worker(worker, members) => {
                self.background.close();
                worker.work(ctx, input, Arc::new(self.team(members))).await?
            }
        };
        // Behind the end of its step it answers in words, which are a message.
        if self.recorder.past().is_some_and(|past| past.ended().is_some()) {
            return Ok(given);
        }
        self.checked(&terms, &chain, given).await
    }

    fn agent_context(self: &Arc<Self>, terms: &Terms, events: Arc<dyn Recorder>) -> AgentContext {
        AgentContext {
            run_id: self.run_id.clone(),
            path: self.path.clone(),
            attempt: self.number,
            earlier: self.earlier.clone(),
            kept: Arc::clone(&self.kept),
            deadline: self.own_time(),
            answers: self.answers.clone(),
            approvals: self.approvals.clone(),
            model: terms.model.clone(),
            model_options: Arc::clone(&terms.options),
            result_schema: terms.result.as_ref().map(|(schema, _)| Arc::clone(schema)),
            tools: Arc::new(AttemptTools { setting: Arc::clone(self), terms: terms.clone() }),
            mail: self.letters(terms),
            purse: Arc::clone(&self.purse),
            narrowings: Arc::clone(&self.narrowings),
            events,
            run: Arc::clone(&self.chains.run),
            cancel: self.cancel.clone(),
        }
    }

    /// What an agent gave, if it is what it must be, changed on its way out.
    async fn checked(
        &self,
        terms: &Terms,
        chain: &[Transform],
        given: AgentOutput,
    ) -> Result<AgentOutput, AgentFailure> {
        let outcome = match terms.refuse(&given.output.result) {
            Some(fault) => Err(fault),
            None => self.chains.apply(chain, given.output.clone()).await,
        };
        match outcome {
            Ok(output) => Ok(AgentOutput { output, usage: given.usage }),
            Err(fault) => Err(AgentFailure { fault, output: given.output, usage: given.usage }),
        }
    }

    /// The message with its context files. One that goes with attachments may be empty.
    fn message_text(&self, message: AgentMessage, files: &str, attached: bool) -> Result<String, Fault> {
        match message {
            AgentMessage::Given(text) => Ok(with_files(text.as_ref().to_owned(), files)),
            AgentMessage::Template(template, variables) => {
                let rendered = template.render(&variables).map_err(|error| template_fault("input", &error))?;
                within_bounds(with_files(value::to_text(&rendered), files), self.limits)
            }
            AgentMessage::Draft(draft) => match draft.assemble(files) {
                Ok(assembled) => {
                    self.recorder.shortened(assembled.truncated);
                    Ok(assembled.text)
                }
                Err(MessageError::Empty) if attached => Ok(String::new()),
                Err(error) => Err(message_fault(&error)),
            },
        }
    }

    /// When the step's time is over, if nobody is asked from now on.
    fn own_time(&self) -> Option<Timestamp> {
        self.deadline.map(|Deadline { from, left, .. }| {
            let asked = self.gateway.person().within(&self.path.step(), from, self.clock.now());
            from.after(left).after(asked)
        })
    }

    /// The same for a repetition of the same call. A step's own call is the same in every try; what a model calls in
    /// another try is another call.
    fn idempotency_key(&self, call_id: &str) -> Arc<str> {
        if call_id == DOCUMENT_CALL {
            format!("{}/{}", self.run_id, self.path).into()
        } else {
            format!("{}/{}/{}/{call_id}", self.run_id, self.path, self.number).into()
        }
    }

    async fn tool_context(&self, call_id: Arc<str>, agents: Option<Arc<dyn Delegate>>) -> Result<ToolContext, Fault> {
        let dirs = self.place.enter().await?;
        Ok(ToolContext {
            run_id: self.run_id.clone(),
            path: self.path.clone(),
            attempt: self.number,
            idempotency_key: self.idempotency_key(&call_id),
            call_id,
            deadline: self.own_time(),
            dirs,
            events: Arc::clone(&self.recorder) as Arc<dyn Recorder>,
            run: Arc::clone(&self.chains.run),
            cancel: self.cancel.clone(),
            narrowings: Arc::clone(&self.narrowings),
            kept: Arc::clone(&self.kept),
            tools: Some(Arc::clone(&self.gateway) as Arc<dyn Invoke>),
            agents,
            tool: None,
            depth: 0,
        })
    }
}

pub(crate) fn refused(code: &'static str, message: String) -> ToolReply {
    ToolReply { text: message.as_str().into(), result: Arc::default(), error: Some(Fault::step(code, message)) }
}

/// What a step's own template or a transform gives is never cut: it fails.
pub(crate) fn within_bounds(text: String, limits: RunLimits) -> Result<String, Fault> {
    let (bytes, limit) = (text.len(), limits.message_bytes);
    if bytes <= limit {
        return Ok(text);
    }
    let message = format!("the message has {bytes} bytes, more than the limit of {limit}");
    Err(Fault::step("message_too_large", message))
}

pub(crate) fn arguments_within_bounds(tool: &ToolName, args: Value, limits: RunLimits) -> Result<Value, Fault> {
    let (bytes, limit) = (value::size(&args), limits.tool_argument_bytes);
    if bytes <= limit {
        return Ok(args);
    }
    let message = format!("the arguments of `{tool}` have {bytes} bytes, more than the limit of {limit}");
    Err(Fault::step("arguments_too_large", message))
}

pub(crate) fn timed_out(path: &StepPath, whole: Duration) -> Fault {
    Fault::step("timeout", format!("step `{path}` was not done within {whole:?}"))
}

pub(crate) fn message_fault(error: &MessageError) -> Fault {
    Fault::user("message", error.to_string())
}

pub(crate) fn template_fault(place: &str, error: &EvalError) -> Fault {
    Fault::step("template", format!("cannot render `{place}`: {error}"))
}
