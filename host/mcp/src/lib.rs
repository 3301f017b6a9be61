//! Servers of the Model Context Protocol as tools.
//!
//! A server is not trusted: it is started with a cleaned environment, every message, list, wait and restart of it has a
//! bound, and what it says of its own tools decides nothing. What it does on this machine once it runs is its own affair:
//! that is why the user allows it first. This crate must not know who allows a server, nor whether a call is permitted.
//! In reading order:

mod settings;

mod content;
mod name;
mod offer;
mod server;

mod connection;
mod health;
mod http;
mod notices;
mod process;
mod wire;

pub use server::Server;
pub use settings::{ServerSettings, Variables};
