//! The tools that an agent would be offered, and what would be decided of its calls.

use super::Gateway;
use super::asking::Asked;
use cofferdam_core::id::ToolName;
use cofferdam_core::permission::{self, Decided, Outcome};
use cofferdam_core::port::Effects;
use cofferdam_core::spec::workflow::ToolFilter;
use serde_json::Value;

/// A tool as an agent would be offered it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// What documents call it.
    pub name: ToolName,
    /// What it does.
    pub description: String,
    /// What it does to the world, as far as that is believed.
    pub effects: Effects,
    /// What is decided of a model's calls, as long as no rule looks at their arguments.
    pub decided: Decided,
    /// Rules that do, and may decide otherwise.
    pub perhaps: Vec<String>,
}

impl Gateway {
    /// The tools that a filter admits, by name. Those of sources that are known only where they run are missing.
    pub async fn list(&self, filter: &ToolFilter) -> Vec<Listed> {
        let mut listed = Vec::new();
        for (name, entry) in &self.entries {
            if !self.offers(name, filter) {
                continue;
            }
            let effects = entry.definition.effects;
            let (mut decided, perhaps) = permission::outlook(name, effects, &self.rules);
            if decided.outcome == Outcome::Undecided {
                let asked = Asked { tool: name, args: &Value::Null, rule: None };
                decided = self.asking.known(&asked).await.unwrap_or(decided);
            }
            let description = entry.definition.description.clone();
            listed.push(Listed { name: name.clone(), description, effects, decided, perhaps });
        }
        listed
    }
}
