//! Storage: where the records of runs are kept.

use serde_json::json;

use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::plugin::Plugin;

/// A journal backend. One value of it is a connection; the host may hold several, and makes a new one after a crash.
/// What was answered must be durable. [`Error`]s of this module have the details that the host understands.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use cofferdam_sdk::storage::{
///     Commit, LeaseRequest, LeaseState, OpenInfo, Receipt, Record, RecordPage, RunFilter, RunIndex, RunPage, RunRow,
///     Storage, conflict, decide_lease,
/// };
/// use cofferdam_sdk::{Context, Error, ErrorKind, Result};
///
/// #[derive(Default)]
/// struct Run {
///     records: Vec<Record>,
///     index: RunIndex,
///     lease: Option<LeaseState>,
///     done: BTreeMap<String, u64>,
/// }
///
/// /// Keeps runs in memory: the form of a storage. A real one keeps them where they outlive its instance.
/// #[derive(Default)]
/// pub struct Memory {
///     runs: BTreeMap<String, Run>,
///     blobs: BTreeMap<String, Vec<u8>>,
/// }
///
/// fn absent() -> Error {
///     Error::new(ErrorKind::NotFound, "there is no such thing")
/// }
///
/// impl Memory {
///     fn one(&mut self, commit: Commit) -> Result<Receipt> {
///         let head = self.runs.get(&commit.run).map_or(0, |run| run.records.len() as u64);
///         if let Some(head) = self.runs.get(&commit.run).and_then(|run| run.done.get(&commit.id)) {
///             return Ok(Receipt { head: *head, replayed: true });
///         }
///         if head != commit.expected_head {
///             return Err(conflict(commit.expected_head, head));
///         }
///         let run = self.runs.entry(commit.run).or_default();
///         run.records.extend(commit.records);
///         run.index = commit.index.unwrap_or_else(|| run.index.clone());
///         let head = run.records.len() as u64;
///         run.done.insert(commit.id, head);
///         Ok(Receipt { head, replayed: false })
///     }
/// }
///
/// impl Storage for Memory {
///     fn open(_ctx: &Context, _config: &str) -> Result<(Self, OpenInfo)> {
///         let info = OpenInfo { schema_version: 1, max_concurrency: 1, max_commit_bytes: 1 << 20 };
///         Ok((Self::default(), info))
///     }
///
///     fn commit(&mut self, _ctx: &Context, batch: Vec<Commit>) -> Vec<Result<Receipt>> {
///         batch.into_iter().map(|commit| self.one(commit)).collect()
///     }
///
///     fn read(&mut self, _ctx: &Context, run: &str, after: u64, limit: u32) -> Result<RecordPage> {
///         let run = self.runs.get(run).ok_or_else(absent)?;
///         let records = run.records.iter().skip(after as usize).take(limit as usize).cloned().collect();
///         Ok(RecordPage { records, head: run.records.len() as u64 })
///     }
///
///     fn list(&mut self, _ctx: &Context, filter: &RunFilter, _cursor: Option<&str>, limit: u32) -> Result<RunPage> {
///         let row = |(name, run): (&String, &Run)| RunRow {
///             run: name.clone(),
///             head: run.records.len() as u64,
///             updated_at_ms: run.records.last().map_or(0, |record| record.at_ms),
///             index: run.index.clone(),
///         };
///         let mut rows: Vec<_> = self.runs.iter().map(row).filter(|row| filter.admits(&row.index)).collect();
///         rows.sort_by_key(|row| std::cmp::Reverse(row.updated_at_ms));
///         rows.truncate(limit as usize);
///         Ok(RunPage { rows, next: None })
///     }
///
///     fn put_blob(&mut self, _ctx: &Context, id: &str, bytes: &[u8]) -> Result<()> {
///         self.blobs.insert(id.to_owned(), bytes.to_vec());
///         Ok(())
///     }
///
///     fn get_blob(&mut self, _ctx: &Context, id: &str, offset: u64, len: u32) -> Result<Vec<u8>> {
///         let bytes = self.blobs.get(id).ok_or_else(absent)?;
///         Ok(bytes.iter().skip(offset as usize).take(len as usize).copied().collect())
///     }
///
///     fn lease(&mut self, _ctx: &Context, request: &LeaseRequest) -> Result<LeaseState> {
///         let run = self.runs.get_mut(&request.run).ok_or_else(absent)?;
///         let state = decide_lease(run.lease.clone(), request)?;
///         Ok(run.lease.insert(state).clone())
///     }
///
///     fn delete(&mut self, _ctx: &Context, run: &str) -> Result<()> {
///         self.runs.remove(run).map(drop).ok_or_else(absent)
///     }
/// }
///
/// cofferdam_sdk::plugin!(id = "acme/memory", summary = "Keeps runs in memory", storage = Memory);
///
/// let ctx = Context::fake();
/// let (mut store, _) = Memory::open(&ctx, "{}")?;
/// let record = Record { position: 1, at_ms: 1_000, kind: "run_started".into(), body: b"{}".to_vec() };
/// let commit = Commit {
///     id: "c1".into(),
///     run: "r1".into(),
///     expected_head: 0,
///     records: vec![record],
///     index: Some(RunIndex { workflow: "hello".into(), status: "running".into(), started_at_ms: 1_000 }),
/// };
/// let first = store.commit(&ctx, vec![commit.clone()]).remove(0)?;
/// assert_eq!(first, Receipt { head: 1, replayed: false });
/// let again = store.commit(&ctx, vec![commit.clone()]).remove(0)?;
/// assert_eq!(again, Receipt { head: 1, replayed: true });
/// let late = store.commit(&ctx, vec![Commit { id: "c2".into(), ..commit }]).remove(0);
/// assert!(late.is_err_and(|error| error.kind() == ErrorKind::Conflict));
/// # Ok::<(), Error>(())
/// ```
pub trait Storage: Sized + 'static {
    /// Connects. `config` is the plugin's configuration as JSON, `{}` if there is none.
    ///
    /// # Errors
    ///
    /// Why it cannot connect, e.g. [`too_new`].
    fn open(ctx: &Context, config: &str) -> Result<(Self, OpenInfo)>;

    /// Commits each request atomically and in order; one that fails does not undo others. The list is a group commit:
    /// one sync for all of it. A commit whose id was seen before is answered with what happened then.
    fn commit(&mut self, ctx: &Context, batch: Vec<Commit>) -> Vec<Result<Receipt>>;

    /// Records after the position `after`, at most `limit`.
    ///
    /// # Errors
    ///
    /// `not-found`, or [`damaged`].
    fn read(&mut self, ctx: &Context, run: &str, after: u64, limit: u32) -> Result<RecordPage>;

    /// Runs, the one that was written to last first.
    ///
    /// # Errors
    ///
    /// When they cannot be listed.
    fn list(&mut self, ctx: &Context, filter: &RunFilter, cursor: Option<&str>, limit: u32) -> Result<RunPage>;

    /// Keeps bytes under their SHA-256 in lower hex.
    ///
    /// # Errors
    ///
    /// When they cannot be kept.
    fn put_blob(&mut self, ctx: &Context, id: &str, bytes: &[u8]) -> Result<()>;

    /// At most `len` bytes of a blob from `offset`.
    ///
    /// # Errors
    ///
    /// `not-found`.
    fn get_blob(&mut self, ctx: &Context, id: &str, offset: u64, len: u32) -> Result<Vec<u8>>;

    /// Takes or renews the right to write to a run; [`decide_lease`] has the rule.
    ///
    /// # Errors
    ///
    /// [`held`], or [`conflict`].
    fn lease(&mut self, ctx: &Context, request: &LeaseRequest) -> Result<LeaseState>;

    /// Deletes a run and the blobs that only it names.
    ///
    /// # Errors
    ///
    /// `not-found`.
    fn delete(&mut self, ctx: &Context, run: &str) -> Result<()>;

    /// Disconnects.
    fn close(&mut self, _ctx: &Context) {}
}

/// A plugin that is a storage. Implemented by [`plugin!`](crate::plugin!).
pub trait StoragePlugin: Plugin {
    /// The storage.
    type Storage: Storage;

    /// Works with the connection that is open, if one is.
    fn with<R>(work: impl FnOnce(&mut Option<Self::Storage>) -> R) -> R;
}

/// What a backend says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenInfo {
    /// Version of the form in which it keeps records.
    pub schema_version: u32,
    /// Most calls at once, each over an instance of its own.
    pub max_concurrency: u32,
    /// Most bytes of one commit.
    pub max_commit_bytes: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Dense from 1 in its run.
    pub position: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The kind of event or note.
    pub kind: String,
    /// What it says; opaque.
    pub body: Vec<u8>,
}

/// The row that listings show of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunIndex {
    /// The document's name.
    pub workflow: String,
    /// `running`, or how it ended.
    pub status: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_at_ms: u64,
}

/// Records to append behind a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The same id again means: say what happened, do not do it twice.
    pub id: String,
    /// The run.
    pub run: String,
    /// The head that must be there; 0: the run must not exist.
    pub expected_head: u64,
    /// The records, never empty.
    pub records: Vec<Record>,
    /// The row, when it changed.
    pub index: Option<RunIndex>,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The head after it.
    pub head: u64,
    /// It had been done before.
    pub replayed: bool,
}

/// Some records of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPage {
    /// In order.
    pub records: Vec<Record>,
    /// The head of the run.
    pub head: u64,
}

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only runs of this document.
    pub workflow: Option<String>,
    /// Only runs with one of these statuses; empty means any.
    pub statuses: Vec<String>,
}

impl RunFilter {
    /// Whether a run passes.
    pub fn admits(&self, index: &RunIndex) -> bool {
        self.workflow.as_ref().is_none_or(|workflow| *workflow == index.workflow)
            && (self.statuses.is_empty() || self.statuses.contains(&index.status))
    }
}

/// A run in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// The run.
    pub run: String,
    /// Its head.
    pub head: u64,
    /// When its last record was made, in milliseconds since the Unix epoch.
    pub updated_at_ms: u64,
    /// The row.
    pub index: RunIndex,
}

/// Part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunPage {
    /// The rows.
    pub rows: Vec<RunRow>,
    /// The cursor of the rest.
    pub next: Option<String>,
}

/// Who may write to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// The holder, as JSON that only the host reads.
    pub owner: String,
    /// Grows with each change of the holder.
    pub epoch: u64,
    /// When it ends, in milliseconds since the Unix epoch.
    pub until_ms: u64,
}

/// Asks for the right to write to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The run.
    pub run: String,
    /// Who asks.
    pub owner: String,
    /// The epoch that is renewed; 0 takes a new one.
    pub epoch: u64,
    /// The host's time.
    pub now_ms: u64,
    /// How long it shall hold.
    pub until_ms: u64,
    /// The present holder is known to be gone.
    pub owner_is_gone: bool,
}

/// Decides a lease against the one that is there, as every store must: a lease is renewed by its epoch, also late, as
/// long as nobody took the run in between; the same owner asking anew gets a new epoch; one that is said to be gone is
/// replaced only if it still holds the run.
///
/// # Errors
///
/// [`held`] while another's is alive, [`conflict`] when the epoch is not the present one.
pub fn decide_lease(present: Option<LeaseState>, request: &LeaseRequest) -> Result<LeaseState> {
    let granted = |epoch| LeaseState { owner: request.owner.clone(), epoch, until_ms: request.until_ms };
    let Some(present) = present else {
        return if request.epoch == 0 { Ok(granted(1)) } else { Err(conflict(request.epoch, 0)) };
    };
    let same_owner = present.owner == request.owner;
    let same_epoch = present.epoch == request.epoch;
    let alive = present.until_ms > request.now_ms;
    let next = present.epoch.saturating_add(1);
    match request.epoch {
        _ if same_owner && same_epoch => Ok(granted(present.epoch)),
        0 if same_owner || !alive || request.owner_is_gone => Ok(granted(next)),
        0 => Err(held(&present)),
        _ if request.owner_is_gone && same_epoch => Ok(granted(next)),
        _ if alive && !same_owner => Err(held(&present)),
        expected => Err(conflict(expected, present.epoch)),
    }
}

/// The head, or the epoch, is another.
pub fn conflict(expected: u64, found: u64) -> Error {
    Error::new(ErrorKind::Conflict, format!("expected {expected}, found {found}"))
        .with_detail(json!({ "expected": expected, "found": found }))
}

/// Somebody else holds the run.
pub fn held(state: &LeaseState) -> Error {
    let owner = serde_json::from_str(&state.owner).unwrap_or(serde_json::Value::Null);
    let holder = json!({ "owner": owner, "epoch": state.epoch, "until": state.until_ms });
    Error::new(ErrorKind::Conflict, "the run is held").with_detail(json!({ "holder": holder }))
}

/// A record cannot be read.
pub fn damaged(run: &str, position: u64, reason: &str) -> Error {
    Error::new(ErrorKind::Internal, reason)
        .with_code("damaged")
        .with_detail(json!({ "run": run, "position": position }))
}

/// The store was written by a newer version.
pub fn too_new(found: u32, supported: u32) -> Error {
    Error::new(ErrorKind::Unsupported, format!("the store has version {found}, and {supported} is the newest known"))
        .with_code("too-new")
        .with_detail(json!({ "found": found, "supported": supported }))
}
