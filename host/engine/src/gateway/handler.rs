//! Code of the embedder that decides about calls in the place of a person.

use cofferdam_core::id::{RunId, StepPath, ToolName};
use serde_json::Value;
use std::sync::Arc;

/// A call that no rule decides, or about which a rule asks.
#[derive(Clone, Debug, PartialEq)]
pub struct PermissionRequest {
    /// The run.
    pub run_id: RunId,
    /// The step.
    pub step: StepPath,
    /// The agent whose model made the call; none where a document or a plugin did.
    pub agent: Option<Arc<str>>,
    /// The tool that makes the call, of a plugin most often; none where a model or a document does.
    pub caller: Option<ToolName>,
    /// The tool.
    pub tool: ToolName,
    /// The arguments, checked against the tool's schema.
    pub args: Value,
}

/// What code of the embedder decides about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermissionAnswer {
    /// It is made.
    Allow,
    /// It is not, and why; the model reads that.
    Deny(String),
    /// A person is asked, where there is one.
    Ask,
}

/// Decides about calls in the place of a person.
pub type PermissionHandler = Arc<dyn Fn(&PermissionRequest) -> PermissionAnswer + Send + Sync>;
