//! Removes secrets from bytes: the value in any case of its letters and with any of its bytes percent-encoded, its form
//! in JSON, its base64 forms at each alignment.
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
    values: Vec<Zeroizing<Vec<u8>>>,
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
        if self.knows(secret) {
            return;
        }
        self.values.push(Zeroizing::new(value.to_vec()));
        self.values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        // As it stands inside of JSON text, when that is another form.
        let mut forms: Vec<Vec<u8>> = json(secret.expose_secret()).into_iter().filter(|form| form != value).collect();
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
        value.len() < SHORTEST || self.values.iter().any(|known| known.as_slice() == value)
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether any form occurs.
    #[must_use]
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| memmem::find(bytes, form).is_some())
            || self.values.iter().any(|value| next(bytes, 0, value).is_some())
    }

    /// The bytes with every form replaced by `[redacted]`; borrowed when none occurs.
    #[must_use]
    pub fn scrub<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let mut clean = Cow::Borrowed(bytes);
        for form in &self.forms {
            let places = memmem::find_iter(&clean, form.as_slice()).map(|place| (place, place + form.len())).collect();
            if let Some(replaced) = replace(&clean, places) {
                clean = Cow::Owned(replaced);
            }
        }
        for value in &self.values {
            let mut places: Vec<(usize, usize)> = Vec::new();
            while let Some(place) = next(&clean, places.last().map_or(0, |(_, end)| *end), value) {
                places.push(place);
            }
            if let Some(replaced) = replace(&clean, places) {
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

fn replace(bytes: &[u8], places: Vec<(usize, usize)>) -> Option<Vec<u8>> {
    if places.is_empty() {
        return None;
    }
    let mut clean = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for (start, end) in places {
        clean.extend_from_slice(bytes.get(from..start).unwrap_or_default());
        clean.extend_from_slice(MARK);
        from = end;
    }
    clean.extend_from_slice(bytes.get(from..).unwrap_or_default());
    Some(clean)
}

/// The next place of a value from `from` on. Parts of a URL encode different bytes, and names of hosts are in lower case.
fn next(bytes: &[u8], from: usize, value: &[u8]) -> Option<(usize, usize)> {
    let first = *value.first()?;
    let rest = bytes.get(from..)?;
    let at_end = |start: usize| Some((from + start, ends(bytes, from + start, value)?));
    let (lower, upper) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
    if first == b' ' {
        return memchr::memchr3_iter(b' ', b'+', b'%', rest).find_map(at_end);
    }
    memchr::memchr3_iter(lower, upper, b'%', rest).find_map(at_end)
}

/// Where the value ends that begins at `at`, if one does.
fn ends(bytes: &[u8], mut at: usize, value: &[u8]) -> Option<usize> {
    for wanted in value {
        let here = bytes.get(at)?;
        let encoded = (*here == b'%').then(|| decoded(bytes.get(at + 1..at + 3)?)).flatten();
        if encoded.is_some_and(|byte| byte.eq_ignore_ascii_case(wanted)) {
            at += 3;
        } else if here.eq_ignore_ascii_case(wanted) || (*wanted == b' ' && *here == b'+') {
            at += 1;
        } else {
            return None;
        }
    }
    Some(at)
}

fn decoded(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn json(value: &str) -> Option<Vec<u8>> {
    let quoted = Zeroizing::new(serde_json::to_string(value).ok()?);
    Some(quoted.strip_prefix('"')?.strip_suffix('"')?.as_bytes().to_vec())
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
            ("https://a.com/s3cr3t/k%3Dy+canary?x", "https://a.com/[redacted]?x"),
            ("%73%33cr3t/k=y%2bcanary", "[redacted]"),
            ("https://S3CR3T/K=Y+CANARY", "https://[redacted]"),
            ("s3cr3t/k=y+canar", "s3cr3t/k=y+canar"),
            ("nothing here 100%", "nothing here 100%"),
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
