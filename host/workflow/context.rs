//! What code inside a run may know of the run and say to it.

use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepPath};
use cofferdam_core::port::{Hit, RunContext, SharedMemory, StepEnd};
use serde_json::Value;
use std::sync::Arc;

/// The run, as one step of it sees it: closures, native agents and native tools get one. All clones are one.
#[derive(Clone)]
pub struct WorkflowContext {
    run: Arc<dyn RunContext>,
}

impl WorkflowContext {
    /// The version of the workflow that runs: SHA-256 over its document and files.
    #[must_use]
    pub fn workflow_id(&self) -> &str {
        self.run.workflow_id()
    }

    /// The run.
    #[must_use]
    pub fn run_id(&self) -> &RunId {
        self.run.run_id()
    }

    /// The step on whose behalf the code runs.
    #[must_use]
    pub fn path(&self) -> &StepPath {
        self.run.path()
    }

    /// How a step ended that this one can see, by its name, or by its path in the run; none while it has not.
    pub async fn step_result(&self, name: impl Into<String> + Send) -> Option<StepEnd> {
        self.run.step(name.into()).await
    }

    /// A variable of the run. `inputs` are the first variables.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value> {
        self.run.variable(key)
    }

    /// Sets a variable; done when that is recorded. The last write in journal order wins. Setting `loop_continue` to
    /// false ends the innermost loop around the step after this iteration.
    ///
    /// # Errors
    /// When there are too many variables, the value is too large, or the run has ended.
    pub async fn set(&self, key: impl Into<String> + Send, value: impl Into<Value> + Send) -> Result<(), Fault> {
        self.run.set_variable(key.into(), value.into()).await
    }

    /// What the retrieval memory of the run has for a query, the best first: texts of earlier steps and, in a session, of
    /// earlier runs.
    ///
    /// # Errors
    /// When the run has no retrieval memory, or that cannot be searched.
    pub async fn recall(&self, query: impl Into<String> + Send, limit: usize) -> Result<Vec<Hit>, Fault> {
        self.run.recall(query.into(), limit).await
    }

    /// The shared memory of the run: entries by agent and key, read by all that may and written under the name of the step's
    /// agent.
    #[must_use]
    pub fn memory(&self) -> SharedMemory<'_> {
        self.run.memory()
    }
}

impl From<Arc<dyn RunContext>> for WorkflowContext {
    fn from(run: Arc<dyn RunContext>) -> Self {
        Self { run }
    }
}
