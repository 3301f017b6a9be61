//! `plugin call`: one tool, called as a run would call it, without a workflow and without a record.

use super::{look, named_or_made, trace};
use crate::args::CallArgs;
use crate::command::run::stop;
use crate::exit::{Exit, Signal};
use crate::failure::Failure;
use crate::session::Session;
use crate::terminal;
use crate::ui::paint;
use cofferdam::core::event::{Body, RunEvent};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::LocalName;
use cofferdam::core::port::{Ack, Batch, BoxFuture, Pressure, Sink, Want};
use cofferdam::core::spec::suggest::did_you_mean;
use cofferdam::core::value::{self, Map};
use cofferdam::plugin::{Inspection, PluginReference};
use cofferdam::sink::clean;
use cofferdam::store::{Memory, MemoryState};
use cofferdam::{Call, Orchestrator, RunResult};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What a plugin was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Denial {
    request: String,
    allow: String,
}

/// Hears what a call tells while it runs.
#[derive(Default)]
struct Ear {
    denials: Mutex<Vec<Denial>>,
}

/// Most characters of what a plugin says.
const SAID_CHARS: usize = 600;

pub(super) async fn run(session: &Session, args: &CallArgs) -> anyhow::Result<Exit> {
    let alias = named_or_made(args.alias.as_deref(), &args.source)?;
    let tool = LocalName::parse(&args.tool).map_err(|error| Failure::usage(error.to_string()))?;
    let call = Call {
        alias,
        source: args.source.clone(),
        config: args.config.as_deref().map_or_else(|| Ok(Map::new()), |text| object("--config", text))?,
        tool,
        args: object("the arguments", &args.args)?,
    };
    let policy = session.grants(&args.grant)?;
    if let Some(stray) = policy.flagged().find(|flagged| **flagged != call.alias) {
        let hint = format!("write `{}:...`, or name the plugin with `--alias {stray}`", call.alias);
        let message = format!("the grant is for `{stray}`, and this plugin is `{}`", call.alias);
        return Err(Failure::usage(message).with_hint(hint).into());
    }
    let source = super::source(&call.source)?;
    let plugin = look(session, PluginReference::new(call.alias.clone(), source)).await?;
    has_tool(&plugin, &call)?;
    let ear = Arc::new(Ear::default());
    let builder = session.passing_orchestrator();
    let builder = if args.trace { builder.tap(trace::tap()) } else { builder };
    let orchestrator = builder
        .storage(Arc::new(Memory::new()))
        .state(Arc::new(MemoryState::new()))
        .grants(policy)
        .workdir(args.workdir.clone().unwrap_or_else(|| PathBuf::from(".")))
        .sink(Arc::clone(&ear) as Arc<dyn Sink>)
        .build()
        .map_err(Failure::from)?;
    let (outcome, signal) = made(&orchestrator, &call).await?;
    let Some(result) = outcome else { return Ok(signal.map_or(Exit::Failed, Signal::exit)) };
    let denials = ear.denials(&result);
    if args.json {
        terminal::print(&format!("{}\n", serde_json::to_string_pretty(&as_json(&result, &denials))?))?;
    } else {
        show(&result)?;
    }
    tell(&result, &denials);
    Ok(Exit::of_result(&result, signal))
}

/// Refuses a tool that the plugin does not have, with those that it has.
fn has_tool(plugin: &Inspection, call: &Call) -> Result<(), Failure> {
    let names: Vec<&str> = plugin.about.tools.iter().map(|tool| tool.name.as_str()).collect();
    if names.contains(&call.tool.as_str()) {
        return Ok(());
    }
    let failure = Failure::invalid(format!("plugin `{}` has no tool `{}`", call.alias, call.tool));
    if names.is_empty() {
        let kinds: Vec<String> = plugin.kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
        return Err(failure.with_hint(format!("it is a {} and has no tools that can be called", kinds.join(", "))));
    }
    let near = did_you_mean(call.tool.as_str(), names.iter().copied());
    Err(failure.with_hint(near.unwrap_or_else(|| format!("it has {}", names.join(", ")))))
}

/// Makes the call; without a result when somebody stopped it before it began.
async fn made(orchestrator: &Orchestrator, call: &Call) -> anyhow::Result<(Option<RunResult>, Option<Signal>)> {
    let workflow = call.workflow(".").map_err(Failure::from)?;
    let (running, options) = (orchestrator.clone(), call.options());
    let run = tokio::spawn(async move { running.run_flow(&workflow, options).await });
    let questions = tokio_util::sync::CancellationToken::new();
    match stop::until_end(run, orchestrator, &questions).await {
        stop::Ended::Itself(outcome, signal) => match *outcome {
            Ok(result) => Ok((Some(result), signal)),
            Err(_) if signal.is_some() => Ok((None, signal)),
            Err(error) => Err(Failure::from(error).into()),
        },
        stop::Ended::Abandoned(signal) => Ok((None, Some(signal))),
    }
}

/// A JSON object, or one from a file.
fn object(what: &str, text: &str) -> Result<Map, Failure> {
    let read;
    let text = match text.strip_prefix('@') {
        Some(path) => {
            let shown = terminal::name(Path::new(path));
            read = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("{what}: `{shown}` cannot be read: {error}")))?;
            read.as_str()
        }
        None => text,
    };
    let hint = "write an object, '{\"name\": \"value\"}', or `@FILE`";
    match value::parse(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Failure::usage(format!("{what}: this is no JSON object")).with_hint(hint)),
        Err(error) => Err(Failure::usage(format!("{what}: {error}")).with_hint(hint)),
    }
}

/// What the tool gave: data as JSON, else its text.
fn show(result: &RunResult) -> anyhow::Result<()> {
    let Some(step) = Call::step(result).filter(|step| step.error.is_none() && result.success()) else { return Ok(()) };
    let mut text = match &*step.result {
        Value::Null => step.content.to_string(),
        data => serde_json::to_string_pretty(data)?,
    };
    if terminal::is_read_by_a_person() {
        text.retain(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    terminal::print(&text)?;
    Ok(())
}

fn as_json(result: &RunResult, denials: &[Denial]) -> Value {
    let step = Call::step(result);
    let denied: Vec<Value> =
        denials.iter().map(|denial| json!({ "request": denial.request, "allow": denial.allow })).collect();
    json!({
        "status": result.status,
        "result": step.map(|step| &step.result),
        "content": step.map(|step| &step.content),
        "duration_ms": step.map(|step| step.duration_ms),
        "error": Call::fault(result),
        "denied": denied,
    })
}

/// What went wrong, and what was denied with the lines that would allow it.
fn tell(result: &RunResult, denials: &[Denial]) {
    if let Some(failure) = &result.error {
        terminal::tell(&format!("{}: {}", paint::bad("error"), clean(&failure.fault.message, SAID_CHARS)));
        // A denial says the same below, with every line.
        if let Some(hint) = failure.fault.hint.as_ref().filter(|_| denials.is_empty()) {
            let lines: Vec<String> = hint.lines().map(|line| clean(line, SAID_CHARS)).collect();
            terminal::tell(&format!("  {} {}", paint::quiet("hint:"), lines.join("\n        ")));
        }
    }
    for denial in denials {
        terminal::tell(&format!("{}: {}", paint::warn("denied"), clean(&denial.request, SAID_CHARS)));
        for line in denial.allow.lines() {
            terminal::tell(&format!("    {}", clean(line, SAID_CHARS)));
        }
    }
}

impl Ear {
    /// What was denied, each once.
    fn denials(&self, result: &RunResult) -> Vec<Denial> {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(fault) = Call::fault(result) else { return denials };
        let hint = fault.hint.as_deref().unwrap_or_default();
        for request in Call::suspected(fault) {
            if !denials.iter().any(|denial| denial.request == request) {
                // The first line of the hint leads to the lines that allow it.
                let allow = hint.split_once('\n').map_or(hint, |(_, lines)| lines).to_owned();
                denials.push(Denial { request: request.to_owned(), allow });
            }
        }
        denials
    }

    fn hear(&self, event: &RunEvent) {
        match &event.body {
            Body::PluginDenied { request, allow, .. } => {
                let denial = Denial { request: request.clone(), allow: allow.clone() };
                let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
                if !denials.contains(&denial) {
                    denials.push(denial);
                }
            }
            Body::Progress { message, fraction } => {
                let share = fraction.map(|fraction| format!(" ({:.0} %)", fraction * 100.0)).unwrap_or_default();
                terminal::tell(&paint::quiet(&format!("progress: {}{share}", clean(message, SAID_CHARS))));
            }
            _ => {}
        }
    }
}

impl Sink for Ear {
    fn want(&self) -> Want {
        Want::new(["plugin_denied", "progress"].map(str::to_owned).to_vec(), Pressure::Drop)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        for event in &batch.events {
            self.hear(event);
        }
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
