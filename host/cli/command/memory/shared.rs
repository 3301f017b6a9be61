//! `memory show --shared` and `memory clear --shared`: the memory that runs share beyond their end.

use super::{confirmed, failed};
use crate::args::{MemoryClearArgs, MemoryShowArgs};
use crate::exit::Exit;
use crate::terminal;
use crate::ui::paint;
use crate::ui::table::{self, Wide};
use cofferdam::core::value;
use cofferdam::sink::clean;
use cofferdam::{LastingEntry, Orchestrator};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Longer values are cut in the table.
const VALUE_CHARS: usize = 80;

/// Most agents that are named.
const AGENTS: usize = 10;

pub(super) async fn show(orchestrator: &Orchestrator, args: &MemoryShowArgs) -> anyhow::Result<Exit> {
    let entries = orchestrator.shared_memory().list(args.agent.as_deref()).await.map_err(failed)?;
    if args.json {
        let lines: String = entries.iter().map(|entry| as_json(entry).to_string() + "\n").collect();
        terminal::print(&lines)?;
        return Ok(Exit::Done);
    }
    if entries.is_empty() {
        terminal::tell(&paint::quiet(&nothing(orchestrator, args.agent.as_deref()).await?));
        return Ok(Exit::Done);
    }
    let mut rows = table::with_head(Wide::Break, &["AGENT", "KEY", "REVISION", "RUN", "VALUE"]);
    for LastingEntry { namespace, key, value, revision, run } in &entries {
        let value = clean(&value::to_text(value), VALUE_CHARS);
        rows.add_row([namespace.to_string(), key.to_string(), revision.to_string(), clean(run, VALUE_CHARS), value]);
    }
    terminal::print(&table::render(&rows))?;
    Ok(Exit::Done)
}

/// That there is no entry; of one agent, who else has some.
async fn nothing(orchestrator: &Orchestrator, agent: Option<&str>) -> anyhow::Result<String> {
    let nobody = "the runs of this project share no entry";
    let Some(agent) = agent else { return Ok(nobody.to_owned()) };
    let all = orchestrator.shared_memory().list(None).await.map_err(failed)?;
    let others: BTreeSet<String> = all.iter().map(|entry| format!("`{}`", entry.namespace)).collect();
    if others.is_empty() {
        return Ok(nobody.to_owned());
    }
    let more = others.len().saturating_sub(AGENTS);
    let named = others.into_iter().take(AGENTS).collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Ok(format!("the agent `{}` has no entry; entries are there of {named}{more}", clean(agent, VALUE_CHARS)))
}

fn as_json(entry: &LastingEntry) -> Value {
    let LastingEntry { namespace, key, value, revision, run } = entry;
    json!({ "agent": **namespace, "key": **key, "value": **value, "revision": revision, "run": run })
}

pub(super) async fn clear(orchestrator: &Orchestrator, args: &MemoryClearArgs) -> anyhow::Result<Exit> {
    let what = match &args.agent {
        Some(agent) => format!("what `{agent}` keeps in the memory that runs share"),
        None => "all that runs share".to_owned(),
    };
    if !args.yes && !confirmed(&what)? {
        terminal::tell("nothing was forgotten");
        return Ok(Exit::Done);
    }
    let forgotten = orchestrator.shared_memory().clear(args.agent.as_deref()).await.map_err(failed)?;
    if args.json {
        terminal::print(&format!("{}\n", json!({ "forgotten": forgotten })))?;
    }
    terminal::tell(&format!("{forgotten} entr{} forgotten", if forgotten == 1 { "y was" } else { "ies were" }));
    Ok(Exit::Done)
}
