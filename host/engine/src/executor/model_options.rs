//! Which options the requests of an agent have, and whether its model can carry them.

use super::RunSettings;
use cofferdam_core::model_options::{DEFAULT_SETTING, ModelOptions, SETTING};
use cofferdam_core::port::{Model, ModelSettings};
use cofferdam_core::spec::workflow::{AgentSpec, Options};
use cofferdam_core::value::Map;
use std::sync::Arc;

impl RunSettings {
    /// An agent with the options that hold for its requests: the run's beat its own, which beat the document's, which beat the
    /// host's.
    #[must_use]
    pub fn with_options(&self, agent: Arc<AgentSpec>, document: &Options) -> Arc<AgentSpec> {
        let own = &agent.settings.options;
        let options = self.merged_options(own, document);
        if options == **own {
            return agent;
        }
        let settings = ModelSettings { options: Arc::new(options), ..agent.settings.clone() };
        Arc::new(AgentSpec { settings, ..(*agent).clone() })
    }

    /// What the requests of an agent with these options say in all.
    #[must_use]
    pub fn merged_options(&self, own: &ModelOptions, document: &Options) -> ModelOptions {
        let below = document.model_options.over(&self.default_model_options);
        self.model_options.over(&own.over(&below))
    }

    /// The options among the recorded settings of a run; none when they cannot be read.
    pub(crate) fn recorded_options(shown: &Map) -> Option<Self> {
        let read = |key: &str| shown.get(key).cloned().map(serde_json::from_value).transpose().ok();
        let (model_options, default_model_options) = (read(SETTING)?, read(DEFAULT_SETTING)?);
        Some(Self {
            model_options: model_options.unwrap_or_default(),
            default_model_options: default_model_options.unwrap_or_default(),
            ..Self::default()
        })
    }
}

/// What a model cannot carry of what is said to it, each as a sentence.
#[must_use]
pub fn uncarried(model: &dyn Model, options: &ModelOptions) -> Vec<String> {
    if options.is_empty() {
        return Vec::new();
    }
    let name = model.info().name;
    let told = |option: String| format!("`modelOptions.{option}` has no effect: `{name}` cannot be told it");
    model.unsupported(options).into_iter().map(told).collect()
}
