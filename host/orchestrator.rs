//! The orchestrator: construct once, then run.
//!
//! It owns configuration, not runs: each run has an executor, a gateway and plugins of its own, so that runs never
//! see each other's data.

mod agent;
mod answers;
mod approval;
mod branch;
mod builder;
mod construct;
mod conversation;
mod engines;
mod fetching;
mod goal;
mod handle;
mod holder;
mod inner;
mod isolation_modes;
mod launch;
mod lineage;
mod locking;
mod model_options;
mod models;
mod options;
mod permissions;
mod plugins;
mod recall;
mod recorded;
mod replay;
mod resume;
mod servers;
mod service;
mod tools;

pub use agent::AgentResult;
pub use answers::{AnswerKind, KeptAnswer};
pub use branch::{ForkOptions, RunBranch};
pub(crate) use builder::Played;
pub use builder::{Builder, Undecided};
pub use fetching::{FetchError, Fetched, Registries, RegistryAccess, TransferReport, Update, Wish};
pub use goal::GoalPlan;
pub use handle::AgentHandle;
pub(crate) use inner::Inner;
pub(crate) use lineage::Lineage;
pub use options::{CloseReport, ResumeOptions, RunOptions, UserDirs};
pub use plugins::PluginCheck;
pub use recall::RecallChoice;
pub use recorded::RecordedRun;
use servers::Reach;
pub use service::{DeadLetter, Delivery, ServicePlugin, SinkStanding, WaitingRun};
pub use tools::{OfferedTool, OfferedTools};

use crate::error::Error;
use crate::stream::{self, Stream, StreamOptions};
use crate::workflow::Workflow;
use builder::Settings;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{Journal, JournalError, Sink};
use cofferdam_core::run::RunResult;
use cofferdam_core::spec::workflow::IsolationMode;
use cofferdam_core::value::Map;
use cofferdam_engine::{Executor, LastingMemory, SharedConversation};
use cofferdam_plugin::{PluginHost, namespaces_of};
use launch::Launch;
use lineage::Lineages;
use models::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
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
    /// The conversation of coordinators that share one.
    conversation: Arc<SharedConversation>,
    next_key: AtomicUsize,
    idle: tokio::sync::Notify,
    /// Agents that work in the background, and those that have ended not long ago.
    handles: Mutex<Vec<AgentHandle>>,
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
        let conversation = conversation::of(&settings);
        let shared = Arc::new(Shared {
            settings,
            conversation,
            executor,
            plugins,
            closing: CancellationToken::new(),
            running: Mutex::default(),
            lineages: Lineages::default(),
            plugin_models: Seen::default(),
            next_key: AtomicUsize::new(0),
            idle: tokio::sync::Notify::new(),
            handles: Mutex::default(),
        });
        Self { _handle: Some(Arc::new(Handle(Arc::clone(&shared)))), shared }
    }

    /// Runs a workflow to its end. Dropping the future cancels the run and records that.
    ///
    /// # Errors
    /// When nothing ran, or nothing could be recorded; what steps did, failures included, is in the result.
    pub async fn run_flow(&self, workflow: &Workflow, mut options: RunOptions) -> Result<RunResult, Error> {
        self.coordinate(&mut options);
        let lineage = Lineage::outermost(workflow.name(), workflow.shared(), None);
        self.run_within(workflow, options, lineage, Vec::new()).await
    }

    /// The coordinator of the orchestrator is that of every run that has no other.
    fn coordinate(&self, options: &mut RunOptions) {
        let own = || self.shared.settings.coordinator.clone();
        options.coordinator = options.coordinator.take().or_else(own);
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
        let outcome =
            Box::pin(self.launch(Launch { workflow: workflow.clone(), options, cancel, sinks, lineage, again: None }))
                .await;
        drop(guard.disarm());
        outcome
    }

    /// Runs a workflow and gives what happens as it happens. Must be called inside a tokio runtime.
    #[must_use]
    pub fn run_stream(&self, workflow: &Workflow, mut options: RunOptions, stream: StreamOptions) -> Stream {
        let cancel = self.shared.closing.child_token();
        let run_id = options.run_id.get_or_insert_with(launch::new_run_id).clone();
        self.coordinate(&mut options);
        options.timeout = options.timeout.into_iter().chain(stream.timeout).min();
        let parts = stream::open(workflow, run_id, stream, self.clock(), cancel.clone());
        let lineage = Lineage::outermost(workflow.name(), workflow.shared(), Some(parts.relay()));
        let launch =
            Launch { workflow: workflow.clone(), options, cancel, sinks: vec![parts.sink()], lineage, again: None };
        // A run must not keep the orchestrator from ending with its last clone.
        let this = Self { shared: Arc::clone(&self.shared), _handle: None };
        let run = tokio::spawn(async move { Box::pin(this.launch(launch)).await });
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
        let again = inputs.map(|inputs| self.anew(inputs));
        let (ports, request, plugins) =
            self.prepare(workflow, options, again, (CancellationToken::new(), &servers)).await?;
        self.refuse_model_options(&request.settings, workflow.document())?;
        Executor::check(&ports, &request).map_err(Error::Refused)?;
        self.refuse_other_modes(workflow).await?;
        self.engage(workflow).map_err(|fault| Error::Refused(vec![fault]))?;
        Ok(plugins.into_iter().chain(servers.checks).collect())
    }

    /// Refuses a workflow with a mode of isolation that is no word of the language and that nobody here knows. Whether the others can
    /// be had is found out when a run begins: that may take long.
    async fn refuse_other_modes(&self, workflow: &Workflow) -> Result<(), Error> {
        let mut modes = workflow.document().isolation_modes();
        modes.retain(|mode| matches!(mode, IsolationMode::Own(_)));
        if modes.is_empty() {
            return Ok(());
        }
        let checked = self.shared.settings.isolation.check(&modes).await;
        checked.map(drop).map_err(|fault| Error::Refused(vec![fault]))
    }

    /// The journal, to list and read runs.
    #[must_use]
    pub fn runs(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.shared.settings.journal)
    }

    /// The memory that runs share beyond their end, to look at it or to clear it.
    #[must_use]
    pub fn shared_memory(&self) -> LastingMemory {
        LastingMemory::new(Arc::clone(&self.shared.settings.shared_memory))
    }

    /// Forgets the values that plugins kept for a run and its steps, and what the run left open in a memory that outlives it: call
    /// it when the run is deleted. Only a run that is not completed has some.
    ///
    /// # Errors
    /// When the store of values fails.
    pub async fn forget_values(&self, run: &RunId) -> Result<(), Error> {
        for prefix in namespaces_of(run) {
            self.shared.settings.state.clear(&prefix).await?;
        }
        self.shared_memory().settle(run).await.map_err(|fault| Error::Refused(vec![fault]))
    }

    /// Deletes the directories of a run: call it when the run is deleted. Patches of its steps are kept; their directory is the
    /// answer.
    ///
    /// # Errors
    /// When something cannot be deleted, or would be lost that is in no patch; by force that goes as well.
    pub async fn discard_directories(&self, run: &RunId, force: bool) -> Result<Option<PathBuf>, Fault> {
        self.shared.settings.isolation.discard(run, force).await
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
        // An agent in the background is held twice: by its run and by what came of it.
        let still_running: BTreeSet<RunId> = self.shared.running().values().cloned().collect();
        let still_running = Vec::from_iter(still_running);
        let mut unclosed = Vec::new();
        // What runs write to them until they have ended.
        if still_running.is_empty() {
            unclosed = self.shared.settings.services.close(&*self.shared.settings.clock, grace).await;
        }
        CloseReport { still_running, unclosed }
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
