//! The rows of listings.
//!
//! It must not know the order of a listing better than its cursor does.

use crate::connection;
use crate::listing::{self, Cursor};
use cofferdam_core::id::RunId;
use cofferdam_core::port::{JournalError, RunFilter, RunIndex, RunPage, RunRow};
use cofferdam_core::time::Timestamp;
use rusqlite::Error::FromSqlConversionFailure;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};
use std::path::Path;

pub(super) fn list(connection: &Connection, path: &Path, filter: &RunFilter) -> Result<RunPage, JournalError> {
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
    let mut rows =
        statement.query(params![filter.workflow, statuses, before.updated_at, number, most]).map_err(fault)?;
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
