//! Values assigned to names that promise a secret: `password = "..."`,
//! `"apiKey": "..."`, and bare `TOKEN=...` in files of settings. What is found
//! here has no form of its own, so everything that looks like an example, a
//! reference, a name or a public value is left out.

use crate::entropy;
use crate::file::FileKind;
use crate::finding::{Confidence, Hit, mask_value};
use crate::sample;

// Longer lines are minified or data: no person assigned anything there.
const LONGEST_LINE: usize = 2_000;

/// How hard a value has to look like a secret for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// `password`: chosen by people, short.
    Password,
    /// `api_key`, `token`, `secret`: made by machines, long and random.
    Key,
}

/// `token_type`, `password-field`: about a secret, not one.
#[rustfmt::skip]
const ABOUT: &[&str] = &[
    "name", "names", "type", "kind", "url", "uri", "endpoint", "path", "file", "dir", "header", "param",
    "parameter", "field", "label", "placeholder", "prefix", "suffix", "pattern", "regex", "format",
    "message", "error", "hint", "description", "title", "help", "class", "selector", "policy", "length",
    "size", "count", "limit", "ttl", "expiry", "expires", "env", "var", "variable", "hash", "hashed",
    "digest", "checksum", "algorithm", "alg", "ref", "arn", "store", "manager", "provider", "scope",
    "scopes", "input", "budget", "usage", "text", "id", "version", "mode", "strategy", "rule", "rules",
    "reset", "tokens", "form", "stdin",
];

/// Next to these words a secret is none.
const PUBLIC: &[&str] = &["public", "hash", "checksum", "integrity", "sha256", "example", "csrf"];

/// Names that promise a key, without the signs between their words.
#[rustfmt::skip]
const LONG: &[&str] = &[
    "apikey", "accesskey", "privatekey", "authkey", "signingkey", "encryptionkey", "secretkey", "masterkey",
    "accountkey", "sharedkey", "clientsecret", "authtoken", "accesstoken", "refreshtoken", "bearertoken",
    "credential",
];

/// Adds the assignments of a line.
pub(crate) fn find(line: &[u8], file: FileKind, hits: &mut Vec<Hit>) {
    if file.generated || line.len() > LONGEST_LINE || !mentions_secret(line) {
        return;
    }
    let mut segment_start = 0;
    let mut quote: Option<u8> = None;
    for (at, byte) in line.iter().copied().enumerate() {
        match byte {
            b'"' | b'\'' | b'`' => match quote {
                Some(open) if open == byte => quote = None,
                Some(_) => {}
                None => quote = Some(byte),
            },
            b',' | b';' | b'(' | b'{' | b'[' => segment_start = at + 1,
            // Of an address's query; elsewhere `&` and `?` belong to types.
            b'&' | b'?' if at > 0 && line.get(at - 1).is_some_and(u8::is_ascii_alphanumeric) => {
                segment_start = at + 1;
            }
            b'=' | b':' if quote.is_none() || byte == b'=' => {
                if let Some(hit) = assigned(line, segment_start, at, file) {
                    hits.push(hit);
                }
            }
            _ => {}
        }
    }
}

/// Whether any name that `promise_of` knows can stand in a line. Cheap, since it
/// is asked of every line; the names are taken apart only where it says yes.
fn mentions_secret(line: &[u8]) -> bool {
    (0..line.len()).any(|at| {
        let begins = |stem: &[u8]| line.get(at..at + stem.len()).is_some_and(|part| part.eq_ignore_ascii_case(stem));
        match line.get(at).map(u8::to_ascii_lowercase) {
            Some(b'p') => begins(b"pass") || begins(b"pw"),
            Some(b's') => begins(b"secret"),
            Some(b't') => begins(b"token"),
            Some(b'k') => begins(b"key"),
            Some(b'a') => begins(b"auth"),
            Some(b'c') => begins(b"cred"),
            _ => false,
        }
    })
}

/// The finding of the operator at `at`, if its left side promises a secret and
/// its right side is one.
fn assigned(line: &[u8], segment_start: usize, at: usize, file: FileKind) -> Option<Hit> {
    let left = line.get(segment_start..at)?;
    let right = line.get(at + 1..)?;
    // `==`, `!=`, `<=` compare and `::` names; `:=` and `=>` do assign, at their
    // last and first sign.
    let other_operator = left.last().is_some_and(|byte| b"=!<>~+-".contains(byte))
        || line.get(at) == Some(&b':') && left.last() == Some(&b':')
        || matches!(right.first(), Some(b'=' | b':'));
    if other_operator {
        return None;
    }
    let promise = promise(left)?;
    let (start, secret, quoted) = value(right, at + 1)?;
    if !quoted && (!file.bare_values || !is_whole_line(line, segment_start)) {
        return None;
    }
    judge(left, promise, secret, file).map(|(kind, confidence)| Hit {
        kind,
        confidence,
        start,
        length: secret.len(),
        masked: mask_value(secret),
    })
}

fn is_whole_line(line: &[u8], segment_start: usize) -> bool {
    line.get(..segment_start).is_some_and(|before| before.iter().all(u8::is_ascii_whitespace))
}

/// What the names on the left of an operator promise.
fn promise(left: &[u8]) -> Option<Promise> {
    left.split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')))
        .filter(|name| (3..=64).contains(&name.len()))
        .find_map(|name| promise_of(&words(name)))
}

fn promise_of(words: &[String]) -> Option<Promise> {
    let last = words.last()?;
    if ABOUT.contains(&last.as_str()) || words.iter().any(|word| PUBLIC.contains(&word.as_str())) {
        return None;
    }
    let joined = words.concat();
    let has = |needles: &[&str]| needles.iter().any(|needle| joined.contains(needle));
    if has(&["password", "passwd", "passphrase"]) || words.iter().any(|word| word == "pwd" || word == "pw") {
        return Some(Promise::Password);
    }
    let short = |word: &String| matches!(word.as_str(), "secret" | "token" | "authorization" | "auth");
    (has(LONG) || words.iter().any(short)).then_some(Promise::Key)
}

/// `DB_PASSWORD`, `dbPassword` and `db-password` are the words `db`, `password`.
fn words(name: &[u8]) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_lower = false;
    for &byte in name {
        let joint = !byte.is_ascii_alphanumeric();
        if joint || (byte.is_ascii_uppercase() && before_lower) {
            words.push(String::new());
        }
        if !joint && let Some(word) = words.last_mut() {
            word.push(char::from(byte.to_ascii_lowercase()));
        }
        before_lower = byte.is_ascii_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Where the value on the right of an operator begins, the value, and whether it
/// stands in quotes.
fn value(right: &[u8], offset: usize) -> Option<(usize, &[u8], bool)> {
    let skipped = right.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'>' | b'=')).count();
    let rest = right.get(skipped..)?;
    // `r"..."`, `b'...'`, `@"..."`.
    let marked = usize::from(matches!(rest, [b'r' | b'b' | b'f' | b'u' | b'@' | b'L', b'"' | b'\'', ..]));
    let rest = rest.get(marked..)?;
    let start = offset + skipped + marked;
    let first = *rest.first()?;
    if matches!(first, b'"' | b'\'' | b'`') {
        let inner = rest.get(1..)?;
        let end = inner.iter().position(|byte| *byte == first)?;
        let (skipped, secret) = without_scheme(inner.get(..end)?);
        return Some((start + 1 + skipped, secret, true));
    }
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    // A comment may follow, nothing else: a bare value is one word.
    let after = rest.get(end..)?.trim_ascii_start();
    if !(after.is_empty() || after.starts_with(b"#")) {
        return None;
    }
    Some((start, rest.get(..end)?, false))
}

/// `Bearer abc` is the value `abc`.
fn without_scheme(value: &[u8]) -> (usize, &[u8]) {
    for scheme in [&b"Bearer "[..], b"bearer ", b"Basic ", b"token ", b"Token "] {
        if let Some(rest) = value.strip_prefix(scheme) {
            return (scheme.len(), rest);
        }
    }
    (0, value)
}

fn judge(left: &[u8], promise: Promise, secret: &[u8], file: FileKind) -> Option<(&'static str, Confidence)> {
    let printable = secret.iter().all(u8::is_ascii_graphic);
    if !printable
        || secret.len() > 512
        || sample::is_reference(secret)
        || sample::is_placeholder(secret)
        || sample::is_public_form(secret)
    {
        return None;
    }
    let classes = classes(secret);
    let bits = entropy::bits(secret);
    let random = match promise {
        Promise::Password => secret.len() >= 6 && classes >= 2 && bits >= 2.5,
        Promise::Key => secret.len() >= 16 && classes >= 2 && bits >= 3.5,
    };
    if !random {
        return None;
    }
    let name = left.to_ascii_lowercase();
    let says = |needle: &[u8]| name.windows(needle.len()).any(|window| window == needle);
    if secret.len() == 40 && says(b"aws") && (says(b"secret") || says(b"key")) {
        return Some(("aws-secret-access-key", Confidence::High));
    }
    let kind = match promise {
        Promise::Password => "password",
        Promise::Key => "secret-value",
    };
    let confidence = if file.made_up { Confidence::Low } else { Confidence::Medium };
    Some((kind, confidence))
}

/// How many of lower case, upper case, digits and other signs occur.
fn classes(secret: &[u8]) -> usize {
    let has = |class: fn(&u8) -> bool| usize::from(secret.iter().any(class));
    has(u8::is_ascii_lowercase)
        + has(u8::is_ascii_uppercase)
        + has(u8::is_ascii_digit)
        + has(|byte| !byte.is_ascii_alphanumeric() && !b"_-. :/".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Lines are put together here, so that none of them stands in this file.
    const VALUE: &str = "q8Zr1Lw0pXv7Kd2m9Ts4";

    fn found_in(path: &str, line: &str) -> Vec<Hit> {
        let mut hits = Vec::new();
        find(line.as_bytes(), FileKind::of(path), &mut hits);
        hits
    }

    fn kinds(path: &str, line: &str) -> Vec<&'static str> {
        found_in(path, line).iter().map(|hit| hit.kind).collect()
    }

    #[test]
    fn a_password_in_source_code_is_found() {
        for (before, after) in [
            ("password = \"", "\""),
            ("let db_password: &str = \"", "\";"),
            ("const DB_PASSWORD = '", "';"),
            ("{\"user\": \"u\", \"password\": \"", "\"}"),
            ("connect(password=\"", "\")"),
            ("config[\"password\"] = \"", "\""),
            ("'password' => '", "',"),
            ("passwd := \"", "\""),
        ] {
            let line = format!("{before}hunter2{after}");
            let hits = found_in("src/a.py", &line);
            assert_eq!(hits.len(), 1, "{line}");
            assert_eq!(line.get(hits[0].start..hits[0].start + hits[0].length), Some("hunter2"));
        }
    }

    #[test]
    fn a_bare_value_is_found_in_files_of_settings_only() {
        let line = format!("API_KEY={VALUE}");
        assert_eq!(kinds(".env", &line), ["secret-value"]);
        assert_eq!(kinds("values.yaml", &format!("  api_key: {VALUE} # now")), ["secret-value"]);
        assert_eq!(kinds("main.c", &line), Vec::<&str>::new());
    }

    #[test]
    fn a_bearer_token_in_a_header_is_found() {
        let hits = found_in("a.js", &format!("\"Authorization\": \"Bearer {VALUE}\""));
        assert_eq!(hits[0].length, VALUE.len());
    }

    #[test]
    fn the_second_key_of_a_cloud_account_is_known_by_its_name() {
        let line = format!("aws_secret_access_key = {VALUE}{VALUE}");
        assert_eq!(kinds("credentials", &line), ["aws-secret-access-key"]);
    }

    #[test]
    fn references_examples_and_names_are_none() {
        for line in [
            "password = os.environ[\"DB_PASSWORD\"]",
            "password = \"${DB_PASSWORD}\"",
            "password: {{ secrets.db }}",
            "password = \"changeme\"",
            "password = \"<your password>\"",
            "token_type = \"Bearer1234567890abcd\"",
            "let token = \"string-literal\";",
            "api_key: &'static str,",
            "secret = get_secret(\"db/main-1\")",
            "if password == \"hunter2\" {",
            "token: 123e4567-e89b-12d3-a456-426614174000",
            "PASSWORD_HASH = \"5f4dcc3b5aa765d61d8327deb882cf99\"",
            "max_tokens: 4096",
            "secret: 2024-01-02",
            "auth = \"https://login.acme.io/oauth2/v1\"",
        ] {
            assert_eq!(kinds("values.yaml", line), Vec::<&str>::new(), "{line}");
        }
    }

    #[test]
    fn checksums_of_lock_files_are_none() {
        let line = format!("token = \"{VALUE}{VALUE}\"");
        assert_eq!(kinds("Cargo.lock", &line), Vec::<&str>::new());
        assert_eq!(kinds("Cargo.toml", &line), ["secret-value"]);
    }

    #[test]
    fn a_value_of_a_test_is_probably_made_up() {
        let hits = found_in("tests/login.rs", &format!("let token = \"{VALUE}\";"));
        assert_eq!(hits[0].confidence, Confidence::Low);
    }

    #[test]
    fn names_are_split_into_their_words() {
        for name in ["DB_PASSWORD", "dbPassword", "db-password", "db.password"] {
            assert_eq!(words(name.as_bytes()), ["db", "password"], "{name}");
        }
    }
}
