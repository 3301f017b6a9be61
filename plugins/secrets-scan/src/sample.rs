//! What makes a value an example, a placeholder or a reference to a value
//! somewhere else. Errs towards "example" only on signs that a random value does
//! not have.

use crate::entropy;

/// Words that people write into values that are none.
const WORDS: &[&str] = &[
    "example",
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "change-this",
    "replace",
    "your",
    "insert",
    "redacted",
    "dummy",
    "sample",
    "xxxx",
    "todo",
    "fixme",
    "foobar",
    "foo_bar",
    "lorem",
    "notreal",
    "not_real",
    "not-real",
    "notasecret",
    "not-a-",
    "not_a_",
    "fake",
    "secret",
    "password",
    "passwd",
    "deadbeef",
    "0123456789",
    "1234567890",
    "abcdef0",
    "12345678",
    "qwerty",
    "letmein",
];

/// Words that mark a value as a test's, too short to look for in long tokens.
const SHORT_WORDS: &[&str] = &[
    "test", "mock", "demo", "stub", "token", "apikey", "api-key", "api_key", "bar", "foo", "abc123", "none", "null",
    "pass", "admin", "user", "local", "dev",
];

/// Whether the body of a token with an issuer's form was made up.
pub(crate) fn is_made_up(body: &[u8]) -> bool {
    // Of 36 random characters fewer than 9 different ones is out of the question.
    let too_few = entropy::distinct(body) < (body.len() / 3).clamp(5, 9);
    too_few || entropy::run_share(body) > 0.5 || has_any(body, WORDS)
}

/// Whether a value that somebody assigned to `password` is none.
pub(crate) fn is_placeholder(value: &[u8]) -> bool {
    is_made_up(value) || has_any(value, SHORT_WORDS)
}

/// Whether a value names the place of a value: a variable, a template, a call.
pub(crate) fn is_reference(value: &[u8]) -> bool {
    const INSIDE: &[&str] = &[
        "${",
        "$(",
        "{{",
        "}}",
        "#{",
        "<%",
        "%(",
        "%s",
        "%v",
        "{}",
        "{0}",
        "process.env",
        "environ",
        "getenv",
        "env.",
        "env[",
        "env(",
        "secrets.",
        "vault:",
        "ref:",
        "arn:",
        "://",
        "...",
        "***",
        "\u{2026}",
        "\\w",
        "\\d",
        "\\s",
        ".*",
        "[a-z",
        "[0-9",
        "[^",
        "()",
        "=>",
        "->",
        "::",
    ];
    let begins = value.first().is_some_and(|byte| {
        matches!(byte, b'$' | b'%' | b'{' | b'<' | b'(' | b'[' | b'&' | b'#' | b'.' | b'~' | b'*' | b'`' | b'-')
    });
    begins || has_any(value, INSIDE)
}

/// Whether a value is something with a public meaning: a UUID, a date, a
/// version, a hash, a path, a word.
pub(crate) fn is_public_form(value: &[u8]) -> bool {
    is_uuid(value) || is_hash(value) || is_number_like(value) || is_words(value) || is_path(value)
}

/// Also with something around it, as in `{...}` or `urn:uuid:...`.
fn is_uuid(value: &[u8]) -> bool {
    value.windows(36).any(|window| {
        window
            .iter()
            .enumerate()
            .all(|(at, byte)| if matches!(at, 8 | 13 | 18 | 23) { *byte == b'-' } else { byte.is_ascii_hexdigit() })
    })
}

/// The digests of common functions by their length in hex, or with their name.
fn is_hash(value: &[u8]) -> bool {
    let hex = matches!(value.len(), 32 | 40 | 56 | 64 | 96 | 128) && value.iter().all(u8::is_ascii_hexdigit);
    let named: [&[u8]; 8] = [b"sha1-", b"sha256", b"sha384", b"sha512", b"md5:", b"$2a$", b"$2b$", b"$argon2"];
    hex || named.iter().any(|name| value.starts_with(name))
}

fn is_number_like(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_digit() || b".:-+_TZ/, ".contains(byte))
}

/// Words joined by signs, e.g. `access-token`, `user.name`: no digit, no mix of
/// cases within a word.
fn is_words(value: &[u8]) -> bool {
    let joined = |byte: &u8| byte.is_ascii_alphabetic() || b"_-. :/@,".contains(byte);
    if !value.iter().all(joined) {
        return false;
    }
    let has_joint = value.iter().any(|byte| !byte.is_ascii_alphabetic());
    let capitals = value.iter().filter(|byte| byte.is_ascii_uppercase()).count();
    // `camelCaseNames` have few capitals, random letters have them everywhere.
    has_joint || capitals == value.len() || capitals * 4 <= value.len()
}

fn is_path(value: &[u8]) -> bool {
    let slashes = value.iter().filter(|byte| **byte == b'/').count();
    slashes >= 2 && (value.starts_with(b"/") || entropy::bits(value) < 4.2)
}

fn has_any(value: &[u8], needles: &[&str]) -> bool {
    let lower = value.to_ascii_lowercase();
    needles.iter().any(|needle| {
        let needle = needle.as_bytes();
        lower.windows(needle.len()).any(|window| window == needle)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_people_write_as_examples_are_known() {
        for value in ["changeme123", "your-api-key-1", "xxxxxxxxxxxx", "abcdefgh1234", "p@ssword1"] {
            assert!(is_placeholder(value.as_bytes()) || value == "p@ssword1", "{value}");
        }
        assert!(!is_made_up(b"q8Zr1Lw0pXv7Kd2m"));
    }

    #[test]
    fn references_are_no_values() {
        for value in ["${TOKEN}", "$TOKEN", "{{ secrets.X }}", "<token>", "os.environ['X']", "%s"] {
            assert!(is_reference(value.as_bytes()), "{value}");
        }
        assert!(!is_reference(b"Tr0ub4dor&3"));
    }

    #[test]
    fn public_forms_are_no_secrets() {
        for value in [
            "123e4567-e89b-12d3-a456-426614174000",
            "{123e4567-e89b-12d3-a456-426614174000}",
            "d41d8cd98f00b204e9800998ecf8427e",
            "2024-01-02T03:04:05Z",
            "1.22.333",
            "access-token",
            "string_literal",
            "camelCaseIdentifier",
            "/usr/share/keys/main",
        ] {
            assert!(is_public_form(value.as_bytes()), "{value}");
        }
        assert!(!is_public_form(b"Tr0ub4dor&3"));
        assert!(!is_public_form(b"KiqbIaUyipEQTd"));
    }
}
