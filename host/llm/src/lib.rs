//! Models: scripted, extractive, and over HTTP.
//!
//! Implements the ports `Model` and `Models` of the core. It must not know the engine, stores or plugins, must not read
//! the environment, the clock or files by itself, and reaches the network only through `cofferdam-egress`.
//!
//! In reading order: [`kind`] says what can go wrong; [`scripted`] and [`extract`] answer without any network;
//! [`provider`] says whom we know and [`protocol`] what they speak; [`http`] asks them; [`tape`] keeps what they say and says it
//! again; [`patient`] asks others again; [`select`] finds all by name.

pub mod kind;

pub mod extract;
pub mod scripted;

pub mod fallback;
pub mod http;
pub mod patient;
pub mod protocol;
pub mod provider;
mod retry;
pub mod schema;
mod structured;
pub mod tape;

mod anthropic;
mod chat;
mod gemini;
mod ollama;
mod responses;
mod verbatim;
mod written;

mod lines;
mod sse;

pub mod select;

#[cfg(test)]
mod testing;

pub use extract::Extract;
pub use fallback::Fallback;
pub use http::HttpModel;
pub use patient::Patient;
pub use protocol::Api;
pub use provider::Provider;
pub use scripted::Scripted;
pub use select::{Choice, ModelCatalog};
pub use tape::Tape;
