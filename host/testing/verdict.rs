//! What came of a case.

use cofferdam_plugin::Spent;
use serde::Serialize;
use std::time::Duration;

/// What came of a case.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The file, as it was named.
    pub file: String,
    /// The case.
    pub case: String,
    /// The line of the case in its file.
    pub line: u32,
    /// What does not hold; empty when the case passed.
    pub misses: Vec<Miss>,
    /// What the call of a plugin took: fuel, and memory at its largest. None for a workflow, and where nothing was called.
    #[serde(skip)]
    pub spent: Option<Spent>,
    /// How long it really took.
    #[serde(skip)]
    pub took: Duration,
}

/// An expectation that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// Of what: `steps.draft.status`.
    pub about: String,
    /// What was expected.
    pub expected: String,
    /// What was found.
    pub found: String,
}

impl Verdict {
    /// Whether all that was expected holds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.misses.is_empty()
    }
}

impl Miss {
    pub(super) fn new(about: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { about: about.into(), expected: expected.into(), found: found.into() }
    }
}
