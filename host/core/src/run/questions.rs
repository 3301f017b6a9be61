//! Questions that nobody here can answer: the run goes on beside them, and then waits.

use super::machine::Machine;
use super::node::{Doom, Kind, NodeId, NodeState};
use crate::id::StepPath;

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
    /// Questions that nobody here can answer, in the order in which they were asked.
    #[must_use]
    pub fn open_questions(&self) -> Vec<OpenQuestion> {
        let open = |question: &&OpenQuestion| self.state_of(&question.step) == Some(NodeState::Deferred);
        self.questions.iter().filter(open).cloned().collect()
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

    /// Whether nothing will happen any more, though steps are left: they wait for answers that nobody here can give, or for
    /// times that nobody here waits for.
    pub(super) fn waits_for_another_day(&self) -> bool {
        (self.deferred > 0 || self.postpones && self.postponed_until().is_some())
            && self.stop.is_none()
            && self.slots.taken() == 0
            && self.nodes.iter().all(|node| match &node.kind {
                // An iteration that has ended counts as active until its record has come.
                Kind::Loop(run) if node.state == NodeState::Open && run.postponed.is_some() => true,
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
