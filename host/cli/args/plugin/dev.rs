//! The flags of `plugin dev`.

use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Flags of `plugin dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// The folder of the crate
    #[arg(value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Call this tool after each build [default: run the test files in the folder]
    #[arg(long, value_name = "TOOL", conflicts_with = "test")]
    pub(crate) call: Option<String>,
    /// The tool's arguments as a JSON object, or `@FILE`
    #[arg(long, value_name = "JSON", requires = "call", default_value = "{}")]
    pub(crate) args: String,
    /// The plugin's configuration as a JSON object, or `@FILE`
    #[arg(long, value_name = "JSON", requires = "call")]
    pub(crate) config: Option<String>,
    /// What it is called in grants [default: the name of its component]
    #[arg(long, value_name = "NAME", requires = "call")]
    pub(crate) alias: Option<String>,
    /// Allow the plugin something: `my-tool:fs=read` (repeatable)
    #[arg(long, value_name = "ALIAS:WHAT", requires = "call")]
    pub(crate) grant: Vec<String>,
    /// The directory that it may be granted as `/step` [default: this one]
    #[arg(long, short = 'C', value_name = "DIR", requires = "call", value_hint = ValueHint::DirPath)]
    pub(crate) workdir: Option<PathBuf>,
    /// Run these test files after each build
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) test: Vec<PathBuf>,
}
