//! What the steps around a step, its agent and the step itself take away from what plugins may do.
//!
//! It must not know what was granted.

use super::machine::Machine;
use super::node::NodeId;
use crate::id::StepPath;
use crate::policy::Narrowings;

impl Machine {
    /// All narrowings that hold for the step at `path`, the outermost first.
    #[must_use]
    pub fn narrowings(&self, path: &StepPath) -> Narrowings {
        let mut chain: Vec<NodeId> = self.find(path).into_iter().collect();
        while let Some(around) = chain.last().and_then(|inner| self.around(*inner)) {
            chain.push(around);
        }
        let mut narrowings = Narrowings::default();
        for node in chain.into_iter().rev() {
            let step = self.step(node);
            let agent = step.agent().and_then(|name| self.workflow.agents.get(name));
            if let Some(grants) = agent.and_then(|agent| agent.grants.clone()) {
                let name = agent.map(|agent| agent.name.as_str()).unwrap_or_default();
                narrowings.push(format!("agent `{name}`"), grants);
            }
            if let Some(grants) = step.grants.clone() {
                narrowings.push(format!("step `{}`", self.node(node).path.place()), grants);
            }
        }
        narrowings
    }
}
