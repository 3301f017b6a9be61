//! What is different between two documents, by place: the steps that say something else, and those that hold others.
//!
//! It must not know what was recorded. What it cannot compare counts as changed: code of the embedder's is known by its
//! name alone.

use super::plugins;
use crate::id::{AgentName, Alias, StepPath};
use crate::spec::export;
use crate::spec::workflow::{Condition, LoopKind, Scope, Step, Work, Workflow};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is different.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Steps that are gone, or are not what they were.
    pub(super) steps: BTreeSet<String>,
    /// Steps that hold others than they held.
    pub(super) holders: BTreeSet<String>,
    /// Inputs whose declaration is another one.
    pub(super) inputs: BTreeSet<String>,
}

/// Compares documents.
pub(super) fn between(old: &Workflow, new: &Workflow) -> Changes {
    let mut changes = Changes::default();
    let options = |of: &Workflow| export::step_options(&of.options);
    let comparison = Comparison {
        old,
        new,
        agents: different(&old.agents, &new.agents),
        plugins: changed_plugins(old, new),
        all: options(old) != options(new),
    };
    comparison.scopes((&old.scope, &new.scope), &StepPath::ROOT, &mut changes);
    let declared = |of: &Workflow, name: &str| of.inputs.iter().find(|input| input.name == name).map(export::input);
    let names = old.inputs.iter().chain(&new.inputs).map(|input| &input.name);
    changes.inputs.extend(names.filter(|name| declared(old, name) != declared(new, name)).cloned());
    changes
}

/// The plugins and servers that are not what they were, and the plugins that may call others' tools.
fn changed_plugins(old: &Workflow, new: &Workflow) -> BTreeSet<Alias> {
    let mut changed: BTreeSet<Alias> = different(&old.plugins, &new.plugins);
    changed.extend(different(&old.servers, &new.servers));
    if !changed.is_empty() {
        let calls = new.plugins.iter().filter(|(_, plugin)| !plugin.requested.tools.is_empty());
        changed.extend(calls.map(|(alias, _)| alias.clone()));
    }
    changed
}

fn different<K: Ord + Clone, V: PartialEq>(
    old: &std::collections::BTreeMap<K, V>,
    new: &std::collections::BTreeMap<K, V>,
) -> BTreeSet<K> {
    old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}

struct Comparison<'w> {
    old: &'w Workflow,
    new: &'w Workflow,
    agents: BTreeSet<AgentName>,
    plugins: BTreeSet<Alias>,
    /// Something holds for every step that did not.
    all: bool,
}

impl Comparison<'_> {
    fn scopes(&self, (old, new): (&Arc<Scope>, &Arc<Scope>), at: &StepPath, changes: &mut Changes) {
        let defaults = |scope: &Scope| export::own_defaults(&scope.defaults);
        let all = self.all || old.wiring != new.wiring || defaults(old) != defaults(new);
        let ids = |scope: &Scope| scope.steps.iter().map(|step| step.id.clone()).collect::<Vec<_>>();
        if ids(old) != ids(new) {
            changes.holders.insert(at.place());
        }
        for step in &old.steps {
            let path = at.child(&step.id);
            let now = new.position(step.id.as_str()).and_then(|index| new.steps.get(index));
            let Some(now) = now.filter(|now| !all && self.is_same((step, old), (now, new))) else {
                changes.steps.insert(path.place());
                continue;
            };
            if let Some(inner) = step.inner().zip(now.inner()) {
                self.scopes(inner, &path, changes);
            }
        }
    }

    fn is_same(&self, (old, before): (&Step, &Scope), (new, after): (&Step, &Scope)) -> bool {
        let own = |step: &Step, scope: &Scope| (export::own_step(step, scope), choice(step, scope));
        let agents = || agents_of(old).all(|agent| !self.agents.contains(agent));
        let uses = |alias: &Alias| {
            plugins::uses(self.old, (old, before), alias) || plugins::uses(self.new, (new, after), alias)
        };
        own(old, before) == own(new, after) && agents() && !self.plugins.iter().any(uses)
    }
}

/// The agents that work on a step itself: its own, and the judge of its loop.
pub(super) fn agents_of(step: &Step) -> impl Iterator<Item = &AgentName> {
    step.agent().into_iter().chain(judge_of(step).and_then(Step::agent))
}

/// The judge of a step's loop.
pub(super) fn judge_of(step: &Step) -> Option<&Step> {
    match step.repeat.as_ref().map(|repeat| &repeat.kind) {
        Some(LoopKind::Repeat(repeat)) => repeat.judge.as_deref(),
        _ => None,
    }
}

/// Between which steps the condition of this one chooses.
fn choice(step: &Step, scope: &Scope) -> Value {
    let chooses = |step: &Step| matches!(&step.condition, Some(Condition::Plugin(plugin)) if plugin.label.is_some());
    if !chooses(step) {
        return Value::Null;
    }
    scope.steps.iter().filter(|step| chooses(step)).map(|step| export::own_step(step, scope)).collect()
}

/// Whether a step works with an agent, or its judge does.
pub(super) fn has_agent(step: &Step) -> bool {
    matches!(step.work, Work::Agent(_)) || judge_of(step).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::branch::tests::workflow;
    use serde_json::json;

    fn changed(old: &Value, new: &Value) -> (Vec<String>, Vec<String>) {
        let changes = between(&workflow(old), &workflow(new));
        (changes.steps.into_iter().collect(), changes.holders.into_iter().collect())
    }

    #[test]
    fn a_step_that_says_something_else_is_changed_and_no_other() {
        let steps = |text: &str| json!([{ "id": "a", "instructions": text }, { "id": "b", "instructions": "b" }]);
        let document = |text: &str| json!({ "name": "w", "steps": steps(text) });
        assert_eq!(changed(&document("x"), &document("y")), (vec!["a".to_owned()], vec![]));
        assert_eq!(changed(&document("x"), &document("x")), (vec![], vec![]));
    }

    #[test]
    fn a_step_inside_of_another_is_found_and_what_comes_or_goes_is_a_matter_of_the_holder() {
        let document = |inner: Value| json!({ "name": "w", "steps": [{ "id": "g", "steps": inner }] });
        let (h, i) = (json!({ "id": "h", "instructions": "h" }), json!({ "id": "i", "instructions": "i" }));
        let other = json!({ "id": "i", "instructions": "other" });
        assert_eq!(changed(&document(json!([h, i])), &document(json!([h, other]))), (vec!["g.i".to_owned()], vec![]));
        assert_eq!(changed(&document(json!([h])), &document(json!([h, i]))), (vec![], vec!["g".to_owned()]));
        let gone = (vec!["g.i".to_owned()], vec!["g".to_owned()]);
        assert_eq!(changed(&document(json!([h, i])), &document(json!([h]))), gone);
    }

    #[test]
    fn a_changed_agent_is_a_change_of_its_steps_and_of_loops_that_it_judges() {
        let schema = json!({ "type": "object", "required": ["done"], "properties": { "done": { "type": "boolean" } } });
        let document = |prompt: &str| {
            json!({
                "name": "w",
                "agents": {
                    "one": { "description": "one", "prompt": prompt, "resultSchema": schema },
                    "two": { "description": "two" },
                },
                "steps": [
                    { "id": "a", "agent": "one", "instructions": "a" },
                    { "id": "b", "agent": "two", "instructions": "b" },
                    { "id": "c", "instructions": "c", "loop": { "maxIterations": 2, "untilAgent": "one" } },
                ],
            })
        };
        assert_eq!(changed(&document("x"), &document("y")).0, ["a", "c"]);
    }

    #[test]
    fn an_option_that_steps_feel_changes_all_and_another_none() {
        let document = |options: Value| json!({ "name": "w", "options": options, "steps": [{ "id": "a", "instructions": "a" }, { "id": "b", "instructions": "b" }] });
        assert_eq!(changed(&document(json!({})), &document(json!({ "model": "m" }))).0, ["a", "b"]);
        assert_eq!(changed(&document(json!({})), &document(json!({ "stepTimeout": "9s" }))).0, ["a", "b"]);
        assert_eq!(
            changed(&document(json!({})), &document(json!({ "timeout": "9s", "maxConcurrency": 2 }))).0.len(),
            0
        );
    }

    #[test]
    fn a_changed_plugin_is_a_change_of_whoever_may_use_it() {
        let document = |config: Value| {
            json!({
                "name": "w",
                "plugins": { "text": { "source": "builtin:text", "config": config } },
                "agents": { "few": { "description": "few", "tools": ["read", "tex*"] }, "none": { "description": "none", "tools": ["read"] } },
                "steps": [
                    { "id": "a", "tool": "text.words", "args": { "text": "x" } },
                    { "id": "b", "agent": "few", "instructions": "b" },
                    { "id": "c", "agent": "none", "instructions": "c" },
                    { "id": "d", "instructions": "d" },
                    { "id": "e", "tool": "read", "args": { "path": "x" } },
                ],
            })
        };
        assert_eq!(changed(&document(json!({})), &document(json!({ "x": 1 }))).0, ["a", "b", "d"]);
    }

    #[test]
    fn an_input_that_is_declared_in_another_way_is_changed() {
        let document = |default: &str| json!({ "name": "w", "inputs": { "x": { "type": "string", "default": default } }, "steps": [{ "id": "a", "instructions": "a" }] });
        let changes = between(&workflow(&document("1")), &workflow(&document("2")));
        assert_eq!(changes.inputs.into_iter().collect::<Vec<_>>(), ["x"]);
        assert!(changes.steps.is_empty());
    }
}
