//! The flags of `replay`.

use clap::Args;

/// Flags of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the content of sensitive steps, too
    #[arg(long)]
    pub(crate) reveal: bool,
    /// Allow the plugin that keeps the runs something, as for `run` (repeatable)
    #[arg(long, value_name = "ALIAS:WHAT")]
    pub(crate) grant: Vec<String>,
}
