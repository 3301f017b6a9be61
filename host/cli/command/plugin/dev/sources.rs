//! What a plugin is built from: the files of its folder, and which of them have changed since they were last looked at.
//!
//! A file has changed when its content has: what a build writes again as it was is none. It must not know how it is
//! learnt that it is time to look.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{DirEntry, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

/// The mark of folders whose content can be made again: <https://bford.info/cachedir>.
const CACHE_MARK: &str = "CACHEDIR.TAG";
/// Folders that builds and package managers fill.
const MADE: [&str; 6] = ["target", "node_modules", "dist", "build", "__pycache__", "venv"];
/// Files that builds write: components, and versions of dependencies.
const WRITTEN: [&str; 4] = ["wasm", "lock", "pyc", "swp"];
/// Folders that are looked into, one below the other.
const DEPTH: usize = 16;
/// More files than a plugin has; the rest is not watched.
const MOST_FILES: usize = 5_000;
/// Larger files are no sources.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// The files of a folder, as they were last seen.
pub(super) struct Sources {
    root: PathBuf,
    /// A hash of the content of each. Times are not asked: two writes may have one.
    seen: BTreeMap<PathBuf, u64>,
    folders: BTreeSet<PathBuf>,
}

impl Sources {
    /// Nothing seen yet.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), seen: BTreeMap::new(), folders: BTreeSet::new() }
    }

    /// The folders that sources are in.
    pub(super) fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// Files that have another content than the last time, that came, or that went; by their path below the folder.
    pub(super) fn changed(&mut self) -> Vec<PathBuf> {
        let before = std::mem::take(&mut self.seen);
        self.folders.clear();
        let root = self.root.clone();
        self.look(&root, 0);
        let other =
            self.seen.iter().filter(|(path, content)| before.get(*path) != Some(*content)).map(|(path, _)| path);
        let gone = before.keys().filter(|path| !self.seen.contains_key(*path));
        other.chain(gone).map(|path| super::shown(&root, path)).collect()
    }

    fn look(&mut self, folder: &Path, depth: usize) {
        // What cannot be read now may be gone; the next look finds it if it is not.
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        self.folders.insert(folder.to_owned());
        for entry in entries.filter_map(Result::ok) {
            let (path, Ok(about)) = (entry.path(), entry.metadata()) else { continue };
            if about.is_dir() {
                if depth < DEPTH && is_source_folder(&entry, &path) {
                    self.look(&path, depth + 1);
                }
            } else if about.is_file() && self.seen.len() < MOST_FILES && is_source(&path, &about) {
                self.seen.insert(path.clone(), content(&path));
            }
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_none_or(|name| name.starts_with('.') || name.ends_with('~'))
}

fn is_source_folder(entry: &DirEntry, path: &Path) -> bool {
    let made = MADE.iter().any(|name| entry.file_name() == OsStr::new(name));
    !is_hidden(path) && !made && !path.join(CACHE_MARK).exists()
}

fn is_source(path: &Path, about: &Metadata) -> bool {
    let written = path.extension().is_some_and(|ending| WRITTEN.iter().any(|known| ending == *known));
    !is_hidden(path) && !written && about.len() <= MOST_BYTES
}

/// What cannot be read counts as empty.
fn content(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::fs::read(path).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_what_has_another_content_and_no_build_made() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("src/lib.rs", "a");
        write("Cargo.toml", "b");
        let mut sources = Sources::new(folder.path());
        let named =
            |changed: Vec<PathBuf>| -> Vec<String> { changed.iter().map(|path| path.display().to_string()).collect() };
        assert_eq!(named(sources.changed()), ["Cargo.toml", "src/lib.rs"]);
        for path in
            ["target/a.rs", "made/CACHEDIR.TAG", "made/a.rs", ".git/index", "x.wasm", "Cargo.lock", "src/lib.rs~"]
        {
            write(path, "c");
        }
        write("src/lib.rs", "a");
        assert_eq!(named(sources.changed()), Vec::<String>::new());
        write("src/lib.rs", "other");
        write("src/deep/new.rs", "");
        std::fs::remove_file(folder.path().join("Cargo.toml")).unwrap();
        assert_eq!(named(sources.changed()), ["src/deep/new.rs", "src/lib.rs", "Cargo.toml"]);
        assert!(sources.folders().contains(&folder.path().join("src/deep")));
        assert!(!sources.folders().iter().any(|folder| folder.ends_with("target")));
    }
}
