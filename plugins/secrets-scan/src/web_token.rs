//! JSON Web Tokens (RFC 7519): three base64url parts, of which the first is a
//! JSON object that names an algorithm. Signature and expiry are not looked at.

use crate::finding::{Confidence, Hit, mask_token};

const BEGIN: &[u8] = b"eyJ";

/// Adds the web tokens of a line.
pub(crate) fn find(line: &[u8], hits: &mut Vec<Hit>) {
    let mut from = 0;
    while let Some(rest) = line.get(from..) {
        let Some(at) = rest.windows(BEGIN.len()).position(|window| window == BEGIN) else {
            return;
        };
        let start = from + at;
        let Some(candidate) = line.get(start..) else {
            return;
        };
        let length = candidate
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
            .count();
        from = start + length.max(BEGIN.len());
        let Some(token) = candidate.get(..length) else {
            return;
        };
        if is_web_token(token) {
            hits.push(Hit {
                kind: "json-web-token",
                confidence: Confidence::Medium,
                start,
                length,
                masked: mask_token(token),
            });
        }
    }
}

fn is_web_token(token: &[u8]) -> bool {
    let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
    let [header, claims, signature] = parts.as_slice() else {
        return false;
    };
    // The shortest signature in use is that of HS256.
    if signature.len() < 40 {
        return false;
    }
    let (Some(header), Some(claims)) = (decode(header), decode(claims)) else {
        return false;
    };
    let (header, claims) = (String::from_utf8_lossy(&header), String::from_utf8_lossy(&claims));
    // The token that every introduction shows.
    let shown_everywhere = claims.contains("John Doe") || claims.contains("\"1234567890\"");
    header.starts_with('{') && header.contains("\"alg\"") && claims.starts_with('{') && !shown_everywhere
}

/// base64url without padding.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut buffer, mut held) = (0_u32, 0_u32);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        buffer = (buffer << 6 | u32::from(value)) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((buffer >> held & 0xFF) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits: Vec<u8> = text.bytes().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
        bits.chunks(6)
            .map(|chunk| {
                let value = (0..6).fold(0, |value, at| value << 1 | chunk.get(at).unwrap_or(&0));
                char::from(ALPHABET[usize::from(value)])
            })
            .collect()
    }

    fn found(header: &str, claims: &str) -> usize {
        let signature = "k".repeat(43);
        let line = format!("token: {}.{}.{signature}", encode(header), encode(claims));
        let mut hits = Vec::new();
        find(line.as_bytes(), &mut hits);
        hits.len()
    }

    #[test]
    fn a_token_with_an_algorithm_is_found() {
        assert_eq!(found(r#"{"alg":"HS256"}"#, r#"{"sub":"u-77"}"#), 1);
    }

    #[test]
    fn what_every_introduction_shows_is_none() {
        assert_eq!(found(r#"{"alg":"HS256"}"#, r#"{"name":"John Doe"}"#), 0);
    }

    #[test]
    fn encoded_json_that_is_no_token_is_none() {
        assert_eq!(found(r#"{"kid":"a"}"#, r#"{"sub":"u-77"}"#), 0);
        assert_eq!(found(r#"{"alg":"HS256"}"#, "plain"), 0);
    }
}
