//! What a run waits for: answers to questions, and a person's word about calls of tools.

use super::Decision;
use crate::fault::{Class, Fault};
use crate::id::{StepPath, ToolName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// A question that a run waits with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenQuestion {
    /// The step that asks. One of a workflow that works as an agent stands below the path of its step.
    pub step: StepPath,
    /// What it asks.
    pub question: String,
    /// The answers that may be given; empty = any.
    #[serde(default)]
    pub choices: Vec<String>,
}

/// A call of a tool that a run waits with: nobody has said whether it may be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenApproval {
    /// The step that wants it. One of a workflow that works as an agent stands below the path of its step.
    pub step: StepPath,
    /// The try of that step.
    pub attempt: u32,
    /// The call's id in the try; of a sub-agent `@CALL/CALL`.
    pub call: String,
    /// Whose model wants it; absent where the document does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Arc<str>>,
    /// The tool.
    pub tool: ToolName,
    /// The arguments.
    pub args: Arc<Value>,
    /// The rule that asks; absent where no rule decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// What a person said about a call that a run waited with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// The step that wants the call, as in [`OpenApproval::step`].
    pub step: StepPath,
    /// The try of that step.
    pub attempt: u32,
    /// The call, as in [`OpenApproval::call`].
    pub call: String,
    /// Whether it may be made.
    pub decision: Decision,
    /// Why not, for the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Shows whoever goes on with the run that it is their own word, as [`Seal`](crate::port::Seal) says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
}

/// What a run inside a step waits for; nothing where the step itself waits for calls that were asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its questions, below the step's path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<OpenQuestion>,
    /// Its calls, below the step's path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<OpenApproval>,
    /// When it may go on by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Waiting {
    /// What ends a try that waits: work that meets it passes it on as it is.
    #[must_use]
    pub fn to_fault(&self) -> Fault {
        let detail = serde_json::to_value(self).unwrap_or_default();
        Fault::new(Class::Waiting, "waiting", "it waits for a person").with_detail(detail)
    }

    /// What a try waits for that ended with this; none where it failed.
    #[must_use]
    pub fn of_fault(fault: &Fault) -> Option<Self> {
        let detail = fault.detail.as_deref().cloned().unwrap_or_default();
        (fault.class == Class::Waiting).then(|| serde_json::from_value(detail).unwrap_or_default())
    }

    /// Whether it is for nothing that a run inside the step has said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a call is called that is made at a path: by its id, below a step with the sub-agent that makes it.
#[must_use]
pub fn call_name(path: &StepPath, call_id: &str) -> String {
    match path.is_delegate() {
        true => {
            let below = path.as_str().get(path.step().as_str().len()..).unwrap_or_default();
            format!("{below}/{call_id}")
        }
        false => call_id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_a_sub_agent_is_named_by_both() {
        assert_eq!(call_name(&"each[2].write".into(), "3"), "3");
        assert_eq!(call_name(&StepPath::from("each[2].write").delegate("1").delegate("4"), "3"), "@1@4/3");
    }
}
