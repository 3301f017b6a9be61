//! Options of models that come from code: checked before anything is asked of a model.

use super::Orchestrator;
use crate::error::Error;
use cofferdam_core::fault::Fault;
use cofferdam_core::model_options::{ModelOptionFault, ModelOptions};
use cofferdam_core::port::redact_map;
use cofferdam_core::spec::workflow::Workflow as Document;
use cofferdam_engine::RunSettings;

impl Orchestrator {
    /// Refuses options that no request can have, alone or with those of the document, and those in which a secret stands: they are
    /// recorded, and a run that is taken up again would be without it.
    pub(super) fn refuse_model_options(&self, settings: &RunSettings, document: &Document) -> Result<(), Error> {
        let mut faults = Vec::new();
        for options in [&settings.model_options, &settings.default_model_options] {
            faults.extend(faults_of(options));
            let (before, mut after) = (options.to_map(), options.to_map());
            redact_map(&*self.shared.settings.vault, &mut after);
            if after != before {
                let told = "a secret stands in the options of models, which are recorded";
                let hint = "name keys in the settings of the model: `[models.providers.NAME]`";
                faults.push(Fault::user("model_options", told).with_hint(hint));
            }
        }
        if faults.is_empty() {
            faults.extend(excess(settings, document));
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Refused(faults)) }
    }
}

/// That the requests of an agent would say too much in all, or those of a step without one.
fn excess(settings: &RunSettings, document: &Document) -> Option<Fault> {
    let none = ModelOptions::default();
    let agents =
        document.agents.iter().map(|(name, agent)| (format!(", merged for agent `{name}`"), &*agent.settings.options));
    let all = std::iter::once((", merged".to_owned(), &none)).chain(agents);
    all.into_iter().find_map(|(whose, own)| {
        let found = settings.merged_options(own, &document.options).excess()?;
        let message = format!("options of models{whose}: {}", found.message);
        Some(Fault::user("model_options", message).with_hint(found.hint))
    })
}

/// What is wrong with options, each as a fault.
pub(super) fn faults_of(options: &ModelOptions) -> Vec<Fault> {
    let fault = |found: &ModelOptionFault| {
        let place = if found.path.is_empty() { String::new() } else { format!("`{}`: ", found.place()) };
        let message = format!("options of models: {place}{}", found.message);
        Fault::user("model_options", message).with_hint(found.hint)
    };
    options.faults().iter().map(fault).collect()
}
