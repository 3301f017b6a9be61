//! `sinks`: what sinks left behind, to look at, deliver, send again or drop.
//!
//! It must not know how a sink is spoken to.

use crate::args::{Global, SinksCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{self, Session};
use crate::terminal;
use crate::ui::table::{self, Wide};
use cofferdam::sink::clean;
use cofferdam::{Delivery, Orchestrator};
use serde::Serialize;

/// Longer texts are cut in tables.
const REASON_CHARS: usize = 80;

pub(super) fn run(global: &Global, command: &SinksCommand) -> anyhow::Result<Exit> {
    let session = Session::open(global, &[])?;
    let shared = command.shared();
    let builder = session.with_storage(session.orchestrator(), &shared.grant)?;
    let builder = session.with_sinks(builder, &shared.sinks, &shared.grant)?;
    let orchestrator = builder.build().map_err(Failure::from)?;
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(async {
        let outcome = act(&orchestrator, command).await;
        orchestrator.close().await;
        outcome
    });
    runtime.shutdown_background();
    outcome
}

async fn act(orchestrator: &Orchestrator, command: &SinksCommand) -> anyhow::Result<Exit> {
    let json = command.shared().json;
    match command {
        SinksCommand::List { .. } => list(orchestrator, json).await,
        SinksCommand::Deliver { sink, .. } => {
            let deliveries = orchestrator.deliver_missed(sink.as_deref()).await.map_err(Failure::from)?;
            tell(&deliveries, json, "an earlier run", "earlier runs")
        }
        SinksCommand::DeadLetters { sink, .. } => dead_letters(orchestrator, sink, json).await,
        SinksCommand::Resend { sink, which, .. } => {
            let delivery = orchestrator.resend(sink, which).await.map_err(Failure::from)?;
            tell(&[delivery], json, "a dead letter", "dead letters")
        }
        SinksCommand::Drop { sink, which, all, .. } => {
            let which = if *all { left_by(orchestrator, sink).await? } else { which.clone() };
            drop_each(orchestrator, sink, &which, json).await
        }
    }
}

async fn list(orchestrator: &Orchestrator, json: bool) -> anyhow::Result<Exit> {
    let sinks = orchestrator.sinks().await.map_err(Failure::from)?;
    if json {
        print_lines(&sinks)?;
        return Ok(Exit::Done);
    }
    if sinks.is_empty() {
        terminal::tell("no sink is set here; `--sink`, or `sinks` in `[run]` of `cofferdam.toml`, name them");
        return Ok(Exit::Done);
    }
    let mut shown = table::with_head(Wide::Keep, &["SINK", "SOURCE", "DEAD LETTERS", "LACKS OF RUN", "TAKEN"]);
    for sink in &sinks {
        let (name, source) = (sink.sink.to_string(), clean(&sink.source, 40));
        let letters = sink.dead_letters.to_string();
        if sink.runs.is_empty() {
            shown.add_row([name.clone(), source.clone(), letters.clone(), "-".to_owned(), "-".to_owned()]);
        }
        for run in &sink.runs {
            let taken = format!("{} of {}", run.taken, run.recorded);
            shown.add_row([name.clone(), source.clone(), letters.clone(), run.run_id.to_string(), taken]);
        }
    }
    terminal::print(&table::render(&shown))?;
    Ok(Exit::Done)
}

async fn dead_letters(orchestrator: &Orchestrator, sink: &str, json: bool) -> anyhow::Result<Exit> {
    let letters = orchestrator.dead_letters(sink).await.map_err(Failure::from)?;
    if json {
        print_lines(&letters)?;
        return Ok(Exit::Done);
    }
    if letters.is_empty() {
        terminal::tell(&format!("sink `{sink}` has no dead letters"));
        return Ok(Exit::Done);
    }
    let mut shown = table::with_head(Wide::Keep, &["LETTER", "KIND", "STEP", "REASON"]);
    for letter in &letters {
        let event = letter.event.as_deref();
        let kind = event.map_or("-", |event| event.body.kind());
        let step = event.map(|event| event.path.to_string()).filter(|path| !path.is_empty());
        let reason = clean(&letter.reason, REASON_CHARS);
        shown.add_row([letter.key.clone(), kind.to_owned(), step.unwrap_or_else(|| "-".to_owned()), reason]);
    }
    terminal::print(&table::render(&shown))?;
    Ok(Exit::Done)
}

/// Its dead letters, and the runs of which it lacks something.
async fn left_by(orchestrator: &Orchestrator, sink: &str) -> anyhow::Result<Vec<String>> {
    let letters = orchestrator.dead_letters(sink).await.map_err(Failure::from)?;
    let standings = orchestrator.sinks().await.map_err(Failure::from)?;
    let own = standings.into_iter().filter(|standing| standing.sink.as_str() == sink);
    let runs = own.flat_map(|standing| standing.runs).map(|run| run.run_id.to_string());
    Ok(letters.into_iter().map(|letter| letter.key).chain(runs).collect())
}

/// Says what was delivered; a sink that still lacks something fails the command.
fn tell(deliveries: &[Delivery], json: bool, one: &str, several: &str) -> anyhow::Result<Exit> {
    if json {
        print_lines(deliveries)?;
    }
    for Delivery { sink, delivered, left, error } in deliveries {
        let events = if *delivered == 1 { "1 event was".to_owned() } else { format!("{delivered} events were") };
        let left = match left {
            0 => String::new(),
            1 => format!("; {one} is left"),
            left => format!("; {left} {several} are left"),
        };
        let why = error.as_ref().map(|fault| format!(": {}", clean(&fault.message, 400))).unwrap_or_default();
        terminal::tell(&format!("sink `{sink}`: {events} delivered{left}{why}"));
    }
    let done = deliveries.iter().all(|delivery| delivery.left == 0 && delivery.error.is_none());
    Ok(if done { Exit::Done } else { Exit::Failed })
}

async fn drop_each(orchestrator: &Orchestrator, sink: &str, which: &[String], json: bool) -> anyhow::Result<Exit> {
    if which.is_empty() && !json {
        terminal::tell(&format!("sink `{sink}` has no dead letters and lacks nothing"));
    }
    for what in which {
        if !orchestrator.drop_leftover(sink, what).await.map_err(Failure::from)? {
            let hint = "`cofferdam sinks list` and `cofferdam sinks dead-letters` name what there is";
            return Err(Failure::usage(format!("sink `{sink}` left nothing behind that is called `{what}`"))
                .with_hint(hint)
                .into());
        }
        if json {
            print_lines(&[serde_json::json!({ "dropped": what })])?;
        } else {
            terminal::tell(&format!("dropped {what}"));
        }
    }
    Ok(Exit::Done)
}

fn print_lines<T: Serialize>(items: &[T]) -> anyhow::Result<()> {
    let lines = items.iter().map(|item| Ok(serde_json::to_string(item)? + "\n"));
    terminal::print(&lines.collect::<Result<String, serde_json::Error>>()?)?;
    Ok(())
}
