//! Closures that documents name.

use super::Builder;
use crate::workflow::loop_condition::LoopCondition;
use crate::workflow::{Changes, Decides, WorkflowContext};
use cofferdam_core::fault::Fault;
use std::sync::Arc;

impl Builder {
    /// A closure that documents name as a condition: `condition: {native: NAME}`.
    #[must_use]
    pub fn condition<F, R>(mut self, name: impl Into<Arc<str>>, decide: F) -> Self
    where
        F: Fn(WorkflowContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<bool, Fault>> + Send + 'static,
    {
        self.natives.conditions.insert(name.into(), Arc::new(Decides(decide)));
        self
    }

    /// A closure that documents name in a transform: `transform: {input: [{native: NAME}]}`.
    #[must_use]
    pub fn transform<F, R>(mut self, name: impl Into<Arc<str>>, change: F) -> Self
    where
        F: Fn(WorkflowContext, String) -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, Fault>> + Send + 'static,
    {
        self.natives.transforms.insert(name.into(), Arc::new(Changes(change)));
        self
    }

    /// What documents name as the condition of a loop: `while: {native: NAME}`. True = go on.
    #[must_use]
    pub fn loop_condition(mut self, name: impl Into<Arc<str>>, condition: LoopCondition) -> Self {
        self.natives.loops.insert(name.into(), condition.into_check());
        self
    }
}
