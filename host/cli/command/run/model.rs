//! Which model steps get that name none, and whether anybody must look for one.

use crate::settings::Settings;
use cofferdam::Workflow;
use cofferdam::core::port::{ModelInfo, Models as _};
use cofferdam::core::spec::workflow::{LoopKind, Scope, Step, Work};
use cofferdam::llm::{Choice, ModelCatalog};
use std::collections::BTreeSet;

/// The model of steps that name none; none when there is no such step. Only then is a local model looked for.
pub(super) async fn choose(
    catalog: &ModelCatalog,
    workflow: &Workflow,
    settings: &Settings,
    overridden: bool,
) -> Option<Choice> {
    if overridden || !needs_default(workflow) {
        return None;
    }
    Some(catalog.choose_auto(settings.model().map(|sourced| sourced.value.as_str())).await)
}

/// Models that a flag or the document names, and that are served elsewhere than usual, as lines for a person.
pub(super) fn unusual_places(catalog: &ModelCatalog, workflow: &Workflow, flagged: Option<&str>) -> Vec<String> {
    let names: BTreeSet<&str> = match flagged {
        Some(name) => BTreeSet::from([name]),
        None => workflow.document().model_names(),
    };
    let line = |name| catalog.unusual_place(name).map(|place| format!("using {name}, at {place}"));
    names.into_iter().filter_map(line).collect()
}

/// The step that judges the iterations of a loop.
fn judge(step: &Step) -> Option<&Step> {
    match &step.repeat.as_ref()?.kind {
        LoopKind::Repeat(repeat) => repeat.judge.as_deref(),
        LoopKind::ForEach(_) => None,
    }
}

/// Of these models, those that are no language models.
pub(super) fn not_language_models(catalog: &ModelCatalog, of_plugins: &[ModelInfo], names: &[String]) -> Vec<String> {
    let is_not = |name: &&String| match of_plugins.iter().find(|info| *info.name == ***name) {
        Some(info) => !info.is_language_model,
        None => catalog.resolve(name).is_ok_and(|model| !model.info().is_language_model),
    };
    names.iter().filter(is_not).cloned().collect()
}

/// Whether a model works in this document.
pub(super) fn has_agent_steps(workflow: &Workflow) -> bool {
    any_step(&workflow.document().scope, &|step| matches!(step.work, Work::Agent(_)))
}

fn needs_default(workflow: &Workflow) -> bool {
    let document = workflow.document();
    let names_none = |step: &Step| match &step.work {
        Work::Agent(work) => {
            let agent = work.agent.as_ref().and_then(|name| document.agents.get(name));
            work.model.is_none() && agent.is_none_or(|agent| agent.model.is_none())
        }
        Work::Tool(_) | Work::Ask(_) | Work::Group(_) | Work::Include(_) | Work::Body => false,
    };
    document.options.model.is_none() && any_step(&document.scope, &names_none)
}

fn any_step(scope: &Scope, test: &dyn Fn(&Step) -> bool) -> bool {
    let inside = |step: &Step| step.inner().is_some_and(|inner| any_step(inner, test));
    scope.steps.iter().any(|step| test(step) || judge(step).is_some_and(test) || inside(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workflow(text: &str) -> Workflow {
        Workflow::parse(&format!("name: x\n{text}"), ".").unwrap()
    }

    #[test]
    fn a_model_is_looked_for_only_when_a_step_needs_one() {
        let tool = "steps: [{id: a, tool: glob, args: {pattern: '*'}}]";
        let plain = "steps: [{id: a, instructions: go}]";
        let named = "steps: [{id: a, instructions: go, model: builtin/extract}]";
        let inside = "steps: [{id: l, loop: {forEach: [1], steps: [{id: a, instructions: go}]}}]";
        for (text, agents, needs) in
            [(tool, false, false), (plain, true, true), (named, true, false), (inside, true, true)]
        {
            assert_eq!((has_agent_steps(&workflow(text)), needs_default(&workflow(text))), (agents, needs), "{text}");
        }
        assert!(!needs_default(&workflow(&format!("options: {{model: builtin/extract}}\n{plain}"))));
    }
}
