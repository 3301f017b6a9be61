//! A run as one file: moved between machines and stores, kept beside a report, sent to somebody who looks for a fault.
//!
//! The format, version 1, is lines of JSON, each ended by a line feed:
//!
//! 1. `{"cofferdam_export":1,"run_id":...,"workflow":...,"status":...,"started_at":...,"records":N,"blobs":M}`
//! 2. N lines `{"position":P,"sum":"0123456789abcdef","record":{...}}` in the order of their positions, from 1. The record
//!    is the very text of [`cofferdam_core::record::encode`], the sum that of [`cofferdam_core::record::sum_of`] in hex.
//! 3. M lines `{"blob":"<SHA-256>","base64":"..."}`: the blobs that the records name, each once.
//! 4. `{"sha256":"..."}` over every byte before this line.
//!
//! It holds all that the journal holds, the content of sensitive steps included. It must not know which store it reads or
//! fills, nor hold more of a run than some records and one blob.

mod export;
mod import;
mod lines;

pub use export::export;
pub(crate) use import::half_copied;
pub use import::{Imported, import};

use cofferdam_core::id::RunId;
use cofferdam_core::port::JournalError;
use cofferdam_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the format that is written, and the newest that is read.
pub const VERSION: u32 = 1;

/// The first line: what the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub cofferdam_export: u32,
    /// The run.
    pub run_id: RunId,
    /// The document's name.
    pub workflow: String,
    /// `running`, or how it ended.
    pub status: String,
    /// When it began.
    pub started_at: Timestamp,
    /// How many records follow.
    pub records: u64,
    /// How many blobs follow these.
    pub blobs: u64,
}

/// Why a run was not exported or imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What is read cannot be read.
    #[error("it cannot be read")]
    Read(#[source] std::io::Error),
    /// What is written cannot be written.
    #[error("it cannot be written")]
    Write(#[source] std::io::Error),
    /// A line is not what was written: the file was cut or changed, or is no export.
    #[error("line {line}: {reason}")]
    Broken {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version of Cofferdam wrote it.
    #[error("{what} has version {found}; this version of Cofferdam reads up to {supported}")]
    TooNew {
        /// The file, or a record in it.
        what: &'static str,
        /// Its version.
        found: u32,
        /// The newest version that is read.
        supported: u32,
    },
    /// A record says something that this version would lose.
    #[error("record {position} says more than this version of Cofferdam knows; a newer one wrote it")]
    Unknown {
        /// Its position.
        position: u64,
    },
    /// There are more names that could be those of blobs than are followed.
    #[error("the records name more than {most} blobs")]
    TooManyBlobs {
        /// How many are followed.
        most: usize,
    },
    /// Another run of this id is there, or an earlier or later state of it.
    #[error("run `{0}` is there already, with other records")]
    Exists(RunId),
    /// The import stopped half way, and the run that it had begun is still there.
    #[error("the import stopped half way ({cause}), and run `{run}` could not be deleted again")]
    Left {
        /// The run.
        run: RunId,
        /// Why the import stopped.
        cause: Box<Error>,
        /// Why the run is still there.
        #[source]
        source: JournalError,
    },
    /// The store failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

#[cfg(test)]
mod tests;
