//! The directories of a step.

use super::BoxFuture;
use crate::event::Changes;
use crate::fault::Fault;
use crate::id::{RunId, StepPath};
use crate::spec::workflow::IsolationMode;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
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

/// One try of a step, for which directories are entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEntry {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepPath,
    /// The try, from 1.
    pub attempt: u32,
    /// What the step's tools see.
    pub mode: IsolationMode,
    /// Whether an earlier process was at work on this try: then it goes on in the directory as that one left it.
    pub continues: bool,
}

/// How the try came to its end whose directories are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryEnd {
    /// It has a result, or failed.
    Itself,
    /// It was stopped, and may be taken up again.
    CutShort,
}

/// Gives each step its directories.
pub trait Isolation: Send + Sync {
    /// Called once before a run begins or goes on, with all modes that its steps have, and when a workflow is checked, with those of
    /// them that are no words of the language. Gives what a person should know.
    ///
    /// # Errors
    /// When a step could not have its directory; nothing runs.
    fn check<'a>(&'a self, modes: &'a BTreeSet<IsolationMode>) -> BoxFuture<'a, Result<Vec<String>, Fault>> {
        let unknown = modes.iter().find(|mode| **mode != IsolationMode::None);
        let refused = unknown.map(|mode| {
            mode.not_here()
                .with_hint("the program that runs this gives steps directories of its own; take `isolation` out")
        });
        Box::pin(std::future::ready(refused.map_or(Ok(Vec::new()), Err)))
    }

    /// Called at most once a try, when it first needs its directories. A try that does not continue begins in a directory
    /// without a trace of others.
    ///
    /// # Errors
    /// When a directory cannot be opened or made; the step fails.
    fn enter<'a>(&'a self, entry: &'a StepEntry) -> BoxFuture<'a, Result<Arc<StepDirs>, Fault>>;

    /// Called after a try has ended for which `enter` was called, also when it failed or was cancelled. It may be dropped
    /// and called again. Gives what changed in a directory of the step's own, if something did.
    fn leave<'a>(&'a self, entry: &'a StepEntry, end: TryEnd) -> BoxFuture<'a, Option<Changes>>;

    /// Called once for each branch of a run, before it begins: what the run has in its output directory, and what its steps
    /// changed, is taken along. Without this, a branch begins with nothing of it.
    ///
    /// # Errors
    /// When something cannot be copied; the branch does not begin.
    fn branch<'a>(&'a self, of: &'a RunId, into: &'a RunId) -> BoxFuture<'a, Result<(), Fault>> {
        let _ = (of, into);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Called when the record of a run is deleted: what it has goes. Patches stay; their directory is the answer.
    ///
    /// # Errors
    /// When something cannot be deleted, or would be lost that is in no patch. By force that goes as well.
    fn discard<'a>(&'a self, run: &'a RunId, force: bool) -> BoxFuture<'a, Result<Option<PathBuf>, Fault>> {
        let _ = (run, force);
        Box::pin(std::future::ready(Ok(None)))
    }
}
