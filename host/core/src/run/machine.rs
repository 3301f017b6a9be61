//! The state machine of a run: `on(event) -> effects`.
//!
//! `apply` changes state by events alone, so a recorded list of events gives the same state as the live run;
//! `effects` derives what follows from that state and only marks what it has announced. No IO, clock or randomness.

use super::effect::Effect;
use super::node::{Kind, Node, NodeId, NodeState, ScopeId, ScopeRun};
use super::schedule::Slots;
use super::spending::Spending;
use super::waits::Waits;
use crate::event::{Body, RunEvent, RunReason, RunStatus, StepStatus};
use crate::fault::{Class, Fault};
use crate::id::StepPath;
use crate::limits;
use crate::memory::{Memory, MemoryCalls};
use crate::message::Usage;
use crate::spec::workflow::{LoopKind, Scope, Step, Wiring, Workflow};
use crate::time::Timestamp;
use crate::value::Map;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What the host decides about a run before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Attempts at once; the smaller of this and the document's.
    pub max_concurrency: Option<usize>,
}

/// Why a run is stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// By the user or the program.
    Cancelled,
    /// For a reason of its own.
    Reason(RunReason),
    /// Its budget is used up, and it waits for a higher one.
    Paused,
}

/// One opening of a step, or the run itself; see [`Machine::instance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance(Option<(NodeId, u32)>);

/// What becomes of a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another try, after this wait (jitter is the engine's).
    Retry {
        /// How long to wait; the engine takes a little off, so that steps that failed together part.
        delay: Duration,
        /// How long the other side asked to be left alone; never undercut.
        at_least: Duration,
    },
    /// The step fails.
    Fail,
}

/// How the run ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) at: Timestamp,
    pub(super) status: RunStatus,
    pub(super) reason: Option<RunReason>,
    pub(super) output: serde_json::Value,
    pub(super) error: Option<Fault>,
}

/// The state of one run.
#[derive(Debug)]
pub struct Machine {
    pub(super) workflow: Arc<Workflow>,
    pub(super) nodes: Vec<Node>,
    pub(super) scopes: Vec<ScopeRun>,
    pub(super) by_path: HashMap<StepPath, NodeId>,
    pub(super) inputs: Arc<Map>,
    pub(super) input: Option<Arc<str>>,
    pub(super) vars: Arc<Map>,
    pub(super) memory: Arc<Memory>,
    pub(super) memory_calls: MemoryCalls,
    pub(super) waits: Waits,
    /// Steps that wait for what nobody here can say.
    pub(super) deferred: usize,
    /// Steps whose conversation is resumed, or will be.
    pub(super) sequels: usize,
    /// Loops were told that nobody here waits for their pause.
    pub(super) postpones: bool,
    pub(super) agenda: VecDeque<NodeId>,
    /// Steps that ended their scope, and why; what has not begun there is looked at when effects are derived.
    pub(super) stopping: Vec<(NodeId, String)>,
    pub(super) slots: Slots,
    pub(super) stop: Option<Stop>,
    pub(super) first_error: Option<NodeId>,
    pub(super) order_of_ends: Vec<NodeId>,
    pub(super) started: Option<Timestamp>,
    /// From when on the run's time counts: a run that had ended has all of it again.
    pub(super) counts_from: Timestamp,
    pub(super) last_event: Timestamp,
    /// What was folded so far was copied from another run.
    pub(super) branched: bool,
    /// When the run was no process's.
    pub(super) outages: Vec<(Timestamp, Timestamp)>,
    pub(super) ended: Option<Ended>,
    pub(super) usage_by_model: BTreeMap<Arc<str>, Usage>,
    pub(super) warnings: Vec<String>,
    /// Files that steps changed in directories of their own, and which step did first.
    pub(super) changed: HashMap<String, StepPath>,
    /// The step that failed with the policy `abort`.
    pub(super) aborted_by: Option<NodeId>,
    /// Steps whose readiness was announced and is not recorded yet.
    pub(super) announced_ready: usize,
    pub(super) concluding: bool,
    /// Somebody else says when the document's own steps begin.
    pub(super) gated: bool,
    /// What the coordinator spent, and what it says that the run came to.
    pub(super) coordination: Coordination,
    /// What is spent, and what may be.
    pub(super) spending: Spending,
}

/// What is known of the run's coordinator.
#[derive(Debug, Default)]
pub(super) struct Coordination {
    /// There is one.
    pub(super) active: bool,
    pub(super) usage: Usage,
    pub(super) summary: Option<Arc<str>>,
    /// The calls whose narration is recorded.
    pub(super) narrated: HashSet<Arc<str>>,
}

impl Machine {
    /// A run that has not begun.
    #[must_use]
    pub fn new(workflow: Arc<Workflow>, settings: &Settings) -> Self {
        let bound = |limit: Option<usize>| limit.filter(|&limit| limit > 0);
        let limit = match (bound(workflow.options.max_concurrency), bound(settings.max_concurrency)) {
            (Some(document), Some(host)) => document.min(host),
            (Some(only), None) | (None, Some(only)) => only,
            // All of them start at once; only the host's bound holds.
            (None, None) if is_parallel(&workflow.scope) => limits::HOST_CONCURRENCY,
            (None, None) => limits::RUN_CONCURRENCY,
        };
        let slots = Slots::new(workflow.options.scheduler, limit.min(limits::HOST_CONCURRENCY));
        Self {
            workflow,
            nodes: Vec::new(),
            scopes: Vec::new(),
            by_path: HashMap::new(),
            inputs: Arc::default(),
            input: None,
            vars: Arc::default(),
            memory: Arc::default(),
            memory_calls: MemoryCalls::default(),
            waits: Waits::default(),
            deferred: 0,
            sequels: 0,
            postpones: false,
            agenda: VecDeque::new(),
            stopping: Vec::new(),
            slots,
            stop: None,
            first_error: None,
            order_of_ends: Vec::new(),
            started: None,
            counts_from: Timestamp::default(),
            last_event: Timestamp::default(),
            branched: false,
            outages: Vec::new(),
            ended: None,
            usage_by_model: BTreeMap::new(),
            warnings: Vec::new(),
            changed: HashMap::new(),
            aborted_by: None,
            announced_ready: 0,
            concluding: false,
            gated: false,
            coordination: Coordination::default(),
            spending: Spending::default(),
        }
    }

    /// From now on each of the document's own steps is decided about before it begins, also without a condition.
    pub fn gate(&mut self) {
        self.gated = true;
    }

    /// From now on a coordinator works beside the steps, at [`StepPath::coordinator`].
    pub fn coordinate(&mut self) {
        self.coordination.active = true;
    }

    /// What the coordinator says that the run came to.
    #[must_use]
    pub fn summary(&self) -> Option<&Arc<str>> {
        self.coordination.summary.as_ref()
    }

    /// Whether the coordinator has said something already, so that it would be said again.
    #[must_use]
    pub fn has_said(&self, body: &Body) -> bool {
        match body {
            Body::Summarized { .. } => self.coordination.summary.is_some(),
            Body::Narrated { key, .. } => self.coordination.narrated.contains(key),
            _ => false,
        }
    }

    /// Takes in what happened and says what to do now.
    pub fn on(&mut self, event: &RunEvent) -> Vec<Effect> {
        self.apply(event);
        self.effects()
    }

    /// Takes in what happened and does nothing about it: how a recorded run becomes a state again.
    pub fn fold(&mut self, event: &RunEvent) {
        self.apply(event);
    }

    /// The rest before the next try is over, or the pause between two iterations.
    pub fn due(&mut self, path: &StepPath) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(id) = self.find(path).filter(|_| !self.is_finished()) {
            match (self.node(id).state, &self.node(id).kind) {
                (NodeState::Resting, _) => self.make_ready(id),
                (NodeState::Open, Kind::Loop(_)) => self.end_pause(id, &mut effects),
                _ => {}
            }
        }
        effects.append(&mut self.effects());
        effects
    }

    /// Stops the run: what is under way is cancelled, what has not begun never does.
    pub fn stop(&mut self, stop: Stop) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.stop.is_none() && self.ended.is_none() {
            self.stop = Some(stop);
            let why = match stop {
                Stop::Cancelled => "the run was cancelled",
                Stop::Paused => "the run waits for a higher budget",
                Stop::Reason(RunReason::Timeout) => "the run's time was over",
                Stop::Reason(RunReason::Budget) => "the run's budget was spent",
                Stop::Reason(RunReason::Aborted) => "a failed step aborted the run",
                Stop::Reason(RunReason::Deadlock) => "the workflow engine left it",
            };
            for id in self.ids() {
                self.halt(id, why, &mut effects);
                self.cut_sequel(id, &mut effects);
            }
        }
        effects.append(&mut self.effects());
        effects
    }

    /// Whether an event that work inside a try or an evaluation produced still has a place.
    #[must_use]
    pub fn admits(&self, path: &StepPath, attempt: Option<u32>) -> bool {
        if path.is_delegate() {
            return attempt.is_some() && self.admits(&path.step(), attempt);
        }
        let Some(id) = self.find(path) else {
            let coordinates = path.is_coordinator() && self.coordination.active;
            return (path.is_root() || coordinates) && self.ended.is_none();
        };
        let node = self.node(id);
        match attempt {
            Some(attempt) => node.attempt == attempt && (node.state == NodeState::Running || self.reads_on(node)),
            None => {
                let asked = [NodeState::Deciding, NodeState::Expanding, NodeState::Asking, NodeState::Gathering];
                asked.contains(&node.state) || self.is_evaluating(id)
            }
        }
    }

    /// What becomes of a failed try.
    #[must_use]
    pub fn judge(&self, path: &StepPath, fault: &Fault) -> Verdict {
        let Some(id) = self.find(path) else { return Verdict::Fail };
        let node = self.node(id);
        // What a loop repeats has no tries of its own: the whole loop is tried again.
        let retries = if matches!(node.kind, Kind::Repeat { .. }) { 0 } else { self.step(id).retries };
        let tries = node.attempt.saturating_sub(node.base);
        if fault.class != Class::Retry || tries > retries || self.stop.is_some() {
            return Verdict::Fail;
        }
        let doubled = 1_000_u64.saturating_mul(1_u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX));
        let asked = fault.retry_after_ms.unwrap_or(0).min(limits::MODEL_RETRY_AFTER_MS);
        Verdict::Retry {
            delay: Duration::from_millis(doubled.min(limits::STEP_RETRY_WAIT_MS)),
            at_least: Duration::from_millis(asked),
        }
    }

    /// The workflow that runs.
    #[must_use]
    pub fn workflow(&self) -> &Arc<Workflow> {
        &self.workflow
    }

    /// The step of a path.
    #[must_use]
    pub fn step_at(&self, path: &StepPath) -> Option<&Step> {
        self.find(path).map(|id| self.step(id))
    }

    /// How long all tries of the step may take together; none = no limit. Loops, groups and includes
    /// have only their own; a person has what the question says.
    #[must_use]
    pub fn timeout_of(&self, path: &StepPath) -> Option<Duration> {
        let id = self.find(path)?;
        let default = self.scope(self.node(id).scope).scope.defaults.step_timeout;
        let timeout = match self.node(id).kind {
            Kind::Plain => self.step(id).timeout.or(default),
            Kind::Repeat { .. } | Kind::Judge { .. } => default,
            Kind::Loop(_) | Kind::Group(_) => self.step(id).timeout,
            Kind::Body { .. } | Kind::Ask => None,
        };
        timeout.filter(|timeout| !timeout.is_zero())
    }

    /// Where the step of a path is in its life.
    #[must_use]
    pub fn state_of(&self, path: &StepPath) -> Option<NodeState> {
        self.find(path).map(|id| self.node(id).state)
    }

    /// Which opening of a step stands at its path now, so that an answer for an earlier one is known as such.
    #[must_use]
    pub fn instance(&self, path: &StepPath) -> Instance {
        Instance(self.find(path).map(|id| (id, self.node(id).attempt)))
    }

    /// When the first try of the step began.
    #[must_use]
    pub fn started_at(&self, path: &StepPath) -> Option<Timestamp> {
        self.find(path).and_then(|id| self.node(id).started)
    }

    /// When the run began, as it stands in the journal.
    #[must_use]
    pub fn began_at(&self) -> Timestamp {
        self.started.unwrap_or_default()
    }

    /// How the run ended, as it is recorded.
    #[must_use]
    pub fn ended_as(&self) -> Option<RunStatus> {
        self.ended.as_ref().map(|ended| ended.status)
    }

    /// From when on the time of the run counts: its beginning, or when it was taken up again after its end.
    #[must_use]
    pub fn counts_from(&self) -> Timestamp {
        self.counts_from
    }

    /// When the run was no process's: between what one recorded last and the next one's first. It counts in no time limit.
    #[must_use]
    pub fn outages(&self) -> &[(Timestamp, Timestamp)] {
        &self.outages
    }

    /// Whether all that the run does has ended, so that it is about to.
    #[must_use]
    pub fn is_concluding(&self) -> bool {
        self.concluding
    }

    /// Whether the run was stopped before its end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.is_some()
    }

    /// The try of a step that is under way.
    #[must_use]
    pub fn attempt_of(&self, path: &StepPath) -> Option<u32> {
        let node = self.node(self.find(path)?);
        (node.state == NodeState::Running).then_some(node.attempt)
    }

    /// Whether the run has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.ended.is_some()
    }

    /// Tokens of all steps.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut sum = self.coordination.usage;
        for node in self.nodes.iter().filter(|node| node.works()) {
            sum += node.usage;
            if node.waiting.is_some() {
                sum += node.turns;
            }
        }
        sum
    }

    /// How the run ends, by the state of its steps.
    #[must_use]
    pub fn verdict(&self) -> (RunStatus, Option<RunReason>) {
        match self.stop {
            Some(Stop::Cancelled) => return (RunStatus::Cancelled, None),
            Some(Stop::Paused) => return (RunStatus::Waiting, Some(RunReason::Budget)),
            Some(Stop::Reason(reason)) => return (RunStatus::Failed, Some(reason)),
            None if self.waits_for_another_day() => return (RunStatus::Waiting, None),
            None => {}
        }
        let own = self.scopes.first().map_or(0, |root| root.scope.steps.len());
        let top = self.nodes.get(..own).unwrap_or_default();
        let bad = top.iter().any(|node| {
            !node.tolerated && matches!(node.state.status(), Some(StepStatus::Failed | StepStatus::Cancelled))
        });
        let good = top.iter().any(|node| node.state.status() == Some(StepStatus::Completed));
        match (bad, good) {
            (false, _) => (RunStatus::Completed, None),
            (true, true) => (RunStatus::Partial, None),
            (true, false) => (RunStatus::Failed, None),
        }
    }

    /// The first failure that counts, with its step: of the document's own steps, else of whatever failed.
    #[must_use]
    pub fn first_failure(&self) -> Option<(&StepPath, &Fault)> {
        let counts = |&&id: &&NodeId| {
            let node = self.node(id);
            node.scope == ScopeId(0)
                && node.is_member()
                && node.state.status() == Some(StepStatus::Failed)
                && !node.tolerated
        };
        let own = || self.order_of_ends.iter().find(counts).copied();
        let node = self.node(self.aborted_by.or_else(own).or(self.first_error)?);
        node.error.as_ref().map(|fault| (&node.path, fault))
    }

    /// Tokens that the try under way has spent so far.
    #[must_use]
    pub fn spent_by(&self, path: &StepPath) -> Usage {
        self.find(path).map(|id| self.node(id).turns).unwrap_or_default()
    }

    pub(super) fn find(&self, path: &StepPath) -> Option<NodeId> {
        self.by_path.get(path).copied()
    }

    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.nodes.len()).expect("instances are bounded")).map(NodeId)
    }

    pub(super) fn next_id(&self) -> NodeId {
        NodeId(u32::try_from(self.nodes.len()).expect("instances are bounded"))
    }

    pub(super) fn add(&mut self, mut node: Node) -> NodeId {
        let id = self.next_id();
        if let Some(before) = self.by_path.insert(node.path.clone(), id) {
            // The scope around it was tried before: tries go on counting, so that each has a number of its own.
            node.base = self.node(before).attempt;
            node.attempt = node.base;
        }
        self.nodes.push(node);
        id
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0 as usize).expect("node ids come from the arena")
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(id.0 as usize).expect("node ids come from the arena")
    }

    pub(super) fn scope(&self, id: ScopeId) -> &ScopeRun {
        self.scopes.get(id.0 as usize).expect("scope ids come from the list")
    }

    pub(super) fn scope_mut(&mut self, id: ScopeId) -> &mut ScopeRun {
        self.scopes.get_mut(id.0 as usize).expect("scope ids come from the list")
    }

    pub(super) fn step(&self, id: NodeId) -> &Step {
        let node = self.node(id);
        let step = self.scope(node.scope).scope.steps.get(node.step).expect("a node's step is in its scope");
        match (&node.kind, step.repeat.as_ref().map(|repeat| &repeat.kind)) {
            (Kind::Judge { .. }, Some(LoopKind::Repeat(repeat))) => repeat.judge.as_deref().unwrap_or(step),
            _ => step,
        }
    }
}

/// Whether a scope, or one inside it, is walked all at once.
fn is_parallel(scope: &Scope) -> bool {
    scope.wiring == Wiring::Parallel || scope.steps.iter().filter_map(Step::inner).any(|inner| is_parallel(inner))
}
