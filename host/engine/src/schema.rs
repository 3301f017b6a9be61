//! JSON Schema, compiled once: checks arguments and results and says where they are wrong.

use cofferdam_core::limits;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use std::fmt::Write as _;

/// A compiled JSON Schema 2020-12. Regular expressions run in linear time; nothing is read or fetched for a `$ref`.
#[derive(Debug)]
pub struct Schema(Validator);

/// A schema that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid JSON Schema: {0}")]
pub struct SchemaError(String);

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// When it is not a schema, or refers to another document.
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .build(schema)
            .map(Self)
            .map_err(|error| SchemaError(error.to_string()))
    }

    /// Checks a value.
    ///
    /// # Errors
    /// Every place that is wrong and why: ``tags[2].name: 5 is not of type "string"``.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if self.0.is_valid(value) {
            return Ok(());
        }
        let mut text = String::new();
        for (index, error) in self.0.iter_errors(value).enumerate() {
            if index == limits::SCHEMA_FINDINGS {
                text.push_str("; and more");
                break;
            }
            let gap = if index == 0 { "" } else { "; " };
            let place = place_of(error.instance_path().as_str());
            write!(text, "{gap}{place}{error}").expect("writing to a string cannot fail");
        }
        Err(text)
    }
}

/// A JSON pointer as people write it: `/tags/2/name` is `tags[2].name`.
fn place_of(pointer: &str) -> String {
    let mut place = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty() {
            write!(place, "[{part}]").expect("writing to a string cannot fail");
        } else {
            let dot = if place.is_empty() { "" } else { "." };
            write!(place, "{dot}{part}").expect("writing to a string cannot fail");
        }
    }
    if place.is_empty() { place } else { place + ": " }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_error_names_its_place() {
        let schema = Schema::compile(&json!({
            "type": "object",
            "properties": { "tags": { "items": { "properties": { "name": { "type": "string" } } } } },
        }))
        .unwrap();
        let error = schema.check(&json!({ "tags": [{ "name": "a" }, { "name": 5 }] })).unwrap_err();
        assert!(error.starts_with("tags[1].name: "), "{error}");
        assert!(schema.check(&json!({ "tags": [] })).is_ok());
    }

    #[test]
    fn a_schema_cannot_reach_out() {
        assert!(Schema::compile(&json!({ "$ref": "file:///etc/passwd" })).is_err());
        assert!(Schema::compile(&json!({ "type": 5 })).is_err());
    }
}
