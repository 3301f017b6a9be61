//! A file that goes with prompts, as a run was started with it.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A file that the document names as context. Its content is read when its step runs, and is not recorded here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextFile {
    /// The path, relative to the document.
    pub path: String,
    /// SHA-256 of the bytes, in lower hex.
    pub sha256: String,
}

pub(super) fn are_none(files: &Arc<Vec<ContextFile>>) -> bool {
    files.is_empty()
}
