//! Variables of the run: set by tools, agents and code, read by expressions and templates.

use super::machine::Machine;
use super::node::{Doom, Kind, NodeId, NodeState};
use crate::id::StepPath;
use crate::value::Map;
use serde_json::Value;
use std::sync::Arc;

/// The variable that ends the innermost loop when it is set to false.
pub const LOOP_CONTINUE: &str = "loop_continue";

/// A question that a run waits with.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct OpenQuestion {
    /// The step that asks.
    pub step: StepPath,
    /// What it asks.
    pub question: String,
    /// The answers that may be given; empty = any.
    pub choices: Vec<String>,
}

impl Machine {
    /// The variables as they are now.
    #[must_use]
    pub fn vars(&self) -> &Arc<Map> {
        &self.vars
    }

    /// Questions that nobody here can answer, in the order in which they were asked.
    #[must_use]
    pub fn open_questions(&self) -> Vec<OpenQuestion> {
        let open = |question: &&OpenQuestion| self.state_of(&question.step) == Some(NodeState::Deferred);
        self.questions.iter().filter(open).cloned().collect()
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

    pub(super) fn take_question(&mut self, id: NodeId, question: &str, choices: &[String], deferred: bool) {
        if !deferred || self.node(id).state != NodeState::Asking {
            return;
        }
        self.node_mut(id).state = NodeState::Deferred;
        self.deferred += 1;
        let step = self.node(id).path.clone();
        self.questions.push(OpenQuestion { step, question: question.to_owned(), choices: choices.to_vec() });
        if self.is_halted(id) {
            self.doom(id, Doom::Cancel("the run was stopped".to_owned()));
        }
    }

    /// Whether nothing will happen any more, though steps are left: they wait for answers that nobody here can give.
    pub(super) fn waits_for_answers(&self) -> bool {
        self.deferred > 0
            && self.stop.is_none()
            && self.slots.taken() == 0
            && self.nodes.iter().all(|node| match &node.kind {
                // An iteration that has ended counts as active until its record has come.
                Kind::Loop(run) if node.state == NodeState::Open => {
                    let open = run.iterations.iter().filter(|&&id| self.node(id).state.status().is_none());
                    run.active > 0 && run.announced == run.iterations.len() && open.count() == run.active
                }
                _ => matches!(
                    node.state,
                    NodeState::Waiting | NodeState::Deferred | NodeState::Open | NodeState::Done(_)
                ),
            })
    }
}
