//! The flags of the commands about what was allowed for good.

use super::text;
use clap::Subcommand;

/// Commands about answers that hold for good.
#[derive(Debug, Subcommand)]
pub(crate) enum PermissionsCommand {
    /// List what was allowed for good in this project
    #[command(after_help = text::PERMISSIONS_LIST)]
    List {
        /// Print a line of JSON an answer
        #[arg(long)]
        json: bool,
    },
    /// Take answers back: it is asked about again
    #[command(after_help = text::PERMISSIONS_FORGET)]
    Forget {
        /// Which: a tool, a plugin or server as its document calls it, or the id of an answer or its beginning
        #[arg(value_name = "NAME|ID", required_unless_present = "all", conflicts_with = "all")]
        which: Vec<String>,
        /// All of them
        #[arg(long)]
        all: bool,
        /// Print a line of JSON an answer that was taken back
        #[arg(long)]
        json: bool,
    },
}

impl PermissionsCommand {
    /// Whether a program reads what is printed.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::List { json } | Self::Forget { json, .. } => *json,
        }
    }
}
