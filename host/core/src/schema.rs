//! JSON Schemas of plugins and documents: bounded, closed to the world, compiled with regular expressions of linear
//! time.
//!
//! It must not know which tool, result or configuration a schema is for.

use crate::{limits, text, value};
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Memory that one compiled pattern may take.
const PATTERN_BYTES: usize = 1 << 20;
const TOO_DEEP: &str = "it is nested deeper than its schema can be checked";
const REFERENCES: [&str; 2] = ["$ref", "$dynamicRef"];
/// Keywords whose schemas apply to the same value, so that a loop through them never ends.
const IN_PLACE: [&str; 4] = ["not", "if", "then", "else"];
const IN_PLACE_LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

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
    check_ends(schema)?;
    compile(schema)
}

/// A compiled schema.
#[derive(Debug)]
pub struct Checker {
    validator: Validator,
    /// How many schemas one level of a value may be held against, where the schema contains itself; else one.
    fan_out: u64,
}

/// Compiles a schema that was checked before.
///
/// # Errors
/// When it is no schema.
pub fn compile(schema: &Value) -> Result<Checker, SchemaError> {
    let validator = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES))
        .offline()
        .build(schema)
        .map_err(|error| SchemaError::Invalid(text::clean_to(&error.to_string(), 500)))?;
    Ok(Checker { validator, fan_out: if contains_itself(schema) { widest(schema)? } else { 1 } })
}

impl Checker {
    /// Checks a value.
    ///
    /// # Errors
    /// Every place that is wrong and why: ``tags[2].name: 5 is not of type "string"``.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if self.is_too_deep(value) {
            return Err(TOO_DEEP.to_owned());
        }
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let mut text = String::new();
        for (index, error) in self.validator.iter_errors(value).enumerate() {
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

    /// A schema that contains itself twice is tried twice on each level, four times on the next, and so on.
    fn is_too_deep(&self, value: &Value) -> bool {
        self.fan_out > 1 && self.fan_out.saturating_pow(depth(value)) > limits::PLUGIN_SCHEMA_WORK
    }

    /// The first thing that is wrong with a value, with its place and without what the value holds.
    #[must_use]
    pub fn first_error(&self, value: &Value) -> Option<String> {
        if self.is_too_deep(value) {
            return Some(format!("at its root: {TOO_DEEP}"));
        }
        let error = self.validator.iter_errors(value).next()?;
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

fn depth(value: &Value) -> u32 {
    match value {
        Value::Array(items) => items.iter().map(depth).max().unwrap_or(0) + 1,
        Value::Object(map) => map.values().map(depth).max().unwrap_or(0) + 1,
        _ => 0,
    }
}

/// Whether some part refers to a part that contains it: only then can the work grow with the depth of a value.
fn contains_itself(schema: &Value) -> bool {
    let mut open = targets(schema);
    let mut refers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for target in &open {
        let mut inside = Vec::new();
        if let Some(part) = resolve(schema, target) {
            collect_targets(part, &mut inside);
        }
        refers.insert(target.clone(), inside);
    }
    // Takes away what refers to nothing that is left; a rest means a loop.
    loop {
        let left: BTreeSet<String> = open
            .iter()
            .filter(|target| refers.get(*target).is_some_and(|inside| inside.iter().any(|other| open.contains(other))))
            .cloned()
            .collect();
        if left.len() == open.len() {
            return !left.is_empty();
        }
        open = left;
    }
}

/// The most references that apply to one value, followed to their ends.
fn widest(schema: &Value) -> Result<u64, SchemaError> {
    let mut costs = BTreeMap::new();
    for target in targets(schema) {
        let mut steps = 0;
        follow(schema, &target, &mut vec![target.clone()], &mut steps)?;
        costs.insert(target, steps as u64 + 1);
    }
    Ok(widest_part(schema, &costs))
}

fn widest_part(schema: &Value, costs: &BTreeMap<String, u64>) -> u64 {
    let inside = match schema {
        Value::Object(map) => map.values().map(|part| widest_part(part, costs)).max(),
        Value::Array(items) => items.iter().map(|part| widest_part(part, costs)).max(),
        _ => None,
    };
    let mut found = Vec::new();
    in_place(schema, &mut found);
    let here = found.iter().map(|target| costs.get(target).copied().unwrap_or(1)).sum::<u64>();
    here.max(inside.unwrap_or(1)).max(1)
}

/// Every reference in the schema, each once.
fn targets(schema: &Value) -> BTreeSet<String> {
    let mut found = Vec::new();
    collect_targets(schema, &mut found);
    found.into_iter().collect()
}

fn resolve<'a>(root: &'a Value, target: &str) -> Option<&'a Value> {
    root.pointer(target.strip_prefix('#')?)
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

/// Refuses loops that a validator would follow without end, at every schema that a pointer names.
fn check_ends(schema: &Value) -> Result<(), SchemaError> {
    let mut targets = targets(schema);
    targets.insert("#".to_owned());
    for target in &targets {
        follow(schema, target, &mut vec![target.clone()], &mut 0)?;
    }
    Ok(())
}

fn collect_targets(schema: &Value, targets: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            let named = REFERENCES.iter().filter_map(|keyword| map.get(*keyword)?.as_str());
            targets.extend(named.map(str::to_owned));
            map.values().for_each(|part| collect_targets(part, targets));
        }
        Value::Array(items) => items.iter().for_each(|part| collect_targets(part, targets)),
        _ => {}
    }
}

/// Follows what applies to the same value. `path` holds the references under way, `steps` bounds the whole.
fn follow(root: &Value, target: &str, path: &mut Vec<String>, steps: &mut usize) -> Result<(), SchemaError> {
    let Some(schema) = resolve(root, target) else {
        // An anchor, or nothing: the compiler decides.
        return Ok(());
    };
    let mut next = Vec::new();
    in_place(schema, &mut next);
    for target in next {
        *steps += 1;
        if *steps > limits::PLUGIN_SCHEMA_NODES {
            return Err(SchemaError::TooManyNodes);
        }
        if path.contains(&target) {
            return Err(SchemaError::Endless(text::clean_to(&target, 200)));
        }
        path.push(target.clone());
        follow(root, &target, path, steps)?;
        path.pop();
    }
    Ok(())
}

/// The references of a schema that apply to the same value as it does.
fn in_place(schema: &Value, found: &mut Vec<String>) {
    let Value::Object(map) = schema else { return };
    found.extend(REFERENCES.iter().filter_map(|keyword| map.get(*keyword)?.as_str()).map(str::to_owned));
    IN_PLACE.iter().filter_map(|keyword| map.get(*keyword)).for_each(|part| in_place(part, found));
    let lists = IN_PLACE_LISTS.iter().filter_map(|keyword| map.get(*keyword)?.as_array());
    lists.flatten().for_each(|part| in_place(part, found));
    if let Some(Value::Object(dependent)) = map.get("dependentSchemas") {
        dependent.values().for_each(|part| in_place(part, found));
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

    #[test]
    fn patterns_take_linear_time() {
        let backtracking = r#"{"type":"object","properties":{"a":{"pattern":"(?=a)b"}}}"#;
        assert!(matches!(object(backtracking), Err(SchemaError::Invalid(_))));
        let schema = object(r#"{"type":"object","properties":{"a":{"pattern":"^(a+)+$"}}}"#).unwrap();
        let value = serde_json::json!({ "a": format!("{}b", "a".repeat(50_000)) });
        assert!(compile(&schema).unwrap().first_error(&value).is_some());
    }
}
