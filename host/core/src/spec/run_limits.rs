//! Limits that a document may lower for its own runs: `options.limits`.
//!
//! It must not raise any: the host's values in [`crate::limits`] are the most there is.

use crate::limits;

/// The limits of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Step instances of the run, iterations counted.
    pub step_instances: usize,
    /// Items of one `forEach`.
    pub for_each_items: usize,
    /// An assembled message, in bytes.
    pub message_bytes: usize,
    /// What a step gives, in bytes.
    pub step_output_bytes: usize,
    /// What a model reads of a tool's answer, in bytes.
    pub tool_result_bytes: usize,
    /// Arguments of a tool call, in bytes.
    pub tool_argument_bytes: usize,
    /// Tool calls of one turn.
    pub tool_calls_per_turn: usize,
    /// The conversation of an agent, in bytes, before what is old gives way.
    pub conversation_bytes: usize,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            step_instances: limits::STEP_INSTANCES,
            for_each_items: limits::FOR_EACH_ITEMS,
            message_bytes: limits::MESSAGE_BYTES,
            step_output_bytes: limits::STEP_OUTPUT_BYTES,
            tool_result_bytes: limits::TOOL_RESULT_BYTES,
            tool_argument_bytes: limits::TOOL_ARGUMENT_BYTES,
            tool_calls_per_turn: limits::TOOL_CALLS_PER_TURN,
            conversation_bytes: limits::CONVERSATION_BYTES,
        }
    }
}
