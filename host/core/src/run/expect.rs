//! Which events still have a place: what was emitted may be overtaken by what stopped the run meanwhile.
//!
//! The executor asks before it records an event, so that a journal holds nothing that the run did not take in.

use super::machine::Machine;
use super::node::NodeState;
use crate::event::Body;
use crate::id::StepPath;

impl Machine {
    /// Whether an event has a place in the state of now. Events about things inside a try always have one here;
    /// [`Self::admits`] tells of them.
    #[must_use]
    pub fn expects(&self, path: &StepPath, attempt: Option<u32>, body: &Body) -> bool {
        use NodeState::{Closing, Deciding, Done, Due, Expanding, Looping, Queued, Resting, Running, Starting};
        if matches!(body, Body::RunStarted { .. } | Body::RunFinished { .. }) {
            return !self.is_finished();
        }
        let Some(state) = self.state_of(path) else {
            // An iteration that begins has no node yet; its loop has.
            let owner = path.as_str().rsplit_once('[').map(|(owner, _)| StepPath::from(owner));
            let looping = owner.and_then(|owner| self.state_of(&owner)) == Some(Looping);
            return !matches!(body, Body::LoopIterationStarted { .. }) || looping;
        };
        match body {
            Body::StepReady {} => matches!(state, Due | Deciding),
            Body::StepStarted { items: Some(_), .. } => state == Expanding,
            Body::StepStarted { .. } => matches!(state, Queued | Starting | Resting),
            Body::StepRetrying { .. } => state == Running,
            Body::StepFinished { .. } if attempt.is_some() => state == Running,
            Body::StepFinished { .. } => matches!(state, Deciding | Expanding | Closing),
            Body::StepSkipped { .. } => matches!(state, Deciding | Closing),
            Body::StepCancelled { .. } => matches!(state, Running | Closing),
            Body::LoopIterationFinished { .. } => matches!(state, Done(_) | Closing),
            _ => true,
        }
    }
}
