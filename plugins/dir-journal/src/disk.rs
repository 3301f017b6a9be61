//! Files below the root: written whole or not at all, and synced before anybody is told.

#[cfg(all(feature = "crashes", not(test)))]
mod crash;

#[cfg(all(feature = "crashes", not(test)))]
pub(crate) use crash::Committing;
#[cfg(all(feature = "crashes", not(test)))]
use crash::{died, dies};

use crate::unavailable;
use cofferdam_sdk::Result;
use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nobody works on a temporary file for so long.
const ABANDONED: Duration = Duration::from_secs(600);

/// The directory.
pub(crate) struct Disk {
    root: PathBuf,
    /// Tells the temporary files of this instance from those of others.
    own: u64,
    next: Cell<u64>,
}

/// A position as a name that sorts like it.
pub(crate) fn number(position: u64) -> String {
    format!("{position:020}")
}

impl Disk {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), own: RandomState::new().build_hasher().finish(), next: Cell::new(0) }
    }

    /// The bytes of a file; none when there is no such file.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        match fs::read(self.root.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable("a file cannot be read", &error)),
        }
    }

    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.root.join(path).exists()
    }

    /// The length of a file; none when there is no such file.
    pub(crate) fn size(&self, path: &Path) -> Option<u64> {
        fs::metadata(self.root.join(path)).ok().filter(fs::Metadata::is_file).map(|about| about.len())
    }

    /// Whether it is no folder.
    pub(crate) fn is_stray(&self, path: &Path) -> bool {
        fs::metadata(self.root.join(path)).is_ok_and(|about| !about.is_dir())
    }

    /// The names in a folder, in order; none when there is no such folder.
    pub(crate) fn names(&self, path: &Path) -> Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(path)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unavailable("a folder cannot be read", &error)),
        };
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        let names: io::Result<Vec<String>> = entries.map(name).collect();
        let mut names = names.map_err(|error| unavailable("a folder cannot be read", &error))?;
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a folder, and those above it.
    pub(crate) fn make(&self, path: &Path) -> Result<()> {
        let made = operation().and_then(|()| fs::create_dir_all(self.root.join(path)));
        let above = path.parent().unwrap_or(Path::new(""));
        made.and_then(|()| self.sync_folder(above)).map_err(|error| unavailable("a folder cannot be made", &error))
    }

    /// Creates a file with these bytes, all of them or none; false when it exists.
    pub(crate) fn create(&self, path: &Path, bytes: &[u8]) -> Result<bool> {
        self.create_new(path, bytes).map_err(|error| unavailable("a file cannot be written", &error))
    }

    fn create_new(&self, path: &Path, bytes: &[u8]) -> io::Result<bool> {
        let temporary = self.write_temporary(bytes)?;
        operation()?;
        let linked = fs::hard_link(&temporary, self.root.join(path));
        // Whatever became of the link, the other name is not needed; what a crash leaves of it nobody reads.
        let _ = fs::remove_file(&temporary);
        match linked {
            Ok(()) => self.sync_folder(path.parent().unwrap_or(Path::new(""))).map(|()| true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a file, over one that may be there.
    pub(crate) fn put(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new(""));
        if !self.exists(folder) {
            self.make(folder)?;
        }
        let written = self.write_temporary(bytes).and_then(|temporary| {
            operation()?;
            fs::rename(&temporary, self.root.join(path))?;
            self.sync_folder(folder)
        });
        written.map_err(|error| unavailable("a file cannot be written", &error))
    }

    fn write_temporary(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        let count = self.next.get();
        self.next.set(count + 1);
        let folder = self.root.join("tmp");
        let path = folder.join(format!("{:016x}-{count}", self.own));
        operation()?;
        let mut file = match File::create(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(&folder)?;
                File::create(&path)?
            }
            created => created?,
        };
        if dies() {
            tear(&mut file, bytes);
            return Err(died());
        }
        file.write_all(bytes)?;
        operation()?;
        file.sync_all()?;
        Ok(path)
    }

    /// Moves a folder away, at once, and then removes it.
    pub(crate) fn remove_folder(&self, path: &Path) -> Result<()> {
        let count = self.next.get();
        self.next.set(count + 1);
        let away = self.root.join("trash").join(format!("{:016x}-{count}", self.own));
        let removed = operation().and_then(|()| {
            fs::create_dir_all(self.root.join("trash"))?;
            fs::rename(self.root.join(path), &away)?;
            self.sync_folder(path.parent().unwrap_or(Path::new("")))?;
            operation()?;
            fs::remove_dir_all(&away)
        });
        removed.map_err(|error| unavailable("a folder cannot be removed", &error))
    }

    /// Removes what crashes left in a folder that only instances at work have something in.
    pub(crate) fn clean(&self, folder: &Path) {
        // What cannot be removed now is in nobody's way, and the next one tries again.
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        for entry in entries {
            let age = entry.metadata().and_then(|about| about.modified()).ok().and_then(|made| made.elapsed().ok());
            if age.is_some_and(|age| age > ABANDONED) {
                let path = entry.path();
                let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            }
        }
    }

    pub(crate) fn remove_file(&self, path: &Path) {
        // What is left behind is in nobody's way.
        let _ = fs::remove_file(self.root.join(path));
    }

    /// Makes sure that the names in a folder, and its own name, are on the disk.
    pub(crate) fn settle(&self, path: &Path) -> Result<()> {
        let synced = self.sync_folder(path).and_then(|()| self.sync_folder(path.parent().unwrap_or(Path::new(""))));
        synced.map_err(|error| unavailable("a folder cannot be synced", &error))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        operation()?;
        match File::open(self.root.join(path)).and_then(|folder| folder.sync_all()) {
            // Some systems have no way to sync a folder, and need none.
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::IsADirectory) => Ok(()),
            synced => synced,
        }
    }
}

/// Every change of the disk passes here, so that tests can let it die at each.
fn operation() -> io::Result<()> {
    if dies() { Err(died()) } else { Ok(()) }
}

#[cfg(not(any(test, feature = "crashes")))]
fn dies() -> bool {
    false
}

#[cfg(any(test, not(feature = "crashes")))]
fn died() -> io::Error {
    io::Error::other("the disk died")
}

/// What a write leaves when it dies.
#[cfg(not(any(test, feature = "crashes")))]
fn tear(_: &mut File, _: &[u8]) {}

#[cfg(any(test, feature = "crashes"))]
fn tear(file: &mut File, bytes: &[u8]) {
    let _ = file.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default());
}

#[cfg(test)]
std::thread_local! {
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

#[cfg(test)]
fn dies() -> bool {
    match LEFT.get() {
        Some(0) => true,
        left => {
            LEFT.set(left.map(|left| left - 1));
            false
        }
    }
}

/// Lets every change fail after so many.
#[cfg(test)]
pub(crate) fn die_after(operations: usize) {
    LEFT.set(Some(operations));
}

#[cfg(test)]
pub(crate) fn die_never() {
    LEFT.set(None);
}
