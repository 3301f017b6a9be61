//! The files of a document.

use std::sync::Arc;

/// Reads the files that a document names. Loading calls it; nothing else of the core sees a file.
///
/// Paths are relative to the document's directory, with `/`. An implementation must not leave that directory, also
/// not through symbolic links, and must not read a file larger than `max_bytes`.
pub trait Sources: Send + Sync {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot be read, by kind.
    fn read(&self, path: &str, max_bytes: usize) -> Result<SourceFile, SourceError>;
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// There is none.
    #[error("file `{0}` does not exist")]
    Missing(String),
    /// It is not inside the document's directory.
    #[error("path `{0}` leads out of the document's directory")]
    Escape(String),
    /// It is larger than allowed.
    #[error("file `{path}` has {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// The system refuses.
    #[error("cannot read `{path}`: {reason}")]
    Io {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
}
