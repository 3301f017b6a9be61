//! `context_get` and `context_set`: a run's variables as tools. Every gateway has them.
//!
//! A model is offered them only when its agent's `tools` name them: most agents have no business with the run's state.

use crate::recall_tools;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{LocalName, ToolName};
use cofferdam_core::mail::AGENT;
use cofferdam_core::memory;
use cofferdam_core::port::{BoxFuture, Effects, Tool, ToolContext, ToolDefinition, ToolOutput};
use cofferdam_core::spec::workflow::ToolFilter;
use serde_json::{Value, json};
use std::sync::Arc;

const GET: &str = "context_get";
const SET: &str = "context_set";

/// The two tools as one source.
pub(crate) struct ContextTools {
    definitions: Vec<ToolDefinition>,
}

/// Whether a filter lets a model have the tool: these, `agent`, a search in memory, and those of the shared memory must be meant.
pub(crate) fn is_offered(tool: &ToolName, filter: &ToolFilter) -> bool {
    let own = tool.alias().is_none() && [GET, SET, AGENT, recall_tools::SEARCH].contains(&tool.local().as_str());
    !(own || memory::is_tool(tool)) || filter.means(tool)
}

impl ContextTools {
    pub(crate) fn new() -> Self {
        let key = json!({ "type": "string", "description": "The variable's name, letters, digits and `_`." });
        let value = json!({ "description": "Its new value, any JSON." });
        let get = definition(GET, "Reads a variable of the run; null when there is none.", &json!({ "key": key }));
        let set = definition(SET, "Sets a variable of the run.", &json!({ "key": key, "value": value }));
        Self {
            definitions: vec![
                ToolDefinition { examples: vec![json!({ "key": "topic" })], ..get },
                ToolDefinition { examples: vec![json!({ "key": "loop_continue", "value": false })], ..set },
            ],
        }
    }
}

/// A tool of the run itself, all of whose arguments are required.
pub(crate) fn definition(name: &str, description: &str, properties: &Value) -> ToolDefinition {
    let all: Vec<&str> = properties.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    definition_with(name, description, properties, &all)
}

/// The same with arguments that may be left out.
pub(crate) fn definition_with(name: &str, description: &str, properties: &Value, required: &[&str]) -> ToolDefinition {
    let schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    ToolDefinition {
        name: LocalName::parse(name).expect("the names follow the grammar"),
        title: None,
        description: description.to_owned(),
        input_schema: Arc::new(schema),
        output_schema: None,
        // A variable is the run's own: nothing outside of the run changes, and a run that is repeated sets it again.
        effects: Effects { read_only: true, idempotent: true, ..Effects::default() },
        examples: Vec::new(),
    }
}

impl Tool for ContextTools {
    fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }

    fn call<'a>(
        &'a self,
        ctx: ToolContext,
        name: &'a LocalName,
        args: Arc<Value>,
    ) -> BoxFuture<'a, Result<ToolOutput, Fault>> {
        Box::pin(async move {
            let key = args.get("key").and_then(Value::as_str).unwrap_or_default();
            if name.as_str() == GET {
                let value = ctx.run.variable(key).unwrap_or_default();
                return Ok(ToolOutput { result: Arc::new(value), content: None });
            }
            let value = args.get("value").cloned().unwrap_or_default();
            ctx.run.set_variable(key.to_owned(), value).await?;
            let content = Some(Arc::from(format!("`{key}` is set")));
            Ok(ToolOutput { result: Arc::default(), content })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(tool: &str, allow: Option<&[&str]>) -> bool {
        let allow = allow.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        is_offered(&ToolName::parse(tool).unwrap(), &ToolFilter { allow, ..ToolFilter::default() })
    }

    #[test]
    fn variables_are_offered_only_to_whom_they_are_meant_for() {
        for (allow, expected) in [
            (None, false),
            (Some(["*"].as_slice()), false),
            (Some(&["read"]), false),
            (Some(&[GET]), true),
            (Some(&["*", "context_*"]), true),
        ] {
            assert_eq!(offered(GET, allow), expected, "{allow:?}");
        }
        assert!(!offered(SET, Some(&[GET])));
        assert!(offered("read", None) && offered("x.context_get", None));
    }
}
