//! The lines of a run's file from a place on, each behind the one that it must stand behind.
//!
//! It must not leave a line out: what cannot be read is an error with its position.

use super::fault::refused;
use super::line;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, Record};
use cofferdam_core::record;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Take};
use std::path::Path;

/// A place between two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Where the next line begins.
    pub(super) bytes: u64,
    /// The position of the next record.
    pub(super) position: u64,
    /// How many lines of an append that began before are still to come.
    left: u64,
}

impl Default for Mark {
    fn default() -> Self {
        Self { bytes: 0, position: 1, left: 0 }
    }
}

/// Walks over the lines of a file.
pub(super) struct Scan<'a> {
    run: &'a RunId,
    path: &'a Path,
    lines: BufReader<Take<&'a File>>,
    mark: Mark,
    line: Vec<u8>,
}

impl<'a> Scan<'a> {
    /// Begins at a mark and ends at a byte.
    pub(super) fn new(
        run: &'a RunId,
        path: &'a Path,
        file: &'a File,
        mark: Mark,
        end: u64,
    ) -> Result<Self, JournalError> {
        let mut from: &File = file;
        from.seek(SeekFrom::Start(mark.bytes)).map_err(|error| refused(path, &error))?;
        let lines = BufReader::new(from.take(end.saturating_sub(mark.bytes)));
        Ok(Self { run, path, lines, mark, line: Vec::new() })
    }

    /// Where the next line begins.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// The next line; none at the end. It is that of a record when the mark's position moves.
    pub(super) fn next(&mut self) -> Result<Option<line::Line<'_>>, JournalError> {
        let Mark { bytes, position, left } = self.mark;
        let damaged = |reason: &str| record::damaged(self.run, position, reason);
        self.line.clear();
        let most = limits::JOURNAL_RECORD_BYTES + 2 * limits::FILE_STORE_FRAME_BYTES;
        let read = self.lines.by_ref().take(most as u64).read_until(b'\n', &mut self.line);
        let read = read.map_err(|error: io::Error| refused(self.path, &error))?;
        let Some((b'\n', text)) = self.line.split_last() else {
            return if read == 0 { Ok(None) } else { Err(damaged("it has no end")) };
        };
        let line = line::read(self.run, text).map_err(|unsound| unsound.at(self.run, position))?;
        let expected = if line.record.is_some() { position } else { position.saturating_sub(1) };
        if line.frame.position != expected {
            return Err(damaged("another record stands in its place"));
        }
        if left > 0 && line.frame.left != left - 1 {
            return Err(damaged("it does not belong to the append around it"));
        }
        let position = line.frame.position.saturating_add(1);
        self.mark = Mark { bytes: bytes.saturating_add(read as u64), position, left: line.frame.left };
        Ok(Some(line))
    }

    /// The next record; none at the end.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, JournalError> {
        let run = self.run;
        loop {
            let Some(line) = self.next()? else { return Ok(None) };
            if let Some((text, sum)) = line.record {
                return record::decode(run, line.frame.position, sum, text).map(Some);
            }
        }
    }

    /// Goes to the record behind a position.
    pub(super) fn skip_to(&mut self, after: u64) -> Result<(), JournalError> {
        while self.mark.position <= after {
            if self.next()?.is_none() {
                return Err(record::damaged(self.run, self.mark.position, "it is missing"));
            }
        }
        Ok(())
    }
}
