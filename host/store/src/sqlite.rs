//! The journal in an SQLite file: records by run and position, blobs by hash, leases, and the rows of listings.
//!
//! It must not know how the file is opened or when a commit happens.

mod append;
mod blob;
#[cfg(test)]
mod damage;
mod lease;
mod page;
mod row;
mod rows;

use crate::append::{check, check_blob};
use crate::connection::Schema;
use crate::database::Database;
use append::Prepared;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{
    Append, BlobId, BoxFuture, Durability, Journal, JournalError, Lease, LeaseRequest, Page, RunFilter, RunPage,
};
use rusqlite::{Connection, OptionalExtension as _};
use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;

/// The tables.
///
/// A row of `records` has what one append brought: its key is the run's number and the first record's position in one
/// integer, so that the records of a run lie side by side and an append writes one row and needs no second index. Stores
/// of version 1 have a row for each record. A blob is `pending` as often as it was put without a record that
/// names it yet: deleting another run must not take it away between the two.
const SCHEMA: Schema = Schema {
    version: 2,
    create: "
        CREATE TABLE runs (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, head INTEGER NOT NULL, updated_at INTEGER NOT NULL,
            workflow TEXT, status TEXT, started_at INTEGER
        ) STRICT;
        CREATE TABLE records (place INTEGER PRIMARY KEY, sum INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
        CREATE TABLE blobs (id TEXT PRIMARY KEY, pending INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;
        CREATE TABLE mentions (blob TEXT NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (blob, run)) STRICT, WITHOUT ROWID;
        CREATE TABLE leases (run TEXT PRIMARY KEY, lease TEXT NOT NULL) STRICT, WITHOUT ROWID;
    ",
};

/// Bits of a record's key that hold its position.
const POSITION_BITS: u32 = 32;

/// Keeps runs in a file, which is made with its directory when the first record is written.
pub struct Sqlite {
    database: Database,
}

impl Sqlite {
    /// A journal in the file at `path`. Nothing is opened.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { database: Database::new(path.into(), SCHEMA) }
    }
}

impl Journal for Sqlite {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        Box::pin(async move {
            check(&request)?;
            let durability = request.durability;
            let prepared = Prepared::new(request)?;
            self.database.write(durability, move |connection| prepared.append(connection)).await
        })
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        let run = run.clone();
        Box::pin(self.database.read(move |connection, path| match connection {
            Some(connection) => page::read(connection, path, &run, after, limit),
            None => Err(JournalError::NotFound(run.to_string())),
        }))
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        Box::pin(self.database.read(move |connection, path| match connection {
            Some(connection) => rows::list(connection, path, &filter),
            None => Ok(RunPage::default()),
        }))
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move {
            check_blob(&id, &bytes)?;
            // The record that names it is flushed later, and everything before it with it.
            let put = move |connection: &Connection| blob::put(connection, &id, &bytes);
            self.database.write(Durability::Written, put).await
        })
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        let id = id.clone();
        Box::pin(self.database.read(move |connection, path| match connection {
            Some(connection) => blob::get(connection, path, &id),
            None => Err(JournalError::NotFound(id.as_str().to_owned())),
        }))
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        Box::pin(async move {
            let path = self.database.path().to_owned();
            let take = move |connection: &Connection| lease::take(connection, &path, &request);
            self.database.write(Durability::Written, take).await
        })
    }

    fn holder<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Option<Lease>, JournalError>> {
        let run = run.clone();
        Box::pin(self.database.read(move |connection, path| match connection {
            Some(connection) => lease::present(connection, path, &run),
            None => Ok(None),
        }))
    }

    fn is_there<'a>(&'a self, _run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(ready(self.database.is_there()))
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        let run = run.clone();
        Box::pin(self.database.write(Durability::Durable, move |connection| blob::delete(connection, &run)))
    }
}

/// The key of a record. The number of a run is far below 2^31, and positions were checked.
fn place(number: i64, position: u64) -> i64 {
    (number << POSITION_BITS) | i64::try_from(position).unwrap_or(0)
}

/// The number and the head of a run.
fn find(connection: &Connection, run: &RunId) -> rusqlite::Result<Option<(i64, u64)>> {
    let sql = "SELECT number, head, id FROM runs WHERE id = ?1";
    let row = |row: &rusqlite::Row<'_>| Ok(((row.get(0)?, row.get(1)?), row.get::<_, String>(2)? == run.as_str()));
    let indexed = connection.prepare_cached(sql)?.query_row([run.as_str()], row).optional()?;
    if let Some((found, true)) = indexed {
        return Ok(Some(found));
    }
    // A damaged index says of a run that it is not there, or gives another one. The table knows better; runs that
    // are not there are looked for rarely.
    let sql = "SELECT number, head, id FROM runs NOT INDEXED WHERE id = ?1";
    let whole = connection.prepare_cached(sql)?.query_row([run.as_str()], row).optional()?;
    Ok(whole.or(indexed).map(|(found, _)| found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use cofferdam_core::event::{Body, RunEvent};
    use cofferdam_core::id::StepPath;
    use cofferdam_core::port::{Owner, Record, RecordBody, RunIndex};
    use cofferdam_core::time::Timestamp;
    use futures_util::future::join_all;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    pub(super) fn run() -> RunId {
        RunId::parse("r").unwrap()
    }

    pub(super) fn request(expected_head: u64, texts: &[&str]) -> Append {
        let record = |(seq, text): (u64, &&str)| {
            let at = Timestamp::from_millis(1_000);
            let body = Body::Warning { code: "W".into(), message: (*text).to_owned() };
            let event = RunEvent { seq, sub: None, at, run_id: run(), path: StepPath::ROOT, attempt: None, body };
            Record { at, body: RecordBody::Event(Arc::new(event)) }
        };
        Append {
            run: run(),
            expected_head,
            records: (expected_head + 1..).zip(texts).map(record).collect(),
            index: Some(RunIndex {
                workflow: "w".into(),
                status: "running".into(),
                started_at: Timestamp::from_millis(1),
            }),
            durability: Durability::Durable,
        }
    }

    pub(super) async fn all(path: &Path) -> Result<Page, JournalError> {
        Sqlite::new(path).read(&run(), 0, 10_000).await
    }

    #[tokio::test]
    async fn the_journal_in_a_file_holds_all_laws() {
        let folder = tempfile::tempdir().unwrap();
        let files = AtomicU32::new(0);
        let make = || -> Arc<dyn Journal> {
            let name = format!("{}.db", files.fetch_add(1, Ordering::Relaxed));
            Arc::new(Sqlite::new(folder.path().join("runs").join(name)))
        };
        contract::journal(make).await.unwrap();
    }

    #[tokio::test]
    async fn everything_outlives_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let owner = Owner { host: "h".into(), boot_id: "b".into(), pid: 1, process_started: 1 };
        let lease = LeaseRequest {
            run: run(),
            owner,
            epoch: 0,
            now: Timestamp::from_millis(5),
            hold: Duration::from_secs(30),
            owner_is_gone: false,
        };
        let (id, bytes) = (BlobId::of(b"bytes"), Arc::from(&b"bytes"[..]));
        let wanted = request(0, &["one", "two"]).records;
        {
            let journal = Sqlite::new(&path);
            journal.append(request(0, &["one", "two"])).await.unwrap();
            journal.put_blob(id.clone(), bytes).await.unwrap();
            journal.lease(lease.clone()).await.unwrap();
        }
        let journal = Sqlite::new(&path);
        assert_eq!(journal.read(&run(), 0, 10).await.unwrap().records, wanted);
        assert_eq!(&*journal.get_blob(&id).await.unwrap(), b"bytes");
        assert_eq!(journal.list(RunFilter::default()).await.unwrap().rows.len(), 1);
        let other = LeaseRequest { owner: Owner { pid: 2, ..lease.owner.clone() }, ..lease };
        assert!(matches!(journal.lease(other).await, Err(JournalError::Held(_))));
        assert_eq!(journal.append(request(2, &["three"])).await, Ok(3));
    }

    #[tokio::test]
    async fn nothing_is_made_before_the_first_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".cofferdam").join("runs.db");
        let journal = Sqlite::new(&path);
        assert_eq!(journal.list(RunFilter::default()).await, Ok(RunPage::default()));
        assert_eq!(journal.read(&run(), 0, 1).await, Err(JournalError::NotFound("r".into())));
        assert!(!path.parent().unwrap().exists());
    }

    #[tokio::test]
    async fn the_folder_is_private_and_no_repository_takes_it_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".cofferdam").join("runs.db");
        Sqlite::new(&path).append(request(0, &["one"])).await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_to_string(path.with_file_name(".gitignore")).unwrap(), "*\n");
    }

    #[tokio::test]
    async fn a_store_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE new (x); PRAGMA user_version = 3").unwrap();
        let too_new = JournalError::TooNew { found: 3, supported: 2 };
        assert_eq!(all(&path).await, Err(too_new.clone()));
        assert_eq!(Sqlite::new(&path).append(request(0, &["one"])).await, Err(too_new));
    }

    #[tokio::test]
    async fn a_file_that_is_no_store_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (foreign, text) = (folder.path().join("foreign.db"), folder.path().join("text.db"));
        Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        fs::write(&text, "this is a letter, and rather a long one ".repeat(100)).unwrap();
        for path in [foreign, text, folder.path().to_owned()] {
            for error in
                [all(&path).await.unwrap_err(), Sqlite::new(&path).append(request(0, &["one"])).await.unwrap_err()]
            {
                let JournalError::Unavailable(message) = error else { panic!("{path:?}: {error:?}") };
                assert!(message.contains(&path.display().to_string()), "{message}");
            }
        }
        assert!(fs::read(folder.path().join("text.db")).unwrap().starts_with(b"this is a letter"));
    }

    #[tokio::test]
    async fn a_file_that_was_removed_or_replaced_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let journal = Sqlite::new(&path);
        assert_eq!(journal.is_there(&run()).await, Ok(()), "nothing was written");
        journal.append(request(0, &["one"])).await.unwrap();
        assert_eq!(journal.is_there(&run()).await, Ok(()));
        fs::rename(&path, folder.path().join("elsewhere.db")).unwrap();
        let told = |error: JournalError| error.to_string();
        assert!(told(journal.is_there(&run()).await.unwrap_err()).ends_with("runs.db` was removed"));
        Sqlite::new(&path).append(request(0, &["other"])).await.unwrap();
        assert!(told(journal.is_there(&run()).await.unwrap_err()).ends_with("runs.db` was replaced"));
    }

    #[tokio::test]
    async fn a_damaged_lease_is_told_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let journal = Sqlite::new(&path);
        journal.append(request(0, &["one"])).await.unwrap();
        Connection::open(&path).unwrap().execute("INSERT INTO leases VALUES ('r', 'garbage')", []).unwrap();
        let told = journal.holder(&run()).await.unwrap_err().to_string();
        assert!(told.contains(path.to_str().unwrap()) && told.contains("damaged"), "{told}");
    }

    #[tokio::test]
    async fn a_damaged_blob_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let id = BlobId::of(b"bytes");
        Sqlite::new(&path).put_blob(id.clone(), Arc::from(&b"bytes"[..])).await.unwrap();
        Connection::open(&path).unwrap().execute("UPDATE blobs SET bytes = x'00'", []).unwrap();
        assert!(matches!(Sqlite::new(&path).get_blob(&id).await, Err(JournalError::Unavailable(_))));
    }

    #[tokio::test]
    async fn two_processes_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("runs.db");
        let stores: Vec<_> = (0..8).map(|_| Sqlite::new(&path)).collect();
        let won = join_all(stores.iter().map(|store| store.append(request(0, &["mine"])))).await;
        assert_eq!(won.iter().filter(|result| result.is_ok()).count(), 1, "{won:?}");
        let lost = JournalError::Conflict { expected: 0, found: 1 };
        assert!(won.iter().all(|result| matches!(result, Ok(1)) || *result == Err(lost.clone())), "{won:?}");
    }

    #[tokio::test]
    async fn a_caller_that_leaves_leaves_the_rest_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Sqlite::new(folder.path().join("runs.db"));
        drop(journal.append(request(0, &["never asked"])));
        assert_eq!(journal.append(request(0, &["one"])).await, Ok(1));
        let both = tokio::join!(journal.append(request(1, &["two"])), async {
            tokio::select! {
                biased;
                result = journal.append(request(2, &["three"])) => drop(result),
                () = tokio::task::yield_now() => {}
            }
        });
        assert_eq!(both.0, Ok(2));
        let head = journal.read(&run(), 0, 1).await.unwrap().head;
        assert!(matches!(head, 2 | 3), "{head}");
    }
}
