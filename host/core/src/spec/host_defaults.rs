//! What whoever runs documents says for all of them: defaults below their own words, and limits above theirs.
//!
//! It is no part of a document: its text and its hash know nothing of it. A run records it, so that it is taken up, branched and
//! replayed as it was started.

use super::RunLimits;
use super::workflow::{AgentSpec, Workflow};
use crate::limits;
use crate::transform::Transform;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What holds for every run of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostDefaults {
    /// Most turns of agents that name no number; none = [`limits::AGENT_TURNS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// No limit of a run is above these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<RunLimits>,
    /// Applied to outputs before they enter a prompt, in documents that have no `outputTransform`. Built-in transforms only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output_transform: Vec<Transform>,
}

impl HostDefaults {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Workflow {
    /// The document as it runs where this holds.
    #[must_use]
    pub fn under(self: &Arc<Self>, host: &HostDefaults) -> Arc<Self> {
        if *host == self.host {
            return Arc::clone(self);
        }
        let mut workflow = (**self).clone();
        if let Some(most) = &host.limits {
            workflow.options.limits = workflow.options.limits.within(most);
        }
        workflow.host = host.clone();
        Arc::new(workflow)
    }

    /// Most turns of an agent of it; none = of the default agent.
    #[must_use]
    pub fn turns_of(&self, agent: Option<&AgentSpec>) -> u32 {
        agent.and_then(|agent| agent.max_turns).or(self.host.max_turns).unwrap_or(limits::AGENT_TURNS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_recorded_is_read_again() {
        let limits = RunLimits { for_each_items: 3, ..RunLimits::default() };
        let output_transform = vec![Transform::Trim, Transform::Truncate(9), Transform::FirstLine];
        let host = HostDefaults { max_turns: Some(4), limits: Some(limits), output_transform };
        let recorded = serde_json::to_value(&host).unwrap();
        assert_eq!(recorded["output_transform"], json!(["trim", { "truncate": 9 }, "first-line"]));
        assert_eq!(serde_json::from_value::<HostDefaults>(recorded).unwrap(), host);
        assert_eq!(serde_json::to_value(HostDefaults::default()).unwrap(), json!({}));
    }

    #[test]
    fn of_each_limit_the_smaller_holds() {
        let document = RunLimits { for_each_items: 3, message_bytes: 2_000, ..RunLimits::default() };
        let mut workflow = Workflow::of_steps("w", Vec::new());
        workflow.options.limits = document;
        let most = RunLimits { for_each_items: 5, message_bytes: 1_000, step_instances: 7, ..RunLimits::default() };
        let held = Arc::new(workflow).under(&HostDefaults { limits: Some(most), ..HostDefaults::default() });
        let wanted = RunLimits { for_each_items: 3, message_bytes: 1_000, step_instances: 7, ..RunLimits::default() };
        assert_eq!(held.options.limits, wanted);
    }
}
