//! The components that tests and benchmarks use: those shipped in
//! `plugins/dist`, all of them built from source, at most once a process, and the
//! archive of those that were built for released contracts.
//!
//! Knows cargo and paths of this repository; must not know how a component runs.

mod archive;
mod build;
mod dist;

use std::path::{Path, PathBuf};

pub use archive::{Archived, MOST_BYTES, add_missing, archived, archived_bytes};
pub use build::{built, built_bytes};
pub use dist::{digest, dist_bytes, dist_path, recorded_digests, refresh};

/// The plugins that are shipped, by their names in `plugins/` and `plugins/dist`.
pub const FIRST_PARTY: [&str; 14] = [
    "csv",
    "dir-journal",
    "fetch",
    "gate",
    "keyword-recall",
    "markdown-table",
    "ndjson-file",
    "openai-shaped",
    "redact",
    "secrets-scan",
    "slack",
    "text",
    "truncate-tokens",
    "webhook",
];

/// The guests that only tests use, by their names in `tests/guests/`.
pub const FOR_TESTS: [&str; 5] = ["echo", "fickle", "frail-journal", "greet", "mirror"];

/// The root of the repository.
pub fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate is two folders below the root").to_owned()
}
