//! What the lock file says to the plugins of a run, and what approvals write into it.
//!
//! It must not decide grants.

use super::Orchestrator;
use super::plugins::{PluginCheck, Wanted};
use crate::error::Error;
use crate::lock::{LockEntry, LockError, Standing};
use crate::workflow::Workflow;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{Answer, Question};
use cofferdam_plugin::LoadedPlugin;
use std::path::Path;

impl Orchestrator {
    /// Approves the plugins of a workflow as they are now, and gives their entries and whether the lock file changed.
    /// Their code runs only to describe itself, with everything denied.
    ///
    /// # Errors
    /// A plugin that does not load; a lock file that cannot be read or written.
    pub async fn lock_plugins(&self, workflow: &Workflow) -> Result<(Vec<LockEntry>, bool), Error> {
        let Some(lock) = &self.shared.settings.lock else {
            return Err(Error::Settings("there is no lock file".to_owned()));
        };
        let entries = self.entries(workflow).await?;
        let changed = lock.approve(&entries).map_err(|error| Error::Settings(error.to_string()))?;
        Ok((entries, changed))
    }

    /// Writes down what was approved at the start of a run.
    pub(super) fn write_lock(&self, checks: &[PluginCheck]) {
        let Some(lock) = &self.shared.settings.lock else { return };
        let approved: Vec<LockEntry> = checks.iter().filter_map(|check| check.approved.clone()).collect();
        if approved.is_empty() {
            return;
        }
        if let Err(error) = lock.approve(&approved) {
            tracing::warn!(%error, "what was approved is not locked");
        }
    }

    /// What would be locked of a plugin.
    pub(super) fn entry(&self, wanted: &Wanted<'_>, plugin: &LoadedPlugin) -> LockEntry {
        let source = &wanted.declared.source;
        let base = &wanted.workflow.base;
        let root = self.shared.settings.root.as_deref();
        LockEntry::of(plugin, source_in(root, base, source))
    }

    /// Refuses a plugin that is not the one that was approved. Gives whether it was approved anew just now.
    pub(super) async fn check_lock(&self, wanted: &Wanted<'_>, now: &LockEntry) -> Result<bool, Fault> {
        let settings = &self.shared.settings;
        let Some(lock) = &settings.lock else { return Ok(false) };
        let alias = wanted.alias;
        let unreadable = |error: LockError| Fault::user("lock_file", error.to_string());
        let hint = format!(
            "look at it with `cofferdam plugin inspect {}`; `cofferdam plugin lock FILE` approves it",
            now.source
        );
        let refuse = |code, message| Err(Fault::user(code, message).with_hint(hint));
        match lock.standing(now).map_err(unreadable)? {
            Standing::Same => Ok(false),
            Standing::Absent if settings.undecided.locked => {
                refuse("plugin_not_locked", format!("plugin `{alias}` (`{}`) is not in the lock file", now.source))
            }
            Standing::Absent => Ok(false),
            Standing::Rebuilt if settings.undecided.locked => {
                refuse("plugin_not_locked", format!("plugin `{alias}` is another component than the locked one"))
            }
            Standing::Rebuilt => {
                tracing::info!(%alias, "another component than the locked one, which says and wants the same");
                Ok(false)
            }
            Standing::Changed(found) => {
                if !settings.undecided.locked
                    && (wanted.policy.allows_requests() || self.ask_to_update(wanted, &found).await)
                {
                    return Ok(true);
                }
                let found = found.join("; ");
                refuse("plugin_changed", format!("plugin `{alias}` is not the one that was approved: {found}"))
            }
        }
    }

    async fn ask_to_update(&self, wanted: &Wanted<'_>, found: &[String]) -> bool {
        let settings = &self.shared.settings;
        let Some(approver) = settings.approver.as_ref().filter(|_| !settings.undecided.strict) else { return false };
        let question = Question {
            run_id: None,
            path: StepPath::ROOT,
            title: format!("take the plugin `{}` as it is now?", wanted.alias),
            detail: found.join("\n"),
        };
        matches!(approver.ask(question).await, Answer::Yes | Answer::Always)
    }
}

/// The source as the lock file writes it: a path relative to the project, where it is inside.
pub(super) fn source_in(root: Option<&Path>, base: &Path, source: &str) -> String {
    if source.starts_with("builtin:") {
        return source.to_owned();
    }
    // An empty path is this directory.
    let absolute = |path: &Path| std::path::absolute(Path::new(".").join(path)).unwrap_or_else(|_| path.to_owned());
    let path = absolute(&base.join(source));
    let inside = path.strip_prefix(absolute(root.unwrap_or(base))).map(Path::to_owned);
    inside.unwrap_or(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_written_relative_to_the_project() {
        let (root, base) = (Path::new("/p"), Path::new("/p/flows"));
        assert_eq!(source_in(Some(root), base, "x.wasm"), "flows/x.wasm");
        assert_eq!(source_in(None, base, "./x.wasm"), "x.wasm");
        assert_eq!(source_in(Some(root), Path::new("/q"), "x.wasm"), "/q/x.wasm");
        assert_eq!(source_in(Some(Path::new("")), Path::new(""), "./x.wasm"), "x.wasm");
        assert_eq!(source_in(Some(root), base, "builtin:text"), "builtin:text");
    }
}
