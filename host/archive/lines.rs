//! The lines of the format: written, and read back with every check that needs no store.
//!
//! It must not know of journals.

use super::{Error, Header, VERSION};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{BlobId, JournalError, Record};
use cofferdam_core::{limits, record};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::io::{BufRead, Read as _, Seek, SeekFrom};

/// Ends the line of a blob.
pub(super) const BLOB_TAIL: &str = "\"}";

const CUT: &str = "the file ends here; it was cut";

/// The line of a record, by its text.
pub(super) fn of_record(run: &RunId, position: u64, text: &str) -> String {
    let sum = record::sum_of(run, position, text);
    format!("{{\"position\":{position},\"sum\":\"{sum:016x}\",\"record\":{text}}}")
}

/// The line of a blob, up to its bytes.
pub(super) fn blob_head(id: &BlobId) -> String {
    format!("{{\"blob\":\"{}\",\"base64\":\"", id.as_str())
}

/// The last line.
pub(super) fn closing(sum: &str) -> String {
    format!("{{\"sha256\":\"{sum}\"}}")
}

/// Bytes in lower hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A place in the file that can be gone back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    offset: u64,
    line: u64,
}

/// The lines of a file, in their order.
pub(super) struct Lines<R> {
    reader: R,
    /// The line that was read last, without its end.
    buffer: Vec<u8>,
    at: Mark,
    sum: Sha256,
}

#[derive(Deserialize)]
struct Format {
    cofferdam_export: u32,
}

impl<R: BufRead + Seek> Lines<R> {
    pub(super) fn new(mut reader: R) -> Result<Self, Error> {
        let offset = reader.stream_position().map_err(Error::Read)?;
        Ok(Self { reader, buffer: Vec::new(), at: Mark { offset, line: 0 }, sum: Sha256::new() })
    }

    /// Where the next line begins.
    pub(super) fn mark(&self) -> Mark {
        self.at
    }

    /// Goes back to a place. What is read from there on is summed no more: the whole file was already.
    pub(super) fn go_to(&mut self, mark: Mark) -> Result<(), Error> {
        self.reader.seek(SeekFrom::Start(mark.offset)).map_err(Error::Read)?;
        self.at = mark;
        Ok(())
    }

    fn broken(&self, reason: impl Into<String>) -> Error {
        Error::Broken { line: self.at.line, reason: reason.into() }
    }

    /// Reads the next line, of at most `most` bytes.
    fn advance(&mut self, most: usize) -> Result<(), Error> {
        self.buffer.clear();
        self.at.line += 1;
        let most = most as u64 + 1;
        let count = self.reader.by_ref().take(most).read_until(b'\n', &mut self.buffer).map_err(Error::Read)? as u64;
        self.at.offset += count;
        if self.buffer.last() == Some(&b'\n') {
            return Ok(());
        }
        Err(self.broken(match count {
            0 => CUT,
            _ if count == most => "it is longer than such a line can be",
            _ => "the file ends in the middle of this line; it was cut",
        }))
    }

    /// The line that was read last.
    fn text(&self) -> Result<&str, Error> {
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        std::str::from_utf8(line).map_err(|_| self.broken("it is not text"))
    }

    pub(super) fn header(&mut self) -> Result<Header, Error> {
        self.advance(limits::ARCHIVE_FRAME_BYTES)?;
        self.sum.update(&self.buffer);
        let text = self.text()?;
        let Ok(Format { cofferdam_export: found }) = serde_json::from_str(text) else {
            return Err(self.broken("this is no export of a run"));
        };
        if found > VERSION {
            return Err(Error::TooNew { what: "the export", found, supported: VERSION });
        }
        let header: Header = serde_json::from_str(text).map_err(|error| self.broken(error.to_string()))?;
        if header.records == 0 || header.status.is_empty() {
            return Err(self.broken("it tells of a run without records, or without a status"));
        }
        Ok(header)
    }

    /// The record at a position, and its text.
    pub(super) fn record(&mut self, header: &Header, position: u64) -> Result<(Record, &str), Error> {
        self.advance(limits::JOURNAL_RECORD_BYTES + limits::ARCHIVE_FRAME_BYTES)?;
        self.sum.update(&self.buffer);
        let line = self.text()?;
        let wanted = || format!("record {position} of {} should stand here", header.records);
        let (found, sum, text) = split_record(line).ok_or_else(|| self.broken(wanted()))?;
        if found != position {
            return Err(self.broken(format!("{}, not record {found}", wanted())));
        }
        let record = record::decode_whole((&header.run_id, position), (sum, text)).map_err(|error| match error {
            JournalError::TooNew { found, supported } => Error::TooNew { what: "a record", found, supported },
            JournalError::Damaged { reason, .. } => self.broken(format!("record {position} is damaged: {reason}")),
            other => Error::Journal(other),
        })?;
        if record::encode(&record)? != text {
            return Err(Error::Unknown { position });
        }
        if let Some(event) = record.kept_event()
            && (event.run_id != header.run_id || event.body.is_transient())
        {
            return Err(self.broken(format!("record {position} is none of run `{}`", header.run_id)));
        }
        Ok((record, text))
    }

    /// The next blob.
    pub(super) fn blob(&mut self) -> Result<(BlobId, Vec<u8>), Error> {
        self.advance(limits::BLOB_BYTES.div_ceil(3) * 4 + limits::ARCHIVE_FRAME_BYTES)?;
        self.sum.update(&self.buffer);
        let (id, text) = split_blob(self.text()?).ok_or_else(|| self.broken("a blob should stand here"))?;
        let bytes = STANDARD.decode(text).map_err(|error| self.broken(format!("the blob is damaged: {error}")))?;
        if BlobId::of(&bytes) != id {
            return Err(self.broken("the blob is damaged: its bytes do not have its hash"));
        }
        Ok((id, bytes))
    }

    /// The last line, and that nothing follows it.
    pub(super) fn close(&mut self) -> Result<(), Error> {
        self.advance(limits::ARCHIVE_FRAME_BYTES)?;
        let expected = hex(&std::mem::take(&mut self.sum).finalize());
        if self.text()? != closing(&expected) {
            return Err(self.broken("the sum over all lines before is another; the file was changed"));
        }
        if self.reader.fill_buf().map_err(Error::Read)?.is_empty() {
            return Ok(());
        }
        self.at.line += 1;
        Err(self.broken("there is more after the last line"))
    }

    /// A problem of the line that was read last.
    pub(super) fn refuse(&self, reason: &str) -> Error {
        self.broken(reason)
    }
}

fn split_record(line: &str) -> Option<(u64, i64, &str)> {
    let rest = line.strip_prefix("{\"position\":")?;
    let (position, rest) = rest.split_once(",\"sum\":\"")?;
    let (sum, rest) = rest.split_once("\",\"record\":")?;
    let sum = u64::from_str_radix(sum, 16).ok()?;
    Some((position.parse().ok()?, sum.cast_signed(), rest.strip_suffix('}')?))
}

fn split_blob(line: &str) -> Option<(BlobId, &str)> {
    let (id, rest) = line.strip_prefix("{\"blob\":\"")?.split_once("\",\"base64\":\"")?;
    Some((BlobId::parse(id)?, rest.strip_suffix(BLOB_TAIL)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_record_is_split_where_it_was_joined() {
        let run = RunId::parse("r").unwrap();
        let text = r#"{"v":1,"note":"\",\"record\":","at":"2026-11-20T08:00:00.000Z","data":{}}"#;
        let line = of_record(&run, 7, text);
        assert_eq!(split_record(&line), Some((7, record::sum_of(&run, 7, text), text)));
        serde_json::from_str::<serde_json::Value>(&line).unwrap();
        assert_eq!(split_record(r#"{"sha256":"00"}"#), None);
    }
}
