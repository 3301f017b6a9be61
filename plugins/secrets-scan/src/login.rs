//! Logins with their passwords: the lists that `.netrc` files are, and the
//! header of basic authentication (RFC 7617), which is a login in base64.

use crate::file::FileKind;
use crate::finding::{Confidence, Hit, mask_value};
use crate::{sample, web_token};

/// Adds the passwords of a line of `.netrc`, or of a whole entry anywhere.
pub(crate) fn listed(line: &[u8], file: FileKind, hits: &mut Vec<Hit>) {
    let text = line.trim_ascii_start();
    if !(file.logins || text.starts_with(b"machine ")) {
        return;
    }
    let mut words: Vec<(usize, &[u8])> = Vec::new();
    let mut start = 0;
    for word in line.split(u8::is_ascii_whitespace) {
        if !word.is_empty() {
            words.push((start, word));
        }
        start += word.len() + 1;
    }
    let has = |name: &[u8]| words.iter().any(|(_, word)| *word == name);
    if !(file.logins || has(b"login") && has(b"password")) {
        return;
    }
    for pair in words.windows(2) {
        if let [(_, b"password"), (start, secret)] = *pair
            && is_password(secret)
        {
            hits.push(hit("password", file, start, secret, secret.len()));
        }
    }
}

/// Adds the login of an `Authorization: Basic` header.
pub(crate) fn basic(line: &[u8], file: FileKind, hits: &mut Vec<Hit>) {
    const SCHEME: &[u8] = b"basic ";
    const HEADER: &[u8] = b"authorization";
    let begins = |at: usize, word: &[u8]| line.get(at..at + word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word));
    let Some(header) = (0..line.len()).find(|at| begins(*at, HEADER)) else {
        return;
    };
    // Between them stand a colon, quotes and blanks.
    let from = header + HEADER.len();
    let Some(scheme) = (from..from + 8).find(|at| begins(*at, SCHEME)) else {
        return;
    };
    let start = scheme + SCHEME.len();
    let Some(rest) = line.get(start..) else { return };
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let Some(coded) = rest.get(..rest.iter().take_while(is_part).count()) else {
        return;
    };
    let padding = rest.iter().skip(coded.len()).take_while(|byte| **byte == b'=').count();
    if let Some(login) = decode(coded)
        && let Some(colon) = login.iter().position(|byte| *byte == b':')
        && let Some((user, secret)) = login.get(..colon).zip(login.get(colon + 1..))
        && is_password(secret)
        && !secret.eq_ignore_ascii_case(user)
    {
        hits.push(hit("basic-authorization", file, start, secret, coded.len() + padding));
    }
}

/// base64 of either alphabet.
fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let url: Vec<u8> = coded
        .iter()
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        })
        .collect();
    web_token::decode(&url)
}

fn is_password(secret: &[u8]) -> bool {
    secret.len() >= 6
        && secret.iter().all(u8::is_ascii_graphic)
        && secret.iter().any(|byte| !byte.is_ascii_lowercase())
        && !sample::is_reference(secret)
        && !sample::is_placeholder(secret)
}

fn hit(kind: &'static str, file: FileKind, start: usize, secret: &[u8], length: usize) -> Hit {
    let made_up = file.made_up && !file.prose;
    let confidence = if made_up { Confidence::Low } else { Confidence::Medium };
    Hit { kind, confidence, start, length, masked: mask_value(secret) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "q8Zr1Lw0pXv7Kd2m9Ts4";

    fn found(path: &str, line: &str) -> Vec<(usize, usize)> {
        let mut hits = Vec::new();
        listed(line.as_bytes(), FileKind::of(path), &mut hits);
        basic(line.as_bytes(), FileKind::of(path), &mut hits);
        hits.iter().map(|hit| (hit.start, hit.length)).collect()
    }

    #[test]
    fn a_login_is_found_on_one_line_and_over_three() {
        let line = format!("machine h login u password {VALUE}");
        assert_eq!(found(".netrc", &line), [(27, 20)]);
        assert_eq!(found("setup.txt", &line), [(27, 20)]);
        assert_eq!(found("home/.netrc", &format!("  password {VALUE}")), [(11, 20)]);
        assert_eq!(found("notes.txt", &format!("  password {VALUE}")), []);
    }

    #[test]
    fn a_header_of_basic_authentication_is_found() {
        // `app:` and random bytes, in base64.
        let coded = format!("{}{}", "YXBwOnE4WnIx", "THcwcFh2N0tkMm0=");
        let hits = found("a.txt", &format!("Authorization: Basic {coded}"));
        assert_eq!(hits, [(21, coded.len())]);
        assert_eq!(found("a.js", &format!("\"authorization\": \"Basic {coded}\"")).len(), 1);
    }

    #[test]
    fn what_introductions_show_is_none() {
        // `user:password` and `Aladdin:open sesame`.
        for coded in ["dXNlcjpwYXNzd29yZA==", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="] {
            assert!(found("a.txt", &format!("Authorization: Basic {coded}")).is_empty());
        }
        assert!(found(".netrc", "machine h login u password $PASSWORD").is_empty());
    }
}
