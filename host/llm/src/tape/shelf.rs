//! Where recordings lie: the port that a folder, or a test's memory, stands behind.
//!
//! It must not know what a recording is.

use std::io;

/// A place of named texts, each of which is either there as a whole or not there.
///
/// Its methods are called from asynchronous code, a write for each piece of an answer: they may take as long as a file on
/// this machine does, and no longer. Several tapes, also of several processes, may write to one place.
pub trait Shelf: Send + Sync {
    /// The place as a person would write it: the path of a folder.
    fn place(&self) -> String;

    /// A text as a person would write it: the path of a file.
    fn path(&self, name: &str) -> String;

    /// The names of all texts that are complete, in any order; what others are still writing is not among them.
    ///
    /// # Errors
    /// When the place is not there or cannot be read.
    fn list(&self) -> Result<Vec<String>, ShelfError>;

    /// A whole text.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or has more than `max_bytes`.
    fn read(&self, name: &str, max_bytes: usize) -> Result<Vec<u8>, ShelfError>;

    /// Begins a text that nobody else has or writes under this name; none where somebody does. A draft that is dropped
    /// unfinished leaves nothing that [`Shelf::list`] would name.
    ///
    /// # Errors
    /// When nothing can be written there.
    fn begin(&self, name: &str) -> Result<Option<Box<dyn Draft>>, ShelfError>;
}

/// A text that is being written.
pub trait Draft: Send {
    /// Adds to it.
    ///
    /// # Errors
    /// When the place is full, for instance.
    fn write(&mut self, bytes: &[u8]) -> Result<(), ShelfError>;

    /// From now on it is there, as a whole.
    ///
    /// # Errors
    /// When what was written cannot be kept.
    fn finish(self: Box<Self>) -> Result<(), ShelfError>;
}

/// What could not be done, to what.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} `{path}`")]
pub struct ShelfError {
    /// The act: `read`.
    pub act: &'static str,
    /// The path.
    pub path: String,
    /// What the system says.
    #[source]
    pub source: io::Error,
}
