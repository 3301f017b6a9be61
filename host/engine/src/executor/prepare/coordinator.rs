//! The coordinator of a run, as far as it can be known before anything is spent.

use super::{Offered, Preparation, name_of};
use crate::agent::LlmAgent;
use crate::attempt::Terms;
use crate::coordinator::Coordinator;
use crate::shared_conversation::SharedConversation;
use cofferdam_core::event::Sensitive;
use cofferdam_core::limits;
use cofferdam_core::spec::workflow::AgentWork;
use cofferdam_core::transform::Transforms;
use std::sync::Arc;

impl Preparation<'_> {
    pub(super) fn coordinator(&mut self) {
        let Some(settings) = self.request.settings.coordinator.clone() else { return };
        let shared = self.shared_conversation(&settings);
        let spec = Arc::new(settings.spec(shared.is_some()));
        let spec = self.request.settings.with_options(spec, &self.workflow().options);
        let who = "the coordinator";
        let tools = self.ports.gateway.coordinator_specs(&spec.tools);
        self.tool_names(&spec);
        let model = match settings.model() {
            // Its own model is its own, whatever model the steps are given.
            Some(name) => self.named_model(name).map(Some),
            None => self.model(who, &AgentWork::default(), &spec),
        };
        let model = model.unwrap_or_else(|fault| {
            self.faults.push(fault);
            None
        });
        let Some(model) = model else { return };
        self.uncarried(model.as_ref(), &spec);
        self.models.insert(model.info().name.to_string(), Some(Arc::clone(&model)));
        let retries = self.workflow().options.max_retries.unwrap_or(limits::MODEL_RETRIES);
        let terms =
            Terms { agent: name_of(&spec), tools, model: None, options: Arc::default(), result: None, delegate: None };
        let agent = LlmAgent::new(spec, model, None, retries).within(self.workflow().options.limits).sharing(shared);
        self.made.coordinator = Some(Offered { agent: Arc::new(agent), terms, transform: Transforms::default() });
    }

    /// The conversation that the coordinator holds with those of other runs. What is sensitive in one run would be no secret of another,
    /// which does not know that it is one.
    fn shared_conversation(&mut self, settings: &Coordinator) -> Option<Arc<SharedConversation>> {
        let lacks = settings.lacks();
        let is_sensitive = settings.is_shared() && Sensitive::of(self.workflow()).is_some();
        let alone = "its conversation is not shared with other runs, since steps of this one are sensitive";
        let said = lacks.into_iter().chain(is_sensitive.then_some(alone));
        self.made.of_coordinator = said.map(|what| format!("the coordinator: {what}")).collect();
        self.ports.conversation.clone().filter(|_| settings.is_shared() && !is_sensitive)
    }
}
