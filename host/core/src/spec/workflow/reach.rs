//! What a workflow reaches: the plugins that its steps name, and the steps that must have ended before another begins.

use super::{Condition, LoopKind, Scope, Step, Work, Workflow};
use crate::id::{Alias, StepPath};
use crate::transform::Transform;
use std::collections::{BTreeMap, BTreeSet};

impl Workflow {
    /// The plugins that it names as transforms or conditions.
    #[must_use]
    pub fn pure_plugins(&self) -> BTreeSet<Alias> {
        let mut found = BTreeSet::new();
        self.scope.pure_plugins(&mut found);
        let of_agents =
            self.agents.values().flat_map(|agent| agent.transform.input.iter().chain(&agent.transform.output));
        found.extend(of_agents.filter_map(Transform::plugin).cloned());
        found
    }

    /// The models that the document names, of agents that no step needs too.
    #[must_use]
    pub fn model_names(&self) -> BTreeSet<&str> {
        let mut found: BTreeSet<&str> = self.agents.values().filter_map(|agent| agent.model.as_deref()).collect();
        found.extend(self.options.model.as_deref());
        self.scope.model_names(&mut found);
        found
    }
}

impl Workflow {
    /// The files that go with prompts, each with the places of the steps that read it.
    #[must_use]
    pub fn context_files(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut found = BTreeMap::new();
        self.scope.context_files(&StepPath::ROOT, &mut found);
        found
    }
}

impl Scope {
    /// The steps that must have ended before a step begins, directly or through others; in declaration order.
    pub fn ancestors_of(&self, step: usize) -> impl Iterator<Item = &Step> {
        let mut seen = vec![false; self.steps.len()];
        let mut open: Vec<usize> = self.steps.get(step).map(|step| step.depends_on.clone()).unwrap_or_default();
        while let Some(before) = open.pop() {
            if seen.get(before) == Some(&false) {
                seen.iter_mut().skip(before).take(1).for_each(|entry| *entry = true);
                open.extend(self.steps.get(before).into_iter().flat_map(|step| &step.depends_on));
            }
        }
        self.steps.iter().zip(seen).filter(|(_, seen)| *seen).map(|(step, _)| step)
    }

    fn context_files(&self, at: &StepPath, found: &mut BTreeMap<String, BTreeSet<String>>) {
        for step in &self.steps {
            let path = at.child(&step.id);
            if let Work::Agent(work) = &step.work {
                for file in &work.context_files {
                    found.entry(file.clone()).or_default().insert(path.place());
                }
            }
            if let Some(inner) = step.inner() {
                inner.context_files(&path, found);
            }
        }
    }

    fn model_names<'a>(&'a self, found: &mut BTreeSet<&'a str>) {
        for step in &self.steps {
            let judge = step.repeat.as_ref().and_then(|repeat| match &repeat.kind {
                LoopKind::Repeat(repeat) => repeat.judge.as_deref(),
                LoopKind::ForEach(_) => None,
            });
            for step in std::iter::once(step).chain(judge) {
                if let Work::Agent(work) = &step.work {
                    found.extend(work.model.as_deref());
                }
            }
            if let Some(inner) = step.inner() {
                inner.model_names(found);
            }
        }
    }

    /// The plugins that its steps and those inside them name in `transform`, `outputTransform` and `condition`.
    fn pure_plugins(&self, found: &mut BTreeSet<Alias>) {
        found.extend(self.defaults.output_transform.iter().filter_map(Transform::plugin).cloned());
        for step in &self.steps {
            let links = step.transform.input.iter().chain(&step.transform.output);
            found.extend(links.filter_map(Transform::plugin).cloned());
            if let Some(Condition::Plugin(condition)) = &step.condition {
                found.insert(condition.plugin.clone());
            }
            if let Some(inner) = step.inner() {
                inner.pure_plugins(found);
            }
        }
    }
}
