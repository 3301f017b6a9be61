//! Plugins that serve the host rather than a document: one that keeps the journals, others that take the events.
//!
//! They are loaded and opened by the first run, not when the orchestrator is built, and closed with it. Only the user
//! names them, so what stands beside the name is the grant.

mod alive;
mod courier;
mod gate;
mod journal;
mod ledger;
mod leftover;
mod letters;
mod missed;
mod run_sink;

pub(super) use courier::Means;
pub(super) use gate::Gate;
pub(super) use journal::PluginJournal;
pub use leftover::{Delivery, SinkStanding, WaitingRun};
pub use letters::DeadLetter;
pub(super) use run_sink::RunSink;

use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, RunId};
use cofferdam_core::limits;
use cofferdam_core::oci::Reference;
use cofferdam_core::policy::{Grants, PluginLimits, Trust};
use cofferdam_core::port::{Ack, Batch, BoxFuture, Clock, JournalError, Pressure, Sink, Want};
use cofferdam_core::value::Map;
use cofferdam_plugin::{Digest, LoadedPlugin, NameOf, PluginHost, PluginReference, PluginSink, Source};
use courier::Courier;
use futures_util::future::join_all;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// A plugin that serves the host.
#[derive(Clone, Debug)]
pub struct ServicePlugin {
    /// What messages call it; sinks keep their place under this name.
    pub alias: Alias,
    /// Where it comes from: a path, or `builtin:NAME`.
    pub source: String,
    /// What a relative path and the directories of grants are relative to.
    pub base: PathBuf,
    /// The digest that it must have, `sha256:...`.
    pub digest: Option<String>,
    /// Its configuration.
    pub config: Map,
    /// What it may do.
    pub grants: Grants,
    /// Bounds below the host's.
    pub limits: PluginLimits,
}

impl ServicePlugin {
    /// A plugin with nothing configured and nothing granted.
    pub fn new(alias: Alias, source: impl Into<String>, base: impl Into<PathBuf>) -> Self {
        Self {
            alias,
            source: source.into(),
            base: base.into(),
            digest: None,
            config: Map::new(),
            grants: Grants::default(),
            limits: PluginLimits::default(),
        }
    }

    pub(super) async fn load(&self, host: &Hosted) -> Result<Arc<LoadedPlugin>, Fault> {
        let plugin = self.load_unchecked(host).await?;
        host.gate.check(self, &plugin)?;
        Ok(plugin)
    }

    /// Its code has run only to describe itself.
    async fn load_unchecked(&self, hosted: &Hosted) -> Result<Arc<LoadedPlugin>, Fault> {
        let refuse = |message: String| Fault::user("plugin", format!("plugin `{}`: {message}", self.alias));
        let host = hosted.cell.get().and_then(Weak::upgrade);
        let host = host.ok_or_else(|| refuse("the plugin host is gone".to_owned()))?;
        let digest = self.pinned(hosted)?.as_deref().map(Digest::parse).transpose();
        let config = if self.config.is_empty() { serde_json::Value::Null } else { self.config.clone().into() };
        let reference = PluginReference {
            alias: self.alias.clone(),
            source: Source::parse(&self.source, &self.base).map_err(|error| refuse(error.to_string()))?,
            digest: digest.map_err(|error| refuse(error.to_string()))?,
            config,
            granted: self.grants.clone(),
            requested: Grants::default(),
            limits: self.limits,
            base: self.base.clone(),
            name_of: NameOf::Itself,
            trust: Trust::default(),
        };
        host.load(reference).await.map_err(|error| error.to_fault())
    }

    /// The digest that it must have: the one that is given, else, when it comes from a registry, the locked one.
    fn pinned(&self, hosted: &Hosted) -> Result<Option<String>, Fault> {
        let lock = hosted.gate.lock.as_ref().filter(|_| self.digest.is_none() && Reference::is_meant(&self.source));
        let Some(lock) = lock else { return Ok(self.digest.clone()) };
        let entry = lock.pinned(Some(self.alias.as_str()), &self.source);
        entry.map(|entry| entry.map(|entry| entry.digest)).map_err(|error| Fault::user("lock_file", error.to_string()))
    }
}

/// The plugin host, once there is one. Weak, since the host itself knows the journal.
pub(super) type HostCell = Arc<OnceLock<Weak<PluginHost>>>;

/// What loads services, and what they must pass.
#[derive(Clone, Default)]
pub(super) struct Hosted {
    pub(super) cell: HostCell,
    pub(super) gate: Arc<Gate>,
}

/// A sink that is a plugin, opened by the first run.
pub(super) struct ServiceSink {
    plugin: ServicePlugin,
    host: Hosted,
    open: OnceCell<PluginSink>,
}

impl ServiceSink {
    pub(super) fn new(plugin: ServicePlugin, host: Hosted) -> Self {
        Self { plugin, host, open: OnceCell::new() }
    }

    pub(super) fn alias(&self) -> &Alias {
        &self.plugin.alias
    }

    pub(super) async fn open(&self) -> Result<&PluginSink, Fault> {
        let open = || async { self.plugin.load(&self.host).await?.sink().await };
        self.open.get_or_try_init(open).await
    }

    pub(super) async fn close(&self) {
        if let Some(sink) = self.open.get() {
            sink.close().await;
        }
    }
}

impl Sink for ServiceSink {
    fn want(&self) -> Want {
        // A run opens all services before it asks.
        self.open.get().map_or_else(|| Want::new(Vec::new(), Pressure::Drop), Sink::want)
    }

    fn name(&self) -> String {
        self.open.get().map_or_else(|| format!("sink `{}`", self.alias()), Sink::name)
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(async move { self.open().await?.deliver(batch).await })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            match self.open.get() {
                Some(sink) => sink.flush().await,
                None => Ok(()),
            }
        })
    }
}

/// What serves an orchestrator.
pub(crate) struct Services {
    pub(super) host: Hosted,
    pub(super) journal: Option<Arc<PluginJournal>>,
    pub(super) sinks: Vec<Arc<ServiceSink>>,
    couriers: Vec<Arc<Courier>>,
}

impl Services {
    pub(super) fn new(storage: Option<ServicePlugin>, sinks: Vec<ServicePlugin>, gate: Gate) -> Self {
        let host = Hosted { cell: HostCell::default(), gate: Arc::new(gate) };
        let journal = storage.map(|plugin| Arc::new(PluginJournal::new(plugin, host.clone())));
        let sinks = sinks.into_iter().map(|plugin| Arc::new(ServiceSink::new(plugin, host.clone()))).collect();
        Self { host, journal, sinks, couriers: Vec::new() }
    }

    /// Gives every sink a courier.
    pub(super) fn employ(&mut self, means: Means, project: Option<&Path>) {
        let (means, alive) = (Arc::new(means), Arc::new(alive::Alive::new(project)));
        let courier = |sink: &Arc<ServiceSink>| Arc::new(Courier::new(Arc::clone(sink), &means, &alive));
        self.couriers = self.sinks.iter().map(courier).collect();
    }

    /// The sinks as a run sees them; before anything of it is recorded.
    ///
    /// # Errors
    /// When it cannot be kept what a sink is owed.
    pub(super) async fn begin(&self, run: &RunId) -> Result<Vec<Arc<RunSink>>, Fault> {
        let mut begun = Vec::new();
        for courier in &self.couriers {
            begun.push(Arc::new(courier.begin(run).await.map_err(|error| lost(&error))?));
        }
        Ok(begun)
    }

    fn plugins(&self) -> impl Iterator<Item = &ServicePlugin> {
        let journal = self.journal.iter().map(|journal| journal.plugin());
        journal.chain(self.sinks.iter().map(|sink| &sink.plugin))
    }

    /// The names of the secrets that any of them may use.
    pub(super) fn secret_names(&self) -> Vec<String> {
        self.plugins().flat_map(|plugin| plugin.grants.secret_names()).map(str::to_owned).collect()
    }

    /// Opens the plugin that keeps the runs, where one does.
    ///
    /// # Errors
    /// When it does not open.
    pub(super) async fn open_journal(&self) -> Result<(), Fault> {
        match &self.journal {
            Some(journal) => journal.open().await.map(drop),
            None => Ok(()),
        }
    }

    /// Opens all; each once.
    ///
    /// # Errors
    /// Every one that does not open.
    pub(super) async fn open(&self) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        if let Some(journal) = &self.journal {
            faults.extend(journal.open().await.err());
        }
        for sink in &self.sinks {
            faults.extend(sink.open().await.err());
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Closes all that were opened, each within the grace; the journal last, since the others write to it. Gives what did not
    /// close in time.
    pub(super) async fn close(&self, clock: &dyn Clock, grace: Duration) -> Vec<String> {
        let sinks = self.sinks.iter().map(|sink| in_time("sink", sink.alias(), sink.close(), (clock, grace)));
        let mut unclosed: Vec<String> = join_all(sinks).await.into_iter().flatten().collect();
        if let Some(journal) = &self.journal {
            unclosed.extend(in_time("storage", &journal.plugin().alias, journal.close(), (clock, grace)).await);
        }
        unclosed
    }
}

async fn in_time(
    what: &str,
    alias: &Alias,
    closing: impl Future<Output = ()>,
    (clock, grace): (&dyn Clock, Duration),
) -> Option<String> {
    tokio::select! {
        () = closing => None,
        () = clock.sleep(grace) => {
            tracing::warn!("{what} `{alias}` did not close in time");
            Some(format!("{what} `{alias}`"))
        }
    }
}

/// Ends what sinks do for a run; says what they did not get.
pub(super) async fn settle(sinks: &[Arc<RunSink>], cancel: &CancellationToken) -> Vec<String> {
    let grace_ms = if cancel.is_cancelled() { limits::CANCEL_GRACE_MS } else { limits::CLOSE_GRACE_MS };
    let settling = sinks.iter().map(|sink| sink.settle(Duration::from_millis(grace_ms)));
    join_all(settling).await.into_iter().flatten().collect()
}

/// The state may be there again soon; the events come again then.
fn lost(error: &JournalError) -> Fault {
    Fault::retry("sink_place", format!("the place of a sink cannot be kept: {error}"))
}
