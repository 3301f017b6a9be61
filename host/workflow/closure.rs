//! Closures of the embedder's as the engine calls them. Their names stand in the document, their code does not.

use super::context::WorkflowContext;
use cofferdam_core::event::StepOutput;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{BoxFuture, ConditionFn, LoopFn, LoopView, RunContext, TransformFn};
use std::sync::Arc;

/// `Fn(WorkflowContext) -> Future<Result<bool, Fault>>` as a condition.
pub(crate) struct Decides<F>(pub(crate) F);

impl<F, R> ConditionFn for Decides<F>
where
    F: Fn(WorkflowContext) -> R + Send + Sync,
    R: Future<Output = Result<bool, Fault>> + Send + 'static,
{
    fn decide(&self, ctx: Arc<dyn RunContext>) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin((self.0)(ctx.into()))
    }
}

/// `Fn(WorkflowContext, String) -> Future<Result<String, Fault>>` as a transform. Data goes through as it is.
pub(crate) struct Changes<F>(pub(crate) F);

impl<F, R> TransformFn for Changes<F>
where
    F: Fn(WorkflowContext, String) -> R + Send + Sync,
    R: Future<Output = Result<String, Fault>> + Send + 'static,
{
    fn apply(&self, ctx: Arc<dyn RunContext>, value: StepOutput) -> BoxFuture<'_, Result<StepOutput, Fault>> {
        let changed = (self.0)(ctx.into(), value.content.as_ref().to_owned());
        Box::pin(async move { Ok(StepOutput { content: changed.await?.into(), ..value }) })
    }
}

/// `Fn(WorkflowContext, LoopView) -> Future<Result<bool, Fault>>` as the condition of a loop.
pub(crate) struct GoesOn<F>(pub(crate) F);

impl<F, R> LoopFn for GoesOn<F>
where
    F: Fn(WorkflowContext, LoopView) -> R + Send + Sync,
    R: Future<Output = Result<bool, Fault>> + Send + 'static,
{
    fn go_on(&self, ctx: Arc<dyn RunContext>, so_far: LoopView) -> BoxFuture<'_, Result<bool, Fault>> {
        Box::pin((self.0)(ctx.into(), so_far))
    }
}
