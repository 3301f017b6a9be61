//! Private keys in PEM armour. The header alone is no finding: source code that
//! handles keys is full of headers; a key has a body.

use crate::entropy;
use crate::file::FileKind;
use crate::finding::{Confidence, Hit};

/// How every armoured key begins.
pub(crate) const BEGIN: &[u8] = b"-----BEGIN ";
// Of the smallest key in use (Ed25519 in PKCS#8: 64), less what may be cut.
const LEAST_BODY: usize = 56;
const MOST_LOOKED_AT: usize = 600;

/// The key that begins on this line; `rest` is the file from the line's start.
/// Keys of tests are keys, but seldom worth an alarm.
pub(crate) fn find(line: &[u8], rest: &[u8], file: FileKind, hits: &mut Vec<Hit>) {
    let Some(start) = line.windows(BEGIN.len()).position(|window| window == BEGIN) else {
        return;
    };
    let Some(label) = line.get(start + BEGIN.len()..).and_then(label) else {
        return;
    };
    let Some(kind) = kind(label) else { return };
    let header = BEGIN.len() + label.len() + 5;
    let Some(after) = rest.get(start + header..) else {
        return;
    };
    let body = body(after);
    if body.len() < LEAST_BODY || entropy::bits(&body) < 3.5 {
        return;
    }
    let doubtful = file.made_up || kind == "encrypted-private-key";
    hits.push(Hit {
        kind,
        confidence: if doubtful { Confidence::Medium } else { Confidence::High },
        start,
        length: line.len() - start,
        masked: format!("-----BEGIN {}-----\u{2026}", String::from_utf8_lossy(label)),
    });
}

/// What stands between `BEGIN` and the dashes.
fn label(after: &[u8]) -> Option<&[u8]> {
    let end = after.windows(5).position(|window| window == b"-----")?;
    let label = after.get(..end)?;
    label.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b' ').then_some(label)
}

fn kind(label: &[u8]) -> Option<&'static str> {
    match label {
        b"ENCRYPTED PRIVATE KEY" => Some("encrypted-private-key"),
        b"PGP PRIVATE KEY BLOCK" => Some("pgp-private-key"),
        _ if label == b"PRIVATE KEY" || label.ends_with(b" PRIVATE KEY") => Some("private-key"),
        _ => None,
    }
}

/// The base64 after the header, also where a key stands in a string with `\n`.
fn body(after: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut bytes = after.iter().copied().take(MOST_LOOKED_AT).peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next_if(|next| matches!(next, b'n' | b'r'));
            }
            b'+' if body.is_empty() => {}
            b'\n' | b'\r' | b' ' | b'\t' | b'"' | b'\'' | b',' => {}
            b'+' | b'/' | b'=' => body.push(byte),
            _ if byte.is_ascii_alphanumeric() => body.push(byte),
            _ => break,
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<Hit> {
        let mut hits = Vec::new();
        let line = text.lines().next().unwrap_or_default().as_bytes();
        find(line, text.as_bytes(), FileKind::of("src/a.rs"), &mut hits);
        hits
    }

    fn key(label: &str, separator: &str) -> String {
        let line = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg";
        format!("{}{label}-----{separator}{line}{separator}{line}", "-----BEGIN ")
    }

    #[test]
    fn a_key_with_its_body_is_found() {
        let hits = found(&key("EC PRIVATE KEY", "\n"));
        assert_eq!(hits[0].kind, "private-key");
        assert_eq!(hits[0].confidence, Confidence::High);
        assert!(!hits[0].masked.contains("MIGH"));
    }

    #[test]
    fn a_key_within_a_string_is_found() {
        assert_eq!(found(&key("PRIVATE KEY", "\\n")).len(), 1);
    }

    #[test]
    fn an_encrypted_key_is_less_certain() {
        let hits = found(&key("ENCRYPTED PRIVATE KEY", "\n"));
        assert_eq!(hits[0].confidence, Confidence::Medium);
    }

    #[test]
    fn a_header_alone_is_none() {
        assert!(found(&format!("if text.starts_with(\"{}PRIVATE KEY-----\") {{", "-----BEGIN ")).is_empty());
        assert!(found(&key("PUBLIC KEY", "\n")).is_empty());
        assert!(found(&key("CERTIFICATE", "\n")).is_empty());
    }
}
