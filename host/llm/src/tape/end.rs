//! How an answer ended, as it stands in a recording and as whoever reads the answer hears of it.
//!
//! It must not know what was in the answer.

use cofferdam_egress::{EgressError, Phase};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum End {
    /// The body ended.
    Eof,
    /// It was read no further: it had said that it was complete, or the request was given up.
    Closed,
    /// It took too long.
    Timeout { host: String, phase: PhaseName, after_ms: u64 },
    /// Something was larger than its bound.
    TooLarge { what: String, limit: u64 },
    /// The host had no address.
    Dns { host: String, reason: String },
    /// No secure connection.
    Tls { host: String, reason: String },
    /// No connection.
    Connect { host: String, reason: String },
    /// The provider led elsewhere.
    Redirect { host: String, status: u16 },
    /// It broke off, or was no HTTP.
    Protocol { host: String, reason: String },
    /// It was not sent at all.
    Refused { message: String },
}

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PhaseName {
    Connect,
    Headers,
    Idle,
    Total,
}

/// What can be too large, as the way to the network words it.
const LARGE: &[&str] = &["the response's body", "the response's head", "the request's head", "the URL"];

impl End {
    /// The end that this error is.
    pub(super) fn of(error: &EgressError) -> Self {
        match error {
            EgressError::Timeout { host, phase, after } => Self::Timeout {
                host: host.clone(),
                phase: PhaseName::of(*phase),
                after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
            },
            EgressError::TooLarge { what, limit } => Self::TooLarge { what: (*what).to_owned(), limit: *limit },
            EgressError::Dns { host, reason } => Self::Dns { host: host.clone(), reason: reason.clone() },
            EgressError::Tls { host, reason } => Self::Tls { host: host.clone(), reason: reason.clone() },
            EgressError::Connect { host, reason } => Self::Connect { host: host.clone(), reason: reason.clone() },
            EgressError::Redirect { host, status } => Self::Redirect { host: host.clone(), status: *status },
            EgressError::Protocol { host, reason } => Self::Protocol { host: host.clone(), reason: reason.clone() },
            other => Self::Refused { message: other.to_string() },
        }
    }

    /// The error that it is for whoever reads on; none where the body just ended. `path` is the recording.
    pub(super) fn error(&self, path: &str) -> Option<EgressError> {
        Some(match self.clone() {
            Self::Eof => return None,
            Self::Closed => EgressError::Protocol {
                host: path.to_owned(),
                reason: "nobody read on when this was recorded".to_owned(),
            },
            Self::Timeout { host, phase, after_ms } => {
                EgressError::Timeout { host, phase: phase.phase(), after: Duration::from_millis(after_ms) }
            }
            Self::TooLarge { what, limit } => {
                let known = LARGE.iter().find(|known| **known == what);
                EgressError::TooLarge { what: known.copied().unwrap_or("the answer"), limit }
            }
            Self::Dns { host, reason } => EgressError::Dns { host, reason },
            Self::Tls { host, reason } => EgressError::Tls { host, reason },
            Self::Connect { host, reason } => EgressError::Connect { host, reason },
            Self::Redirect { host, status } => EgressError::Redirect { host, status },
            Self::Protocol { host, reason } => EgressError::Protocol { host, reason },
            Self::Refused { message } => EgressError::Invalid { message },
        })
    }
}

impl PhaseName {
    const fn of(phase: Phase) -> Self {
        match phase {
            Phase::Connect => Self::Connect,
            Phase::Headers => Self::Headers,
            Phase::Idle => Self::Idle,
            Phase::Total => Self::Total,
        }
    }

    const fn phase(self) -> Phase {
        match self {
            Self::Connect => Phase::Connect,
            Self::Headers => Phase::Headers,
            Self::Idle => Phase::Idle,
            Self::Total => Phase::Total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_back_as_it_was() {
        let host = || "acme.test".to_owned();
        let reason = || "because".to_owned();
        for error in [
            EgressError::Timeout { host: host(), phase: Phase::Idle, after: Duration::from_millis(1_500) },
            EgressError::Timeout { host: host(), phase: Phase::Headers, after: Duration::from_secs(5) },
            EgressError::TooLarge { what: "the response's body", limit: 7 },
            EgressError::TooLarge { what: "the response's head", limit: 7 },
            EgressError::Dns { host: host(), reason: reason() },
            EgressError::Tls { host: host(), reason: reason() },
            EgressError::Connect { host: host(), reason: reason() },
            EgressError::Redirect { host: host(), status: 307 },
            EgressError::Protocol { host: host(), reason: reason() },
            EgressError::Invalid { message: reason() },
        ] {
            let text = serde_json::to_string(&End::of(&error)).unwrap();
            let back: End = serde_json::from_str(&text).unwrap();
            assert_eq!(format!("{:?}", back.error("x").unwrap()), format!("{error:?}"), "{text}");
        }
        assert!(End::Eof.error("x").is_none() && End::Closed.error("x").is_some());
    }
}
