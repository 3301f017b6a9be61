//! All integration tests: one binary, so that the host is linked once.
//!
//! They go through the surface that users use: the `cofferdam` binary, the library's entry points, the repository's
//! own files.

mod bad_input;
mod cases;
mod cli;
mod docs;
mod examples;
mod library;
mod tidy;

#[path = "../support/support.rs"]
mod support;
