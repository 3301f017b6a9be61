//! What an event says of tokens that no turn of its step tells of.

use crate::budget::Money;
use crate::message::Usage;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A model was asked by a run inside this one, or by an agent of somebody else's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spending {
    /// The model that was asked.
    pub model: Arc<str>,
    /// Tokens that it took.
    pub usage: Usage,
    /// What they cost; absent when that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
}
