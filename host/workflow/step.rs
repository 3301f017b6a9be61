//! A step of a workflow that is built in code.

use super::agent_config::AgentConfig;
use super::condition::{Condition, Transform};
use super::document::literal;
use cofferdam_core::port::Agent;
use cofferdam_core::spec::duration;
use cofferdam_core::value::Map;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A step. What it is called is checked by [`super::Flow::add_step`], everything else with the whole workflow.
#[derive(Clone)]
pub struct Step {
    pub(super) name: String,
    pub(super) agent: Option<AgentRef>,
    pub(super) condition: Option<Condition>,
    pub(super) input: Vec<Transform>,
    pub(super) output: Vec<Transform>,
    /// What else a document would say of it.
    pub(super) table: Map,
}

/// Who works on a step.
#[derive(Clone)]
pub struct AgentRef(pub(super) Who);

#[derive(Clone)]
pub(super) enum Who {
    /// An agent that the orchestrator or the workflow has.
    Named(String),
    /// An agent that a model drives.
    Described(AgentConfig),
    /// The embedder's own, by its own name.
    Own(Arc<dyn Agent>),
}

impl AgentRef {
    /// An agent of the embedder's own, by its own name. A workflow is one too: [`super::Flow::into_agent`].
    pub fn new(agent: impl Agent + 'static) -> Self {
        Self(Who::Own(Arc::new(agent)))
    }

    pub(super) fn name(&self) -> &str {
        match &self.0 {
            Who::Named(name) => name,
            Who::Described(config) => &config.name,
            Who::Own(agent) => agent.name(),
        }
    }
}

impl From<&str> for AgentRef {
    fn from(name: &str) -> Self {
        Self(Who::Named(name.to_owned()))
    }
}

impl From<String> for AgentRef {
    fn from(name: String) -> Self {
        Self(Who::Named(name))
    }
}

impl From<AgentConfig> for AgentRef {
    fn from(config: AgentConfig) -> Self {
        Self(Who::Described(config))
    }
}

impl From<Arc<dyn Agent>> for AgentRef {
    fn from(agent: Arc<dyn Agent>) -> Self {
        Self(Who::Own(agent))
    }
}

impl Step {
    /// A step of this name that the default agent works on.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            agent: None,
            condition: None,
            input: Vec::new(),
            output: Vec::new(),
            table: Map::new(),
        }
    }

    /// Who works on it: the name of an agent, an [`AgentConfig`], or an agent of the embedder's own.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<AgentRef>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// The task, as it is.
    #[must_use]
    pub fn instructions(self, text: &str) -> Self {
        self.set("instructions", literal(text))
    }

    /// Steps that run before; of [`super::Mode::Dag`] only.
    #[must_use]
    pub fn depends_on<T: Into<String>>(self, names: impl IntoIterator<Item = T>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        self.set("dependsOn", names)
    }

    /// What decides whether it runs; false skips it. A text is an expression.
    #[must_use]
    pub fn condition(mut self, condition: impl Into<Condition>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// What changes its message before the agent gets it; several are applied in order.
    #[must_use]
    pub fn transform(mut self, transform: impl Into<Transform>) -> Self {
        self.input.push(transform.into());
        self
    }

    /// What changes what it gave; several are applied in order.
    #[must_use]
    pub fn transform_output(mut self, transform: impl Into<Transform>) -> Self {
        self.output.push(transform.into());
        self
    }

    /// Carried in results, never interpreted.
    #[must_use]
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        let table = self.table.entry("metadata").or_insert_with(|| json!({}));
        if let Value::Object(table) = table {
            table.insert(key.into(), value.into());
        }
        self
    }

    /// Calls a tool without a model. Strings in the arguments are templates.
    #[must_use]
    pub fn tool(self, name: impl Into<String>, args: Value) -> Self {
        self.set("tool", name.into()).set("args", args)
    }

    /// The whole step, all tries.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.set("timeout", duration::format(timeout.max(Duration::from_millis(1))))
    }

    /// How often the whole step is tried again.
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        self.set("retries", retries)
    }

    /// Any other key of a step in a document: `.set("loop", json!({ "forEach": "inputs.files" }))`.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.table.insert(key.into(), value.into());
        self
    }
}
