//! The composition root: the only place that names adapters.

use crate::orchestrator::UserDirs;
use crate::secrets::Vault;
use crate::sources::FileSources;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::PluginModelName;
use cofferdam_core::port::{Clock, Isolation, Journal, Model, Models, Randomness, Recall, Redactor, State, Tool};
use cofferdam_egress::{Egress, Secrets};
use cofferdam_engine::TokioClock;
use cofferdam_llm::select::{Settings as ModelSettings, Variables};
use cofferdam_llm::{ModelCatalog, Patient};
use cofferdam_plugin::{CacheDirs, CompileChild, ComponentStore, HostSettings, Network, PluginModel};
use cofferdam_store::{FileRecall, Memory, MemoryRecall, MemoryState, Spilling, Sqlite, StateStore};
use cofferdam_tools::{Directories, ExecSettings, NativeTools};
use secrecy::SecretString;
use std::ffi::OsStr;
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

/// A journal that keeps large values once.
pub(crate) fn spilling(journal: Arc<dyn Journal>) -> Arc<dyn Journal> {
    Arc::new(Spilling::new(journal))
}

pub(crate) fn state(project: Option<&Path>) -> Arc<dyn State> {
    match project {
        Some(project) => Arc::new(StateStore::new(project.join("state.db"))),
        None => Arc::new(MemoryState::new()),
    }
}

pub(crate) fn recall(project: Option<&Path>) -> Arc<dyn Recall> {
    match project {
        Some(project) => Arc::new(FileRecall::new(project.join("memory.db"))),
        None => Arc::new(MemoryRecall::new()),
    }
}

/// The native tools; with `exec` only where that was asked for.
pub(crate) fn native_tools(exec: Option<ExecSettings>) -> Arc<dyn Tool> {
    let tools = NativeTools::new();
    Arc::new(match exec {
        Some(settings) => tools.with_exec(settings),
        None => tools,
    })
}

pub(crate) fn directories(workdir: Option<PathBuf>, project: Option<&Path>) -> Arc<dyn Isolation> {
    let runs = match project {
        Some(project) => project.join("runs"),
        None => std::env::temp_dir().join("cofferdam").join("runs"),
    };
    let search = variable("PATH").unwrap_or_default();
    Arc::new(Directories::new(workdir.unwrap_or_else(|| PathBuf::from(".")), runs, OsStr::new(&search)))
}

/// What plugins get of the rest.
pub(crate) struct PluginPorts<'p> {
    pub(crate) clock: &'p Arc<dyn Clock>,
    pub(crate) state: &'p Arc<dyn State>,
    pub(crate) journal: &'p Arc<dyn Journal>,
    pub(crate) vault: &'p Arc<Vault>,
    /// The door to a network that is played; none is the real one.
    pub(crate) egress: Option<&'p Egress>,
}

pub(crate) fn plugin_host(
    ports: &PluginPorts<'_>,
    user: Option<&UserDirs>,
    child: Option<CompileChild>,
) -> HostSettings {
    HostSettings {
        clock: Arc::clone(ports.clock),
        cache: user.map(|user| CacheDirs { code: user.cache.join("components"), state: user.state.clone() }),
        fetched: user.map(component_store),
        compile_child: child,
        network: Some(Network {
            egress: ports.egress.cloned().unwrap_or_default(),
            secrets: Arc::clone(ports.vault) as Arc<dyn Secrets>,
        }),
        state: Some(Arc::clone(ports.state)),
        blobs: Some(Arc::clone(ports.journal)),
        redactor: Arc::clone(ports.vault) as Arc<dyn Redactor>,
    }
}

/// Where components of registries are kept: with the compiled code, since both can be had again.
pub(crate) fn component_store(user: &UserDirs) -> ComponentStore {
    ComponentStore::new(user.cache.join("fetched"))
}

/// The embedder's own model, and behind it the catalogue.
pub(crate) fn models(
    catalogue: Option<Arc<dyn Models>>,
    own: Option<Arc<dyn Model>>,
    clock: &Arc<dyn Clock>,
) -> Arc<dyn Models> {
    let catalogue = catalogue.unwrap_or_else(|| Arc::new(catalogue_of(clock)));
    match own {
        None => catalogue,
        Some(own) => Arc::new(WithOwn { own, catalogue }),
    }
}

/// Gives a model under a name that no settings know, if there is one.
pub(crate) type ModelResolver = Arc<dyn Fn(&str) -> Option<Arc<dyn Model>> + Send + Sync>;

/// The models, and behind them whoever is asked for names that they do not know.
pub(crate) fn resolved(models: Arc<dyn Models>, resolver: Option<ModelResolver>) -> Arc<dyn Models> {
    match resolver {
        None => models,
        Some(resolver) => Arc::new(WithResolver { models, resolver }),
    }
}

/// A model of a plugin, asked again as the native ones are.
pub(crate) fn patient(model: PluginModel, clock: &Arc<dyn Clock>) -> Arc<dyn Model> {
    Arc::new(Patient::new(Arc::new(model), Arc::clone(clock)))
}

/// Models by name, with the environment's keys and scripts below the current directory.
pub(crate) fn catalogue_of(clock: &Arc<dyn Clock>) -> ModelCatalog {
    ModelCatalog::new(Arc::clone(clock))
        .with_variables(Arc::new(variable))
        .with_sources(Arc::new(FileSources::new(".")))
}

/// Models by name, for an embedder with settings of its own: the table `[models]`, the variables that keys and base
/// URLs are read from, and the directory that scripts are read from. Nothing is read before a name needs it.
pub fn model_catalog(settings: ModelSettings, variables: Variables, directory: impl Into<PathBuf>) -> ModelCatalog {
    ModelCatalog::new(clock())
        .with_settings(settings)
        .with_variables(variables)
        .with_sources(Arc::new(FileSources::new(directory)))
}

/// The one place of the library that reads the environment.
#[expect(clippy::disallowed_methods, reason = "the wrapper that everything else goes through")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Secrets are variables of the environment, by name.
pub(crate) fn variable_secret(name: &str) -> Option<SecretString> {
    variable(name).map(SecretString::from)
}

struct WithResolver {
    models: Arc<dyn Models>,
    resolver: ModelResolver,
}

impl Models for WithResolver {
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
        // What is known and cannot be had, for want of a key say, is not taken from elsewhere.
        self.models.resolve(name).or_else(|fault| match &*fault.code {
            "model_unknown" | "unknown_model" => (self.resolver)(name).ok_or(fault),
            _ => Err(fault),
        })
    }

    fn plugin_model(&self, name: &str) -> Option<PluginModelName> {
        self.models.plugin_model(name)
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

    fn plugin_model(&self, name: &str) -> Option<PluginModelName> {
        if *self.own.info().name == *name { None } else { self.catalogue.plugin_model(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows two names, and has a model for neither.
    struct Poor;

    impl Models for Poor {
        fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
            let code = if name == "keyless" { "model_not_configured" } else { "model_unknown" };
            Err(Fault::user(code, format!("`{name}` cannot be had")))
        }
    }

    #[test]
    fn a_resolver_is_asked_for_what_nobody_knows_and_for_nothing_else() {
        let model: Arc<dyn Model> = Arc::new(cofferdam_llm::Scripted::answering("x").named("ours"));
        let resolver: ModelResolver = Arc::new(move |name| (name != "nobody").then(|| Arc::clone(&model)));
        let models = resolved(Arc::new(Poor), Some(resolver));
        assert!(models.resolve("house").is_ok());
        for name in ["keyless", "nobody"] {
            let fault = models.resolve(name).map(drop).unwrap_err();
            assert!(fault.message.contains(name), "{fault}");
        }
        assert!(resolved(Arc::new(Poor), None).resolve("house").is_err());
    }
}
