//! What conditions decide about more than one step: the end of a scope, and the choice between steps with labels.

use super::machine::Machine;
use super::node::{Doom, NodeId, NodeState, ScopeId};
use crate::id::{Alias, StepId, StepPath};
use crate::spec::workflow::{Condition, PluginCondition, Step};
use crate::value::Map;

/// A choice that was made in a scope: it holds for all steps with this plugin and these options.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    plugin: Alias,
    options: Map,
    /// The index of the step that runs.
    step: Option<usize>,
}

/// The steps that one condition chooses from, as seen from one of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Branch {
    /// The first of the steps: the same seen from each of them.
    pub first: StepPath,
    /// The steps with their labels, in declaration order.
    pub steps: Vec<(StepId, String)>,
    /// Whether the step that looks is the one that was chosen; none while nothing was.
    pub chosen: Option<bool>,
}

impl Machine {
    /// The steps that are decided together with the one at `path`; none when its condition has no label.
    #[must_use]
    pub fn branch(&self, path: &StepPath) -> Option<Branch> {
        let id = self.find(path)?;
        let condition = labelled(self.step(id))?;
        let node = self.node(id);
        let run = self.scope(node.scope);
        let together = |step: &Step| Some((step.id.clone(), together(condition, step)?));
        let first = run.scope.steps.iter().position(|step| self::together(condition, step).is_some())?;
        let made = run.choices.iter().find(|choice| choice.is_of(condition));
        Some(Branch {
            first: self.node(self.member(node.scope, first)).path.clone(),
            steps: run.scope.steps.iter().filter_map(together).collect(),
            chosen: made.map(|choice| choice.step == Some(node.step)),
        })
    }

    pub(super) fn take_choice(&mut self, id: NodeId, step: Option<&StepId>) {
        let Some(condition) = labelled(self.step(id)) else { return };
        let (plugin, options) = (condition.plugin.clone(), condition.options.clone());
        let scope = self.node(id).scope;
        let step = step.and_then(|step| self.scope(scope).scope.position(step.as_str()));
        self.scope_mut(scope).choices.push(Choice { plugin, options, step });
    }

    /// Nothing more begins in the scope of the step that ends it; what has begun, or is about to, goes on to its end.
    /// What is about to is no matter of events, so this follows from a state and is no part of folding.
    pub(super) fn stop_scope(&mut self, by: NodeId, why: &str) {
        let scope = self.node(by).scope;
        for id in self.members(scope).filter(|&id| id != by) {
            let node = self.node(id);
            let waits = matches!(
                node.state,
                NodeState::Waiting | NodeState::Due | NodeState::Deciding | NodeState::Queued | NodeState::Expanding
            );
            if waits && node.attempt == node.base && !node.again {
                self.doom(id, Doom::Stop(why.to_owned()));
            }
        }
    }

    /// The steps of a scope.
    pub(super) fn members(&self, scope: ScopeId) -> impl Iterator<Item = NodeId> + use<> {
        let first = self.scope(scope).first.0;
        let count = u32::try_from(self.scope(scope).scope.steps.len()).expect("scopes are bounded");
        (first..first + count).map(NodeId)
    }
}

impl Choice {
    fn is_of(&self, condition: &PluginCondition) -> bool {
        self.plugin == condition.plugin && self.options == condition.options
    }
}

/// The condition of a step that is decided together with others.
fn labelled(step: &Step) -> Option<&PluginCondition> {
    match &step.condition {
        Some(Condition::Plugin(condition)) if condition.label.is_some() => Some(condition),
        _ => None,
    }
}

/// The label of a step, if `condition` decides about it as well.
fn together(condition: &PluginCondition, step: &Step) -> Option<String> {
    let other = labelled(step)?;
    let same = other.plugin == condition.plugin && other.options == condition.options;
    other.label.clone().filter(|_| same)
}
