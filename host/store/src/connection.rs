//! Opens the SQLite files of the stores: where they are made, what they must contain, how they write.
//!
//! It must not know what the tables are for. A file is opened when it is first needed, and a file that nobody
//! wrote to is not made.

use crate::directory;
use cofferdam_core::limits;
use cofferdam_core::port::{Durability, JournalError};
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What a file must contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema {
    /// The version that is made, and the newest that is read.
    pub(crate) version: u32,
    /// The statements that make it.
    pub(crate) create: &'static str,
}

/// A connection that writes.
pub(crate) struct Writer {
    /// The connection.
    pub(crate) connection: Connection,
    durability: Option<Durability>,
}

impl Writer {
    /// Opens the file, and makes it and its directory when they are missing.
    pub(crate) fn open(path: &Path, schema: Schema) -> Result<Self, JournalError> {
        if !path.exists() {
            make_file(path, schema)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened =
            Connection::open_with_flags(path, flags).and_then(|connection| prepare(&connection).map(|()| connection));
        let mut connection = opened.map_err(|error| refused(path, &error))?;
        let is_empty = check(&connection, path, schema)? == Content::Empty;
        let is_made = is_empty && make_tables(&mut connection, path, schema)?;
        write_ahead(&connection).and_then(|()| raise(&connection, schema)).map_err(|error| refused(path, &error))?;
        if is_made {
            flush(path).map_err(|error| unavailable(path, &error))?;
        }
        Ok(Self { connection, durability: None })
    }

    /// Says what the next commits wait for.
    pub(crate) fn set_durability(&mut self, durability: Durability) -> rusqlite::Result<()> {
        if self.durability == Some(durability) {
            return Ok(());
        }
        // With a write-ahead log, FULL flushes it at each commit and NORMAL only before it is copied back.
        self.connection.execute_batch(match durability {
            Durability::Durable => "PRAGMA synchronous = FULL",
            Durability::Written => "PRAGMA synchronous = NORMAL",
        })?;
        self.durability = Some(durability);
        Ok(())
    }
}

/// Opens the file for reading; none when nothing was written yet.
pub(crate) fn open_for_reading(path: &Path, schema: Schema) -> Result<Option<Connection>, JournalError> {
    if !path.exists() {
        return Ok(None);
    }
    // A reader of a write-ahead log writes to the file of locks beside it.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened =
        Connection::open_with_flags(path, flags).and_then(|connection| prepare(&connection).map(|()| connection));
    let connection = opened.map_err(|error| refused(path, &error))?;
    match check(&connection, path, schema)? {
        Content::Empty => Ok(None),
        Content::Present => Ok(Some(connection)),
    }
}

/// What a caller is told when SQLite refuses.
pub(crate) fn refused(path: &Path, error: &rusqlite::Error) -> JournalError {
    let what = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "is held by another process (go on when that one is done with it, or end it)"
        }
        Some(ErrorCode::DatabaseCorrupt) => "is damaged",
        Some(ErrorCode::NotADatabase) => "is not a store, or is damaged",
        Some(ErrorCode::DiskFull) => "cannot be written: the disk is full",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => "cannot be written",
        _ => "cannot be used",
    };
    let message = format!("the store `{}` {what}: {error}", path.display());
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => JournalError::Full(message),
        _ => JournalError::Unavailable(message),
    }
}

fn unavailable(path: &Path, error: &io::Error) -> JournalError {
    let message = format!("the store `{}` cannot be made: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JournalError::Full(message),
        _ => JournalError::Unavailable(message),
    }
}

/// Whether a file has tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Empty,
    Present,
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_millis(limits::STORE_BUSY_MS))?;
    // What stands in a damaged or foreign file is data, never code, and a page that makes no sense is an error.
    connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")
}

fn check(connection: &Connection, path: &Path, schema: Schema) -> Result<Content, JournalError> {
    let ask = |sql| connection.query_row(sql, [], |row| row.get::<_, u32>(0)).map_err(|error| refused(path, &error));
    // In this order: tables and version come in one transaction of another process, so that whoever sees the tables
    // sees the version after them.
    if ask("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(Content::Empty);
    }
    match ask("PRAGMA user_version")? {
        0 => Err(JournalError::Unavailable(format!("`{}` is a database of another program", path.display()))),
        found if found > schema.version => Err(JournalError::TooNew { found, supported: schema.version }),
        _ => Ok(Content::Present),
    }
}

/// How long to wait before asking again for a file that others hold.
const RETRY: Duration = Duration::from_millis(5);

/// Switches to a write-ahead log. That takes the file alone for a moment, and unlike a commit it does not wait for
/// others by itself.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let busy = |error: &rusqlite::Error| {
        matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
    };
    let deadline = Instant::now() + Duration::from_millis(limits::STORE_BUSY_MS);
    loop {
        match connection.execute_batch("PRAGMA journal_mode = WAL") {
            Err(error) if busy(&error) && Instant::now() < deadline => thread::sleep(RETRY),
            outcome => return outcome,
        }
    }
}

/// Marks a store of an older version as one of this: what is written from now on, older programs do not read.
fn raise(connection: &Connection, schema: Schema) -> rusqlite::Result<()> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found < schema.version {
        connection.execute_batch(&format!("PRAGMA user_version = {}", schema.version))?;
    }
    Ok(())
}

/// Makes the tables unless another process was faster; says which. Nothing is flushed on the way, only the finished
/// file: one flush instead of six. A file that a power cut left half made holds nothing that anybody was promised.
fn make_tables(connection: &mut Connection, path: &Path, schema: Schema) -> Result<bool, JournalError> {
    let fault = |error: rusqlite::Error| refused(path, &error);
    connection.execute_batch("PRAGMA synchronous = OFF").map_err(fault)?;
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate).map_err(fault)?;
    if check(&transaction, path, schema)? == Content::Present {
        return Ok(false);
    }
    let sql = format!("{} PRAGMA user_version = {};", schema.create, schema.version);
    transaction.execute_batch(&sql).and_then(|()| transaction.commit()).map_err(fault)?;
    Ok(true)
}

/// Makes sure that a finished file is on the disk, under its name.
fn flush(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    directory_of(path).map_or(Ok(()), directory::flush)
}

fn directory_of(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty())
}

/// Makes a file for its owner alone, and its directory likewise. It gets its name when it is finished and on the disk:
/// a power cut leaves all of it or nothing. Where a file cannot have two names an empty one is made.
fn make_file(path: &Path, schema: Schema) -> Result<(), JournalError> {
    directory_of(path).map_or(Ok(()), directory::make).map_err(|error| unavailable(path, &error))?;
    if with_ending(path, "-wal").exists() {
        // What a file that was removed left beside it: SQLite takes it away where the new one is empty, and else would take it
        // for the log of that.
        return make_empty(path);
    }
    let draft = loop {
        let draft = draft_of(path);
        // A process that died may have left one with the same name.
        if directory::make_new(&draft).map_err(|error| unavailable(path, &error))?.is_some() {
            break draft;
        }
    };
    let named = make_draft(&draft, path, schema).map(|()| fs::hard_link(&draft, path));
    // What is left of it is of no use to anybody.
    for ending in ["", "-journal", "-wal", "-shm"] {
        let _ = fs::remove_file(with_ending(&draft, ending));
    }
    match named? {
        Ok(()) => directory_of(path).map_or(Ok(()), directory::flush).map_err(|error| unavailable(path, &error)),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => make_empty(path),
    }
}

/// Makes an empty file, unless another process was faster.
fn make_empty(path: &Path) -> Result<(), JournalError> {
    directory::make_new(path).map(drop).map_err(|error| unavailable(path, &error))
}

/// Makes an empty file one with tables, and makes sure that it is on the disk. What fails is told of the name that it will have.
fn make_draft(draft: &Path, path: &Path, schema: Schema) -> Result<(), JournalError> {
    let unmade = |error: io::Error| unavailable(path, &error);
    let fault = |error: rusqlite::Error| refused(path, &error);
    let mut connection = Connection::open(draft).map_err(fault)?;
    prepare(&connection).map_err(fault)?;
    make_tables(&mut connection, path, schema)?;
    write_ahead(&connection).map_err(fault)?;
    connection.close().map_err(|(_, error)| fault(error))?;
    File::open(draft).and_then(|file| file.sync_all()).map_err(unmade)
}

/// A name that no other maker in this process has.
fn draft_of(path: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    with_ending(path, &format!(".new-{}-{number}", std::process::id()))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    const SCHEMA: Schema = Schema { version: 1, create: "CREATE TABLE words (word TEXT) STRICT;" };

    #[test]
    fn a_full_disk_is_told_from_other_faults() {
        let told = |code| {
            let fault = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            refused(Path::new("f"), &fault)
        };
        assert!(matches!(told(ffi::SQLITE_FULL), JournalError::Full(said) if said.contains("`f`")));
        assert!(matches!(unavailable(Path::new("f"), &io::Error::from_raw_os_error(28)), JournalError::Full(_)));
        assert!(matches!(told(ffi::SQLITE_IOERR), JournalError::Unavailable(_)));
        assert!(matches!(told(ffi::SQLITE_BUSY), JournalError::Unavailable(said) if said.contains("go on when")));
    }

    #[test]
    fn a_store_gets_its_name_when_it_is_finished_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("words.db");
        // What somebody left who was killed while he made it.
        directory::make(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        for _ in 0..2 {
            let writer = Writer::open(&path, SCHEMA).unwrap();
            writer.connection.execute("INSERT INTO words VALUES ('a')", []).unwrap();
            drop(writer);
            let names = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<_> = names.collect();
            names.sort();
            assert_eq!(names, [".gitignore", "words.db"]);
            fs::remove_file(&path).unwrap();
        }
    }
}
