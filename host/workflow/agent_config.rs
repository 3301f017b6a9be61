//! An agent that a model drives, described in code: what stands under `agents` in a document.

use super::document::literal;
use cofferdam_core::value::Map;
use serde_json::{Value, json};

/// An agent that a model drives. Checked with the workflow that it becomes part of.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    pub(super) name: String,
    pub(super) table: Map,
}

impl AgentConfig {
    /// An agent of this name: no system prompt, all tools, the default model.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let table = Map::from_iter([("description".to_owned(), json!(format!("the agent {name}")))]);
        Self { name, table }
    }

    /// What it is for.
    #[must_use]
    pub fn description(self, text: impl Into<String>) -> Self {
        self.set("description", text.into())
    }

    /// The system text, as it is.
    #[must_use]
    pub fn prompt(self, text: &str) -> Self {
        self.set("prompt", literal(text))
    }

    /// Its model, `provider/name`.
    #[must_use]
    pub fn model(self, name: impl Into<String>) -> Self {
        self.set("model", name.into())
    }

    /// The tools it may use; not called = all. A final `*` matches any rest.
    #[must_use]
    pub fn tools<T: Into<String>>(self, tools: impl IntoIterator<Item = T>) -> Self {
        let tools: Vec<String> = tools.into_iter().map(Into::into).collect();
        self.set("tools", tools)
    }

    /// Most turns.
    #[must_use]
    pub fn max_turns(self, turns: u32) -> Self {
        self.set("maxTurns", turns)
    }

    /// JSON Schema of its result.
    #[must_use]
    pub fn result_schema(self, schema: Value) -> Self {
        self.set("resultSchema", schema)
    }

    /// Any other key of an agent in a document: `.set("temperature", 0.2)`.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.table.insert(key.into(), value.into());
        self
    }
}
