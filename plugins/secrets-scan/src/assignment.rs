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
            b'=' | b':' => {
                let assigned = (quote.is_none() || byte == b'=').then(|| assigned(line, segment_start, at, file));
                hits.extend(assigned.flatten().or_else(|| passed(line, at, file)));
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
    judge(left, promise, secret, file).map(|judged| hit(judged, start, secret))
}

/// The finding of a value that stands without quotes, anywhere: `export NAME=value`,
/// `docker run -e NAME=value`, `-H "X-Api-Key: value"`. In any file, so the name
/// has to stand right before the sign and the value has to be drawn.
fn passed(line: &[u8], at: usize, file: FileKind) -> Option<Hit> {
    let before = line.get(..at)?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let name_start = before.iter().rposition(|byte| !is_name(byte)).map_or(0, |at| at + 1);
    let name = before.get(name_start..)?;
    let promise = promise(name)?;
    let after = line.get(at + 1..)?;
    let blanks = after.iter().take_while(|byte| **byte == b' ').count();
    let (skipped, rest) = without_scheme(after.get(blanks..)?);
    let secret = drawn(rest)?;
    let start = at + 1 + blanks + skipped;
    judge(name, promise, secret, file).map(|judged| hit(judged, start, secret))
}

/// Adds what an `ENV NAME value` of a container file sets.
pub(crate) fn find_instruction(line: &[u8], file: FileKind, hits: &mut Vec<Hit>) {
    if line.len() <= LONGEST_LINE && mentions_secret(line) {
        hits.extend(instruction(line, file));
    }
}

fn instruction(line: &[u8], file: FileKind) -> Option<Hit> {
    let rest = line.trim_ascii_start().strip_prefix(b"ENV ")?;
    let space = rest.iter().position(|byte| *byte == b' ')?;
    let (name, value) = (rest.get(..space)?, rest.get(space..)?.trim_ascii_start());
    let secret = drawn(value)?;
    let start = line.len() - value.len();
    judge(name, promise(name)?, secret, file).map(|judged| hit(judged, start, secret))
}

/// The value at the start of `rest` that a machine drew and no programmer wrote:
/// no call, no path, no name with words in it.
fn drawn(rest: &[u8]) -> Option<&[u8]> {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_-+/=~.".contains(byte);
    let secret = rest.get(..rest.iter().take_while(is_part).count())?;
    let ended = rest.get(secret.len()).is_none_or(|byte| byte.is_ascii_whitespace() || b"\"'`;,)<&|\\".contains(byte));
    (ended && is_drawn(secret)).then_some(secret)
}

/// Whether the kind of character changes as often as in a drawn value: within
/// the words of a name it seldom does.
fn is_drawn(secret: &[u8]) -> bool {
    let class = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let neighbours = || secret.windows(2).filter_map(|pair| <&[u8; 2]>::try_from(pair).ok());
    let pairs = neighbours().filter(|[a, b]| class(*a) < 3 && class(*b) < 3).count();
    // A capital and the letter after it begin a word as a rule.
    let changes = neighbours().filter(|pair| !matches!(pair.map(class), [3, _] | [_, 3] | [1, 0]));
    let changes = changes.filter(|[a, b]| class(*a) != class(*b)).count();
    let digits = secret.iter().filter(|byte| byte.is_ascii_digit()).count();
    secret.len() >= 20 && digits >= 2 && changes * 4 >= pairs && pairs * 10 >= secret.len() * 7
}

fn hit((kind, confidence): (&'static str, Confidence), start: usize, secret: &[u8]) -> Hit {
    Hit { kind, confidence, start, length: secret.len(), masked: mask_value(secret) }
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
    let made_up = file.made_up && !(file.prose && is_drawn(secret));
    let confidence = if made_up { Confidence::Low } else { Confidence::Medium };
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
        assert_eq!(kinds("main.c", "password = hunter2"), Vec::<&str>::new());
    }

    #[test]
    fn a_drawn_value_is_found_without_quotes_in_any_file() {
        let value = format!("{VALUE}{}", "Hb6yNc5Rf3Ej");
        for path in ["run.sh", "a.py", "a.toml", "a.txt", "a.log", "a.md", "Dockerfile", "Dockerfile.prod"] {
            for (before, after) in [
                ("export API_KEY=", ""),
                ("API_KEY=", ""),
                ("api_key: \"", "\""),
                ("export API_KEY=\"", "\""),
                ("curl -H \"X-Api-Key: ", "\" acme.io"),
                ("curl -H 'Authorization: Bearer ", "' acme.io"),
                ("docker run -e DB_PASSWORD=", " image"),
                ("ENV API_KEY=", " \\"),
            ] {
                let line = format!("{before}{value}{after}");
                let hits = found_in(path, &line);
                let found: Vec<_> = hits.iter().map(|hit| (hit.start, hit.length, hit.confidence)).collect();
                assert_eq!(found, [(before.len(), value.len(), Confidence::Medium)], "{path}: {line}");
            }
        }
    }

    #[test]
    fn an_instruction_of_a_container_file_is_found() {
        let mut hits = Vec::new();
        let line = format!("ENV API_KEY {VALUE}");
        find_instruction(line.as_bytes(), FileKind::of("Dockerfile"), &mut hits);
        assert_eq!((hits[0].kind, hits[0].start), ("secret-value", 12));
    }

    #[test]
    fn code_and_names_without_quotes_are_none() {
        for line in [
            "let token = self.nextTokenOfKind2(first1);",
            "token=base64UrlDecodeHeader2Value",
            "secret: SecretKeyRef12WithVersion34,",
            "api_key = Option<GenericArray1024TypeName>",
            "auth: crate::module1::module2::Type99Name,",
            "password = /usr/share/x86_64/lib2/file10",
        ] {
            assert_eq!(kinds("src/a.rs", line), Vec::<&str>::new(), "{line}");
        }
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
