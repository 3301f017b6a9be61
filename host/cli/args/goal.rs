//! The flags of `goal`.

use super::run::{RunArgs, WorkArgs};
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// Flags of `goal`.
#[derive(Debug, Args)]
pub(crate) struct GoalArgs {
    /// What shall be reached
    #[arg(value_name = "GOAL")]
    pub(crate) goal: String,
    /// Run the plan without asking; without a terminal it is needed
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Change the plan in $VISUAL or $EDITOR before it runs
    #[arg(long)]
    pub(crate) edit: bool,
    /// Where the plan is kept [default: .cofferdam/plans/NAME.yaml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) save: Option<PathBuf>,
    /// Print the plan, and run nothing
    #[arg(long, conflicts_with_all = ["yes", "edit"])]
    pub(crate) dry_run: bool,
    /// The model that plans and works, `provider/model`; `auto` chooses
    #[arg(long, short, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// A coordinator works beside the steps; with its own model if one is named, which plans too
    #[arg(long, value_name = "MODEL", num_args = 0..=1, require_equals = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) coordinator: Option<Option<String>>,
    // Last: its last heading would stand above every flag that follows.
    #[command(flatten)]
    pub(crate) work: WorkArgs,
}

impl GoalArgs {
    /// The flags that `run` has as well.
    pub(crate) fn into_run(self) -> RunArgs {
        RunArgs { model: self.model, coordinator: self.coordinator, work: self.work, ..RunArgs::default() }
    }
}
