//! Limits that a document may lower for its own runs: `options.limits`.
//!
//! It must not raise any: the host's values in [`crate::limits`] are the most there is.

use crate::limits;
use serde::{Deserialize, Serialize};

/// The limits of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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

impl RunLimits {
    /// Of each limit the smaller one.
    #[must_use]
    pub fn within(&self, most: &Self) -> Self {
        Self {
            step_instances: self.step_instances.min(most.step_instances),
            for_each_items: self.for_each_items.min(most.for_each_items),
            message_bytes: self.message_bytes.min(most.message_bytes),
            step_output_bytes: self.step_output_bytes.min(most.step_output_bytes),
            tool_result_bytes: self.tool_result_bytes.min(most.tool_result_bytes),
            tool_argument_bytes: self.tool_argument_bytes.min(most.tool_argument_bytes),
            tool_calls_per_turn: self.tool_calls_per_turn.min(most.tool_calls_per_turn),
            conversation_bytes: self.conversation_bytes.min(most.conversation_bytes),
        }
    }

    /// Whether no limit is above those of the host in [`crate::limits`].
    #[must_use]
    pub fn are_lowered(&self) -> bool {
        self.within(&Self::default()) == *self
    }
}
