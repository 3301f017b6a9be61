//! Server-sent events as the HTML standard frames them, bounded.
//!
//! It must not know what is in an event, and must never reconnect: a request that bills money is not repeated.

use cofferdam_core::limits::{SSE_EVENT_BYTES, SSE_LINE_BYTES};

/// A line or an event larger than its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Oversize {
    /// A line.
    #[error("a line of more than {SSE_LINE_BYTES} bytes")]
    Line,
    /// An event.
    #[error("an event of more than {SSE_EVENT_BYTES} bytes")]
    Event,
}

/// Takes bytes as they come, split anywhere, and gives the data of events that are complete.
///
/// Comments and the fields `event`, `id` and `retry` are read over: the wire formats served here repeat the event's name
/// in its data. An event that is not closed by an empty line is never given.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// A `\n` that follows a `\r` ends no second line.
    after_return: bool,
    /// Whether the first line is behind us; only the first may begin with a byte order mark.
    begun: bool,
    /// Lines that are of no field: an error that a provider wrote between its events, over several lines.
    stray: Vec<u8>,
}

impl Decoder {
    /// Reads bytes; the data of every event that they complete goes to `out`. Invalid UTF-8 becomes U+FFFD.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<String>) -> Result<(), Oversize> {
        if std::mem::take(&mut self.after_return) && !bytes.is_empty() {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (head, tail) = bytes.split_at(end);
            self.extend_line(head)?;
            self.end_line(out)?;
            bytes = match tail {
                [b'\r', b'\n', rest @ ..] => rest,
                [b'\r'] => {
                    self.after_return = true;
                    &[]
                }
                [_, rest @ ..] => rest,
                [] => &[],
            };
        }
        self.extend_line(bytes)
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), Oversize> {
        if self.line.len() + bytes.len() > SSE_LINE_BYTES {
            return Err(Oversize::Line);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, out: &mut Vec<String>) -> Result<(), Oversize> {
        let mut line = self.line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                out.push(String::from_utf8_lossy(&self.data).into_owned());
                self.data.clear();
            }
        } else if let Some(value) = data_of(line) {
            if self.data.len() + value.len() + 1 > SSE_EVENT_BYTES {
                return Err(Oversize::Event);
            }
            if std::mem::replace(&mut self.has_data, true) {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
        } else if !is_field(line) && self.stray.len() + line.len() <= SSE_LINE_BYTES {
            self.stray.extend_from_slice(line);
        }
        self.line.clear();
        Ok(())
    }

    /// The lines that were no events, the last one included though nothing ended it.
    pub(crate) fn take_stray(&mut self) -> Vec<u8> {
        if !is_field(&self.line) {
            self.stray.append(&mut self.line);
        }
        std::mem::take(&mut self.stray)
    }
}

/// Whether a line is a comment or has one of the fields of events.
fn is_field(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    matches!(name, b"" | b"data" | b"event" | b"id" | b"retry")
}

/// The value of a `data` line, without the one space that may follow the colon.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"data")? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &str = "\u{feff}data: {\"a\":1}\n\n: keep-alive\r\n\r\nevent: x\r\ndata:zwei ä€😀\r\ndata:  three\r\n\r\nid: 7\rdata\rdata: \r\r\ndata: open";
    const EVENTS: [&str; 3] = ["{\"a\":1}", "zwei ä€😀\n three", "\n"];

    fn decode(pieces: &[&[u8]]) -> Vec<String> {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        pieces.iter().for_each(|piece| decoder.feed(piece, &mut out).unwrap());
        out
    }

    #[test]
    fn line_ends_comments_and_marks_are_understood() {
        assert_eq!(decode(&[STREAM.as_bytes()]), EVENTS);
    }

    #[test]
    fn it_does_not_matter_where_a_stream_is_split() {
        let bytes = STREAM.as_bytes();
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(decode(&[head, tail]), EVENTS, "split at {at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single), EVENTS);
    }

    #[test]
    fn endless_lines_and_events_are_refused() {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        let piece = vec![b'x'; SSE_LINE_BYTES / 2 + 1];
        decoder.feed(&piece, &mut out).unwrap();
        assert_eq!(decoder.feed(&piece, &mut out), Err(Oversize::Line));

        let mut decoder = Decoder::default();
        let line = [b"data: ".as_slice(), &vec![b'x'; SSE_LINE_BYTES - 6], b"\n"].concat();
        let ended = (0..5).find_map(|_| decoder.feed(&line, &mut out).err());
        assert_eq!(ended, Some(Oversize::Event));
    }

    #[test]
    fn an_error_between_events_is_kept() {
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        decoder.feed(b"data: 1\r\n\r\nretry: 9\n{\n  \"error\": {\n  \"code\": 503\n }\n}", &mut out).unwrap();
        assert_eq!((out.len(), decoder.take_stray()), (1, b"{  \"error\": {  \"code\": 503 }}".to_vec()));
        let mut decoder = Decoder::default();
        let line = [vec![b'x'; SSE_LINE_BYTES - 1], b"\n".to_vec()].concat();
        for _ in 0..3 {
            decoder.feed(&line, &mut out).unwrap();
        }
        assert!(decoder.take_stray().len() <= SSE_LINE_BYTES, "unknown fields are no error, and are not kept for ever");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_events(bytes in prop::collection::vec(prop::sample::select(b"da:t \n\r\xc3\xa4x".to_vec()), 0..200), size in 1_usize..20) {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(decode(&pieces), decode(&[&bytes]));
        }
    }
}
