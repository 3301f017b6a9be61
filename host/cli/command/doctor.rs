//! `doctor`: whether this machine is ready. It changes nothing and says of keys only whether they are there.

use crate::args::{DoctorArgs, Global};
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::project::Project;
use crate::session::{self, Dotenv, Session};
use crate::terminal;
use crate::ui::paint;
use cofferdam::ProjectServer;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{Alias, PluginModelName};
use cofferdam::core::port::{Models, RunFilter};
use cofferdam::core::server::ServerReference;
use cofferdam::llm::provider::KNOWN;
use cofferdam::plugin::{PluginReference, Source, builtin};
use serde_json::json;
use std::path::Path;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    /// Worth knowing; nothing must be done.
    Note,
    /// Something must be mended.
    Bad,
}

struct Check {
    name: &'static str,
    state: State,
    found: String,
}

pub(super) fn run(global: &Global, args: &DoctorArgs) -> anyhow::Result<Exit> {
    let runtime = session::runtime()?;
    let checks = match &args.provider {
        None => Ok(runtime.block_on(checks(global))),
        Some(name) => runtime.block_on(provider(global, name)),
    };
    runtime.shutdown_background();
    let checks = checks?;
    for check in &checks {
        terminal::print(&if args.json { as_json(check) } else { as_text(check) })?;
    }
    let is_bad = checks.iter().any(|check| check.state == State::Bad);
    Ok(if is_bad { Exit::Failed } else { Exit::Done })
}

fn as_text(check: &Check) -> String {
    let mark = match check.state {
        State::Good => paint::good("ok  "),
        State::Note => paint::quiet("note"),
        State::Bad => paint::bad("FAIL"),
    };
    format!("{mark}  {:<9} {}\n", check.name, check.found.trim_end().replace('\n', "\n                "))
}

fn as_json(check: &Check) -> String {
    let state = match check.state {
        State::Good => "ok",
        State::Note => "note",
        State::Bad => "fail",
    };
    format!("{}\n", json!({ "check": check.name, "state": state, "found": check.found }))
}

async fn checks(global: &Global) -> Vec<Check> {
    let check = |name, state, found: String| Check { name, state, found };
    let mut checks = vec![check("version", State::Good, env!("CARGO_PKG_VERSION").to_owned())];
    match Project::find(global.project.as_deref()) {
        Ok(project) => checks.push(project_check(&project)),
        Err(error) => checks.push(check("project", State::Bad, format!("{error:#}"))),
    }
    match Session::open(global, &[]) {
        Ok(session) => {
            checks.push(check("settings", State::Good, files(&session)));
            checks.push(outcome("records", records(&session).await));
            checks.push(outcome("plugins", plugins(&session).await));
            checks.extend(servers(&session));
            checks.push(cache());
            checks.push(model(&session).await);
        }
        Err(error) => {
            checks.push(check("settings", State::Bad, format!("{error:#}; `cofferdam config show` says more")));
        }
    }
    checks.push(keys());
    checks
}

fn outcome(name: &'static str, outcome: anyhow::Result<String>) -> Check {
    match outcome {
        Ok(found) => Check { name, state: State::Good, found },
        Err(error) => Check { name, state: State::Bad, found: format!("{error:#}") },
    }
}

/// Whether records can be written: into the directory that is there, or into the one that would be made.
fn project_check(project: &Project) -> Check {
    let state = project.state();
    let place = if state.is_dir() { state.as_path() } else { project.root() };
    let writable = std::fs::metadata(place).is_ok_and(|metadata| !metadata.permissions().readonly());
    let shown = std::fs::canonicalize(project.root()).unwrap_or_else(|_| project.root().to_owned());
    let (state, note) = if writable { (State::Good, "") } else { (State::Bad, ", which cannot be written") };
    Check { name: "project", state, found: format!("{}{note}", terminal::name(&shown)) }
}

fn files(session: &Session) -> String {
    let read: Vec<String> = session.settings.files.iter().map(|file| file.path.display().to_string()).collect();
    if read.is_empty() { "defaults; no file of settings".to_owned() } else { read.join(", ") }
}

async fn records(session: &Session) -> anyhow::Result<String> {
    let database = session.project.state().join("runs.db");
    if !database.exists() {
        return Ok("none yet".to_owned());
    }
    let orchestrator = session.orchestrator().build().map_err(Failure::from)?;
    let page = orchestrator.runs().list(RunFilter { limit: 1, ..RunFilter::default() }).await?;
    let latest = page.rows.first().map(|row| format!(", the latest {}", row.run_id)).unwrap_or_default();
    Ok(format!("{} can be read{latest}", terminal::name(&database)))
}

async fn plugins(session: &Session) -> anyhow::Result<String> {
    let orchestrator = session.orchestrator().build().map_err(Failure::from)?;
    let mut cached = 0;
    for builtin in builtin::ALL {
        let alias = Alias::parse("doctor").expect("`doctor` follows the grammar");
        let reference = PluginReference::new(alias, Source::Builtin(builtin.name.to_owned()));
        cached += usize::from(orchestrator.plugins().inspect(reference).await?.history.cached);
    }
    Ok(format!("{} built in, all load; {cached} were compiled before", builtin::ALL.len()))
}

/// Whether the programs of the project's MCP servers are there. None of them is started.
fn servers(session: &Session) -> Option<Check> {
    let known: Vec<_> = session.settings.files.iter().flat_map(|file| &file.servers).collect();
    let lacks = |server: &ProjectServer| match &server.reference {
        ServerReference::Command { command, .. } if command.contains('/') => !server.directory.join(command).is_file(),
        ServerReference::Command { command, .. } => {
            let path = environment::path("PATH").unwrap_or_default();
            !std::env::split_paths(&path).any(|folder| folder.join(command).is_file())
        }
        ServerReference::Address { .. } | ServerReference::Project => false,
    };
    let lacking: Vec<&str> =
        known.iter().filter(|(_, server)| lacks(server)).map(|(alias, _)| alias.as_str()).collect();
    let check = |state, found: String| Some(Check { name: "servers", state, found });
    match (known.len(), lacking.is_empty()) {
        (0, _) => None,
        (count, true) => check(State::Good, format!("{count} in cofferdam.toml; their programs are there")),
        (_, false) => check(State::Bad, format!("there is no program for the MCP servers {}", lacking.join(", "))),
    }
}

/// Where compiled plugins are kept, and whether their key is usable.
fn cache() -> Check {
    let check = |state, found: String| Check { name: "cache", state, found };
    let Some(dirs) = environment::user_dirs() else {
        return check(State::Note, "none; without HOME plugins are compiled each time".to_owned());
    };
    match cofferdam::plugin::user_key(&dirs.state) {
        Ok(_) => check(State::Good, format!("{}, key in {}", terminal::name(&dirs.cache), terminal::name(&dirs.state))),
        Err(error) => check(State::Bad, format!("{}: {error}", terminal::name(&dirs.state))),
    }
}

async fn model(session: &Session) -> Check {
    let catalog = session.models(Path::new("."), Dotenv::Read);
    let named = session.settings.model().map(|sourced| sourced.value.as_str());
    let choice = catalog.choose_auto(named).await;
    if let Some(PluginModelName { alias, .. }) = Models::plugin_model(&*catalog, &choice.model) {
        let is_listed = session.listed().contains_key(&alias);
        let (state, found) = match is_listed {
            true => (State::Good, choice.line),
            false => (State::Bad, format!("{}: `cofferdam.toml` has no plugin `{alias}` with a source", choice.model)),
        };
        return Check { name: "model", state, found };
    }
    match Models::resolve(&*catalog, &choice.model) {
        Ok(_) => Check { name: "model", state: State::Good, found: choice.line },
        Err(fault) => {
            let hint = fault.hint.as_deref().map(|hint| format!("\n{hint}")).unwrap_or_default();
            Check { name: "model", state: State::Bad, found: format!("{}: {fault}{hint}", choice.model) }
        }
    }
}

/// What a provider answers to one small request.
async fn provider(global: &Global, name: &str) -> anyhow::Result<Vec<Check>> {
    let session = Session::open(global, &[])?;
    let catalog = session.models(Path::new("."), Dotenv::Read);
    let tried = catalog.try_provider(name).await.map_err(refused)?;
    let note = |name, found: String| Check { name, state: State::Note, found };
    let mut checks = vec![note("model", tried.model), note("url", tried.url)];
    checks.extend(tried.status.map(|status| note("status", status.to_string())));
    checks.extend((!tried.body.is_empty()).then(|| note("body", tried.body.join("\n"))));
    checks.push(match tried.fault {
        None => Check { name: "answer", state: State::Good, found: "the provider answers".to_owned() },
        Some(fault) => {
            let hint = fault.hint.as_deref().map(|hint| format!("\n{hint}")).unwrap_or_default();
            Check { name: "answer", state: State::Bad, found: format!("{fault}{hint}") }
        }
    });
    Ok(checks)
}

fn refused(fault: Fault) -> Failure {
    let failure = Failure::usage(fault.to_string());
    match fault.hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

fn keys() -> Check {
    let names = KNOWN.iter().flat_map(|known| known.other_key_variables.iter().copied().chain([known.key_variable]));
    let set = names.filter(|name| environment::variable(name).is_some());
    let set: std::collections::BTreeSet<&str> = set.collect();
    let set: Vec<&str> = set.into_iter().collect();
    let found = if set.is_empty() {
        "none is set; local models need none".to_owned()
    } else {
        format!("set: {}", set.join(", "))
    };
    Check { name: "keys", state: State::Note, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_line_in_either_form() {
        let check = Check { name: "keys", state: State::Bad, found: "x".into() };
        assert_eq!(as_json(&check), "{\"check\":\"keys\",\"state\":\"fail\",\"found\":\"x\"}\n");
        assert!(as_text(&check).contains("FAIL"));
    }
}
