//! `fork`: a new run that takes over what a recorded one has done, but for some of it.
//!
//! It must not call anything below the library's `Orchestrator`.

use super::resume::{self, Going};
use super::run;
use crate::args::{ForkArgs, Global, UnknownEffectArg};
use crate::exit::Exit;
use crate::terminal;
use crate::ui::paint;
use cofferdam::core::id::StepPath;
use cofferdam::{ForkOptions, ResumeOptions, RunBranch};

/// Most steps that are named before the rest is counted.
const NAMED: usize = 12;

pub(super) fn fork(global: &Global, args: ForkArgs) -> anyhow::Result<Exit> {
    let ForkArgs { run, from, inputs, answers, accept_changes, how } = args;
    let on_unknown_effect = how.on_unknown_effect.map(UnknownEffectArg::policy);
    let answers = run::inputs::answers(&answers)?;
    let resume = ResumeOptions { answers, on_unknown_effect, accept_changes, ..ResumeOptions::default() };
    let from = from.iter().map(|step| StepPath::from(step.as_str())).collect();
    let options = ForkOptions { from, inputs: run::inputs::named(&inputs)?, resume };
    resume::take_up(global, &run, &how.into_run(), Going::Branch(options))
}

/// What a branch takes over and what runs again, before it starts.
pub(super) fn tell(branch: &RunBranch) {
    let RunBranch { of, run_id, .. } = branch;
    let what = match branch.changed {
        true => format!("run {of} goes on as {run_id} with the changed document"),
        false => format!("run {run_id} is a fork of {of}"),
    };
    let (reused, again) = (names(&branch.reused, "nothing"), names(&branch.again, "nothing that was done"));
    terminal::tell(&paint::quiet(&format!("{what}; reused: {reused}; runs again: {again}")));
}

fn names(steps: &[StepPath], none: &str) -> String {
    let named: Vec<&str> = steps.iter().take(NAMED).map(StepPath::as_str).collect();
    match steps.len().saturating_sub(NAMED) {
        _ if named.is_empty() => none.to_owned(),
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
