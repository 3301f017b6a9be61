//! The executor of a run: one loop, one closed enum of all that can wake it.
//!
//! An event is appended to the journal before anything acts on it. What came in together is one group commit.

mod answers;
mod approvals;
mod ask;
mod begin;
mod choose;
mod commit;
mod coordinate;
mod decide;
mod digests;
mod drops;
mod end;
mod expand;
mod gather;
mod lasting;
mod late;
mod later;
mod lease;
mod mail;
mod mailboxes;
mod model_options;
mod news;
mod perform;
mod prepare;
mod remember;
mod resume;
mod rounds;
mod run;
mod sequels;
mod shared;
mod spend;
mod stamp;
mod start;
mod take;
mod transformed;
mod wake;

pub use answers::questions_of;
pub use approvals::{calls_nothing_more, repeats_approvals};
pub(crate) use choose::{chose, decided, not_chosen};
pub(crate) use decide::{decision, root_step, skipped};
pub(crate) use end::too_large;
pub(crate) use expand::{inputs_of, items_of, started};
pub(crate) use gather::changed;
pub use late::{asks_nothing_more, repeats_answers};
pub use lease::Holder;
pub(crate) use mail::posted;
pub use model_options::uncarried;
pub(crate) use perform::{completed, failed, failed_with, output_failed, unevaluated};
pub(crate) use prepare::{Offered, compile, default_agent};
pub use resume::read_events;
pub(crate) use rounds::{Question, after_closure, answer};
pub(crate) use sequels::reply_of;
pub(crate) use shared::{MemoryAsked, recall};
pub(crate) use wake::{Answer, Wake};

use crate::coordinator::Coordinator;
use crate::evaluate::Evaluator;
use crate::gateway::Gateway;
use crate::recollection::RunRecall;
use crate::shared_conversation::SharedConversation;
use cofferdam_core::budget::{Budget, Prices};
use cofferdam_core::event::{ContextFile, DropReason, PluginPin};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{AgentName, RunId, StepPath};
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{
    Agent, Approval, Clock, Durability, Isolation, Journal, JournalError, Mailboxes, Models, Natives, Owner,
    PurePlugins, Purse, Randomness, Redactor, Sink, Sources, Starter, State, redact_map, redact_text,
};
use cofferdam_core::run::RunResult;
use cofferdam_core::spec::InputText;
use cofferdam_core::spec::workflow::Workflow;
use cofferdam_core::value::Map;
use prepare::Prepared;
use run::Run;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// What a run needs of the world.
#[derive(Clone)]
pub struct Ports {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Jitter.
    pub randomness: Arc<dyn Randomness>,
    /// Where records go.
    pub journal: Arc<dyn Journal>,
    /// Models by name.
    pub models: Arc<dyn Models>,
    /// Agents that are not made from the document, by name; they win over the document's.
    pub agents: BTreeMap<AgentName, Arc<dyn Agent>>,
    /// Closures that documents name.
    pub natives: Arc<Natives>,
    /// Transforms and conditions that documents name by the alias of a plugin.
    pub plugins: Arc<PurePlugins>,
    /// The way to the tools, and to the person who is asked.
    pub gateway: Arc<Gateway>,
    /// The steps' directories.
    pub isolation: Arc<dyn Isolation>,
    /// The document's files.
    pub sources: Arc<dyn Sources>,
    /// Who says when the document's own steps begin; none = the machine.
    pub starter: Option<Arc<dyn Starter>>,
    /// Where events go besides.
    pub sinks: Vec<Arc<dyn Sink>>,
    /// Hears of each message that reached nobody, after that is recorded.
    pub drops: Option<DropCallback>,
    /// Keeps a copy of each run's mailboxes; none = the record is enough.
    pub mailboxes: Option<Mailboxes>,
    /// The conversation of coordinators that share one; none = each has its own.
    pub conversation: Option<Arc<SharedConversation>>,
    /// Where the memory is that documents share beyond one run; nothing is opened before one does. None: there is none.
    pub shared_memory: Option<Arc<dyn State>>,
    /// Retrieval memory; none = the run has none.
    pub recall: Option<RunRecall>,
}

/// A message that reached nobody.
#[derive(Clone, Debug, PartialEq)]
pub struct DroppedMessage {
    /// The run.
    pub run_id: RunId,
    /// Who wrote it.
    pub from: StepPath,
    /// Who it was for: the step's path, or the name that was given where there is none.
    pub to: StepPath,
    /// What it said.
    pub message: Arc<str>,
    /// Why.
    pub reason: DropReason,
}

/// Hears of messages that reached nobody.
pub type DropCallback = Arc<dyn Fn(DroppedMessage) + Send + Sync>;

/// What shall run.
#[derive(Clone)]
pub struct RunRequest {
    /// The run's id; must be new to the journal.
    pub run_id: RunId,
    /// The document.
    pub workflow: Arc<Workflow>,
    /// Its inputs, bound.
    pub inputs: Map,
    /// The free-text input.
    pub input: Option<Arc<str>>,
    /// Answers to the questions of steps, by the step's path or its id where that is unambiguous.
    pub answers: BTreeMap<String, InputText>,
    /// What was said about calls that the run waited with, when it is taken up.
    pub approvals: Vec<Approval>,
    /// Files that go with prompts, as they are now.
    pub context_files: Vec<ContextFile>,
    /// Plugins, as they were loaded.
    pub plugins: Vec<PluginPin>,
    /// What is kept beside the first event and is none itself: by kind, for whoever takes the run up.
    pub note: Option<(String, Map)>,
    /// Who works on the run; none where nobody else could.
    pub holder: Option<Holder>,
    /// What the host decides.
    pub settings: RunSettings,
    /// Cancels the run.
    pub cancel: CancellationToken,
}

impl RunRequest {
    /// Takes known secrets out of what the run is given: it is recorded, and all that follows is made from the record.
    fn take_out_secrets(&mut self, redactor: &dyn Redactor) {
        redact_map(redactor, &mut self.inputs);
        if let Some(input) = &mut self.input {
            redact_text(redactor, input);
        }
    }
}

/// What becomes of a pause between two iterations of a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pauses {
    /// It is waited for.
    #[default]
    Wait,
    /// When nothing else is left to do, the run ends waiting and says when it may go on.
    Postpone,
}

/// What the host decides about a run.
#[derive(Clone)]
pub struct RunSettings {
    /// Beats every model of the document.
    pub model: Option<String>,
    /// Taken where the document names none.
    pub default_model: Option<String>,
    /// Options of the requests to models; beats those of agents, which beat the document's.
    pub model_options: ModelOptions,
    /// Taken where the others are silent.
    pub default_model_options: ModelOptions,
    /// Whether a model that cannot carry an option keeps the run from starting.
    pub strict: bool,
    /// Attempts at once; the smaller of this and the document's.
    pub max_concurrency: Option<usize>,
    /// The whole run; the smaller of this and the document's.
    pub timeout: Option<Duration>,
    /// What a barrier waits for.
    pub durability: Durability,
    /// What becomes of the pauses of loops.
    pub pauses: Pauses,
    /// The coordinator; none: the run has none, and its agents cannot write to each other.
    pub coordinator: Option<Coordinator>,
    /// What the run may spend; beats the document, quantity by quantity.
    pub budget: Budget,
    /// What no run may exceed, whatever else is said.
    pub ceiling: Budget,
    /// What models cost.
    pub prices: Arc<Prices>,
    /// Pays for the run beside its own budget: that of the step that it works for.
    pub purse: Option<Arc<dyn Purse>>,
    /// Carried in `run_started`, for people.
    pub shown: Map,
}

impl RunSettings {
    /// What a run of this document may spend.
    pub(crate) fn budget_of(&self, workflow: &Workflow) -> Budget {
        let budget = self.budget.or(workflow.options.budget);
        Budget { most: budget.most.min(self.ceiling.most), ..budget.or(self.ceiling) }
    }
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            model: None,
            default_model: None,
            model_options: ModelOptions::default(),
            default_model_options: ModelOptions::default(),
            strict: false,
            max_concurrency: None,
            timeout: None,
            durability: Durability::Durable,
            pauses: Pauses::Wait,
            coordinator: None,
            budget: Budget::default(),
            ceiling: Budget::default(),
            prices: Arc::default(),
            purse: None,
            shown: Map::new(),
        }
    }
}

/// Nothing ran, or nothing could be recorded. What steps did, failures included, is in the result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The run cannot start; every reason.
    #[error("the run cannot start: {}", first(.0))]
    Refused(Vec<Fault>),
    /// Another process works on the run now. What this one did since then is not recorded.
    #[error("{} took over run `{run}`", .by.as_ref().map_or_else(|| "another process".to_owned(), Owner::process))]
    TakenOver {
        /// The run.
        run: RunId,
        /// Which process, where that is known.
        by: Option<Owner>,
    },
    /// The journal failed.
    #[error("the journal failed: {0}")]
    Journal(#[from] JournalError),
}

impl Error {
    /// What it means that a store refuses to go on with a run that has begun.
    fn of_conflict(run: &RunId, error: JournalError) -> Self {
        let taken_over = |by| Self::TakenOver { run: run.clone(), by };
        match error {
            JournalError::Held(lease) => taken_over(Some(lease.owner)),
            // Of a run that was removed nothing is left, and one whose end is gone was damaged.
            JournalError::Conflict { expected, found } if found > expected => taken_over(None),
            other => Self::Journal(other),
        }
    }
}

fn first(faults: &[Fault]) -> String {
    let first = faults.first().map(ToString::to_string).unwrap_or_default();
    if faults.len() > 1 { format!("{first} (and {} more)", faults.len() - 1) } else { first }
}

/// Runs workflows. Holds what runs share and nothing of any run.
pub struct Executor {
    evaluator: Arc<Evaluator>,
}

impl Executor {
    /// An executor; starts nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { evaluator: Arc::default() }
    }

    /// An executor that evaluates expressions on the thread it is driven by, so that nothing of a run happens elsewhere
    /// while simulated time stands still. The thread needs a stack of [`limits::EXPRESSION_STACK_BYTES`] for them.
    ///
    /// [`limits::EXPRESSION_STACK_BYTES`]: cofferdam_core::limits::EXPRESSION_STACK_BYTES
    #[must_use]
    pub fn in_place() -> Self {
        Self { evaluator: Arc::new(Evaluator::in_place()) }
    }

    /// Runs a workflow to its end. Dropping the future ends the run without a record of its end, as a crash would.
    ///
    /// # Errors
    /// When the run cannot start, or the journal fails.
    pub async fn run(&self, ports: Ports, request: RunRequest) -> Result<RunResult, Error> {
        let mut request = request;
        request.take_out_secrets(ports.gateway.redactor());
        let prepared = Prepared::new(&ports, &request).map_err(Error::Refused)?;
        let span = tracing::info_span!("run", id = %request.run_id, workflow = %request.workflow.name);
        // On the heap: whoever drives it would carry the whole state of the run.
        Box::pin(Run::new(Arc::clone(&self.evaluator), ports, request, prepared).execute().instrument(span)).await
    }

    /// Goes on with a run that is recorded: what is finished stays, what had failed or was cut short runs again. One that is
    /// completed gives its result, and nothing is recorded or called. `request` has the document, inputs and input that the
    /// run was started with. Dropping the future ends the run as a crash would.
    ///
    /// # Errors
    /// When the run cannot go on, or the journal fails; [`Error::TakenOver`] when another process has written to the run
    /// meanwhile.
    pub async fn resume(&self, ports: Ports, request: RunRequest) -> Result<RunResult, Error> {
        let mut request = request;
        request.take_out_secrets(ports.gateway.redactor());
        let prepared = Prepared::new(&ports, &request).map_err(Error::Refused)?;
        let span = tracing::info_span!("run", id = %request.run_id, workflow = %request.workflow.name);
        Box::pin(Run::new(Arc::clone(&self.evaluator), ports, request, prepared).take_up().instrument(span)).await
    }

    /// Everything that keeps a workflow from starting: unknown tools, models and agents. Spends nothing.
    ///
    /// # Errors
    /// Every reason.
    pub fn check(ports: &Ports, request: &RunRequest) -> Result<(), Vec<Fault>> {
        Prepared::new(ports, request).map(drop)
    }
}

impl Default for Executor {
    fn default() -> Self {
        Self::new()
    }
}
