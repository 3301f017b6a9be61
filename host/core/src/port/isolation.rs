//! The directories of a step.

use super::BoxFuture;
use crate::fault::Fault;
use crate::id::{RunId, StepPath};
use std::fs::File;
use std::sync::Arc;

/// An open directory: a capability. It is passed on as a handle and never as a path, so that nobody below can
/// widen it. Adapters turn it into a `cap_std::fs::Dir`.
#[derive(Clone, Debug)]
pub struct DirHandle(Arc<File>);

impl DirHandle {
    /// Takes an open directory.
    #[must_use]
    pub fn new(directory: File) -> Self {
        Self(Arc::new(directory))
    }

    /// The open directory, for adapters that duplicate it.
    #[must_use]
    pub fn as_file(&self) -> &File {
        &self.0
    }
}

/// What a step's tools see of the file system.
#[derive(Clone, Debug)]
pub struct StepDirs {
    /// The step's directory: `/step` for components, the root of relative paths for native tools.
    pub step: DirHandle,
    /// The run's output directory: `/out` for components, `out:` for native tools.
    pub out: DirHandle,
}

/// Gives each step its directories.
pub trait Isolation: Send + Sync {
    /// Called at most once a try, when it first needs its directories.
    ///
    /// # Errors
    /// When a directory cannot be opened or made; the step fails.
    fn enter<'a>(&'a self, run: &'a RunId, step: &'a StepPath) -> BoxFuture<'a, Result<Arc<StepDirs>, Fault>>;

    /// Called once for each `enter`, after the try has ended, also when it failed or was cancelled.
    fn leave<'a>(&'a self, run: &'a RunId, step: &'a StepPath) -> BoxFuture<'a, ()>;

    /// Called once for each branch of a run, before it begins: what the run has in its output directory is taken along. Without
    /// this, a branch begins with an empty one.
    ///
    /// # Errors
    /// When something cannot be copied; the branch does not begin.
    fn branch<'a>(&'a self, of: &'a RunId, into: &'a RunId) -> BoxFuture<'a, Result<(), Fault>> {
        let _ = (of, into);
        Box::pin(std::future::ready(Ok(())))
    }
}
