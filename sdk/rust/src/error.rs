//! How a tool fails: a kind that decides what the caller does next, and a
//! sentence for people. Knows nothing of how an error crosses to the host.

use std::any::Any;
use std::fmt;
use std::io;
use std::time::Duration;

use serde_json::Value;

/// What a tool returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error. See `wit/types` for the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The arguments cannot be used. Not retried.
    InvalidInput,
    /// The thing named does not exist. Not retried.
    NotFound,
    /// It exists already, or something else changed it first. Not retried.
    Conflict,
    /// Policy or a remote system refused. Not retried.
    Denied,
    /// A person has to connect an account. Not retried.
    AuthRequired,
    /// Too many calls. Retried.
    RateLimited,
    /// It took too long. Retried.
    Timeout,
    /// The other side is unreachable or broken for now. Retried.
    Unavailable,
    /// The run is being cancelled.
    Cancelled,
    /// A value exceeds a bound. Not retried.
    TooLarge,
    /// Not something that this plugin or host does. Not retried.
    Unsupported,
    /// A fault in the plugin. Not retried.
    Internal,
    /// See the code. Not retried.
    Other,
}

/// The failure of a call.
///
/// `?` turns any standard error into one: an [`io::Error`] keeps its meaning
/// (not found, denied), everything else becomes [`ErrorKind::Internal`].
#[derive(Clone, PartialEq)]
pub struct Error(Box<Fields>);

/// Boxed, since every result has room for an error.
#[derive(Clone, PartialEq)]
struct Fields {
    kind: ErrorKind,
    message: String,
    code: Option<String>,
    retryable: Option<bool>,
    retry_after: Option<Duration>,
    detail: Option<Value>,
}

impl Error {
    /// An error with a message: one sentence, lower case, no period at its end.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Fields { kind, message, code: None, retryable: None, retry_after: None, detail: None }))
    }

    /// The arguments cannot be used.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// The thing named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Policy or a remote system refused.
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, message)
    }

    /// A value exceeds a bound.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::TooLarge, message)
    }

    /// The other side is unreachable or broken for now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// A fault in the plugin.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds a short stable code for programs, such as `channel_not_found`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Says that a retry can help, whatever the kind says.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.0.retryable = Some(true);
        self
    }

    /// Says that a retry cannot help, whatever the kind says.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.0.retryable = Some(false);
        self
    }

    /// Says when a retry can help at the earliest.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Adds facts for programs.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.0.detail = Some(detail);
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The code for programs.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// What was said about retrying, if it differs from what the kind says.
    pub fn is_retryable(&self) -> Option<bool> {
        self.0.retryable
    }

    /// When a retry can help at the earliest.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Facts for programs.
    pub fn detail(&self) -> Option<&Value> {
        self.0.detail.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)?;
        if let Some(code) = &self.0.code {
            write!(f, " [{code}]")?;
        }
        Ok(())
    }
}

// `Error` is no `std::error::Error` itself: that is what makes this conversion
// possible, and a tool's error ends at the host, so nobody wraps it.
impl<E: std::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let kind = (&error as &dyn Any)
            .downcast_ref::<io::Error>()
            .map_or(ErrorKind::Internal, |error| kind_of_io(error.kind()));
        Self::new(kind, error.to_string())
    }
}

/// What the kind of an IO error means to the caller of a tool.
pub(crate) fn kind_of_io(kind: io::ErrorKind) -> ErrorKind {
    match kind {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidData
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory => ErrorKind::InvalidInput,
        io::ErrorKind::FileTooLarge | io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::TooLarge,
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u8> {
        Ok(text.parse::<u8>()?)
    }

    #[test]
    fn any_standard_error_becomes_an_internal_one() {
        let error = number("x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(error.message(), "invalid digit found in string");
    }

    #[test]
    fn an_io_error_keeps_its_meaning() {
        let error = Error::from(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_added_can_be_read() {
        let error = Error::unavailable("the service is down")
            .with_code("down")
            .permanent()
            .with_retry_after(Duration::from_secs(3))
            .with_detail(Value::from(1));
        assert_eq!(error.code(), Some("down"));
        assert_eq!(error.is_retryable(), Some(false));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
        assert_eq!(error.detail(), Some(&Value::from(1)));
        assert_eq!(format!("{error:?}"), "Unavailable: the service is down [down]");
    }
}
