//! The flags of `run`.

use super::memory::MemoryArgs;
use crate::failure::Audience;
use clap::{Args, ValueEnum, ValueHint};
use cofferdam::core::budget::Budget;
use cofferdam::core::spec::duration;
use std::path::PathBuf;
use std::time::Duration;

/// Flags of `run`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RunArgs {
    /// The document, YAML or JSON
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Text for the run; `-` reads standard input
    #[arg(value_name = "INPUT")]
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
    /// An answer to a step's question, or `STEP=@FILE` (repeatable)
    #[arg(long = "answer", value_name = "STEP=VALUE")]
    pub(crate) answers: Vec<String>,
    /// The model of every step, `provider/model`; `auto` chooses for steps that name none
    #[arg(long, short, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// A coordinator works beside the steps: it hears of each, passes messages on and sums up; with its own model if one is named
    #[arg(long, value_name = "MODEL", num_args = 0..=1, require_equals = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) coordinator: Option<Option<String>>,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
    /// Check everything and show the plan, but run nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    // Last: its last heading would stand above every flag that follows.
    #[command(flatten)]
    pub(crate) work: WorkArgs,
}

/// How a run works, a new one and one that goes on.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct WorkArgs {
    /// The directory that steps work in
    #[arg(long, short = 'C', value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) workdir: Option<PathBuf>,
    /// Most attempts at once; the document's own bound also holds
    #[arg(long, value_name = "COUNT", value_parser = count)]
    pub(crate) max_concurrency: Option<usize>,
    /// Most time for the whole run, `90s` or `1h30m`
    #[arg(long, value_name = "DURATION", value_parser = time)]
    pub(crate) timeout: Option<Duration>,
    /// What the run may spend: `tokens=100000,cost=0.50,toolCalls=50,wall=10m,onExceed=pause`; beats the document
    #[arg(long, value_name = "BUDGET", value_parser = Budget::parse)]
    pub(crate) budget: Option<Budget>,
    /// `strict` survives a power cut, `relaxed` the death of this process
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) durability: Option<DurabilityArg>,
    /// Pass the events on to a plugin: `plugin:NAME` of `cofferdam.toml`, or `plugin:SOURCE` (repeatable)
    #[arg(long = "sink", value_name = "PLUGIN")]
    pub(crate) sinks: Vec<String>,
    /// Wait for no pause of a loop: with nothing else to do, end with exit code 4 and say when to resume
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Where nobody is there to allow a call of a model, let it wait: with nothing else to do, end with exit code 4
    #[arg(long, conflicts_with = "strict")]
    pub(crate) defer_approvals: bool,
    /// Do not read keys of model providers from `.env` beside the document
    #[arg(long)]
    pub(crate) no_dotenv: bool,
    /// Record what providers of models answer in this folder, without keys
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "replay")]
    pub(crate) record: Option<PathBuf>,
    /// Answer from the recordings of this folder in the place of providers, without network and keys
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) replay: Option<PathBuf>,
    /// Print every event as a line of JSON instead of the output; `--json=zenflow` with the names that zenflow has for them
    #[arg(long, value_enum, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "cofferdam")]
    pub(crate) json: Option<EventForm>,
    /// Print nothing but the output and errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
    // Last: its heading would stand above every flag that follows.
    #[command(flatten)]
    pub(crate) grants: GrantArgs,
}

/// Flags that give inputs.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct InputArgs {
    /// An input by name, or `NAME=@FILE` (repeatable)
    #[arg(id = "input", long = "input", short, value_name = "NAME=VALUE")]
    pub(crate) each: Vec<String>,
    /// Inputs by name from a JSON file
    #[arg(id = "inputs_file", long = "inputs", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
}

/// Flags that decide what plugins and models may do.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Permissions")]
pub(crate) struct GrantArgs {
    /// Allow a plugin something: `scan:fs=read`, `web:http=api.example.com` (repeatable)
    #[arg(long, value_name = "ALIAS:WHAT")]
    pub(crate) grant: Vec<String>,
    /// Start or use this MCP server of the document (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_mcp: Vec<String>,
    /// Allow plugins and MCP servers whatever the document requests
    #[arg(long)]
    pub(crate) grant_requested: bool,
    /// Take only plugins that stand in `cofferdam.lock` as they are
    #[arg(long)]
    pub(crate) locked: bool,
    /// Ask nobody: what is not granted or allowed is refused
    #[arg(long)]
    pub(crate) strict: bool,
    /// Let models call tools that stay within their step's directories, without asking
    #[arg(long)]
    pub(crate) sandbox: bool,
    /// Let models call every tool that no `--deny` names
    #[arg(long, conflicts_with_all = ["strict", "sandbox"])]
    pub(crate) yolo: bool,
    /// Let models call this tool: `write`, `github.*`, `read(docs/*)` (repeatable)
    #[arg(long, value_name = "RULE")]
    pub(crate) allow: Vec<String>,
    /// Ask a person each time before this tool is called, also by a step (repeatable)
    #[arg(long, value_name = "RULE")]
    pub(crate) ask: Vec<String>,
    /// Never call this tool; beats `--allow` (repeatable)
    #[arg(long, value_name = "RULE")]
    pub(crate) deny: Vec<String>,
}

impl WorkArgs {
    /// Who reads the reason when the command stops. Lines of zenflow's stream are events and nothing else.
    pub(crate) fn audience(&self) -> Audience {
        if self.json == Some(EventForm::Cofferdam) { Audience::Machine } else { Audience::Person }
    }
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventForm {
    /// As they are recorded
    Cofferdam,
    /// With the names and fields of zenflow
    Zenflow,
}

/// When a record counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityArg {
    /// When it survives a power cut
    Strict,
    /// When it survives the death of this process
    Relaxed,
}

impl DurabilityArg {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Relaxed => "relaxed",
        }
    }
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| *count > 0).ok_or_else(|| "write a whole number above 0".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    let parsed = duration::parse(text).filter(|time| !time.is_zero());
    parsed.ok_or_else(|| "write a time with a unit, `90s`, `500ms` or `1h30m`".to_owned())
}
