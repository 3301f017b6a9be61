//! The journal in an SQLite file: records by run and position, blobs by hash, leases, and the rows of listings.
//!
//! It must not know how the file is opened or when a commit happens.

use crate::connection::{self, Schema};
use crate::database::{Database, Failure};
use crate::listing::{self, Cursor};
use crate::mention::Mentions;
use crate::{append, lease, record};
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{
    Append, BlobId, BoxFuture, Durability, Journal, JournalError, Lease, LeaseRequest, Page, Record, RunFilter, RunIndex, RunPage,
    RunRow,
};
use cofferdam_core::time::Timestamp;
use rusqlite::Error::FromSqlConversionFailure;
use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, params};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The tables.
///
/// A record's key is its run's number and its position in one integer, so that the records of a run lie side by
/// side and an append needs no second index. A blob is `pending` as often as it was put without a record that
/// names it yet: deleting another run must not take it away between the two.
const SCHEMA: Schema = Schema {
    version: 1,
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
            append::check(&request)?;
            let durability = request.durability;
            let prepared = Prepared::new(request)?;
            self.database.write(durability, move |connection| prepared.append(connection)).await
        })
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        let run = run.clone();
        Box::pin(self.database.read(move |connection, path| match connection {
            Some(connection) => read(connection, path, &run, after, limit),
            None => Err(JournalError::NotFound(run.to_string())),
        }))
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        Box::pin(self.database.read(move |connection, path| match connection {
            Some(connection) => list(connection, path, &filter),
            None => Ok(RunPage::default()),
        }))
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move {
            append::check_blob(&id, &bytes)?;
            // The record that names it is flushed later, and everything before it with it.
            let put = move |connection: &Connection| put_blob(connection, &id, &bytes);
            self.database.write(Durability::Written, put).await
        })
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        let id = id.clone();
        Box::pin(self.database.read(move |connection, path| match connection {
            Some(connection) => get_blob(connection, path, &id),
            None => Err(JournalError::NotFound(id.as_str().to_owned())),
        }))
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        Box::pin(self.database.write(Durability::Written, move |connection| take_lease(connection, &request)))
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        let run = run.clone();
        Box::pin(self.database.write(Durability::Durable, move |connection| delete(connection, &run)))
    }
}

/// An append as it will be written; made before the writer's thread is asked.
struct Prepared {
    run: RunId,
    expected_head: u64,
    head: u64,
    updated_at: Option<Timestamp>,
    index: Option<RunIndex>,
    records: Vec<PreparedRecord>,
}

struct PreparedRecord {
    position: u64,
    sum: i64,
    body: String,
    mentions: Vec<String>,
}

impl Prepared {
    fn new(request: Append) -> Result<Self, JournalError> {
        let Append { run, expected_head, records, index, .. } = request;
        let head = expected_head.saturating_add(records.len() as u64);
        if head >> POSITION_BITS != 0 {
            return Err(JournalError::Invalid(format!("run `{run}` cannot have {head} records")));
        }
        let updated_at = records.last().map(|record| record.at);
        let prepare = |(position, record): (u64, &Record)| {
            let body = record::encode(record)?;
            let sum = record::sum_of(&run, position, &body);
            Ok(PreparedRecord { position, sum, mentions: Mentions::in_text(&body), body })
        };
        let records = (expected_head + 1..).zip(&records).map(prepare).collect::<Result<_, JournalError>>()?;
        Ok(Self { run, expected_head, head, updated_at, index, records })
    }

    fn append(&self, connection: &Connection) -> Result<u64, Failure> {
        let Some(number) = self.advance(connection)? else {
            let head = "SELECT head FROM runs WHERE id = ?1";
            let found = connection.prepare_cached(head)?.query_row([self.run.as_str()], |row| row.get(0)).optional()?;
            return Err(JournalError::Conflict { expected: self.expected_head, found: found.unwrap_or(0) }.into());
        };
        let mut insert = connection.prepare_cached("INSERT INTO records (place, sum, body) VALUES (?1, ?2, ?3)")?;
        for record in &self.records {
            insert.execute(params![place(number, record.position), record.sum, record.body])?;
            for blob in &record.mentions {
                mention(connection, blob, number)?;
            }
        }
        if let Some(index) = &self.index {
            let sql = "UPDATE runs SET workflow = ?2, status = ?3, started_at = ?4 WHERE number = ?1";
            connection.prepare_cached(sql)?.execute(params![number, index.workflow, index.status, index.started_at.as_millis()])?;
        }
        Ok(self.head)
    }

    /// Moves the run's head if it is the expected one, and gives the run's number.
    fn advance(&self, connection: &Connection) -> rusqlite::Result<Option<i64>> {
        let updated_at = self.updated_at.map(Timestamp::as_millis);
        if self.expected_head == 0 {
            let sql = "INSERT INTO runs (id, head, updated_at) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING RETURNING number";
            let row = params![self.run.as_str(), self.head, updated_at];
            return connection.prepare_cached(sql)?.query_row(row, |row| row.get(0)).optional();
        }
        let sql = "UPDATE runs SET head = ?3, updated_at = coalesce(?4, updated_at) WHERE id = ?1 AND head = ?2 RETURNING number";
        let row = params![self.run.as_str(), self.expected_head, self.head, updated_at];
        connection.prepare_cached(sql)?.query_row(row, |row| row.get(0)).optional()
    }
}

/// The key of a record. The number of a run is far below 2^31, and positions were checked.
fn place(number: i64, position: u64) -> i64 {
    (number << POSITION_BITS) | i64::try_from(position).unwrap_or(0)
}

/// Notes that a run names a blob, if it is one.
fn mention(connection: &Connection, blob: &str, number: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE blobs SET pending = max(pending - 1, 0) WHERE id = ?1";
    if connection.prepare_cached(sql)?.execute([blob])? > 0 {
        let sql = "INSERT INTO mentions (blob, run) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        connection.prepare_cached(sql)?.execute(params![blob, number])?;
    }
    Ok(())
}

fn read(connection: &Connection, path: &Path, run: &RunId, after: u64, limit: usize) -> Result<Page, JournalError> {
    let fault = |error: rusqlite::Error| connection::refused(path, &error);
    // One transaction, so that head and records are of one moment. It ends when it is dropped.
    let _snapshot = connection.unchecked_transaction().map_err(fault)?;
    let found = find(connection, run).map_err(fault)?;
    let (number, head) = found.ok_or_else(|| JournalError::NotFound(run.to_string()))?;
    let last = after.saturating_add(limit.min(limits::JOURNAL_PAGE_RECORDS) as u64).min(head);
    let sql = "SELECT place, sum, body FROM records WHERE place > ?1 AND place <= ?2 ORDER BY place";
    let mut statement = connection.prepare_cached(sql).map_err(fault)?;
    let mut rows = statement.query([place(number, after.min(last)), place(number, last)]).map_err(fault)?;
    let mut records = Vec::new();
    for position in after.saturating_add(1)..=last {
        let row = rows.next().map_err(|error| unreadable(path, run, position, &error))?;
        let row = row.filter(|row| row.get(0).is_ok_and(|there: i64| there == place(number, position)));
        let row = row.ok_or_else(|| record::damaged(run, position, "it is missing"))?;
        records.push(record_of(row, run, position)?);
    }
    if last == head && has_more(connection, number, head).map_err(fault)? {
        return Err(record::damaged(run, head.saturating_add(1), "it lies behind the head of the run"));
    }
    Ok(Page { first: after.saturating_add(1), records, head })
}

/// The number and the head of a run.
fn find(connection: &Connection, run: &RunId) -> rusqlite::Result<Option<(i64, u64)>> {
    let mut statement = connection.prepare_cached("SELECT number, head FROM runs WHERE id = ?1")?;
    statement.query_row([run.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Whether there are records behind the head, which then is damaged.
fn has_more(connection: &Connection, number: i64, head: u64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM records WHERE place > ?1 AND place < ?2)";
    connection.prepare_cached(sql)?.query_row([place(number, head), place(number + 1, 0)], |row| row.get(0))
}

fn record_of(row: &Row<'_>, run: &RunId, position: u64) -> Result<Record, JournalError> {
    let parts = row.get(1).and_then(|sum| Ok((sum, row.get_ref(2)?)));
    let (sum, body) = parts.map_err(|error| record::damaged(run, position, &error.to_string()))?;
    let text = body.as_str().map_err(|error| record::damaged(run, position, &error.to_string()))?;
    record::decode(run, position, sum, text)
}

/// A page of the file that makes no sense is damage of the record that was looked for.
fn unreadable(path: &Path, run: &RunId, position: u64, error: &rusqlite::Error) -> JournalError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => record::damaged(run, position, &error.to_string()),
        _ => connection::refused(path, error),
    }
}

fn list(connection: &Connection, path: &Path, filter: &RunFilter) -> Result<RunPage, JournalError> {
    let fault = |error: rusqlite::Error| connection::refused(path, &error);
    let before = filter.cursor.as_deref().map_or(Ok(Cursor::FIRST), Cursor::parse)?;
    let statuses = (!filter.statuses.is_empty()).then(|| serde_json::json!(filter.statuses).to_string());
    let sql = "
        SELECT number, id, head, updated_at, workflow, status, started_at FROM runs
        WHERE workflow IS NOT NULL AND (?1 IS NULL OR workflow = ?1)
            AND (?2 IS NULL OR status IN (SELECT value FROM json_each(?2)))
            AND (updated_at, number) < (?3, ?4)
        ORDER BY updated_at DESC, number DESC LIMIT ?5";
    let mut statement = connection.prepare_cached(sql).map_err(fault)?;
    let number = i64::try_from(before.number).unwrap_or(i64::MAX);
    // One row more than the page has tells whether there is another page.
    let most = listing::rows_of_page(filter.limit) + 1;
    let mut rows = statement.query(params![filter.workflow, statuses, before.updated_at, number, most]).map_err(fault)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(fault)? {
        found.push(run_row(row).map_err(fault)?);
    }
    Ok(listing::page(found, filter.limit))
}

fn run_row(row: &Row<'_>) -> rusqlite::Result<(Cursor, RunRow)> {
    let id: String = row.get(1)?;
    let run_id = RunId::parse(&id).map_err(|error| FromSqlConversionFailure(1, Type::Text, Box::new(error)))?;
    let updated_at = row.get(3)?;
    let cursor = Cursor { updated_at, number: row.get(0)? };
    let row = RunRow {
        run_id,
        head: row.get(2)?,
        updated_at: Timestamp::from_millis(updated_at),
        index: RunIndex { workflow: row.get(4)?, status: row.get(5)?, started_at: Timestamp::from_millis(row.get(6)?) },
    };
    Ok((cursor, row))
}

fn put_blob(connection: &Connection, id: &BlobId, bytes: &[u8]) -> Result<(), Failure> {
    // Told apart, so that the bytes of a blob that is there are not handed over again.
    let again = "UPDATE blobs SET pending = pending + 1 WHERE id = ?1";
    if connection.prepare_cached(again)?.execute([id.as_str()])? == 0 {
        let sql = "INSERT INTO blobs (id, pending, bytes) VALUES (?1, 1, ?2)";
        connection.prepare_cached(sql)?.execute(params![id.as_str(), bytes])?;
    }
    Ok(())
}

fn get_blob(connection: &Connection, path: &Path, id: &BlobId) -> Result<Arc<[u8]>, JournalError> {
    let fault = |error: rusqlite::Error| connection::refused(path, &error);
    let mut statement = connection.prepare_cached("SELECT bytes FROM blobs WHERE id = ?1").map_err(fault)?;
    let found = statement.query_row([id.as_str()], |row| Ok(Arc::from(row.get_ref(0)?.as_bytes()?))).optional();
    let bytes: Arc<[u8]> = found.map_err(fault)?.ok_or_else(|| JournalError::NotFound(id.as_str().to_owned()))?;
    if BlobId::of(&bytes) != *id {
        return Err(JournalError::Unavailable(format!("blob `{}` is damaged: its bytes do not have its hash", id.as_str())));
    }
    Ok(bytes)
}

fn take_lease(connection: &Connection, request: &LeaseRequest) -> Result<Lease, Failure> {
    let run = request.run.as_str();
    let find = "SELECT lease FROM leases WHERE run = ?1";
    let found = connection.prepare_cached(find)?.query_row([run], |row| row.get::<_, String>(0)).optional()?;
    let damaged = |error| JournalError::Unavailable(format!("the lease of run `{run}` is damaged: {error}"));
    let present = found.map(|text| serde_json::from_str(&text)).transpose().map_err(damaged)?;
    let lease = lease::decide(present, request.clone())?;
    let text = serde_json::to_string(&lease).expect("a lease is text and numbers");
    let sql = "INSERT INTO leases (run, lease) VALUES (?1, ?2) ON CONFLICT (run) DO UPDATE SET lease = excluded.lease";
    connection.prepare_cached(sql)?.execute([run, &text])?;
    Ok(lease)
}

fn delete(connection: &Connection, run: &RunId) -> Result<(), Failure> {
    let Some((number, _)) = find(connection, run)? else { return Err(JournalError::NotFound(run.to_string()).into()) };
    connection.execute("DELETE FROM records WHERE place >= ?1 AND place < ?2", [place(number, 0), place(number + 1, 0)])?;
    connection.execute(
        "DELETE FROM blobs WHERE pending = 0 AND id IN (SELECT blob FROM mentions WHERE run = ?1)
            AND NOT EXISTS (SELECT 1 FROM mentions WHERE blob = blobs.id AND run <> ?1)",
        [number],
    )?;
    connection.execute("DELETE FROM mentions WHERE run = ?1", [number])?;
    connection.execute("DELETE FROM leases WHERE run = ?1", [run.as_str()])?;
    connection.execute("DELETE FROM runs WHERE number = ?1", [number])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use cofferdam_core::event::{Body, RunEvent};
    use cofferdam_core::id::StepPath;
    use cofferdam_core::port::{Owner, RecordBody};
    use futures_util::future::join_all;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    fn run() -> RunId {
        RunId::parse("r").unwrap()
    }

    fn request(expected_head: u64, texts: &[&str]) -> Append {
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
            index: Some(RunIndex { workflow: "w".into(), status: "running".into(), started_at: Timestamp::from_millis(1) }),
            durability: Durability::Durable,
        }
    }

    async fn all(path: &Path) -> Result<Page, JournalError> {
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
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE new (x); PRAGMA user_version = 2").unwrap();
        let too_new = JournalError::TooNew { found: 2, supported: 1 };
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
            for error in [all(&path).await.unwrap_err(), Sqlite::new(&path).append(request(0, &["one"])).await.unwrap_err()] {
                let JournalError::Unavailable(message) = error else { panic!("{path:?}: {error:?}") };
                assert!(message.contains(&path.display().to_string()), "{message}");
            }
        }
        assert!(fs::read(folder.path().join("text.db")).unwrap().starts_with(b"this is a letter"));
    }

    #[tokio::test]
    async fn a_damaged_record_is_an_error_with_its_position() {
        let cases = [
            ("UPDATE records SET body = replace(body, 'two', 'too') WHERE body LIKE '%two%'", 2),
            ("UPDATE records SET body = x'ff' || body WHERE body LIKE '%three%'", 3),
            ("UPDATE records SET sum = sum + 1 WHERE body LIKE '%one%'", 1),
            ("DELETE FROM records WHERE body LIKE '%two%'", 2),
            ("DELETE FROM records WHERE body LIKE '%three%'", 3),
            ("UPDATE runs SET head = 2", 3),
            ("UPDATE records SET body = (SELECT body FROM records ORDER BY place LIMIT 1)", 2),
        ];
        let folder = tempfile::tempdir().unwrap();
        for (number, (sql, wanted)) in cases.into_iter().enumerate() {
            let path = folder.path().join(format!("{number}.db"));
            Sqlite::new(&path).append(request(0, &["one", "two", "three"])).await.unwrap();
            Connection::open(&path).unwrap().execute_batch(&format!("PRAGMA ignore_check_constraints = ON; {sql}")).unwrap();
            match all(&path).await {
                Err(JournalError::Damaged { position, .. }) => assert_eq!(position, wanted, "{sql}"),
                other => panic!("{sql}: {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_record_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        Sqlite::new(&path).append(request(0, &["one"])).await.unwrap();
        let body = r#"{"v":2,"event":{"entirely":"other"}}"#;
        let sum = record::sum_of(&run(), 1, body);
        Connection::open(&path).unwrap().execute("UPDATE records SET sum = ?1, body = ?2", params![sum, body]).unwrap();
        assert_eq!(all(&path).await, Err(JournalError::TooNew { found: 2, supported: 1 }));
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

    /// Damage anywhere is an error or goes unnoticed because nothing was there; it never changes what is read.
    #[tokio::test]
    async fn a_flipped_bit_is_never_read_as_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("runs.db"), folder.path().join("copy.db"));
        let long = "text ".repeat(40_000);
        Sqlite::new(&path).append(request(0, &["one", &long, "three", "four"])).await.unwrap();
        Connection::open(&path).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        let (sound, wanted) = (fs::read(&path).unwrap(), all(&path).await.unwrap());
        let mut refused = 0;
        for step in 0..220 {
            let position = step * sound.len() / 220;
            let mut bytes = sound.clone();
            bytes[position] ^= 1 << (step % 8);
            for beside in ["-wal", "-shm"] {
                let _ = fs::remove_file(folder.path().join(format!("copy.db{beside}")));
            }
            fs::write(&copy, &bytes).unwrap();
            match all(&copy).await {
                Ok(page) => assert_eq!(page.records, wanted.records, "byte {position}"),
                Err(_) => refused += 1,
            }
            // Whatever these say, they say it.
            let journal = Sqlite::new(&copy);
            let _ = journal.list(RunFilter::default()).await;
            let _ = journal.append(request(4, &["five"])).await;
            fs::remove_file(&copy).unwrap();
        }
        assert!(refused > 100, "only {refused} flips were noticed");
    }

    #[tokio::test]
    async fn a_torn_log_loses_whole_appends_at_its_end_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let journal = Sqlite::new(&path);
        for head in 0..10 {
            journal.append(request(head, &["text"])).await.unwrap();
        }
        let wanted = journal.read(&run(), 0, 100).await.unwrap().records;
        let (main, log) = (fs::read(&path).unwrap(), fs::read(folder.path().join("runs.db-wal")).unwrap());
        let mut heads = Vec::new();
        for end in (0..=20).map(|part| part * log.len() / 20) {
            let torn = tempfile::tempdir().unwrap();
            fs::write(torn.path().join("runs.db"), &main).unwrap();
            fs::write(torn.path().join("runs.db-wal"), &log[..end]).unwrap();
            match all(&torn.path().join("runs.db")).await {
                Ok(page) => {
                    assert_eq!(page.records, wanted[..page.records.len()]);
                    heads.push(page.head);
                }
                Err(JournalError::NotFound(_)) => heads.push(0),
                Err(other) => panic!("cut at {end}: {other:?}"),
            }
        }
        assert!(heads.is_sorted(), "{heads:?}");
        assert_eq!(heads.last(), Some(&10));
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
