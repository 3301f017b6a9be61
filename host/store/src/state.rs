//! Small values in an SQLite file.
//!
//! It must not know how the file is opened or when a commit happens.

use crate::connection::{self, Schema};
use crate::database::{Database, Failure};
use crate::entry::{self, Held};
use cofferdam_core::port::{BoxFuture, Durability, JournalError, Put, PutOne, Puts, State, StateEntry};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The tables. Versions come from one counter, so that a key that was deleted and comes back has a new one.
const SCHEMA: Schema = Schema {
    version: 1,
    create: "
        CREATE TABLE entries (
            namespace TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY (namespace, key)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE counter (last INTEGER NOT NULL) STRICT;
        INSERT INTO counter (last) VALUES (0);
    ",
};

/// Keeps values in a file, which is made with its directory when the first of them is written.
pub struct StateStore {
    database: Database,
}

impl StateStore {
    /// A store in the file at `path`. Nothing is opened.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { database: Database::new(path.into(), SCHEMA) }
    }
}

impl State for StateStore {
    fn prepare(&self) {
        self.database.prepare();
    }

    fn get<'a>(&'a self, namespace: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<StateEntry>, JournalError>> {
        let (namespace, key) = (namespace.to_owned(), key.to_owned());
        Box::pin(self.database.read(move |connection, path| match connection {
            Some(connection) => get(connection, &namespace, key).map_err(|error| connection::refused(path, &error)),
            None => Ok(None),
        }))
    }

    fn put_if(&self, put: Put) -> BoxFuture<'_, Result<u64, JournalError>> {
        Box::pin(async move {
            entry::check(&put)?;
            self.database.write(Durability::Durable, move |connection| put_if(connection, &put)).await
        })
    }

    fn put_all(&self, puts: Puts) -> BoxFuture<'_, Result<Vec<u64>, JournalError>> {
        Box::pin(async move {
            entry::check_all(&puts)?;
            self.database.write(Durability::Durable, move |connection| put_all(connection, &puts)).await
        })
    }

    fn clear<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, JournalError>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            // Writing would make the file.
            if !self.database.read(|connection, _| Ok(connection.is_some())).await? {
                return Ok(0);
            }
            self.database.write(Durability::Durable, move |connection| clear(connection, &prefix)).await
        })
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StateEntry>, JournalError>> {
        let scan = Scan {
            namespace: namespace.to_owned(),
            prefix: prefix.to_owned(),
            after: after.map(str::to_owned),
            limit: entry::entries_of_scan(limit),
        };
        Box::pin(self.database.read(move |connection, path| scan.run(connection, path)))
    }
}

fn get(connection: &Connection, namespace: &str, key: String) -> rusqlite::Result<Option<StateEntry>> {
    let sql = "SELECT version, value FROM entries WHERE namespace = ?1 AND key = ?2";
    let found = connection
        .prepare_cached(sql)?
        .query_row([namespace, &key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.map(|(version, value): (u64, Arc<[u8]>)| StateEntry { key, value, version }))
}

fn put_if(connection: &Connection, put: &Put) -> Result<u64, Failure> {
    let key = [&put.namespace, &put.key];
    let sql = "SELECT version FROM entries WHERE namespace = ?1 AND key = ?2";
    let found = connection.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?;
    entry::check_version(put.expected, found.unwrap_or(0))?;
    let Some(value) = &put.value else {
        connection.prepare_cached("DELETE FROM entries WHERE namespace = ?1 AND key = ?2")?.execute(key)?;
        return Ok(0);
    };
    let count = "UPDATE counter SET last = last + 1 RETURNING last";
    let version: u64 = connection.prepare_cached(count)?.query_row([], |row| row.get(0))?;
    let sql = "INSERT INTO entries (namespace, key, version, value) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (namespace, key) DO UPDATE SET version = excluded.version, value = excluded.value";
    connection.prepare_cached(sql)?.execute(params![put.namespace, put.key, version, &**value])?;
    Ok(version)
}

/// Looks at everything first: what is refused has changed nothing.
fn put_all(connection: &Connection, puts: &Puts) -> Result<Vec<u64>, Failure> {
    let counted = entry::counted(puts.quota);
    let sql = "SELECT COUNT(*), COALESCE(SUM(LENGTH(CAST(key AS BLOB)) + LENGTH(value)), 0) FROM entries
        WHERE namespace = ?1 AND substr(key, 1, length(?2)) = ?2";
    let before = connection
        .prepare_cached(sql)?
        .query_row([&*puts.namespace, counted], |row| Ok(Held { entries: row.get(0)?, bytes: row.get(1)? }))?;
    let mut held = before;
    let sql = "SELECT version, LENGTH(value) FROM entries WHERE namespace = ?1 AND key = ?2";
    for write in &puts.writes {
        let found: Option<(u64, usize)> = connection
            .prepare_cached(sql)?
            .query_row([&puts.namespace, &write.key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        entry::check_version(write.expected, found.map_or(0, |(version, _)| version))?;
        if write.key.starts_with(counted) {
            held.write(&write.key, found.map(|(_, bytes)| bytes), write.value.as_ref().map(|value| value.len()));
        }
    }
    held.check(before, puts.quota)?;
    let put = |write: &PutOne| Put {
        namespace: puts.namespace.clone(),
        key: write.key.clone(),
        value: write.value.clone(),
        expected: None,
    };
    puts.writes.iter().map(|write| put_if(connection, &put(write))).collect()
}

fn clear(connection: &Connection, prefix: &str) -> Result<u64, Failure> {
    let sql = "DELETE FROM entries WHERE substr(namespace, 1, ?1) = ?2";
    let length = i64::try_from(prefix.chars().count()).unwrap_or(i64::MAX);
    let cleared = connection.prepare_cached(sql)?.execute(params![length, prefix])?;
    Ok(cleared as u64)
}

struct Scan {
    namespace: String,
    prefix: String,
    after: Option<String>,
    limit: usize,
}

impl Scan {
    fn run(&self, connection: Option<&Connection>, path: &Path) -> Result<Vec<StateEntry>, JournalError> {
        match connection {
            Some(connection) => self.entries(connection).map_err(|error| connection::refused(path, &error)),
            None => Ok(Vec::new()),
        }
    }

    fn entries(&self, connection: &Connection) -> rusqlite::Result<Vec<StateEntry>> {
        let sql = "SELECT key, version, value FROM entries
            WHERE namespace = ?1 AND key >= ?2 AND (?3 IS NULL OR key > ?3) ORDER BY key";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![self.namespace, self.prefix, self.after])?;
        let mut found = Vec::new();
        while found.len() < self.limit {
            let Some(row) = rows.next()? else { break };
            let entry = StateEntry { key: row.get(0)?, version: row.get(1)?, value: row.get(2)? };
            // Keys are ordered by their bytes: behind the first that does not begin so, none does.
            if !entry.key.starts_with(&self.prefix) {
                break;
            }
            found.push(entry);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn the_state_in_a_file_holds_all_laws() {
        let folder = tempfile::tempdir().unwrap();
        let files = AtomicU32::new(0);
        let make = || -> Arc<dyn State> {
            let name = format!("{}.db", files.fetch_add(1, Ordering::Relaxed));
            Arc::new(StateStore::new(folder.path().join("state").join(name)))
        };
        contract::state(make).await.unwrap();
    }

    #[tokio::test]
    async fn values_outlive_their_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let put = Put { namespace: "n".into(), key: "k".into(), value: Some(Arc::from(&b"v"[..])), expected: None };
        let version = StateStore::new(&path).put_if(put).await.unwrap();
        let entry = StateStore::new(&path).get("n", "k").await.unwrap().unwrap();
        assert_eq!((entry.version, &*entry.value), (version, &b"v"[..]));
    }

    #[tokio::test]
    async fn reading_makes_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none").join("state.db");
        assert_eq!(StateStore::new(&path).get("n", "k").await, Ok(None));
        assert!(!path.parent().unwrap().exists());
    }
}
