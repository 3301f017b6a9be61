//! JSON documents, a line each, bounded.
//!
//! It must not know what is in a line.

use crate::sse::Oversize;
use cofferdam_core::limits::SSE_EVENT_BYTES;

/// Takes bytes as they come, split anywhere, and gives lines that are complete.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<u8>);

impl Lines {
    /// Reads bytes; every line that they complete goes to `out`. Invalid UTF-8 becomes U+FFFD.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<String>) -> Result<(), Oversize> {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let mut piece = pieces.next().unwrap_or_default();
        for next in pieces {
            self.extend(piece)?;
            out.extend(self.rest());
            piece = next;
        }
        self.extend(piece)
    }

    /// What came of the line that nothing completed; a whole document ends without a line's end.
    pub(crate) fn rest(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.0);
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), Oversize> {
        if self.0.len() + bytes.len() > SSE_EVENT_BYTES {
            return Err(Oversize::Event);
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        pieces.iter().for_each(|piece| lines.feed(piece, &mut out).unwrap());
        out.extend(lines.rest());
        out
    }

    #[test]
    fn it_does_not_matter_where_lines_are_split() {
        let bytes = "{\"a\":\"ä😀\"}\n\n{\"b\":2}\r\nopen".as_bytes();
        let expected = ["{\"a\":\"ä😀\"}", "{\"b\":2}\r", "open"];
        assert_eq!(read(&[bytes]), expected);
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(read(&[head, tail]), expected, "split at {at}");
        }
        assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), expected);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        let piece = vec![b'x'; SSE_EVENT_BYTES / 2 + 1];
        lines.feed(&piece, &mut out).unwrap();
        assert_eq!(lines.feed(&piece, &mut out), Err(Oversize::Event));
    }
}
