//! The JSON Schema of the document, for editors: made from the same tables as the decoder.

use super::duration;
use super::keys::{ROOT, TABLES};
use super::kind::{Kind, Need, Table};
use crate::value::Map;
use serde_json::{Value, json};

/// JSON Schema 2020-12 of a workflow document as this version takes it.
#[must_use]
pub fn schema() -> Value {
    let definitions: Map = TABLES.iter().map(|table| (table.name.to_owned(), of_table(table))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Cofferdam workflow",
        "$ref": format!("#/$defs/{}", ROOT.name),
        "$defs": definitions,
    })
}

fn of_table(table: &Table) -> Value {
    let properties: Map =
        table.keys.iter().map(|key| (key.name.to_owned(), with_about(of_kind(&key.kind), key.about))).collect();
    let required: Vec<&str> = table.keys.iter().filter(|key| key.need == Need::Required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "patternProperties": { "^x-": true },
        "additionalProperties": false,
        "required": required,
    })
}

fn with_about(schema: Value, about: &str) -> Value {
    match schema {
        Value::Object(mut map) => {
            map.insert("description".into(), about.into());
            Value::Object(map)
        }
        _ => json!({ "description": about }),
    }
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Any => json!({}),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Number { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Text | Kind::Expression => json!({ "type": "string", "minLength": 1 }),
        Kind::AnyText => json!({ "type": "string" }),
        Kind::Size => json!({ "anyOf": [
            { "type": "integer", "minimum": 1 },
            { "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)?$" },
        ] }),
        Kind::TextUpTo(most) => json!({ "type": "string", "maxLength": most }),
        Kind::Name(grammar) => json!({ "type": "string", "pattern": grammar }),
        // JSON Schema's portable subset of regular expressions has no look-ahead.
        Kind::Duration => {
            json!({ "type": "string", "minLength": 2, "pattern": duration::GRAMMAR.replace("(?=.)", "") })
        }
        Kind::Choice { words, .. } => json!({ "enum": words }),
        Kind::ChoiceOrName { words, grammar, .. } => {
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": grammar }] })
        }
        Kind::List(of) => json!({ "type": "array", "items": of_kind(of) }),
        Kind::Map(of) => {
            json!({ "type": "object", "patternProperties": { "^x-": true }, "additionalProperties": of_kind(of) })
        }
        Kind::Foreign(of) => json!({ "type": "object", "additionalProperties": of_kind(of) }),
        Kind::Object => json!({ "type": "object" }),
        Kind::JsonSchema => json!({ "type": ["object", "boolean"] }),
        Kind::Table(table) => json!({ "$ref": format!("#/$defs/{}", table().name) }),
        Kind::FlagOr(other) => json!({ "anyOf": [{ "type": "boolean" }, of_kind(other)] }),
        Kind::TextOr(other) => json!({ "anyOf": [{ "type": "string", "minLength": 1 }, of_kind(other)] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_a_schema_and_takes_a_document() {
        let validator = jsonschema::draft202012::new(&schema()).unwrap();
        let document = json!({ "name": "x", "x-note": 1, "agents": { "a": { "description": "d" } },
            "steps": ["a", { "id": "b", "timeout": "1m", "loop": { "forEach": [1], "steps": [{ "id": "c" }] } }] });
        assert!(validator.is_valid(&document));
        for wrong in [
            json!({ "name": "x" }),
            json!({ "name": "x", "steps": [{ "id": "B" }] }),
            json!({ "name": "x", "steps": [], "z": 1 }),
        ] {
            assert!(!validator.is_valid(&wrong), "{wrong}");
        }
    }
}
