//! Which events still have a place: what was emitted may be overtaken by what stopped the run meanwhile.
//!
//! The executor asks before it records an event, so that a journal holds nothing that the run did not take in.

use super::machine::Machine;
use super::node::{Kind, NodeId, NodeState};
use crate::event::Body;
use crate::id::StepPath;

impl Machine {
    /// Whether an event has a place in the state of now. Events about things inside a try always have one here;
    /// [`Self::admits`] tells of them.
    #[must_use]
    pub fn expects(&self, path: &StepPath, attempt: Option<u32>, body: &Body) -> bool {
        match body {
            Body::RunStarted { .. } | Body::RunFinished { .. } => !self.is_finished(),
            // An iteration or a judge that begins has no node of this try yet; its loop has.
            Body::LoopIterationStarted { .. } => {
                self.owner(path).is_some_and(|of| self.node(of).state == NodeState::Open)
            }
            Body::StepReady {} if self.judged(path).is_some() => true,
            body => self.find(path).is_none_or(|id| self.node_expects(id, attempt, body)),
        }
    }

    fn node_expects(&self, id: NodeId, attempt: Option<u32>, body: &Body) -> bool {
        use NodeState::{
            Asking, Closing, Deciding, Done, Due, Expanding, Gathering, Open, Queued, Resting, Running, Starting,
        };
        let node = self.node(id);
        let (state, works) = (node.state, node.works());
        match body {
            Body::StepReady {} => matches!(state, Due | Deciding),
            Body::StepStarted { .. } if works => matches!(state, Queued | Starting | Resting),
            Body::StepStarted { .. } => matches!(state, Expanding | Resting),
            Body::StepRetrying { .. } if works => state == Running,
            Body::StepWaiting(_) => works && state == Running,
            Body::StepRetrying { .. } => state == Closing,
            Body::StepFinished { .. } if attempt.is_some() => state == Running,
            Body::StepFinished { .. } => {
                matches!(state, Deciding | Expanding | Closing | Asking | Gathering) || self.is_evaluating(id)
            }
            Body::StepSkipped { .. } => matches!(state, Deciding | Closing),
            Body::BranchChosen { .. } => state == Deciding,
            Body::StepCancelled { .. } => matches!(state, Running | Closing | Asking),
            Body::LoopIterationFinished { .. } => matches!(state, Done(_) | Closing),
            Body::LoopFinished { .. } => matches!(&node.kind, Kind::Loop(run) if state == Open && run.ended.is_none()),
            Body::LoopPostponed { .. } => state == Open && self.pauses(id),
            Body::QuestionAsked { .. } | Body::QuestionAnswered { .. } => state == Asking,
            _ => true,
        }
    }
}
