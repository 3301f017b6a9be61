//! What an expression or a template of a step may read, as JSON: only what it names is built.

use super::machine::Machine;
use super::node::{Kind, NodeId, ScopeId};
use crate::expr::Expr;
use crate::id::StepPath;
use crate::template::Template;
use crate::value::Map;
use serde_json::{Value, json};
use std::sync::Arc;

/// Which variables something reads.
pub trait Reads {
    /// The ids of the steps it reads.
    fn steps(&self) -> &[Arc<str>];
    /// Whether it reads a root variable.
    fn reads(&self, root: &str) -> bool;
}

impl Reads for Expr {
    fn steps(&self) -> &[Arc<str>] {
        Self::steps(self)
    }
    fn reads(&self, root: &str) -> bool {
        Self::reads(self, root)
    }
}

impl Reads for Template {
    fn steps(&self) -> &[Arc<str>] {
        Self::steps(self)
    }
    fn reads(&self, root: &str) -> bool {
        Self::reads(self, root)
    }
}

impl Machine {
    /// The variables that `reader` reads, as seen from the step at `path` (the run itself: from its own scope).
    #[must_use]
    pub fn variables(&self, path: &StepPath, reader: &impl Reads) -> Map {
        let at = self.find(path);
        let mut variables = Map::new();
        if reader.reads("inputs") {
            variables.insert("inputs".to_owned(), Value::Object((*self.inputs).clone()));
        }
        if reader.reads("input") {
            variables.insert("input".to_owned(), Value::String(self.input.as_deref().unwrap_or_default().to_owned()));
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
                    steps.insert(id.to_string(), self.step_value(node));
                }
            }
            variables.insert("steps".to_owned(), Value::Object(steps));
        }
        variables
    }

    /// The item and index of the innermost iteration around a node.
    pub(super) fn item_of(&self, id: NodeId) -> Option<(&Value, u32)> {
        let mut at = Some(id);
        while let Some(id) = at {
            if let Kind::Repeat { of, index } | Kind::Body { of, index, .. } = self.node(id).kind {
                let Kind::Loop(run) = &self.node(of).kind else { return None };
                return run.items.get(index as usize).map(|item| (item, index));
            }
            at = self.scope(self.node(id).scope).parent;
        }
        None
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

    fn step_value(&self, id: NodeId) -> Value {
        let node = self.node(id);
        let status = node.state.status().map_or("pending", crate::event::StepStatus::as_str);
        let error = node.error.as_ref().map(|fault| json!({ "code": fault.code, "message": fault.message }));
        json!({
            "content": &*node.output.content,
            "result": &*node.output.result,
            "status": status,
            "error": error,
        })
    }
}
