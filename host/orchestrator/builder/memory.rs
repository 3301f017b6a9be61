//! What concerns memory.

use super::Builder;
use cofferdam_core::port::{Recall, State};
use cofferdam_core::spec::workflow::RecallSettings;
use std::sync::Arc;

impl Builder {
    /// Where the memory is kept that runs share whose documents say `memory: { scope: shared }`. Default: with the other small
    /// values, so in memory, or in the project's file `state.db`. Whoever serves several tenants gives each an orchestrator with
    /// a store of its own.
    #[must_use]
    pub fn shared_memory(mut self, store: Arc<dyn State>) -> Self {
        self.shared_memory = Some(store);
        self
    }

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
