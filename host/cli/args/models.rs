//! The flags of the commands about models.

use clap::{Args, Subcommand};

/// Commands about models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List providers and names of models, from where they are, and whether keys are set
    #[command(after_help = super::text::MODELS_LIST)]
    List(ModelsListArgs),
}

/// Flags of `models list`.
#[derive(Debug, Args)]
pub(crate) struct ModelsListArgs {
    /// Do not read `.env` in this folder
    #[arg(long)]
    pub(crate) no_dotenv: bool,
    /// Print a line of JSON a provider or name
    #[arg(long)]
    pub(crate) json: bool,
}
