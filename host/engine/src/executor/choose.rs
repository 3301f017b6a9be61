//! Conditions by plugin: one step by itself, or one choice for all steps of a scope that name the same plugin and options
//! and have labels.
//!
//! A choice is made once for each opening of a scope, for the step that comes up first, and recorded; the others wait
//! for it and read it from the state of the run.

use super::Answer;
use super::decide::skipped;
use super::perform::failed;
use super::run::Run;
use crate::closure::guarded;
use cofferdam_core::event::{Body, SkippedBecause};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, StepId, StepPath};
use cofferdam_core::port::{Choice, Condition, PureVerdict};
use cofferdam_core::run::{Branch, NodeState};
use cofferdam_core::spec::workflow::PluginCondition;
use std::sync::Arc;

/// A choice that is being made.
#[derive(Debug)]
pub(super) struct Choosing {
    /// For which step.
    by: StepPath,
    /// Who waits for it.
    waiting: Vec<StepPath>,
}

impl Run {
    pub(super) fn decide_by_plugin(&mut self, path: StepPath, condition: PluginCondition) {
        let Some(plugin) = self.ports.plugins.conditions.get(&condition.plugin).cloned() else {
            let fault = Fault::bug(format!("the condition plugin `{}` was not looked for", condition.plugin));
            return self.answer_later(&path, async { failed(fault).into() });
        };
        if let Some(branch) = self.machine.branch(&path) {
            return self.decide_by_choice(path, branch, condition, plugin);
        }
        let (ctx, view, evaluating) = (self.pure_context(&path, None), self.machine.view(&path), self.evaluating());
        self.answer_later(&path, async move {
            let _evaluating = evaluating;
            let (alias, options) = (&condition.plugin, &condition.options);
            let call = plugin.decide(ctx, options, view);
            match guarded(&format!("condition `{alias}`"), call).await {
                Ok(verdict) => decided(alias, verdict).into(),
                Err(fault) => failed(fault).into(),
            }
        });
    }

    fn decide_by_choice(
        &mut self,
        path: StepPath,
        branch: Branch,
        condition: PluginCondition,
        plugin: Arc<dyn Condition>,
    ) {
        if let Some(chosen) = branch.chosen {
            let body = if chosen { Body::StepReady {} } else { not_chosen(&condition) };
            return self.answer_later(&path, async { body.into() });
        }
        if let Some(choosing) = self.choosing.get_mut(&branch.first) {
            return choosing.waiting.push(path);
        }
        let choosing = Choosing { by: path.clone(), waiting: Vec::new() };
        self.choosing.insert(branch.first.clone(), choosing);
        let (ctx, view, evaluating) = (self.pure_context(&path, None), self.machine.view(&path), self.evaluating());
        let own = self.machine.step_at(&path).map(|step| step.id.clone());
        self.answer_later(&path, async move {
            let _evaluating = evaluating;
            let (alias, options) = (&condition.plugin, &condition.options);
            let labels = branch.steps.iter().map(|(_, label)| label.clone()).collect();
            let call = plugin.choose(ctx, options, Choice { labels, view });
            match guarded(&format!("condition `{alias}`"), call).await {
                Ok(chosen) => chose(&condition, &branch, chosen, own.as_ref()),
                Err(fault) => failed(fault).into(),
            }
        });
    }

    /// A choice was made, or the step that it was made for has ended without one: who waits looks again.
    pub(super) fn decide_the_others(&mut self, path: &StepPath) {
        let made = self.choosing.iter().find(|(_, choosing)| choosing.by == *path).map(|(first, _)| first.clone());
        let Some(Choosing { waiting, .. }) = made.and_then(|first| self.choosing.remove(&first)) else { return };
        for path in waiting {
            if self.machine.state_of(&path) == Some(NodeState::Deciding) {
                self.decide(&path);
            }
        }
    }
}

/// What follows when a condition decided about one step.
pub(crate) fn decided(alias: &Alias, verdict: PureVerdict) -> Body {
    match verdict {
        PureVerdict::Proceed => Body::StepReady {},
        PureVerdict::Skip(why) => skipped(format!("`{alias}`: {why}")),
        PureVerdict::Stop(why) => {
            let detail = format!("`{alias}` ended this part of the run: {why}");
            Body::StepSkipped { because: SkippedBecause::Stop, detail }
        }
    }
}

/// What follows for the step `own` when a condition chose a label by its index, or none.
pub(crate) fn chose(
    condition: &PluginCondition,
    branch: &Branch,
    chosen: Option<usize>,
    own: Option<&StepId>,
) -> Answer {
    let (step, label) = match chosen.map(|index| branch.steps.get(index).cloned()) {
        None => (None, None),
        Some(Some((step, label))) => (Some(step), Some(label)),
        Some(None) => {
            let message = format!("the condition `{}` chose a label that there is not", condition.plugin);
            return failed(Fault::step("plugin_protocol", message)).into();
        }
    };
    let runs = step.is_some() && step.as_ref() == own;
    let body = if runs { Body::StepReady {} } else { not_chosen(condition) };
    Answer::Events(vec![Body::BranchChosen { plugin: condition.plugin.to_string(), step, label }, body])
}

pub(crate) fn not_chosen(condition: &PluginCondition) -> Body {
    let label = condition.label.as_deref().unwrap_or_default();
    skipped(format!("`{}` did not choose `{label}`", condition.plugin))
}
