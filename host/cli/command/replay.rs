//! `replay`: a recorded run, run again against its record.
//!
//! It must not compare anything itself.

use super::runs;
use crate::args::{Global, ReplayArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{self, Session};
use crate::terminal;
use crate::ui::{difference, paint};
use cofferdam::core::event::RunStatus;
use cofferdam::core::id::RunId;
use cofferdam::core::text::escaped;
use cofferdam::{Difference, Error, Replayed};
use serde_json::json;
use std::fmt::Write as _;

/// Most entries of what was not checked that are listed.
const UNCHECKED: usize = 50;

pub(super) fn run(global: &Global, args: &ReplayArgs) -> anyhow::Result<Exit> {
    let session = Session::open(global, &[])?;
    let orchestrator = session.with_storage(session.orchestrator(), &args.grant)?.build().map_err(Failure::from)?;
    session::runtime()?.block_on(async {
        let outcome = async {
            let run = runs::find(&*orchestrator.runs(), &args.run).await?;
            match orchestrator.replay(&run).await {
                Ok(replayed) => tell_same(&run, &replayed, args.json),
                Err(Error::Differs { difference, shown, .. }) => {
                    tell_difference(&run, if args.reveal { &difference } else { &shown }, args.json)
                }
                Err(error) => Err(Failure::of_run(&run, error).into()),
            }
        };
        let outcome = outcome.await;
        orchestrator.close().await;
        outcome
    })
}

fn tell_same(run: &RunId, replayed: &Replayed, json: bool) -> anyhow::Result<Exit> {
    let Replayed { walked, turns, calls, unchecked } = replayed;
    if json {
        let line = json!({
            "run": run, "same": true, "events": walked.events, "turns": turns, "calls": calls,
            "status": walked.status, "unchecked": unchecked,
        });
        return print(&format!("{line}\n"), Exit::Done);
    }
    let mut text = format!(
        "replayed {} of run {run}: {}, {}, the same\n",
        count(walked.events, "event"),
        count(*turns, "turn"),
        count(*calls, "call")
    );
    match walked.status {
        None => text.push_str("the record stops before the end of the run; it was replayed as far as it goes\n"),
        Some(RunStatus::Waiting) => text.push_str("the run waits; it was replayed as far as it goes\n"),
        Some(_) => {}
    }
    if !unchecked.is_empty() {
        text.push_str("not checked, the record was believed:\n");
    }
    // Writing into a string cannot fail.
    for what in unchecked.iter().take(UNCHECKED) {
        let _ = writeln!(text, "  - {}", escaped(what));
    }
    if let Some(more) = unchecked.len().checked_sub(UNCHECKED).filter(|more| *more > 0) {
        let _ = writeln!(text, "  ... and {more} more");
    }
    print(&text, Exit::Done)
}

fn tell_difference(run: &RunId, found: &Difference, json: bool) -> anyhow::Result<Exit> {
    if json {
        let line = json!({ "run": run, "same": false, "difference": found });
        return print(&format!("{line}\n"), Exit::Failed);
    }
    let place = match (found.path.is_root(), found.attempt) {
        (true, _) => String::new(),
        (false, None) => format!(", step `{}`", found.path),
        (false, Some(attempt)) => format!(", step `{}`, try {attempt}", found.path),
    };
    let what = escaped(&found.what);
    let mut text = format!("run {run} differs from its record at event {}{place}: {what}\n", found.seq);
    if difference::push(&mut text, "  ", found) {
        let _ = writeln!(text, "{}", paint::quiet("  -: what is recorded; +: what came out"));
    }
    print(&text, Exit::Failed)
}

fn print(text: &str, exit: Exit) -> anyhow::Result<Exit> {
    terminal::print(text)?;
    Ok(exit)
}

fn count(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
