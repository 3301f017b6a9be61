//! What retrieval memory gave a try of an agent step.

use super::str_is_empty;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What was found, and what became of it. Also recorded when nothing was found: a try that goes on does not search again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recalled {
    /// The message that was searched for, as memory keeps it; empty where it keeps no messages.
    #[serde(default, skip_serializing_if = "str_is_empty")]
    pub input: Arc<str>,
    /// What was found and put into the prompt, the best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Recollection>,
    /// What stands behind the message because of it.
    #[serde(default, skip_serializing_if = "str_is_empty")]
    pub text: Arc<str>,
}

/// A text that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recollection {
    /// Its name in the memory; of what a step was told or gave `RUN/PATH/KIND`.
    pub id: String,
    /// How well it fits, from 0 to 1.
    pub score: f32,
}
