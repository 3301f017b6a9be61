//! Reading the records of a run, and telling damage from absence.
//!
//! It must not leave a record out: what cannot be read is an error with its position.

use super::{find, place, row};
use crate::connection;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, Page};
use cofferdam_core::record;
use rusqlite::{Connection, ErrorCode, Row};
use std::path::Path;

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
    let mut records = Vec::new();
    let mut next = after.saturating_add(1);
    let begin = begin_of(connection, number, next.min(last)).map_err(fault)?;
    let sql = "SELECT place, sum, body FROM records WHERE place >= ?1 AND place <= ?2 ORDER BY place";
    let mut statement = connection.prepare_cached(sql).map_err(fault)?;
    let mut rows = statement.query([begin, place(number, last)]).map_err(fault)?;
    while next <= last {
        let row = rows.next().map_err(|error| unreadable(path, run, next, &error))?;
        let row = row.ok_or_else(|| record::damaged(run, next, "it is missing"))?;
        let first = first_of(row, number, next).ok_or_else(|| record::damaged(run, next, "it is missing"))?;
        let (sum, body) = parts(row).map_err(|error| record::damaged(run, first, &error.to_string()))?;
        row::read(run, (first, sum, body), |position, record| {
            if position > head {
                return Err(behind(run, head));
            }
            if position == next && position <= last {
                records.push(record);
                next += 1;
            }
            Ok(())
        })?;
    }
    if last == head && has_more(connection, number, head).map_err(fault)? {
        return Err(behind(run, head));
    }
    Ok(Page { first: after.saturating_add(1), records, head })
}

/// Where the row begins that has a record, if one has.
fn begin_of(connection: &Connection, number: i64, position: u64) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(max(place), ?1) FROM records WHERE place >= ?1 AND place <= ?2";
    connection.prepare_cached(sql)?.query_row([place(number, 0), place(number, position)], |row| row.get(0))
}

/// The position of a row's first record, unless that lies behind `next`: what is between them is missing then.
fn first_of(row: &Row<'_>, number: i64, next: u64) -> Option<u64> {
    let there: i64 = row.get(0).ok()?;
    u64::try_from(there.checked_sub(place(number, 0))?).ok().filter(|first| *first <= next)
}

fn parts<'row>(row: &'row Row<'_>) -> rusqlite::Result<(i64, &'row str)> {
    Ok((row.get(1)?, row.get_ref(2)?.as_str()?))
}

/// Whether there are records behind the head, which then is damaged.
fn has_more(connection: &Connection, number: i64, head: u64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM records WHERE place > ?1 AND place < ?2)";
    connection
        .prepare_cached(sql)?
        .query_row([place(number, head), place(number.saturating_add(1), 0)], |row| row.get(0))
}

fn behind(run: &RunId, head: u64) -> JournalError {
    record::damaged(run, head.saturating_add(1), "it lies behind the head of the run")
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
        // What is named where the three came one by one, and where they came together.
        let cases = [
            ("UPDATE records SET body = replace(body, 'two', 'too') WHERE body LIKE '%two%'", [2, 2]),
            ("UPDATE records SET body = x'ff' || body WHERE body LIKE '%three%'", [3, 1]),
            ("UPDATE records SET sum = sum + 1 WHERE body LIKE '%one%'", [1, 1]),
            ("DELETE FROM records WHERE body LIKE '%two%'", [2, 1]),
            ("DELETE FROM records WHERE body LIKE '%three%'", [3, 1]),
            ("UPDATE runs SET head = 2", [3, 3]),
            ("UPDATE records SET body = (SELECT body FROM records ORDER BY place LIMIT 1) || char(10)", [2, 4]),
            ("UPDATE records SET body = body || char(10) || body", [2, 4]),
            (
                "UPDATE records SET body = rtrim(body, 'abcdefghijklmnopqrstuvwxyz:{}\",0123456789') WHERE body LIKE '%three%'",
                [3, 3],
            ),
        ];
        let folder = tempfile::tempdir().unwrap();
        for (number, (sql, wanted)) in cases.into_iter().enumerate() {
            for (appends, wanted) in
                [&[&["one"][..], &["two"], &["three"]][..], &[&["one", "two", "three"]]].into_iter().zip(wanted)
            {
                let path = folder.path().join(format!("{number}-{}.db", appends.len()));
                let mut head = 0;
                for texts in appends {
                    head = Sqlite::new(&path).append(request(head, texts)).await.unwrap();
                }
                let damage = format!("PRAGMA ignore_check_constraints = ON; {sql}");
                Connection::open(&path).unwrap().execute_batch(&damage).unwrap();
                match all(&path).await {
                    Err(JournalError::Damaged { position, .. }) => assert_eq!(position, wanted, "{sql}"),
                    other => panic!("{sql}: {other:?}"),
                }
            }
        }
    }

    /// Pages of any size from any place are what was written, whatever the appends were.
    #[tokio::test]
    async fn a_page_begins_and_ends_inside_of_an_append() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let journal = Sqlite::new(&path);
        let mut head = 0;
        for texts in [&["a"][..], &["b", "c", "d"], &["e", "f"], &["g", "h", "i", "j"]] {
            head = journal.append(request(head, texts)).await.unwrap();
        }
        let wanted = all(&path).await.unwrap().records;
        assert_eq!(wanted.len(), 10);
        for after in 0..=11 {
            for limit in 0..=11 {
                let page = journal.read(&run(), after as u64, limit).await.unwrap();
                let end = (after + limit).min(10);
                assert_eq!(page.records, wanted[after.min(end)..end], "{limit} after {after}");
                assert_eq!((page.first, page.head), (after as u64 + 1, 10));
            }
        }
    }

    #[tokio::test]
    async fn an_append_of_large_records_is_several_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        let large = "x".repeat(limits::SQLITE_STORE_ROW_BYTES / 2);
        let wanted = request(0, &[&large, &large, "small", &large, &large]).records;
        Sqlite::new(&path).append(request(0, &[&large, &large, "small", &large, &large])).await.unwrap();
        assert_eq!(all(&path).await.unwrap().records, wanted);
        let rows = "SELECT count(*) FROM records";
        assert_eq!(Connection::open(&path).unwrap().query_row(rows, [], |row| row.get(0)), Ok(4));
    }

    #[tokio::test]
    async fn a_store_of_the_first_version_is_read_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        for (head, text) in ["one", "two"].into_iter().enumerate() {
            Sqlite::new(&path).append(request(head as u64, &[text])).await.unwrap();
        }
        let version = |path: &Path| {
            let connection = Connection::open(path).unwrap();
            connection.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0)).unwrap()
        };
        // Each of its records is a row, as here.
        Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
        assert_eq!(all(&path).await.unwrap().records.len(), 2);
        assert_eq!(version(&path), 1, "reading changes nothing");
        Sqlite::new(&path).append(request(2, &["three", "four"])).await.unwrap();
        assert_eq!(version(&path), 2);
        assert_eq!(all(&path).await.unwrap().records, request(0, &["one", "two", "three", "four"]).records);
    }

    #[tokio::test]
    async fn a_record_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.db");
        Sqlite::new(&path).append(request(0, &["one"])).await.unwrap();
        let body = r#"{"v":4,"event":{"entirely":"other"}}"#;
        let sum = record::sum_of(&run(), 1, body);
        Connection::open(&path).unwrap().execute("UPDATE records SET sum = ?1, body = ?2", params![sum, body]).unwrap();
        assert_eq!(all(&path).await, Err(JournalError::TooNew { found: 4, supported: 3 }));
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
