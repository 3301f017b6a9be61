//! What an expression or a template of a step may read, as JSON: only what it names is built.

use super::loops::{Phase, kind};
use super::machine::Machine;
use super::node::{Kind, Node, NodeId, ScopeId};
use crate::expr::Expr;
use crate::id::StepPath;
use crate::port::StepEnd;
use crate::spec::workflow::{LoopKind, Work};
use crate::template::Template;
use crate::value::Map;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which variables something reads.
pub trait Reads {
    /// The ids of the steps it reads.
    fn steps(&self) -> &[Arc<str>];
    /// Whether it reads a root variable.
    fn reads(&self, root: &str) -> bool;
    /// The members that it reads of what the names lead to; none = all of them.
    fn members(&self, names: &[&str]) -> Option<BTreeSet<&str>>;
}

impl Reads for Expr {
    fn steps(&self) -> &[Arc<str>] {
        Self::steps(self)
    }
    fn reads(&self, root: &str) -> bool {
        Self::reads(self, root)
    }
    fn members(&self, names: &[&str]) -> Option<BTreeSet<&str>> {
        Self::members(self, names)
    }
}

impl Reads for Template {
    fn steps(&self) -> &[Arc<str>] {
        Self::steps(self)
    }
    fn reads(&self, root: &str) -> bool {
        Self::reads(self, root)
    }
    fn members(&self, names: &[&str]) -> Option<BTreeSet<&str>> {
        Self::members(self, names)
    }
}

/// Reads all roots, and these steps.
struct Everything(Vec<Arc<str>>);

impl Reads for Everything {
    fn steps(&self) -> &[Arc<str>] {
        &self.0
    }
    fn reads(&self, root: &str) -> bool {
        // The shared memory may be larger than what a guest has.
        root != "memory"
    }

    fn members(&self, _: &[&str]) -> Option<BTreeSet<&str>> {
        None
    }
}

impl Machine {
    /// The variables that `reader` reads, as seen from the step at `path` (the run itself: from its own scope).
    #[must_use]
    pub fn variables(&self, path: &StepPath, reader: &impl Reads) -> Map {
        let at = self.find(path);
        let mut variables = Map::new();
        if reader.reads("inputs") {
            let inputs = members_of(self.inputs_at(at), reader.members(&["inputs"]));
            variables.insert("inputs".to_owned(), Value::Object(inputs));
        }
        if reader.reads("input") {
            variables.insert("input".to_owned(), Value::String(self.input.as_deref().unwrap_or_default().to_owned()));
        }
        if reader.reads("content") {
            // A step has none before it has run; zenflow knows the name there all the same.
            variables.insert("content".to_owned(), Value::String(String::new()));
        }
        if reader.reads("vars") {
            let vars = members_of(&self.vars, reader.members(&["vars"]));
            variables.insert("vars".to_owned(), Value::Object(vars));
        }
        if reader.reads("memory") {
            variables.insert("memory".to_owned(), Value::Object(self.memory_read_by(reader)));
        }
        if reader.reads("iteration")
            && let Some(iteration) = at.and_then(|id| self.iteration_of(id))
        {
            variables.insert("iteration".to_owned(), json!(iteration));
        }
        if (reader.reads("item") || reader.reads("index"))
            && let Some((item, index)) = at.and_then(|id| self.item_of(id))
        {
            variables.insert("item".to_owned(), item.clone());
            variables.insert("index".to_owned(), json!(index));
        }
        if reader.reads("steps") {
            let mut steps = Map::new();
            for id in reader.steps() {
                if let Some(node) = self.visible(at, id) {
                    let wanted = reader.members(&["steps", id]);
                    steps.insert(id.to_string(), Self::value_of(self.node(node), wanted.as_ref()));
                }
            }
            variables.insert("steps".to_owned(), Value::Object(steps));
        }
        variables
    }

    /// The namespaces that `reader` reads, those without an entry among them.
    fn memory_read_by(&self, reader: &impl Reads) -> Map {
        let all = || self.memory.namespaces().map(|name| &**name).collect();
        let names: BTreeSet<&str> = reader.members(&["memory"]).unwrap_or_else(all);
        let view = |name: &str| self.memory.view(name, reader.members(&["memory", name]).as_ref());
        names.into_iter().map(|name| (name.to_owned(), Value::Object(view(name)))).collect()
    }

    /// Everything that a condition of the step at `path` could read: what was given to the run, and the steps that it
    /// depends on, also through those in between and the steps around it. Not the shared memory.
    #[must_use]
    pub fn view(&self, path: &StepPath) -> Map {
        let mut steps: Vec<Arc<str>> = Vec::new();
        let mut at = self.find(path);
        while let Some(id) = at {
            let node = self.node(id);
            if node.is_member() {
                let known = self.scope(node.scope).scope.ancestors_of(node.step);
                steps.extend(known.map(|step| Arc::from(step.id.as_str())));
            }
            // An included document knows nothing of the one around it.
            at = self.around(id).filter(|&around| !matches!(self.step(around).work, Work::Include(_)));
        }
        let mut view = self.variables(path, &Everything(steps));
        // A step has no content before it has run.
        view.shift_remove("content");
        view
    }

    /// What `while` and `until` of the loop at `path` may read: also the last iteration and its inner steps.
    #[must_use]
    pub fn loop_variables(&self, path: &StepPath, reader: &impl Reads) -> Map {
        let mut variables = self.variables(path, reader);
        let Some(id) = self.find(path) else { return variables };
        let Kind::Loop(run) = &self.node(id).kind else { return variables };
        let last = run.iterations.last().map(|&id| self.node(id));
        let begun = run.iterations.len();
        let iteration = if run.phase == Phase::Checking { begun } else { begun.saturating_sub(1) };
        let wanted = ["content", "result", "status"].into_iter().filter(|name| reader.reads(name)).collect();
        let value = last.map_or_else(pending, |node| Self::value_of(node, Some(&wanted)));
        for name in wanted {
            variables.insert(name.to_owned(), value.get(name).cloned().unwrap_or_default());
        }
        if reader.reads("iteration") {
            variables.insert("iteration".to_owned(), json!(iteration));
        }
        let body = self.step(id).repeat.as_ref().and_then(|repeat| repeat.body.as_ref());
        if let (Some(body), Some(Value::Object(steps))) = (body, variables.get_mut("steps")) {
            for name in reader.steps() {
                let Some(index) = body.position(name) else { continue };
                let wanted = reader.members(&["steps", name]);
                let inner = match last.map(|node| &node.kind) {
                    Some(Kind::Body { scope, .. }) => {
                        Self::value_of(self.node(self.member(*scope, index)), wanted.as_ref())
                    }
                    _ => pending(),
                };
                steps.insert(name.to_string(), inner);
            }
        }
        variables
    }

    /// How a step stands that the one at `from` can see, by its id; or any step by its path.
    #[must_use]
    pub fn step_end(&self, from: &StepPath, name: &str) -> Option<StepEnd> {
        let seen = self.visible(self.find(from), name).or_else(|| self.find(&StepPath::from(name)))?;
        let node = self.node(seen);
        let status = node.state.status()?;
        Some(StepEnd { path: node.path.clone(), status, output: node.output.clone(), error: node.error.clone() })
    }

    /// The inputs of the document that a node belongs to.
    fn inputs_at(&self, at: Option<NodeId>) -> &Arc<Map> {
        let mut scope = at.map(|id| self.node(id).scope);
        while let Some(id) = scope {
            let run = self.scope(id);
            if let Some(inputs) = &run.inputs {
                return inputs;
            }
            scope = run.parent.map(|parent| self.node(parent).scope);
        }
        &self.inputs
    }

    /// The item and index of the innermost `forEach` around a node.
    pub(super) fn item_of(&self, id: NodeId) -> Option<(&Value, u32)> {
        self.iterations_around(id).find_map(|(of, index)| match kind(self.step(of)) {
            LoopKind::ForEach(_) => self.loop_of(of).items.get(index as usize).map(|item| (item, index)),
            LoopKind::Repeat(_) => None,
        })
    }

    /// The number of the innermost iteration of a repeating loop around a node.
    fn iteration_of(&self, id: NodeId) -> Option<u32> {
        self.iterations_around(id)
            .find(|(of, _)| matches!(kind(self.step(*of)), LoopKind::Repeat(_)))
            .map(|found| found.1)
    }

    /// The loops around a node with the index of the iteration, the innermost first.
    fn iterations_around(&self, id: NodeId) -> impl Iterator<Item = (NodeId, u32)> {
        std::iter::successors(Some(id), |&id| self.around(id)).filter_map(|id| match self.node(id).kind {
            Kind::Repeat { of, index } | Kind::Body { of, index, .. } | Kind::Judge { of, index } => Some((of, index)),
            _ => None,
        })
    }

    /// The step of this id in the node's scope, or in the nearest scope around it.
    fn visible(&self, from: Option<NodeId>, id: &str) -> Option<NodeId> {
        let mut scope = from.map_or(ScopeId(0), |node| self.node(node).scope);
        loop {
            let run = self.scopes.get(scope.0 as usize)?;
            if let Some(step) = run.scope.position(id) {
                return Some(self.member(scope, step));
            }
            scope = self.node(run.parent?).scope;
        }
    }

    /// A step as expressions see it; of its members those that are wanted, which may be large.
    fn value_of(node: &Node, wanted: Option<&BTreeSet<&str>>) -> Value {
        let mut step = Map::new();
        for name in ["content", "result", "status", "error"] {
            if wanted.is_none_or(|wanted| wanted.contains(name)) {
                step.insert(name.to_owned(), Self::member_of(node, name));
            }
        }
        Value::Object(step)
    }

    fn member_of(node: &Node, name: &str) -> Value {
        match name {
            "content" => json!(&*node.output.content),
            "result" => (*node.output.result).clone(),
            "status" => json!(node.state.status().map_or("pending", crate::event::StepStatus::as_str)),
            _ => match &node.error {
                Some(fault) => json!({ "code": fault.code, "message": fault.message }),
                None => Value::Null,
            },
        }
    }
}

/// The members that are wanted, in their order; none = all.
fn members_of(map: &Map, wanted: Option<BTreeSet<&str>>) -> Map {
    match wanted {
        None => map.clone(),
        Some(wanted) => {
            let found = map.iter().filter(|(name, _)| wanted.contains(name.as_str()));
            found.map(|(name, value)| (name.clone(), value.clone())).collect()
        }
    }
}

/// A step or an iteration before it has begun.
fn pending() -> Value {
    json!({ "content": "", "result": null, "status": "pending", "error": null })
}
