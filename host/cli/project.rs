//! The project that a command works in: where its settings are, and where runs are kept.
//!
//! It must not make anything: what is missing is made by whoever writes first.

use crate::terminal;
use anyhow::Context as _;
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
        // A short path reads better in messages, and means the same.
        Ok(Self { root: if root == here { PathBuf::from(".") } else { root } })
    }

    fn above(here: &Path) -> Option<&Path> {
        here.ancestors().find(|place| place.join(SETTINGS_FILE).is_file() || place.join(STATE_DIRECTORY).is_dir())
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

#[cfg(test)]
mod tests {
    use super::*;

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
