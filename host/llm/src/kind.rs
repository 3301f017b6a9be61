//! What can go wrong with a model, in one table: kind, stable code, class.
//!
//! It must not know any wire format: adapters name a kind, the table says what happens next.

use cofferdam_core::fault::{Class, Fault};

/// A kind of failure of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The key is missing, wrong, or may not do this.
    Auth,
    /// The account has no money or quota left; waiting does not help.
    Quota,
    /// Too many requests; waiting helps.
    RateLimited,
    /// The model or the endpoint does not exist.
    NotFound,
    /// The provider does not accept the request.
    BadRequest,
    /// The conversation is longer than the model can read.
    ContextLength,
    /// The provider cannot be reached, is down, or is overloaded.
    Unavailable,
    /// The provider took too long.
    Timeout,
    /// The answer stopped before its end.
    Truncated,
    /// What came back is not an answer of this protocol.
    Protocol,
    /// The answer is larger than we accept.
    TooLarge,
    /// Nothing is known under its name.
    Unknown,
    /// The model, its provider or its file is not configured.
    NotConfigured,
    /// The scripted model has no answer for what it was asked.
    NoAnswer,
    /// The extracting model cannot do what only a language model can.
    NotALanguageModel,
    /// Recordings are replayed, and this request is not among them, or not so often.
    NotRecorded,
    /// A recording cannot be written or read.
    RecordingFailed,
}

impl Kind {
    /// The stable code, as it stands in journals and documentation.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.row().0
    }

    /// What the runtime does next.
    #[must_use]
    pub const fn class(self) -> Class {
        self.row().1
    }

    /// A fault of this kind.
    #[must_use]
    pub fn fault(self, message: impl Into<String>) -> Fault {
        Fault::new(self.class(), self.code(), message)
    }

    /// The kind that an HTTP status alone stands for.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Auth,
            402 => Self::Quota,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            409 | 500..=599 => Self::Unavailable,
            429 => Self::RateLimited,
            400..=499 => Self::BadRequest,
            _ => Self::Protocol,
        }
    }

    const fn row(self) -> (&'static str, Class) {
        match self {
            Self::Auth => ("model_auth", Class::User),
            Self::Quota => ("model_quota", Class::User),
            Self::RateLimited => ("model_rate_limited", Class::Retry),
            Self::NotFound => ("model_not_found", Class::User),
            Self::BadRequest => ("model_bad_request", Class::Step),
            Self::ContextLength => ("model_context_length", Class::Step),
            Self::Unavailable => ("model_unavailable", Class::Retry),
            Self::Timeout => ("model_timeout", Class::Retry),
            Self::Truncated => ("model_truncated", Class::Retry),
            Self::Protocol => ("model_protocol", Class::Step),
            Self::TooLarge => ("model_answer_too_large", Class::Step),
            Self::NotConfigured => ("model_not_configured", Class::User),
            Self::Unknown => ("model_unknown", Class::User),
            Self::NoAnswer => ("model_script_no_answer", Class::User),
            Self::NotALanguageModel => ("model_not_a_language_model", Class::User),
            Self::NotRecorded => ("model_not_recorded", Class::User),
            Self::RecordingFailed => ("model_recording_failed", Class::User),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_by_itself_is_retried() {
        for status in [408, 409, 429, 500, 502, 503, 504, 529] {
            assert_eq!(Kind::of_status(status).class(), Class::Retry, "{status}");
        }
        for status in [302, 400, 401, 402, 403, 404, 413, 422] {
            assert_ne!(Kind::of_status(status).class(), Class::Retry, "{status}");
        }
    }
}
