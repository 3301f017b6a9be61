//! What an event says a step gave.

use super::{map_is_empty, str_is_empty, value_is_null};
use crate::value::Map;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// What a step gave: text for people and prompts, data for expressions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepOutput {
    /// The text.
    #[serde(default, skip_serializing_if = "str_is_empty")]
    pub content: Arc<str>,
    /// The data; null when there is only text.
    #[serde(default, skip_serializing_if = "value_is_null")]
    pub result: Arc<Value>,
    /// The agent ran out of turns.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// What an agent tells of its work besides; stands in results with the metadata that the document gives the step.
    #[serde(default, skip_serializing_if = "map_is_empty")]
    pub metadata: Arc<Map>,
}
