//! How a plugin and its tools describe themselves: names, schemas, effects.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// Who a plugin says it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// `owner/name`, lower case.
    pub id: &'static str,
    /// Semantic version, by default that of the crate.
    pub version: &'static str,
    /// One line, by default the description of the crate.
    pub summary: &'static str,
    /// JSON Schema of the configuration, if it takes one.
    pub config_schema: Option<Value>,
}

/// One tool as models, people and permission rules see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Unique in the plugin.
    pub name: &'static str,
    /// A short name for people.
    pub title: Option<&'static str>,
    /// What it does: the doc comment of the function.
    pub description: &'static str,
    /// JSON Schema of the arguments, an object at its root.
    pub input_schema: Value,
    /// JSON Schema of the result, if it is structured.
    pub output_schema: Option<Value>,
    /// What a call does to the world.
    pub effects: Effects,
    /// Arguments that are valid, each a JSON document.
    pub examples: &'static [&'static str],
}

/// What a call does to the world. What is not set gets the cautious answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Changes nothing anywhere.
    pub read_only: bool,
    /// May destroy or overwrite.
    pub destructive: bool,
    /// Calling it again with the same arguments changes nothing more.
    pub idempotent: bool,
    /// Reaches beyond the step's directory.
    pub open_world: bool,
}

/// The JSON Schema (2020-12) that a value of `T` is decoded by, with an object
/// at its root, as the contract wants it of arguments and configurations.
pub fn schema_of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    if !schema.is_object() {
        schema = Value::Object(Map::new());
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.entry("type").or_insert_with(|| Value::from("object"));
    }
    schema
}

/// The JSON Schema of a result, none if `T` can be anything.
pub(crate) fn schema_of_result<T: JsonSchema>() -> Option<Value> {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = generator.into_root_schema_for::<T>().to_value();
    let says_something =
        schema.as_object().is_some_and(|fields| fields.keys().any(|key| key != "$schema" && key != "title"));
    says_something.then_some(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Deserialize, Serialize, JsonSchema)]
    #[serde(untagged)]
    enum Either {
        Text { text: String },
        Path { path: String },
    }

    #[test]
    fn a_schema_of_arguments_has_an_object_at_its_root() {
        assert_eq!(schema_of::<Either>()["type"], "object");
        assert_eq!(schema_of::<Value>()["type"], "object");
    }

    #[test]
    fn a_result_that_can_be_anything_has_no_schema() {
        assert_eq!(schema_of_result::<Value>(), None);
        assert!(schema_of_result::<Either>().is_some());
    }
}
