//! The flags of the commands that speak to registries, and of `plugin doctor`.

use clap::{Args, ValueHint};
use std::path::PathBuf;

/// How a registry is spoken to.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Registry")]
pub(crate) struct RegistryArgs {
    /// Who asks; the password comes from standard input or the environment
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    pub(crate) password_stdin: bool,
    /// Speak without TLS; keys are not sent then, except to this machine
    #[arg(long)]
    pub(crate) insecure_http: bool,
    /// The most time for one request: `30s`, `5m` [default: 10m]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,
}

/// Flags of `plugin add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// A reference, a component, or `builtin:NAME`
    #[arg(value_name = "oci://...|FILE|builtin:NAME", value_hint = ValueHint::FilePath)]
    pub(crate) source: String,
    /// What it is called [default: made from the source]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) alias: Option<String>,
    /// Write this grant beside it (repeatable)
    #[arg(long, value_name = "NAME:WHAT")]
    pub(crate) grant: Vec<String>,
    /// Write the grants beside it that its imports ask for, as far as they tell
    #[arg(long)]
    pub(crate) grant_requested: bool,
    /// Take another component than the one that is written down
    #[arg(long)]
    pub(crate) update: bool,
    /// Take the name from a plugin with another source
    #[arg(long)]
    pub(crate) force: bool,
    /// Print what was added as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Flags of `plugin push`.
#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The component
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Where it goes
    #[arg(value_name = "oci://HOST/REPOSITORY:TAG")]
    pub(crate) reference: String,
    /// Print digests and sizes as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArgs,
}

/// Flags of `plugin doctor`.
#[derive(Debug, Args)]
pub(crate) struct PluginDoctorArgs {
    /// Plugins to look at, or documents whose plugins are [default: those of `cofferdam.toml`]
    #[arg(value_name = "SOURCE|DOCUMENT", value_hint = ValueHint::FilePath)]
    pub(crate) sources: Vec<String>,
    /// Print a line of JSON for each finding
    #[arg(long)]
    pub(crate) json: bool,
}
