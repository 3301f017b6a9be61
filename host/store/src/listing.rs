//! Pages of runs: the order of a listing and the cursor that continues it.
//!
//! It must not know how runs are kept.

use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, RunFilter, RunIndex, RunPage, RunRow};
use std::fmt;

/// A run's place in listings: the larger, the earlier. A run that is written to moves to the front, so that a
/// later page never shows it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cursor {
    /// Time of the last record, in milliseconds since the epoch.
    pub(crate) updated_at: i64,
    /// Grows with each run that is made; tells apart what was written to at the same time.
    pub(crate) number: u64,
}

impl Cursor {
    /// Where a listing without a cursor begins.
    pub(crate) const FIRST: Self = Self { updated_at: i64::MAX, number: u64::MAX };

    /// Reads back a cursor that a page ended with.
    pub(crate) fn parse(text: &str) -> Result<Self, JournalError> {
        let parts = text.split_once(':').and_then(|(updated_at, number)| {
            Some(Self { updated_at: updated_at.parse().ok()?, number: number.parse().ok()? })
        });
        parts.ok_or_else(|| JournalError::Invalid(format!("`{text}` is not a cursor of this store")))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.updated_at, self.number)
    }
}

/// How many rows a page may have when `limit` are asked for.
pub(crate) fn rows_of_page(limit: usize) -> usize {
    match limit {
        0 => limits::JOURNAL_LIST_ROWS,
        limit => limit.min(limits::JOURNAL_LIST_ROWS),
    }
}

/// Whether a filter wants a run that shows this.
pub(crate) fn admits(filter: &RunFilter, index: &RunIndex) -> bool {
    let is_named = filter.workflow.as_ref().is_none_or(|name| *name == index.workflow);
    is_named && (filter.statuses.is_empty() || filter.statuses.contains(&index.status))
}

/// The page that begins with these rows, which are in order and, if there are more, more than the page may have.
pub(crate) fn page(mut rows: Vec<(impl fmt::Display, RunRow)>, limit: usize) -> RunPage {
    let most = rows_of_page(limit);
    let is_cut = rows.len() > most;
    rows.truncate(most);
    let next = rows.last().filter(|_| is_cut).map(|(cursor, _)| cursor.to_string());
    RunPage { rows: rows.into_iter().map(|(_, row)| row).collect(), next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for cursor in [Cursor::FIRST, Cursor { updated_at: -5, number: 0 }] {
            assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
        }
        for bad in ["", ":", "1", "1:", "x:1", "1:-1", "1:2:3"] {
            assert!(Cursor::parse(bad).is_err(), "{bad}");
        }
    }
}
