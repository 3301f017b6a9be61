//! Writes a workflow that was built in code as the document that it stands for.
//!
//! It goes through text and the loader on purpose: every rule, finding and position comes from one place, what runs is
//! what [`super::Workflow::to_yaml`] shows, and the journal pins it as it pins a file. Closures enter by their names.

use super::config::{Mode, WorkflowConfig};
use super::loop_condition::LoopCheck;
use super::step::{AgentRef, Step};
use cofferdam_core::spec::duration;
use cofferdam_core::value::Map;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// A text of code in a document: there a first `@` names a file.
pub(super) fn literal(text: &str) -> String {
    if text.starts_with('@') { format!("@{text}") } else { text.to_owned() }
}

/// What a document is written from.
pub(super) struct Authored<'a> {
    pub(super) config: &'a WorkflowConfig,
    pub(super) steps: &'a [Step],
    pub(super) go_on: Option<&'a LoopCheck>,
    /// Agents that a model drives, by name; others stand in the document by their name alone.
    pub(super) agents: BTreeMap<&'a str, Option<&'a Map>>,
    /// Other keys of the root.
    pub(super) more: &'a Map,
}

impl Authored<'_> {
    pub(super) fn text(&self) -> String {
        serde_json::to_string_pretty(&self.document()).expect("a JSON value can be written")
    }

    fn document(&self) -> Value {
        let mut document = Map::new();
        let mut set = |key: &str, value: Value| drop(document.insert(key.to_owned(), value));
        set("name", json!(self.config.name));
        set("mode", json!(self.config.mode.as_str()));
        if self.config.mode == Mode::Loop {
            set("loop", self.root_loop());
        }
        if !self.agents.is_empty() {
            set("agents", self.agents.iter().map(|(name, table)| ((*name).to_owned(), agent(*table))).collect());
        }
        set("steps", self.steps.iter().map(step).collect());
        document.extend(self.more.clone());
        let options = document.entry("options").or_insert_with(|| json!({}));
        if let Value::Object(options) = options {
            options.extend(self.options());
            if options.is_empty() {
                document.shift_remove("options");
            }
        }
        Value::Object(document)
    }

    fn root_loop(&self) -> Value {
        let mut table = json!({ "maxIterations": self.config.max_iterations, "onLimit": "complete" });
        if let (Value::Object(table), Some(check)) = (&mut table, self.go_on) {
            table.insert("while".to_owned(), check.authored());
        }
        table
    }

    fn options(&self) -> Map {
        let config = self.config;
        let options = [
            ("timeout", config.timeout.map(|most| json!(duration::format(most.max(Duration::from_millis(1)))))),
            ("maxConcurrency", config.max_concurrency.map(|most| json!(most))),
            ("memory", config.memory.clone()),
            ("engine", config.engine.as_ref().map(|name| json!(name))),
        ];
        options.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

fn agent(table: Option<&Map>) -> Value {
    table.map_or_else(|| json!({ "description": "an agent of the program" }), |table| Value::Object(table.clone()))
}

fn step(step: &Step) -> Value {
    let mut table = Map::from_iter([("id".to_owned(), json!(step.name))]);
    if let Some(agent) = &step.agent {
        table.insert("agent".to_owned(), json!(agent.name()));
    }
    if let Some(condition) = &step.condition {
        table.insert("condition".to_owned(), condition.authored());
    }
    let chains = [("input", &step.input), ("output", &step.output)];
    let chains: Map = chains
        .into_iter()
        .filter(|(_, chain)| !chain.is_empty())
        .map(|(key, chain)| (key.to_owned(), chain.iter().map(super::condition::Transform::authored).collect()))
        .collect();
    if !chains.is_empty() {
        table.insert("transform".to_owned(), Value::Object(chains));
    }
    table.extend(step.table.clone());
    Value::Object(table)
}

/// The agents that steps and the list of agents name, with the table of those that a model drives.
pub(super) fn agents<'a>(
    steps: &'a [Step],
    listed: &'a [String],
    described: &'a BTreeMap<String, Map>,
) -> BTreeMap<&'a str, Option<&'a Map>> {
    let of_steps = steps.iter().filter_map(|step| step.agent.as_ref()).map(AgentRef::name);
    let names = of_steps.chain(listed.iter().map(String::as_str));
    names.map(|name| (name, described.get(name))).collect()
}
