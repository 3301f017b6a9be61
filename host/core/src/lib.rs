//! The pure core of Cofferdam: documents, graph, state machine, events and ports.
//!
//! It must not know of IO, clocks, randomness, tokio, the file system or the environment: what it needs of
//! them comes in through [`port`] or as data. Reading order:

pub mod limits;

pub mod digest;
pub mod fault;
pub mod id;
pub mod oci;
pub mod schema;
pub mod text;
pub mod time;
pub mod value;
pub mod variable;

pub mod diagnostic;
pub mod message;
pub mod model_options;
pub mod policy;
pub mod server;

pub mod budget;
pub mod event;
pub mod expr;
pub mod mail;
pub mod memory;
pub mod permission;
pub mod plan;
pub mod port;
pub mod recollect;
pub mod record;
pub mod run;
pub mod spec;
pub mod template;
pub mod transform;
