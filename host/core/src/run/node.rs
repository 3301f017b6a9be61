//! One step's life: the state of a step instance, of a scope instance, of a loop.

use crate::event::{SkippedBecause, StepOutput, StepStatus};
use crate::fault::Fault;
use crate::id::StepPath;
use crate::message::Usage;
use crate::plan::Plan;
use crate::spec::workflow::{ForEach, Scope, Step};
use crate::time::Timestamp;
use serde_json::Value;
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
    /// The engine evaluates the items of the loop.
    Expanding,
    /// It may start when a slot is free.
    Queued,
    /// It has a slot; `step_started` is on its way.
    Starting,
    /// A try is under way.
    Running,
    /// It waits before the next try.
    Resting,
    /// Its iterations are under way.
    Looping,
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
    /// A loop.
    Loop(Box<LoopRun>),
    /// An iteration that repeats the step itself: it works like a plain step.
    Repeat { of: NodeId, index: u32 },
    /// An iteration with a body.
    Body { of: NodeId, index: u32, scope: ScopeId },
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
    /// Why it is doomed.
    pub(super) doom: Option<Doom>,
    /// How long the rest before the next try is.
    pub(super) rest: Duration,
}

/// What becomes of a doomed node.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Doom {
    Cancel(String),
    Skip(String),
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
    /// The iteration whose body it is; none for the document.
    pub(super) parent: Option<NodeId>,
}

/// A `forEach` that is being walked.
#[derive(Debug, Default)]
pub(super) struct LoopRun {
    pub(super) items: Arc<Vec<Value>>,
    /// Iterations that have begun, by index.
    pub(super) iterations: Vec<NodeId>,
    /// Iterations announced, which are at least those that have begun.
    pub(super) announced: usize,
    pub(super) active: usize,
    /// The first iteration that failed.
    pub(super) failed: Option<u32>,
    /// Set when the loop's time is over.
    pub(super) expired: Option<Fault>,
    pub(super) body_plan: Option<Arc<Plan>>,
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
            output: StepOutput::default(),
            error: None,
            skipped: None,
            tolerated: false,
            usage: Usage::default(),
            turns: Usage::default(),
            started: None,
            ended: None,
            truncated_inputs: Vec::new(),
            doom: None,
            rest: Duration::ZERO,
        }
    }

    /// Whether the node takes slots and has tries.
    pub(super) fn works(&self) -> bool {
        matches!(self.kind, Kind::Plain | Kind::Repeat { .. })
    }

    pub(super) fn holds_slot(&self) -> bool {
        self.works() && matches!(self.state, NodeState::Starting | NodeState::Running)
    }
}

/// The loop of a step, which its nodes of kind `Loop` have.
pub(super) fn repeat(step: &Step) -> &ForEach {
    match step.repeat.as_ref().map(|repeat| &repeat.kind) {
        Some(crate::spec::workflow::LoopKind::ForEach(each)) => each,
        _ => unreachable!("a loop node belongs to a step with a loop"),
    }
}
