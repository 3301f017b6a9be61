//! Requests to the hosts that are granted. The host resolves, checks, sends and
//! follows redirects; a plugin has no sockets.

use std::borrow::Cow;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};

/// What to send; see [`Context::fetch`](crate::Context::fetch).
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Absolute, `http` or `https`.
    pub url: String,
    /// In order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, if any.
    pub body: Option<Vec<u8>>,
    /// By default the rest of the call's time.
    pub timeout: Option<Duration>,
    /// By default the host's bound. A longer body is an error, not a cut.
    pub max_response_bytes: Option<u64>,
}

impl Request {
    /// A request with the method in upper case.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout: None,
            max_response_bytes: None,
        }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST with a body.
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        let mut request = Self::new("POST", url);
        request.body = Some(body.into());
        request
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Waits no longer than this.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Fails when the answer is longer than this.
    #[must_use]
    pub fn max_response_bytes(mut self, bytes: u64) -> Self {
        self.max_response_bytes = Some(bytes);
        self
    }
}

/// What came back. A status of 400 and above is an answer too:
/// [`Response::error_for_status`] makes it an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// In the order received, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Decompressed.
    pub body: Vec<u8>,
    /// The URL that answered, after redirects.
    pub final_url: String,
}

impl Response {
    /// An answer without headers, for tests.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), final_url: String::new() }
    }

    /// Adds a header, for tests.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into().to_ascii_lowercase(), value.into()));
        self
    }

    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The body as text, with what is not UTF-8 replaced.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body decoded from JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`], since it is the other side that answered
    /// something else than agreed.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::unavailable(format!("`{}` answered something else: {error}", self.final_url))
                .with_code("unexpected_answer")
                .permanent()
        })
    }

    /// Turns a status of 400 and above into an error of the kind that fits.
    ///
    /// # Errors
    ///
    /// For 401 [`ErrorKind::AuthRequired`], 403 [`ErrorKind::Denied`], 404
    /// [`ErrorKind::NotFound`], 429 [`ErrorKind::RateLimited`] with the delay of
    /// `retry-after`, 5xx [`ErrorKind::Unavailable`].
    pub fn error_for_status(self) -> Result<Self> {
        let kind = match self.status {
            ..=399 => return Ok(self),
            401 => ErrorKind::AuthRequired,
            403 => ErrorKind::Denied,
            404 | 410 => ErrorKind::NotFound,
            408 | 504 => ErrorKind::Timeout,
            409 | 412 => ErrorKind::Conflict,
            413 => ErrorKind::TooLarge,
            429 => ErrorKind::RateLimited,
            400..=499 => ErrorKind::InvalidInput,
            _ => ErrorKind::Unavailable,
        };
        let error = Error::new(kind, format!("`{}` answered {}", self.final_url, self.status))
            .with_code(format!("http_{}", self.status));
        let delay = self.header("retry-after").and_then(|value| value.trim().parse().ok());
        Err(match delay {
            Some(seconds) => error.with_retry_after(Duration::from_secs(seconds)),
            None => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_status_is_no_error() {
        assert!(Response::new(304, "").error_for_status().is_ok());
    }

    #[test]
    fn a_bad_status_becomes_the_kind_that_fits() {
        for (status, kind) in [
            (400, ErrorKind::InvalidInput),
            (401, ErrorKind::AuthRequired),
            (404, ErrorKind::NotFound),
            (503, ErrorKind::Unavailable),
        ] {
            let error = Response::new(status, "").error_for_status().unwrap_err();
            assert_eq!(error.kind(), kind, "{status}");
        }
    }

    #[test]
    fn the_delay_of_a_busy_service_is_kept() {
        let answer = Response::new(429, "").with_header("Retry-After", "7");
        let error = answer.error_for_status().unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    }
}
