//! `tools`: what agents would be offered.

use super::agent;
use super::document::{self, Warnings};
use crate::args::{Global, ToolsCommand, ToolsListArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{self, Session};
use crate::terminal;
use crate::ui::paint;
use crate::ui::table::{self, Wide};
use cofferdam::core::permission::Outcome;
use cofferdam::sink::clean;
use cofferdam::{AgentConfig, Listed, OfferedTool, OfferedTools, Workflow};
use serde_json::{Value, json};

/// Longer descriptions are cut in the table.
const DESCRIPTION_CHARS: usize = 70;

pub(super) fn run(global: &Global, command: &ToolsCommand) -> anyhow::Result<Exit> {
    let ToolsCommand::List(args) = command;
    let session = Session::open(global, &[])?;
    let workflow = match &args.file {
        Some(file) => document::load(file, Warnings::Hide)?,
        None => {
            let agent = agent::with_plugins(AgentConfig::new(agent::NAME), &args.plugins)?;
            Workflow::from_agent(&agent, ".").map_err(Failure::from)?
        }
    };
    let orchestrator = session.permitting(session.orchestrator(), &args.grants)?.build().map_err(Failure::from)?;
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(async {
        let offered = orchestrator.tools(&workflow, args.agent.as_deref()).await.map_err(Failure::from);
        orchestrator.close().await;
        offered
    });
    runtime.shutdown_background();
    show(&outcome?, args)
}

fn show(offered: &OfferedTools, args: &ToolsListArgs) -> anyhow::Result<Exit> {
    let text = if args.json { lines(offered) } else { rows(offered) };
    terminal::print(&text)?;
    for alias in &offered.unlisted {
        let text = format!("the tools of the MCP server `{alias}` are known when a run has started it");
        terminal::tell(&paint::quiet(&text));
    }
    Ok(Exit::Done)
}

fn rows(offered: &OfferedTools) -> String {
    let mut table = table::with_head(Wide::Break, &["TOOL", "FROM", "CALLS", "WHY", "WHAT IT DOES"]);
    for OfferedTool { listed, from } in &offered.tools {
        let why = [std::slice::from_ref(&listed.decided.rule), &listed.perhaps].concat().join("; perhaps ");
        let about = clean(listed.description.lines().next().unwrap_or_default(), DESCRIPTION_CHARS);
        table.add_row([listed.name.to_string(), clean(from, DESCRIPTION_CHARS), word(listed).to_owned(), why, about]);
    }
    table::render(&table)
}

fn lines(offered: &OfferedTools) -> String {
    offered.tools.iter().map(|tool| as_json(tool).to_string() + "\n").collect()
}

fn as_json(OfferedTool { listed, from }: &OfferedTool) -> Value {
    json!({
        "tool": listed.name,
        "from": from,
        "calls": word(listed),
        "rule": listed.decided.rule,
        "perhaps": listed.perhaps,
        "effects": listed.effects,
        "description": listed.description,
    })
}

/// What becomes of calls: where nobody is there to ask, what is not decided is denied.
fn word(listed: &Listed) -> &'static str {
    match listed.decided.outcome {
        Outcome::Allow => "run",
        Outcome::Undecided | Outcome::Ask if terminal::is_interactive() => "asked",
        Outcome::Undecided | Outcome::Ask | Outcome::Deny => "denied",
    }
}
