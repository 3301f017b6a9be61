//! The files of a document, read from its directory and from nowhere else.

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use cofferdam_core::event::Source;
use cofferdam_core::port::{SourceError, SourceFile, Sources};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Reads files below one directory; symbolic links cannot leave it. The directory is opened by the first read.
#[derive(Debug)]
pub(crate) struct FileSources {
    base: PathBuf,
}

impl FileSources {
    pub(crate) fn new(base: impl Into<PathBuf>) -> Self {
        let base = base.into();
        Self { base: if base.as_os_str().is_empty() { PathBuf::from(".") } else { base } }
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    fn open(&self) -> Result<Dir, SourceError> {
        Dir::open_ambient_dir(&self.base, ambient_authority())
            .map_err(|error| SourceError::Io { path: self.base.display().to_string(), reason: error.to_string() })
    }
}

impl Sources for FileSources {
    fn read(&self, path: &str, max_bytes: usize) -> Result<SourceFile, SourceError> {
        let fault = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => SourceError::Missing(path.to_owned()),
            ErrorKind::PermissionDenied if error.raw_os_error().is_none() => SourceError::Escape(path.to_owned()),
            _ => SourceError::Io { path: path.to_owned(), reason: error.to_string() },
        };
        let directory = self.open()?;
        // Asked before it is opened: opening a pipe waits for somebody to write into it.
        let metadata = directory.metadata(path).map_err(fault)?;
        if !metadata.is_file() {
            let reason = if metadata.is_dir() { "it is a directory" } else { "it is not a file" };
            return Err(SourceError::Io { path: path.to_owned(), reason: reason.to_owned() });
        }
        let file = directory.open(path).map_err(fault)?;
        let too_large = |bytes| SourceError::TooLarge { path: path.to_owned(), bytes, limit: max_bytes };
        if metadata.len() > max_bytes as u64 {
            return Err(too_large(metadata.len()));
        }
        let mut bytes = Vec::new();
        file.take(max_bytes as u64 + 1).read_to_end(&mut bytes).map_err(fault)?;
        if bytes.len() > max_bytes {
            return Err(too_large(bytes.len() as u64));
        }
        Ok(SourceFile { bytes: bytes.into() })
    }
}

/// The files of a document that the user named: the first read is the document itself, wherever its path leads and also
/// from a pipe; all others are below its directory.
pub(crate) struct WithRoot<'a> {
    root: Mutex<Option<&'a Path>>,
    files: &'a FileSources,
}

impl<'a> WithRoot<'a> {
    pub(crate) fn new(root: &'a Path, files: &'a FileSources) -> Self {
        Self { root: Mutex::new(Some(root)), files }
    }
}

impl Sources for WithRoot<'_> {
    fn read(&self, path: &str, max_bytes: usize) -> Result<SourceFile, SourceError> {
        let root = self.root.lock().unwrap_or_else(PoisonError::into_inner).take();
        root.map_or_else(|| self.files.read(path, max_bytes), |root| read_named(root, max_bytes))
    }
}

/// The files of a document as a run recorded them, and nothing else.
pub(crate) struct Pinned<'a> {
    sources: &'a [Source],
    /// The directory of the document as it was named, with a final `/`; empty for the current one.
    named: &'a str,
}

impl<'a> Pinned<'a> {
    /// The first of the sources is the document.
    pub(crate) fn new(sources: &'a [Source]) -> Self {
        let root = sources.first().map(|source| source.path.as_str()).unwrap_or_default();
        let named = root.rfind(['/', '\\']).and_then(|at| root.get(..=at)).unwrap_or_default();
        Self { sources, named }
    }
}

impl Sources for Pinned<'_> {
    fn read(&self, path: &str, max_bytes: usize) -> Result<SourceFile, SourceError> {
        let name = format!("{}{path}", self.named);
        let found = self.sources.iter().find(|source| source.path == name);
        let text = &found.ok_or_else(|| SourceError::Missing(path.to_owned()))?.text;
        if text.len() > max_bytes {
            return Err(SourceError::TooLarge { path: path.to_owned(), bytes: text.len() as u64, limit: max_bytes });
        }
        Ok(SourceFile { bytes: text.as_bytes().into() })
    }
}

/// Reads what the user named.
pub(crate) fn read_named(path: &Path, max_bytes: usize) -> Result<SourceFile, SourceError> {
    let shown = || path.display().to_string();
    let fault = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => SourceError::Missing(shown()),
        _ => SourceError::Io { path: shown(), reason: error.to_string() },
    };
    let file = File::open(path).map_err(fault)?;
    if file.metadata().map_err(fault)?.is_dir() {
        return Err(SourceError::Io { path: shown(), reason: "it is a directory".to_owned() });
    }
    let mut bytes = Vec::new();
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() > max_bytes {
        return Err(SourceError::TooLarge { path: shown(), bytes: bytes.len() as u64, limit: max_bytes });
    }
    Ok(SourceFile { bytes: bytes.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        let sources = FileSources::new("/dev");
        for (path, reason) in [("null", "not a file"), (".", "a directory")] {
            let error = sources.read(path, 10).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
