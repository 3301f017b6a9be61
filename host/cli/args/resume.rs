//! The flags of the commands that go on with a recorded run.

use super::run::{InputArgs, RunArgs, WorkArgs};
use clap::{Args, ValueEnum};
use cofferdam::core::spec::workflow::UnknownEffect;

/// Flags of `resume`.
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
    /// An answer to a step's question, or `STEP=@FILE` (repeatable)
    #[arg(long = "answer", value_name = "STEP=VALUE")]
    pub(crate) answers: Vec<String>,
    /// Take the document as it is now: a new run goes on with it, with what is not affected
    #[arg(long)]
    pub(crate) accept_changes: bool,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// Flags of `fork`.
#[derive(Debug, Args)]
pub(crate) struct ForkArgs {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
    /// A step that runs again, with all that depends on it: `build`, `group.h`, `each[2].x`, `rounds[1]` (repeatable)
    #[arg(long, value_name = "STEP", required_unless_present_any = ["input", "inputs_file", "accept_changes"])]
    pub(crate) from: Vec<String>,
    #[command(flatten)]
    pub(crate) inputs: InputArgs,
    /// An answer to a step's question, or `STEP=@FILE` (repeatable)
    #[arg(long = "answer", value_name = "STEP=VALUE")]
    pub(crate) answers: Vec<String>,
    /// Take the document as it is now; what is not affected keeps what it gave
    #[arg(long)]
    pub(crate) accept_changes: bool,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// Flags of `answer`.
#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
    /// The step that asks: its path, or its id where only one question has it
    pub(crate) step: String,
    /// The answer, or `@FILE`
    #[arg(allow_hyphen_values = true)]
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// Flags of `approve`.
#[derive(Debug, Args)]
// The rule that `--deny` is elsewhere has another name here.
#[command(mut_arg("deny", |rule| rule.long("deny-tool")))]
pub(crate) struct ApproveArgs {
    /// The run's id, the beginning of it, or `last`
    pub(crate) run: String,
    /// The step that waits: its path, or its id where only one that waits has it
    pub(crate) step: String,
    /// Say no: the model is told, and does not ask again
    #[arg(id = "denied", long = "deny")]
    pub(crate) denied: bool,
    /// Why not, for the model
    #[arg(long, value_name = "TEXT", requires = "denied")]
    pub(crate) reason: Option<String>,
    /// This call of the step, where it waits with several
    #[arg(long, value_name = "ID")]
    pub(crate) call: Option<String>,
    /// All calls that the step waits with
    #[arg(long, conflicts_with = "call")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) how: HowArgs,
}

/// How a run goes on.
#[derive(Debug, Args)]
pub(crate) struct HowArgs {
    /// What becomes of a tool's call that may or may not have had its effect when the run was stopped
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) on_unknown_effect: Option<UnknownEffectArg>,
    /// The model of every step [default: as the run was started]
    #[arg(long, short, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    // Last: its last heading would stand above every flag that follows.
    #[command(flatten)]
    pub(crate) work: WorkArgs,
}

impl HowArgs {
    /// The flags that `run` has as well.
    pub(crate) fn into_run(self) -> RunArgs {
        RunArgs { model: self.model, work: self.work, ..RunArgs::default() }
    }
}

/// What becomes of a call whose effect is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnknownEffectArg {
    /// Ask a person, where one is there
    Ask,
    /// Make it again, with the same idempotency key
    Retry,
    /// Let its step fail
    Fail,
}

impl UnknownEffectArg {
    pub(crate) fn policy(self) -> UnknownEffect {
        match self {
            Self::Ask => UnknownEffect::Ask,
            Self::Retry => UnknownEffect::Retry,
            Self::Fail => UnknownEffect::Fail,
        }
    }
}
