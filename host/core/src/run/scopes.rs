//! Steps that hold other steps: how they open, how they close, and what a whole try of them is.

use super::effect::Effect;
use super::follow::emit;
use super::machine::{Machine, Verdict};
use super::node::{Kind, Node, NodeId, NodeState, ScopeId, ScopeRun};
use crate::event::{Body, RunEvent, StepOutput, StepStatus};
use crate::fault::Fault;
use crate::id::StepPath;
use crate::message::Usage;
use crate::plan::Plan;
use crate::spec::workflow::{Scope, Work};
use crate::value::{self, Map};
use std::sync::Arc;

/// What a step with inner steps gave, and why it failed if it did.
pub(super) struct Given {
    pub(super) output: StepOutput,
    pub(super) error: Option<Fault>,
}

impl Machine {
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
            let kind = match (&step.repeat, &step.work) {
                (Some(_), _) => Kind::Loop(Box::default()),
                (None, Work::Group(_) | Work::Include(_)) => Kind::Group(None),
                (None, Work::Ask(_)) => Kind::Ask,
                (None, Work::Agent(_) | Work::Tool(_) | Work::Body) => Kind::Plain,
            };
            let mut node = Node::new(at.child(&step.id), scope_id, index, kind);
            node.waits = step.depends_on.len();
            if node.waits == 0 {
                node.state = NodeState::Due;
                self.agenda.push_back(self.next_id());
            }
            self.add(node);
        }
        let left = scope.steps.len();
        self.scopes.push(ScopeRun { scope, plan, first, left, parent, inputs: None, choices: Vec::new() });
        scope_id
    }

    /// A step that holds others, or asks a person, has begun.
    pub(super) fn open(&mut self, id: NodeId, event: &RunEvent) {
        if !matches!(self.node(id).state, NodeState::Expanding | NodeState::Resting) {
            return;
        }
        let Body::StepStarted { items, inputs, .. } = &event.body else { return };
        let node = self.node_mut(id);
        node.attempt += 1;
        node.started.get_or_insert(event.at);
        node.state = NodeState::Open;
        match node.kind {
            Kind::Loop(_) => self.start_loop(id, items.clone().unwrap_or_default()),
            Kind::Group(_) => self.open_group(id, inputs.clone()),
            _ => {
                node.state = NodeState::Asking;
                self.agenda.push_back(id);
            }
        }
    }

    fn open_group(&mut self, id: NodeId, inputs: Option<Arc<Map>>) {
        let Some(scope) = self.step(id).inner().cloned() else { return };
        let (plan, path) = (Arc::new(Plan::new(&scope)), self.node(id).path.clone());
        let scope = self.open_scope(scope, plan, &path, Some(id));
        self.scope_mut(scope).inputs = inputs;
        self.node_mut(id).kind = Kind::Group(Some(scope));
        self.agenda.push_back(id);
    }

    pub(super) fn effects_of_group(&mut self, id: NodeId, scope: ScopeId, effects: &mut Vec<Effect>) {
        if self.scope(scope).left > 0 {
            return;
        }
        let given = self.group_given(id, scope);
        if self.node(id).expired.is_none() && self.scope_status(scope) == StepStatus::Cancelled {
            return self.close_cancelled(id, "its steps were cancelled", effects);
        }
        self.close(id, given, effects);
    }

    fn group_given(&self, id: NodeId, scope: ScopeId) -> Given {
        let output = self.scope_output(scope);
        let error = match &self.node(id).expired {
            Some(fault) => Some((**fault).clone()),
            None => self.first_fault(scope),
        };
        Given { output, error }
    }

    /// What the inner steps of the step at `path` gave, before its own `output` or transforms.
    #[must_use]
    pub fn gathered(&self, path: &StepPath) -> StepOutput {
        let Some(id) = self.find(path) else { return StepOutput::default() };
        match self.node(id).kind {
            Kind::Group(Some(scope)) => self.scope_output(scope),
            Kind::Loop(_) => self.loop_given(id).output,
            _ => StepOutput::default(),
        }
    }

    /// Ends a step whose inner steps have ended; or tries the whole of it again, or has its output evaluated.
    pub(super) fn close(&mut self, id: NodeId, given: Given, effects: &mut Vec<Effect>) {
        let path = self.node(id).path.clone();
        let Given { output, error } = self.bounded(given);
        if error.is_none() && self.must_gather(id) {
            self.node_mut(id).state = NodeState::Gathering;
            return effects.push(Effect::Gather(path));
        }
        let expired = self.node(id).expired.is_some() || self.is_halted(id);
        let again = error.as_ref().filter(|_| !expired).map(|fault| self.judge(&path, fault));
        self.node_mut(id).state = NodeState::Closing;
        let body = match (error, again) {
            (Some(error), Some(Verdict::Retry { delay, at_least })) => {
                let delay_ms = u64::try_from(delay.max(at_least).as_millis()).unwrap_or(u64::MAX);
                Body::StepRetrying { error, delay_ms, usage: Usage::default() }
            }
            (error, _) => {
                let status = if error.is_some() { StepStatus::Failed } else { StepStatus::Completed };
                Body::StepFinished { status, output, error, usage: Usage::default(), truncated_inputs: Vec::new() }
            }
        };
        effects.push(emit(path, None, body));
    }

    /// What is too large for the journal is not kept; the step says so.
    fn bounded(&self, given: Given) -> Given {
        let Given { output, error } = given;
        let bytes = output.content.len().saturating_add(value::size(&output.result));
        let limit = self.workflow.options.limits.step_output_bytes;
        if bytes <= limit {
            return Given { output, error };
        }
        let message = format!("what its steps gave has {bytes} bytes together, more than the limit of {limit}");
        let fault = Fault::step("output_too_large", message)
            .with_hint("write large results to files, `out:NAME`, or shorten them with `transform`");
        Given { output: StepOutput::default(), error: error.or(Some(fault)) }
    }

    pub(super) fn close_cancelled(&mut self, id: NodeId, why: &str, effects: &mut Vec<Effect>) {
        self.node_mut(id).state = NodeState::Closing;
        let body = Body::StepCancelled { detail: why.to_owned() };
        effects.push(emit(self.node(id).path.clone(), None, body));
    }

    /// Whether what the inner steps gave is not yet what the step gives. A step that is repeated by itself changes the
    /// output of each iteration instead.
    fn must_gather(&self, id: NodeId) -> bool {
        let step = self.step(id);
        let own = step.inner().is_some() && !step.transform.output.is_empty();
        own || matches!(&step.work, Work::Include(include) if include.output.is_some())
    }

    /// The first fault of a scope that counts.
    pub(super) fn first_fault(&self, scope: ScopeId) -> Option<Fault> {
        let nodes = (0..self.scope(scope).scope.steps.len()).map(|step| self.node(self.member(scope, step)));
        let failed = nodes.filter(|node| node.state.status() == Some(StepStatus::Failed) && !node.tolerated);
        let first = failed.min_by_key(|node| node.ended)?;
        let mut fault = first.error.clone().unwrap_or_else(|| Fault::step("failed", "it failed"));
        fault.message = format!("step `{}` failed: {}", first.path, fault.message);
        Some(fault)
    }

    /// The time of the loop, group or include at `path` is over: what is under way in it is cancelled, and nothing more
    /// begins.
    pub fn expire(&mut self, path: &StepPath, fault: Fault) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(id) = self.find(path).filter(|_| !self.is_finished()) {
            match self.node(id).state {
                NodeState::Open => self.expire_open(id, fault, &mut effects),
                NodeState::Resting | NodeState::Expanding | NodeState::Gathering if !self.node(id).works() => {
                    self.node_mut(id).expired = Some(Box::new(fault.clone()));
                    let given = Given { output: self.gathered(path), error: Some(fault) };
                    self.close(id, given, &mut effects);
                }
                _ => {}
            }
        }
        effects.append(&mut self.effects());
        effects
    }

    fn expire_open(&mut self, id: NodeId, fault: Fault, effects: &mut Vec<Effect>) {
        let prefix = self.node(id).path.clone();
        self.node_mut(id).expired = Some(Box::new(fault));
        for inner in self.ids() {
            let rest = self.node(inner).path.as_str().strip_prefix(prefix.as_str());
            if rest.is_some_and(|rest| rest.starts_with(['[', '.'])) {
                self.halt(inner, "the time of the step around it was over", effects);
            }
        }
        self.agenda.push_back(id);
    }

    /// The container whose try, iteration or scope a node belongs to.
    pub(super) fn around(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).iterates().or_else(|| self.scope(self.node(id).scope).parent)
    }

    /// Whether nothing may begin at a node: the run was stopped, or the time of a step around it is over.
    pub(super) fn is_halted(&self, id: NodeId) -> bool {
        let mut at = self.around(id).filter(|_| self.stop.is_none());
        while let Some(around) = at {
            if self.node(around).expired.is_some() {
                return true;
            }
            at = self.around(around);
        }
        self.stop.is_some()
    }

    /// Tokens of everything inside a step.
    pub(super) fn usage_within(&self, id: NodeId) -> Usage {
        let prefix = self.node(id).path.as_str();
        let inside = |node: &&Node| {
            let rest = node.path.as_str().strip_prefix(prefix);
            node.works() && rest.is_some_and(|rest| rest.starts_with(['[', '.']))
        };
        let mut sum = Usage::default();
        for node in self.nodes.iter().filter(inside) {
            sum += node.usage;
        }
        sum
    }
}
