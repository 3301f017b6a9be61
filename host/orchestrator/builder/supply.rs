//! Where plugins and their secrets come from, and what becomes of what nobody decided about them.

use super::{Builder, Undecided};
use crate::orchestrator::fetching::Registries;
use crate::secrets::SecretSource;
use std::path::PathBuf;

impl Builder {
    /// Where the value of a secret comes from. Default: the variable of the environment of the same name. Values that are
    /// named here are redacted wherever they come up, whoever uses them.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, source: SecretSource) -> Self {
        self.secrets.insert(name.into(), source);
        self
    }

    /// The lock file: which plugins were approved. Default: none; any component is taken that a document names.
    #[must_use]
    pub fn lock(mut self, path: impl Into<PathBuf>) -> Self {
        self.lock = Some(path.into());
        self
    }

    /// How registries of plugins are spoken to. Default: over TLS, as nobody.
    #[must_use]
    pub fn registries(mut self, registries: Registries) -> Self {
        self.registries = registries;
        self
    }

    /// What becomes of what nobody decided. Default: it is asked, where somebody can be, else denied when it comes up.
    #[must_use]
    pub fn undecided(mut self, undecided: Undecided) -> Self {
        self.undecided = undecided;
        self
    }
}
