//! The headers that a guest may send, and those that it may see.
//!
//! The connection belongs to the host: `host`, lengths, hop-by-hop and proxy headers are refused.

use cofferdam_core::limits::{EGRESS_HEADER_BYTES, EGRESS_HEADERS};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::EgressError;

/// Hop-by-hop headers (RFC 9110, 7.6.1) and those that frame or route a request.
const REFUSED: [&str; 13] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Checks and copies the headers of a guest. `accept-encoding` is left out: the egress inflates what it
/// can bound and search, and asks for nothing else.
pub(crate) fn from_guest(headers: &[(String, Vec<u8>)]) -> Result<HeaderMap, EgressError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > EGRESS_HEADERS || bytes > EGRESS_HEADER_BYTES {
        return Err(EgressError::TooLarge { what: "the request's head", limit: EGRESS_HEADER_BYTES as u64 });
    }
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(EgressError::invalid(format!("`{}` is not the name of a header", name.escape_debug())));
        };
        if REFUSED.contains(&parsed.as_str()) {
            return Err(EgressError::invalid(format!("the header `{parsed}` is set by the host")));
        }
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return Err(EgressError::invalid(format!(
                "the value of the header `{parsed}` contains control characters"
            )));
        };
        if parsed != "accept-encoding" {
            map.append(parsed, value);
        }
    }
    Ok(map)
}

/// Refuses a response whose head is larger than a body may hide.
pub(crate) fn check_size(headers: &HeaderMap) -> Result<(), EgressError> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > EGRESS_HEADER_BYTES {
        return Err(EgressError::TooLarge { what: "the response's head", limit: EGRESS_HEADER_BYTES as u64 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &[u8]) -> Result<HeaderMap, EgressError> {
        from_guest(&[(name.to_owned(), value.to_vec())])
    }

    #[test]
    fn forged_headers_are_refused() {
        for name in
            REFUSED.iter().copied().chain(["Host", "HOST", "Transfer-Encoding", "a b", "", "x\r\nhost", "x:y", "höst"])
        {
            assert!(one(name, b"x").is_err(), "{name}");
        }
        for value in [&b"a\r\nHost: evil"[..], b"a\nb", b"a\0b", b"\x7f"] {
            assert!(one("x-test", value).is_err());
        }
    }

    #[test]
    fn honest_headers_pass_and_the_encoding_is_ours() {
        assert_eq!(one("X-Test", b"a\tb \xff").unwrap().get("x-test").unwrap().as_bytes(), b"a\tb \xff");
        assert!(one("Accept-Encoding", b"br").unwrap().is_empty());
    }

    #[test]
    fn a_head_without_end_is_refused() {
        let many = vec![("x".to_owned(), Vec::new()); EGRESS_HEADERS + 1];
        assert!(matches!(from_guest(&many), Err(EgressError::TooLarge { .. })));
        assert!(matches!(one("x", &vec![b'a'; EGRESS_HEADER_BYTES]), Err(EgressError::TooLarge { .. })));
    }
}
