//! A walk over the files below a directory handle: sorted, bounded, never following a link.
//!
//! It must not know what the caller looks for: a filter says which directories are entered and which files count.

use crate::gitignore::{IsDir, Rules};
use crate::native::Scene;
use cap_std::fs::{Dir, DirEntry};
use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use std::io;
use std::ops::ControlFlow;

/// Directories that are never entered: what tools made, not people.
const SKIPPED: [&str; 3] = [".git", "target", ".cofferdam"];

/// What a caller looks for.
pub(crate) trait Filter {
    /// Whether a directory can hold what is looked for.
    fn enters(&self, path: &str) -> bool;
    /// Whether a file is looked for.
    fn takes(&self, path: &str) -> bool;
    /// Whether an entry whose name begins with a dot is looked at.
    fn sees_hidden(&self, path: &str) -> bool;
}

/// What a walk found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Paths of files, sorted by their bytes.
    pub(crate) files: Vec<String>,
    /// Whether a bound ended the walk before it was done.
    pub(crate) truncated: bool,
    /// Entries that could not be looked at: unreadable directories, names that are not UTF-8.
    pub(crate) skipped: u64,
}

/// Walks a directory for at most `max` files.
pub(crate) fn walk(scene: &Scene, root: &Dir, filter: &dyn Filter, max: usize) -> Result<Found, Fault> {
    let mut walk = Walk { scene, filter, max, rules: Rules::default(), entries: 0, found: Found::default() };
    match walk.directory(root, "", 0) {
        ControlFlow::Break(Stop::Cancelled(fault)) => Err(fault),
        ControlFlow::Break(Stop::Bound) => Ok(Found { truncated: true, ..walk.found }),
        ControlFlow::Continue(()) => Ok(walk.found),
    }
}

struct Walk<'a> {
    scene: &'a Scene,
    filter: &'a dyn Filter,
    max: usize,
    rules: Rules,
    entries: usize,
    found: Found,
}

/// Why a walk ends early.
enum Stop {
    Bound,
    Cancelled(Fault),
}

struct Entry {
    name: String,
    is_dir: IsDir,
}

impl Walk<'_> {
    fn directory(&mut self, dir: &Dir, path: &str, depth: usize) -> ControlFlow<Stop> {
        if let Err(fault) = self.scene.check() {
            return ControlFlow::Break(Stop::Cancelled(fault));
        }
        let mut entries = Vec::new();
        let listing = self.list(dir, &mut entries);
        entries.sort_unstable_by(|a, b| a.sort_key().cmp(b.sort_key()));
        let has_rules = self.rules.enter(dir, path);
        let mut end = entries.iter().try_for_each(|entry| self.entry(dir, path, entry, depth));
        if has_rules {
            self.rules.leave();
        }
        if end.is_continue() {
            end = listing;
        }
        end
    }

    /// Reads the entries of a directory that are files or directories.
    fn list(&mut self, dir: &Dir, entries: &mut Vec<Entry>) -> ControlFlow<Stop> {
        let Ok(listing) = dir.entries() else {
            self.found.skipped += 1;
            return ControlFlow::Continue(());
        };
        for entry in listing {
            self.entries += 1;
            if self.entries > limits::GLOB_ENTRIES {
                return ControlFlow::Break(Stop::Bound);
            }
            match entry.and_then(|entry| look(&entry)) {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => {}
                Err(_) => self.found.skipped += 1,
            }
        }
        ControlFlow::Continue(())
    }

    fn entry(&mut self, dir: &Dir, parent: &str, entry: &Entry, depth: usize) -> ControlFlow<Stop> {
        let path = if parent.is_empty() { entry.name.clone() } else { format!("{parent}/{}", entry.name) };
        if entry.name.starts_with('.') && !self.filter.sees_hidden(&path) {
            return ControlFlow::Continue(());
        }
        match entry.is_dir {
            IsDir::Yes => self.enter(dir, &path, &entry.name, depth),
            IsDir::No => self.take(path),
        }
    }

    fn enter(&mut self, dir: &Dir, path: &str, name: &str, depth: usize) -> ControlFlow<Stop> {
        if SKIPPED.contains(&name) || !self.filter.enters(path) || self.rules.ignores(path, IsDir::Yes) {
            return ControlFlow::Continue(());
        }
        if depth >= limits::GLOB_DEPTH {
            self.found.truncated = true;
            return ControlFlow::Continue(());
        }
        // A link that took the directory's place in between leads nowhere outside `dir`.
        match dir.open_dir(name) {
            Ok(child) => self.directory(&child, path, depth + 1),
            Err(_) => {
                self.found.skipped += 1;
                ControlFlow::Continue(())
            }
        }
    }

    fn take(&mut self, path: String) -> ControlFlow<Stop> {
        if !self.filter.takes(&path) || self.rules.ignores(&path, IsDir::No) {
            return ControlFlow::Continue(());
        }
        if self.found.files.len() >= self.max {
            return ControlFlow::Break(Stop::Bound);
        }
        self.found.files.push(path);
        ControlFlow::Continue(())
    }
}

impl Entry {
    /// The bytes by which entries sort so that whole paths are sorted: a directory counts with its slash.
    fn sort_key(&self) -> impl Iterator<Item = u8> {
        let slash = (self.is_dir == IsDir::Yes).then_some(b'/');
        self.name.bytes().chain(slash)
    }
}

/// An entry that a walk looks at: links, pipes, sockets and devices are passed over.
fn look(entry: &DirEntry) -> io::Result<Option<Entry>> {
    let mut kind = entry.file_type()?;
    if !kind.is_dir() && !kind.is_file() && !kind.is_symlink() {
        // Some file systems do not say in a listing what an entry is.
        kind = entry.metadata()?.file_type();
    }
    let is_dir = match (kind.is_dir(), kind.is_file()) {
        (true, _) => IsDir::Yes,
        (_, true) => IsDir::No,
        _ => return Ok(None),
    };
    let name = entry.file_name().into_string().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(Some(Entry { name, is_dir }))
}

#[cfg(test)]
mod tests {
    use crate::glob;
    use crate::native::tests::{Folder, run};
    use serde_json::{Value, json};
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;

    fn files(folder: &Folder, args: Value) -> Vec<String> {
        let found = run(folder, glob::run, args).unwrap();
        serde_json::from_value(found["files"].clone()).unwrap()
    }

    #[test]
    fn paths_are_sorted_as_whole_paths() {
        let folder = Folder::new();
        for name in ["a/x", "a.txt", "a-b", "a0", "b", "Z", "ä/ö.md", "a/b/c"] {
            folder.file(name, "");
        }
        let found = files(&folder, json!({}));
        let mut sorted = found.clone();
        sorted.sort();
        assert_eq!(found, sorted);
        assert_eq!(found.len(), 8);
    }

    #[test]
    fn what_tools_made_is_not_walked() {
        let folder = Folder::new();
        for name in [
            ".git/config",
            "target/debug/a",
            "deep/target/b",
            ".cofferdam/runs.db",
            "src/a",
            ".hidden",
            ".github/ci.yml",
        ] {
            folder.file(name, "");
        }
        assert_eq!(files(&folder, json!({})), ["src/a"]);
        assert_eq!(files(&folder, json!({ "include_hidden": true })), [".github/ci.yml", ".hidden", "src/a"]);
        assert_eq!(files(&folder, json!({ "pattern": [".github/**", ".hidden"] })), [".github/ci.yml", ".hidden"]);
    }

    #[test]
    fn links_pipes_and_odd_names_are_not_listed() {
        let folder = Folder::new();
        folder.file("a", "");
        folder.link(folder.path("outside"), "dir");
        folder.link("a", "file");
        folder.link(".", "loop");
        fs::write(folder.path("step").join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path("step/socket")).unwrap();
        let found = run(&folder, glob::run, json!({})).unwrap();
        assert_eq!(found, json!({ "files": ["a"], "truncated": false, "skipped": 1 }));
    }

    #[test]
    fn a_walk_is_cut_at_its_bound() {
        let folder = Folder::new();
        for number in 0..10 {
            folder.file(&format!("{number}"), "");
        }
        let cut = run(&folder, glob::run, json!({ "max": 3 })).unwrap();
        assert_eq!(cut, json!({ "files": ["0", "1", "2"], "truncated": true, "skipped": 0 }));
        assert_eq!(run(&folder, glob::run, json!({ "max": 10 })).unwrap()["truncated"], false);
    }

    #[test]
    fn a_deep_tree_ends_the_walk_and_not_the_process() {
        let folder = Folder::new();
        folder.file("top", "");
        let dir = cap_std::fs::Dir::from_std_file(fs::File::open(folder.path("step")).unwrap());
        let mut inner = dir;
        for _ in 0..300 {
            inner.create_dir("d").unwrap();
            inner = inner.open_dir("d").unwrap();
        }
        let found = run(&folder, glob::run, json!({})).unwrap();
        assert_eq!(found, json!({ "files": ["top"], "truncated": true, "skipped": 0 }));
    }
}
