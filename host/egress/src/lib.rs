//! The one door to the network.
//!
//! Plugins go through [`Egress::fetch`]: nothing leaves unless a grant names it, and nothing reaches an
//! address that is not public unless a grant lists its block. Model providers go through
//! [`ProviderClient`]: its base URL is the grant. Registries go through [`NamedHost`]: the host that the user
//! named is the grant, and where it leads is checked. This crate must not know plugins, models or files; nothing
//! is built before the first request. In reading order:

mod address;
mod body;
mod connect;
mod error;
mod fetch;
mod header;
mod provider;
mod redirect;
mod resolve;
mod scrub;
mod secret;
mod swap;
mod target;
mod transport;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod loopback;

pub use address::{AddressClass, classify, is_allowed};
pub use error::{EgressError, Kind, Phase};
pub use fetch::{Egress, FetchLimits, Request, Response};
pub use provider::{
    BoundedResponse, NamedHost, NamedLimits, NamedRequest, ProviderClient, Proxies, StreamingResponse, Timeouts,
};
pub use resolve::{Resolve, SystemResolver};
pub use scrub::Scrubber;
pub use secret::{NoSecrets, Secrets, StandIn, secret_header};
pub use transport::{Inbound, Outbound, Transport};

/// Headers as the HTTP library has them, so that callers need no second one.
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
