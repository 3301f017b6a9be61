//! Why a registry did not give or take what was asked, and what to do about it.
//!
//! What a registry says of itself is shortened, cleaned and searched for keys before it comes here.

use cofferdam_egress::{EgressError, Kind as NetworkKind};

/// What went wrong at a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No answer.
    #[error("the registry `{host}` cannot be used: {cause}")]
    Network {
        /// The registry.
        host: String,
        /// Why.
        #[source]
        cause: EgressError,
    },
    /// There is no such thing.
    #[error("the registry `{host}` has no {what}{detail}")]
    NotFound {
        /// The registry.
        host: String,
        /// Manifest or component.
        what: String,
        /// What the registry said.
        detail: String,
    },
    /// The registry wants to know who asks.
    #[error("the registry `{host}` wants to know who asks{detail}")]
    Anonymous {
        /// The registry.
        host: String,
        /// What the registry said.
        detail: String,
        /// Whether there was a password that is not sent without TLS.
        withheld: bool,
    },
    /// The registry knows who asks, or does not believe it, and refuses.
    #[error("the registry `{host}` refuses ({status}){detail}")]
    Denied {
        /// The registry.
        host: String,
        /// The status.
        status: u16,
        /// What the registry said.
        detail: String,
    },
    /// The registry has enough of us.
    #[error("the registry `{host}` has taken too many requests (429){detail}")]
    Busy {
        /// The registry.
        host: String,
        /// What the registry said.
        detail: String,
        /// How long it wants to be left alone, in seconds.
        retry_after: Option<u64>,
    },
    /// The registry failed.
    #[error("the registry `{host}` failed to {act} ({status}){detail}")]
    Failed {
        /// The registry.
        host: String,
        /// What was asked.
        act: &'static str,
        /// The status.
        status: u16,
        /// What the registry said.
        detail: String,
    },
    /// The registry does not keep to the protocol.
    #[error("the registry `{host}` {reason}")]
    Protocol {
        /// The registry.
        host: String,
        /// What it did.
        reason: String,
    },
    /// The registry gave other bytes than those that were named.
    #[error("the registry `{host}` gave another {what}: its digest is {found}, and {expected} was named")]
    Digest {
        /// The registry.
        host: String,
        /// Manifest or component.
        what: &'static str,
        /// The digest that was named.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// The artifact is no component.
    #[error("it is no WebAssembly component: {reason}")]
    NotWasm {
        /// Why not.
        reason: String,
    },
    /// The component is larger than any that is taken.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The bound, in bytes.
        limit: u64,
    },
}

/// The error, classed by what the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Look at the network, or try again later.
    Network,
    /// Say who asks.
    Access,
    /// Name something else.
    Reference,
    /// Do not take what is there.
    Content,
}

impl Error {
    /// What the caller does next about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Network { .. } | Self::Busy { .. } | Self::Failed { .. } => Kind::Network,
            Self::Anonymous { .. } | Self::Denied { .. } => Kind::Access,
            Self::NotFound { .. } => Kind::Reference,
            Self::Protocol { .. } | Self::Digest { .. } | Self::NotWasm { .. } | Self::TooLarge { .. } => Kind::Content,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        const KEYS: &str = "`--username NAME --password-stdin`, COFFERDAM_REGISTRY_USERNAME and \
                            COFFERDAM_REGISTRY_PASSWORD, or `docker login`";
        match self {
            Self::Network { cause, .. } => network_hint(cause),
            Self::NotFound { .. } => Some(
                "look at the spelling, and whether that version was ever pushed; some registries say this, too, \
                     to those who may not read it"
                    .to_owned(),
            ),
            Self::Anonymous { withheld: true, .. } => {
                Some("there is a password, and it is not sent without TLS except to this machine".to_owned())
            }
            Self::Anonymous { .. } => Some(format!("say it with {KEYS}")),
            Self::Denied { .. } => Some(format!("look at what the key may do; it comes from {KEYS}")),
            Self::Busy { retry_after: Some(seconds), .. } => Some(format!("try again in {seconds} s")),
            Self::Busy { .. } | Self::Failed { .. } => Some("try again later".to_owned()),
            Self::Digest { .. } => {
                Some("nothing was kept; the registry, or somebody on the way, changed what was pushed".to_owned())
            }
            Self::NotWasm { .. } => Some("`cofferdam plugin push` writes artifacts that can be added".to_owned()),
            Self::Protocol { .. } | Self::TooLarge { .. } => None,
        }
    }

    /// Sorts what the network says.
    pub(crate) fn network(host: &str, cause: EgressError) -> Self {
        Self::Network { host: host.to_owned(), cause }
    }

    pub(crate) fn protocol(host: &str, reason: impl Into<String>) -> Self {
        Self::Protocol { host: host.to_owned(), reason: reason.into() }
    }
}

fn network_hint(cause: &EgressError) -> Option<String> {
    match cause.kind() {
        NetworkKind::Tls => Some(
            "does it speak plain HTTP? then `--insecure-http`, or `[registries.\"HOST\"]` with `plain_http = true`"
                .to_owned(),
        ),
        NetworkKind::Dns | NetworkKind::Connect => Some("look at the host, the port and the network".to_owned()),
        NetworkKind::Timeout => Some("try again, or give it more time with `--timeout`".to_owned()),
        _ => None,
    }
}
