//! One call of one tool, outside of any workflow of a user: a workflow of one step, made in memory.
//!
//! It goes the way that every call goes, through the gateway and under the limits of a run. It must not load or run
//! anything itself.

use crate::error::Error;
use crate::orchestrator::RunOptions;
use crate::workflow::{InputText, Workflow};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, LocalName};
use cofferdam_core::run::{RunResult, StepResult};
use cofferdam_core::value::Map;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// The input that holds the arguments: in the document itself they would be templates.
const ARGS: &str = "args";
const STEP: &str = "call";

/// Stands in the document for the source of the component.
const PLACEHOLDER: &str = "./component.wasm";

/// A call of a tool.
#[derive(Clone, Debug)]
pub struct Call {
    /// What the plugin is called in grants.
    pub alias: Alias,
    /// A component, or `builtin:NAME`.
    pub source: String,
    /// The plugin's configuration.
    pub config: Map,
    /// The tool.
    pub tool: LocalName,
    /// Its arguments.
    pub args: Map,
}

impl Call {
    /// The workflow that makes the call. A relative source is relative to `base`.
    ///
    /// # Errors
    /// When the configuration or the arguments are no data that a document can hold.
    pub fn workflow(&self, base: impl AsRef<Path>) -> Result<Workflow, Error> {
        let argument = |name: &String| {
            let key = Value::from(name.as_str());
            (name.clone(), Value::from(format!("{{{{ inputs.{ARGS}[{key}] }}}}")))
        };
        let args: Map = self.args.keys().map(argument).collect();
        let mut plugin = Map::new();
        plugin.insert("source".to_owned(), PLACEHOLDER.into());
        if !self.config.is_empty() {
            plugin.insert("config".to_owned(), self.config.clone().into());
        }
        let document = json!({
            "name": "call",
            "inputs": { ARGS: { "type": "object" } },
            "plugins": { self.alias.as_str(): plugin },
            "steps": [{ "id": STEP, "tool": format!("{}.{}", self.alias, self.tool), "args": args }],
            "output": format!("steps.{STEP}.result"),
        });
        let mut workflow = Workflow::parse(&document.to_string(), base)?;
        // A document stays below its folder; whoever calls a tool may have its component anywhere.
        if let Some(plugin) = Arc::make_mut(&mut workflow.inner).plugins.get_mut(&self.alias) {
            plugin.source.clone_from(&self.source);
        }
        Ok(workflow)
    }

    /// What the run of that workflow is given.
    #[must_use]
    pub fn options(&self) -> RunOptions {
        let args = InputText::Value(Value::from(self.args.clone()));
        RunOptions { inputs: vec![(ARGS.to_owned(), args)], ..RunOptions::default() }
    }

    /// What became of the call, in the result of that run; none when it was never made.
    #[must_use]
    pub fn step(result: &RunResult) -> Option<&StepResult> {
        result.steps.iter().find(|step| step.path.as_str() == STEP)
    }

    /// What the call failed with, if it did.
    #[must_use]
    pub fn fault(result: &RunResult) -> Option<&Fault> {
        let of_run = result.error.as_ref().map(|error| &error.fault);
        Self::step(result).and_then(|step| step.error.as_ref()).or(of_run)
    }

    /// What the plugin was denied and did not say: a standard library without a directory finds no file, for instance.
    #[must_use]
    pub fn suspected(fault: &Fault) -> Vec<&str> {
        let denied = fault.detail.as_ref().and_then(|detail| detail.get("denied")).and_then(Value::as_array);
        denied.into_iter().flatten().filter_map(|request| request.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_data_whatever_they_look_like() {
        let args = json!({ "plain": 1, "odd \"key\"": "{{ inputs.secret }}", "if": null });
        let call = Call {
            alias: Alias::parse("text").unwrap(),
            source: "builtin:text".to_owned(),
            config: Map::new(),
            tool: LocalName::parse("stats").unwrap(),
            args: args.as_object().unwrap().clone(),
        };
        let workflow = call.workflow(".").unwrap();
        assert!(!workflow.to_yaml().contains("secret"), "{}", workflow.to_yaml());
        assert_eq!(workflow.document().plugins[&call.alias].source, "builtin:text");
    }
}
