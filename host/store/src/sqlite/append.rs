//! Writing records behind the head of a run.
//!
//! It must not commit: the caller's transaction does.

use super::row::Row;
use super::{POSITION_BITS, find, place};
use crate::database::Failure;
use crate::mention::Mentions;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{Append, JournalError, RunIndex};
use cofferdam_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

/// An append as it will be written; made before the writer's thread is asked.
pub(super) struct Prepared {
    run: RunId,
    expected_head: u64,
    head: u64,
    updated_at: Option<Timestamp>,
    index: Option<RunIndex>,
    rows: Vec<Row>,
    mentions: Vec<String>,
}

impl Prepared {
    pub(super) fn new(request: Append) -> Result<Self, JournalError> {
        let Append { run, expected_head, records, index, .. } = request;
        let head = expected_head.saturating_add(records.len() as u64);
        if head >> POSITION_BITS != 0 {
            return Err(JournalError::Invalid(format!("run `{run}` cannot have {head} records")));
        }
        let updated_at = records.last().map(|record| record.at);
        let rows = Row::all(&run, expected_head, &records)?;
        let mentions = rows.iter().flat_map(Row::texts).flat_map(Mentions::of_record).collect();
        Ok(Self { run, expected_head, head, updated_at, index, rows, mentions })
    }

    pub(super) fn append(&self, connection: &Connection) -> Result<u64, Failure> {
        let number = self.advance(connection)?;
        let mut insert = connection.prepare_cached("INSERT INTO records (place, sum, body) VALUES (?1, ?2, ?3)")?;
        for row in &self.rows {
            insert.execute(params![place(number, row.first), row.sum, row.body])?;
        }
        for blob in &self.mentions {
            mention(connection, blob, number)?;
        }
        if let Some(index) = &self.index {
            let sql = "UPDATE runs SET workflow = ?2, status = ?3, started_at = ?4 WHERE number = ?1";
            connection.prepare_cached(sql)?.execute(params![
                number,
                index.workflow,
                index.status,
                index.started_at.as_millis()
            ])?;
        }
        Ok(self.head)
    }

    /// Moves the run's head if it is the expected one, and gives the run's number.
    fn advance(&self, connection: &Connection) -> Result<i64, Failure> {
        let updated_at = self.updated_at.map(Timestamp::as_millis);
        let conflict = |found| Failure::from(JournalError::Conflict { expected: self.expected_head, found });
        if self.expected_head == 0 {
            let sql = "INSERT INTO runs (id, head, updated_at) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING RETURNING number";
            let row = params![self.run.as_str(), self.head, updated_at];
            let number = connection.prepare_cached(sql)?.query_row(row, |row| row.get(0)).optional()?;
            return match number {
                Some(number) => Ok(number),
                None => Err(conflict(find(connection, &self.run)?.map_or(0, |(_, head)| head))),
            };
        }
        let (number, head) = find(connection, &self.run)?.ok_or_else(|| conflict(0))?;
        if head != self.expected_head {
            return Err(conflict(head));
        }
        let sql = "UPDATE runs SET head = ?2, updated_at = coalesce(?3, updated_at) WHERE number = ?1";
        connection.prepare_cached(sql)?.execute(params![number, self.head, updated_at])?;
        Ok(number)
    }
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
