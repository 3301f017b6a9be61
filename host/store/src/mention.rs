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
        let (bytes, mut mentions, mut at) = (text.as_bytes(), Self::default(), DIGITS - 1);
        // Every id has a digit at one of these places; of most texts one byte in so many is looked at.
        while let Some(byte) = bytes.get(at) {
            if is_digit(*byte) {
                let (before, after) = bytes.split_at(at);
                let start = before.iter().rposition(|byte| !is_digit(*byte)).map_or(0, |other| other + 1);
                let length = after.iter().position(|byte| !is_digit(*byte)).unwrap_or(after.len());
                mentions.feed(bytes.get(start..at + length).unwrap_or_default());
                mentions.end();
                at += length;
            }
            at += DIGITS;
        }
        mentions.finish()
    }

    /// The ids in the text of one record, each once: for all places where it stands in a record, a blob is put once.
    pub(crate) fn of_record(text: &str) -> Vec<String> {
        each_once(Self::in_text(text))
    }

    /// The same for a record that was never written as text.
    pub(crate) fn in_record(record: &Record) -> Vec<String> {
        let mut mentions = Self::default();
        let written = match &record.body {
            RecordBody::Event(event) => serde_json::to_writer(&mut mentions, event),
            RecordBody::Spilled(spilled) => serde_json::to_writer(&mut mentions, &(&spilled.event, &spilled.parts)),
            RecordBody::Note { data, .. } => serde_json::to_writer(&mut mentions, data),
        };
        if let Err(error) = written {
            tracing::warn!(%error, "a record cannot be written as JSON; its blobs stay");
        }
        each_once(mentions.finish())
    }

    fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if is_digit(byte) {
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

fn each_once(mut ids: Vec<String>) -> Vec<String> {
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
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

    proptest::proptest! {
        /// Looking at few bytes finds what looking at all of them finds.
        #[test]
        fn nothing_is_overlooked(
            parts in proptest::collection::vec(("[0-9a-g\"]{0,70}|[0-9a-f]{63,65}", "[^0-9a-f]{0,3}"), 0..8),
        ) {
            let text: String = parts.iter().map(|(digits, rest)| format!("{digits}{rest}")).collect();
            let mut all = Mentions::default();
            all.write_all(text.as_bytes()).unwrap();
            proptest::prop_assert_eq!(Mentions::in_text(&text), all.finish());
        }
    }

    #[test]
    fn other_digits_are_no_id() {
        for text in ["a".repeat(63), "a".repeat(65), "a".repeat(128), "A".repeat(64), String::new()] {
            assert!(Mentions::in_text(&text).is_empty(), "{text}");
        }
    }
}
