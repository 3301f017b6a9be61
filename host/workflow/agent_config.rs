//! An agent that a model drives, described in code: what stands under `agents` in a document.

use super::document::literal;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::value::Map;
use serde_json::{Value, json};

/// An agent that a model drives. Checked with the workflow that it becomes part of.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentConfig {
    pub(super) name: String,
    pub(super) table: Map,
    /// What a document of this agent alone says besides.
    root: Map,
}

impl AgentConfig {
    /// The step that the agent is when it runs alone.
    pub const STEP: &str = "agent";

    /// An agent of this name: no system prompt, all tools, the default model.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let table = Map::from_iter([("description".to_owned(), json!(format!("the agent {name}")))]);
        Self { name, table, root: Map::new() }
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

    /// Options of the requests to its model; they beat the document's and the host's, and the run's beat them.
    #[must_use]
    pub fn model_options(self, options: &ModelOptions) -> Self {
        if options.is_empty() { self } else { self.set("modelOptions", options.to_map()) }
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

    /// A plugin whose tools it may use as `alias.tool` when it runs alone; within a workflow the document names plugins. What
    /// the plugin may do is decided as for every document: by grants of the user.
    #[must_use]
    pub fn plugin(self, alias: &str, source: impl Into<String>) -> Self {
        self.beside("plugins", alias, source.into().into())
    }

    /// A server of the Model Context Protocol of the project, whose tools it may use when it runs alone.
    #[must_use]
    pub fn server(self, alias: &str) -> Self {
        self.beside("mcpServers", alias, json!({}))
    }

    fn beside(mut self, table: &str, alias: &str, value: Value) -> Self {
        let entry = self.root.entry(table).or_insert_with(|| json!({}));
        if let Value::Object(entries) = entry {
            entries.insert(alias.to_owned(), value);
        }
        self
    }

    /// The document in which it is the only step, whose message is the input of the run.
    pub(super) fn document(&self) -> String {
        let mut document = Map::from_iter([("name".to_owned(), json!(self.name))]);
        document.extend(self.root.clone());
        document.insert("agents".to_owned(), json!({ &self.name: self.table }));
        document.insert("steps".to_owned(), json!([{ "id": Self::STEP, "agent": self.name }]));
        serde_json::to_string_pretty(&document).expect("a JSON value can be written")
    }

    /// Any other key of an agent in a document: `.set("temperature", 0.2)`.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.table.insert(key.into(), value.into());
        self
    }
}
