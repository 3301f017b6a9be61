//! What an orchestrator and one run are given, and what closing reports.

use super::recall::RecallChoice;
use crate::workflow::InputText;
use cofferdam_core::budget::Budget;
use cofferdam_core::id::RunId;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{Approval, Approver, Purse, Sink};
use cofferdam_core::spec::workflow::UnknownEffect;
use cofferdam_core::value::Map;
use cofferdam_engine::{Coordinator, Pauses};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Directories of the user, outside every project: what a folder of somebody else brings along must never be taken for
/// the user's own code or answers. Both are made when needed, closed to others.
#[derive(Clone, Debug)]
pub struct UserDirs {
    /// Compiled plugins; may be deleted at any time.
    pub cache: PathBuf,
    /// The secret key that compiled plugins and remembered answers are authenticated with.
    pub state: PathBuf,
}

/// What one run is given.
#[derive(Clone, Default)]
pub struct RunOptions {
    /// The run's free-text input.
    pub input: Option<String>,
    /// Typed inputs by name, as text or as values.
    pub inputs: Vec<(String, InputText)>,
    /// Answers to the questions of steps, by the step's path, or by its id where only one question has it. Those of a
    /// workflow that works as an agent stand below the path of its step.
    pub answers: BTreeMap<String, InputText>,
    /// The run's id; absent = a new one.
    pub run_id: Option<RunId>,
    /// Beats every model of the document, and of the workflows that work as its agents.
    pub model: Option<String>,
    /// Options of the requests to models: they beat those of agents, of the document and of the host, member by member. The
    /// runs of workflows that work as agents have them too.
    pub model_options: ModelOptions,
    /// The whole run; the smaller of this and the document's.
    pub timeout: Option<Duration>,
    /// What the run may spend; beats the document's, quantity by quantity.
    pub budget: Budget,
    /// Pays for the run beside its own budget. Runs of workflows that work as agents have that of their step.
    pub purse: Option<Arc<dyn Purse>>,
    /// What becomes of the pauses between iterations of loops.
    pub pauses: Pauses,
    /// Calls of models that nobody is there to allow, or that nobody answered for, wait instead of being denied: the run does
    /// what it can without and ends waiting, with these calls in its result. `resume_flow` with [`ResumeOptions::approvals`]
    /// goes on. Runs of workflows that work as agents do the same.
    pub defer_approvals: bool,
    /// The coordinator of the run; absent = the orchestrator's. The runs of workflows that work as its agents have none.
    pub coordinator: Option<Coordinator>,
    /// The retrieval memory of the run. The runs of workflows that work as its agents have what their own documents say.
    pub recall: RecallChoice,
    /// What the caller says of the run; recorded, and carried into the result. Never interpreted.
    pub metadata: Map,
    /// The session that the caller counts the run to; recorded, and carried into the result. Runs of one session share their
    /// retrieval memory, where they have one.
    pub session: Option<String>,
    /// Who is asked in this run, and in those of workflows that work as its agents, about calls, questions and a plan; absent =
    /// the orchestrator's. There is as much time to answer as that one has.
    pub approver: Option<Arc<dyn Approver>>,
    /// Sinks of this run, and of the runs of workflows that work as its agents: the events of those come as they are, with
    /// the id of their own run, in the order of their run. A run with sensitive steps keeps its inner runs from them.
    pub sinks: Vec<Arc<dyn Sink>>,
}

/// How a recorded run is taken up again.
#[derive(Clone, Default)]
pub struct ResumeOptions {
    /// Answers to the questions of steps, as for a new run.
    pub answers: BTreeMap<String, InputText>,
    /// What becomes of a call that may or may not have had its effect; absent = what the document says.
    pub on_unknown_effect: Option<UnknownEffect>,
    /// Beats every model of the document; absent = as the run was started.
    pub model: Option<String>,
    /// Options of the requests to models that are made from now on; they beat those that the run was started with.
    pub model_options: ModelOptions,
    /// The whole run, from now on where it had ended; the smaller of this and the document's.
    pub timeout: Option<Duration>,
    /// What the run may spend in all, what it has spent included; absent = as the run was started, quantity by quantity.
    pub budget: Budget,
    /// Pays for the run beside its own budget, as for a new run.
    pub purse: Option<Arc<dyn Purse>>,
    /// What becomes of the pauses between iterations of loops.
    pub pauses: Pauses,
    /// Who is asked in this run, as for a new run.
    pub approver: Option<Arc<dyn Approver>>,
    /// What was said about calls that the run waits with. Exactly one word counts: another one that comes later is refused, and
    /// nothing is recorded.
    pub approvals: Vec<Approval>,
    /// Calls that nobody is there to allow wait, as for a new run; so they do where the run was started so, or had waited so
    /// before.
    pub defer_approvals: bool,
    /// Sinks of this run, as for a new run.
    pub sinks: Vec<Arc<dyn Sink>>,
    /// Whether a document that has changed since the run was started is taken as it is now. A run has one document, so
    /// what goes on is a new run: it takes over the steps that are what they were, as do all that they depend on.
    pub accept_changes: bool,
}

/// What closing found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloseReport {
    /// Runs that had not ended when the grace was over.
    pub still_running: Vec<RunId>,
    /// What did not close within its grace: sinks and journals that are plugins, by their names.
    pub unclosed: Vec<String>,
}
