//! Reading the records of a run, and telling damage from absence.
//!
//! It must not leave a record out: what cannot be read is an error with its position.

use super::{find, place};
use crate::connection;
use cofferdam_core::event::RunEvent;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, Page, Record};
use cofferdam_core::record;
use rusqlite::{Connection, ErrorCode, Row};
use std::path::Path;
use std::sync::Arc;

pub(super) fn read(
    connection: &Connection,
    path: &Path,
    run: &RunId,
    after: u64,
    limit: usize,
) -> Result<Page, JournalError> {
    let fault = |error: rusqlite::Error| connection::refused(path, &error);
    // One transaction, so that head and records are of one moment. It ends when it is dropped.
    let _snapshot = connection.unchecked_transaction().map_err(fault)?;
    let found = find(connection, run).map_err(fault)?;
    let (number, head) = found.ok_or_else(|| JournalError::NotFound(run.to_string()))?;
    let last = after.saturating_add(limit.min(limits::JOURNAL_PAGE_RECORDS) as u64).min(head);
    let sql = "SELECT place, sum, body FROM records WHERE place > ?1 AND place <= ?2 ORDER BY place";
    let mut statement = connection.prepare_cached(sql).map_err(fault)?;
    let mut rows = statement.query([place(number, after.min(last)), place(number, last)]).map_err(fault)?;
    let mut records: Vec<Record> = Vec::new();
    for position in after.saturating_add(1)..=last {
        let row = rows.next().map_err(|error| unreadable(path, run, position, &error))?;
        let row = row.filter(|row| row.get(0).is_ok_and(|there: i64| there == place(number, position)));
        let row = row.ok_or_else(|| record::damaged(run, position, "it is missing"))?;
        let record = record_of(row, run, position, || match records.last() {
            Some(record) => Ok(record.event().cloned()),
            None => event_at(connection, path, run, (number, after)),
        })?;
        records.push(record);
    }
    if last == head && has_more(connection, number, head).map_err(fault)? {
        return Err(record::damaged(run, head.saturating_add(1), "it lies behind the head of the run"));
    }
    Ok(Page { first: after.saturating_add(1), records, head })
}

/// Whether there are records behind the head, which then is damaged.
fn has_more(connection: &Connection, number: i64, head: u64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM records WHERE place > ?1 AND place < ?2)";
    connection
        .prepare_cached(sql)?
        .query_row([place(number, head), place(number.saturating_add(1), 0)], |row| row.get(0))
}

/// The event at a position that has no part in the one before it.
fn event_at(
    connection: &Connection,
    path: &Path,
    run: &RunId,
    (number, position): (i64, u64),
) -> Result<Option<Arc<RunEvent>>, JournalError> {
    let fault = |error: rusqlite::Error| connection::refused(path, &error);
    let sql = "SELECT place, sum, body FROM records WHERE place = ?1";
    let mut statement = connection.prepare_cached(sql).map_err(fault)?;
    let mut rows = statement.query([place(number, position)]).map_err(fault)?;
    let row = rows.next().map_err(|error| unreadable(path, run, position, &error))?;
    let row = row.ok_or_else(|| record::damaged(run, position, "it is missing"))?;
    Ok(record_of(row, run, position, || Ok(None))?.event().cloned())
}

fn record_of(
    row: &Row<'_>,
    run: &RunId,
    position: u64,
    before: impl FnOnce() -> Result<Option<Arc<RunEvent>>, JournalError>,
) -> Result<Record, JournalError> {
    let parts = row.get(1).and_then(|sum| Ok((sum, row.get_ref(2)?)));
    let (sum, body) = parts.map_err(|error| record::damaged(run, position, &error.to_string()))?;
    let text = body.as_str().map_err(|error| record::damaged(run, position, &error.to_string()))?;
    record::decode((run, position), (sum, text), before)
}

/// A page of the file that makes no sense is damage of the record that was looked for.
fn unreadable(path: &Path, run: &RunId, position: u64, error: &rusqlite::Error) -> JournalError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => record::damaged(run, position, &error.to_string()),
        _ => connection::refused(path, error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{all, request, run};
    use super::*;
    use crate::Sqlite;
    use cofferdam_core::port::{Journal as _, RunFilter};
    use rusqlite::params;
    use std::fs;

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
            Connection::open(&path)
                .unwrap()
                .execute_batch(&format!("PRAGMA ignore_check_constraints = ON; {sql}"))
                .unwrap();
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
        let body = r#"{"v":3,"event":{"entirely":"other"}}"#;
        let sum = record::sum_of(&run(), 1, body);
        Connection::open(&path).unwrap().execute("UPDATE records SET sum = ?1, body = ?2", params![sum, body]).unwrap();
        assert_eq!(all(&path).await, Err(JournalError::TooNew { found: 3, supported: 2 }));
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
}
