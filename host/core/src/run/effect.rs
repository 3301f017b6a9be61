//! What the machine asks the engine to do.

use crate::event::Body;
use crate::id::StepPath;
use std::time::Duration;

/// An event that follows from the state alone: the engine appends it and feeds it back.
#[derive(Clone, Debug, PartialEq)]
pub struct Emission {
    /// The step, or the run.
    pub path: StepPath,
    /// The try it belongs to.
    pub attempt: Option<u32>,
    /// What happened.
    pub body: Body,
}

/// Something the engine shall do, after the events that led to it are in the journal.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Append this event and feed it back.
    Emit(Box<Emission>),
    /// Evaluate the step's condition. Answer: `step_ready`, `step_skipped` or `step_finished`.
    Decide(StepPath),
    /// Evaluate the loop's items. Answer: `step_started` with items, or `step_finished`.
    Expand(StepPath),
    /// Start a try. Answer: `step_finished`, or what [`super::Machine::judge`] says.
    Start {
        /// The step.
        path: StepPath,
        /// From 1.
        attempt: u32,
    },
    /// Wait, then call [`super::Machine::due`].
    Wait {
        /// The step.
        path: StepPath,
        /// How long.
        delay: Duration,
    },
    /// Call [`super::Machine::expire`] if the loop has not ended by then.
    Watch {
        /// The loop.
        path: StepPath,
        /// How long.
        timeout: Duration,
    },
    /// Stop the try that is under way. Answer: `step_cancelled`.
    Cancel(StepPath),
    /// All steps have ended: evaluate the output. Answer: `run_finished`.
    Conclude,
}
