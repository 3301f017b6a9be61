//! The journal: one append-only list of records a run, from which everything else follows.

use super::BoxFuture;
use crate::event::RunEvent;
use crate::id::RunId;
use crate::time::Timestamp;
use crate::value::Map;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Keeps the records of runs.
///
/// What reads and writes runs does so through a journal that spills large values (`cofferdam_store::Spilling`); a store
/// takes and gives [`RecordBody::Spilled`] like every other record, and need not know what it is. Positions are dense from 1 in each run. An append is atomic: all records or none. Readers see a prefix of what
/// was appended. An operation that failed with [`JournalError::Unavailable`] may have happened: read the head.
/// Dropping a future leaves the operation either done or not, never half done.
pub trait Journal: Send + Sync {
    /// Appends records behind `expected_head` and gives the new head.
    ///
    /// # Errors
    /// [`JournalError::Conflict`] when the head is another: a second writer is fenced off by this.
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>>;

    /// Records of a run after position `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`JournalError::NotFound`] when there is no such run; [`JournalError::Damaged`] with the position of a
    /// record that cannot be read.
    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>>;

    /// Runs, the one that was written to last first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>>;

    /// Stores bytes under their hash. Storing the same twice is storing it once; what is there under the hash and has other
    /// bytes was damaged, and these take its place. A run has a blob when one of its records contains the blob's id: store
    /// the blob first, then append the record.
    ///
    /// # Errors
    /// [`JournalError::Invalid`] when the id is not the hash of the bytes.
    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>>;

    /// The bytes of a blob.
    ///
    /// # Errors
    /// [`JournalError::NotFound`] when there is none; [`JournalError::Unavailable`] when its bytes are not what was put.
    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>>;

    /// Takes or renews the right to write to a run. It keeps well-behaved writers apart; appends fence the rest.
    ///
    /// # Errors
    /// [`JournalError::Held`] while another owner's lease is alive.
    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>>;

    /// The lease of a run as it stands, also one that has ended; none when nobody has one. Changes nothing.
    ///
    /// # Errors
    /// When the lease cannot be read.
    fn holder<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Option<Lease>, JournalError>> {
        Box::pin(async move {
            // An epoch that nobody was given, at a time at which no lease has ended: the store refuses, and says who is there.
            let owner = Owner { host: String::new(), boot_id: String::new(), pid: 0, process_started: 0 };
            let (now, hold) = (Timestamp::default(), Duration::ZERO);
            let request = LeaseRequest { run: run.clone(), owner, epoch: u64::MAX, now, hold, owner_is_gone: false };
            match self.lease(request).await {
                Err(JournalError::Held(lease)) => Ok(Some(*lease)),
                Err(JournalError::Conflict { .. }) | Ok(_) => Ok(None),
                Err(other) => Err(other),
            }
        })
    }

    /// Whether what was written is still where readers look for it. A store tells it without reading records.
    ///
    /// # Errors
    /// [`JournalError::Unavailable`] when it was removed or replaced meanwhile.
    fn is_there<'a>(&'a self, _run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Deletes a run and the blobs that only it has.
    ///
    /// # Errors
    /// [`JournalError::NotFound`] when there is no such run.
    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>>;
}

/// One append.
#[derive(Clone, Debug)]
pub struct Append {
    /// The run.
    pub run: RunId,
    /// The head that must be there; 0 means that the run must not exist.
    pub expected_head: u64,
    /// The records, in order.
    pub records: Vec<Record>,
    /// The row that listings show, when it changed.
    pub index: Option<RunIndex>,
    /// When the append counts as done.
    pub durability: Durability,
}

/// When an append counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it survives a power cut.
    Durable,
    /// When it survives the death of this process.
    Written,
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When it was made.
    pub at: Timestamp,
    /// What it says.
    pub body: RecordBody,
}

impl Record {
    /// The event, unless it is a note, or not whole.
    #[must_use]
    pub fn event(&self) -> Option<&Arc<RunEvent>> {
        match &self.body {
            RecordBody::Event(event) => Some(event),
            RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
        }
    }

    /// The event as a store keeps it, perhaps not whole; none for a note.
    #[must_use]
    pub fn kept_event(&self) -> Option<&RunEvent> {
        match &self.body {
            RecordBody::Event(event) => Some(event),
            RecordBody::Spilled(spilled) => Some(&spilled.event),
            RecordBody::Note { .. } => None,
        }
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordBody {
    /// Something that happened in the run.
    Event(Arc<RunEvent>),
    /// The same, with its large values in blobs: what a store keeps, and no reader of runs gets.
    Spilled(Arc<Spilled>),
    /// Bookkeeping without a `seq`, never an event: a snapshot, a lease.
    Note {
        /// Which.
        kind: String,
        /// Its data.
        data: Map,
    },
}

/// An event whose large values are in blobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Spilled {
    /// The event; of a spilled text it has the head, of a spilled list or map an empty one.
    pub event: RunEvent,
    /// What is missing, in the order in which it was found.
    pub parts: Vec<SpilledPart>,
}

/// A value that is not in its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpilledPart {
    /// Where it stands in the event's JSON: a JSON Pointer (RFC 6901).
    pub at: String,
    /// Its bytes: a text as it is, a list or map as JSON.
    pub blob: BlobId,
    /// How many there are.
    pub bytes: u64,
    /// The beginning of a list or map; that of a text stands in the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

/// Some records of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Position of the first record; the others follow densely.
    pub first: u64,
    /// The records.
    pub records: Vec<Record>,
    /// The head of the run when it was read.
    pub head: u64,
}

/// The row that listings show of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIndex {
    /// The document's name.
    pub workflow: String,
    /// `running`, `copying`, or how it ended.
    pub status: String,
    /// When it began.
    pub started_at: Timestamp,
}

impl RunIndex {
    /// The status of a run that is being copied, by an import or a branch: until it is whole, it is no run to go on with.
    pub const COPYING: &'static str = "copying";
}

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only runs of this document.
    pub workflow: Option<String>,
    /// Only runs with one of these statuses; empty means any.
    pub statuses: Vec<String>,
    /// Where the last page ended.
    pub cursor: Option<String>,
    /// Most rows of a page; 0 means the store's own bound.
    pub limit: usize,
}

/// A page of runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunPage {
    /// The rows.
    pub rows: Vec<RunRow>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// A run in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunRow {
    /// The run.
    pub run_id: RunId,
    /// Its head.
    pub head: u64,
    /// When it was written to last.
    pub updated_at: Timestamp,
    /// What it shows.
    #[serde(flatten)]
    pub index: RunIndex,
}

/// SHA-256 of a blob's bytes in lower hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobId(String);

impl BlobId {
    /// The id of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(crate::digest::sha256_hex(bytes))
    }

    /// Reads an id; none when it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 64 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who writes to a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The machine.
    pub host: String,
    /// Which start of the machine.
    pub boot_id: String,
    /// The process.
    pub pid: u32,
    /// When the process started, to tell it from a later one of the same number.
    pub process_started: u64,
}

impl Owner {
    /// The process in words: ``process 12 on `host` ``.
    #[must_use]
    pub fn process(&self) -> String {
        format!("process {} on `{}`", self.pid, self.host)
    }
}

/// Asks for the right to write to a run.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The run.
    pub run: RunId,
    /// Who asks.
    pub owner: Owner,
    /// The epoch that is renewed; 0 takes a new one.
    pub epoch: u64,
    /// The host's time.
    pub now: Timestamp,
    /// How long it shall hold.
    pub hold: Duration,
    /// Whether the present owner is known to be gone: then it is replaced at once. With `epoch` given, only if that
    /// is still its epoch, so that a third one who was faster is not replaced.
    pub owner_is_gone: bool,
}

/// The right to write to a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who holds it.
    pub owner: Owner,
    /// Grows with each change of owner.
    pub epoch: u64,
    /// When it ends.
    pub until: Timestamp,
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JournalError {
    /// The head, or the version, is not the expected one.
    #[error("conflict: expected {expected}, found {found}")]
    Conflict {
        /// What was expected.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// There is no such run, blob or key.
    #[error("`{0}` is not in the store")]
    NotFound(String),
    /// Somebody else holds the run.
    #[error("the run is held by process {} on `{}`", .0.owner.pid, .0.owner.host)]
    Held(Box<Lease>),
    /// A record cannot be read. It is never treated as absent.
    #[error("record {position} of run `{run}` is damaged: {reason}")]
    Damaged {
        /// The run.
        run: RunId,
        /// Its position.
        position: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The store was written by a newer version.
    #[error("the store has version {found}; this version of Cofferdam reads up to {supported}")]
    TooNew {
        /// The version there.
        found: u32,
        /// The newest version that is read.
        supported: u32,
    },
    /// A record is larger than the store takes. Nothing was appended.
    #[error("{0}")]
    TooLarge(String),
    /// There is no room for more.
    #[error("{0}")]
    Full(String),
    /// The request makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The store cannot be reached or written; it may have happened.
    #[error("{0}")]
    Unavailable(String),
}
