//! The flags of `agent`.

use super::memory::MemoryArgs;
use super::run::{RunArgs, WorkArgs};
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Flags of `agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// What the agent is asked; text that is piped in comes after it
    #[arg(value_name = "PROMPT")]
    pub(crate) prompt: Option<String>,
    /// What the agent is told of itself, or `@FILE`
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// The tools it may use: `read,grep`, `web.*`; none with `""` [default: all]
    #[arg(long, value_name = "TOOLS", value_delimiter = ',')]
    pub(crate) tools: Option<Vec<String>>,
    /// A plugin whose tools it may use: `text=builtin:text`, `mine=./mine.wasm` (repeatable)
    #[arg(long = "plugin", value_name = "NAME=SOURCE")]
    pub(crate) plugins: Vec<String>,
    /// An MCP server of `cofferdam.toml` whose tools it may use (repeatable)
    #[arg(long = "mcp", value_name = "NAME")]
    pub(crate) servers: Vec<String>,
    /// Most requests to the model
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_turns: Option<u32>,
    /// JSON Schema, of a file, that its result must fit; the result is printed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) schema: Option<PathBuf>,
    /// The model, `provider/model`; `auto` chooses
    #[arg(long, short, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) memory: MemoryArgs,
    // Last: its last heading would stand above every flag that follows.
    #[command(flatten)]
    pub(crate) work: WorkArgs,
}

impl AgentArgs {
    /// The flags that `run` has as well.
    pub(crate) fn into_run(self) -> RunArgs {
        RunArgs { model: self.model, memory: self.memory, work: self.work, ..RunArgs::default() }
    }
}
