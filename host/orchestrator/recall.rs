//! The retrieval memory of a run: whether it has one, where that is, and which texts are its own.
//!
//! It must not open anything: a memory is opened by the first step that needs it.

use super::launch::RECALL;
use super::models::RunModels;
use super::plugins::Loaded;
use super::{Orchestrator, RunOptions};
use crate::error::Error;
use crate::workflow::Workflow;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, RunId};
use cofferdam_core::policy::PluginKind;
use cofferdam_core::port::{BoxFuture, Hit, KeptMemo, Memo, Recall, Search};
use cofferdam_core::recollect;
use cofferdam_core::spec::workflow::RecallSettings;
use cofferdam_core::value::Map;
use cofferdam_engine::RunRecall;
use cofferdam_plugin::{LoadedPlugin, PluginRecall};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Which retrieval memory a run is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum RecallChoice {
    /// What its document, its workflow and the orchestrator say.
    #[default]
    Inherit,
    /// One with these settings, and where they are silent, what the others say.
    With(RecallSettings),
    /// One with these settings, or none, whatever the others say.
    Exactly(Option<RecallSettings>),
}

impl RecallChoice {
    /// That of a recorded run, from the settings that were effective.
    pub(super) fn recorded(settings: &Map) -> Result<Self, Error> {
        let found = settings.get(RECALL).cloned().map(serde_json::from_value).transpose();
        found.map(Self::Exactly).map_err(|error| {
            let message = format!("the record of the run has a retrieval memory that cannot be read: {error}");
            let hint = "a newer version of cofferdam may read it";
            Error::Refused(vec![Fault::user("recall", message).with_hint(hint)])
        })
    }
}

impl Orchestrator {
    /// Where retrieval memory is kept that no plugin and no workflow keeps: to look at it, fill it or clear it. Texts of a
    /// session are in the space that [`recollect::space_of`] names.
    #[must_use]
    pub fn recall_store(&self) -> Arc<dyn Recall> {
        Arc::clone(&self.shared.settings.recall)
    }

    /// Forgets what the memory that needs no plugin kept for a run without a session: call it when the run is deleted.
    ///
    /// # Errors
    /// When it cannot be forgotten.
    pub async fn forget_recalled(&self, run: &RunId) -> Result<usize, Fault> {
        self.shared.settings.recall.forget(&recollect::space_of(None, run), Vec::new()).await
    }

    /// The retrieval memory of a run, if it has one.
    pub(super) async fn recall_for(
        &self,
        workflow: &Workflow,
        (options, run): (&RunOptions, &RunId),
        loaded: &Loaded,
        models: &mut RunModels,
    ) -> Result<Option<RunRecall>, Error> {
        let Some(settings) = self.recall_settings(workflow, options) else { return Ok(None) };
        let store: Arc<dyn Recall> = match (workflow.memory(), settings.plugin()) {
            (Some(own), _) => Arc::clone(own),
            (None, None) => self.recall_store(),
            (None, Some(name)) => {
                let plugin = self.recall_plugin(workflow, name, loaded, models).await;
                Arc::new(plugin.map_err(|fault| Error::Refused(vec![fault]))?)
            }
        };
        let space = recollect::space_of(settings.session.as_deref(), run);
        Ok(Some(RunRecall { store, space, settings }))
    }

    fn recall_settings(&self, workflow: &Workflow, options: &RunOptions) -> Option<RecallSettings> {
        let mut asked = match &options.recall {
            RecallChoice::Exactly(exactly) => return exactly.clone(),
            RecallChoice::With(settings) => Some(settings.clone()),
            RecallChoice::Inherit => None,
        };
        let of_session = options.session.clone();
        let of_workflow = workflow.memory().map(|_| RecallSettings::default());
        let others = [&workflow.document().options.recall, &self.shared.settings.recall_settings];
        for below in others.into_iter().cloned().chain([of_workflow]).flatten() {
            asked = Some(match asked {
                Some(above) => above.over(below),
                None => below,
            });
        }
        let asked = asked?;
        // The session of the run beats that of its document.
        Some(RecallSettings { session: of_session.or_else(|| asked.session.clone()), ..asked })
    }

    async fn recall_plugin(
        &self,
        workflow: &Workflow,
        name: &str,
        loaded: &Loaded,
        models: &mut RunModels,
    ) -> Result<OpenedLater, Fault> {
        let missing = || {
            let message =
                format!("neither the document nor `cofferdam.toml` has a plugin `{name}` that could be a memory");
            Fault::user("recall_unknown_plugin", message)
                .with_hint(format!("`provider: {}` needs no plugin", RecallSettings::BUILTIN))
        };
        let alias = Alias::parse(name).map_err(|_| missing())?;
        let declared = workflow.document().plugins.contains_key(&alias);
        let plugin = match (declared, self.shared.settings.model_plugins.get(&alias)) {
            (true, _) => loaded.plugins.get(&alias).cloned().ok_or_else(missing)?,
            (false, Some(own)) => self.load_own(own, models).await?,
            (false, None) => return Err(missing()),
        };
        if !plugin.is(PluginKind::Recall) {
            return Err(Fault::user("plugin_kind", format!("the plugin `{alias}` is no retrieval memory"))
                .with_hint("`cofferdam plugin inspect` shows the kinds of a plugin"));
        }
        Ok(OpenedLater { plugin, opened: OnceCell::new() })
    }
}

/// A plugin that is opened by the first step that searches: most checks of a workflow need none.
struct OpenedLater {
    plugin: Arc<LoadedPlugin>,
    opened: OnceCell<PluginRecall>,
}

impl OpenedLater {
    async fn open(&self) -> Result<&PluginRecall, Fault> {
        self.opened.get_or_try_init(|| self.plugin.recall()).await
    }
}

impl Recall for OpenedLater {
    fn upsert<'a>(&'a self, space: &'a str, memos: Vec<Memo>) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move { self.open().await?.upsert(space, memos).await })
    }

    fn search<'a>(&'a self, space: &'a str, search: Search) -> BoxFuture<'a, Result<Vec<Hit>, Fault>> {
        Box::pin(async move { self.open().await?.search(space, search).await })
    }

    fn forget<'a>(&'a self, space: &'a str, ids: Vec<String>) -> BoxFuture<'a, Result<usize, Fault>> {
        Box::pin(async move { self.open().await?.forget(space, ids).await })
    }

    fn list(&self, space: Option<String>, limit: usize) -> BoxFuture<'_, Result<Vec<KeptMemo>, Fault>> {
        Box::pin(async move { self.open().await?.list(space, limit).await })
    }
}
