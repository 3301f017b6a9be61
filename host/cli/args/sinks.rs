//! The flags of the commands about sinks.

use clap::{Args, Subcommand};

/// Commands about what sinks left behind.
#[derive(Debug, Subcommand)]
pub(crate) enum SinksCommand {
    /// List the sinks, what each still lacks, and how many events it refused
    List {
        #[command(flatten)]
        shared: SinkArgs,
    },
    /// Deliver now what sinks lack of runs that have ended
    Deliver {
        /// The sink [default: all]
        sink: Option<String>,
        #[command(flatten)]
        shared: SinkArgs,
    },
    /// Show the events that a sink refused for good
    DeadLetters {
        /// The sink
        sink: String,
        #[command(flatten)]
        shared: SinkArgs,
    },
    /// Send dead letters again; those that are taken are gone
    Resend {
        /// The sink
        sink: String,
        /// Which, as `dead-letters` names them
        #[arg(value_name = "RUN/SEQ", required_unless_present = "all", conflicts_with = "all")]
        which: Vec<String>,
        /// All of them
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        shared: SinkArgs,
    },
    /// Drop dead letters, or give up what a sink lacks of a run
    Drop {
        /// The sink
        sink: String,
        /// A dead letter, or a run as `list` names it
        #[arg(value_name = "RUN/SEQ|RUN", required_unless_present = "all", conflicts_with = "all")]
        which: Vec<String>,
        /// All dead letters, and all runs of which the sink lacks something
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        shared: SinkArgs,
    },
}

/// Flags of every command about sinks.
#[derive(Debug, Args)]
pub(crate) struct SinkArgs {
    /// A sink beside those of `cofferdam.toml`, as for `run` (repeatable)
    #[arg(long = "sink", id = "more", value_name = "PLUGIN")]
    pub(crate) sinks: Vec<String>,
    /// Allow a sink, or the plugin that keeps the runs, something, as for `run` (repeatable)
    #[arg(long, value_name = "ALIAS:WHAT")]
    pub(crate) grant: Vec<String>,
    /// Print JSON, one line each
    #[arg(long)]
    pub(crate) json: bool,
}

impl SinksCommand {
    /// The flags that every one of them has.
    pub(crate) fn shared(&self) -> &SinkArgs {
        match self {
            Self::List { shared }
            | Self::Deliver { shared, .. }
            | Self::DeadLetters { shared, .. }
            | Self::Resend { shared, .. }
            | Self::Drop { shared, .. } => shared,
        }
    }
}
