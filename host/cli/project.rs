//! The project that a command works in: where its settings are, and where runs are kept.
//!
//! It must not make anything: what is missing is made by whoever writes first.

use crate::failure::Failure;
use crate::terminal;
use anyhow::Context as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The file of a project's settings.
pub(crate) const SETTINGS_FILE: &str = "cofferdam.toml";

/// The directory that holds what is recorded.
pub(crate) const STATE_DIRECTORY: &str = ".cofferdam";

/// A project.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    root: PathBuf,
}

impl Project {
    /// The named directory, else the nearest with settings or records, else the current one.
    pub(crate) fn find(named: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(root) = named {
            let metadata = std::fs::metadata(root)
                .with_context(|| format!("the project `{}` cannot be opened", terminal::name(root)))?;
            anyhow::ensure!(metadata.is_dir(), "the project `{}` is not a directory", terminal::name(root));
            return Ok(Self { root: root.to_owned() });
        }
        let here = std::env::current_dir().context("the current directory cannot be found")?;
        let root = Self::above(&here).unwrap_or(&here).to_owned();
        trusted(&root, &here)?;
        // A short path reads better in messages, and means the same.
        Ok(Self { root: if root == here { PathBuf::from(".") } else { root } })
    }

    fn above(here: &Path) -> Option<&Path> {
        // Whatever bears the name: settings that cannot be read must not be passed over.
        let is_set = |place: &Path| place.join(SETTINGS_FILE).symlink_metadata().is_ok();
        here.ancestors().find(|place| is_set(place) || place.join(STATE_DIRECTORY).is_dir())
    }

    /// Its directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The file of its settings, which may not exist.
    pub(crate) fn settings_file(&self) -> PathBuf {
        self.shown(SETTINGS_FILE)
    }

    /// The file of its approved plugins, which may not exist.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.shown(cofferdam::LOCK_FILE)
    }

    /// The directory of its records, which may not exist.
    pub(crate) fn state(&self) -> PathBuf {
        self.shown(STATE_DIRECTORY)
    }

    fn shown(&self, name: &str) -> PathBuf {
        if self.root == Path::new(".") { PathBuf::from(name) } else { self.root.join(name) }
    }
}

/// Refuses settings that somebody else put above or into the directory that a command is run in: they grant what they like.
fn trusted(root: &Path, here: &Path) -> Result<(), Failure> {
    let path = root.join(SETTINGS_FILE);
    let owner = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.uid()).ok();
    let Some(found) = owner(&path) else { return Ok(()) };
    if trusts(found, rustix::process::geteuid().as_raw(), owner(here)) {
        return Ok(());
    }
    let message = format!("`{}` belongs to another user ({found})", terminal::name(&path));
    let hint = format!("`--project {}` takes it all the same; `--project .` works without it", terminal::name(root));
    Err(Failure::usage(message).with_hint(hint))
}

/// Those of oneself, of the administrator, and of whoever the directory belongs to.
fn trusts(owner: u32, own: u32, of_directory: Option<u32>) -> bool {
    owner == own || owner == 0 || Some(owner) == of_directory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_others_are_not_trusted() {
        for (owner, trusted) in [(1000, true), (0, true), (7, true), (65534, false)] {
            assert_eq!(trusts(owner, 1000, Some(7)), trusted, "{owner}");
        }
        assert!(!trusts(7, 1000, None));
    }

    #[test]
    fn settings_that_cannot_be_read_are_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(folder.path().join(SETTINGS_FILE), "").unwrap();
        std::os::unix::fs::symlink("gone", inner.join(SETTINGS_FILE)).unwrap();
        assert_eq!(Project::above(&inner), Some(inner.as_path()));
    }

    #[test]
    fn the_nearest_directory_with_settings_is_the_project() {
        let folder = std::env::temp_dir().join(format!("cofferdam-project-{}", std::process::id()));
        let deep = folder.join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(folder.join(SETTINGS_FILE), "").unwrap();
        assert_eq!(Project::above(&deep), Some(folder.as_path()));
        std::fs::create_dir(folder.join("a").join(STATE_DIRECTORY)).unwrap();
        assert_eq!(Project::above(&deep), Some(folder.join("a").as_path()));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
