//! What a run was started from: documents, files that go with prompts, plugins, another run.

use crate::id::{RunId, StepPath};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A file that a run was started from, as it was then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The path as the user named it, or relative to the document.
    pub path: String,
    /// SHA-256 of the bytes, in lower hex.
    pub sha256: String,
    /// The text; resume and replay work from this copy.
    pub text: Arc<str>,
}

/// A plugin that a run uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PluginPin {
    /// What the document calls it.
    pub alias: String,
    /// Where it came from.
    pub source: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// What it says it is: `cofferdam/text 0.1.0`.
    pub name: String,
    /// What it may do, one line a capability; empty when nothing.
    pub granted: Vec<String>,
}

/// Which run a branch was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BranchedFrom {
    /// The recorded run.
    pub run_id: RunId,
    /// Its steps that were not taken over, though they may have ended there; without those inside of them.
    pub steps: Vec<StepPath>,
}

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
