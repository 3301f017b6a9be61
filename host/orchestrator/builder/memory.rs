//! What concerns retrieval memory.

use super::Builder;
use cofferdam_core::port::Recall;
use cofferdam_core::spec::workflow::RecallSettings;
use std::sync::Arc;

impl Builder {
    /// Where retrieval memory is kept, for every document that asks for one and names no plugin. Default: in memory, or in
    /// the project's file `memory.db`. Whoever serves several tenants gives each an orchestrator with a store of its own.
    #[must_use]
    pub fn recall(mut self, store: Arc<dyn Recall>) -> Self {
        self.recall = Some(store);
        self
    }

    /// Gives every run a retrieval memory with these settings, where its document or its options say nothing else.
    #[must_use]
    pub fn recall_settings(mut self, settings: RecallSettings) -> Self {
        self.recall_settings = Some(settings);
        self
    }
}
