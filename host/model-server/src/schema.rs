//! A value that fits a JSON Schema, for the parts of it that models are given. It must not validate.
//!
//! Known are `type`, `properties`, `required`, `items`, `minItems`, `enum`, `const`, `anyOf`, `oneOf`, `allOf`, `$ref`
//! into the same document, `minimum`, `minLength`, and the names of types in upper case that Gemini had first.

use crate::limits::SCHEMA_DEPTH;
use serde_json::{Map, Value, json};

/// The smallest value that fits; its strings are `word`. All properties of an object are there if none is required.
pub(crate) fn fitting(schema: &Value, word: &str) -> Value {
    Generator { root: schema, word }.value(schema, 0)
}

struct Generator<'a> {
    root: &'a Value,
    word: &'a str,
}

impl Generator<'_> {
    fn value(&self, schema: &Value, depth: usize) -> Value {
        if depth > SCHEMA_DEPTH {
            return Value::Null;
        }
        if let Some(fixed) = schema.get("const").or_else(|| schema.pointer("/enum/0")) {
            return fixed.clone();
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return found.map_or(Value::Null, |found| self.value(found, depth + 1));
        }
        if let Some(first) = schema.pointer("/anyOf/0").or_else(|| schema.pointer("/oneOf/0")) {
            return self.value(first, depth + 1);
        }
        if let Some(Value::Array(all)) = schema.get("allOf") {
            return self.merged(all, depth);
        }
        match kind(schema).as_str() {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => self.string(schema),
            "integer" => json!(schema.get("minimum").and_then(Value::as_i64).unwrap_or(42)),
            "number" => json!(schema.get("minimum").and_then(Value::as_f64).unwrap_or(4.5)),
            "boolean" => json!(true),
            _ => Value::Null,
        }
    }

    fn merged(&self, all: &[Value], depth: usize) -> Value {
        let mut merged = Map::new();
        for part in all {
            match self.value(part, depth + 1) {
                Value::Object(object) => merged.extend(object),
                other if all.len() == 1 => return other,
                _ => {}
            }
        }
        Value::Object(merged)
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let Some(Value::Object(properties)) = schema.get("properties") else { return json!({}) };
        let required: Option<Vec<&str>> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect());
        let wanted =
            properties.iter().filter(|(name, _)| required.as_ref().is_none_or(|names| names.contains(&name.as_str())));
        Value::Object(wanted.map(|(name, part)| (name.clone(), self.value(part, depth + 1))).collect())
    }

    fn array(&self, schema: &Value, depth: usize) -> Value {
        let Some(items) = schema.get("items") else { return json!([]) };
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, 16);
        Value::Array((0..least).map(|_| self.value(items, depth + 1)).collect())
    }

    fn string(&self, schema: &Value) -> Value {
        let least = schema.get("minLength").and_then(Value::as_u64).unwrap_or_default().min(1024);
        let mut text = self.word.to_owned();
        while (text.chars().count() as u64) < least {
            text.push('x');
        }
        Value::String(text)
    }
}

/// The first type that is named, or what the keywords speak of.
fn kind(schema: &Value) -> String {
    let named =
        schema.get("type").and_then(Value::as_str).or_else(|| schema.pointer("/type/0").and_then(Value::as_str));
    match named {
        Some(named) => named.to_ascii_lowercase(),
        None if schema.get("properties").is_some() => "object".to_owned(),
        None if schema.get("items").is_some() => "array".to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::fitting;
    use serde_json::json;

    #[test]
    fn values_fit_their_schemas() {
        let cases = [
            (json!({"type": "string"}), json!("word")),
            (json!({"type": "STRING", "minLength": 6}), json!("wordxx")),
            (json!({"type": "integer", "minimum": 50}), json!(50)),
            (json!({"type": "number"}), json!(4.5)),
            (json!({"type": ["boolean", "null"]}), json!(true)),
            (json!({"enum": ["red", "blue"]}), json!("red")),
            (json!({"const": 3}), json!(3)),
            (json!({"type": "array", "items": {"type": "integer"}, "minItems": 2}), json!([42, 42])),
            (json!({"properties": {"a": {"type": "string"}, "b": {}}}), json!({"a": "word", "b": null})),
            (
                json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "null"}}, "required": ["a"]}),
                json!({"a": "word"}),
            ),
            (json!({"$defs": {"x": {"type": "integer"}}, "anyOf": [{"$ref": "#/$defs/x"}]}), json!(42)),
            (
                json!({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}),
                json!({"a": 1, "b": 2}),
            ),
            (json!({"$ref": "https://elsewhere"}), json!(null)),
            (json!(true), json!(null)),
            (json!({"type": "object"}), json!({})),
        ];
        for (schema, value) in cases {
            assert_eq!(fitting(&schema, "word"), value, "{schema}");
        }
    }

    #[test]
    fn a_schema_within_itself_ends() {
        let schema = json!({"type": "array", "items": {"$ref": "#"}, "minItems": 1});
        assert!(fitting(&schema, "word").to_string().contains("null"));
    }
}
