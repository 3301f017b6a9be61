//! What a redirect asks for next. Each one starts again at the match; nothing is trusted because of the hop before.

use cofferdam_core::policy::Method;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName};

use crate::EgressError;
use crate::target::Target;

/// The credentials a guest may have set itself; they belong to the origin they were written for.
const CREDENTIALS: [&str; 2] = ["authorization", "cookie"];
/// Headers that describe a body which is no longer sent.
const BODY_HEADERS: [&str; 5] =
    ["content-encoding", "content-language", "content-location", "content-type", "content-disposition"];

/// Whether rules may add credentials. Once a redirect has left the origin that was asked for, none do:
/// the other side chose the rest of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credentials {
    Added,
    Dropped,
}

/// Whether the request's body goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    Sent,
    Left,
}

/// One request of the chain.
#[derive(Debug)]
pub(crate) struct Hop {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) credentials: Credentials,
}

impl Hop {
    /// The hop that a response asks for, `None` when it is no redirect.
    pub(crate) fn next(&self, status: StatusCode, location: Option<&[u8]>) -> Result<Option<Self>, EgressError> {
        let Some(location) = location.filter(|_| matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)) else {
            return Ok(None);
        };
        let unclear = || EgressError::protocol(&self.target.host, "redirects to something that is not a URL");
        let location = std::str::from_utf8(location).map_err(|_| unclear())?;
        let url = self.target.url.join(location).map_err(|_| unclear())?;
        // Read again from the text, with all the checks that a guest's own URL passes.
        let target = Target::parse(url.as_str())?;
        let mut next = Self { method: self.method, target, headers: self.headers.clone(), ..*self };
        let rewritten = match (status.as_u16(), self.method) {
            (303, method) => !matches!(method, Method::Get | Method::Head),
            (301 | 302, method) => method == Method::Post,
            _ => false,
        };
        if rewritten {
            next.method = Method::Get;
            next.body = Body::Left;
            remove(&mut next.headers, &BODY_HEADERS);
        }
        if !next.target.same_origin(&self.target) {
            next.credentials = Credentials::Dropped;
            remove(&mut next.headers, &CREDENTIALS);
        }
        Ok(Some(next))
    }
}

fn remove(headers: &mut HeaderMap, names: &[&'static str]) {
    for name in names {
        headers.remove(HeaderName::from_static(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(method: Method) -> Hop {
        let headers = [("authorization", "a"), ("cookie", "b"), ("content-type", "c"), ("x-other", "d")];
        Hop {
            method,
            target: Target::parse("https://a.com/x/y").unwrap(),
            headers: headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
            body: Body::Sent,
            credentials: Credentials::Added,
        }
    }

    fn next(method: Method, status: u16, location: &str) -> Result<Option<Hop>, EgressError> {
        hop(method).next(StatusCode::from_u16(status).unwrap(), Some(location.as_bytes()))
    }

    #[test]
    fn credentials_stay_at_their_origin() {
        let same = next(Method::Get, 302, "/z").unwrap().unwrap();
        assert_eq!((same.target.url.as_str(), same.credentials), ("https://a.com/z", Credentials::Added));
        assert!(same.headers.contains_key("authorization"));
        for location in ["https://b.com/", "http://a.com/", "https://a.com:8443/", "//sub.a.com/"] {
            let other = next(Method::Get, 302, location).unwrap().unwrap();
            assert_eq!(other.credentials, Credentials::Dropped, "{location}");
            assert!(!other.headers.contains_key("authorization") && !other.headers.contains_key("cookie"));
            assert!(other.headers.contains_key("x-other"));
            let back = other.next(StatusCode::FOUND, Some(b"https://a.com/")).unwrap().unwrap();
            assert_eq!(back.credentials, Credentials::Dropped, "there and back again");
        }
    }

    #[test]
    fn the_method_and_body_follow_the_status() {
        for (method, status, expected, body) in [
            (Method::Post, 301, Method::Get, Body::Left),
            (Method::Post, 302, Method::Get, Body::Left),
            (Method::Put, 303, Method::Get, Body::Left),
            (Method::Head, 303, Method::Head, Body::Sent),
            (Method::Put, 302, Method::Put, Body::Sent),
            (Method::Post, 307, Method::Post, Body::Sent),
            (Method::Post, 308, Method::Post, Body::Sent),
        ] {
            let hop = next(method, status, "/").unwrap().unwrap();
            assert_eq!((hop.method, hop.body), (expected, body), "{method} {status}");
            assert_eq!(hop.headers.contains_key("content-type"), body == Body::Sent);
        }
    }

    #[test]
    fn only_a_redirect_redirects() {
        assert!(next(Method::Get, 200, "/").unwrap().is_none());
        assert!(next(Method::Get, 304, "/").unwrap().is_none());
        assert!(hop(Method::Get).next(StatusCode::FOUND, None).unwrap().is_none());
        for location in
            ["file:///etc/passwd", "ftp://a.com/", "https://u:p@a.com/", "https://", "data:x", "/a/%252e%252e/b"]
        {
            assert!(next(Method::Get, 302, location).is_err(), "{location}");
        }
    }
}
