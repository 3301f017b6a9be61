//! The orchestrator: construct once, then run.
//!
//! It owns configuration, not runs: each run has an executor, a gateway and plugins of its own, so that runs never
//! see each other's data.

mod builder;
mod construct;
mod engines;
mod fetching;
mod lineage;
mod locking;
mod models;
mod options;
mod plugins;
mod servers;
mod service;

pub(crate) use builder::Played;
pub use builder::{Builder, Undecided};
pub use fetching::{FetchError, Fetched, Registries, RegistryAccess, TransferReport, Update, Wish};
pub(crate) use lineage::Lineage;
pub use options::{CloseReport, RunOptions, UserDirs};
use plugins::Loaded;
pub use plugins::PluginCheck;
use servers::{Reach, Servers};
pub use service::{DeadLetter, Delivery, ServicePlugin, SinkStanding, WaitingRun};

use crate::error::Error;
use crate::stream::{self, Stream, StreamOptions};
use crate::workflow::Workflow;
use builder::Settings;
use cofferdam_core::event::RunStatus;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::limits;
use cofferdam_core::permission::{Presence, Rules};
use cofferdam_core::port::{Journal, JournalError, Redactor, Sink, Starter};
use cofferdam_core::run::RunResult;
use cofferdam_core::value::Map;
use cofferdam_engine::{Executor, Gateway, Ports, RunRequest, RunSettings};
use cofferdam_plugin::{PluginHost, namespaces_of};
use lineage::Lineages;
use models::{RunModels, Seen};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Runs workflows. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Orchestrator {
    shared: Arc<Shared>,
    /// Clones of the orchestrator hold this; what runs holds `shared` alone.
    _handle: Option<Arc<Handle>>,
}

/// Ends with the last clone: what still runs then is cancelled, and nobody waits for it.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        let running = self.0.running().len();
        if running > 0 && !self.0.closing.is_cancelled() {
            tracing::warn!(running, "the orchestrator was dropped without `close`; its runs are cancelled");
        }
        self.0.closing.cancel();
    }
}

struct Shared {
    settings: Settings,
    executor: Executor,
    plugins: Arc<PluginHost>,
    /// Cancels every run.
    closing: CancellationToken,
    running: Mutex<BTreeMap<usize, RunId>>,
    lineages: Lineages,
    plugin_models: Seen,
    next_key: AtomicUsize,
    idle: tokio::sync::Notify,
}

impl Orchestrator {
    /// Starts to describe an orchestrator.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn from_settings(settings: Settings) -> Self {
        let plugins = PluginHost::new(settings.plugin_host()).observed(settings.observation.clone());
        let plugins = Arc::new(plugins);
        let _ = settings.services.host.cell.set(Arc::downgrade(&plugins));
        let executor = if settings.rehearsal.is_some() { Executor::in_place() } else { Executor::new() };
        let shared = Arc::new(Shared {
            settings,
            executor,
            plugins,
            closing: CancellationToken::new(),
            running: Mutex::default(),
            lineages: Lineages::default(),
            plugin_models: Seen::default(),
            next_key: AtomicUsize::new(0),
            idle: tokio::sync::Notify::new(),
        });
        Self { _handle: Some(Arc::new(Handle(Arc::clone(&shared)))), shared }
    }

    /// Runs a workflow to its end. Dropping the future cancels the run and records that.
    ///
    /// # Errors
    /// When nothing ran, or nothing could be recorded; what steps did, failures included, is in the result.
    pub async fn run_flow(&self, workflow: &Workflow, options: RunOptions) -> Result<RunResult, Error> {
        let lineage = Lineage::outermost(workflow.name(), workflow.shared(), None);
        self.run_within(workflow, options, lineage, Vec::new()).await
    }

    /// Runs a workflow for a step of another one.
    pub(crate) async fn run_inner(
        &self,
        workflow: &Workflow,
        options: RunOptions,
        inner: Inner,
    ) -> Result<RunResult, Error> {
        let Inner { mut lineage, path } = inner;
        let named = lineage.path();
        let relayed = lineage.relay.take().map(|relay| relay.inner(workflow.shared(), &path, named));
        let (sink, relay) = relayed.unzip();
        lineage.relay = relay;
        self.run_within(workflow, options, lineage, sink.into_iter().collect()).await
    }

    async fn run_within(
        &self,
        workflow: &Workflow,
        options: RunOptions,
        lineage: Lineage,
        sinks: Vec<Arc<dyn Sink>>,
    ) -> Result<RunResult, Error> {
        let cancel = self.shared.closing.child_token();
        let guard = cancel.clone().drop_guard();
        let outcome = self.launch(Launch { workflow: workflow.clone(), options, cancel, sinks, lineage }).await;
        drop(guard.disarm());
        outcome
    }

    /// Runs a workflow and gives what happens as it happens. Must be called inside a tokio runtime.
    #[must_use]
    pub fn run_stream(&self, workflow: &Workflow, mut options: RunOptions, stream: StreamOptions) -> Stream {
        let cancel = self.shared.closing.child_token();
        let run_id = options.run_id.get_or_insert_with(builder::new_run_id).clone();
        options.timeout = options.timeout.into_iter().chain(stream.timeout).min();
        let parts = stream::open(workflow, run_id, stream, self.clock(), cancel.clone());
        let lineage = Lineage::outermost(workflow.name(), workflow.shared(), Some(parts.relay()));
        let launch = Launch { workflow: workflow.clone(), options, cancel, sinks: vec![parts.sink()], lineage };
        // A run must not keep the orchestrator from ending with its last clone.
        let this = Self { shared: Arc::clone(&self.shared), _handle: None };
        let run = tokio::spawn(async move { this.launch(launch).await });
        parts.into_stream(run)
    }

    /// Everything that keeps a workflow from starting: inputs, plugins, tools, models. Spends nothing.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub async fn check(&self, workflow: &Workflow, options: &RunOptions) -> Result<Vec<PluginCheck>, Error> {
        let inputs = workflow.inner.bind_inputs(&options.inputs).map_err(Error::Inputs)?;
        self.look(workflow, options, Some(inputs)).await
    }

    /// What this host lacks for a workflow, whatever its inputs: plugins that do not load, unknown tools and models.
    /// Spends nothing.
    ///
    /// # Errors
    /// What keeps it from starting here.
    pub async fn check_host(&self, workflow: &Workflow) -> Result<Vec<PluginCheck>, Error> {
        // A document may leave its message to the input of a run.
        let options = RunOptions { input: Some("input".to_owned()), ..RunOptions::default() };
        self.look(workflow, &options, None).await
    }

    /// Checks without starting anything, servers of tools included.
    async fn look(
        &self,
        workflow: &Workflow,
        options: &RunOptions,
        inputs: Option<Map>,
    ) -> Result<Vec<PluginCheck>, Error> {
        let servers = self.load_servers(workflow, Reach::Look).await?;
        let (ports, request, plugins) =
            self.prepare(workflow, options, inputs, (CancellationToken::new(), &servers)).await?;
        Executor::check(&ports, &request).map_err(Error::Refused)?;
        self.engage(workflow).map_err(|fault| Error::Refused(vec![fault]))?;
        Ok(plugins.into_iter().chain(servers.checks).collect())
    }

    /// Runs in a task of its own, so that the executor is driven inside the runtime and survives a dropped future
    /// long enough to record that it was cancelled.
    async fn launch(&self, launch: Launch) -> Result<RunResult, Error> {
        let Launch { workflow, mut options, cancel, sinks, lineage } = launch;
        // Entered before anything else, so that `close` waits for a run that is still being prepared.
        let run_id = options.run_id.get_or_insert_with(builder::new_run_id).clone();
        let lineage = lineage.of_run(options.session.as_ref(), &options.sinks);
        let covered = lineage.is_covered();
        let running = Running::enter(&self.shared, run_id, lineage);
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let inputs = workflow.inner.bind_inputs(&options.inputs).map_err(Error::Inputs)?;
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
        let (mut ports, request, checks) = self.prepare(&workflow, &options, Some(inputs), (cancel, &servers)).await?;
        self.write_lock(&checks);
        if covered {
            ports.sinks.clear();
        }
        ports.sinks.extend(sinks);
        let engaged = self.engage(&workflow).map_err(|fault| Error::Refused(vec![fault]))?;
        ports.starter = engaged.as_ref().map(|engaged| Arc::clone(&engaged.desk) as Arc<dyn Starter>);
        let engine = engaged.map(|engaged| self.set_to_work(engaged, request.run_id.clone()));
        // A run that no sink may see is owed to none. From here on it is recorded.
        let taking = if covered { Ok(Vec::new()) } else { services.begin(&request.run_id).await };
        let taking = taking.map_err(|fault| Error::Refused(vec![fault]))?;
        ports.sinks.extend(taking.iter().map(|sink| Arc::clone(sink) as Arc<dyn Sink>));
        let task = tokio::spawn(async move {
            let (run_id, cancel) = (request.run_id.clone(), request.cancel.clone());
            let mut outcome = running.shared.executor.run(ports, request).await;
            let unsettled = service::settle(&taking, &cancel).await;
            match &mut outcome {
                Ok(result) => result.warnings.extend(unsettled),
                Err(_) => unsettled.iter().for_each(|warning| tracing::warn!("{warning}")),
            }
            servers.close().await;
            drop(engine);
            // Only what waits for an answer goes on some day: nobody else can read its values any more.
            if !outcome.as_ref().is_ok_and(|result| result.status == RunStatus::Waiting)
                && let Err(error) = running.shared.forget_values(&run_id).await
            {
                tracing::warn!(%error, "the values that plugins kept for the run are still there");
            }
            drop(running);
            outcome
        });
        let outcome = task.await.map_err(|error| Error::Settings(format!("the run's task ended: {error}")))?;
        Ok(RunResult { metadata: options.metadata, session: options.session, ..outcome? })
    }

    async fn prepare(
        &self,
        workflow: &Workflow,
        options: &RunOptions,
        inputs: Option<Map>,
        (cancel, servers): (CancellationToken, &Servers),
    ) -> Result<(Ports, RunRequest, Vec<PluginCheck>), Error> {
        let settings = &self.shared.settings;
        let loaded = self.load_plugins(workflow, inputs.as_ref()).await?;
        let RunModels { models, pins: of_models, checks: models_checks } =
            self.models_for(workflow, options, &loaded).await;
        let Loaded { tools, pure, mut pins, mut checks, .. } = loaded;
        pins.extend(of_models.into_iter().chain(servers.pins()));
        checks.extend(models_checks);
        let document = &workflow.inner;
        let native =
            settings.tools_beside(|alias| document.plugins.contains_key(alias) || document.servers.contains_key(alias));
        let mut rules = settings.rules.clone();
        rules.approver = if settings.approver.is_some() { Presence::Present } else { Presence::Absent };
        let gateway = Gateway::new(
            native.into_iter().chain(tools).chain(servers.tools()),
            rules,
            settings.approver.clone(),
            Arc::clone(&settings.clock),
        )?
        .with_redactor(Arc::clone(&settings.vault) as Arc<dyn Redactor>)
        .with_unlisted(servers.unlisted.iter().cloned());
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
        };
        let request = RunRequest {
            run_id: options.run_id.clone().unwrap_or_else(builder::new_run_id),
            workflow: Arc::clone(&workflow.inner),
            inputs: inputs.unwrap_or_default(),
            input: options.input.as_deref().map(Arc::from),
            answers: options.answers.clone(),
            plugins: pins,
            settings: self.run_settings(options),
            cancel,
        };
        Ok((ports, request, checks))
    }

    fn run_settings(&self, options: &RunOptions) -> RunSettings {
        let settings = &self.shared.settings;
        let mut shown = Map::new();
        let mut show = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                shown.insert(key.to_owned(), value.into());
            }
        };
        show("model", options.model.clone());
        show("default_model", settings.default_model.clone());
        let nobody = "nobody to ask: tools that only read run, others are denied unless a rule allows them";
        show("session", options.session.clone());
        show("permissions", settings.approver.is_none().then(|| nobody.to_owned()));
        if !options.metadata.is_empty() {
            shown.insert("metadata".to_owned(), options.metadata.clone().into());
        }
        RunSettings {
            model: options.model.clone(),
            default_model: settings.default_model.clone(),
            max_concurrency: settings.max_concurrency,
            timeout: options.timeout,
            durability: settings.durability,
            shown,
        }
    }

    /// The journal, to list and read runs.
    #[must_use]
    pub fn runs(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.shared.settings.journal)
    }

    /// Forgets the values that plugins kept for a run and its steps: call it when the run is deleted. Only a run
    /// that waits for an answer has some.
    ///
    /// # Errors
    /// When the store of values fails.
    pub async fn forget_values(&self, run: &RunId) -> Result<(), Error> {
        for prefix in namespaces_of(run) {
            self.shared.settings.state.clear(&prefix).await?;
        }
        Ok(())
    }

    /// The plugin host, to inspect plugins.
    #[must_use]
    pub fn plugins(&self) -> &PluginHost {
        &self.shared.plugins
    }

    /// Whether `close` was called on any clone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closing.is_cancelled()
    }

    /// Cancels every run, waits until they have recorded it, and refuses new ones. Closing twice is closing once.
    pub async fn close(&self) -> CloseReport {
        self.close_within(Duration::from_millis(limits::CLOSE_GRACE_MS)).await
    }

    /// As [`Self::close`], with a grace of its own: runs have it, then the sinks, then the plugin that keeps the journals.
    pub async fn close_within(&self, grace: Duration) -> CloseReport {
        self.shared.closing.cancel();
        let all_ended = async {
            loop {
                let idle = self.shared.idle.notified();
                if self.shared.running().is_empty() {
                    return;
                }
                idle.await;
            }
        };
        tokio::select! {
            () = all_ended => {}
            () = self.shared.settings.clock.sleep(grace) => {}
        }
        let still_running: Vec<RunId> = self.shared.running().values().cloned().collect();
        if still_running.is_empty() {
            self.shared.settings.services.close(&*self.shared.settings.clock, grace).await;
        }
        CloseReport { still_running }
    }
}

/// What a run is launched with.
struct Launch {
    workflow: Workflow,
    options: RunOptions,
    cancel: CancellationToken,
    sinks: Vec<Arc<dyn Sink>>,
    lineage: Lineage,
}

/// Which run a run is part of.
pub(crate) struct Inner {
    /// The workflows around it, with its own at the end.
    pub(crate) lineage: Lineage,
    /// The step that it works for.
    pub(crate) path: StepPath,
}

/// A rule with a slip of the pen must not look like one that holds.
fn warn_of_idle_rules(rules: &Rules, gateway: &Gateway) {
    for (kind, rules) in [("deny", &rules.deny), ("allow", &rules.allow)] {
        for rule in rules.iter().filter(|rule| !gateway.names().any(|tool| rule.names(tool))) {
            tracing::warn!("the {kind} rule `{rule}` names no tool of this run");
        }
    }
}

impl Shared {
    /// Forgets the values of a run, if any plugin kept some since this orchestrator was built.
    async fn forget_values(&self, run: &RunId) -> Result<(), JournalError> {
        if self.plugins.has_kept_values() {
            for prefix in namespaces_of(run) {
                self.settings.state.clear(&prefix).await?;
            }
        }
        Ok(())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, RunId>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run that is under way, as long as it lives.
struct Running {
    shared: Arc<Shared>,
    key: usize,
}

impl Running {
    fn enter(shared: &Arc<Shared>, run: RunId, lineage: Lineage) -> Self {
        let key = shared.next_key.fetch_add(1, Ordering::Relaxed);
        shared.lineages.insert(run.clone(), lineage);
        shared.running().insert(key, run);
        Self { shared: Arc::clone(shared), key }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(run) = self.shared.running().remove(&self.key) {
            self.shared.lineages.remove(&run);
        }
        self.shared.idle.notify_waiters();
    }
}
