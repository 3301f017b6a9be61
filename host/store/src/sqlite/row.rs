//! A row of the table: the records of one append, side by side.
//!
//! It must not know of SQLite. The first record's sum has a column of its own and every other stands before its text, so
//! that a row of one record is what stores of the first version hold, and each damaged record is told with its position.

use cofferdam_core::event::RunEvent;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{JournalError, Record};
use cofferdam_core::{limits, record};
use std::sync::Arc;

/// Between two records; their texts have none.
const BETWEEN: char = '\n';
/// Hex digits of a sum.
const SUM_DIGITS: usize = 16;

/// Records that lie behind one another, as they are kept.
pub(super) struct Row {
    /// Position of the first.
    pub(super) first: u64,
    /// Its sum.
    pub(super) sum: i64,
    /// Its text, and sums and texts of the others.
    pub(super) body: String,
}

impl Row {
    /// The rows of an append behind `head`: one, unless that would be large. Each stands for itself.
    pub(super) fn all(run: &RunId, head: u64, records: &[Record]) -> Result<Vec<Self>, JournalError> {
        let mut rows: Vec<Self> = Vec::new();
        let texts = record::encode_all(records)?;
        for ((position, record), text) in (head.saturating_add(1)..).zip(records).zip(texts) {
            match rows.last_mut().filter(|row| row.body.len() + text.len() <= limits::SQLITE_STORE_ROW_BYTES) {
                Some(row) => row.push(run, position, &text),
                None => rows.push(Self::new(run, position, record::encode(record)?)),
            }
        }
        Ok(rows)
    }

    fn new(run: &RunId, first: u64, text: String) -> Self {
        Self { first, sum: record::sum_of(run, first, &text), body: text }
    }

    /// The texts of its records, most with their sums before them.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.body.split(BETWEEN)
    }

    fn push(&mut self, run: &RunId, position: u64, text: &str) {
        let sum = record::sum_of(run, position, text).cast_unsigned();
        self.body.push(BETWEEN);
        self.body.push_str(&format!("{sum:0SUM_DIGITS$x} "));
        self.body.push_str(text);
    }
}

/// Reads the records of a row, and gives each with its position; says which one is damaged.
pub(super) fn read(
    run: &RunId,
    (first, sum, body): (u64, i64, &str),
    mut each: impl FnMut(u64, Record) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut before: Option<Arc<RunEvent>> = None;
    for (position, part) in (first..).zip(body.split(BETWEEN)) {
        let written = if position == first { Some((sum, part)) } else { summed(part) };
        let written = written.ok_or_else(|| record::damaged(run, position, "it has no sum"))?;
        let record = record::decode((run, position), written, || Ok(before.take()))?;
        before = record.event().cloned();
        each(position, record)?;
    }
    Ok(())
}

fn summed(part: &str) -> Option<(i64, &str)> {
    let (sum, text) = part.split_at_checked(SUM_DIGITS)?;
    Some((u64::from_str_radix(sum, 16).ok()?.cast_signed(), text.strip_prefix(' ')?))
}
