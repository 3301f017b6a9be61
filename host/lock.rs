//! `cofferdam.lock`: which plugins were approved, so that an update that says or takes something else is noticed.
//!
//! It restricts and never grants: a lock file that somebody brings along can only make a run be refused. It must not
//! decide what follows from a difference.

use crate::replace::replace;
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::id::Alias;
use cofferdam_core::limits;
use cofferdam_plugin::{About, Inspection, LoadedPlugin};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The name of the file, beside `cofferdam.toml`.
pub const LOCK_FILE: &str = "cofferdam.lock";
/// The version of the file's form.
const VERSION: u32 = 1;
const HEAD: &str = "# The plugins that were approved. Written by cofferdam; keep it with the project.\n\n";

/// A plugin that was approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockEntry {
    /// What documents call it.
    pub alias: String,
    /// Where it comes from; a path is relative to the lock file.
    pub source: String,
    /// The digest of its component.
    pub digest: String,
    /// The digest of the manifest that it was fetched by, when it comes from a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// What it says it is: `cofferdam/text 0.1.0`.
    pub name: String,
    /// SHA-256 over what it says of its tools, its models, its configuration and its options.
    pub tools: String,
    /// The interfaces that it wants and offers, with their versions.
    pub interfaces: Vec<String>,
}

/// How a plugin stands to what was approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the very component.
    Same,
    /// Another component that says the same of itself and wants the same.
    Rebuilt,
    /// Another component; what is different, in words.
    Changed(Vec<String>),
    /// It was never approved.
    Absent,
}

/// Why a lock file cannot be used. It is never treated as absent.
#[derive(Debug, thiserror::Error)]
#[error("the lock file `{}` cannot be {act}: {reason}", path.display())]
pub struct LockError {
    path: PathBuf,
    act: &'static str,
    reason: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    #[serde(default)]
    plugin: Vec<LockEntry>,
}

impl LockEntry {
    /// What would be approved of a plugin.
    #[must_use]
    pub fn of(plugin: &LoadedPlugin, source: String) -> Self {
        let entry = Self::saying(plugin.alias(), plugin.about());
        Self { source, digest: plugin.digest().to_string(), interfaces: plugin.interfaces(), ..entry }
    }

    /// What would be approved of a plugin that was taken apart and not loaded.
    #[must_use]
    pub fn of_inspection(alias: &Alias, plugin: &Inspection, source: String) -> Self {
        let imports = plugin.imports.iter().map(|import| import.interface.clone());
        let mut interfaces: Vec<String> = imports.chain(plugin.exports.iter().cloned()).collect();
        interfaces.sort();
        Self { source, digest: plugin.digest.to_string(), interfaces, ..Self::saying(alias, &plugin.about) }
    }

    fn saying(alias: &Alias, about: &About) -> Self {
        let (config, tools) = (&about.config_schema, &about.tools);
        let options = (&about.transform_options, &about.condition_options);
        // The rest only where there is some, so that what was approved of a plugin of tools stays approved.
        let said = match (options, about.models.as_slice()) {
            ((None, None), []) => serde_json::to_vec(&(config, tools)),
            (options, models) => serde_json::to_vec(&(config, tools, options, models)),
        };
        let said = said.unwrap_or_default();
        Self {
            alias: alias.to_string(),
            source: String::new(),
            digest: String::new(),
            manifest: None,
            name: format!("{} {}", about.id, about.version),
            tools: format!("sha256:{}", sha256_hex(&said)),
            interfaces: Vec::new(),
        }
    }

    fn is_for(&self, other: &Self) -> bool {
        self.is_of(&other.alias, &other.source)
    }

    fn is_of(&self, alias: &str, source: &str) -> bool {
        self.alias == alias && self.source == source
    }

    /// The entry with what an earlier one of the same component knew, and a run does not: by which manifest it came.
    fn after(self, known: Option<&Self>) -> Self {
        let earlier = known.filter(|known| known.digest == self.digest).and_then(|known| known.manifest.clone());
        Self { manifest: self.manifest.or(earlier), ..self }
    }

    fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.id() != now.id() {
            found.push(format!("it was `{}`, and is `{}`", self.id(), now.id()));
        }
        if self.tools != now.tools {
            found.push(
                "what it says of its tools, its models, its configuration or its options is different".to_owned(),
            );
        }
        let missing = |from: &Self, than: &Self| -> Vec<String> {
            from.interfaces.iter().filter(|name| !than.interfaces.contains(name)).cloned().collect()
        };
        let (more, less) = (missing(now, self), missing(self, now));
        if !more.is_empty() {
            found.push(format!("it has the new interfaces {}", more.join(", ")));
        }
        if !less.is_empty() {
            found.push(format!("it no longer has the interfaces {}", less.join(", ")));
        }
        found
    }

    /// The name without the version.
    fn id(&self) -> &str {
        self.name.split(' ').next().unwrap_or_default()
    }
}

/// The lock file of a project, which may not exist.
pub(crate) struct Lock {
    path: PathBuf,
    writing: Mutex<()>,
}

impl Lock {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, writing: Mutex::new(()) }
    }

    /// How a plugin stands to what was approved.
    pub(crate) fn standing(&self, now: &LockEntry) -> Result<Standing, LockError> {
        let content = self.read()?;
        let Some(known) = content.plugin.iter().find(|entry| entry.is_for(now)) else { return Ok(Standing::Absent) };
        if known.digest == now.digest {
            return Ok(Standing::Same);
        }
        let found = known.differences(now);
        Ok(if found.is_empty() { Standing::Rebuilt } else { Standing::Changed(found) })
    }

    /// What was approved of the plugin with this name and source. Without a name, of any with this source, when all of them
    /// are one component.
    pub(crate) fn pinned(&self, alias: Option<&str>, source: &str) -> Result<Option<LockEntry>, LockError> {
        let content = self.read()?;
        if let Some(alias) = alias {
            return Ok(content.plugin.into_iter().find(|entry| entry.is_of(alias, source)));
        }
        let mut entries = content.plugin.into_iter().filter(|entry| entry.source == source);
        let first = entries.next();
        let is_one = entries.all(|entry| first.as_ref().is_some_and(|first| first.digest == entry.digest));
        Ok(first.filter(|_| is_one))
    }

    /// Writes what was approved, in place of what was approved of the same plugins before. Says whether anything
    /// changed.
    pub(crate) fn approve(&self, entries: &[LockEntry]) -> Result<bool, LockError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let _alone = alone_in(self.folder()).map_err(|error| self.failed("written", &error))?;
        let mut content = self.read()?;
        let before = content.plugin.clone();
        for entry in entries {
            let entry = entry.clone().after(content.plugin.iter().find(|known| known.is_for(entry)));
            content.plugin.retain(|known| !known.is_for(&entry));
            content.plugin.push(entry);
        }
        content.plugin.sort_by(|a, b| (&a.alias, &a.source).cmp(&(&b.alias, &b.source)));
        if content.plugin == before {
            return Ok(false);
        }
        content.version = VERSION;
        let text = toml::to_string(&content).map_err(|error| self.failed("written", &error))?;
        replace(&self.path, &format!("{HEAD}{text}")).map_err(|error| self.failed("written", &error))?;
        Ok(true)
    }

    fn read(&self) -> Result<Content, LockError> {
        let metadata = match std::fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Content::default()),
            Err(error) => return Err(self.failed("read", &error)),
            Ok(_) => std::fs::metadata(&self.path).map_err(|error| self.failed("read", &error))?,
        };
        if !metadata.is_file() || metadata.len() > limits::SETTINGS_BYTES as u64 {
            return Err(self.failed("read", &"it is not a regular file, or too large"));
        }
        let text = std::fs::read_to_string(&self.path).map_err(|error| self.failed("read", &error))?;
        let content: Content = toml::from_str(&text).map_err(|error| self.failed("read", &error.message()))?;
        if content.version != VERSION {
            let reason = format!("it has version {}, and this cofferdam knows version {VERSION}", content.version);
            return Err(self.failed("read", &reason));
        }
        Ok(content)
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn failed(&self, act: &'static str, reason: &impl ToString) -> LockError {
        LockError { path: self.path.clone(), act, reason: reason.to_string() }
    }
}

/// Waits until no other process changes the files of a project's folder that everybody changes as a whole. Who holds the
/// answer must not ask again.
///
/// # Errors
/// When the folder cannot be opened, or its file system knows no locks.
pub fn alone_in(folder: &Path) -> std::io::Result<File> {
    let folder = File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digest: &str, tools: &str, interfaces: &[&str]) -> LockEntry {
        LockEntry {
            alias: "scan".into(),
            source: "scan.wasm".into(),
            digest: digest.into(),
            manifest: None,
            name: "acme/scan 1.0.0".into(),
            tools: tools.into(),
            interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn what_was_approved_is_told_from_what_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::new(folder.path().join(LOCK_FILE));
        let first = entry("1", "t", &["log"]);
        assert_eq!(lock.standing(&first).unwrap(), Standing::Absent);
        assert!(lock.approve(std::slice::from_ref(&first)).unwrap());
        assert!(!lock.approve(std::slice::from_ref(&first)).unwrap());
        assert_eq!(lock.standing(&first).unwrap(), Standing::Same);
        assert_eq!(lock.standing(&entry("2", "t", &["log"])).unwrap(), Standing::Rebuilt);
        assert_eq!(lock.standing(&LockEntry { alias: "other".into(), ..first.clone() }).unwrap(), Standing::Absent);
        let Standing::Changed(found) = lock.standing(&entry("2", "u", &["log", "http"])).unwrap() else {
            panic!("it is changed")
        };
        assert_eq!(found.len(), 2);
        assert!(found[1].contains("http"), "{found:?}");
        lock.approve(&[entry("2", "u", &["http"])]).unwrap();
        let text = std::fs::read_to_string(folder.path().join(LOCK_FILE)).unwrap();
        assert_eq!(text.matches("[[plugin]]").count(), 1, "{text}");
    }

    #[test]
    fn by_which_manifest_it_came_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::new(folder.path().join(LOCK_FILE));
        let fetched = LockEntry { manifest: Some("sha256:m".into()), ..entry("1", "t", &[]) };
        assert!(lock.approve(std::slice::from_ref(&fetched)).unwrap());
        assert!(!lock.approve(&[entry("1", "t", &[])]).unwrap());
        assert_eq!(lock.pinned(Some("scan"), "scan.wasm").unwrap(), Some(fetched.clone()));
        assert_eq!(lock.pinned(None, "scan.wasm").unwrap(), Some(fetched));
        assert_eq!(lock.pinned(Some("other"), "scan.wasm").unwrap(), None);
        lock.approve(&[LockEntry { alias: "other".into(), ..entry("2", "t", &[]) }]).unwrap();
        assert_eq!(lock.pinned(None, "scan.wasm").unwrap(), None, "which of them?");
        lock.approve(&[entry("3", "t", &[])]).unwrap();
        assert_eq!(lock.pinned(Some("scan"), "scan.wasm").unwrap().unwrap().manifest, None);
    }

    #[test]
    fn a_lock_file_that_cannot_be_read_is_not_an_absent_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK_FILE);
        for text in ["version = 1\nplugins = []\n", "version = 2\n", "x", "version = 1\n[[plugin]]\nalias = \"a\"\n"] {
            std::fs::write(&path, text).unwrap();
            let lock = Lock::new(path.clone());
            assert!(lock.standing(&entry("1", "t", &[])).is_err(), "{text}");
            assert!(lock.approve(&[entry("1", "t", &[])]).is_err(), "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(Lock::new(path).standing(&entry("1", "t", &[])).is_err());
    }
}
