//! What a run has read of a memory that outlives it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// Entries that are not as the run knew them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The entries, in the order of namespaces and keys.
    pub entries: Arc<Vec<SeenEntry>>,
}

/// An entry as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeenEntry {
    /// Whose it is.
    pub namespace: Arc<str>,
    /// Its key.
    pub key: Arc<str>,
    /// Its value; none where it is there no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Arc<Value>>,
    /// Which change of the memory put it there; 0 where it is there no more.
    #[serde(default)]
    pub revision: u64,
}
