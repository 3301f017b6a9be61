//! One step's life: the state of a step instance, of a scope instance, of a loop.

use super::decisions::Choice;
use super::loops::LoopRun;
use super::sequel::Sequel;
use crate::event::{Changes, SkippedBecause, StepOutput, StepStatus};
use crate::fault::Fault;
use crate::id::StepPath;
use crate::message::Usage;
use crate::plan::Plan;
use crate::spec::workflow::Scope;
use crate::time::Timestamp;
use crate::value::Map;
use std::sync::Arc;
use std::time::Duration;

/// Index of a node in the machine's arena; also its rank by declaration and creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(pub(super) u32);

/// Index of a scope instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ScopeId(pub(super) u32);

/// Where a step instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Dependencies are not done.
    Waiting,
    /// Dependencies are done; nobody has looked at the condition.
    Due,
    /// The engine evaluates the condition.
    Deciding,
    /// What it begins with is evaluated: a loop's items, an include's inputs.
    Expanding,
    /// It may start when a slot is free.
    Queued,
    /// It has a slot; `step_started` is on its way.
    Starting,
    /// A try is under way.
    Running,
    /// It waits before the next try.
    Resting,
    /// Its inner steps or iterations are under way.
    Open,
    /// A person is asked.
    Asking,
    /// It waits for a word that nobody here can say: the answer to its question, or about what its try wants to do.
    Deferred,
    /// All inside has ended, and the engine evaluates what that gives.
    Gathering,
    /// It will be cancelled or skipped.
    Doomed,
    /// The event of its end is on its way.
    Closing,
    /// It has ended.
    Done(StepStatus),
}

impl NodeState {
    /// How it ended, if it has.
    #[must_use]
    pub fn status(self) -> Option<StepStatus> {
        match self {
            Self::Done(status) => Some(status),
            _ => None,
        }
    }
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Kind {
    /// A step that does its own work.
    Plain,
    /// A question to a person.
    Ask,
    /// A group or an included document; the scope is there once it is open.
    Group(Option<ScopeId>),
    /// A loop.
    Loop(Box<LoopRun>),
    /// An iteration that repeats the step itself: it works like a plain step.
    Repeat { of: NodeId, index: u32 },
    /// An iteration with a body.
    Body { of: NodeId, index: u32, scope: ScopeId },
    /// The judge of an iteration: it works like a plain step.
    Judge { of: NodeId, index: u32 },
}

/// One step instance.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) path: StepPath,
    pub(super) scope: ScopeId,
    /// The step's index in its scope.
    pub(super) step: usize,
    pub(super) kind: Kind,
    pub(super) state: NodeState,
    /// Dependencies that are not done.
    pub(super) waits: usize,
    pub(super) attempt: u32,
    /// Tries that belong to an earlier opening of the scope around the step.
    pub(super) base: u32,
    pub(super) output: StepOutput,
    pub(super) error: Option<Fault>,
    pub(super) skipped: Option<(SkippedBecause, String)>,
    /// The failure does not count for the run's status.
    pub(super) tolerated: bool,
    pub(super) usage: Usage,
    /// Tokens of the turns of the try under way.
    pub(super) turns: Usage,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    pub(super) truncated_inputs: Vec<String>,
    /// What its last try changed in a directory of its own.
    pub(super) changes: Option<Arc<Changes>>,
    /// Why it is doomed.
    pub(super) doom: Option<Doom>,
    /// How long the rest before the next try is.
    pub(super) rest: Duration,
    /// When it began.
    pub(super) rests_since: Timestamp,
    /// Calls of tools in the last try that have begun and not ended.
    pub(super) open_calls: Vec<Box<str>>,
    /// The try was ended from outside while it was at work, or with a call open: what it had spent before. It is taken
    /// up again when the run is.
    pub(super) cut: Option<Box<Usage>>,
    /// Since when its last try waits for a person; it goes on when the run is taken up.
    pub(super) waiting: Option<Timestamp>,
    /// How long its tries have waited so, up to when the run was heard of last.
    pub(super) waited: Duration,
    /// It had begun when its scope was told to begin nothing more, and runs again since the run was taken up.
    pub(super) again: bool,
    /// The next start takes the last try up again.
    pub(super) resuming: bool,
    /// The end of the iteration is recorded.
    pub(super) reported: bool,
    /// Set when the time of a loop, group or include is over.
    pub(super) expired: Option<Box<Fault>>,
    /// Somebody looks at its time.
    pub(super) watched: bool,
    /// Its readiness was announced and is not recorded yet.
    pub(super) announced: bool,
    /// The last message that its agent has read since the step completed, and not answered.
    pub(super) unanswered: Option<u64>,
    /// Its conversation is resumed, or will be.
    pub(super) sequel: Option<Sequel>,
}

/// What becomes of a doomed node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Doom {
    Cancel(String),
    Skip(String),
    /// A condition ended the scope.
    Stop(String),
}

/// A scope that is being walked.
#[derive(Debug)]
pub(super) struct ScopeRun {
    pub(super) scope: Arc<Scope>,
    pub(super) plan: Arc<Plan>,
    /// The node of the scope's first step; the others follow.
    pub(super) first: NodeId,
    /// Nodes that have not ended.
    pub(super) left: usize,
    /// The iteration, group or include whose steps these are; none for the document.
    pub(super) parent: Option<NodeId>,
    /// The inputs of an included document; none = those around it.
    pub(super) inputs: Option<Arc<Map>>,
    /// What conditions chose in it.
    pub(super) choices: Vec<Choice>,
}

impl Node {
    pub(super) fn new(path: StepPath, scope: ScopeId, step: usize, kind: Kind) -> Self {
        Self {
            path,
            scope,
            step,
            kind,
            state: NodeState::Waiting,
            waits: 0,
            attempt: 0,
            base: 0,
            output: StepOutput::default(),
            error: None,
            skipped: None,
            tolerated: false,
            usage: Usage::default(),
            turns: Usage::default(),
            started: None,
            ended: None,
            truncated_inputs: Vec::new(),
            changes: None,
            doom: None,
            rest: Duration::ZERO,
            rests_since: Timestamp::default(),
            open_calls: Vec::new(),
            cut: None,
            waiting: None,
            waited: Duration::ZERO,
            again: false,
            resuming: false,
            reported: false,
            expired: None,
            watched: false,
            announced: false,
            unanswered: None,
            sequel: None,
        }
    }

    /// Whether the node takes slots and has tries.
    pub(super) fn works(&self) -> bool {
        matches!(self.kind, Kind::Plain | Kind::Repeat { .. } | Kind::Judge { .. })
    }

    /// Whether the node is a step of its scope, and not an iteration or a judge of one.
    pub(super) fn is_member(&self) -> bool {
        matches!(self.kind, Kind::Plain | Kind::Ask | Kind::Group(_) | Kind::Loop(_))
    }

    /// The loop around an iteration or a judge.
    pub(super) fn iterates(&self) -> Option<NodeId> {
        match self.kind {
            Kind::Repeat { of, .. } | Kind::Body { of, .. } | Kind::Judge { of, .. } => Some(of),
            _ => None,
        }
    }

    /// When the next iteration of a loop may begin that nobody here waits for.
    pub(super) fn postponed(&self) -> Option<Timestamp> {
        match &self.kind {
            Kind::Loop(run) => run.postponed,
            _ => None,
        }
    }

    pub(super) fn holds_slot(&self) -> bool {
        self.works() && matches!(self.state, NodeState::Starting | NodeState::Running)
    }
}
