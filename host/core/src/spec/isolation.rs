//! The words for what a step's tools see of the file system.

use super::workflow::{LoopKind, Scope, Step, Workflow};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What a step's tools see of the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IsolationMode {
    /// The working directory, which all steps share.
    #[default]
    #[serde(rename = "none")]
    None,
    /// A directory of its own, empty at first.
    #[serde(rename = "workdir-per-step")]
    Workdir,
    /// A copy of the working directory.
    #[serde(rename = "copy-per-step")]
    Copy,
    /// A worktree of the git repository that the working directory is in.
    #[serde(rename = "worktree-per-step")]
    Worktree,
}

impl IsolationMode {
    /// All of them, in the order of the language.
    pub const ALL: [Self; 4] = [Self::None, Self::Workdir, Self::Copy, Self::Worktree];

    /// The word of the language.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Workdir => "workdir-per-step",
            Self::Copy => "copy-per-step",
            Self::Worktree => "worktree-per-step",
        }
    }

    /// What a word of the language means.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }
}

impl fmt::Display for IsolationMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Workflow {
    /// What its steps' tools see of the file system, all modes of it.
    #[must_use]
    pub fn isolation_modes(&self) -> BTreeSet<IsolationMode> {
        modes(&self.scope, self.options.isolation)
    }
}

/// All modes of a scope, and of those inside of it.
fn modes(scope: &Scope, around: IsolationMode) -> BTreeSet<IsolationMode> {
    let mut found = BTreeSet::new();
    for step in &scope.steps {
        let own = step.isolation.unwrap_or(around);
        match step.inner() {
            Some(inner) => found.extend(modes(inner, own)),
            None => drop(found.insert(own)),
        }
        if let Some(judge) = judge(step) {
            found.insert(judge.isolation.unwrap_or(own));
        }
    }
    found
}

fn judge(step: &Step) -> Option<&Step> {
    match step.repeat.as_ref().map(|repeat| &repeat.kind) {
        Some(LoopKind::Repeat(repeat)) => repeat.judge.as_deref(),
        _ => None,
    }
}
