//! Keys and tokens by their shapes: what issuers made recognisable on purpose.

use crate::find::{Apart, Pattern, Place, around, searched};

/// A whole block, also with its lines.
static PRIVATE_KEY: Pattern =
    Pattern::new(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z0-9 ]*PRIVATE KEY-----");

/// What begins with the sign of its issuer.
static TOKENS: Pattern = Pattern::new(concat!(
    r"(?:AKIA|ASIA|AGPA|AROA|ANPA)[A-Z0-9]{16}",
    r"|gh[pousr]_[A-Za-z0-9]{36,255}",
    r"|github_pat_[A-Za-z0-9_]{22,255}",
    r"|glpat-[A-Za-z0-9_-]{20,64}",
    r"|xox[abeprs]-[A-Za-z0-9-]{10,250}",
    r"|sk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{20,250}",
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,250}",
    r"|whsec_[A-Za-z0-9+/]{24,100}",
    r"|AIza[A-Za-z0-9_-]{35}",
    r"|ya29\.[A-Za-z0-9_-]{20,500}",
    r"|npm_[A-Za-z0-9]{36}",
    r"|pypi-[A-Za-z0-9_-]{50,250}",
    r"|hf_[A-Za-z0-9]{30,60}",
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}",
    r"|dop_v1_[a-f0-9]{64}",
    r"|[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",
    r"|eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,4000}",
));

/// What stands where a credential stands; only the credential itself is taken out.
static PLACED: Pattern = Pattern::new(concat!(
    r"(?i)://([^/\s:@]+:[^/\s@]+)@",
    r"|\b(?:bearer|basic)\s+([A-Za-z0-9._~+/-]{20,}=*)",
    r#"|\b(?:password|passwd|secret|api[_-]?key|access[_-]?token|client[_-]?secret)["']?\s*[:=]\s*["']?([^\s"',;]{8,})"#,
));

/// Each match of [`PLACED`] begins in a word that has one of these in it, in any case.
const SIGNS: [&[u8]; 7] = [b"://", b"bearer", b"basic", b"passw", b"secret", b"key", b"token"];
/// The most words after it that a match reaches into: `password`, `=` and the credential.
const WORDS_AFTER: usize = 2;
/// Characters of the shortest of [`TOKENS`].
const SHORTEST_TOKEN: usize = 15;

pub(crate) fn find(text: &str) -> Vec<Place> {
    let keys = if text.contains("-----BEGIN") { PRIVATE_KEY.places(text) } else { Vec::new() };
    let mut found: Apart = keys.into_iter().collect();
    for place in TOKENS.places_in(text, is_part_of_token, |row| row.len() >= SHORTEST_TOKEN) {
        let (before, _) = around(text, place);
        if !before.is_some_and(char::is_alphanumeric) {
            found.add(place);
        }
    }
    for (from, to) in signed(text) {
        let part = text.get(from..to).unwrap_or_default();
        searched(part);
        for groups in PLACED.get().captures_iter(part) {
            if let Some(value) = groups.iter().skip(1).flatten().next() {
                found.add((from + value.start(), from + value.end()));
            }
        }
    }
    found.into_places()
}

fn is_part_of_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-+/.:".contains(byte)
}

/// The parts of a text from a word with a sign as far as a credential can go. They begin and end at white space.
fn signed(text: &str) -> Vec<Place> {
    let mut parts: Vec<Place> = Vec::new();
    let (mut next, mut left) = (0, 0_usize);
    for word in text.as_bytes().split(u8::is_ascii_whitespace) {
        let (from, to) = (next, next + word.len());
        next = to + 1;
        let is_signed = has_sign(word);
        if left == 0 && is_signed {
            parts.push((from, to));
        } else if left > 0
            && let Some(part) = parts.last_mut()
        {
            part.1 = to;
        }
        if is_signed {
            left = WORDS_AFTER;
        } else if !word.is_empty() {
            // White space in a row makes empty words.
            left = left.saturating_sub(1);
        }
    }
    parts
}

fn has_sign(word: &[u8]) -> bool {
    SIGNS.iter().any(|sign| word.windows(sign.len()).any(|part| part.eq_ignore_ascii_case(sign)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        find(text).into_iter().map(|(from, to)| text.get(from..to).unwrap()).collect()
    }

    #[test]
    fn the_usual_tokens_are_found_whole() {
        let letters = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ";
        for token in [
            "AKIAIOSFODNN7EXAMPLE".to_owned(),
            format!("ghp_{}", letters.get(..36).unwrap()),
            format!("glpat-{}", letters.get(..20).unwrap()),
            format!("xoxb-{}", letters.get(..24).unwrap()),
            format!("sk-ant-{}", letters.get(..40).unwrap()),
            format!("sk_live_{}", letters.get(..24).unwrap()),
            format!("AIza{}", letters.get(..35).unwrap()),
            format!("npm_{}", letters.get(..36).unwrap()),
            format!(
                "eyJ{}.eyJ{}.{}",
                letters.get(..12).unwrap(),
                letters.get(..12).unwrap(),
                letters.get(..12).unwrap()
            ),
        ] {
            assert_eq!(found(&format!("token: {token}, yes")), [token]);
        }
    }

    #[test]
    fn of_a_place_for_a_credential_only_the_credential_goes() {
        assert_eq!(found("https://ada:pa55@example.com/x"), ["ada:pa55"]);
        assert_eq!(found("Authorization: Bearer abcdefghijklmnopqrstuvwx"), ["abcdefghijklmnopqrstuvwx"]);
        assert_eq!(found("password = hunter2hunter2"), ["hunter2hunter2"]);
        assert_eq!(found(r#"{"api_key": "0123456789abcdef"}"#), ["0123456789abcdef"]);
    }

    #[test]
    fn a_private_key_goes_with_all_its_lines() {
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----";
        assert_eq!(found(&format!("a\n{key}\nb")), [key]);
    }

    #[test]
    fn credentials_are_found_beyond_white_space_and_signs_in_a_row() {
        assert_eq!(found("a b PassWord \n\n =\t  'hunter2hunter2' c d"), ["hunter2hunter2"]);
        assert_eq!(found("key secret api-key : abcdefgh1 d e f token"), ["abcdefgh1"]);
        assert_eq!(found("bearer bearer   abcdefghijklmnopqrstuvwx"), ["abcdefghijklmnopqrstuvwx"]);
    }

    #[test]
    fn words_that_begin_alike_stay() {
        for text in ["task-force of many many words", "the password is long", "sk-", "AKIA", "basic training"] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
