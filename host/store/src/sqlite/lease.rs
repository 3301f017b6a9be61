//! The leases of runs, one row each.
//!
//! It must not decide who gets one.

use crate::connection;
use crate::database::Failure;
use crate::lease::decide;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{JournalError, Lease, LeaseRequest};
use rusqlite::{Connection, OptionalExtension as _};
use std::path::Path;

/// Takes or renews a lease.
pub(super) fn take(connection: &Connection, path: &Path, request: &LeaseRequest) -> Result<Lease, Failure> {
    let run = &request.run;
    let present = find(connection, run)?.map(|text| parse(&text, path, run)).transpose()?;
    let lease = decide(present, request)?;
    let text = serde_json::to_string(&lease).expect("a lease is text and numbers");
    let sql = "INSERT INTO leases (run, lease) VALUES (?1, ?2) ON CONFLICT (run) DO UPDATE SET lease = excluded.lease";
    connection.prepare_cached(sql)?.execute([run.as_str(), &text])?;
    Ok(lease)
}

/// The lease that is there.
pub(super) fn present(connection: &Connection, path: &Path, run: &RunId) -> Result<Option<Lease>, JournalError> {
    let found = find(connection, run).map_err(|error| connection::refused(path, &error))?;
    found.map(|text| parse(&text, path, run)).transpose()
}

fn find(connection: &Connection, run: &RunId) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT lease FROM leases WHERE run = ?1";
    connection.prepare_cached(sql)?.query_row([run.as_str()], |row| row.get(0)).optional()
}

fn parse(text: &str, path: &Path, run: &RunId) -> Result<Lease, JournalError> {
    serde_json::from_str(text).map_err(|error| {
        let path = path.display();
        JournalError::Unavailable(format!("the lease of run `{run}` in `{path}` is damaged: {error}"))
    })
}
