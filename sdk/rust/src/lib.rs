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
//! A [`transform`](macro@transform) changes texts and data between steps, a
//! [`condition`](macro@condition) decides which steps run. Both are pure: they see
//! a [`PureContext`], which has the configuration and nothing else to ask.
//!
//! ```
//! use cofferdam_sdk::{Item, PureContext, Result, Verdict, condition, transform};
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//! use serde_json::Value;
//!
//! #[derive(Deserialize, JsonSchema)]
//! struct Options {
//!     /// What stands before each text.
//!     prefix: String,
//! }
//!
//! /// Puts a prefix before every text; data stays as it is.
//! #[transform]
//! fn prefixed(_ctx: &PureContext, options: &Options, item: Item) -> Result<Item> {
//!     let text = item.as_text().map(|text| format!("{}{text}", options.prefix));
//!     Ok(match text {
//!         Some(text) => item.with_text(text),
//!         None => item,
//!     })
//! }
//!
//! /// Lets a step run on weekdays.
//! #[condition]
//! fn weekdays(_ctx: &PureContext, view: &Value) -> Result<Verdict> {
//!     match view["inputs"]["day"].as_str() {
//!         Some("saturday" | "sunday") => Ok(Verdict::Skip("it is the weekend".into())),
//!         _ => Ok(Verdict::Proceed),
//!     }
//! }
//!
//! cofferdam_sdk::plugin!(
//!     id = "acme/office",
//!     summary = "Prefixes and weekdays",
//!     transforms = [prefixed],
//!     conditions = [weekdays],
//! );
//!
//! let item = prefixed(&PureContext::fake(), &Options { prefix: "> ".into() }, Item::text("content", "hi"))?;
//! assert_eq!(item.as_text(), Some("> hi"));
//! # Ok::<(), cofferdam_sdk::Error>(())
//! ```
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
pub mod model;
mod output;
mod plugin;
mod pure;
pub mod recall;
mod sink;
pub mod storage;

#[cfg(target_family = "wasm")]
mod component;
#[cfg(not(target_family = "wasm"))]
mod fake;

pub use cofferdam_sdk_macros::{condition, plugin, tool, transform};
pub use context::{CallInfo, Context, Level};
pub use definition::{Definition, Description, Effects, schema_of};
pub use directory::Directory;
pub use error::{Error, ErrorKind, Result};
#[cfg(not(target_family = "wasm"))]
pub use fake::{Fake, LogLine, ProgressLine};
pub use kv::{Entry, Kv, Page, Write};
pub use model::{Model, ModelPlugin};
pub use output::{IntoOutput, Output, Payload, Text, ToolOutput};
pub use plugin::{ConditionPlugin, Plugin, Tool, TransformPlugin};
pub use pure::{Condition, IntoOutcome, Item, Outcome, PureContext, Transform, Verdict};
pub use recall::{Recall, RecallPlugin};
pub use sink::{Ack, Batch, Event, Sink, SinkPlugin, Want};
pub use storage::{Storage, StoragePlugin};

/// What the macros expand to. Not part of the API.
#[doc(hidden)]
pub mod private {
    #[cfg(target_family = "wasm")]
    pub use crate::component::{
        bindings, export_condition, export_lifecycle, export_model, export_recall, export_sink, export_storage,
        export_tool, export_transform,
    };
    pub use crate::plugin::{NoArguments, Returned, decode, unknown_tool};
    pub use serde_json::Value;

    pub use crate::pure::{NoOptions, all, each, no_choice, options, options_schema, refuse, view};
}

/// Runs the examples of the page for authors.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct AuthorsPage;
