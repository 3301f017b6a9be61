//! What makes an append acceptable, whatever the store.
//!
//! It must not look at what a store holds.

use cofferdam_core::limits;
use cofferdam_core::port::{Append, BlobId, JournalError};

/// Refuses an append that no store could honour.
pub(crate) fn check(request: &Append) -> Result<(), JournalError> {
    if request.expected_head == 0 && request.records.is_empty() {
        return Err(JournalError::Invalid(format!("run `{}` cannot begin without a record", request.run)));
    }
    for record in &request.records {
        let Some(event) = record.kept_event() else { continue };
        if event.run_id != request.run {
            return Err(JournalError::Invalid(format!(
                "an event of run `{}` cannot be appended to run `{}`",
                event.run_id, request.run
            )));
        }
        if event.body.is_transient() {
            return Err(JournalError::Invalid(format!("`{}` is transient and is never recorded", event.body.kind())));
        }
    }
    Ok(())
}

/// Refuses a blob whose id is not its hash, or that is too large to be held in memory.
pub(crate) fn check_blob(id: &BlobId, bytes: &[u8]) -> Result<(), JournalError> {
    if bytes.len() > limits::BLOB_BYTES {
        return Err(JournalError::Invalid(format!(
            "a blob of {} bytes is larger than {} bytes",
            bytes.len(),
            limits::BLOB_BYTES
        )));
    }
    if BlobId::of(bytes) != *id {
        return Err(JournalError::Invalid(format!("`{}` is not the hash of the blob's bytes", id.as_str())));
    }
    Ok(())
}
