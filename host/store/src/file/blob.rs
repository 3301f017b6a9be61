//! Blobs by their hash, who has them, and who is about to.
//!
//! ```text
//! blobs/ab12...           the bytes
//! blobs/ab12....run-NAME  a run has it; made before the record that names it, so that a crash keeps a blob too long
//!                         and never too short
//! blobs/ab12....put-0     it was put, and no record names it yet
//! ```
//!
//! Names change under one lock. It must not know what blobs hold.

use super::fault::refused;
use super::lock::{self, Locked};
use super::places::{Places, name_of, run_of};
use crate::directory;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{BlobId, JournalError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const LOCK: &str = "lock";
const RUN: &str = "run-";
const PUT: &str = "put-";
const NEW: &str = "new-";

/// Stores bytes, on the disk; the names that lead there follow with the record that names them.
pub(super) fn put(places: &Places, id: &BlobId, bytes: &[u8]) -> Result<(), JournalError> {
    let folder = places.blobs();
    let put = || {
        directory::make(places.root())?;
        directory::make(&folder)?;
        let path = folder.join(id.as_str());
        let new = if holds(&path, bytes) { None } else { Some(write_new(&folder, id, bytes)?) };
        let _lock = lock(&folder)?;
        if let Some(new) = new {
            fs::rename(new, &path)?;
        } else if !path.exists() {
            // Deleted a moment ago.
            fs::rename(write_new(&folder, id, bytes)?, &path)?;
        }
        let mut number = 0_u64;
        while directory::make_new(&put_mark(&folder, id.as_str(), number))?.is_none() {
            number += 1;
        }
        Ok(())
    };
    put().map_err(|error: io::Error| refused(&folder, &error))
}

/// Whether a file holds these bytes. One that does not, or cannot be read, was damaged and is replaced.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    let is_as_long = fs::metadata(path).is_ok_and(|about| about.len() == bytes.len() as u64);
    is_as_long && fs::read(path).is_ok_and(|found| found == bytes)
}

/// Writes bytes under a name that nobody looks for.
fn write_new(folder: &Path, id: &BlobId, bytes: &[u8]) -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("{}.{NEW}{}-{number}", id.as_str(), std::process::id()));
    // What another process of this number left behind is of no use.
    let _ = fs::remove_file(&path);
    let Some(mut file) = directory::make_new(&path)? else { return Err(ErrorKind::AlreadyExists.into()) };
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    match written {
        Ok(()) => Ok(path),
        Err(error) => {
            let _ = fs::remove_file(&path);
            Err(error)
        }
    }
}

/// The bytes of a blob.
pub(super) fn get(places: &Places, id: &BlobId) -> Result<Arc<[u8]>, JournalError> {
    let path = places.blobs().join(id.as_str());
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(limits::BLOB_BYTES as u64 + 1).read_to_end(&mut bytes)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(JournalError::NotFound(id.as_str().to_owned()));
        }
        read => read.map_err(|error| refused(&path, &error))?,
    };
    if BlobId::of(&bytes) != *id {
        let what = "is damaged: its bytes do not have its hash";
        return Err(JournalError::Unavailable(format!("blob `{}` {what}", id.as_str())));
    }
    Ok(Arc::from(bytes))
}

/// Notes that a run has the blobs among these ids; says whether there are any.
pub(super) fn hold(places: &Places, run: &RunId, mentions: &[String]) -> Result<bool, JournalError> {
    let folder = places.blobs();
    let hold = || {
        let _lock = lock(&folder)?;
        let mut has_any = false;
        for id in mentions.iter().filter(|id| folder.join(id).exists()) {
            directory::make_new(&run_mark(&folder, id, run))?;
            has_any = true;
        }
        Ok(has_any)
    };
    if !mentions.iter().any(|id| folder.join(id).exists()) {
        return Ok(false);
    }
    hold().map_err(|error: io::Error| refused(&folder, &error))
}

/// A record has named what it names; each blob was put once for it.
pub(super) fn let_go(places: &Places, mentions: &[String]) {
    let folder = places.blobs();
    let let_go = || {
        let _lock = lock(&folder)?;
        for id in mentions {
            let number = (0..).take_while(|number| put_mark(&folder, id, *number).exists()).last();
            if let Some(number) = number {
                fs::remove_file(put_mark(&folder, id, number))?;
            }
        }
        Ok(())
    };
    if mentions.iter().any(|id| put_mark(&folder, id, 0).exists())
        && let Err(error) = let_go()
    {
        let error: io::Error = error;
        tracing::warn!(%error, "a blob is kept for longer than it is needed");
    }
}

/// Makes sure that the names of blobs are on the disk.
pub(super) fn flush_names(places: &Places) -> Result<(), JournalError> {
    let folder = places.blobs();
    match directory::flush(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        flushed => flushed.map_err(|error| refused(&folder, &error)),
    }
}

/// Removes the blobs that only this run has.
pub(super) fn release(places: &Places, run: &RunId) -> Result<(), JournalError> {
    let folder = places.blobs();
    let release = || {
        let _lock = lock(&folder)?;
        let marks = marks(&folder)?;
        let own = format!("{RUN}{}", name_of(run));
        for (id, marks) in marks.into_iter().filter(|(_, marks)| marks.contains(&own)) {
            if !marks.iter().any(|mark| *mark != own && is_alive(places, mark)) {
                remove(&folder.join(&id))?;
                for mark in marks.iter().filter(|mark| **mark != own) {
                    remove(&folder.join(format!("{id}.{mark}")))?;
                }
            }
            // Last: whoever dies in between finds the blob again.
            remove(&run_mark(&folder, &id, run))?;
        }
        Ok(())
    };
    if !folder.exists() {
        return Ok(());
    }
    release().map_err(|error: io::Error| refused(&folder, &error))
}

/// The marks of all blobs.
fn marks(folder: &Path) -> io::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut marks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some((id, mark)) = name.to_str().and_then(|name| name.split_once('.')) {
            marks.entry(id.to_owned()).or_default().insert(mark.to_owned());
        }
    }
    Ok(marks)
}

/// Whether a mark keeps its blob: not when the run's file was removed by hand.
fn is_alive(places: &Places, mark: &str) -> bool {
    match mark.strip_prefix(RUN) {
        Some(name) => run_of(name).is_some_and(|run| places.run(&run).exists()),
        None => mark.starts_with(PUT),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn lock(folder: &Path) -> io::Result<Locked> {
    lock::take_at(&folder.join(LOCK))
}

fn run_mark(folder: &Path, id: &str, run: &RunId) -> PathBuf {
    folder.join(format!("{id}.{RUN}{}", name_of(run)))
}

fn put_mark(folder: &Path, id: &str, number: u64) -> PathBuf {
    folder.join(format!("{id}.{PUT}{number}"))
}
