//! Steps that wait for what nobody here can say: the run goes on beside them, and then waits.

use super::machine::Machine;
use super::node::{Doom, Kind, NodeId, NodeState};
use super::waits::Waits;
use crate::event::{Approved, OpenApproval};
use crate::id::StepPath;
use crate::time::Timestamp;
use std::time::Duration;

impl Machine {
    /// What the run waits with.
    #[must_use]
    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    /// Leaves out words that allow calls and are not ours, as [`Seal`](crate::port::Seal) says; gives how many there are.
    pub fn trust_words(&mut self, is_ours: impl Fn(&OpenApproval, &Approved) -> bool) -> usize {
        self.waits.trust(is_ours)
    }

    /// How long tries of the step waited for a person while the run went on beside it; that counts in no time of the step.
    #[must_use]
    pub fn waited(&self, path: &StepPath) -> Duration {
        self.find(path).map(|id| self.node(id).waited).unwrap_or_default()
    }

    /// Whether a try that wants to wait has asked for something.
    #[must_use]
    pub fn may_wait(&self, path: &StepPath) -> bool {
        self.waits.undecided_calls().any(|open| open.step == *path)
    }

    /// The question of a step waits for its answer.
    pub(super) fn defer_question(&mut self, id: NodeId, deferred: bool) {
        if deferred && self.node(id).state == NodeState::Asking {
            self.defer(id);
        }
    }

    /// A try gives back its slot and waits.
    pub(super) fn defer_try(&mut self, id: NodeId, at: Timestamp) {
        if self.node(id).state == NodeState::Running {
            self.leave_slot(id);
            self.node_mut(id).waiting = Some(at);
            self.defer(id);
        }
    }

    fn defer(&mut self, id: NodeId) {
        self.node_mut(id).state = NodeState::Deferred;
        self.deferred += 1;
        if self.is_halted(id) {
            self.doom(id, Doom::Cancel("the run was stopped".to_owned()));
        }
    }

    /// When the first of the steps that wait may go on by itself: a loop whose pause nobody here waits for, or a run inside a
    /// step.
    #[must_use]
    pub fn postponed_until(&self) -> Option<Timestamp> {
        self.pause_until().into_iter().chain(self.waits.until()).min()
    }

    /// Whether nothing will happen any more, though steps are left: they wait for answers that nobody here can give, or for
    /// times that nobody here waits for.
    pub(super) fn waits_for_another_day(&self) -> bool {
        (self.deferred > 0 || self.postpones && self.pause_until().is_some())
            && self.stop.is_none()
            && self.slots.taken() == 0
            && self.nodes.iter().all(|node| match &node.kind {
                // An iteration that has ended counts as active until its record has come.
                Kind::Loop(run) if node.state == NodeState::Open && run.postponed.is_some() => true,
                Kind::Loop(run) if node.state == NodeState::Open => {
                    let open = run.iterations.iter().filter(|&&id| self.node(id).state.status().is_none());
                    let iterates =
                        run.active > 0 && run.announced == run.iterations.len() && open.count() == run.active;
                    iterates || self.waits_for_judge(run)
                }
                _ => matches!(
                    node.state,
                    NodeState::Waiting | NodeState::Deferred | NodeState::Open | NodeState::Done(_)
                ),
            })
    }
}
