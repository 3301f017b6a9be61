//! The shared memory of a run, as its record has it: for `memory show RUN`.

use super::show::Shown;
use super::{each_event, find_row};
use crate::terminal;
use crate::ui::paint;
use crate::ui::table::{self, Wide};
use cofferdam::Orchestrator;
use cofferdam::core::event::Body;
use cofferdam::core::value;
use cofferdam::sink::clean;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longer values are cut in the table.
const VALUE_CHARS: usize = 80;

/// Entries by namespace and key, with the changes that put them there.
type Entries = BTreeMap<(Arc<str>, Arc<str>), (Arc<Value>, u64)>;

/// Prints the shared memory of a run: a row an entry, or a line of JSON.
pub(in crate::command) async fn show(orchestrator: &Orchestrator, run: &str, json: bool) -> anyhow::Result<()> {
    let journal = &*orchestrator.runs();
    let run = find_row(journal, run).await?.run_id;
    let (mut entries, mut revision, mut shown) = (Entries::new(), 0_u64, Shown::new(false));
    each_event(journal, &run, |_, event| {
        let public = shown.public(event);
        match &public.as_ref().unwrap_or(event).body {
            Body::MemoryWritten { namespace, key, value, revision: there, .. } => {
                revision = there.unwrap_or(revision + 1);
                entries.insert((Arc::clone(namespace), Arc::clone(key)), (Arc::clone(value), revision));
            }
            Body::MemoryDeleted { namespace, key, .. } => {
                revision += 1;
                entries.remove(&(Arc::clone(namespace), Arc::clone(key)));
            }
            Body::MemorySeen(seen) => seen.entries.iter().for_each(|entry| {
                let name = (Arc::clone(&entry.namespace), Arc::clone(&entry.key));
                match &entry.value {
                    Some(value) => drop(entries.insert(name, (Arc::clone(value), entry.revision))),
                    None => drop(entries.remove(&name)),
                }
            }),
            _ => {}
        }
        Ok(())
    })
    .await?;
    if json {
        let lines = entries.iter().map(|((agent, key), (value, revision))| {
            json!({ "agent": **agent, "key": **key, "value": **value, "revision": revision }).to_string() + "\n"
        });
        return Ok(terminal::print(&lines.collect::<String>())?);
    }
    if entries.is_empty() {
        terminal::tell(&paint::quiet("the agents of this run share no entry"));
        return Ok(());
    }
    let mut rows = table::with_head(Wide::Break, &["AGENT", "KEY", "REVISION", "VALUE"]);
    for ((agent, key), (value, revision)) in &entries {
        let value = clean(&value::to_text(value), VALUE_CHARS);
        rows.add_row([agent.to_string(), key.to_string(), revision.to_string(), value]);
    }
    Ok(terminal::print(&table::render(&rows))?)
}
