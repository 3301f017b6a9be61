//! Plugins that serve the host rather than a document: one that keeps the journals, others that take the events.
//!
//! They are loaded and opened by the first run, not when the orchestrator is built, and closed with it. Only the user
//! names them, so what stands beside the name is the grant.

mod durable;
mod journal;

pub(super) use durable::DurableSink;
pub(super) use journal::PluginJournal;

use cofferdam_core::fault::Fault;
use cofferdam_core::id::Alias;
use cofferdam_core::policy::{Grants, PluginLimits};
use cofferdam_core::port::{Ack, Batch, BoxFuture, Pressure, Sink, State, Want};
use cofferdam_core::value::Map;
use cofferdam_plugin::{Digest, LoadedPlugin, NameOf, PluginHost, PluginReference, PluginSink, Source};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::OnceCell;

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

    async fn load(&self, host: &HostCell) -> Result<Arc<LoadedPlugin>, Fault> {
        let refuse = |message: String| Fault::user("plugin", format!("plugin `{}`: {message}", self.alias));
        let host = host.get().and_then(Weak::upgrade).ok_or_else(|| refuse("the plugin host is gone".to_owned()))?;
        let digest = self.digest.as_deref().map(Digest::parse).transpose();
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
        };
        host.load(reference).await.map_err(|error| error.to_fault())
    }
}

/// The plugin host, once there is one. Weak, since the host itself knows the journal.
pub(super) type HostCell = Arc<OnceLock<Weak<PluginHost>>>;

/// A sink that is a plugin, opened by the first run.
pub(super) struct ServiceSink {
    plugin: ServicePlugin,
    host: HostCell,
    open: OnceCell<PluginSink>,
}

impl ServiceSink {
    pub(super) fn new(plugin: ServicePlugin, host: HostCell) -> Self {
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
        self.open.get().map_or_else(|| Want::new(Vec::new(), Pressure::DropTransient), Sink::want)
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
#[derive(Default)]
pub(crate) struct Services {
    pub(super) host: HostCell,
    pub(super) journal: Option<Arc<PluginJournal>>,
    pub(super) sinks: Vec<Arc<ServiceSink>>,
}

impl Services {
    pub(super) fn new(storage: Option<ServicePlugin>, sinks: Vec<ServicePlugin>) -> Self {
        let host = HostCell::default();
        let journal = storage.map(|plugin| Arc::new(PluginJournal::new(plugin, Arc::clone(&host))));
        let sinks = sinks.into_iter().map(|plugin| Arc::new(ServiceSink::new(plugin, Arc::clone(&host)))).collect();
        Self { host, journal, sinks }
    }

    /// The sinks, each with a place that is kept.
    pub(super) fn durable_sinks(&self, state: &Arc<dyn State>) -> Vec<Arc<dyn Sink>> {
        let durable = |sink: &Arc<ServiceSink>| Arc::new(DurableSink::new(Arc::clone(sink), Arc::clone(state))) as _;
        self.sinks.iter().map(durable).collect()
    }

    /// The names of the secrets that any of them may use.
    pub(super) fn secret_names(&self) -> Vec<String> {
        let journal = self.journal.iter().map(|journal| journal.grants());
        let sinks = self.sinks.iter().map(|sink| &sink.plugin.grants);
        journal.chain(sinks).flat_map(Grants::secret_names).map(str::to_owned).collect()
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

    /// Closes all that were opened.
    pub(super) async fn close(&self) {
        for sink in &self.sinks {
            sink.close().await;
        }
        if let Some(journal) = &self.journal {
            journal.close().await;
        }
    }
}
