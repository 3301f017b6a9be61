//! Which directories steps see.

use super::Builder;
use crate::error::Error;
use cofferdam_core::id::IsolationName;
use cofferdam_core::port::Isolation;
use cofferdam_core::spec::workflow::IsolationMode;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Builder {
    /// Which directories steps see. Default: those of the words `none`, `workdir-per-step`, `copy-per-step` and
    /// `worktree-per-step`. It takes the place of all of them, and is asked which modes it has.
    #[must_use]
    pub fn isolation(mut self, isolation: Arc<dyn Isolation>) -> Self {
        self.isolation = Some(isolation);
        self
    }

    /// One more mode, under a name of its own: documents say `isolation: NAME`. Of the directories that it gives, the step's is taken;
    /// the output directory is the run's, as for all steps.
    #[must_use]
    pub fn isolation_mode(mut self, name: impl Into<String>, isolation: Arc<dyn Isolation>) -> Self {
        self.isolation_modes.insert(name.into(), isolation);
        self
    }
}

/// The modes by their names.
///
/// # Errors
/// When a name is a word of the language, or no name.
pub(super) fn named(
    modes: BTreeMap<String, Arc<dyn Isolation>>,
) -> Result<BTreeMap<IsolationName, Arc<dyn Isolation>>, Error> {
    let named = |(name, isolation): (String, Arc<dyn Isolation>)| match IsolationMode::of_word(&name) {
        Some(IsolationMode::Own(name)) => Ok((name, isolation)),
        Some(_) => Err(Error::Settings(format!("`{name}` is a mode of isolation that is there already"))),
        None => Err(Error::Settings(format!("`{name}` is no name: {}", IsolationName::GRAMMAR))),
    };
    modes.into_iter().map(named).collect()
}
