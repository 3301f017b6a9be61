//! The words for what a step's tools see of the file system.

use super::workflow::{LoopKind, Scope, Step, Workflow};
use crate::fault::Fault;
use crate::id::IsolationName;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt;

/// What a step's tools see of the file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IsolationMode {
    /// The working directory, which all steps share.
    #[default]
    None,
    /// A directory of its own, empty at first.
    Workdir,
    /// A copy of the working directory.
    Copy,
    /// A worktree of the git repository that the working directory is in.
    Worktree,
    /// What the program that runs it calls so.
    Own(IsolationName),
}

impl IsolationMode {
    /// The words of the language, in its order.
    pub const WORDS: [&'static str; 4] = ["none", "workdir-per-step", "copy-per-step", "worktree-per-step"];

    /// Its word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let [none, workdir, copy, worktree] = Self::WORDS;
        match self {
            Self::None => none,
            Self::Workdir => workdir,
            Self::Copy => copy,
            Self::Worktree => worktree,
            Self::Own(name) => name.as_str(),
        }
    }

    /// What a word means: one of the language, or a name that follows the grammar of names.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let known = [Self::None, Self::Workdir, Self::Copy, Self::Worktree];
        let known = known.into_iter().find(|mode| mode.as_str() == word);
        known.or_else(|| IsolationName::parse(word).ok().map(Self::Own))
    }
}

impl Serialize for IsolationMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for IsolationMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::of_word(&word).ok_or_else(|| D::Error::custom(format!("`{word}` is no mode of isolation")))
    }
}

impl IsolationMode {
    /// That a host has no such mode.
    #[must_use]
    pub fn not_here(&self) -> Fault {
        let fault = Fault::user("isolation", format!("`isolation: {self}` is not to be had here"));
        fault.with_detail(json!({ "isolation": self.as_str() }))
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
        modes(&self.scope, &self.options.isolation)
    }
}

/// All modes of a scope, and of those inside of it.
fn modes(scope: &Scope, around: &IsolationMode) -> BTreeSet<IsolationMode> {
    let mut found = BTreeSet::new();
    for step in &scope.steps {
        let own = step.isolation.as_ref().unwrap_or(around);
        match step.inner() {
            Some(inner) => found.extend(modes(inner, own)),
            None => drop(found.insert(own.clone())),
        }
        if let Some(judge) = judge(step) {
            found.insert(judge.isolation.as_ref().unwrap_or(own).clone());
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
