//! What several modules of the integration tests need: a project in a folder of its own, and the binary run in it.
//!
//! It must not know what is tested.

mod goldens;
mod guest;
mod project;
mod provider;
mod registry;
mod runtime;
mod source;
mod tool;

pub(crate) use goldens::{Golden, check_golden, is_update};
pub(crate) use guest::{Manner, Server, with_echo};
pub(crate) use project::{Outcome, Project, Running};
pub(crate) use provider::{Answer, Provider};
pub(crate) use registry::{Fault, Gate, Registry};
pub(crate) use runtime::{TestRuntime, close};
pub(crate) use source::{Source, rust_sources, tracked_files};
pub(crate) use tool::{Doing, gave};

use std::path::PathBuf;

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    cofferdam_guests::repository()
}

/// What the user of all tests has outside every project; shared, so that each plugin is compiled once.
pub(crate) fn user_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("user")
}
