//! One finding, and how a secret is masked. The only file that turns bytes of a
//! secret into something that leaves the plugin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Confidence {
    /// Probably an example or a test value.
    Low,
    /// Looks like a secret by its name and randomness.
    Medium,
    /// Has a form that only such a secret has.
    High,
}

/// What a rule found on a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hit {
    pub(crate) kind: &'static str,
    pub(crate) confidence: Confidence,
    /// Where the secret begins, in bytes from the start of the line.
    pub(crate) start: usize,
    /// How long it is, in bytes.
    pub(crate) length: usize,
    pub(crate) masked: String,
}

/// A place that a person should look at.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Finding {
    /// The file, as it was given.
    pub(crate) path: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
    /// What it is, e.g. `github-token`.
    pub(crate) kind: &'static str,
    /// How sure that is.
    pub(crate) confidence: Confidence,
    /// The first characters at most, and the length.
    pub(crate) masked: String,
}

/// Masks a token that begins with a public prefix: at most its first four.
pub(crate) fn mask_token(secret: &[u8]) -> String {
    mask(secret, 4)
}

/// Masks a value that is secret from its first byte: an eighth of it, at most
/// its first four, so that a short password shows nothing.
pub(crate) fn mask_value(secret: &[u8]) -> String {
    mask(secret, (secret.len() / 8).min(4))
}

fn mask(secret: &[u8], shown: usize) -> String {
    let text = String::from_utf8_lossy(secret);
    let head: String = text.chars().take(shown).filter(|c| !c.is_control()).collect();
    format!("{head}\u{2026} ({} characters)", text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_shows_its_public_prefix_only() {
        assert_eq!(mask_token(b"abcd_0123456789"), "abcd\u{2026} (15 characters)");
    }

    #[test]
    fn a_short_password_shows_nothing() {
        assert_eq!(mask_value(b"hunter2"), "\u{2026} (7 characters)");
        assert_eq!(mask_value(&[b'z'; 80]), "zzzz\u{2026} (80 characters)");
    }

    #[test]
    fn control_characters_do_not_get_out() {
        assert_eq!(mask_token(b"\x1b[1mabc"), "[1m\u{2026} (7 characters)");
    }
}
