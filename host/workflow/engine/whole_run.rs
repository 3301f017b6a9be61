//! The run as an engine sees it outside of every step: its shared memory.
//!
//! An engine begins before its run does, and what it asks waits for that.

use super::Desk;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::port::{BoxFuture, Clock, MemoryReply, MemoryRequest, RunContext, StepEnd};
use cofferdam_core::time::Timestamp;
use serde_json::Value;
use std::sync::Arc;

pub(super) struct WholeRun {
    desk: Arc<Desk>,
    run_id: RunId,
    clock: Arc<dyn Clock>,
    path: StepPath,
}

impl WholeRun {
    pub(super) fn new(desk: Arc<Desk>, run_id: RunId, clock: Arc<dyn Clock>) -> Self {
        Self { desk, run_id, clock, path: StepPath::ROOT }
    }
}

impl RunContext for WholeRun {
    fn run_id(&self) -> &RunId {
        &self.run_id
    }

    fn workflow_id(&self) -> &str {
        self.desk.workflow_id()
    }

    fn path(&self) -> &StepPath {
        &self.path
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn variable(&self, key: &str) -> Option<Value> {
        self.desk.run_now().and_then(|run| run.variable(key))
    }

    fn set_variable(&self, key: String, value: Value) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move { self.desk.run().await?.set_variable(key, value).await })
    }

    fn remember(&self, request: MemoryRequest) -> BoxFuture<'_, Result<MemoryReply, Fault>> {
        Box::pin(async move { self.desk.run().await?.remember(request).await })
    }

    fn step(&self, name: String) -> BoxFuture<'_, Option<StepEnd>> {
        Box::pin(async move { self.desk.run().await.ok()?.step(name).await })
    }
}
