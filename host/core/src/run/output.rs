//! What scopes and loops give: the outputs of their output steps, put together.

use super::machine::Machine;
use super::node::{Node, NodeId, ScopeId};
use crate::event::{SkippedBecause, StepOutput, StepStatus};
use crate::fault::Fault;
use crate::limits;
use crate::value::{self, Map};
use serde_json::Value;
use std::sync::Arc;

impl Machine {
    /// What the run returns when the document has no `output`: data, or text where there is only text.
    ///
    /// # Errors
    /// When that is more than the run's record can hold.
    pub fn default_output(&self) -> Result<Value, Fault> {
        if self.scopes.is_empty() {
            return Ok(Value::Null);
        }
        let steps = self.output_steps(ScopeId(0));
        let bytes = steps.iter().map(|&id| self.bytes_given_by(id)).fold(0, usize::saturating_add);
        if bytes > limits::RUN_OUTPUT_BYTES {
            let limit = limits::RUN_OUTPUT_BYTES;
            let message = format!("what the run's last steps gave has {bytes} bytes together, more than {limit}");
            return Err(Fault::step("output_too_large", message)
                .with_hint("say with `output` what the run returns, or write large results to files, `out:NAME`"));
        }
        Ok(match steps.as_slice() {
            [only] => self.given_by(*only),
            many if many.iter().any(|&id| self.has_data(id)) => {
                let entry = |&id: &NodeId| (self.step(id).id.to_string(), self.given_by(id));
                Value::Object(many.iter().map(entry).collect())
            }
            _ => Value::String(self.scope_output(ScopeId(0)).content.to_string()),
        })
    }

    fn bytes_given_by(&self, id: NodeId) -> usize {
        let output = &self.node(id).output;
        if self.has_data(id) { value::size(&output.result) } else { output.content.len() }
    }

    /// The data of a step, or its text where there is only text.
    fn given_by(&self, id: NodeId) -> Value {
        let output = &self.node(id).output;
        if self.has_data(id) { (*output.result).clone() } else { Value::String(output.content.to_string()) }
    }

    /// A scope with one output step has its content and result; with several, the contents joined by a blank line
    /// and the map of id to result.
    pub(super) fn scope_output(&self, scope: ScopeId) -> StepOutput {
        let steps = self.output_steps(scope);
        if let [only] = steps.as_slice() {
            return StepOutput { truncated: false, metadata: Arc::default(), ..self.node(*only).output.clone() };
        }
        let contents: Vec<&str> =
            steps.iter().map(|&id| &*self.node(id).output.content).filter(|content| !content.is_empty()).collect();
        let results: Map =
            steps.iter().map(|&id| (self.step(id).id.to_string(), (*self.node(id).output.result).clone())).collect();
        let result = if results.is_empty() { Value::Null } else { Value::Object(results) };
        StepOutput { content: contents.join("\n\n").into(), result: Arc::new(result), ..StepOutput::default() }
    }

    /// Whether a step gave data. A scope of several output steps gives a map of their results, which says nothing when
    /// all of them gave only text.
    pub(super) fn has_data(&self, id: NodeId) -> bool {
        let own = self.node(id).works() || self.step(id).inner().is_none();
        match &*self.node(id).output.result {
            Value::Null => false,
            Value::Object(map) if !own && !map.is_empty() => map.values().any(|value| !value.is_null()),
            _ => true,
        }
    }

    /// The steps that nothing depends on and that completed; one that was skipped by its condition is replaced by
    /// its completed dependencies. In declaration order.
    fn output_steps(&self, scope: ScopeId) -> Vec<NodeId> {
        let run = self.scope(scope);
        let mut found = vec![false; run.scope.steps.len()];
        let mut open: Vec<usize> =
            (0..run.scope.steps.len()).filter(|&step| run.plan.dependents(step).is_empty()).collect();
        let mut seen = found.clone();
        while let Some(step) = open.pop() {
            if seen.get(step).copied().unwrap_or(true) {
                continue;
            }
            seen.iter_mut().skip(step).take(1).for_each(|entry| *entry = true);
            let node = self.node(self.member(scope, step));
            match node.state.status() {
                Some(StepStatus::Completed) => found.iter_mut().skip(step).take(1).for_each(|entry| *entry = true),
                Some(StepStatus::Skipped) => {
                    open.extend(run.scope.steps.get(step).into_iter().flat_map(|step| &step.depends_on));
                }
                _ => {}
            }
        }
        let chosen = found.iter().enumerate().filter(|(_, chosen)| **chosen);
        chosen.map(|(step, _)| self.member(scope, step)).collect()
    }

    /// The node of a scope's step by the step's index.
    pub(super) fn member(&self, scope: ScopeId, step: usize) -> NodeId {
        NodeId(self.scope(scope).first.0 + u32::try_from(step).expect("scopes are bounded"))
    }

    /// A scope with a failed step that was not tolerated is failed; with a cancelled one, cancelled.
    pub(super) fn scope_status(&self, scope: ScopeId) -> StepStatus {
        let count = self.scope(scope).scope.steps.len();
        let nodes = (0..count).map(|step| self.node(self.member(scope, step)));
        let mut status = StepStatus::Completed;
        for node in nodes.filter(|node| !node.tolerated) {
            match node.state.status() {
                Some(StepStatus::Failed) => return StepStatus::Failed,
                Some(StepStatus::Cancelled) => status = StepStatus::Cancelled,
                _ => {}
            }
        }
        status
    }

    /// How a node stands in a prompt or an expression of its dependents.
    pub(super) fn note_of(node: &Node) -> Option<String> {
        match node.state.status()? {
            StepStatus::Completed => None,
            StepStatus::Failed => {
                let message = node.error.as_ref().map(|fault| fault.message.as_str()).unwrap_or_default();
                Some(format!("(step {} failed: {message})", node.path))
            }
            StepStatus::Skipped => {
                let why = match &node.skipped {
                    Some((SkippedBecause::Condition, detail)) => format!("condition: {detail}"),
                    Some((SkippedBecause::Upstream | SkippedBecause::Stop, detail)) => detail.clone(),
                    None => "skipped".to_owned(),
                };
                Some(format!("(step {} was skipped: {why})", node.path))
            }
            StepStatus::Cancelled => Some(format!("(step {} was cancelled)", node.path)),
        }
    }
}
