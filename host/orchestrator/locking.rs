//! What the lock file says to the plugins of a run, and what approvals write into it.
//!
//! It must not decide grants.

use super::Orchestrator;
use super::fetching::Update;
use super::plugins::{PluginCheck, Wanted};
use crate::error::Error;
use crate::lock::{LockEntry, LockError, Standing};
use crate::workflow::Workflow;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, StepPath};
use cofferdam_core::oci::Reference;
use cofferdam_core::port::{Answer, Question};
use cofferdam_core::spec::workflow::PluginReference as Declared;
use cofferdam_plugin::{LoadedPlugin, Source};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

impl Orchestrator {
    /// Approves the plugins of a workflow as they are now, and gives their entries and whether the lock file changed.
    /// Their code runs only to describe itself, with everything denied. Those of registries are fetched: what is locked as it
    /// is locked, unless `update` says otherwise.
    ///
    /// # Errors
    /// A plugin that cannot be fetched or does not load; a lock file that cannot be read or written.
    pub async fn lock_plugins(&self, workflow: &Workflow, update: Update) -> Result<(Vec<LockEntry>, bool), Error> {
        let Some(lock) = &self.shared.settings.lock else {
            return Err(Error::Settings("there is no lock file".to_owned()));
        };
        let entries = self.entries(workflow, update).await?;
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

    /// Writes down a plugin that somebody approved by itself, outside of a document. Says whether the file changed.
    ///
    /// # Errors
    /// When there is no lock file, or it cannot be read or written.
    pub fn approve_plugin(&self, entry: &LockEntry) -> Result<bool, Error> {
        let lock = self.shared.settings.lock.as_ref();
        let lock = lock.ok_or_else(|| Error::Settings("there is no lock file".to_owned()))?;
        lock.approve(std::slice::from_ref(entry)).map_err(|error| Error::Settings(error.to_string()))
    }

    /// What was approved of the plugin with this source, and with this name if one is given.
    ///
    /// # Errors
    /// A lock file that cannot be read.
    pub fn approved_plugin(&self, alias: Option<&Alias>, source: &str) -> Result<Option<LockEntry>, Error> {
        let Some(lock) = &self.shared.settings.lock else { return Ok(None) };
        lock.pinned(alias.map(Alias::as_str), source).map_err(|error| Error::Settings(error.to_string()))
    }

    /// A source as the lock file writes it; a relative path is relative to `base`.
    #[must_use]
    pub fn source_of(&self, base: &Path, source: &str) -> String {
        source_in(self.shared.settings.root.as_deref(), base, source)
    }

    /// The digest that a plugin of a document must have. What comes from a registry has the one that was locked, if the
    /// document says none: what is there under a tag today is no answer.
    pub(super) fn digest_of(
        &self,
        alias: &Alias,
        declared: &Declared,
        source: &Source,
    ) -> Result<Option<String>, Fault> {
        if declared.digest.is_some() || !matches!(source, Source::Registry(_)) {
            return Ok(declared.digest.clone());
        }
        let Some(lock) = &self.shared.settings.lock else { return Ok(None) };
        let pinned = lock.pinned(Some(alias.as_str()), &declared.source);
        pinned.map(|entry| entry.map(|entry| entry.digest)).map_err(|error| Fault::user("lock_file", error.to_string()))
    }

    /// The plugin with what `cofferdam.toml` says of the one with its alias and source: grants, and the digest.
    pub(super) fn as_named<'w>(&self, wanted: &Wanted<'w>) -> Result<Wanted<'w>, Fault> {
        let root = self.shared.settings.root.as_deref();
        let source = source_in(root, &wanted.workflow.base, &wanted.declared.source);
        let is_it = |other: &str| source_in(root, root.unwrap_or(&wanted.workflow.base), other) == source;
        let (mut declared, alias) = (wanted.declared.clone(), wanted.alias);
        let policy = Cow::Owned(wanted.policy.for_plugin(alias, is_it));
        let Some(named) = wanted.policy.named(alias, is_it) else { return Ok(Wanted { declared, policy, ..*wanted }) };
        match (&declared.digest, &named.digest) {
            (Some(own), Some(pinned)) if !own.eq_ignore_ascii_case(pinned) => {
                let message = format!("plugin `{alias}` is {own} in the document and {pinned} in `cofferdam.toml`");
                return Err(
                    Fault::user("plugin_digest", message).with_hint("they must be one component, or have two names")
                );
            }
            (None, Some(pinned)) => declared.digest = Some(pinned.clone()),
            _ => {}
        }
        Ok(Wanted { declared, policy, ..*wanted })
    }

    /// Refuses a plugin that is not the one that was approved. Gives whether it was approved anew just now.
    pub(super) async fn check_lock(&self, wanted: &Wanted<'_>, now: &LockEntry) -> Result<bool, Fault> {
        let settings = &self.shared.settings;
        let alias = wanted.alias;
        let Some(lock) = &settings.lock else {
            let message = format!("plugin `{alias}` is held to no lock file");
            return if settings.undecided.locked { Err(Fault::user("plugin_not_locked", message)) } else { Ok(false) };
        };
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
            always: None,
        };
        matches!(approver.ask(question).await, Answer::Yes | Answer::Always)
    }
}

/// The source as the lock file writes it: a path relative to the project, where it is inside.
pub(super) fn source_in(root: Option<&Path>, base: &Path, source: &str) -> String {
    if source.starts_with("builtin:") || Reference::is_meant(source) {
        return source.to_owned();
    }
    let (path, root) = (absolute(&base.join(source)), absolute(root.unwrap_or(base)));
    // Behind a link `..` leads elsewhere than it says, and one folder may have several names.
    let (path, root) = resolved(&path).zip(root.canonicalize().ok()).unwrap_or((path, root));
    let inside = path.strip_prefix(root).map(Path::to_owned);
    inside.unwrap_or(path).to_string_lossy().into_owned()
}

fn absolute(path: &Path) -> PathBuf {
    // An empty path is this directory.
    std::path::absolute(Path::new(".").join(path)).unwrap_or_else(|_| path.to_owned())
}

/// A file by the directory that it is in; none when there is no such directory.
fn resolved(path: &Path) -> Option<PathBuf> {
    Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
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
        // No such directory: as it is written.
        assert_eq!(source_in(Some(root), base, "../x.wasm"), "flows/../x.wasm");
        for source in ["builtin:text", "oci://ghcr.io/a/b:1"] {
            assert_eq!(source_in(Some(root), base, source), source);
        }
    }

    #[test]
    fn a_source_that_climbs_is_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for directory in ["flows", "plugins", "elsewhere/deep"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("elsewhere/deep"), root.join("flows/link")).unwrap();
        let of = |source| source_in(Some(root), &root.join("flows"), source);
        assert_eq!(of("../plugins/x.wasm"), "plugins/x.wasm");
        assert_eq!(of("link/../x.wasm"), "elsewhere/x.wasm");
        assert_eq!(of("link/x.wasm"), source_in(Some(root), &root.join("elsewhere"), "deep/x.wasm"));
    }
}
