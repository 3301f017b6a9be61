//! The pieces of an answer without the secrets of whoever asked, also where a secret is spread over several pieces.
//!
//! It must not hold back more than a secret could still begin in, and must not move the ends of pieces otherwise.

use crate::provider::Provider;
use std::collections::VecDeque;

/// What stands in the place of a secret, as in messages.
const INSTEAD: &[u8] = b"***";

/// Takes pieces as they come and gives them back without secrets.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// The longest first.
    secrets: Vec<Vec<u8>>,
    held: Vec<u8>,
    /// Where the held pieces end.
    ends: VecDeque<usize>,
    /// How many of the bytes that are held or to come belong to a secret that was found.
    skip: usize,
}

impl Pieces {
    /// Without the secrets of this provider, bare and as JSON writes them.
    pub(super) fn without(provider: &Provider) -> Self {
        let mut secrets: Vec<Vec<u8>> = Vec::new();
        for secret in provider.secrets() {
            let json = serde_json::Value::from(secret).to_string();
            let escaped = json.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
            secrets
                .extend([secret, escaped].iter().filter(|text| !text.is_empty()).map(|text| text.as_bytes().to_vec()));
        }
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets, ..Self::default() }
    }

    /// Takes a piece; gives those in which no secret can begin that is still to come.
    pub(super) fn add(&mut self, piece: &[u8]) -> Vec<Vec<u8>> {
        self.held.extend_from_slice(piece);
        self.ends.push_back(self.held.len());
        let longest = self.secrets.first().map_or(0, Vec::len);
        self.give(self.held.len().saturating_sub(longest.saturating_sub(1)))
    }

    /// What is still held; nothing more comes.
    pub(super) fn rest(&mut self) -> Vec<Vec<u8>> {
        self.give(self.held.len())
    }

    /// The pieces that end at `safe` or before.
    fn give(&mut self, safe: usize) -> Vec<Vec<u8>> {
        let (mut given, mut begin) = (Vec::new(), 0);
        while let Some(end) = self.ends.front().copied().filter(|end| *end <= safe) {
            self.ends.pop_front();
            let piece = self.clean(begin, end);
            if !piece.is_empty() {
                given.push(piece);
            }
            begin = end;
        }
        self.held.drain(..begin);
        self.ends.iter_mut().for_each(|end| *end -= begin);
        given
    }

    fn clean(&mut self, begin: usize, end: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(end - begin);
        for at in begin..end {
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            let Some((byte, rest)) = self.held.get(at..).and_then(|rest| Some((*rest.first()?, rest))) else {
                break;
            };
            match self.secrets.iter().find(|secret| rest.starts_with(secret)) {
                Some(secret) => {
                    out.extend_from_slice(INSTEAD);
                    self.skip = secret.len() - 1;
                }
                None => out.push(byte),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(key: &str, fed: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut pieces = Pieces::without(&Provider::new("x", "http://x/v1").with_key(key));
        let mut out: Vec<_> = fed.iter().flat_map(|piece| pieces.add(piece)).collect();
        out.extend(pieces.rest());
        out
    }

    #[test]
    fn a_secret_is_taken_out_wherever_it_is_split() {
        let text = b"the key sk-secret is bad, sk-secresk-secret too, and sk-secre";
        let clean = b"the key *** is bad, sk-secre*** too, and sk-secre";
        for at in 0..=text.len() {
            let (head, tail) = text.split_at(at);
            assert_eq!(pieces("sk-secret", &[head, tail]).concat(), clean, "split at {at}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(pieces("sk-secret", &bytes).concat(), clean);
        assert_eq!(pieces("a\"secret", &[br#"{"m":"a\"sec"#, br#"ret!"}"#]).concat(), br#"{"m":"***!"}"#);
    }

    #[test]
    fn pieces_without_a_secret_stay_as_they_are_and_short_keys_are_no_secrets() {
        let fed: [&[u8]; 4] = [b"none", b"x", b"a none b", b"yz"];
        assert_eq!(pieces("sk-secret", &fed), fed);
        assert_eq!(pieces("none", &fed), fed);
    }

    #[test]
    fn no_more_is_held_than_a_secret_is_long() {
        let mut pieces = Pieces::without(&Provider::new("x", "http://x/v1").with_key("sk-secret"));
        for _ in 0..100 {
            pieces.add(b"abc");
            assert!(pieces.held.len() < "sk-secret".len() + 3, "{}", pieces.held.len());
        }
    }
}
