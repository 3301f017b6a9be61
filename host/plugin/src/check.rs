//! What an author should mend before others load a plugin: what it says of itself, held against itself.
//!
//! What keeps a plugin from loading is a [`crate::LoadError`] and not found again here. It must not call the plugin.

use crate::about::About;
use crate::inspect::Inspection;
use cofferdam_core::limits;
use cofferdam_core::policy::PluginKind;
use cofferdam_core::port::ToolDefinition;
use cofferdam_core::schema;
use serde::Serialize;
use serde_json::Value;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// What the plugin says is not true; it must be mended.
    Error,
    /// The plugin works, and people or models will stumble.
    Warning,
}

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// Where: the tool, or empty for the plugin as a whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tool: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Everything to mend in a plugin that loads, errors and warnings in the order of its tools.
#[must_use]
pub fn check(plugin: &Inspection) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |weight, message: String, hint: &str| {
        findings.push(Finding { weight, tool: String::new(), message, hint: hint.to_owned() });
    };
    if plugin.about.summary.is_empty() {
        let hint = "say in one line what it does: `summary = \"...\"` in `plugin!`";
        find(Weight::Warning, "it has no summary".to_owned(), hint);
    }
    if plugin.kinds.contains(&PluginKind::Tool) && plugin.about.tools.is_empty() {
        find(Weight::Error, "it is a tool and lists none".to_owned(), "name them: `tools = [...]` in `plugin!`");
    }
    for capability in &plugin.unsupported {
        let message = format!("it imports `{capability:?}`, which this host answers with `unsupported`");
        find(Weight::Warning, message, "build it without that import, or be ready for the answer");
    }
    findings.extend(of_schemas(&plugin.about));
    findings.extend(plugin.about.tools.iter().flat_map(of_tool));
    findings
}

/// Configuration and options: read and bounded when the plugin was loaded; here only what people see of them.
fn of_schemas(about: &About) -> Vec<Finding> {
    let schemas = [
        ("configuration", &about.config_schema),
        ("options as a transform", &about.transform_options),
        ("options as a condition", &about.condition_options),
    ];
    let silent = schemas.into_iter().filter_map(|(what, schema)| Some((what, undescribed(schema.as_ref()?)?)));
    silent.map(|(what, names)| warning("", format!("of its {what} {names} has no description"), DESCRIBE)).collect()
}

const DESCRIBE: &str = "write a comment above the field: it becomes the description in the schema";

fn of_tool(tool: &ToolDefinition) -> Vec<Finding> {
    let name = tool.name.as_str();
    let mut findings = of_examples(tool);
    if tool.description.trim().is_empty() {
        let hint = "write a comment above the function: it is all that a model reads before it calls";
        findings.push(warning(name, "it has no description".to_owned(), hint));
    }
    if let Some(names) = undescribed(&tool.input_schema) {
        findings.push(warning(name, format!("the argument {names} has no description"), DESCRIBE));
    }
    if tool.effects.read_only && tool.effects.destructive {
        let message = "it says that it only reads and that it may destroy".to_owned();
        findings.push(error(name, message, "take one of `read_only` and `destructive` away"));
    }
    findings
}

fn of_examples(tool: &ToolDefinition) -> Vec<Finding> {
    let name = tool.name.as_str();
    let checker = match schema::compile(&tool.input_schema) {
        Ok(checker) => checker,
        Err(refused) => {
            let hint = "mend the schema; one made from a type by `schemars` is one";
            return vec![error(name, format!("its input schema cannot be used: {refused}"), hint)];
        }
    };
    let examples = tool.examples.iter().enumerate();
    let wrong = examples.filter_map(|(index, example)| Some((index, checker.check(example).err()?)));
    wrong
        .map(|(index, reason)| {
            let message = format!("its example {} does not fit its input schema: {reason}", index + 1);
            error(name, message, "models copy examples: write one that can be called")
        })
        .collect()
}

/// The properties of an object that say nothing of themselves; none when all do.
fn undescribed(schema: &Value) -> Option<String> {
    let properties = schema.get("properties")?.as_object()?;
    let silent = |property: &Value| {
        property.is_object() && property.get("description").is_none() && property.get("$ref").is_none()
    };
    let names: Vec<String> =
        properties.iter().filter(|(_, property)| silent(property)).map(|(name, _)| format!("`{name}`")).collect();
    let shown = names.iter().take(limits::SCHEMA_FINDINGS).cloned().collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then_some(shown)
}

fn error(tool: &str, message: String, hint: &str) -> Finding {
    Finding { weight: Weight::Error, tool: tool.to_owned(), message, hint: hint.to_owned() }
}

fn warning(tool: &str, message: String, hint: &str) -> Finding {
    Finding { weight: Weight::Warning, tool: tool.to_owned(), message, hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::id::LocalName;
    use cofferdam_core::port::Effects;
    use serde_json::json;
    use std::sync::Arc;

    fn tool(schema: Value, examples: Vec<Value>) -> ToolDefinition {
        ToolDefinition {
            name: LocalName::parse("count").unwrap(),
            title: None,
            description: "Counts.".to_owned(),
            input_schema: Arc::new(schema),
            output_schema: None,
            effects: Effects::default(),
            examples,
        }
    }

    #[test]
    fn an_example_that_cannot_be_called_is_an_error() {
        let schema = json!({ "type": "object", "properties": { "text": { "type": "string", "description": "x" } } });
        assert_eq!(of_tool(&tool(schema.clone(), vec![json!({ "text": "a" })])), []);
        let found = of_tool(&tool(schema, vec![json!({ "text": "a" }), json!({ "text": 5 })]));
        assert_eq!(found.len(), 1);
        assert!(found[0].weight == Weight::Error && found[0].message.contains("example 2"), "{found:?}");
    }

    #[test]
    fn what_a_model_reads_is_missed_when_it_is_not_there() {
        let silent = ToolDefinition {
            description: String::new(),
            effects: Effects { read_only: true, destructive: true, ..Effects::default() },
            ..tool(json!({ "type": "object", "properties": { "text": { "type": "string" } } }), Vec::new())
        };
        let weights: Vec<Weight> = of_tool(&silent).into_iter().map(|finding| finding.weight).collect();
        assert_eq!(weights, [Weight::Warning, Weight::Warning, Weight::Error]);
    }
}
