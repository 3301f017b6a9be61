//! Write Cofferdam plugins in Rust.
//!
//! A plugin is a crate of the type `cdylib` that is built with
//! `cargo build --target wasm32-wasip2`. A complete one:
//!
//! ```
//! use cofferdam_sdk::{Context, Result, tool};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Args {
//!     /// The text to count in.
//!     text: String,
//! }
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Counts {
//!     words: usize,
//! }
//!
//! /// Counts the words of a text.
//! #[tool(read_only, idempotent)]
//! fn count_words(_ctx: &Context, args: Args) -> Result<Counts> {
//!     Ok(Counts { words: args.text.split_whitespace().count() })
//! }
//!
//! cofferdam_sdk::plugin!(id = "acme/text", summary = "Counts words", tools = [count_words]);
//!
//! // Natively a tool is a plain function, and the context is a fake one:
//! let counts = count_words(&Context::fake(), Args { text: "two words".into() })?;
//! assert_eq!(counts.words, 2);
//! # Ok::<(), cofferdam_sdk::Error>(())
//! ```
//!
//! The doc comment is the tool's description, the schemas come from the types,
//! arguments that do not fit are answered before the function is called. A tool
//! is denied everything that its grants do not name: see [`Context`] for what
//! can be asked of the host, and [`Directory`] for files.
//!
//! This crate knows nothing of the host beyond the contract in `wit/`.

// The generated bindings name this crate by its path.
#[cfg(target_family = "wasm")]
extern crate self as cofferdam_sdk;

mod context;
mod definition;
mod directory;
mod error;
pub mod http;
mod kv;
mod output;
mod plugin;

#[cfg(target_family = "wasm")]
mod component;
#[cfg(not(target_family = "wasm"))]
mod fake;

pub use cofferdam_sdk_macros::{plugin, tool};
pub use context::{CallInfo, Context, Level};
pub use definition::{Definition, Description, Effects, schema_of};
pub use directory::Directory;
pub use error::{Error, ErrorKind, Result};
#[cfg(not(target_family = "wasm"))]
pub use fake::{Fake, LogLine, ProgressLine};
pub use kv::{Entry, Kv, Page, Write};
pub use output::{IntoOutput, Output, Payload, Text, ToolOutput};
pub use plugin::{Plugin, Tool};

/// What the macros expand to. Not part of the API.
#[doc(hidden)]
pub mod private {
    #[cfg(target_family = "wasm")]
    pub use crate::component::{bindings, export_tool_plugin};
    pub use crate::plugin::{NoArguments, Returned, decode, unknown_tool};
}
