//! The flags of the commands for who develops with Cofferdam.

use clap::{Args, Subcommand};

/// Commands for development.
#[derive(Debug, Subcommand)]
pub(crate) enum DevCommand {
    /// Serve models on loopback that answer, and misbehave, as their names say
    #[command(after_help = super::text::MODEL_SERVER)]
    ModelServer(ModelServerArgs),
}

/// Flags of `dev model-server`.
#[derive(Debug, Args)]
pub(crate) struct ModelServerArgs {
    /// The port; 0 takes one that is free
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) port: u16,
    /// List what the names of models ask for, and end
    #[arg(long)]
    pub(crate) modes: bool,
}
