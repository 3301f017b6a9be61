//! `agent`: one agent, asked once.
//!
//! It becomes a document of one step, so that everything about runs holds for it.

use super::run::{self, Task, inputs};
use crate::args::{AgentArgs, Global};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::{self, Session};
use crate::settings;
use crate::terminal;
use cofferdam::{AgentConfig, Workflow};
use std::collections::BTreeMap;
use std::path::Path;

/// What the agent is called in records.
pub(super) const NAME: &str = "assistant";

pub(super) fn run(global: &Global, args: AgentArgs) -> anyhow::Result<Exit> {
    // What is wrong with the command line is said before anything is waited for.
    let workflow = Workflow::from_agent(&described(&args)?, ".").map_err(Failure::from)?;
    let typed = args.prompt.as_deref().filter(|typed| *typed != "-");
    let prompt = prompt(typed, inputs::piped()?.as_deref())?;
    let args = args.into_run();
    let session = Session::open(global, &settings::flags(&args))?;
    let runtime = session::runtime()?;
    let outcome = runtime.block_on(async {
        let options = run::options(&session, &args)?;
        let task = Task::New(Box::new(cofferdam::RunOptions { input: Some(prompt), ..options }));
        run::start(&session, &args, (workflow, Path::new(".")), task).await
    });
    // A thread that waits for a slow reader or for a person must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// What is asked: what was typed, then what was piped in.
fn prompt(typed: Option<&str>, piped: Option<&str>) -> Result<String, Failure> {
    let parts: Vec<&str> = [typed, piped].into_iter().flatten().filter(|part| !part.trim().is_empty()).collect();
    if parts.is_empty() {
        return Err(Failure::usage("there is nothing to ask the agent")
            .with_hint("write `cofferdam agent \"What is in this folder?\"`, or pipe a text into it"));
    }
    Ok(parts.join("\n\n"))
}

fn described(args: &AgentArgs) -> Result<AgentConfig, Failure> {
    let mut agent = AgentConfig::new(NAME);
    if let Some(system) = &args.system {
        agent = agent.prompt(&inputs::text_or_file(system)?);
    }
    if let Some(tools) = &args.tools {
        agent = agent.tools(tools.iter().map(|tool| tool.trim()).filter(|tool| !tool.is_empty()));
    }
    if let Some(turns) = args.max_turns {
        agent = agent.max_turns(turns);
    }
    if let Some(path) = &args.schema {
        let text = inputs::file(path)?;
        let schema = cofferdam::core::value::parse(&text)
            .map_err(|error| Failure::usage(format!("the schema in `{}` is no JSON: {error}", terminal::name(path))))?;
        agent = agent.result_schema(schema);
    }
    let agent = with_plugins(agent, &args.plugins)?;
    Ok(args.servers.iter().fold(agent, |agent, alias| agent.server(alias)))
}

/// The agent with plugins that flags name.
pub(super) fn with_plugins(agent: AgentConfig, flags: &[String]) -> Result<AgentConfig, Failure> {
    let mut named = BTreeMap::new();
    for text in flags {
        let Some((alias, source)) = text.split_once('=') else {
            return Err(Failure::usage(format!("`--plugin {text}` has no source"))
                .with_hint("write `--plugin NAME=builtin:text` or `--plugin NAME=./component.wasm`"));
        };
        if named.insert(alias, source).is_some() {
            return Err(Failure::usage(format!("the plugin `{alias}` is given twice")));
        }
    }
    Ok(named.into_iter().fold(agent, |agent, (alias, source)| agent.plugin(alias, source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_piped_comes_after_what_is_typed() {
        assert_eq!(prompt(Some("Explain."), Some("a\n")).unwrap(), "Explain.\n\na\n");
        assert_eq!(prompt(None, Some("a")).unwrap(), "a");
        assert_eq!(prompt(Some("a"), Some(" \n")).unwrap(), "a");
        assert!(prompt(Some(" "), None).is_err());
    }
}
