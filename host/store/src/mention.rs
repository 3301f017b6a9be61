//! Finds the blobs that a record names: a run has a blob when one of its records contains the blob's id.
//!
//! It must not parse: an id is 64 lower hex digits with none beside them, wherever it stands.

use cofferdam_core::port::{BlobId, Record, RecordBody};
use std::io;

/// Digits of a SHA-256.
const DIGITS: usize = 64;

/// The blobs that the text of a record would name, in order, repetitions included; most digests are of no blob.
#[must_use]
pub fn named_blobs(text: &str) -> Vec<BlobId> {
    Mentions::in_text(text).iter().filter_map(|id| BlobId::parse(id)).collect()
}

/// Collects ids from text that comes in pieces.
#[derive(Default)]
pub(crate) struct Mentions {
    digits: String,
    found: Vec<String>,
}

impl Mentions {
    /// The ids in a text, in order, repetitions included.
    pub(crate) fn in_text(text: &str) -> Vec<String> {
        let mut mentions = Self::default();
        mentions.feed(text.as_bytes());
        mentions.finish()
    }

    /// The ids in a record that was never written as text.
    pub(crate) fn in_record(record: &Record) -> Vec<String> {
        let mut mentions = Self::default();
        let written = match &record.body {
            RecordBody::Event(event) => serde_json::to_writer(&mut mentions, event),
            RecordBody::Note { data, .. } => serde_json::to_writer(&mut mentions, data),
        };
        if let Err(error) = written {
            tracing::warn!(%error, "a record cannot be written as JSON; its blobs stay");
        }
        mentions.finish()
    }

    fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if matches!(byte, b'0'..=b'9' | b'a'..=b'f') {
                // One digit too many is kept to tell a longer run of digits from an id.
                if self.digits.len() <= DIGITS {
                    self.digits.push(char::from(byte));
                }
            } else {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        if self.digits.len() == DIGITS {
            self.found.push(std::mem::take(&mut self.digits));
        }
        self.digits.clear();
    }

    fn finish(mut self) -> Vec<String> {
        self.end();
        self.found
    }
}

impl io::Write for Mentions {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.feed(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Mentions;
    use std::io::Write as _;

    #[test]
    fn an_id_is_found_also_when_it_comes_in_pieces() {
        let id = "0123456789abcdef".repeat(4);
        let text = format!("{{\"blob\":\"{id}\"}}");
        assert_eq!(Mentions::in_text(&text), [id.as_str()]);
        for cut in 0..text.len() {
            let mut mentions = Mentions::default();
            mentions.write_all(&text.as_bytes()[..cut]).unwrap();
            mentions.write_all(&text.as_bytes()[cut..]).unwrap();
            assert_eq!(mentions.finish(), [id.as_str()]);
        }
    }

    #[test]
    fn other_digits_are_no_id() {
        for text in ["a".repeat(63), "a".repeat(65), "a".repeat(128), "A".repeat(64), String::new()] {
            assert!(Mentions::in_text(&text).is_empty(), "{text}");
        }
    }
}
