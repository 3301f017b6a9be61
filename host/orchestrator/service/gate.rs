//! Which component may serve the host: where a lock file names it, the one that was approved; where only what was decided
//! may run, one that comes along, is pinned or is locked.
//!
//! It must not load anything.

use super::ServicePlugin;
use crate::lock::{Lock, LockEntry, Standing};
use crate::orchestrator::Undecided;
use crate::orchestrator::locking::source_in;
use cofferdam_core::fault::Fault;
use cofferdam_plugin::LoadedPlugin;
use std::path::PathBuf;
use std::sync::Arc;

/// What a service must pass before it is opened.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) lock: Option<Arc<Lock>>,
    /// The project's directory.
    pub(crate) root: Option<PathBuf>,
    pub(crate) undecided: Undecided,
}

impl Gate {
    /// Refuses another component than the one that was approved.
    pub(super) fn check(&self, service: &ServicePlugin, plugin: &LoadedPlugin) -> Result<(), Fault> {
        let now = self.entry(service, plugin);
        let standing = match &self.lock {
            None => Standing::Absent,
            Some(lock) => lock.standing(&now).map_err(|error| Fault::user("lock_file", error.to_string()))?,
        };
        let decided = self.undecided.locked || self.undecided.strict;
        let named = service.source.starts_with("builtin:") || service.digest.is_some();
        let alias = &service.alias;
        let refuse = |code, message, hint| Err(Fault::user(code, message).with_hint(hint));
        match standing {
            Standing::Same => Ok(()),
            Standing::Changed(found) => {
                let message = format!("plugin `{alias}` is not the one that was approved: {}", found.join("; "));
                let hint = format!(
                    "look at it with `cofferdam plugin inspect {}`; `cofferdam plugin lock` approves it",
                    now.source
                );
                refuse("plugin_changed", message, hint)
            }
            Standing::Rebuilt if decided && !named => {
                let message = format!("plugin `{alias}` is another component than the locked one");
                refuse("plugin_not_locked", message, "`cofferdam plugin lock` approves it".to_owned())
            }
            Standing::Absent if decided && !named => {
                let message = format!("plugin `{alias}` is not pinned (`--locked` or `--strict`)");
                let hint = format!(
                    "approve it with `cofferdam plugin lock`, or pin it with `digest = \"sha256:...\"` in \
                     `[plugins.{alias}]` of `cofferdam.toml`"
                );
                refuse("plugin_not_locked", message, hint)
            }
            Standing::Absent | Standing::Rebuilt => Ok(()),
        }
    }

    /// What would be locked of a service.
    pub(super) fn entry(&self, service: &ServicePlugin, plugin: &LoadedPlugin) -> LockEntry {
        LockEntry::of(plugin, source_in(self.root.as_deref(), &service.base, &service.source))
    }
}
