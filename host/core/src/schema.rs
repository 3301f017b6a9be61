//! JSON Schemas of plugins and documents: bounded, closed to the world, compiled with regular expressions of linear
//! time.
//!
//! It must not know which tool, result or configuration a schema is for.

mod applied;

use crate::{limits, text, value};
use applied::Applied;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;
use std::fmt::Write as _;

/// Memory that one compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;
const TOO_MUCH: &str = "it is larger, or nested deeper, than its schema can be checked against";
const DOES_NOT_FIT: &str = "it does not fit its schema, and is too large to say where";
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Why a schema is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Too many bytes.
    #[error("it has {0} bytes, more than {max}", max = limits::PLUGIN_SCHEMA_BYTES)]
    TooLarge(usize),
    /// Too many parts.
    #[error("it has more than {max} nodes", max = limits::PLUGIN_SCHEMA_NODES)]
    TooManyNodes,
    /// Too many parts once its references are followed.
    #[error("with its references written out it has more than {max} parts", max = limits::SCHEMA_EXPANDED)]
    TooWide,
    /// A schema inside it has a name of its own, which changes what references mean.
    #[error("a schema inside it has an `$id`; only the root may have one")]
    Embedded,
    /// Not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// Arguments are an object, always.
    #[error("its root must say `\"type\": \"object\"`")]
    NotAnObject,
    /// It refers to another document.
    #[error("`{keyword}: {target}` leads out of the schema; only references that begin with `#` are followed")]
    Remote {
        /// `$ref`, say.
        keyword: &'static str,
        /// Where it leads.
        target: String,
    },
    /// It refers to itself without looking deeper into the value.
    #[error("`{0}` refers to itself without end")]
    Endless(String),
    /// It is not a valid schema.
    #[error("{0}")]
    Invalid(String),
}

/// What the root of a schema must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// `type: object`.
    Object,
    /// Anything.
    Any,
}

/// Reads and checks a schema that came as text.
///
/// # Errors
/// When it is too large, leads elsewhere, never ends, or is no schema.
pub fn read(text: &str, root: Root) -> Result<Value, SchemaError> {
    if text.len() > limits::PLUGIN_SCHEMA_BYTES {
        return Err(SchemaError::TooLarge(text.len()));
    }
    let schema = value::parse(text).map_err(|error| SchemaError::NotJson(error.to_string()))?;
    if root == Root::Object && schema.get("type").and_then(Value::as_str) != Some("object") {
        return Err(SchemaError::NotAnObject);
    }
    check(&schema)?;
    Ok(schema)
}

/// Checks a schema and compiles it.
///
/// # Errors
/// As [`read`].
pub fn check(schema: &Value) -> Result<Checker, SchemaError> {
    check_nodes(schema, &mut 0)?;
    compile(schema)
}

/// Checks the size of a schema, with every reference written out, and where its references lead; not whether it is one.
pub(crate) fn check_bounds(schema: &Value) -> Result<(), SchemaError> {
    check_nodes(schema, &mut 0)?;
    Applied::of(schema).map(drop)
}

/// A compiled schema.
#[derive(Debug)]
pub struct Checker {
    validator: Validator,
    applied: Applied,
}

/// Compiles a schema that was checked before.
///
/// # Errors
/// When it is no schema.
pub fn compile(schema: &Value) -> Result<Checker, SchemaError> {
    let applied = Applied::of(schema)?;
    let invalid = |error: ValidationError<'_>| SchemaError::Invalid(text::clean_to(&error.to_string(), 500));
    Ok(Checker { validator: validator(schema).map_err(invalid)?, applied })
}

pub(crate) fn validator(schema: &Value) -> Result<Validator, ValidationError<'_>> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES))
        .offline()
        .build(schema)
}

impl Checker {
    /// Checks a value.
    ///
    /// # Errors
    /// Every place that is wrong and why: ``tags[2].name: 5 is not of type "string"``.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let Some(errors) = self.errors(value)? else { return Ok(()) };
        let mut text = String::new();
        for (index, error) in errors.enumerate() {
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

    /// What is wrong with a value, if something is, or why that cannot be said. Errors are gathered before the first
    /// is given, inside of each other, so they cost memory where a plain answer costs time only.
    fn errors<'v>(&'v self, value: &'v Value) -> Result<Option<jsonschema::ErrorIterator<'v>>, String> {
        let work = self.applied.work(value);
        if work > limits::SCHEMA_WORK {
            return Err(TOO_MUCH.to_owned());
        }
        if self.validator.is_valid(value) {
            return Ok(None);
        }
        if work > limits::SCHEMA_FINDING_WORK {
            return Err(DOES_NOT_FIT.to_owned());
        }
        Ok(Some(self.validator.iter_errors(value)))
    }

    /// The first thing that is wrong with a value, with its place and without what the value holds.
    #[must_use]
    pub fn first_error(&self, value: &Value) -> Option<String> {
        let error = match self.errors(value) {
            Ok(errors) => errors?.next()?,
            Err(fault) => return Some(format!("at its root: {fault}")),
        };
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { "at its root".to_owned() } else { format!("at `{place}`") };
        Some(text::clean_to(&format!("{place}: {}", error.masked()), 500))
    }
}

/// A JSON pointer as people write it: `/tags/2/name` is `tags[2].name`.
fn place_of(pointer: &str) -> String {
    let mut place = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        let is_index = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let (open, close) = if is_index {
            ("[", "]")
        } else if place.is_empty() {
            ("", "")
        } else {
            (".", "")
        };
        write!(place, "{open}{part}{close}").expect("writing to a string cannot fail");
    }
    if place.is_empty() { place } else { place + ": " }
}

fn check_nodes(schema: &Value, nodes: &mut usize) -> Result<(), SchemaError> {
    *nodes += 1;
    if *nodes > limits::PLUGIN_SCHEMA_NODES {
        return Err(SchemaError::TooManyNodes);
    }
    match schema {
        Value::Object(map) => {
            for keyword in REFERENCES {
                if let Some(target) = map.get(keyword).and_then(Value::as_str)
                    && !target.starts_with('#')
                {
                    return Err(SchemaError::Remote { keyword, target: text::clean_to(target, 200) });
                }
            }
            map.values().try_for_each(|part| check_nodes(part, nodes))
        }
        Value::Array(items) => items.iter().try_for_each(|part| check_nodes(part, nodes)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_place() {
        let schema = serde_json::json!({
            "type": "object",
            "properties": { "tags": { "items": { "properties": { "name": { "type": "string" } } } } },
        });
        let checker = check(&schema).unwrap();
        let error = checker.check(&serde_json::json!({ "tags": [{ "name": "a" }, { "name": 5 }] })).unwrap_err();
        assert!(error.starts_with("tags[1].name: "), "{error}");
        assert!(checker.check(&serde_json::json!({ "tags": [] })).is_ok());
    }

    fn object(text: &str) -> Result<Value, SchemaError> {
        read(text, Root::Object)
    }

    #[test]
    fn a_plain_schema_is_taken_and_its_errors_have_places() {
        let schema = object(r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#).unwrap();
        let validator = compile(&schema).unwrap();
        assert_eq!(validator.first_error(&serde_json::json!({"n": 1})), None);
        let error = validator.first_error(&serde_json::json!({"n": "secret"})).unwrap();
        assert!(error.starts_with("at `/n`") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn what_is_not_an_object_or_too_large_is_refused() {
        assert_eq!(object("{}"), Err(SchemaError::NotAnObject));
        assert_eq!(object("true"), Err(SchemaError::NotAnObject));
        assert!(read("true", Root::Any).is_ok());
        assert!(matches!(object("{"), Err(SchemaError::NotJson(_))));
        assert!(matches!(object(&" ".repeat(70_000)), Err(SchemaError::TooLarge(_))));
        let wide = format!(r#"{{"type":"object","enum":[{}1]}}"#, "1,".repeat(10_001));
        assert_eq!(object(&wide), Err(SchemaError::TooManyNodes));
        assert!(object(&format!(r#"{{"type":"object","not":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000))).is_err());
    }

    #[test]
    fn references_to_elsewhere_are_refused() {
        for target in ["https://example.com/s.json", "file:///etc/passwd", "other.json", "urn:x"] {
            let text = format!(r#"{{"type":"object","properties":{{"a":{{"$ref":"{target}"}}}}}}"#);
            assert!(matches!(object(&text), Err(SchemaError::Remote { .. })), "{target}");
        }
        let inner = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"type":"string"}}}"##;
        assert!(object(inner).is_ok());
    }

    #[test]
    fn loops_over_the_same_value_are_refused_and_those_into_it_are_not() {
        for text in [
            r##"{"type":"object","$ref":"#"}"##,
            r##"{"type":"object","allOf":[{"$ref":"#"}]}"##,
            r##"{"type":"object","$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}}}"##,
            r##"{"type":"object","properties":{"x":{"$ref":"#/properties/x"}}}"##,
        ] {
            assert!(matches!(object(text), Err(SchemaError::Endless(_))), "{text}");
        }
        let tree = r##"{"type":"object","properties":{"children":{"type":"array","items":{"$ref":"#"}}}}"##;
        assert!(object(tree).is_ok());
    }

    #[test]
    fn a_schema_that_doubles_on_each_level_is_not_followed_down() {
        let text = r##"{"type":"object","$ref":"#/$defs/n","$defs":{"n":{"properties":{"c":{"allOf":[{"$ref":"#/$defs/n"},{"$ref":"#/$defs/n"}]}}}}}"##;
        let checker = compile(&object(text).unwrap()).unwrap();
        let nested =
            |levels: usize| (0..levels).fold(serde_json::json!({}), |inner, _| serde_json::json!({ "c": inner }));
        assert_eq!(checker.first_error(&nested(3)), None);
        assert!(checker.first_error(&nested(100)).unwrap().contains("nested deeper"));
        // A plain tree, and a value that is free below the schema, may be as deep as any value.
        let tree = r##"{"type":"object","properties":{"c":{"$ref":"#"}}}"##;
        let free = r##"{"type":"object","allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/a"}],"$defs":{"a":{"type":"object"}}}"##;
        for text in [tree, free] {
            assert_eq!(compile(&object(text).unwrap()).unwrap().first_error(&nested(100)), None, "{text}");
        }
    }

    /// A schema whose every level applies the next `ways` times.
    fn levels(levels: usize, ways: usize, apply: impl Fn(Vec<Value>) -> Value) -> Value {
        let mut definitions = serde_json::json!({ format!("d{levels}"): { "type": "null" } });
        for level in 0..levels {
            let next = serde_json::json!({ "$ref": format!("#/$defs/d{}", level + 1) });
            definitions[format!("d{level}")] = apply(vec![next; ways]);
        }
        serde_json::json!({ "$ref": "#/$defs/d0", "$defs": definitions })
    }

    #[test]
    fn references_written_out_are_counted_not_followed() {
        let below = |next: Vec<Value>| serde_json::json!({ "properties": { "a": { "anyOf": next } } });
        let items = |next: Vec<Value>| serde_json::json!({ "items": { "allOf": next } });
        let beside = |next: Vec<Value>| serde_json::json!({ "oneOf": next });
        assert!(check(&levels(3, 8, below)).is_ok());
        for schema in [levels(10, 8, below), levels(14, 10, items), levels(40, 2, beside)] {
            assert_eq!(check(&schema).unwrap_err(), SchemaError::TooWide);
            let text = schema.to_string().replace("#/$defs/", "#/%24defs/");
            assert_eq!(check(&serde_json::from_str(&text).unwrap()).unwrap_err(), SchemaError::TooWide);
        }
    }

    #[test]
    fn the_work_of_a_check_is_bounded() {
        // Each of these is tried many times on each level of a value, and contains itself.
        for text in [
            r##"{"properties":{"c":{"$ref":"#"}},"patternProperties":{"c":{"$ref":"#"},"^c":{"$ref":"#"}}}"##,
            r##"{"$dynamicAnchor":"n","properties":{"c":{"anyOf":[{"$dynamicRef":"#n"},{"$dynamicRef":"#n"}]}}}"##,
            r##"{"$anchor":"n","additionalProperties":{"oneOf":[{"$ref":"#n"},{"$ref":"#n"}]}}"##,
        ] {
            let checker = check(&serde_json::from_str(text).unwrap()).unwrap();
            let deep = (0..100).fold(serde_json::json!({}), |inner, _| serde_json::json!({ "c": inner }));
            assert_eq!(checker.check(&deep).unwrap_err(), TOO_MUCH, "{text}");
            assert_eq!(checker.check(&serde_json::json!({})), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_value_too_large_for_a_list_of_faults_is_refused_in_a_word() {
        let checker = check(&serde_json::json!({ "items": { "type": "string" } })).unwrap();
        let rows = |count: usize| Value::from(vec![1; count]);
        assert!(checker.check(&rows(10)).unwrap_err().ends_with("; and more"));
        assert_eq!(checker.check(&rows(1_000_000)).unwrap_err(), DOES_NOT_FIT);
        assert!(check(&serde_json::json!({ "items": { "type": "integer" } })).unwrap().check(&rows(1_000_000)).is_ok());
    }

    #[test]
    fn names_of_circles_make_no_difference() {
        for text in [
            r##"{"$anchor":"n","$ref":"#n"}"##,
            r##"{"$ref":"#/%24defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}"##,
            r##"{"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"anyOf":[{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"}"##,
        ] {
            let found = check(&serde_json::from_str(text).unwrap()).unwrap_err();
            assert!(matches!(found, SchemaError::Endless(_)), "{text}: {found}");
        }
        let embedded = r##"{"items":{"$id":"urn:x","$ref":"#/$defs/a"}}"##;
        assert_eq!(check(&serde_json::from_str(embedded).unwrap()).unwrap_err(), SchemaError::Embedded);
    }

    #[test]
    fn patterns_take_linear_time() {
        let backtracking = r#"{"type":"object","properties":{"a":{"pattern":"(?=a)b"}}}"#;
        assert!(matches!(object(backtracking), Err(SchemaError::Invalid(_))));
        let schema = object(r#"{"type":"object","properties":{"a":{"pattern":"^(a+)+$"}}}"#).unwrap();
        let value = serde_json::json!({ "a": format!("{}b", "a".repeat(50_000)) });
        assert!(compile(&schema).unwrap().first_error(&value).is_some());
    }
}
