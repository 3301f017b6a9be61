//! The lines of a run's file from a place on, each behind the one that it must stand behind.
//!
//! It must not leave a line out: what cannot be read is an error with its position.

use super::fault::refused;
use super::line;
use cofferdam_core::event::RunEvent;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, Record};
use cofferdam_core::record;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Take};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

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

type Lines<'a> = BufReader<Take<From<'a>>>;

/// Walks over the lines of a file.
pub(super) struct Scan<'a> {
    run: &'a RunId,
    path: &'a Path,
    file: &'a File,
    end: u64,
    lines: Lines<'a>,
    mark: Mark,
    line: Vec<u8>,
    /// What the last record said, if it was read.
    last: Option<Arc<RunEvent>>,
}

/// A file from a place on, whoever else reads it.
struct From<'a> {
    file: &'a File,
    next: u64,
}

impl io::Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.next)?;
        self.next += read as u64;
        Ok(read)
    }
}

/// The bytes between two places.
fn lines(file: &File, from: u64, end: u64) -> Lines<'_> {
    BufReader::new(From { file, next: from }.take(end.saturating_sub(from)))
}

impl<'a> Scan<'a> {
    /// Begins at a mark and ends at a byte.
    pub(super) fn new(run: &'a RunId, path: &'a Path, file: &'a File, mark: Mark, end: u64) -> Self {
        let lines = lines(file, mark.bytes, end);
        Self { run, path, file, end, lines, mark, line: Vec::new(), last: None }
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

    /// Comes close to the record behind a position, by halves: each line tells which one it is. Where one cannot be read,
    /// the place is looked for before it, and whoever walks on from there finds it.
    fn leap(&mut self, after: u64) -> io::Result<()> {
        let (mut low, mut high) = (self.mark, self.end);
        while high.saturating_sub(low.bytes) > limits::FILE_STORE_LEAP_BYTES {
            let middle = low.bytes + (high - low.bytes) / 2;
            match self.behind_line_after(middle, high)? {
                Some(mark) if mark.position <= after.saturating_add(1) && mark.bytes > low.bytes => low = mark,
                _ => high = middle,
            }
        }
        self.lines = lines(self.file, low.bytes, self.end);
        self.mark = low;
        Ok(())
    }

    /// The place behind the first whole line after a byte; none when it cannot be read, or is another run's.
    fn behind_line_after(&self, byte: u64, end: u64) -> io::Result<Option<Mark>> {
        let mut from = lines(self.file, byte, end);
        let (mut rest, mut text) = (Vec::new(), Vec::new());
        let skipped = from.read_until(b'\n', &mut rest)?;
        let read = from.read_until(b'\n', &mut text)?;
        let Some((b'\n', line)) = text.split_last() else { return Ok(None) };
        let Ok(line) = line::read(self.run, line) else { return Ok(None) };
        let bytes = byte + (skipped + read) as u64;
        Ok(Some(Mark { bytes, position: line.frame.position.saturating_add(1), left: line.frame.left }))
    }

    /// The next record; none at the end.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, JournalError> {
        let (run, path, file, end) = (self.run, self.path, self.file, self.end);
        let last = self.last.take();
        loop {
            let Some(line) = self.next()? else { return Ok(None) };
            let Some((text, sum)) = line.record else { continue };
            let position = line.frame.position;
            let before = || match last {
                Some(event) => Ok(Some(event)),
                None => Scan::new(run, path, file, Mark::default(), end).event_at(position.saturating_sub(1)),
            };
            let record = record::decode((run, position), (sum, text), before)?;
            self.last = record.event().cloned();
            return Ok(Some(record));
        }
    }

    /// The event at a position that has no part in the one before it.
    fn event_at(mut self, position: u64) -> Result<Option<Arc<RunEvent>>, JournalError> {
        let run = self.run;
        self.skip_to(position.saturating_sub(1))?;
        loop {
            let Some(line) = self.next()? else { return Ok(None) };
            if let Some((text, sum)) = line.record {
                let record = record::decode_whole((run, line.frame.position), (sum, text))?;
                return Ok(record.event().cloned());
            }
        }
    }

    /// Goes to the record behind a position. Of the lines on the way a few are read.
    pub(super) fn skip_to(&mut self, after: u64) -> Result<(), JournalError> {
        self.leap(after).map_err(|error| refused(self.path, &error))?;
        while self.mark.position <= after {
            if self.next()?.is_none() {
                return Err(record::damaged(self.run, self.mark.position, "it is missing"));
            }
        }
        Ok(())
    }
}
