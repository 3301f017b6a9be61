//! Removes secrets from bytes: the exact value, its form in JSON, its base64 forms at each alignment, its percent forms.
//!
//! A last line of defence for what other sides echo; it cannot find a value that was transformed otherwise.

use std::borrow::Cow;
use std::fmt;

use memchr::memmem;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// What stands in the place of a secret.
const MARK: &[u8] = b"[redacted]";
/// Shorter values, and shorter pieces of base64, occur by chance in any text.
const SHORTEST: usize = 4;
const SHORTEST_BASE64: usize = 6;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Knows the forms of some secrets and removes them. Values of fewer than four bytes are not looked for.
#[derive(Default, Clone)]
pub struct Scrubber {
    /// Longest first, so that a form is not cut by a shorter one inside it.
    forms: Vec<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scrubber({} forms)", self.forms.len())
    }
}

impl Scrubber {
    /// Looks for one more secret.
    pub fn add(&mut self, secret: &SecretString) {
        let value = secret.expose_secret().as_bytes();
        if value.len() < SHORTEST {
            return;
        }
        let mut forms = vec![value.to_vec(), percent(value, b"0123456789ABCDEF"), percent(value, b"0123456789abcdef")];
        // As it stands inside of JSON text.
        forms.extend(json(secret.expose_secret()));
        for alphabet in [STANDARD, URL_SAFE] {
            forms.extend(
                (0..3).map(|shift| base64(value, shift, alphabet)).filter(|form| form.len() >= SHORTEST_BASE64),
            );
        }
        for form in forms {
            if !self.forms.iter().any(|known| **known == form) {
                self.forms.push(Zeroizing::new(form));
            }
        }
        self.forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// Whether this value is looked for, or too short to be.
    #[must_use]
    pub fn knows(&self, secret: &SecretString) -> bool {
        let value = secret.expose_secret().as_bytes();
        value.len() < SHORTEST || self.forms.iter().any(|form| form.as_slice() == value)
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    /// Whether any form occurs.
    #[must_use]
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| memmem::find(bytes, form).is_some())
    }

    /// The bytes with every form replaced by `[redacted]`; borrowed when none occurs.
    #[must_use]
    pub fn scrub<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let mut clean = Cow::Borrowed(bytes);
        for form in &self.forms {
            if let Some(replaced) = replace(&clean, form) {
                clean = Cow::Owned(replaced);
            }
        }
        clean
    }

    /// The same for text.
    #[must_use]
    pub fn scrub_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.scrub(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }
}

fn replace(bytes: &[u8], form: &[u8]) -> Option<Vec<u8>> {
    let mut places = memmem::find_iter(bytes, form).peekable();
    places.peek()?;
    let mut clean = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for place in places {
        clean.extend_from_slice(bytes.get(from..place).unwrap_or_default());
        clean.extend_from_slice(MARK);
        from = place + form.len();
    }
    clean.extend_from_slice(bytes.get(from..).unwrap_or_default());
    Some(clean)
}

fn json(value: &str) -> Option<Vec<u8>> {
    let quoted = Zeroizing::new(serde_json::to_string(value).ok()?);
    Some(quoted.strip_prefix('"')?.strip_suffix('"')?.as_bytes().to_vec())
}

fn percent(value: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let digit = |nibble: u8| digits.get(usize::from(nibble)).copied().unwrap_or_default();
    let mut form = Vec::with_capacity(value.len());
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            form.push(*byte);
        } else {
            form.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    form
}

/// The part of the base64 text that the value alone decides, when `shift` other bytes stand before it.
fn base64(value: &[u8], shift: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bytes: Vec<u8> = std::iter::repeat_n(0, shift).chain(value.iter().copied()).collect();
    let bytes = Zeroizing::new(bytes);
    let mut text = Vec::with_capacity(bytes.len() * 4 / 3 + 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.extend([18, 12, 6, 0].map(|low| alphabet.get((word >> low & 63) as usize).copied().unwrap_or_default()));
    }
    let whole = bytes.len() * 8 / 6;
    let skip = (shift * 8).div_ceil(6);
    text.get(skip..whole).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scrubber(value: &str) -> Scrubber {
        let mut scrubber = Scrubber::default();
        scrubber.add(&SecretString::from(value));
        scrubber
    }

    #[test]
    fn each_form_is_removed() {
        let scrubber = scrubber("s3cr3t/k=y+canary");
        for (text, clean) in [
            ("a s3cr3t/k=y+canary b s3cr3t/k=y+canary", "a [redacted] b [redacted]"),
            ("x=s3cr3t%2Fk%3Dy%2Bcanary", "x=[redacted]"),
            ("x=s3cr3t%2fk%3dy%2bcanary", "x=[redacted]"),
            // "s3cr3t/k=y+canary" with nothing, "u:" and "us:" before it
            ("czNjcjN0L2s9eStjYW5hcnk=", "[redacted]k="),
            ("dTpzM2NyM3Qvaz15K2NhbmFyeQ==", "dTp[redacted]Q=="),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(scrubber.scrub_text(text), clean);
        }
        assert!(!format!("{scrubber:?}").contains("canary"));
    }

    #[test]
    fn a_value_of_three_bytes_is_not_looked_for() {
        assert!(scrubber("abc").is_empty());
    }

    proptest! {
        #[test]
        fn no_place_and_no_alignment_hides_a_secret(before in "[a-z]{0,7}", after in "[a-z]{0,7}") {
            let secret = "Canary-0123456789!";
            let scrubber = scrubber(secret);
            let plain = format!("{before}{secret}{after}");
            let encoded = String::from_utf8(base64(plain.as_bytes(), 0, STANDARD)).unwrap();
            for text in [plain, encoded] {
                prop_assert!(scrubber.finds(text.as_bytes()), "{}", text);
                let clean = scrubber.scrub_text(&text).into_owned();
                prop_assert!(!scrubber.finds(clean.as_bytes()));
                prop_assert!(clean.contains("[redacted]"));
            }
        }
    }
}
