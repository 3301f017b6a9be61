//! `memory`: what retrieval memory keeps for this project, and what its runs share, to look at and to forget.
//!
//! It looks at the memory that needs no plugin. It must not know how that is kept.

mod shared;

use super::runs::remembered;
use crate::args::{Global, MemoryClearArgs, MemoryCommand, MemoryShowArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{self, Session};
use crate::terminal;
use crate::ui::paint;
use crate::ui::table::{self, Wide};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::RunId;
use cofferdam::core::limits;
use cofferdam::core::port::KeptMemo;
use cofferdam::core::recollect::space_of;
use cofferdam::core::value::Map;
use cofferdam::sink::clean;
use cofferdam::{Memo, Recall, Search};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::BufRead as _;

/// Longer texts are cut in the table.
const TEXT_CHARS: usize = 80;

pub(super) fn run(global: &Global, command: &MemoryCommand) -> anyhow::Result<Exit> {
    let session = Session::open(global, &[])?;
    let orchestrator = session.orchestrator().build().map_err(Failure::from)?;
    let store = orchestrator.recall_store();
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(async {
        let outcome = match command {
            MemoryCommand::Show(MemoryShowArgs { run: Some(run), json, .. }) => {
                remembered::show(&orchestrator, run, *json).await.map(|()| Exit::Done)
            }
            MemoryCommand::Show(args) if args.shared => shared::show(&orchestrator, args).await,
            MemoryCommand::Show(args) => show(&*store, args).await,
            MemoryCommand::Clear(args) if args.shared => shared::clear(&orchestrator, args).await,
            MemoryCommand::Clear(args) => clear(&*store, args).await,
        };
        orchestrator.close().await;
        outcome
    });
    runtime.shutdown_background();
    outcome
}

fn failed(fault: Fault) -> Failure {
    let failure = Failure::failed(fault.message);
    match fault.hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// A text, and how well it fits where it was searched for.
struct Shown {
    kept: KeptMemo,
    score: Option<f32>,
}

async fn show(store: &dyn Recall, args: &MemoryShowArgs) -> anyhow::Result<Exit> {
    let space = args.session.as_deref().map(space_of_session);
    let shown: Vec<Shown> = match (&args.search, &space) {
        (Some(query), Some(space)) => {
            let search = Search { query: query.clone(), limit: args.limit, filter: Map::new() };
            let found = store.search(space, search).await.map_err(failed)?.into_iter();
            found.map(|hit| Shown { kept: kept(space, hit.memo), score: Some(hit.score) }).collect()
        }
        _ => {
            let listed = store.list(space, args.limit).await.map_err(failed)?.into_iter();
            listed.map(|kept| Shown { kept, score: None }).collect()
        }
    };
    if args.json {
        let lines: String = shown.iter().map(|shown| as_json(shown).to_string() + "\n").collect();
        terminal::print(&lines)?;
        return Ok(Exit::Done);
    }
    if shown.is_empty() {
        let what = if args.search.is_some() { "nothing was found" } else { "nothing is kept here" };
        terminal::tell(&paint::quiet(what));
        return Ok(Exit::Done);
    }
    terminal::print(&rows(&shown))?;
    Ok(Exit::Done)
}

fn kept(space: &str, memo: Memo) -> KeptMemo {
    KeptMemo { space: space.to_owned(), memo }
}

fn space_of_session(session: &str) -> String {
    // The run is not looked at where there is a session.
    space_of(Some(session), &RunId::parse("none").expect("`none` follows the grammar of run ids"))
}

/// The session, or the run that belongs to none.
fn place(space: &str) -> (&str, &str) {
    match (space.strip_prefix("session:"), space.strip_prefix("run:")) {
        (Some(session), _) => ("session", session),
        (None, Some(run)) => ("run", run),
        (None, None) => ("space", space),
    }
}

fn of<'m>(memo: &'m Memo, key: &str) -> &'m str {
    memo.meta.get(key).and_then(Value::as_str).unwrap_or("-")
}

fn rows(shown: &[Shown]) -> String {
    let mut table = table::with_head(Wide::Break, &["OF", "KIND", "STEP", "WHEN", "SCORE", "TEXT"]);
    for Shown { kept, score } in shown {
        let memo = &kept.memo;
        let (what, name) = place(&kept.space);
        let kind = match of(memo, "kind") {
            cofferdam::core::recollect::STEP_INPUT => "input",
            cofferdam::core::recollect::STEP_OUTPUT => "output",
            other => other,
        };
        let score = score.map_or_else(|| "-".to_owned(), |score| format!("{score:.2}"));
        let step = if of(memo, "step") == "-" { memo.id.as_str() } else { of(memo, "step") };
        table.add_row([
            format!("{what} {}", clean(name, TEXT_CHARS)),
            clean(kind, TEXT_CHARS),
            clean(step, TEXT_CHARS),
            clean(of(memo, "at"), TEXT_CHARS),
            score,
            clean(&memo.text, TEXT_CHARS),
        ]);
    }
    table::render(&table)
}

fn as_json(Shown { kept, score }: &Shown) -> Value {
    let KeptMemo { space, memo } = kept;
    let (what, name) = place(space);
    let mut line = json!({ what: name, "id": memo.id, "text": memo.text, "meta": memo.meta });
    if let (Some(score), Value::Object(line)) = (score, &mut line) {
        line.insert("score".to_owned(), json!(score));
    }
    line
}

async fn clear(store: &dyn Recall, args: &MemoryClearArgs) -> anyhow::Result<Exit> {
    let (spaces, what) = match (&args.session, &args.run) {
        (Some(session), _) => (vec![space_of_session(session)], format!("what is kept for the session `{session}`")),
        (None, Some(run)) => {
            let run = RunId::parse(run).map_err(|error| Failure::usage(error.to_string()))?;
            (vec![space_of(None, &run)], format!("what is kept for the run `{run}`"))
        }
        (None, None) => (Vec::new(), "everything that is kept".to_owned()),
    };
    if !args.yes && !confirmed(&what)? {
        terminal::tell("nothing was forgotten");
        return Ok(Exit::Done);
    }
    let mut forgotten = 0;
    if args.all {
        // Each pass forgets whole spaces, so that there are fewer after it.
        loop {
            let listed = store.list(None, limits::RECALL_ENTRIES).await.map_err(failed)?;
            let spaces: BTreeSet<String> = listed.into_iter().map(|kept| kept.space).collect();
            if spaces.is_empty() {
                break;
            }
            forgotten += forget(store, spaces).await?;
        }
    }
    forgotten += forget(store, spaces).await?;
    if args.json {
        terminal::print(&format!("{}\n", json!({ "forgotten": forgotten })))?;
    }
    terminal::tell(&format!("{forgotten} text{} forgotten", if forgotten == 1 { " was" } else { "s were" }));
    Ok(Exit::Done)
}

async fn forget(store: &dyn Recall, spaces: impl IntoIterator<Item = String>) -> Result<usize, Failure> {
    let mut count = 0;
    for space in spaces {
        count += store.forget(&space, Vec::new()).await.map_err(failed)?;
    }
    Ok(count)
}

/// Asks a person; where nobody is there, the answer is no.
fn confirmed(what: &str) -> anyhow::Result<bool> {
    if !terminal::is_interactive() {
        return Err(Failure::usage(format!("nobody is there who could say whether to forget {what}"))
            .with_hint("`--yes` forgets it without asking")
            .into());
    }
    terminal::tell(&format!("forget {what}? [y/N]"));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "yes"))
}
