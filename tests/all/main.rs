//! All integration tests: one binary, so that the host is linked once.
//!
//! They go through the surface that users use: the `cofferdam` binary, the library's entry points, the repository's
//! own files.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails loudly, also where clippy sees only a function of one"
)]

mod adding;
mod agent;
mod alike;
mod approvals;
mod archive;
mod asked;
mod authoring;
mod bad_input;
mod branches;
mod budget;
mod builder_calls;
mod cases;
mod cli;
mod commands;
mod conversations;
mod coordinator;
mod counting;
mod crash;
mod docs;
mod durable;
mod embedder;
mod engines;
mod examples;
mod exported;
mod first_party;
mod flow;
mod flow_life;
mod foreign_folder;
mod full_mailbox;
mod goal;
mod guarded;
mod inner_runs;
mod isolation;
mod kept_answers;
mod large;
mod lasting_memory;
mod left_behind;
mod library;
mod locked;
mod loops_in_code;
mod mailbox_store;
mod mcp;
mod misbehaving;
mod model_options;
mod models;
mod nested;
mod no_telemetry;
mod one_gate;
mod permissions;
mod plan;
mod plugin_cases;
mod plugin_dev;
mod providers;
mod pure;
mod questions;
mod recall;
mod reference;
mod registries;
mod replay;
mod resume;
mod runs;
mod scripts;
mod secrets;
mod serving;
mod shared_coordinator;
mod shared_memory;
mod spilled;
mod streams;
mod subagents;
mod taken_over;
mod testing;
mod tidy;
mod tools;
mod tracer;
mod validate;
mod zenflow;
mod zenflow_events;

#[path = "../support/support.rs"]
mod support;
