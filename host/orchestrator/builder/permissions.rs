//! Who decides about calls of tools.

use super::Builder;
use cofferdam_core::permission::Rules;
use cofferdam_engine::{PermissionAnswer, PermissionRequest};
use std::sync::Arc;

impl Builder {
    /// Rules about tool calls.
    #[must_use]
    pub fn permissions(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Decides about calls that no rule decides, or about which a rule asks, before anybody is asked. Deny rules, `strict` and what a
    /// person denied in this run come before it. It is called for each call, where the run is driven; a panic in it is a no.
    #[must_use]
    pub fn permission_handler(
        mut self,
        decide: impl Fn(&PermissionRequest) -> PermissionAnswer + Send + Sync + 'static,
    ) -> Self {
        self.permission_handler = Some(Arc::new(decide));
        self
    }
}
