//! What events say of files that a step changed in a directory of its own.

use crate::id::StepPath;
use crate::spec::workflow::IsolationMode;
use serde::{Deserialize, Serialize};

/// What a try of a step changed in its own directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// What the directory began as.
    pub isolation: IsolationMode,
    /// The commit that a worktree began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The files, sorted by path; so many at most as `CHANGED_FILES` says.
    pub files: Vec<ChangedFile>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
    /// The patch, relative to the directory of the run; none when no file can be told as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// Where files that the patch cannot hold are kept whole, relative to the directory of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<String>,
    /// The directory in which the step worked, relative to that of the run. It stays as long as the run.
    pub directory: String,
    /// Why the patch does not hold all that changed; the directory does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
    /// Files that another step of the run changed as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Changes {
    /// How many files changed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.files.len().saturating_add(self.more)
    }
}

/// A file that a step changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// Its path, relative to the root of the repository that the working directory is in, else to the directory.
    pub path: String,
    /// What became of it.
    pub change: FileChange,
    /// It is no text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub binary: bool,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileChange {
    /// It was not there before.
    Added,
    /// It has other content, or other permissions.
    Modified,
    /// It is gone.
    Deleted,
}

/// A file that two steps changed, each from the same beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Its path.
    pub path: String,
    /// The step that changed it before.
    pub with: StepPath,
}
