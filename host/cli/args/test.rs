//! The flags of `test`.

use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Flags of `test`.
#[derive(Debug, Default, Args)]
pub(crate) struct TestArgs {
    /// Test files [default: every `*.test.yaml` of this folder and of those below it]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Only cases that have this text in their name or in that of their file
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Most cases at once [default: as many as this machine has processors]
    #[arg(long, short, value_name = "COUNT", value_parser = super::run::count)]
    pub(crate) jobs: Option<usize>,
    /// How to print what came of the cases
    #[arg(long, value_enum, default_value_t, value_name = "FORM", conflicts_with = "json")]
    pub(crate) format: TestFormat,
    /// The same as `--format json`
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write a JUnit report, for build servers
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) junit: Option<PathBuf>,
}

/// How to print what came of the cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    /// A line a case, and what differs
    #[default]
    Text,
    /// A line of JSON a case, and a summary
    Json,
    /// JUnit XML
    Junit,
}
