//! `run --dry-run`: everything is checked and shown, nothing runs and nothing is recorded.

use crate::command::plan;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal;
use crate::ui::paint;
use cofferdam::{Orchestrator, PluginCheck, RunOptions, Workflow};
use serde_json::json;
use std::fmt::Write as _;

pub(super) async fn show(
    orchestrator: &Orchestrator,
    workflow: &Workflow,
    options: &RunOptions,
    json: bool,
) -> anyhow::Result<Exit> {
    let plugins = orchestrator.check(workflow, options).await.map_err(Failure::from)?;
    if json {
        let value = json!({ "kind": "dry_run", "plan": plan::json(workflow.document()), "plugins": plugins });
        terminal::print(&format!("{value}\n"))?;
        return Ok(Exit::Done);
    }
    let mut text = plan::tree(workflow.document());
    for plugin in &plugins {
        push(&mut text, plugin);
    }
    terminal::print(&text)?;
    terminal::tell(&paint::quiet("nothing was run"));
    Ok(Exit::Done)
}

fn push(text: &mut String, plugin: &PluginCheck) {
    // Writing into a string cannot fail.
    let _ = writeln!(text, "\n{} {}", plugin.kind, paint::strong(&plugin.alias));
    for line in &plugin.granted {
        let _ = writeln!(text, "  {}   {line}", paint::good("may"));
    }
    if plugin.granted.is_empty() && plugin.missing.is_empty() {
        let _ = writeln!(text, "  {}   only compute", paint::good("may"));
    }
    for line in &plugin.missing {
        let _ = writeln!(text, "  {} {line}", paint::warn("lacks"));
    }
    if !plugin.allow.is_empty() {
        let _ = writeln!(text, "  to allow what it lacks:  {}", plugin.allow);
    }
}
