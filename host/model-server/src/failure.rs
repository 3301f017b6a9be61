//! Failures, in no protocol's words. It must not know their bodies.

/// What goes wrong before an answer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    BadRequest,
    /// What a real provider would not take, or what makes no sense in this protocol.
    Refused(String),
    Unauthorized,
    Forbidden,
    NotFound,
    TooLarge,
    Unprocessable,
    RateLimit(Hint),
    Quota,
    Internal,
    BadGateway,
    Unavailable,
    Overloaded,
    WithStatus200,
    SignIn,
}

/// How a rate limit says how long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    None,
    Seconds,
    Date,
    Milliseconds,
    Hours,
}

/// What [`Hint::Seconds`] and [`Hint::Date`] say.
const WAIT_S: i64 = 7;

impl Failure {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::WithStatus200 | Self::SignIn => 200,
            Self::BadRequest | Self::Refused(_) => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::TooLarge => 413,
            Self::Unprocessable => 422,
            Self::RateLimit(_) | Self::Quota => 429,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::Overloaded => 529,
        }
    }

    /// The page of a failure that no provider wrote, but something in front of it.
    pub(crate) fn page(&self) -> Option<&'static str> {
        match self {
            Self::BadGateway => Some(concat!(
                "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n",
                "<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
            )),
            Self::SignIn => Some("<!doctype html><html><head><title>Sign in</title></head><body>Sign in</body></html>"),
            _ => None,
        }
    }

    /// The headers of HTTP that say how long to wait.
    pub(crate) fn retry_headers(&self) -> Vec<(&'static str, String)> {
        let Self::RateLimit(hint) = self else { return Vec::new() };
        match hint {
            Hint::None => Vec::new(),
            Hint::Seconds => vec![("retry-after", WAIT_S.to_string())],
            Hint::Date => vec![("retry-after", soon())],
            // The coarse one beside it must lose.
            Hint::Milliseconds => vec![("retry-after-ms", "250".to_owned()), ("retry-after", "9".to_owned())],
            Hint::Hours => vec![("retry-after", "7200".to_owned())],
        }
    }

    /// The same as Google's duration.
    pub(crate) fn retry_delay(&self) -> Option<&'static str> {
        match self {
            Self::RateLimit(Hint::Seconds | Hint::Date) => Some("7s"),
            Self::RateLimit(Hint::Milliseconds) => Some("0.250s"),
            Self::RateLimit(Hint::Hours) => Some("7200s"),
            _ => None,
        }
    }
}

/// The HTTP date of [`WAIT_S`] from now.
fn soon() -> String {
    let then = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(WAIT_S);
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&then).unwrap_or_default()
}

/// The next full minute or so, as RFC 3339: when a rate limit is full again.
pub(crate) fn reset_time() -> String {
    let then = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(60);
    format!("{then:.0}")
}

#[cfg(test)]
mod tests {
    use super::{reset_time, soon};

    #[test]
    fn dates_have_the_forms_of_headers() {
        assert!(soon().ends_with(" GMT") && soon().len() == 29, "{}", soon());
        assert!(reset_time().ends_with('Z') && reset_time().len() == 20, "{}", reset_time());
    }
}
