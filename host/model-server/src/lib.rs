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
//! A mode does the same in every protocol. Where one has no words for it, it is what comes nearest:
//!
//! - `no-index` and `reused-index` are 400 in Responses, Messages and Ollama; `no-index` leaves out ids in Gemini, where
//!   `reused-index` is 400. `whole-call` sends no deltas in Responses and one delta in Messages; `obj-args` puts the
//!   arguments of Messages at the start of their block. In Gemini and Ollama calls are whole objects anyway, and end
//!   with `STOP` or `stop`, as those of Responses end with `completed`: there these three are `tools-parallel`.
//! - `bad-json-args` is `MALFORMED_FUNCTION_CALL` in Gemini, an error in Ollama, and a string as `input` where Messages
//!   answers with one document.
//! - `refusal` and `content-filter` end with `refusal` in Messages and with `SAFETY` in Gemini, the latter as a blocked
//!   prompt; Ollama has no filter (400) and refuses in plain text.
//! - `thinking-tools` has a signature in Responses (if `include` asks for it), Messages and Gemini only.
//! - `keepalive` is a comment, `ping` in Messages, an empty line of text in Ollama. `crlf` is the plain form of Gemini.
//! - How long to wait after a 429 is in the body in Gemini. Statuses that a provider does not have get its nearest type.
//! - `failed` is an answer of that status in Responses; elsewhere it is `mid-error`.
//! - In answers of one document a break comes in the middle of it, `mid-error` is 500, and what speaks of events is
//!   the plain answer.
//!
//! Beside the modes it refuses what real providers refuse: calls without results and results without calls, a missing
//! `max_tokens` or version in Messages, sampling with its newest version, keywords of JSON Schema in Gemini's old
//! `parameters`. Any key is taken.
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
