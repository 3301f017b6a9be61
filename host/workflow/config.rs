//! What a workflow that is built in code is, before it has steps.

use serde_json::Value;
use std::time::Duration;

/// How the steps of a workflow are wired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By their dependencies.
    #[default]
    Dag,
    /// One after the other; a step without instructions gets what the one before it gave.
    Sequential,
    /// All at once; each gets the run's input.
    Parallel,
    /// The steps, one after the other, again and again.
    Loop,
}

impl Mode {
    /// The word that documents use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dag => "dag",
            Self::Sequential => "sequential",
            Self::Parallel => "parallel",
            Self::Loop => "loop",
        }
    }
}

/// What a workflow is, before it has steps. Nothing in it is checked before [`super::Flow::validate`].
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowConfig {
    /// Its name, for people.
    pub name: String,
    /// How its steps are wired.
    pub mode: Mode,
    /// The whole run.
    pub timeout: Option<Duration>,
    /// Most iterations of [`Mode::Loop`]; reaching them completes the workflow.
    pub max_iterations: u32,
    /// Attempts at once in one run; the smaller of this and the orchestrator's.
    pub max_concurrency: Option<usize>,
    /// The memory, as the table `options.memory` of a document: `{"recall": {"limit": 3}}`. Shared memory is refused when a
    /// run starts: it is not built yet.
    pub memory: Option<Value>,
    /// Agents by name. Without steps, each is one step, in this order.
    pub agents: Vec<String>,
    /// The engine that runs it, as [`crate::Builder::workflow_engine`] named it; none = `default`.
    pub engine: Option<String>,
}

impl WorkflowConfig {
    /// A workflow of this name, and otherwise the defaults.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

impl Default for WorkflowConfig {
    fn default() -> Self {
        Self {
            name: "workflow".to_owned(),
            mode: Mode::Dag,
            timeout: None,
            max_iterations: 10,
            max_concurrency: None,
            memory: None,
            agents: Vec::new(),
            engine: None,
        }
    }
}
