//! A provider of models on loopback: five protocols, and every way of misbehaving that was seen of real ones.
//!
//! For tests of clients and of whole workflows, without a key, a bill or a network. The name of the model chooses what
//! happens ([`modes`] lists them), or the header [`MODE_HEADER`] does. It shares no code with the client: what it
//! writes are the bytes of the wire formats, spelled out, over raw TCP, so that it can stall, drip, cut and reset.
//!
//! ```
//! # tokio::runtime::Runtime::new().expect("a runtime starts").block_on(async {
//! let server = cofferdam_model_server::ModelServer::start(Default::default()).await?;
//! assert!(server.base_url().ends_with("/v1"));
//! assert!(server.requests().is_empty());
//! # std::io::Result::Ok(()) }).expect("it listens");
//! ```
//!
//! In reading order: [`server`](ModelServer) listens and keeps the log, `http` reads a request, `route` finds who it is
//! for, `mode` is the table of what can be asked for, `compose` says what is answered, in the neutral words of `answer`;
//! `chat`, `responses`, `messages`, `gemini` and `ollama` put that into the words of their protocols; `fault` damages it
//! on the way; `reply` writes it.

mod answer;
mod asked;
mod chat;
mod compose;
mod failure;
mod fault;
mod frame;
mod gemini;
mod http;
mod limits;
mod listing;
mod log;
mod media;
mod messages;
mod mode;
mod ollama;
mod openai;
mod reply;
mod responses;
mod route;
mod schema;
mod server;
mod wire;

pub use log::Recorded;
pub use mode::{Mode, modes};
pub use route::MODE_HEADER;
pub use server::{ModelServer, Options};
