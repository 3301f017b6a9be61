//! What is in a directory: files, links and directories, sorted, bounded, never following a link.

use crate::gitignore::{IsDir, Rules};
use cap_std::fs::{Dir, MetadataExt as _, PermissionsExt as _};
use cofferdam_core::limits;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// What a listing leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Repositories, caches, records of runs, and what `.gitignore` files name.
    Ignored,
    /// Repositories, caches and records of runs.
    Tools,
    /// Nothing.
    Nothing,
}

/// The names of what only tools look at.
const TOOLS: [&str; 2] = [".git", ".cofferdam"];

/// What a directory has in it that tools may throw away at any time, by a convention of its own.
const CACHE_TAG: &str = "CACHEDIR.TAG";

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    Link,
    File { executable: bool, bytes: u64 },
}

/// All that is in a directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    entries: BTreeMap<String, Kind>,
    /// Entries that could not be looked at, or whose names are no UTF-8.
    pub(super) skipped: usize,
}

impl Listing {
    /// The entries, directories before what is in them.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.entries.iter().map(|(path, kind)| (path.as_str(), *kind))
    }

    pub(super) fn get(&self, path: &str) -> Option<Kind> {
        self.entries.get(path).copied()
    }

    /// The size of all files.
    pub(super) fn bytes(&self) -> u64 {
        let sizes = self.entries.values().map(|kind| match kind {
            Kind::File { bytes, .. } => *bytes,
            Kind::Directory | Kind::Link => 0,
        });
        sizes.fold(0, u64::saturating_add)
    }
}

/// Why there is no listing.
#[derive(Debug)]
pub(super) enum Stop {
    /// There are too many files.
    Files,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What a directory is, whatever it is called.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|found| {
        use std::os::unix::fs::MetadataExt as _;
        (found.dev(), found.ino())
    })
}

/// Lists a directory, without the one that has the identity `but`.
pub(super) fn list(dir: &Dir, leaves: Leaves, but: Option<(u64, u64)>) -> Result<Listing, Stop> {
    let mut walk = Walk { leaves, but, rules: Rules::default(), listing: Listing::default() };
    walk.directory(dir, "", 0)?;
    Ok(walk.listing)
}

/// What stands at a path, if it is something that a listing has.
pub(super) fn look(dir: &Dir, path: &str) -> Option<Kind> {
    let found = dir.symlink_metadata(path).ok()?;
    if found.is_dir() {
        Some(Kind::Directory)
    } else if found.is_symlink() {
        Some(Kind::Link)
    } else if found.is_file() {
        let executable = found.permissions().mode() & 0o100 != 0;
        Some(Kind::File { executable, bytes: found.len() })
    } else {
        None
    }
}

struct Walk {
    leaves: Leaves,
    but: Option<(u64, u64)>,
    rules: Rules,
    listing: Listing,
}

impl Walk {
    fn directory(&mut self, dir: &Dir, path: &str, depth: usize) -> Result<(), Stop> {
        let ruled = self.leaves == Leaves::Ignored && self.rules.enter(dir, path);
        for entry in dir.entries()? {
            let Some(name) = entry.ok().and_then(|entry| entry.file_name().into_string().ok()) else {
                self.listing.skipped += 1;
                continue;
            };
            if self.leaves != Leaves::Nothing && TOOLS.contains(&&*name) {
                continue;
            }
            let inner = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            self.entry(dir, &name, &inner, depth)?;
        }
        if ruled {
            self.rules.leave();
        }
        Ok(())
    }

    fn entry(&mut self, dir: &Dir, name: &str, path: &str, depth: usize) -> Result<(), Stop> {
        // Pipes, sockets and devices are passed over.
        let Some(kind) = look(dir, name) else { return Ok(()) };
        let is_dir = if kind == Kind::Directory { IsDir::Yes } else { IsDir::No };
        if self.leaves == Leaves::Ignored && self.rules.ignores(path, is_dir) {
            return Ok(());
        }
        if kind != Kind::Directory {
            return self.add(path, kind);
        }
        let opened = if depth < limits::GLOB_DEPTH { dir.open_dir(name).ok() } else { None };
        let Some(inner) = opened else {
            self.listing.skipped += 1;
            return Ok(());
        };
        if self.leaves != Leaves::Nothing && inner.symlink_metadata(CACHE_TAG).is_ok_and(|tag| tag.is_file()) {
            return Ok(());
        }
        let identity = inner.dir_metadata().map(|found| (found.dev(), found.ino())).ok();
        if self.but.is_some() && identity == self.but {
            return Ok(());
        }
        self.add(path, kind)?;
        match self.directory(&inner, path, depth + 1) {
            Err(Stop::Io(_)) => self.listing.skipped += 1,
            done => done?,
        }
        Ok(())
    }

    fn add(&mut self, path: &str, kind: Kind) -> Result<(), Stop> {
        if self.listing.entries.len() >= limits::COPY_FILES {
            return Err(Stop::Files);
        }
        self.listing.entries.insert(path.to_owned(), kind);
        Ok(())
    }
}
