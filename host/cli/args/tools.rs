//! The flags of the commands about tools.

use super::run::GrantArgs;
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

/// Commands about tools.
#[derive(Debug, Subcommand)]
pub(crate) enum ToolsCommand {
    /// List what an agent would be offered, from where, and whether it might call it
    #[command(after_help = super::text::TOOLS_LIST)]
    List(ToolsListArgs),
}

/// Flags of `tools list`.
#[derive(Debug, Args)]
pub(crate) struct ToolsListArgs {
    /// The document [default: none, as for `cofferdam agent`]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// What this agent of the document would be offered
    #[arg(long, value_name = "NAME", requires = "file")]
    pub(crate) agent: Option<String>,
    /// A plugin beside the native tools, as for `cofferdam agent` (repeatable)
    #[arg(long = "plugin", value_name = "NAME=SOURCE", conflicts_with = "file")]
    pub(crate) plugins: Vec<String>,
    /// Print a line of JSON a tool
    #[arg(long)]
    pub(crate) json: bool,
    // Last: its heading would stand above every flag that follows.
    #[command(flatten)]
    pub(crate) grants: GrantArgs,
}
