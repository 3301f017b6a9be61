//! The composition root: the only place that names adapters.

use cofferdam_core::fault::Fault;
use cofferdam_core::port::{Clock, Isolation, Journal, Model, Models, Randomness, State, Tool};
use cofferdam_engine::TokioClock;
use cofferdam_plugin::{CacheDirs, CompileChild, HostSettings, Network};
use cofferdam_store::{Memory, MemoryState, Sqlite, StateStore};
use cofferdam_tools::{NativeTools, SharedDirectory};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(TokioClock::new())
}

pub(crate) fn randomness() -> Arc<dyn Randomness> {
    Arc::new(SystemRandomness)
}

/// The system's randomness, by way of UUIDs of version 4.
struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn unit(&self) -> f64 {
        let bits = uuid::Uuid::new_v4().as_u64_pair().1 & 0xFFFF_FFFF;
        f64::from(u32::try_from(bits).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
    }
}

pub(crate) fn journal(project: Option<&Path>) -> Arc<dyn Journal> {
    match project {
        Some(project) => Arc::new(Sqlite::new(project.join("runs.db"))),
        None => Arc::new(Memory::new()),
    }
}

pub(crate) fn state(project: Option<&Path>) -> Arc<dyn State> {
    match project {
        Some(project) => Arc::new(StateStore::new(project.join("state.db"))),
        None => Arc::new(MemoryState::new()),
    }
}

pub(crate) fn native_tools() -> Arc<dyn Tool> {
    Arc::new(NativeTools::new())
}

pub(crate) fn directories(workdir: Option<PathBuf>, project: Option<&Path>) -> Arc<dyn Isolation> {
    let runs = match project {
        Some(project) => project.join("runs"),
        None => std::env::temp_dir().join("cofferdam").join("runs"),
    };
    Arc::new(SharedDirectory::new(workdir.unwrap_or_else(|| PathBuf::from(".")), runs))
}

pub(crate) fn plugin_host(clock: &Arc<dyn Clock>, project: Option<&Path>, child: Option<CompileChild>) -> HostSettings {
    HostSettings {
        clock: Arc::clone(clock),
        cache: project.map(|project| CacheDirs { code: project.join("cache"), state: project.to_owned() }),
        compile_child: child,
        network: Some(Network::default()),
    }
}

/// The embedder's own model, and behind it the catalogue.
pub(crate) fn models(catalogue: Option<Arc<dyn Models>>, own: Option<Arc<dyn Model>>) -> Arc<dyn Models> {
    let catalogue = catalogue.unwrap_or_else(|| Arc::new(cofferdam_llm::ModelCatalog::default()));
    match own {
        None => catalogue,
        Some(own) => Arc::new(WithOwn { own, catalogue }),
    }
}

struct WithOwn {
    own: Arc<dyn Model>,
    catalogue: Arc<dyn Models>,
}

impl Models for WithOwn {
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
        if *self.own.info().name == *name { Ok(Arc::clone(&self.own)) } else { self.catalogue.resolve(name) }
    }
}
