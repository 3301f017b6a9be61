//! Blobs, and deleting runs with the blobs that only they have.
//!
//! It must not know what blobs hold.

use super::{find, place};
use crate::connection;
use crate::database::Failure;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{BlobId, JournalError};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::Path;
use std::sync::Arc;

pub(super) fn put(connection: &Connection, id: &BlobId, bytes: &[u8]) -> Result<(), Failure> {
    // A blob of this name may hold other bytes: it was damaged, and these are the right ones.
    let sql = "INSERT INTO blobs (id, pending, bytes) VALUES (?1, 1, ?2)
        ON CONFLICT (id) DO UPDATE SET pending = pending + 1, bytes = excluded.bytes";
    connection.prepare_cached(sql)?.execute(params![id.as_str(), bytes])?;
    Ok(())
}

pub(super) fn get(connection: &Connection, path: &Path, id: &BlobId) -> Result<Arc<[u8]>, JournalError> {
    let fault = |error: rusqlite::Error| connection::refused(path, &error);
    let mut statement = connection.prepare_cached("SELECT bytes FROM blobs WHERE id = ?1").map_err(fault)?;
    let found = statement.query_row([id.as_str()], |row| Ok(Arc::from(row.get_ref(0)?.as_bytes()?))).optional();
    let bytes: Arc<[u8]> = found.map_err(fault)?.ok_or_else(|| JournalError::NotFound(id.as_str().to_owned()))?;
    if BlobId::of(&bytes) != *id {
        return Err(JournalError::Unavailable(format!(
            "blob `{}` is damaged: its bytes do not have its hash",
            id.as_str()
        )));
    }
    Ok(bytes)
}

pub(super) fn delete(connection: &Connection, run: &RunId) -> Result<(), Failure> {
    let Some((number, _)) = find(connection, run)? else { return Err(JournalError::NotFound(run.to_string()).into()) };
    connection.execute(
        "DELETE FROM records WHERE place >= ?1 AND place < ?2",
        [place(number, 0), place(number.saturating_add(1), 0)],
    )?;
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
