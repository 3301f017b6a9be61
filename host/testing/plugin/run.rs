//! Stages a case of a plugin and looks at what comes of it: a call goes the way of every call, a batch or a decision
//! that of the engine, and all of them with a network, values, secrets and a time that are played.

use super::act::Act;
use super::bystander::{MeterOf, Still, Unheard};
use super::player::{Player, Somewhere};
use super::staged::Staged;
use super::values::{self, Values};
use crate::call::Call;
use crate::error::Error;
use crate::grants::GrantPolicy;
use crate::orchestrator::{Orchestrator, Played};
use crate::secrets::SecretSource;
use crate::testing::stage::{Machine, events};
use crate::testing::verdict::Miss;
use cofferdam_core::diagnostic::Diagnostics;
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, RunId, StepPath};
use cofferdam_core::policy::Grants;
use cofferdam_core::port::{Choice, Condition, Item, ItemValue, Outcome, PureContext, PureVerdict, State, Transform};
use cofferdam_core::time::Timestamp;
use cofferdam_core::value::Map;
use cofferdam_egress::{Egress, Resolve, Scrubber, Transport};
use cofferdam_plugin::{HostCalls, LoadedPlugin, PluginReference, Source, Spent, Tap};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the plugin of a test file is called in grants and messages.
const ALIAS: &str = "plugin";
/// The run of every case: identifiers and random numbers of a case are the same each time.
const RUN: &str = "case";

/// What came of a case.
pub(super) struct Found {
    /// As expectations see it. Not redacted: an expectation may be about a credential.
    pub(super) value: Value,
    /// Values at the end, by key.
    pub(super) kept: Vec<(String, Vec<u8>)>,
    /// What the case played and nobody asked for, or the other way round.
    pub(super) misses: Vec<Miss>,
    pub(super) spent: Option<Spent>,
}

/// Stages what is there, does what is to be done, and looks.
pub(super) async fn observe(act: &Act, staged: &Staged, source: &str, machine: &Machine) -> Result<Found, String> {
    let folder = tempfile::Builder::new().prefix("cofferdam-case-").tempdir().map_err(|error| error.to_string())?;
    lay_out(staged, folder.path()).map_err(|error| format!("the case cannot be staged: {error}"))?;
    let values = Values::seeded(&staged.kv).await.map_err(|error| format!("`kv` cannot be staged: {error}"))?;
    let scene = Scene {
        player: Arc::new(Player::new(Arc::clone(&staged.http))),
        values: Arc::new(values),
        meter: Arc::new(MeterOf::new(machine.tap.clone())),
    };
    let orchestrator = scene.orchestrator(staged, folder.path(), machine)?;
    let outcome = match act {
        Act::Call { tool, args } => {
            let call = Call {
                alias: alias(),
                source: source.to_owned(),
                config: staged.config.clone(),
                tool: tool.clone(),
                args: args.clone(),
            };
            called(&orchestrator, &call).await
        }
        _ => pure(&orchestrator, act, staged, source).await,
    };
    orchestrator.close().await;
    scene.found(outcome?, staged.clock).await
}

/// What is played for one case.
struct Scene {
    player: Arc<Player>,
    values: Arc<Values>,
    meter: Arc<MeterOf>,
}

impl Scene {
    fn orchestrator(&self, staged: &Staged, folder: &Path, machine: &Machine) -> Result<Orchestrator, String> {
        let transport = Arc::clone(&self.player) as Arc<dyn Transport>;
        let egress = Egress::through(Arc::new(Somewhere) as Arc<dyn Resolve>, transport);
        let mut builder = Orchestrator::builder()
            .grants(GrantPolicy::deny_all().with_flag(alias(), &staged.grants))
            .isolation(crate::compose::directories(Some(work(folder)), Some(&folder.join("records"))))
            .clock(Arc::new(Still(staged.clock)))
            .state(Arc::clone(&self.values) as Arc<dyn State>)
            .tap(Tap(Arc::clone(&self.meter) as Arc<dyn HostCalls>))
            .played(Played { egress });
        for (name, value) in &staged.secrets {
            builder = builder.secret(name.clone(), SecretSource::Value(value.clone()));
        }
        if let Some(dirs) = &machine.user_dirs {
            builder = builder.user_dirs(dirs.clone());
        }
        if let Some(child) = &machine.compile_child {
            builder = builder.compile_child(child.clone());
        }
        builder.build().map_err(|error| said(&error))
    }

    async fn found(&self, mut value: Map, now: Timestamp) -> Result<Found, String> {
        let spent = self.meter.spent();
        let kept = self.values.at(now).await.map_err(|error| error.to_string())?;
        value.insert("requests".to_owned(), self.player.seen().into());
        value.insert("kv".to_owned(), values::shown(&kept, None));
        value.insert("fuel".to_owned(), spent.and_then(|spent| spent.fuel).into());
        value.insert("memory".to_owned(), spent.map(|spent| spent.memory_bytes).into());
        Ok(Found { value: value.into(), kept, misses: self.player.misses(), spent })
    }
}

async fn called(orchestrator: &Orchestrator, call: &Call) -> Result<Map, String> {
    let workflow = call.workflow(".").map_err(|error| said(&error))?;
    let options = crate::orchestrator::RunOptions { run_id: Some(run_id()), ..call.options() };
    let result = orchestrator.run_flow(&workflow, options).await.map_err(|error| said(&error))?;
    let told = events(orchestrator.runs().as_ref(), &result.run_id).await;
    let error = Call::fault(&result);
    let told = told.iter().filter_map(|event| match &event.body {
        Body::PluginDenied { request, .. } => Some(request.as_str()),
        _ => None,
    });
    let denied: BTreeSet<&str> = told.chain(error.map(Call::suspected).unwrap_or_default()).collect();
    let step = Call::step(&result);
    Ok(table(json!({
        "result": step.map(|step| &step.result),
        "content": step.map(|step| &step.content),
        "error": error.map(of_fault),
        "denied": denied,
    })))
}

/// Loads the plugin and asks it itself: what is pure has no run around it.
async fn pure(orchestrator: &Orchestrator, act: &Act, staged: &Staged, source: &str) -> Result<Map, String> {
    let source = Source::parse(source, Path::new("")).map_err(|error| error.to_string())?;
    let mut reference = PluginReference::new(alias(), source);
    if !staged.config.is_empty() {
        reference.config = staged.config.clone().into();
    }
    let loaded = orchestrator.plugins().load(reference).await;
    let plugin = loaded.map_err(|error| error.to_fault().message)?;
    if !plugin.is(act.kind()) {
        let kind = format!("{:?}", act.kind()).to_lowercase();
        return Err(format!("the plugin is no {kind}, and `{}` is for one", act.key()));
    }
    let ctx = PureContext {
        run_id: run_id(),
        path: StepPath::from("case"),
        attempt: 1,
        now: staged.clock,
        events: Arc::new(Unheard),
    };
    let outcome = ask(&plugin, ctx, act).await;
    Ok(outcome.unwrap_or_else(|fault| table(json!({ "error": of_fault(&fault) }))))
}

async fn ask(plugin: &LoadedPlugin, ctx: PureContext, act: &Act) -> Result<Map, Fault> {
    let unfit = |why: Option<String>| match why {
        Some(why) => Err(Fault::user("plugin_options", format!("the plugin does not take these options: {why}"))),
        None => Ok(()),
    };
    match act {
        Act::Call { .. } => Ok(Map::new()),
        Act::Apply { options, items } => {
            unfit(Transform::refuse(plugin, options))?;
            let outcomes = plugin.apply(ctx, options, items.clone()).await?;
            Ok(table(json!({ "outcomes": outcomes.iter().map(of_outcome).collect::<Vec<_>>() })))
        }
        Act::Decide { options, view } => {
            unfit(Condition::refuse(plugin, options))?;
            let (verdict, reason) = match plugin.decide(ctx, options, view.clone()).await? {
                PureVerdict::Proceed => ("proceed", None),
                PureVerdict::Skip(why) => ("skip", Some(why)),
                PureVerdict::Stop(why) => ("stop", Some(why)),
            };
            Ok(table(json!({ "verdict": verdict, "reason": reason })))
        }
        Act::Choose { options, labels, view } => {
            unfit(Condition::refuse(plugin, options))?;
            let choice = Choice { labels: labels.clone(), view: view.clone() };
            let chosen = plugin.choose(ctx, options, choice).await?.and_then(|index| labels.get(index));
            Ok(table(json!({ "choice": chosen })))
        }
    }
}

fn of_outcome(outcome: &Outcome) -> Value {
    let value = |item: &Item| match &item.value {
        ItemValue::Text(text) => Value::from(&**text),
        ItemValue::Json(value) => Value::clone(value),
    };
    match outcome {
        Outcome::Keep(item) => json!({ "keep": value(item) }),
        Outcome::Replace(items) => json!({ "replace": items.iter().map(value).collect::<Vec<_>>() }),
        Outcome::Drop(why) => json!({ "drop": why }),
        Outcome::Fail(fault) => json!({ "fail": of_fault(fault) }),
    }
}

/// The working directory of the case, with its files.
fn lay_out(staged: &Staged, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir(work(folder))?;
    for (path, content) in &staged.files {
        let path = work(folder).join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, content.as_bytes())?;
    }
    Ok(())
}

fn work(folder: &Path) -> PathBuf {
    folder.join("work")
}

fn alias() -> Alias {
    Alias::parse(ALIAS).expect("it follows the grammar")
}

fn run_id() -> RunId {
    RunId::parse(RUN).expect("it follows the grammar")
}

fn table(value: Value) -> Map {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The fault of the host, and what the plugin itself says of it.
fn of_fault(fault: &Fault) -> Value {
    let detail = |key| fault.detail.as_ref().and_then(|detail| detail.get(key)).cloned();
    json!({ "code": fault.code, "message": fault.message, "kind": detail("kind"), "own": detail("code") })
}

fn said(error: &Error) -> String {
    let first = |findings: &Diagnostics| findings.iter().next().map(|finding| finding.message.clone());
    match error {
        Error::Invalid(findings) | Error::Inputs(findings) => first(findings).unwrap_or_else(|| error.to_string()),
        Error::Refused(faults) => faults.first().map_or_else(|| error.to_string(), |fault| fault.message.clone()),
        other => other.to_string(),
    }
}

/// What takes the values of the case's secrets out of what is shown of it.
pub(super) fn scrubber(staged: &Staged) -> Scrubber {
    let mut scrubber = Scrubber::default();
    staged.secrets.iter().for_each(|(_, value)| scrubber.add(value));
    scrubber
}

/// Everything the grants of a case allow, for what is recorded of it.
pub(super) fn keeps_values(grants: &Grants) -> bool {
    grants.kv.is_some()
}
