//! The flags of the commands about runs.

use super::text;
use clap::{Args, Subcommand, ValueHint};
use cofferdam::core::spec::duration;
use std::path::PathBuf;
use std::time::Duration;

/// Commands about runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, the latest first
    List(ListArgs),
    /// Show a run with its steps, or what its agents said and did
    #[command(after_help = text::RUNS_SHOW)]
    Show(ShowArgs),
    /// Compare two runs, step by step
    #[command(after_help = text::RUNS_DIFF)]
    Diff(DiffArgs),
    /// Write a run into one file that can be imported elsewhere
    #[command(after_help = text::RUNS_EXPORT)]
    Export(ExportArgs),
    /// Read an exported run back
    #[command(after_help = text::RUNS_IMPORT)]
    Import(ImportArgs),
    /// Delete runs with all that belongs to them
    #[command(after_help = text::RUNS_RM)]
    Rm(RmArgs),
    /// Delete old runs, and output directories of runs that are gone
    #[command(after_help = text::RUNS_GC)]
    Gc(GcArgs),
}

/// The flag of every one of them.
#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    /// Allow the plugin that keeps the runs something, as for `run` (repeatable)
    #[arg(long, value_name = "ALIAS:WHAT")]
    pub(crate) grant: Vec<String>,
}

/// Flags of `runs list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Most runs to list
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT")]
    pub(crate) limit: usize,
    /// Only runs with this status
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Vec<String>,
    /// Print JSON, one line a run
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}

/// Flags of `runs show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
    /// Show the conversation of each agent step, or of this step: turns, tool calls, denials, retries
    #[arg(long, value_name = "STEP", num_args = 0..=1, default_missing_value = "")]
    pub(crate) transcript: Option<String>,
    /// Show all of it, however long
    #[arg(long, requires = "transcript")]
    pub(crate) full: bool,
    /// Print every recorded event as JSON, one a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the content of sensitive steps, too
    #[arg(long)]
    pub(crate) reveal: bool,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}

/// Flags of `runs diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// A run: its id, the beginning of it, or `last`
    pub(crate) a: String,
    /// The run that it is compared with
    pub(crate) b: String,
    /// Print JSON, one line a difference
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the content of sensitive steps, too
    #[arg(long)]
    pub(crate) reveal: bool,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}

/// Flags of `runs export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
    /// The file, replaced when it is there [default: standard output]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Print what was written as a line of JSON
    #[arg(long, requires = "output")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}

/// Flags of `runs import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// What `runs export` wrote; `-` reads standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Print what was read as a line of JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}

/// Flags of `runs rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Ids of runs, beginnings of them, or `last`
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,
    /// Also a run of which nobody can tell whether it is under way
    #[arg(long)]
    pub(crate) force: bool,
    /// Print JSON, one line a run
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}

/// Flags of `runs gc`.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Only what nothing was written to for so long: `30d`, `12h`, `1d12h`; `0s` takes all
    #[arg(long, value_name = "AGE", value_parser = age, default_value = "30d")]
    pub(crate) older_than: Duration,
    /// Keep so many of the runs with such a status, the latest, however old
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) keep: usize,
    /// Only runs with this status (repeatable) [default: all but `running`, `interrupted` and `waiting`]
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Vec<String>,
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print JSON, one line for what is deleted, and the counts
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}

impl RunsCommand {
    /// What the plugin that keeps the runs is allowed.
    pub(crate) fn grant(&self) -> &[String] {
        let storage = match self {
            Self::List(args) => &args.storage,
            Self::Show(args) => &args.storage,
            Self::Diff(args) => &args.storage,
            Self::Export(args) => &args.storage,
            Self::Import(args) => &args.storage,
            Self::Rm(args) => &args.storage,
            Self::Gc(args) => &args.storage,
        };
        &storage.grant
    }

    /// Whether a program reads what is printed.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::List(args) => args.json,
            Self::Show(args) => args.json,
            Self::Diff(args) => args.json,
            Self::Export(args) => args.json,
            Self::Import(args) => args.json,
            Self::Rm(args) => args.json,
            Self::Gc(args) => args.json,
        }
    }
}

/// A duration as everywhere, which may begin with days.
fn age(text: &str) -> Result<Duration, String> {
    let parse = || {
        let (days, rest) = text.split_once('d').map_or(("0", text), |(days, rest)| (days, rest));
        let is_number = !days.is_empty() && days.bytes().all(|byte| byte.is_ascii_digit());
        let days = days.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(24 * 60 * 60)?;
        let rest = if rest.is_empty() && text.ends_with('d') { Duration::ZERO } else { duration::parse(rest)? };
        Duration::from_secs(days).checked_add(rest)
    };
    parse().ok_or_else(|| "write a time with a unit, `30d`, `12h` or `1d12h`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_may_have_days() {
        for (text, hours) in [("30d", 720), ("1d12h", 36), ("12h", 12), ("0s", 0), ("0d", 0)] {
            assert_eq!(age(text), Ok(Duration::from_secs(hours * 3_600)), "{text}");
        }
        for text in ["", "d", "30", "-1d", "1.5d", "12h1d", "1d1d", "+1d", "99999999999999999999d"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
