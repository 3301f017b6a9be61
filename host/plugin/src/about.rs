//! What a plugin says about itself, checked: its name, its configuration, its tools.
//!
//! It must not know grants: these are claims, the same for whoever loads the plugin, and kept by its digest.

use crate::bindings::exports::cofferdam::plugin::lifecycle::Description;
use crate::bindings::exports::cofferdam::tool::tool::{Effects as Claims, ToolDef};
use crate::bindings::model::exports::cofferdam::model::model::ModelDef;
use crate::error::LoadFault;
use crate::instance::SelfDescription;
use cofferdam_core::id::{LocalName, PluginModelName};
use cofferdam_core::port::{Effects, ToolDefinition};
use cofferdam_core::schema::{self, Root, SchemaError};
use cofferdam_core::text::{clean, clean_to};
use cofferdam_core::{limits, value};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// A plugin's own description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// `owner/name`.
    pub id: String,
    /// Semantic version.
    pub version: String,
    /// One line.
    pub summary: String,
    /// JSON Schema of its configuration; none when it takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Value>,
    /// Its tools, as it claims them.
    pub tools: Vec<ToolDefinition>,
    /// JSON Schema of its options as a transform; none when it takes none, or is no transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform_options: Option<Value>,
    /// JSON Schema of its options as a condition; none when it takes none, or is no condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_options: Option<Value>,
    /// The models that it lists; empty when it takes any name, or is no model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ListedModel>,
}

/// A model that a plugin lists, as it claims it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedModel {
    /// Its name, as documents write it after the plugin's.
    pub name: String,
    /// One line.
    pub summary: String,
    /// Whether a neural language model answers.
    pub is_language_model: bool,
}

/// Why a description is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AboutError {
    /// Its id is none.
    #[error("its id `{0}` is not of the form `owner/name`, lower case")]
    Id(String),
    /// Its version is none.
    #[error("its version `{0}` is not a semantic version")]
    Version(String),
    /// Its configuration schema is bad.
    #[error("the schema of its configuration is refused: {0}")]
    ConfigSchema(#[source] SchemaError),
    /// The schema of its options is bad.
    #[error("the schema of its options is refused: {0}")]
    OptionsSchema(#[source] SchemaError),
    /// Too many tools.
    #[error("it has {0} tools, more than {max}", max = limits::PLUGIN_TOOLS)]
    TooManyTools(usize),
    /// Too many models.
    #[error("it has {0} models, more than {max}", max = limits::PLUGIN_MODELS)]
    TooManyModels(usize),
    /// A model's name is none.
    #[error("its model `{0}` has a name that no document could write")]
    ModelName(String),
    /// Two models have one name.
    #[error("it has two models named `{0}`")]
    TwoModels(String),
    /// A tool's name is none.
    #[error("its tool `{0}` has a name that does not match {grammar}", grammar = LocalName::GRAMMAR)]
    ToolName(String),
    /// Two tools have one name.
    #[error("it has two tools named `{0}`")]
    TwoTools(String),
    /// A tool's schema is bad.
    #[error("the {which} schema of its tool `{tool}` is refused: {error}")]
    ToolSchema {
        /// The tool.
        tool: String,
        /// `input` or `output`.
        which: &'static str,
        /// Why.
        #[source]
        error: SchemaError,
    },
    /// An example is not JSON, or there are too many.
    #[error("the examples of its tool `{0}` are not valid JSON, or more than {max}", max = limits::PLUGIN_EXAMPLES)]
    Examples(String),
    /// A description is too long.
    #[error("the description of its tool `{0}` has more than {max} bytes", max = limits::PLUGIN_DESCRIPTION_BYTES)]
    TooLong(String),
}

impl About {
    /// A configuration as text, valid for the schema that the plugin gave. Null is none.
    pub(crate) fn config(&self, config: &Value) -> Result<Arc<str>, LoadFault> {
        let given = if config.is_null() { Value::Object(value::Map::new()) } else { config.clone() };
        let Some(schema) = &self.config_schema else {
            let empty = given.as_object().is_some_and(value::Map::is_empty);
            return if empty { Ok(Arc::from("{}")) } else { Err(LoadFault::NoConfig) };
        };
        let checker = schema::compile(schema).map_err(|error| LoadFault::Config(error.to_string()))?;
        match checker.first_error(&given) {
            Some(error) => Err(LoadFault::Config(error)),
            None => Ok(Arc::from(given.to_string())),
        }
    }

    /// Checks what the guest said.
    pub(crate) fn check(said: SelfDescription) -> Result<Self, AboutError> {
        let SelfDescription { description, tools, transform_options, condition_options, models } = said;
        let Description { id, version, summary, config_schema } = description;
        if !is_plugin_id(&id) {
            return Err(AboutError::Id(clean_to(&id, 100)));
        }
        if !is_version(&version) {
            return Err(AboutError::Version(clean_to(&version, 100)));
        }
        let config_schema = config_schema.map(|text| schema::read(&text, Root::Object)).transpose();
        Ok(Self {
            id,
            version,
            summary: clean(&summary),
            config_schema: config_schema.map_err(AboutError::ConfigSchema)?,
            tools: check_tools(tools)?,
            transform_options: options(transform_options)?,
            condition_options: options(condition_options)?,
            models: check_models(models)?,
        })
    }
}

fn options(schema: Option<String>) -> Result<Option<Value>, AboutError> {
    schema.map(|text| schema::read(&text, Root::Object)).transpose().map_err(AboutError::OptionsSchema)
}

fn check_models(models: Vec<ModelDef>) -> Result<Vec<ListedModel>, AboutError> {
    if models.len() > limits::PLUGIN_MODELS {
        return Err(AboutError::TooManyModels(models.len()));
    }
    let mut checked: Vec<ListedModel> = Vec::with_capacity(models.len());
    for ModelDef { id, summary, is_language_model } in models {
        if !PluginModelName::is_model(&id) {
            return Err(AboutError::ModelName(clean_to(&id, 100)));
        }
        if checked.iter().any(|other| other.name == id) {
            return Err(AboutError::TwoModels(id));
        }
        checked.push(ListedModel { name: id, summary: clean(&summary), is_language_model });
    }
    Ok(checked)
}

fn check_tools(tools: Vec<ToolDef>) -> Result<Vec<ToolDefinition>, AboutError> {
    if tools.len() > limits::PLUGIN_TOOLS {
        return Err(AboutError::TooManyTools(tools.len()));
    }
    let mut checked: Vec<ToolDefinition> = Vec::with_capacity(tools.len());
    for tool in tools {
        let tool = check_tool(tool)?;
        if checked.iter().any(|other| other.name == tool.name) {
            return Err(AboutError::TwoTools(tool.name.to_string()));
        }
        checked.push(tool);
    }
    Ok(checked)
}

fn check_tool(tool: ToolDef) -> Result<ToolDefinition, AboutError> {
    let name = LocalName::parse(&tool.name).map_err(|_| AboutError::ToolName(clean_to(&tool.name, 100)))?;
    let refused = |which| {
        let tool = name.to_string();
        move |error| AboutError::ToolSchema { tool, which, error }
    };
    if tool.description.len() > limits::PLUGIN_DESCRIPTION_BYTES {
        return Err(AboutError::TooLong(name.to_string()));
    }
    let input_schema = schema::read(&tool.input_schema, Root::Object).map_err(refused("input"))?;
    let output_schema = tool.output_schema.map(|text| schema::read(&text, Root::Any)).transpose();
    let examples: Option<Vec<Value>> = tool.examples.iter().map(|text| value::parse(text).ok()).collect();
    let examples = examples.filter(|examples| examples.len() <= limits::PLUGIN_EXAMPLES);
    Ok(ToolDefinition {
        title: tool.title.as_deref().map(|title| clean_to(title, 200)),
        description: clean_to(&tool.description, limits::PLUGIN_DESCRIPTION_BYTES),
        input_schema: Arc::new(input_schema),
        output_schema: output_schema.map_err(refused("output"))?.map(Arc::new),
        effects: effects(tool.effects),
        examples: examples.ok_or_else(|| AboutError::Examples(name.to_string()))?,
        name,
    })
}

fn effects(claims: Claims) -> Effects {
    Effects {
        read_only: claims.contains(Claims::READ_ONLY),
        destructive: claims.contains(Claims::DESTRUCTIVE),
        idempotent: claims.contains(Claims::IDEMPOTENT),
        open_world: claims.contains(Claims::OPEN_WORLD),
        stays_within: false,
        within_run: false,
    }
}

/// `owner/name`, each part lower-case letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
fn is_plugin_id(id: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
    };
    id.len() <= 100 && id.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name))
}

fn is_version(version: &str) -> bool {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers = core.split('.').filter(|part| part.parse::<u64>().is_ok()).count();
    version.len() <= 64
        && numbers == 3
        && core.split('.').count() == 3
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str) -> ToolDef {
        ToolDef {
            name: name.to_owned(),
            title: None,
            description: "does\u{1b}[2J things".to_owned(),
            input_schema: r#"{"type":"object"}"#.to_owned(),
            output_schema: None,
            effects: Claims::READ_ONLY,
            examples: Vec::new(),
        }
    }

    fn check(id: &str, version: &str, tools: Vec<ToolDef>) -> Result<About, AboutError> {
        let description =
            Description { id: id.to_owned(), version: version.to_owned(), summary: String::new(), config_schema: None };
        About::check(SelfDescription { tools, ..SelfDescription::of(description) })
    }

    fn models(names: &[&str]) -> Result<Vec<ListedModel>, AboutError> {
        let def = |id: &&str| ModelDef { id: (*id).into(), summary: "a\u{7}b".into(), is_language_model: true };
        check_models(names.iter().map(def).collect())
    }

    #[test]
    fn models_are_listed_once_under_names_that_can_be_written() {
        assert_eq!(models(&["small", "Qwen/Qwen3"]).unwrap()[0].summary, "ab");
        assert_eq!(models(&["a", "a"]), Err(AboutError::TwoModels("a".into())));
        for name in ["", " ", "a\nb"] {
            assert!(matches!(models(&[name]), Err(AboutError::ModelName(_))), "{name:?}");
        }
        let many: Vec<String> = (0..=limits::PLUGIN_MODELS).map(|index| index.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(models(&many), Err(AboutError::TooManyModels(many.len())));
    }

    #[test]
    fn an_honest_description_is_taken_without_its_control_characters() {
        let about = check("acme/text", "1.2.3-rc.1", vec![tool("count-words")]).unwrap();
        assert_eq!(about.tools[0].description, "does[2J things");
        assert!(about.tools[0].effects.read_only && !about.tools[0].effects.idempotent);
    }

    #[test]
    fn names_follow_their_grammar() {
        for id in ["", "acme", "Acme/text", "acme/", "acme/../x", "a/b/c", "acme/te xt"] {
            assert!(matches!(check(id, "1.0.0", Vec::new()), Err(AboutError::Id(_))), "{id}");
        }
        for version in ["", "1", "1.0", "one.two.three", "1.0.0\n"] {
            assert!(matches!(check("a/b", version, Vec::new()), Err(AboutError::Version(_))), "{version}");
        }
        assert!(matches!(check("a/b", "1.0.0", vec![tool("Bad Name")]), Err(AboutError::ToolName(_))));
        assert_eq!(check("a/b", "1.0.0", vec![tool("x"), tool("x")]), Err(AboutError::TwoTools("x".to_owned())));
        let many = (0..257).map(|index| tool(&format!("t{index}"))).collect();
        assert_eq!(check("a/b", "1.0.0", many), Err(AboutError::TooManyTools(257)));
    }

    #[test]
    fn schemas_and_examples_are_checked_with_the_name_of_their_tool() {
        let bad = ToolDef { input_schema: "{}".to_owned(), ..tool("x") };
        let error = check("a/b", "1.0.0", vec![bad]).unwrap_err().to_string();
        assert!(error.starts_with("the input schema of its tool `x`"), "{error}");
        let bad = ToolDef { examples: vec!["{".to_owned()], ..tool("x") };
        assert_eq!(check("a/b", "1.0.0", vec![bad]), Err(AboutError::Examples("x".to_owned())));
    }
}
