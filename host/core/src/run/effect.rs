//! What the machine asks the engine to do.

use crate::event::Body;
use crate::id::StepPath;
use crate::time::Timestamp;
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
    /// Evaluate what the step begins with: a loop's items, the inputs of an included document. Answer:
    /// `step_started` with them, or `step_finished`.
    Expand(StepPath),
    /// Ask a person. Answer: `question_asked`; when nobody is there, nothing more; else `question_answered` and
    /// `step_finished`, or `step_finished` alone when the time is over.
    Ask(StepPath),
    /// Evaluate `while` of the loop at `path` before iteration `index`. Answer: [`super::Machine::go_on`],
    /// `loop_finished`, or `step_finished` when it cannot be evaluated.
    While {
        /// The loop.
        path: StepPath,
        /// The iteration that is about to begin.
        index: u32,
    },
    /// Evaluate `until` of the loop at `path` after iteration `index`. Answer: [`super::Machine::go_on`],
    /// `loop_finished`, or `step_finished` when it cannot be evaluated.
    Until {
        /// The loop.
        path: StepPath,
        /// The iteration that has ended.
        index: u32,
    },
    /// All inside a step has ended, and what it gave must be evaluated: the `output` of an included document, a
    /// chain of transforms. Answer: `step_finished`. [`super::Machine::gathered`] is what the inner steps gave.
    Gather(StepPath),
    /// Start a try. Answer: `step_finished`, or what [`super::Machine::judge`] says.
    Start {
        /// The step.
        path: StepPath,
        /// From 1.
        attempt: u32,
    },
    /// Resume the conversation of a try that has completed: a message waits for its agent. Answer: [`super::Machine::let_go`],
    /// behind the `message_posted` that answers what was read.
    Resume {
        /// The step.
        path: StepPath,
        /// The try that completed.
        attempt: u32,
    },
    /// Wait, then call [`super::Machine::due`].
    Wait {
        /// The step.
        path: StepPath,
        /// How long.
        delay: Duration,
        /// From when on; in a run that was resumed a part of it may be over.
        since: Timestamp,
    },
    /// Call [`super::Machine::expire`] if the loop, group or include has not ended by then.
    Watch {
        /// The step.
        path: StepPath,
        /// How long.
        timeout: Duration,
    },
    /// Stop the try that is under way. Answer: `step_cancelled`.
    Cancel(StepPath),
    /// All steps have ended: evaluate the output. Answer: `run_finished`.
    Conclude,
}
