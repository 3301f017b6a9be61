//! Why a request did not get through, and what would let it through.
//!
//! Messages name hosts, never a query, a header or a secret.

use std::error::Error as StdError;
use std::net::IpAddr;
use std::time::Duration;

use cofferdam_core::policy::{Grants, HttpGrant, Method};

use crate::address::AddressClass;

/// A request that did not get an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// No grant covers the request.
    #[error("{method} {origin}{path} is not granted")]
    Denied {
        /// The method.
        method: Method,
        /// Scheme, host and port.
        origin: String,
        /// The path, without query.
        path: String,
        /// What would allow it, when anything can.
        grant: Option<Box<HttpGrant>>,
    },
    /// The request is not one that can be sent, whatever is granted.
    #[error("{message}")]
    Invalid {
        /// What is wrong with it.
        message: String,
    },
    /// The host has an address that is not public.
    #[error("`{host}` is at {address}, a {class} address")]
    Address {
        /// The host.
        host: String,
        /// The first address that was refused.
        address: IpAddr,
        /// What the address is for.
        class: AddressClass,
        /// What would allow it, when a person could want that.
        grant: Option<Box<HttpGrant>>,
    },
    /// A rule names a secret that has no usable value.
    #[error("the secret `{name}` {reason}")]
    Secret {
        /// The secret's name.
        name: String,
        /// What is the matter with it.
        reason: &'static str,
    },
    /// It took too long.
    #[error("`{host}`: no {phase} within {after:?}")]
    Timeout {
        /// The host.
        host: String,
        /// What was waited for.
        phase: Phase,
        /// How long.
        after: Duration,
    },
    /// Something is larger than its bound.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The bound, in bytes.
        limit: u64,
    },
    /// The name has no address.
    #[error("`{host}` cannot be resolved: {reason}")]
    Dns {
        /// The host.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// No secure connection.
    #[error("no secure connection to `{host}`: {reason}")]
    Tls {
        /// The host.
        host: String,
        /// What the library said.
        reason: String,
    },
    /// No connection.
    #[error("cannot connect to `{host}`: {reason}")]
    Connect {
        /// The host.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// A provider leads elsewhere. Following would send the key and the request to a place that nobody named.
    #[error("`{host}` redirects ({status}), which is not followed; set the base URL to where it leads")]
    Redirect {
        /// The host.
        host: String,
        /// The status.
        status: u16,
    },
    /// The other side does not speak HTTP, or not to its end.
    #[error("`{host}`: {reason}")]
    Protocol {
        /// The host.
        host: String,
        /// What happened.
        reason: String,
    },
}

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A connection.
    Connect,
    /// The head of the response.
    Headers,
    /// The next piece of the body.
    Idle,
    /// The whole answer.
    Total,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connection",
            Self::Headers => "response",
            Self::Idle => "further data",
            Self::Total => "complete answer",
        })
    }
}

/// The error, classed by what the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A person may grant it.
    Denied,
    /// The caller must send something else.
    Invalid,
    /// A person must set up a secret.
    Secret,
    /// Trying again may help.
    Timeout,
    /// Asking for less may help.
    TooLarge,
    /// The name, or the network, is wrong.
    Dns,
    /// Certificates, or an attack.
    Tls,
    /// The other side is not there; trying again may help.
    Connect,
    /// The other side misbehaves.
    Protocol,
}

impl EgressError {
    /// What the caller does next about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Denied { .. } | Self::Address { .. } => Kind::Denied,
            Self::Invalid { .. } | Self::Redirect { .. } => Kind::Invalid,
            Self::Secret { .. } => Kind::Secret,
            Self::Timeout { .. } => Kind::Timeout,
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::Dns { .. } => Kind::Dns,
            Self::Tls { .. } => Kind::Tls,
            Self::Connect { .. } => Kind::Connect,
            Self::Protocol { .. } => Kind::Protocol,
        }
    }

    /// The grants that would allow what was refused, to be printed with `to_toml` or `to_flags`.
    #[must_use]
    pub fn would_allow(&self) -> Option<Grants> {
        match self {
            Self::Denied { grant, .. } | Self::Address { grant, .. } => {
                let grant = grant.as_deref()?.clone();
                Some(Grants { http: vec![grant], ..Grants::default() })
            }
            _ => None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into() }
    }

    pub(crate) fn protocol(host: &str, reason: impl Into<String>) -> Self {
        Self::Protocol { host: host.to_owned(), reason: reason.into() }
    }

    /// Reads what the HTTP library says. Its own text is not shown: it contains the URL with its query.
    pub(crate) fn from_reqwest(host: &str, error: &reqwest::Error, connect: Duration) -> Self {
        let host = host.to_owned();
        if error.is_timeout() && error.is_connect() {
            return Self::Timeout { host, phase: Phase::Connect, after: connect };
        }
        let chain = causes(error);
        if chain.iter().any(|cause| cause.is::<rustls::Error>()) {
            return Self::Tls { host, reason: deepest(&chain) };
        }
        if error.is_dns() {
            return Self::Dns { host, reason: deepest(&chain) };
        }
        if error.is_connect() {
            return Self::Connect { host, reason: deepest(&chain) };
        }
        Self::Protocol { host, reason: deepest(&chain) }
    }
}

fn deepest(chain: &[&(dyn StdError + 'static)]) -> String {
    match chain {
        // The library's own error alone: its text would name the URL.
        [] | [_] => "the exchange failed".to_owned(),
        [.., last] => last.to_string(),
    }
}

/// The error and its causes. An `io::Error` hides the error that it wraps from `source`.
fn causes<'e>(error: &'e (dyn StdError + 'static)) -> Vec<&'e (dyn StdError + 'static)> {
    const DEEPEST: usize = 16;
    let mut chain: Vec<&'e (dyn StdError + 'static)> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next.filter(|_| chain.len() < DEEPEST) {
        chain.push(cause);
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    chain
}
