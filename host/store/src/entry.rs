//! What makes a small value acceptable, whatever the store.
//!
//! It must not look at what a store holds.

use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, Put, PutOne, Puts, Quota};
use std::collections::BTreeSet;

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

/// Refuses writes that no store could honour together.
pub(crate) fn check_all(puts: &Puts) -> Result<(), JournalError> {
    let mut keys = BTreeSet::new();
    for PutOne { key, value, expected } in &puts.writes {
        check(&Put { namespace: puts.namespace.clone(), key: key.clone(), value: value.clone(), expected: *expected })?;
        if !keys.insert(key) {
            return Err(JournalError::Invalid(format!("the key `{key}` is written twice at once")));
        }
    }
    Ok(())
}

/// What a namespace holds of what counts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Held {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// What the keys begin with that count.
pub(crate) fn counted(quota: Option<Quota>) -> &'static str {
    quota.map_or("", |quota| quota.prefix)
}

impl Held {
    /// Takes a write into account: what the key held before, and what it is to hold.
    pub(crate) fn write(&mut self, key: &str, before: Option<usize>, after: Option<usize>) {
        let size = |value: usize| (key.len() + value) as u64;
        self.entries = self.entries.saturating_sub(u64::from(before.is_some())) + u64::from(after.is_some());
        self.bytes = self.bytes.saturating_sub(before.map_or(0, size)) + after.map_or(0, size);
    }

    /// Refuses more than may be held. What only gets smaller is never refused.
    pub(crate) fn check(self, before: Self, quota: Option<Quota>) -> Result<(), JournalError> {
        let Some(quota) = quota else { return Ok(()) };
        if self.entries > quota.entries && self.entries > before.entries {
            return Err(JournalError::Full(format!("at most {} entries are kept", quota.entries)));
        }
        if self.bytes > quota.bytes && self.bytes > before.bytes {
            return Err(JournalError::Full(format!("at most {} bytes are kept", quota.bytes)));
        }
        Ok(())
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
