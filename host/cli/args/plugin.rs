//! The flags of the commands about plugins.

mod dev;

pub(crate) use dev::DevArgs;

use super::registry::{AddArgs, PluginDoctorArgs, PushArgs};
use super::{JsonArgs, text};
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Commands about plugins.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Show what a plugin is, wants and may do
    #[command(after_help = text::PLUGIN_INSPECT)]
    Inspect(InspectArgs),
    /// Fetch a plugin, and write it into `cofferdam.toml`
    #[command(after_help = text::PLUGIN_ADD)]
    Add(AddArgs),
    /// Approve the plugins of documents as they are now
    #[command(after_help = text::PLUGIN_LOCK)]
    Lock(LockArgs),
    /// List the plugins that are part of this program
    List(JsonArgs),
    /// Write the folder of a new plugin
    #[command(after_help = text::PLUGIN_NEW)]
    New(NewArgs),
    /// Build the plugin of a folder, and check it
    #[command(after_help = text::PLUGIN_BUILD)]
    Build(BuildArgs),
    /// Say what an author should mend
    #[command(after_help = text::PLUGIN_CHECK)]
    Check(CheckArgs),
    /// Call one tool, outside of a workflow
    #[command(after_help = text::PLUGIN_CALL)]
    Call(CallArgs),
    /// Build again on each change, and call or test
    #[command(after_help = text::PLUGIN_DEV)]
    Dev(DevArgs),
    /// Run the test cases of plugins
    #[command(after_help = text::PLUGIN_TEST)]
    Test(PluginTestArgs),
    /// Put a component into a registry
    #[command(after_help = text::PLUGIN_PUSH)]
    Push(PushArgs),
    /// Say whether this machine can build and run plugins
    #[command(after_help = text::PLUGIN_DOCTOR)]
    Doctor(PluginDoctorArgs),
}

impl PluginCommand {
    /// Whether a machine reads what is printed.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Inspect(args) => args.json,
            Self::Add(args) => args.json,
            Self::Push(args) => args.json,
            Self::Doctor(args) => args.json,
            Self::List(args) => args.json,
            Self::Build(args) => args.json,
            Self::Check(args) => args.json,
            Self::Call(args) => args.json,
            Self::Test(args) => args.json,
            Self::Lock(_) | Self::New(_) | Self::Dev(_) => false,
        }
    }
}

/// Flags of `plugin lock`.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Documents whose plugins are approved, besides those that keep the runs and take the events
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// A sink beside those of `cofferdam.toml`, as for `run` (repeatable)
    #[arg(long = "sink", value_name = "PLUGIN")]
    pub(crate) sinks: Vec<String>,
    /// Allow a sink, or the plugin that keeps the runs, something, as for `run` (repeatable)
    #[arg(long, value_name = "ALIAS:WHAT")]
    pub(crate) grant: Vec<String>,
    /// Take what tags of registries point to now, also where another component is locked
    #[arg(long)]
    pub(crate) update: bool,
}

/// Flags of `plugin inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A component, or `builtin:NAME`
    #[arg(value_name = "FILE|builtin:NAME", value_hint = ValueHint::FilePath)]
    pub(crate) source: String,
    /// What it is called in grants [default: its file name]
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Option<String>,
    /// Show it with this grant (repeatable)
    #[arg(long, value_name = "ALIAS:WHAT")]
    pub(crate) grant: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `plugin check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A component, or `builtin:NAME`
    #[arg(value_name = "FILE|builtin:NAME", value_hint = ValueHint::FilePath)]
    pub(crate) source: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `plugin call`.
#[derive(Debug, Args)]
pub(crate) struct CallArgs {
    /// A component, or `builtin:NAME`
    #[arg(value_name = "FILE|builtin:NAME", value_hint = ValueHint::FilePath)]
    pub(crate) source: String,
    /// The tool
    #[arg(value_name = "TOOL")]
    pub(crate) tool: String,
    /// Its arguments as a JSON object, or `@FILE`
    #[arg(value_name = "ARGS", default_value = "{}")]
    pub(crate) args: String,
    /// The plugin's configuration as a JSON object, or `@FILE`
    #[arg(long, value_name = "JSON")]
    pub(crate) config: Option<String>,
    /// What it is called in grants [default: its file name]
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Option<String>,
    /// Allow the plugin something: `my-tool:fs=read` (repeatable)
    #[arg(long, value_name = "ALIAS:WHAT")]
    pub(crate) grant: Vec<String>,
    /// The directory that it may be granted as `/step` [default: this one]
    #[arg(long, short = 'C', value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) workdir: Option<PathBuf>,
    /// Show what the plugin asks of its host, as it asks
    #[arg(long)]
    pub(crate) trace: bool,
    /// Print what became of the call as JSON, failures included
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `plugin new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The folder to make; its last part is the plugin's name
    #[arg(value_name = "NAME", value_hint = ValueHint::DirPath)]
    pub(crate) path: PathBuf,
    /// What the plugin is
    #[arg(long, value_enum, default_value_t, value_name = "KIND")]
    pub(crate) kind: KindArg,
    /// The language
    #[arg(long, value_enum, default_value_t, value_name = "LANGUAGE")]
    pub(crate) lang: LanguageArg,
}

/// What a plugin is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindArg {
    /// Something that models and steps call
    #[default]
    Tool,
    /// Changes texts and data between steps
    Transform,
    /// Decides whether a step runs
    Condition,
    /// Takes the events of runs
    Sink,
    /// Keeps the journals of runs
    Storage,
    /// Answers conversations
    Model,
    /// Keeps texts and finds them again
    Recall,
}

/// The language of a plugin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LanguageArg {
    /// Rust
    #[default]
    Rust,
    /// JavaScript, for tools
    Js,
    /// Python, for tools
    Python,
}

/// Flags of `plugin build`.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The folder: of a crate, of a JavaScript package or of a Python project
    #[arg(value_name = "DIR", default_value = ".", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Install what a JavaScript or Python plugin is built with into its folder, if it is missing
    #[arg(long)]
    pub(crate) install: bool,
    /// Print path, size, digest and findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `plugin test`.
#[derive(Debug, Args)]
pub(crate) struct PluginTestArgs {
    /// Test files, or folders in which they are looked for [default: this folder]
    #[arg(value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Only cases that have this text in their name
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Write what comes of cases that expect nothing into their file, as what they expect
    #[arg(long, conflicts_with = "json")]
    pub(crate) record: bool,
    /// Print a line of JSON a case, and a summary
    #[arg(long)]
    pub(crate) json: bool,
}
