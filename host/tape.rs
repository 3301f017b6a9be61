//! Recordings of models in a folder.
//!
//! It must not know what is in a recording. A file is written under another name and renamed once it is whole, so that a
//! process that dies leaves no half of one; and since of a file and its draft there is always one or the other, two
//! processes never take the same name.

use cofferdam_llm::tape::{Draft, Shelf, ShelfError, Tape, TapeError};
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is appended to the name of a file that is not whole yet. One that a dead process left may be deleted.
const DRAFT: &str = ".part";
/// An answer is written in steps of so many bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// Records into a folder, which is made if it is not there. What it holds already stays.
///
/// # Errors
/// When the folder cannot be made or read.
pub fn record(folder: impl Into<PathBuf>) -> Result<Tape, TapeError> {
    let folder = Folder::new(folder);
    fs::create_dir_all(&folder.path).map_err(|source| failed("make", &folder.path, source))?;
    Tape::record(Arc::new(folder))
}

/// Replays the recordings of a folder.
///
/// # Errors
/// When the folder or a recording in it cannot be read, or it has none.
pub fn replay(folder: impl Into<PathBuf>) -> Result<Tape, TapeError> {
    Tape::replay(Arc::new(Folder::new(folder)))
}

/// A folder of recordings.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at this path; nothing is read or made.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { path: if path.as_os_str().is_empty() { PathBuf::from(".") } else { path } }
    }
}

impl Shelf for Folder {
    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn list(&self) -> Result<Vec<String>, ShelfError> {
        let refuse = |source| failed("read", &self.path, source);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            // A name that is no text is none of ours.
            if let Ok(name) = entry.file_name().into_string()
                && !name.ends_with(DRAFT)
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str, max_bytes: usize) -> Result<Vec<u8>, ShelfError> {
        let path = self.path.join(name);
        let refuse = |source| failed("read", &path, source);
        // Asked before it is opened: opening a pipe waits for somebody to write into it.
        if !fs::metadata(&path).map_err(refuse)?.is_file() {
            return Err(refuse(std::io::Error::other("it is not a file")));
        }
        let mut bytes = Vec::new();
        let most = u64::try_from(max_bytes).unwrap_or(u64::MAX);
        let file = File::open(&path).map_err(refuse)?;
        file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(refuse)?;
        if bytes.len() > max_bytes {
            return Err(refuse(std::io::Error::other(format!("it has more than {max_bytes} bytes"))));
        }
        Ok(bytes)
    }

    fn begin(&self, name: &str) -> Result<Option<Box<dyn Draft>>, ShelfError> {
        let (whole, part) = (self.path.join(name), self.path.join(format!("{name}{DRAFT}")));
        let file = match OpenOptions::new().write(true).create_new(true).open(&part) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(failed("write", &part, error)),
        };
        let draft = PartFile { file: BufWriter::with_capacity(BUFFER_BYTES, file), part, whole, is_done: false };
        // In this order: whoever finished meanwhile has renamed its draft, and its file is there.
        if fs::symlink_metadata(&draft.whole).is_ok() {
            return Ok(None);
        }
        Ok(Some(Box::new(draft)))
    }
}

/// A file that is not whole yet. It goes away with this value unless that is finished.
struct PartFile {
    file: BufWriter<File>,
    part: PathBuf,
    whole: PathBuf,
    is_done: bool,
}

impl Draft for PartFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ShelfError> {
        self.file.write_all(bytes).map_err(|source| failed("write", &self.part, source))
    }

    fn finish(mut self: Box<Self>) -> Result<(), ShelfError> {
        self.file.flush().map_err(|source| failed("write", &self.part, source))?;
        fs::rename(&self.part, &self.whole).map_err(|source| failed("write", &self.whole, source))?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.is_done {
            // What cannot be deleted is ignored by every reader.
            let _ = fs::remove_file(&self.part);
        }
    }
}

fn failed(act: &'static str, path: &Path, source: std::io::Error) -> ShelfError {
    ShelfError { act, path: path.display().to_string(), source }
}
