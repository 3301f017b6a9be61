//! The state machine of a run: `on(event) -> effects`.
//!
//! `apply` changes state by events alone, so a recorded list of events gives the same state as the live run;
//! `effects` derives what follows from that state and only marks what it has announced. No IO, clock or randomness.

use super::effect::{Effect, Emission};
use super::node::{Doom, Kind, Node, NodeId, NodeState, ScopeId, ScopeRun};
use super::schedule::Slots;
use crate::event::{Body, RunEvent, RunReason, RunStatus, SkippedBecause, StepStatus};
use crate::fault::{Class, Fault};
use crate::id::StepPath;
use crate::limits;
use crate::message::Usage;
use crate::plan::Plan;
use crate::spec::workflow::{FailurePolicy, Scope, Step, Workflow};
use crate::time::Timestamp;
use crate::value::Map;
use std::collections::{HashMap, VecDeque};
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
}

/// What becomes of a failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another try, after this wait (jitter is the engine's).
    Retry {
        /// How long to wait at least.
        delay: Duration,
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
    pub(super) agenda: VecDeque<NodeId>,
    pub(super) slots: Slots,
    pub(super) stop: Option<Stop>,
    pub(super) first_error: Option<NodeId>,
    pub(super) order_of_ends: Vec<NodeId>,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Ended>,
    pub(super) warnings: Vec<String>,
    /// A step failed whose policy is `abort`.
    abort: bool,
    concluding: bool,
}

impl Machine {
    /// A run that has not begun.
    #[must_use]
    pub fn new(workflow: Arc<Workflow>, settings: &Settings) -> Self {
        let bound = |limit: Option<usize>| limit.filter(|&limit| limit > 0);
        let limit = match (bound(workflow.options.max_concurrency), bound(settings.max_concurrency)) {
            (Some(document), Some(host)) => document.min(host),
            (Some(only), None) | (None, Some(only)) => only,
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
            agenda: VecDeque::new(),
            slots,
            stop: None,
            first_error: None,
            order_of_ends: Vec::new(),
            started: None,
            ended: None,
            warnings: Vec::new(),
            abort: false,
            concluding: false,
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

    /// The rest before the next try is over.
    pub fn due(&mut self, path: &StepPath) -> Vec<Effect> {
        if let Some(id) = self.find(path)
            && self.node(id).state == NodeState::Resting
        {
            self.queue(id);
        }
        self.effects()
    }

    /// The time of the loop at `path` is over.
    pub fn expire(&mut self, path: &StepPath, fault: Fault) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(id) = self.find(path)
            && self.node(id).state == NodeState::Looping
        {
            self.expire_loop(id, fault, &mut effects);
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
                Stop::Reason(RunReason::Timeout) => "the run's time was over",
                Stop::Reason(RunReason::Budget) => "the run's budget was spent",
                Stop::Reason(RunReason::Aborted) => "a failed step aborted the run",
            };
            for id in self.ids() {
                self.halt(id, why, &mut effects);
            }
        }
        effects.append(&mut self.effects());
        effects
    }

    /// Whether an event that work inside a try or an evaluation produced still has a place.
    #[must_use]
    pub fn admits(&self, path: &StepPath, attempt: Option<u32>) -> bool {
        let Some(id) = self.find(path) else { return path.is_root() && self.ended.is_none() };
        let node = self.node(id);
        match attempt {
            Some(attempt) => node.state == NodeState::Running && node.attempt == attempt,
            None => matches!(node.state, NodeState::Deciding | NodeState::Expanding),
        }
    }

    /// What becomes of a failed try.
    #[must_use]
    pub fn judge(&self, path: &StepPath, fault: &Fault) -> Verdict {
        let Some(id) = self.find(path) else { return Verdict::Fail };
        let node = self.node(id);
        let retries = self.step(id).retries;
        if fault.class != Class::Retry || node.attempt > retries || self.stop.is_some() {
            return Verdict::Fail;
        }
        let doubled = 1_000_u64.saturating_mul(1_u64.checked_shl(node.attempt.saturating_sub(1)).unwrap_or(u64::MAX));
        let asked = fault.retry_after_ms.unwrap_or(0);
        Verdict::Retry { delay: Duration::from_millis(doubled.min(limits::STEP_RETRY_WAIT_MS).max(asked)) }
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

    /// How long all tries of the step may take together; none = no limit. A loop has only its own.
    #[must_use]
    pub fn timeout_of(&self, path: &StepPath) -> Option<Duration> {
        let id = self.find(path)?;
        let default = self.workflow.options.step_timeout;
        let timeout = match self.node(id).kind {
            Kind::Plain => self.step(id).timeout.or(default),
            Kind::Repeat { .. } => default,
            Kind::Loop(_) | Kind::Body { .. } => self.step(id).timeout,
        };
        timeout.filter(|timeout| !timeout.is_zero())
    }

    /// Where the step of a path is in its life.
    #[must_use]
    pub fn state_of(&self, path: &StepPath) -> Option<NodeState> {
        self.find(path).map(|id| self.node(id).state)
    }

    /// When the first try of the step began.
    #[must_use]
    pub fn started_at(&self, path: &StepPath) -> Option<Timestamp> {
        self.find(path).and_then(|id| self.node(id).started)
    }

    /// Whether the run has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.ended.is_some()
    }

    /// Tokens of all steps.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        for node in self.nodes.iter().filter(|node| node.works()) {
            sum += node.usage;
        }
        sum
    }

    // ---- state by events -------------------------------------------------------------------------------------

    fn apply(&mut self, event: &RunEvent) {
        match &event.body {
            Body::RunStarted { inputs, input, .. } => {
                self.started = Some(event.at);
                self.inputs = Arc::new(inputs.clone());
                self.input.clone_from(input);
                let scope = Arc::clone(&self.workflow.scope);
                let plan = Arc::new(Plan::new(&scope));
                self.open_scope(scope, plan, &StepPath::ROOT, None);
            }
            Body::RunFinished { status, reason, output, error, .. } => {
                let (status, reason) = (*status, *reason);
                self.ended = Some(Ended { at: event.at, status, reason, output: output.clone(), error: error.clone() });
            }
            Body::Warning { message, .. } => self.warnings.push(if event.path.is_root() {
                message.clone()
            } else {
                format!("{}: {message}", event.path)
            }),
            body => {
                if let Some(id) = self.find(&event.path) {
                    self.apply_to(id, event, body);
                } else if let Body::LoopIterationStarted { index } = body {
                    self.open_iteration(&event.path, *index, event.at);
                }
            }
        }
    }

    fn apply_to(&mut self, id: NodeId, event: &RunEvent, body: &Body) {
        match body {
            Body::StepReady {} => self.ready(id),
            Body::StepStarted { items: Some(items), .. } => self.start_loop(id, Arc::clone(items), event.at),
            Body::StepStarted { .. } => self.start(id, event),
            Body::TurnFinished { usage, .. } => self.node_mut(id).turns += *usage,
            Body::StepRetrying { delay_ms, usage, .. } => {
                self.leave_slot(id);
                let node = self.node_mut(id);
                node.usage += *usage;
                node.turns = Usage::default();
                node.rest = Duration::from_millis(*delay_ms);
                node.state = NodeState::Resting;
                self.agenda.push_back(id);
            }
            Body::StepFinished { status, output, error, usage, truncated_inputs } => {
                let node = self.node_mut(id);
                node.output = output.clone();
                node.error.clone_from(error);
                node.truncated_inputs.clone_from(truncated_inputs);
                node.turns = *usage;
                self.end(id, *status, event.at);
            }
            Body::StepSkipped { because, detail } => {
                self.node_mut(id).skipped = Some((*because, detail.clone()));
                self.end(id, StepStatus::Skipped, event.at);
            }
            Body::StepCancelled { .. } => self.end(id, StepStatus::Cancelled, event.at),
            Body::LoopIterationFinished { status, .. } => self.end_iteration(id, *status, event.at),
            _ => {}
        }
    }

    /// Makes the nodes of a scope.
    pub(super) fn open_scope(
        &mut self,
        scope: Arc<Scope>,
        plan: Arc<Plan>,
        at: &StepPath,
        parent: Option<NodeId>,
    ) -> ScopeId {
        let scope_id = ScopeId(u32::try_from(self.scopes.len()).expect("instances are bounded"));
        let first = self.next_id();
        for (index, step) in scope.steps.iter().enumerate() {
            let kind = if step.repeat.is_some() { Kind::Loop(Box::default()) } else { Kind::Plain };
            let mut node = Node::new(at.child(&step.id), scope_id, index, kind);
            node.waits = step.depends_on.len();
            if node.waits == 0 {
                node.state = NodeState::Due;
                self.agenda.push_back(self.next_id());
            }
            self.add(node);
        }
        let left = scope.steps.len();
        self.scopes.push(ScopeRun { scope, plan, first, left, parent });
        scope_id
    }

    fn ready(&mut self, id: NodeId) {
        if matches!(self.node(id).kind, Kind::Loop(_)) {
            self.node_mut(id).state = NodeState::Expanding;
            self.agenda.push_back(id);
        } else {
            self.queue(id);
        }
    }

    /// Puts a node among those that wait for a slot.
    pub(super) fn queue(&mut self, id: NodeId) {
        self.node_mut(id).state = NodeState::Queued;
        let agent = self.step(id).agent().cloned();
        self.slots.push(id, agent.as_ref());
    }

    fn start(&mut self, id: NodeId, event: &RunEvent) {
        let agent = self.step(id).agent().cloned();
        if self.node(id).state == NodeState::Queued {
            self.slots.remove(id, agent.as_ref());
            self.slots.take(agent.as_ref());
        }
        let node = self.node_mut(id);
        node.state = NodeState::Running;
        node.attempt = event.attempt.unwrap_or(1);
        node.started.get_or_insert(event.at);
        self.agenda.push_back(id);
    }

    fn leave_slot(&mut self, id: NodeId) {
        let agent = self.step(id).agent().cloned();
        if self.node(id).holds_slot() {
            self.slots.release(agent.as_ref());
        } else if self.node(id).state == NodeState::Queued {
            self.slots.remove(id, agent.as_ref());
        }
    }

    /// A node has ended: its slot is free, its dependents learn of it, its scope has one step less to wait for.
    pub(super) fn end(&mut self, id: NodeId, status: StepStatus, at: Timestamp) {
        if self.node(id).state.status().is_some() {
            return;
        }
        self.leave_slot(id);
        let policy = self.step(id).failure_policy(&self.workflow.options);
        let node = self.node_mut(id);
        let spent = std::mem::take(&mut node.turns);
        node.usage += spent;
        node.ended = Some(at);
        node.tolerated = status == StepStatus::Failed && policy == FailurePolicy::Continue;
        node.state = NodeState::Done(status);
        self.order_of_ends.push(id);
        if status == StepStatus::Failed && !self.node(id).tolerated && self.first_error.is_none() {
            self.first_error = Some(id);
        }
        match self.node(id).kind {
            Kind::Plain | Kind::Loop(_) => {
                self.abort |= status == StepStatus::Failed && policy == FailurePolicy::Abort;
                self.tell_dependents(id, status, policy);
                let scope = self.node(id).scope;
                self.scope_mut(scope).left -= 1;
                if let Some(parent) = self.scope(scope).parent
                    && self.scope(scope).left == 0
                {
                    self.agenda.push_back(parent);
                }
            }
            Kind::Repeat { .. } => self.agenda.push_back(id),
            Kind::Body { .. } => {}
        }
    }

    fn tell_dependents(&mut self, id: NodeId, status: StepStatus, policy: FailurePolicy) {
        let doom = self.doom_of_dependents(id, status, policy);
        let (scope, step) = (self.node(id).scope, self.node(id).step);
        let plan = Arc::clone(&self.scope(scope).plan);
        let first = self.scope(scope).first;
        for &dependent in plan.dependents(step) {
            let dependent = NodeId(first.0 + u32::try_from(dependent).expect("scopes are bounded"));
            match &doom {
                Some(doom) => self.doom(dependent, doom.clone()),
                None => self.satisfy(dependent),
            }
        }
    }

    fn doom_of_dependents(&self, id: NodeId, status: StepStatus, policy: FailurePolicy) -> Option<Doom> {
        let node = self.node(id);
        let name = &node.path;
        match (status, policy) {
            (StepStatus::Completed, _) | (StepStatus::Failed, FailurePolicy::Continue) => None,
            (StepStatus::Failed, FailurePolicy::SkipDependents) => Some(Doom::Skip(format!("step `{name}` failed"))),
            (StepStatus::Failed, FailurePolicy::Cascade | FailurePolicy::Abort) => {
                Some(Doom::Cancel(format!("step `{name}` failed")))
            }
            (StepStatus::Cancelled, _) => Some(Doom::Cancel(format!("step `{name}` was cancelled"))),
            (StepStatus::Skipped, _) => match node.skipped {
                Some((SkippedBecause::Upstream, _)) => Some(Doom::Skip(format!("step `{name}` was skipped"))),
                _ => None,
            },
        }
    }

    /// One dependency more is done.
    fn satisfy(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        node.waits = node.waits.saturating_sub(1);
        if node.waits == 0 && node.state == NodeState::Waiting {
            node.state = NodeState::Due;
            self.agenda.push_back(id);
        }
    }

    /// The node will not run.
    pub(super) fn doom(&mut self, id: NodeId, doom: Doom) {
        let state = self.node(id).state;
        if matches!(
            state,
            NodeState::Running
                | NodeState::Starting
                | NodeState::Looping
                | NodeState::Closing
                | NodeState::Done(_)
                | NodeState::Doomed
        ) {
            return;
        }
        self.leave_slot(id);
        let node = self.node_mut(id);
        node.doom = Some(doom);
        node.state = NodeState::Doomed;
        self.agenda.push_back(id);
    }

    /// Cancels a node in whatever state it is.
    pub(super) fn halt(&mut self, id: NodeId, why: &str, effects: &mut Vec<Effect>) {
        match self.node(id).state {
            NodeState::Running if self.node(id).works() => effects.push(Effect::Cancel(self.node(id).path.clone())),
            NodeState::Starting | NodeState::Looping | NodeState::Closing => {}
            _ => self.doom(id, Doom::Cancel(why.to_owned())),
        }
    }

    // ---- effects of state ------------------------------------------------------------------------------------

    fn effects(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.abort && self.stop.is_none() {
            return self.stop(Stop::Reason(RunReason::Aborted));
        }
        while let Some(id) = self.agenda.pop_front() {
            self.effects_of(id, &mut effects);
        }
        while self.stop.is_none() {
            let Some(id) = self.slots.pick() else { break };
            self.node_mut(id).state = NodeState::Starting;
            effects.push(self.announce_start(id));
        }
        self.conclude(&mut effects);
        effects
    }

    fn effects_of(&mut self, id: NodeId, effects: &mut Vec<Effect>) {
        let path = self.node(id).path.clone();
        match self.node(id).state {
            NodeState::Due if self.stop.is_some() => self.doom(id, Doom::Cancel("the run was stopped".to_owned())),
            NodeState::Due => {
                self.node_mut(id).state = NodeState::Deciding;
                effects.push(if self.step(id).condition.is_some() {
                    Effect::Decide(path)
                } else {
                    emit(path, None, Body::StepReady {})
                });
            }
            NodeState::Expanding => effects.push(Effect::Expand(path)),
            NodeState::Running if self.node(id).works() => {
                effects.push(Effect::Start { path: path.clone(), attempt: self.node(id).attempt });
                if self.stop.is_some() {
                    effects.push(Effect::Cancel(path));
                }
            }
            NodeState::Resting => effects.push(Effect::Wait { path, delay: self.node(id).rest }),
            NodeState::Doomed => {
                let body = match self.node(id).doom.clone() {
                    Some(Doom::Skip(detail)) => Body::StepSkipped { because: SkippedBecause::Upstream, detail },
                    Some(Doom::Cancel(detail)) => Body::StepCancelled { detail },
                    None => Body::StepCancelled { detail: String::new() },
                };
                self.node_mut(id).state = NodeState::Closing;
                effects.push(emit(path, None, body));
            }
            _ => self.effects_of_loop(id, effects),
        }
    }

    fn announce_start(&self, id: NodeId) -> Effect {
        let (node, step) = (self.node(id), self.step(id));
        let body = Body::StepStarted { agent: step.agent().cloned(), tool: step.tool().cloned(), items: None };
        emit(node.path.clone(), Some(node.attempt + 1), body)
    }

    fn conclude(&mut self, effects: &mut Vec<Effect>) {
        let done = self.scopes.first().is_some_and(|root| root.left == 0);
        if done && !self.concluding && self.ended.is_none() {
            self.concluding = true;
            effects.push(Effect::Conclude);
        }
    }

    /// How the run ends, by the state of its steps.
    #[must_use]
    pub fn verdict(&self) -> (RunStatus, Option<RunReason>) {
        match self.stop {
            Some(Stop::Cancelled) => return (RunStatus::Cancelled, None),
            Some(Stop::Reason(reason)) => return (RunStatus::Failed, Some(reason)),
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

    /// The first failure that counts, with its step.
    #[must_use]
    pub fn first_failure(&self) -> Option<(&StepPath, &Fault)> {
        let node = self.node(self.first_error?);
        node.error.as_ref().map(|fault| (&node.path, fault))
    }

    // ---- access ----------------------------------------------------------------------------------------------

    pub(super) fn find(&self, path: &StepPath) -> Option<NodeId> {
        self.by_path.get(path).copied()
    }

    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..u32::try_from(self.nodes.len()).expect("instances are bounded")).map(NodeId)
    }

    fn next_id(&self) -> NodeId {
        NodeId(u32::try_from(self.nodes.len()).expect("instances are bounded"))
    }

    pub(super) fn add(&mut self, node: Node) -> NodeId {
        let id = self.next_id();
        self.by_path.insert(node.path.clone(), id);
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
        self.scope(node.scope).scope.steps.get(node.step).expect("a node's step is in its scope")
    }
}

pub(super) fn emit(path: StepPath, attempt: Option<u32>, body: Body) -> Effect {
    Effect::Emit(Box::new(Emission { path, attempt, body }))
}
