//! Launches a run: prepares what it works with, and drives it in a task of its own.

use super::conversation::refuse_reserved;
use super::holder::holder;
use super::lineage::Lineage;
use super::models::RunModels;
use super::permissions::{Unanswered, stance};
use super::plugins::Loaded;
use super::recorded::{origin, read_context};
use super::servers::{Reach, Servers};
use super::{Orchestrator, PluginCheck, RunOptions, Shared, service};
use crate::error::Error;
use crate::workflow::Workflow;
use cofferdam_core::budget;
use cofferdam_core::event::{PluginPin, RunStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, RunId};
use cofferdam_core::model_options::{DEFAULT_SETTING, ModelOptions, SETTING};
use cofferdam_core::permission::Rules;
use cofferdam_core::port::{Approval, Redactor, Sink, Starter};
use cofferdam_core::run::{DEFER_APPROVALS, RunResult};
use cofferdam_core::spec::HostDefaults;
use cofferdam_core::spec::workflow::{UnknownEffect, Workflow as Document};
use cofferdam_core::value::Map;
use cofferdam_engine::{Gateway, Ports, RunRecall, RunRequest, RunSettings};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// The settings of the coordinator in the record of a run.
pub(super) const COORDINATOR: &str = "coordinator";

/// The settings of the retrieval memory in the record of a run.
pub(super) const RECALL: &str = "recall";

/// What the orchestrator says for all documents, in the record of a run.
pub(super) const HOST: &str = "host";

/// What a run is launched with.
pub(super) struct Launch {
    pub(super) workflow: Workflow,
    pub(super) options: RunOptions,
    pub(super) cancel: CancellationToken,
    pub(super) sinks: Vec<Arc<dyn Sink>>,
    pub(super) lineage: Lineage,
    /// What the run was started with, when it is taken up again.
    pub(super) again: Option<Again>,
}

/// What a run was started with that is taken up again.
pub(super) struct Again {
    pub(super) inputs: Map,
    pub(super) on_unknown_effect: Option<UnknownEffect>,
    /// What was said about calls that it waited with.
    pub(super) approvals: Vec<Approval>,
    /// Its plugins, as they were.
    pub(super) plugins: Vec<PluginPin>,
    /// What held beside its document; none = what holds here.
    pub(super) host: Option<HostDefaults>,
    /// The host's options of models, as they were.
    pub(super) default_model_options: ModelOptions,
}

impl Orchestrator {
    /// Runs in a task of its own, so that the executor is driven inside the runtime and survives a dropped future
    /// long enough to record that it was cancelled.
    pub(super) async fn launch(&self, launch: Launch) -> Result<RunResult, Error> {
        let Launch { workflow, mut options, cancel, sinks, lineage, again } = launch;
        // Entered before anything else, so that `close` waits for a run that is still being prepared.
        let run_id = options.run_id.get_or_insert_with(new_run_id).clone();
        refuse_reserved(&run_id)?;
        let lineage = lineage.of_run(&options, again.as_ref());
        let (covered, goes_on) = (lineage.is_covered(), again.is_some());
        let running = Running::enter(&self.shared, run_id, lineage);
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let again = match again {
            Some(again) => again,
            None => self.anew(workflow.inner.bind_inputs(&options.inputs).map_err(Error::Inputs)?),
        };
        let pinned = again.plugins.clone();
        let stopped = cancel.clone();
        let servers = tokio::select! {
            biased;
            servers = self.load_servers(&workflow, Reach::Connect) => servers?,
            // Servers that are still starting are killed; there is no run yet that could be recorded as cancelled.
            () = stopped.cancelled() => return Err(Error::Closed),
        };
        let services = &self.shared.settings.services;
        self.shared.settings.vault.learn(services.secret_names().iter().map(String::as_str));
        services.open().await.map_err(Error::Refused)?;
        let (mut ports, mut request, checks) =
            self.prepare(&workflow, &options, Some(again), (cancel, &servers)).await?;
        refuse_other_plugins(&pinned, &request.plugins)?;
        self.refuse_model_options(&request.settings, &request.workflow)?;
        if !goes_on {
            request.context_files = read_context(&workflow).await?;
        }
        self.write_lock(&checks);
        if covered {
            ports.sinks.clear();
            ports.recall = None;
        }
        ports.sinks.extend(sinks);
        let engaged = self.engage(&workflow).map_err(|fault| Error::Refused(vec![fault]))?;
        if options.defer_approvals && engaged.is_some() {
            return Err(Error::Refused(vec![cannot_wait()]));
        }
        ports.starter = engaged.as_ref().map(|engaged| Arc::clone(&engaged.desk) as Arc<dyn Starter>);
        let engine = engaged.map(|engaged| self.set_to_work(engaged, request.run_id.clone()));
        // A run that no sink may see is owed to none. From here on it is recorded.
        let taking = if covered { Ok(Vec::new()) } else { services.begin(&request.run_id).await };
        let taking = taking.map_err(|fault| Error::Refused(vec![fault]))?;
        ports.sinks.extend(taking.iter().map(|sink| Arc::clone(sink) as Arc<dyn Sink>));
        let work = async move {
            let (run_id, cancel) = (request.run_id.clone(), request.cancel.clone());
            let executor = &running.held.shared.executor;
            let mut outcome =
                if goes_on { executor.resume(ports, request).await } else { executor.run(ports, request).await };
            let unsettled = service::settle(&taking, &cancel).await;
            match &mut outcome {
                Ok(result) => result.warnings.extend(unsettled),
                Err(_) => unsettled.iter().for_each(|warning| tracing::warn!("{warning}")),
            }
            servers.close().await;
            drop(engine);
            // A run that is completed is never taken up again: nobody can read its values any more.
            if outcome.as_ref().is_ok_and(|result| result.status == RunStatus::Completed)
                && let Err(error) = running.held.shared.forget_values(&run_id).await
            {
                tracing::warn!(%error, "the values that plugins kept for the run are still there");
            }
            drop(running);
            outcome
        };
        let task = tokio::spawn(work.in_current_span());
        let outcome = task.await.map_err(|error| Error::Settings(format!("the run's task ended: {error}")))?;
        Ok(RunResult { metadata: options.metadata, session: options.session, ..outcome? })
    }

    /// What a run is started with that nobody has started before.
    pub(super) fn anew(&self, inputs: Map) -> Again {
        let default_model_options = self.shared.settings.model_options.clone();
        Again {
            inputs,
            on_unknown_effect: None,
            approvals: Vec::new(),
            plugins: Vec::new(),
            host: None,
            default_model_options,
        }
    }

    pub(super) async fn prepare(
        &self,
        workflow: &Workflow,
        options: &RunOptions,
        again: Option<Again>,
        (cancel, servers): (CancellationToken, &Servers),
    ) -> Result<(Ports, RunRequest, Vec<PluginCheck>), Error> {
        let settings = &self.shared.settings;
        let workflow = &workflow.under(again.as_ref().and_then(|again| again.host.as_ref()).unwrap_or(&settings.host));
        let loaded = self.load_plugins(workflow, again.as_ref().map(|again| &again.inputs)).await?;
        let mut of_run = self.models_for(workflow, options, &loaded).await;
        let run_id = options.run_id.clone().unwrap_or_else(new_run_id);
        let recall = self.recall_for(workflow, (options, &run_id), &loaded, &mut of_run).await?;
        let RunModels { models, pins: of_models, checks: models_checks } = of_run;
        let Loaded { tools, pure, mut pins, mut checks, .. } = loaded;
        pins.extend(of_models.into_iter().chain(servers.pins()));
        checks.extend(models_checks);
        let document = &workflow.inner;
        let named = |alias: &Alias| document.plugins.contains_key(alias) || document.servers.contains_key(alias);
        let native = settings.tools_beside(named);
        let gateway = Gateway::new(
            native.into_iter().chain(tools).chain(servers.tools()),
            settings.rules.clone(),
            self.approver_of(options),
            Arc::clone(&settings.clock),
        )?
        .with_redactor(Arc::clone(&settings.vault) as Arc<dyn Redactor>)
        .with_handler(settings.permission_handler.clone())
        .with_remembered(self.answers_about_tools(&pins))
        .with_seal(self.seal())
        .with_coordinator(options.coordinator.as_ref().is_some_and(|coordinator| !coordinator.only_synthesizes()))
        .with_recall(recall.is_some())
        .with_unlisted(servers.unlisted.iter().cloned())
        .with_unknown_effect(
            again.as_ref().and_then(|again| again.on_unknown_effect).or(document.options.on_unknown_effect),
        );
        warn_of_idle_rules(&settings.rules, &gateway);
        let more = options.sinks.iter().filter(|sink| !settings.sinks.iter().any(|known| Arc::ptr_eq(known, sink)));
        let sinks = settings.sinks.iter().chain(more).cloned().collect();
        let ports = Ports {
            clock: Arc::clone(&settings.clock),
            randomness: Arc::clone(&settings.randomness),
            journal: Arc::clone(&settings.journal),
            models,
            agents: self.agents_for(workflow),
            starter: None,
            natives: Arc::new(workflow.natives(&settings.natives)),
            plugins: Arc::new(pure),
            gateway: Arc::new(gateway),
            isolation: Arc::clone(&settings.isolation),
            sources: Arc::clone(&workflow.sources),
            sinks,
            drops: settings.drops.clone(),
            mailboxes: settings.mailboxes.clone(),
            conversation: Some(Arc::clone(&self.shared.conversation)),
            shared_memory: Some(Arc::clone(&settings.shared_memory)),
            recall,
        };
        let defaults = again.as_ref().map_or(&settings.model_options, |again| &again.default_model_options).clone();
        let (inputs, approvals) = again.map(|again| (again.inputs, again.approvals)).unwrap_or_default();
        let request = RunRequest {
            run_id,
            workflow: Arc::clone(document),
            inputs,
            approvals,
            input: options.input.as_deref().map(Arc::from),
            answers: options.answers.clone(),
            context_files: Vec::new(),
            plugins: pins,
            note: Some(origin(workflow)),
            holder: Some(holder()),
            settings: self.run_settings(document, options, defaults, ports.recall.as_ref()),
            cancel,
        };
        Ok((ports, request, checks))
    }

    pub(super) fn run_settings(
        &self,
        document: &Document,
        options: &RunOptions,
        default_model_options: ModelOptions,
        recall: Option<&RunRecall>,
    ) -> RunSettings {
        let settings = &self.shared.settings;
        let mut shown = Map::new();
        let mut show = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                shown.insert(key.to_owned(), value.into());
            }
        };
        show("model", options.model.clone());
        show("default_model", settings.default_model.clone());
        show("session", options.session.clone());
        let unanswered = if options.defer_approvals { Unanswered::Waits } else { Unanswered::Denied };
        // A program that decides is somebody who is asked.
        let asks = self.approver_of(options).is_some() || settings.permission_handler.is_some();
        show("permissions", stance(&settings.rules, asks, unanswered));
        if options.defer_approvals {
            shown.insert(DEFER_APPROVALS.to_owned(), true.into());
        }
        if let Some(coordinator) = &options.coordinator {
            shown.insert(COORDINATOR.to_owned(), serde_json::to_value(coordinator).unwrap_or_default());
        }
        if let Some(recall) = recall {
            shown.insert(RECALL.to_owned(), serde_json::to_value(&recall.settings).unwrap_or_default());
        }
        if !document.host.is_empty() {
            shown.insert(HOST.to_owned(), serde_json::to_value(&document.host).unwrap_or_default());
        }
        for (key, said) in [(SETTING, &options.model_options), (DEFAULT_SETTING, &default_model_options)] {
            if !said.is_empty() {
                shown.insert(key.to_owned(), said.to_map().into());
            }
        }
        if !options.budget.is_empty() {
            shown.insert(budget::SETTING.to_owned(), options.budget.to_map().into());
        }
        if !options.metadata.is_empty() {
            shown.insert("metadata".to_owned(), options.metadata.clone().into());
        }
        RunSettings {
            model: options.model.clone(),
            default_model: settings.default_model.clone(),
            model_options: options.model_options.clone(),
            default_model_options,
            strict: settings.undecided.strict,
            max_concurrency: settings.max_concurrency,
            timeout: options.timeout,
            durability: settings.durability,
            pauses: options.pauses,
            coordinator: options.coordinator.clone(),
            budget: options.budget,
            ceiling: settings.ceiling,
            prices: Arc::clone(&settings.prices),
            purse: options.purse.clone(),
            shown,
        }
    }
}

/// A run that waits has to be taken up, which only the machine can.
fn cannot_wait() -> Fault {
    let message = "a run whose steps a workflow engine starts cannot wait for approvals: it cannot be taken up again";
    Fault::user("defer_approvals", message)
        .with_hint("allow the tools by rules, or let the steps be started by the default engine")
}

/// A run does not go on with another component than it had: what that would do with what is half done, nobody knows.
fn refuse_other_plugins(before: &[PluginPin], now: &[PluginPin]) -> Result<(), Error> {
    let changed = |pin: &&PluginPin| before.iter().any(|old| old.alias == pin.alias && old.digest != pin.digest);
    let fault = |pin: &PluginPin| {
        let message = format!("plugin `{}` is another component than when the run was started", pin.alias);
        Fault::user("plugin_changed", message)
            .with_hint(format!("put `{}` back as it was, or run the workflow anew", pin.source))
    };
    let faults: Vec<Fault> = now.iter().filter(changed).map(fault).collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::Refused(faults)) }
}

/// A rule with a slip of the pen must not look like one that holds.
fn warn_of_idle_rules(rules: &Rules, gateway: &Gateway) {
    for (kind, rules) in [("deny", &rules.deny), ("allow", &rules.allow), ("ask", &rules.ask)] {
        for rule in rules.iter().filter(|rule| !gateway.names().any(|tool| rule.names(tool))) {
            tracing::warn!("the {kind} rule `{rule}` names no tool of this run");
        }
        for rule in rules.iter().filter(|rule| gateway.lacks_argument(rule)) {
            tracing::warn!("the {kind} rule `{rule}` names an argument that its tool does not have");
        }
        for rule in rules.iter().filter(|rule| rule.has_inner_star()) {
            tracing::warn!("in the {kind} rule `{rule}` only a `*` at the end stands for any text");
        }
    }
}

/// A new run id: time-ordered, so that listings sort by it.
pub(super) fn new_run_id() -> RunId {
    RunId::parse(&uuid::Uuid::now_v7().to_string()).expect("a UUID follows the grammar of run ids")
}

/// A run that `close` waits for, as long as it lives.
pub(super) struct Held {
    shared: Arc<Shared>,
    key: usize,
}

impl Held {
    pub(super) fn enter(shared: &Arc<Shared>, run: RunId) -> Self {
        let key = shared.next_key.fetch_add(1, Ordering::Relaxed);
        shared.running().insert(key, run);
        Self { shared: Arc::clone(shared), key }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.running().remove(&self.key);
        self.shared.idle.notify_waiters();
    }
}

/// A run that is under way, as long as it lives.
struct Running {
    held: Held,
    run: RunId,
}

impl Running {
    fn enter(shared: &Arc<Shared>, run: RunId, lineage: Lineage) -> Self {
        shared.lineages.insert(run.clone(), lineage);
        Self { held: Held::enter(shared, run.clone()), run }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.held.shared.lineages.remove(&self.run);
    }
}
