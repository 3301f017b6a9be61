//! An append as it will be written; made before a thread is asked.
//!
//! It must not know what is in the file already, beyond what listings showed last.

use super::line::{self, Frame, Row};
use super::tail::End;
use crate::mention::Mentions;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{Append, Durability, JournalError, RunIndex};
use cofferdam_core::record;
use cofferdam_core::time::Timestamp;

pub(super) struct Prepared {
    pub(super) run: RunId,
    pub(super) expected_head: u64,
    pub(super) durability: Durability,
    /// What could be the ids of blobs, each once for each record that names it.
    pub(super) mentions: Vec<String>,
    updated_at: Option<Timestamp>,
    index: Option<RunIndex>,
    /// Texts and their sums.
    records: Vec<(String, i64)>,
}

impl Prepared {
    pub(super) fn new(request: Append) -> Result<Self, JournalError> {
        let Append { run, expected_head, records, index, durability } = request;
        let prepare = |(position, text): (u64, String)| {
            let sum = record::sum_of(&run, position, &text);
            (text, sum)
        };
        let updated_at = records.last().map(|record| record.at);
        let positions = expected_head.saturating_add(1)..;
        let records: Vec<_> = positions.zip(record::encode_all(&records)?).map(prepare).collect();
        let mentions = records.iter().flat_map(|(text, _)| Mentions::of_record(text)).collect();
        Ok(Self { run, expected_head, durability, mentions, updated_at, index, records })
    }

    /// Whether the append changes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.index.is_none()
    }

    /// The lines behind an end, and the end behind them.
    pub(super) fn lines(&self, end: &End) -> Result<(String, End), JournalError> {
        let index = self.index.clone().or_else(|| end.row.index.clone());
        let row = Row { updated_at: self.updated_at.unwrap_or(end.row.updated_at), index };
        let count = self.records.len() as u64;
        let head = end.head.saturating_add(count);
        let mut lines = String::new();
        if self.records.is_empty() {
            line::write(&self.run, &Frame::new(head, None, 0, Some(row.clone())), None, &mut lines)?;
        }
        for (number, (text, sum)) in (1..).zip(&self.records) {
            let left = count.saturating_sub(number);
            let shown = (left == 0).then(|| row.clone());
            let frame = Frame::new(end.head.saturating_add(number), Some(*sum), left, shown);
            line::write(&self.run, &frame, Some(text), &mut lines)?;
        }
        let bytes = end.bytes.saturating_add(lines.len() as u64);
        Ok((lines, End { head, bytes, row }))
    }
}
