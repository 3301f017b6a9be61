//! Addresses with a password in them: `scheme://user:password@host`.

use crate::entropy;
use crate::finding::{Confidence, Hit, mask_value};
use crate::sample;

/// Adds the addresses of a line that carry a password.
pub(crate) fn find(line: &[u8], hits: &mut Vec<Hit>) {
    let mut from = 0;
    while let Some(rest) = line.get(from..) {
        let Some(at) = rest.windows(3).position(|window| window == b"://") else {
            return;
        };
        let authority_start = from + at + 3;
        from = authority_start;
        if let Some(hit) = password(line, authority_start) {
            hits.push(hit);
        }
    }
}

fn password(line: &[u8], start: usize) -> Option<Hit> {
    let authority = line.get(start..)?;
    let end = authority.iter().position(|byte| {
        byte.is_ascii_whitespace()
            || matches!(byte, b'/' | b'"' | b'\'' | b'`' | b'?' | b'#' | b'<' | b'>' | b')' | b',')
    });
    let authority = authority.get(..end.unwrap_or(authority.len()))?;
    let at = authority.iter().rposition(|byte| *byte == b'@')?;
    let (user_info, host) = (authority.get(..at)?, authority.get(at + 1..)?);
    let colon = user_info.iter().position(|byte| *byte == b':')?;
    let (user, secret) = (user_info.get(..colon)?, user_info.get(colon + 1..)?);
    let confidence = judge(user, secret, host)?;
    Some(Hit {
        kind: "password-in-url",
        confidence,
        start: start + colon + 1,
        length: secret.len(),
        masked: mask_value(secret),
    })
}

fn judge(user: &[u8], secret: &[u8], host: &[u8]) -> Option<Confidence> {
    let trivial = secret.len() < 5
        || secret.eq_ignore_ascii_case(user)
        || sample::is_reference(secret)
        || sample::is_reference(host)
        || sample::is_placeholder(secret)
        || entropy::distinct(secret) < 4;
    if trivial || host.is_empty() {
        return None;
    }
    let host = host.to_ascii_lowercase();
    let name = host.split(|byte| *byte == b':').next().unwrap_or(&host);
    let reserved = name.windows(7).any(|window| window == b"example")
        || [&b".test"[..], b".invalid", b".localhost"].iter().any(|end| name.ends_with(end));
    let near = [&b"localhost"[..], b"127.0.0.1", b"host", b"db", b"postgres", b"redis", b"mysql"].contains(&name);
    if reserved {
        return None;
    }
    let plain = secret.iter().all(u8::is_ascii_lowercase);
    Some(if near || plain { Confidence::Low } else { Confidence::Medium })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(user_info: &str, host: &str) -> Vec<Confidence> {
        let line = format!("url = \"postgres:{}{user_info}@{host}/main\"", "//");
        let mut hits = Vec::new();
        find(line.as_bytes(), &mut hits);
        hits.iter().map(|hit| hit.confidence).collect()
    }

    #[test]
    fn a_password_for_a_real_host_is_found() {
        assert_eq!(found("app:Tr0ub4dor&3", "db7.acme.io:5432"), [Confidence::Medium]);
    }

    #[test]
    fn a_password_for_the_own_machine_is_unlikely_to_matter() {
        assert_eq!(found("app:Tr0ub4dor&3", "localhost"), [Confidence::Low]);
    }

    #[test]
    fn examples_and_references_are_none() {
        for (user_info, host) in [
            ("postgres:postgres", "db7.acme.io"),
            ("app:${DB_PASSWORD}", "db7.acme.io"),
            ("user:password", "db7.acme.io"),
            ("app:Tr0ub4dor&3", "db.example.com"),
            ("app", "db7.acme.io"),
        ] {
            assert_eq!(found(user_info, host), [], "{user_info} {host}");
        }
    }

    #[test]
    fn what_is_shown_is_not_the_password() {
        let line = format!("https:{}app:Tr0ub4dor&3@acme.io", "//");
        let mut hits = Vec::new();
        find(line.as_bytes(), &mut hits);
        assert_eq!(hits[0].masked, "T\u{2026} (11 characters)");
    }
}
