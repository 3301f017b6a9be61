//! The rows of listings, each from the end of a run's file.
//!
//! One run that cannot be read keeps nobody from the others: it is shown as damaged. It must not read records.

use super::fault::refused;
use super::places::{Places, run_of_file};
use super::tail;
use crate::listing;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{JournalError, RunFilter, RunIndex, RunPage, RunRow};
use cofferdam_core::time::Timestamp;
use std::cmp::Reverse;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// The status of a run that cannot be read.
const DAMAGED: &str = "damaged";

/// A run's place in listings: the larger, the earlier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cursor {
    updated_at: i64,
    run: RunId,
}

impl Cursor {
    fn of(row: &RunRow) -> Self {
        Self { updated_at: row.updated_at.as_millis(), run: row.run_id.clone() }
    }

    fn parse(text: &str) -> Result<Self, JournalError> {
        let parts = text.split_once(':').and_then(|(updated_at, run)| {
            Some(Self { updated_at: updated_at.parse().ok()?, run: RunId::parse(run).ok()? })
        });
        parts.ok_or_else(|| JournalError::Invalid(format!("`{text}` is not a cursor of this store")))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.updated_at, self.run)
    }
}

/// A page of runs, the one that was written to last first.
pub(super) fn list(places: &Places, filter: &RunFilter) -> Result<RunPage, JournalError> {
    let before = filter.cursor.as_deref().map(Cursor::parse).transpose()?;
    let fault = |error: io::Error| refused(places.root(), &error);
    let entries = match fs::read_dir(places.root()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(RunPage::default()),
        entries => entries.map_err(fault)?,
    };
    // One row more than the page has tells whether there is another page.
    let most = listing::rows_of_page(filter.limit) + 1;
    let mut rows = Vec::new();
    for entry in entries {
        let name = entry.map_err(fault)?.file_name();
        let Some(row) = name.to_str().and_then(run_of_file).and_then(|run| row(places, run)) else { continue };
        let cursor = Cursor::of(&row);
        if listing::admits(filter, &row.index) && before.as_ref().is_none_or(|before| cursor < *before) {
            rows.push((cursor, row));
        }
        if rows.len() >= 2 * most {
            keep_first(&mut rows, most);
        }
    }
    keep_first(&mut rows, most);
    Ok(listing::page(rows, filter.limit))
}

fn keep_first(rows: &mut Vec<(Cursor, RunRow)>, most: usize) {
    rows.sort_unstable_by(|(one, _), (other, _)| Reverse(one).cmp(&Reverse(other)));
    rows.truncate(most);
}

/// The row of a run, if it has one.
fn row(places: &Places, run: RunId) -> Option<RunRow> {
    let path = places.run(&run);
    let end = match File::open(&path) {
        // Deleted a moment ago.
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        opened => opened
            .map_err(|error| refused(&path, &error))
            .and_then(|file| tail::find_unlocked(&run, &path, &Arc::new(file))),
    };
    match end {
        Ok(end) => {
            let index = end.row.index.filter(|_| end.head > 0)?;
            Some(RunRow { run_id: run, head: end.head, updated_at: end.row.updated_at, index })
        }
        Err(error) => {
            tracing::debug!(%error, run = run.as_str(), "a run cannot be listed");
            let at = Timestamp::default();
            let index = RunIndex { workflow: String::new(), status: DAMAGED.to_owned(), started_at: at };
            Some(RunRow { run_id: run, head: 0, updated_at: at, index })
        }
    }
}
