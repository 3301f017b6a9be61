//! The models of a run that are plugins: those of its document, and those of the project.
//!
//! A document's plugin is loaded with the others of the document, under the same grants and the same lock. One of the
//! project only the user describes, so what stands beside it is the grant; it is loaded by the first run that names it.

use super::plugins::{Loaded, PluginCheck};
use super::service::ServicePlugin;
use super::{Orchestrator, RunOptions};
use crate::compose;
use crate::workflow::Workflow;
use cofferdam_core::event::PluginPin;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, PluginModelName};
use cofferdam_core::limits;
use cofferdam_core::port::{Model, ModelInfo, Models};
use cofferdam_core::spec::suggest::did_you_mean;
use cofferdam_plugin::LoadedPlugin;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// Plugins of the project that documents may name as models, by alias.
pub(crate) type ModelPlugins = BTreeMap<Alias, ModelPlugin>;

/// A plugin of the project, loaded by the first run that names it.
pub(crate) struct ModelPlugin {
    plugin: ServicePlugin,
    loaded: OnceCell<Arc<LoadedPlugin>>,
}

impl ModelPlugin {
    pub(crate) fn new(plugin: ServicePlugin) -> Self {
        Self { plugin, loaded: OnceCell::new() }
    }

    pub(super) fn plugin(&self) -> &ServicePlugin {
        &self.plugin
    }

    /// What a run records of it.
    fn pin(&self, loaded: &LoadedPlugin) -> PluginPin {
        PluginPin { source: self.plugin.source.clone(), digest: loaded.digest().to_string(), ..loaded.pin() }
    }
}

/// The models of plugins that runs were given, by name: who shows a name later asks what it was.
#[derive(Default)]
pub(super) struct Seen(Mutex<BTreeMap<Arc<str>, ModelInfo>>);

impl Seen {
    fn add(&self, info: ModelInfo) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= limits::MODELS_RESOLVED {
            seen.clear();
        }
        seen.insert(Arc::clone(&info.name), info);
    }
}

/// Models by name: those of plugins as they were found, and all others.
struct WithPlugins {
    found: BTreeMap<String, Result<Arc<dyn Model>, Fault>>,
    rest: Arc<dyn Models>,
}

impl Models for WithPlugins {
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
        self.found.get(name).cloned().unwrap_or_else(|| self.rest.resolve(name))
    }
}

/// The models of a run, and what it uses beside the plugins of its document.
pub(super) struct RunModels {
    pub(super) models: Arc<dyn Models>,
    pub(super) pins: Vec<PluginPin>,
    pub(super) checks: Vec<PluginCheck>,
}

impl Orchestrator {
    /// The models of plugins that runs of this orchestrator were given so far.
    #[must_use]
    pub fn plugin_models(&self) -> Vec<ModelInfo> {
        self.shared.plugin_models.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Finds the models of a run. What is wrong with one of a plugin is said when it is asked for.
    pub(super) async fn models_for(&self, workflow: &Workflow, options: &RunOptions, loaded: &Loaded) -> RunModels {
        let settings = &self.shared.settings;
        let mut run = RunModels { models: Arc::clone(&settings.models), pins: Vec::new(), checks: Vec::new() };
        if settings.rehearsal.is_some() {
            return run;
        }
        let mut names = match &options.model {
            Some(name) => BTreeSet::from([name.as_str()]),
            None => workflow.inner.model_names(),
        };
        if options.model.is_none() {
            names.extend(settings.default_model.as_deref());
        }
        let mut found = BTreeMap::new();
        for name in names {
            let Some(asked) = settings.models.plugin_model(name) else { continue };
            let model = self.plugin_model(workflow, &asked, loaded, &mut run).await;
            found.insert(name.to_owned(), model);
        }
        if !found.is_empty() {
            run.models = Arc::new(WithPlugins { found, rest: run.models });
        }
        run
    }

    async fn plugin_model(
        &self,
        workflow: &Workflow,
        asked: &PluginModelName,
        loaded: &Loaded,
        run: &mut RunModels,
    ) -> Result<Arc<dyn Model>, Fault> {
        let settings = &self.shared.settings;
        let PluginModelName { alias, model } = asked;
        let declared = &workflow.inner.plugins;
        let plugin = match (declared.contains_key(alias), settings.model_plugins.get(alias)) {
            (true, None) => loaded.plugins.get(alias).cloned().ok_or_else(|| missing(alias, declared.keys()))?,
            (false, Some(own)) => self.load_own(own, run).await?,
            (true, Some(_)) => return Err(ambiguous(alias)),
            (false, None) => {
                return Err(missing(alias, declared.keys().chain(settings.model_plugins.keys())));
            }
        };
        let model = plugin.model(model)?;
        self.shared.plugin_models.add(model.info());
        Ok(compose::patient(model, &settings.clock))
    }

    /// A plugin of the project.
    pub(super) async fn load_own(&self, own: &ModelPlugin, run: &mut RunModels) -> Result<Arc<LoadedPlugin>, Fault> {
        let settings = &self.shared.settings;
        let ServicePlugin { alias, grants, .. } = &own.plugin;
        settings.vault.learn(grants.secret_names());
        let load = || own.plugin.load(&settings.services.host);
        let plugin = own.loaded.get_or_try_init(load).await?;
        if !run.pins.iter().any(|pin| pin.alias == alias.as_str()) {
            run.pins.push(own.pin(plugin));
            run.checks.push(PluginCheck::granted(alias, plugin.granted()));
        }
        Ok(Arc::clone(plugin))
    }
}

fn missing<'a>(alias: &Alias, known: impl Iterator<Item = &'a Alias>) -> Fault {
    let near = did_you_mean(alias.as_str(), known.map(Alias::as_str));
    let hint = near.unwrap_or_else(|| {
        format!("name it in `plugins` of the document, or write a table `[plugins.{alias}]` with a `source` into `cofferdam.toml`")
    });
    let message = format!("neither the document nor `cofferdam.toml` has a plugin `{alias}` that could be a model");
    Fault::user("model_unknown_plugin", message).with_hint(hint)
}

/// Taking either could hand the user's key, or the document's text, to the wrong one.
fn ambiguous(alias: &Alias) -> Fault {
    let message = format!("both the document and `cofferdam.toml` have a plugin `{alias}`, and a model is named by it");
    Fault::user("plugin_ambiguous", message).with_hint("give one of them another name")
}
