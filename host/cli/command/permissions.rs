//! `permissions`: what people allowed for good in this project, to look at and to take back.
//!
//! It must not know how answers are kept.

use crate::args::{Global, PermissionsCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::local_time;
use crate::session::{self, Session};
use crate::terminal;
use crate::ui::paint;
use crate::ui::table::{self, Wide};
use cofferdam::sink::clean;
use cofferdam::{AnswerKind, KeptAnswer, Orchestrator};
use std::collections::BTreeMap;

/// Longer texts are cut in the table.
const TEXT_CHARS: usize = 80;

/// How much of an id is shown.
const ID_CHARS: usize = 12;

/// A shorter beginning of an id is too easily that of another one.
const ID_LEAST: usize = 4;

pub(super) fn run(global: &Global, command: &PermissionsCommand) -> anyhow::Result<Exit> {
    let session = Session::open(global, &[])?;
    let orchestrator = session.orchestrator().build().map_err(Failure::from)?;
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(async {
        let outcome = act(&orchestrator, command).await;
        orchestrator.close().await;
        outcome
    });
    runtime.shutdown_background();
    outcome
}

async fn act(orchestrator: &Orchestrator, command: &PermissionsCommand) -> anyhow::Result<Exit> {
    let answers = orchestrator.kept_answers().await.map_err(Failure::from)?;
    match command {
        PermissionsCommand::List { json: true } => print_lines(&answers),
        PermissionsCommand::List { json: false } if answers.is_empty() => {
            terminal::tell(&paint::quiet("nothing was allowed for good in this project"));
            Ok(Exit::Done)
        }
        PermissionsCommand::List { json: false } => {
            terminal::print(&rows(&answers))?;
            Ok(Exit::Done)
        }
        PermissionsCommand::Forget { which, all, json } => {
            let chosen = if *all { answers } else { chosen(&answers, which)? };
            forget(orchestrator, &chosen, *json).await
        }
    }
}

fn rows(answers: &[KeptAnswer]) -> String {
    let mut table = table::with_head(Wide::Break, &["ID", "ABOUT", "OF", "ALLOWS", "WHEN", "COUNTS"]);
    for answer in answers {
        let dash = || "-".to_owned();
        let of = answer.of.as_deref().map_or_else(dash, |of| clean(of, TEXT_CHARS));
        let when = answer.at.map_or_else(dash, local_time::date_and_time);
        let counts = match answer.counts {
            Some(true) => "yes",
            Some(false) => "no",
            None => "perhaps",
        };
        let id = answer.id.get(..ID_CHARS).unwrap_or(&answer.id);
        let allows = clean(&answer.allows.join("; "), TEXT_CHARS);
        table.add_row([clean(id, ID_CHARS), about(answer), of, allows, when, counts.to_owned()]);
    }
    table::render(&table)
}

fn about(answer: &KeptAnswer) -> String {
    let what = match answer.kind {
        AnswerKind::Tool => "tool",
        AnswerKind::Plugin => "plugin",
        AnswerKind::McpServer => "MCP server",
        AnswerKind::Older => "something that an older version did not keep",
    };
    format!("{what} {}", clean(&answer.name, TEXT_CHARS)).trim_end().to_owned()
}

/// The answers that are named, each once.
fn chosen(answers: &[KeptAnswer], which: &[String]) -> Result<Vec<KeptAnswer>, Failure> {
    let mut all = BTreeMap::new();
    for wanted in which {
        let named: Vec<&KeptAnswer> = answers.iter().filter(|answer| answer.name == *wanted).collect();
        let found = if named.is_empty() { by_id(answers, wanted)? } else { named };
        all.extend(found.into_iter().map(|answer| (answer.id.clone(), answer.clone())));
    }
    Ok(all.into_values().collect())
}

fn by_id<'a>(answers: &'a [KeptAnswer], wanted: &str) -> Result<Vec<&'a KeptAnswer>, Failure> {
    let found: Vec<&KeptAnswer> = answers
        .iter()
        .filter(|answer| wanted.len() >= ID_LEAST.min(answer.id.len()) && answer.id.starts_with(wanted))
        .collect();
    match found.len() {
        1 => Ok(found),
        0 => Err(Failure::usage(format!("nothing was allowed for good that is called `{wanted}`"))
            .with_hint("`cofferdam permissions list` names what was")),
        count => Err(Failure::usage(format!("{count} answers have an id that begins with `{wanted}`"))
            .with_hint("write more of it")),
    }
}

async fn forget(orchestrator: &Orchestrator, chosen: &[KeptAnswer], json: bool) -> anyhow::Result<Exit> {
    for answer in chosen {
        orchestrator.forget_answer(&answer.id).await.map_err(Failure::from)?;
    }
    if json {
        return print_lines(chosen);
    }
    if chosen.is_empty() {
        terminal::tell("nothing was allowed for good in this project");
    }
    for answer in chosen {
        terminal::tell(&format!("taken back: {}", about(answer)));
    }
    Ok(Exit::Done)
}

fn print_lines(answers: &[KeptAnswer]) -> anyhow::Result<Exit> {
    let lines = answers.iter().map(|answer| Ok(serde_json::to_string(answer)? + "\n"));
    terminal::print(&lines.collect::<Result<String, serde_json::Error>>()?)?;
    Ok(Exit::Done)
}
