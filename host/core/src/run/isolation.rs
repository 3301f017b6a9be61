//! Which directories the steps of a run work in, and which files more than one of them changed.
//!
//! It must not know where directories are.

use super::machine::Machine;
use super::node::NodeId;
use crate::event::{Changes, Conflict};
use crate::id::StepPath;
use crate::spec::workflow::IsolationMode;
use std::sync::Arc;

impl Machine {
    /// What the tools of the step at `path` see: what it says itself, else what is around it, else the options.
    #[must_use]
    pub fn isolation(&self, path: &StepPath) -> IsolationMode {
        let mut at = self.find(path);
        while let Some(node) = at {
            if let Some(mode) = &self.step(node).isolation {
                return mode.clone();
            }
            at = self.around(node);
        }
        self.workflow.options.isolation.clone()
    }

    /// Files that other steps changed before this one.
    #[must_use]
    pub fn conflicts(&self, path: &StepPath, changes: &Changes) -> Vec<Conflict> {
        let files = changes.files.iter();
        let other = files.filter_map(|file| Some((file, self.changed.get(&file.path).filter(|other| *other != path)?)));
        other.map(|(file, other)| Conflict { path: file.path.clone(), with: other.clone() }).collect()
    }

    pub(super) fn take_changes(&mut self, id: NodeId, attempt: Option<u32>, changes: &Changes) {
        if attempt != Some(self.node(id).attempt) {
            return;
        }
        self.forget_changes(id);
        let path = self.node(id).path.clone();
        for file in &changes.files {
            self.changed.entry(file.path.clone()).or_insert_with(|| path.clone());
        }
        if let Some(first) = changes.conflicts.first() {
            let (count, with) = (changes.conflicts.len(), &first.with);
            let files = if count == 1 { "a file was".to_owned() } else { format!("{count} files were") };
            self.warnings.push(format!(
                "{path}: {files} changed by step `{with}` as well; their patches may not apply together"
            ));
        }
        if let Some(why) = &changes.incomplete {
            self.warnings.push(format!("{path}: its patch does not hold all that it changed: {why}"));
        }
        self.node_mut(id).changes = Some(Arc::new(changes.clone()));
    }

    /// Another try begins: what the one before changed counts no more.
    pub(super) fn forget_changes(&mut self, id: NodeId) {
        let Some(before) = self.node_mut(id).changes.take() else { return };
        let path = self.node(id).path.clone();
        for file in &before.files {
            if self.changed.get(&file.path) == Some(&path) {
                self.changed.remove(&file.path);
            }
        }
    }
}
