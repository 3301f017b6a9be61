//! What makes a small value acceptable, whatever the store.
//!
//! It must not look at what a store holds.

use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, Put};

/// Refuses a write that no store could honour.
pub(crate) fn check(put: &Put) -> Result<(), JournalError> {
    for (what, name) in [("namespace", &put.namespace), ("key", &put.key)] {
        if name.is_empty() || name.len() > limits::STATE_KEY_BYTES {
            return Err(JournalError::Invalid(format!(
                "a {what} has 1 to {} bytes, not {}",
                limits::STATE_KEY_BYTES,
                name.len()
            )));
        }
    }
    match &put.value {
        Some(value) if value.len() > limits::STATE_VALUE_BYTES => Err(JournalError::Invalid(format!(
            "the value of `{}` has {} bytes; at most {} are kept",
            put.key,
            value.len(),
            limits::STATE_VALUE_BYTES
        ))),
        _ => Ok(()),
    }
}

/// Compares the version that is there with the one that must be; 0 is that of an absent key.
pub(crate) fn check_version(expected: Option<u64>, found: u64) -> Result<(), JournalError> {
    match expected {
        Some(expected) if expected != found => Err(JournalError::Conflict { expected, found }),
        _ => Ok(()),
    }
}

/// How many entries a scan may give when `limit` are asked for.
pub(crate) fn entries_of_scan(limit: usize) -> usize {
    limit.min(limits::STATE_SCAN_ENTRIES)
}
