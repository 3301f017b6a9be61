//! Why a tape cannot be used, and what to do about it.
//!
//! It must not know what was recorded.

use super::shelf::ShelfError;
use crate::kind::Kind;
use cofferdam_core::fault::Fault;

/// Why recordings cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TapeError {
    /// The place does not let itself be used.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// There is nothing to replay.
    #[error("there are no recordings in `{place}`")]
    Empty {
        /// The folder.
        place: String,
    },
    /// A file is no recording, or not all of one.
    #[error("`{path}` is no recording that can be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of a version that is not known here.
    #[error("`{path}` is a recording of version {version}, and only version {known} is known here")]
    Version {
        /// The file.
        path: String,
        /// Its version.
        version: u64,
        /// The version that is known.
        known: u64,
    },
    /// More recordings than are replayed, or names that are all taken.
    #[error("`{place}` has more than {limit} recordings")]
    TooMany {
        /// The folder.
        place: String,
        /// How many there may be.
        limit: usize,
    },
}

impl TapeError {
    /// What to do about it, apart from the message.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Shelf(_) => None,
            Self::Empty { place } => Some(format!("record first, with `--record {place}`")),
            Self::Unreadable { .. } => {
                Some("take the file away, or record again into an empty folder with `--record`".to_owned())
            }
            Self::Version { .. } => {
                Some("use the release that recorded it, or record again into an empty folder".to_owned())
            }
            Self::TooMany { .. } => Some("record into an empty folder".to_owned()),
        }
    }

    /// The message with its cause, in one line.
    pub(super) fn line(&self) -> String {
        let source = std::error::Error::source(self);
        source.map_or_else(|| self.to_string(), |source| format!("{self}: {source}"))
    }

    /// As the failure of a request.
    pub(super) fn fault(&self) -> Fault {
        Fault { hint: self.hint(), ..Kind::RecordingFailed.fault(self.line()) }
    }
}
