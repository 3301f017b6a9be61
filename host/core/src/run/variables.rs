//! Variables of the run: set by tools, agents and code, read by expressions and templates.

use super::machine::Machine;
use super::node::{Kind, NodeId};
use crate::id::StepPath;
use crate::value::Map;
use crate::variable::LOOP_CONTINUE;
use serde_json::Value;
use std::sync::Arc;

impl Machine {
    /// The variables as they are now.
    #[must_use]
    pub fn vars(&self) -> &Arc<Map> {
        &self.vars
    }

    pub(super) fn set_variable(&mut self, by: &StepPath, key: &str, value: &Value) {
        Arc::make_mut(&mut self.vars).insert(key.to_owned(), value.clone());
        if key == LOOP_CONTINUE
            && let Some(id) = self.find(by).and_then(|id| self.loop_around(id))
        {
            let stop = *value == Value::Bool(false);
            self.loop_mut(id).signalled = stop;
        }
    }

    /// The innermost loop around a node.
    fn loop_around(&self, id: NodeId) -> Option<NodeId> {
        let mut at = self.around(id);
        while let Some(around) = at {
            if matches!(self.node(around).kind, Kind::Loop(_)) {
                return Some(around);
            }
            at = self.around(around);
        }
        None
    }

    /// The signal counts for the loop that has ended, and for no other.
    pub(super) fn unsignal(&mut self, id: NodeId) {
        if matches!(&self.node(id).kind, Kind::Loop(run) if run.signalled) {
            Arc::make_mut(&mut self.vars).remove(LOOP_CONTINUE);
        }
    }
}
