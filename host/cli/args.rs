//! What can be typed: commands, flags and their help. It must not decide anything.

mod agent;
mod dev;
mod goal;
mod memory;
mod models;
mod permissions;
mod plugin;
mod registry;
mod replay;
mod resume;
mod run;
mod runs;
mod sinks;
mod test;
mod text;
mod tools;

pub(crate) use agent::AgentArgs;
pub(crate) use dev::{DevCommand, ModelServerArgs};
pub(crate) use goal::GoalArgs;
pub(crate) use memory::{MemoryClearArgs, MemoryCommand, MemoryShowArgs};
pub(crate) use models::{ModelsCommand, ModelsListArgs};
pub(crate) use permissions::PermissionsCommand;
pub(crate) use plugin::{
    BuildArgs, CallArgs, CheckArgs, DevArgs, InspectArgs, KindArg, LanguageArg, LockArgs, NewArgs, PluginCommand,
    PluginTestArgs,
};
pub(crate) use registry::{AddArgs, PluginDoctorArgs, PushArgs, RegistryArgs};
pub(crate) use replay::ReplayArgs;
pub(crate) use resume::{AnswerArgs, ApproveArgs, ForkArgs, ResumeArgs, UnknownEffectArg};
pub(crate) use run::{DurabilityArg, EventForm, GrantArgs, InputArgs, RunArgs, WorkArgs};
pub(crate) use runs::{DiffArgs, ExportArgs, GcArgs, ImportArgs, ListArgs, RmArgs, RunsCommand, ShowArgs};
pub(crate) use sinks::SinksCommand;
pub(crate) use test::{TestArgs, TestFormat};
pub(crate) use tools::{ToolsCommand, ToolsListArgs};

use crate::exit::{self, Exit};
use crate::terminal;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

/// Runs workflows of LLM agents whose tools are sandboxed WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "cofferdam", version, about, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = format!("{}\n{}", text::EXAMPLES, exit::help()), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: Color,
    /// Say more on stderr; twice says even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Form of the log on stderr
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value_t)]
    pub(crate) log_format: LogFormat,
    /// The project's directory [default: the nearest with `cofferdam.toml` or `.cofferdam`, else this one]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) project: Option<PathBuf>,
    /// Where runs are kept: `sqlite`, `file`, `plugin:NAME` of `cofferdam.toml`, or `plugin:SOURCE` [default: sqlite]
    #[arg(long, global = true, value_name = "WHERE")]
    pub(crate) storage: Option<String>,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set; CLICOLOR_FORCE=1 asks for them everywhere
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a workflow; without a file, list those in this folder
    #[command(alias = "flow", after_help = text::RUN)]
    Run(Box<RunArgs>),
    /// Ask one agent, without a document
    #[command(after_help = text::AGENT)]
    Agent(Box<AgentArgs>),
    /// Have a model plan how a goal is reached, approve the plan, and run it
    #[command(after_help = text::GOAL)]
    Goal(Box<GoalArgs>),
    /// Go on with a recorded run: what is finished stays, the rest runs
    #[command(after_help = text::RESUME)]
    Resume(Box<ResumeArgs>),
    /// Start a new run from a recorded one: some steps run again, the rest is taken over
    #[command(after_help = text::FORK)]
    Fork(Box<ForkArgs>),
    /// Answer the question of a run that waits, and go on with it
    #[command(after_help = text::ANSWER)]
    Answer(Box<AnswerArgs>),
    /// Allow or deny a call that a run waits with, and go on with it
    #[command(after_help = text::APPROVE)]
    Approve(Box<ApproveArgs>),
    /// Run a recorded run again against its record, without a model or a tool
    #[command(after_help = text::REPLAY)]
    Replay(ReplayArgs),
    /// Check documents without running or spending anything
    #[command(after_help = text::VALIDATE)]
    Validate(ValidateArgs),
    /// Run the test cases of workflows, without a model
    #[command(after_help = text::TEST)]
    Test(TestArgs),
    /// Show what a document would do, step by step
    #[command(after_help = text::PLAN)]
    Plan(PlanArgs),
    /// Look at plugins, and write them
    #[command(subcommand, after_help = text::PLUGIN)]
    Plugin(PluginCommand),
    /// Look at recorded runs, compare, move and delete them
    #[command(subcommand, after_help = text::RUNS)]
    Runs(RunsCommand),
    /// Look at what retrieval memory keeps, and forget it
    #[command(subcommand, after_help = text::MEMORY)]
    Memory(MemoryCommand),
    /// Look at the tools that agents are offered
    #[command(subcommand, after_help = text::TOOLS)]
    Tools(ToolsCommand),
    /// Look at the models that can be named
    #[command(subcommand, after_help = text::MODELS)]
    Models(ModelsCommand),
    /// Look at what was allowed for good, and take it back
    #[command(subcommand, after_help = text::PERMISSIONS)]
    Permissions(PermissionsCommand),
    /// Look after what sinks left behind
    #[command(subcommand, after_help = text::SINKS)]
    Sinks(SinksCommand),
    /// Write a small workflow to begin with
    #[command(after_help = text::INIT)]
    Init(InitArgs),
    /// Print the JSON Schema of workflow documents
    #[command(after_help = text::SCHEMA)]
    Schema,
    /// Look at the settings
    #[command(subcommand, after_help = text::CONFIG)]
    Config(ConfigCommand),
    /// Check that this machine is ready
    #[command(after_help = text::DOCTOR)]
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    #[command(after_help = text::COMPLETIONS)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Help for development: a provider of models that misbehaves on request
    #[command(subcommand, after_help = text::DEV)]
    Dev(DevCommand),
    /// Print every bound, and what would happen without it
    #[command(after_help = text::LIMITS)]
    Limits(JsonArgs),
    /// Explain the code of a finding
    #[command(after_help = text::EXPLAIN)]
    Explain {
        /// The code, `W012` for instance
        code: String,
    },
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Ask this provider, or this model of one, for one word, and show what comes back. It may cost a fraction of a cent
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Print a line of JSON a check
    #[arg(long)]
    pub(crate) json: bool,
}

/// Flags of `validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Documents, YAML or JSON
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// How to print findings
    #[arg(long, value_enum, default_value_t, value_name = "FORM", conflicts_with = "json")]
    pub(crate) format: FindingForm,
    /// The same as `--format json`
    #[arg(long)]
    pub(crate) json: bool,
    /// Treat warnings as errors, also what this machine lacks: tools and models
    #[arg(long)]
    pub(crate) strict: bool,
    /// Tell what this provider of models, or `all`, cannot guarantee of each `resultSchema`
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
}

impl ValidateArgs {
    /// How findings are printed.
    pub(crate) fn form(&self) -> FindingForm {
        if self.json { FindingForm::Json } else { self.format }
    }
}

/// How to print findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindingForm {
    /// With the line of the document and a mark below the place, on stderr
    #[default]
    Human,
    /// A line of JSON for each finding and each document, and a summary
    Json,
    /// Annotations for a workflow of GitHub Actions
    Github,
}

/// Flags of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The document
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// How to draw it
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub(crate) format: PlanFormat,
}

/// How to draw a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// Text
    #[default]
    Tree,
    /// A Mermaid flowchart
    Mermaid,
    /// Graphviz
    Dot,
    /// JSON
    Json,
}

/// Flags of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where; made when missing
    #[arg(default_value = ".", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Which workflow to write
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    pub(crate) template: Template,
    /// List the templates instead
    #[arg(long)]
    pub(crate) list: bool,
}

/// A workflow to begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// Tools, a plugin, a loop over files, and an agent that reports
    #[default]
    Hello,
    /// Agents one after the other, each working on what the one before it gave
    Chain,
    /// A text that is rewritten until a judge is satisfied
    Loop,
    /// Each file of a folder, several at once, and a summary
    ForEach,
    /// An agent that reads files by itself, and a report written without a model
    Tools,
}

/// Commands about settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the settings that hold here
    Show {
        /// Also print where each of them comes from
        #[arg(long)]
        origin: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// The flag `--json` alone.
#[derive(Debug, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Reads the command line.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse()
}

/// Prints help, the version, or what is wrong with the command line.
pub(crate) fn refuse(refusal: &clap::Error) -> Exit {
    let text = refusal.render().ansi().to_string();
    match refusal.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // Help that nobody reads any more is no failure.
            let _ = terminal::print(&text);
            Exit::Done
        }
        _ => {
            terminal::tell(text.trim_end());
            Exit::Usage
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_example() {
        let command = Cli::command();
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("cofferdam {}", command.get_name())), "{}", command.get_name());
        }
    }

    #[test]
    fn the_old_name_of_run_works() {
        assert!(matches!(Cli::try_parse_from(["cofferdam", "flow", "x.yaml"]).unwrap().command, Command::Run(_)));
    }
}
