//! Fetches components from registries, and puts them there.
//!
//! It speaks the OCI distribution specification 1.1 for artifacts of the layout that the Wasm working group of the CNCF
//! describes ("Wasm OCI Artifact layout"): a manifest, a configuration of the type `application/vnd.wasm.config.v0+json`, and
//! one layer of the type `application/wasm`. Everything goes through [`cofferdam_egress::NamedHost`]. It must not know
//! plugins, files or settings: bytes come in and go out, and nothing that a registry says is believed where a digest can be
//! computed. In reading order:

mod artifact;
mod client;
mod pull;
mod push;

mod challenge;
mod credential;
mod docker;
mod error;

pub use artifact::{CONFIG_TYPE, Described, LAYER_TYPE, MANIFEST_TYPE};
pub use client::{Access, Client, Progress};
pub use credential::Credentials;
pub use docker::{DockerError, DockerKeys};
pub use error::{Error, Kind};
pub use pull::Pulled;
pub use push::Pushed;
