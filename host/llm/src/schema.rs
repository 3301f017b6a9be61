//! JSON Schemas as each protocol takes them: what it refuses is left out, and told.
//!
//! It must not change what a schema means for the host: the whole schema is checked on what comes back in any case.

use crate::protocol::Api;
use cofferdam_core::limits;
use cofferdam_core::value::Map;
use serde_json::{Value, json};

/// A schema as a protocol takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The schema.
    pub schema: Value,
    /// What was left out, by place: `properties.name.pattern`.
    pub lost: Vec<String>,
    /// What the protocol cannot say at all, so that its own mode must not be used; none when all is said.
    pub unfit: Option<String>,
}

/// What a schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The arguments of a tool.
    Tool,
    /// An answer that the provider guarantees to fit.
    Result,
}

/// What a protocol takes.
struct Profile {
    /// Its keywords; none means all.
    keywords: Option<&'static [&'static str]>,
    /// Objects have just the members that are named.
    closed: bool,
    /// Every member is required; those that are not may be null.
    all_required: bool,
}

/// What every one of them takes.
const ALL: Profile = Profile { keywords: None, closed: false, all_required: false };

/// <https://platform.openai.com/docs/guides/structured-outputs>, "Supported schemas".
const OPENAI: &[&str] = &[
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "definitions",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "multipleOf",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
];

/// <https://docs.claude.com/en/docs/build-with-claude/structured-outputs>, "JSON Schema limitations".
const ANTHROPIC: &[&str] = &[
    "$defs",
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "default",
    "definitions",
    "description",
    "enum",
    "format",
    "items",
    "properties",
    "required",
    "title",
    "type",
];

/// <https://ai.google.dev/api/generate-content>, `responseJsonSchema`.
const GEMINI: &[&str] = &[
    "$anchor",
    "$defs",
    "$id",
    "$ref",
    "additionalProperties",
    "anyOf",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "oneOf",
    "prefixItems",
    "properties",
    "propertyOrdering",
    "required",
    "title",
    "type",
];

fn profile(api: Api, purpose: Use) -> Profile {
    match (api, purpose) {
        (Api::Chat | Api::Responses, Use::Result) => {
            Profile { keywords: Some(OPENAI), closed: true, all_required: true }
        }
        (Api::Anthropic, Use::Result) => Profile { keywords: Some(ANTHROPIC), closed: true, all_required: false },
        (Api::Gemini, _) => Profile { keywords: Some(GEMINI), ..ALL },
        (Api::Chat | Api::Responses | Api::Anthropic, Use::Tool) | (Api::Ollama, _) => ALL,
    }
}

/// The schema as this protocol takes it.
#[must_use]
pub fn fit(api: Api, purpose: Use, schema: &Value) -> Fitted {
    let mut fitting = Fitting { profile: profile(api, purpose), lost: Vec::new(), unfit: None };
    let schema = fitting.schema(schema, "", 0);
    if fitting.profile.closed && schema.get("type").and_then(Value::as_str) != Some("object") {
        fitting.cannot("", "is no object");
    }
    Fitted { schema, lost: fitting.lost, unfit: fitting.unfit }
}

struct Fitting {
    profile: Profile,
    lost: Vec<String>,
    unfit: Option<String>,
}

impl Fitting {
    fn cannot(&mut self, at: &str, why: &str) {
        let place = if at.is_empty() { "the schema" } else { at };
        self.unfit.get_or_insert_with(|| format!("{place} {why}"));
    }

    fn schema(&mut self, schema: &Value, at: &str, depth: usize) -> Value {
        let Value::Object(map) = schema else {
            // `true` and `false` are schemas that only the whole language has.
            if self.profile.keywords.is_some() && schema.is_boolean() {
                self.cannot(at, "is no table");
            }
            return schema.clone();
        };
        if depth > limits::VALUE_DEPTH {
            self.cannot(at, "is too deep");
            return Value::Object(Map::new());
        }
        let mut fitted = Map::new();
        for (keyword, value) in map {
            let place = join(at, keyword);
            if keyword == "$schema" {
                continue;
            }
            let known = self.profile.keywords.is_none_or(|known| known.contains(&keyword.as_str()));
            if !known && keyword != "oneOf" {
                if self.profile.closed && ADDS_MEMBERS.contains(&keyword.as_str()) {
                    self.cannot(&place, "says of members what the protocol cannot");
                }
                self.lost.push(place);
                continue;
            }
            if self.profile.closed && keyword == "allOf" {
                self.cannot(&place, "adds members to an object that is closed");
            }
            if !known && map.contains_key("anyOf") {
                self.cannot(&place, "stands beside `anyOf`");
            }
            let value = self.keyword(keyword, value, &place, depth);
            // What is one of several is any of them for who has no word for it.
            let keyword = if known { keyword.as_str() } else { "anyOf" };
            fitted.insert(keyword.to_owned(), value);
        }
        if self.profile.closed {
            self.close(&mut fitted, at);
        }
        Value::Object(fitted)
    }

    fn keyword(&mut self, keyword: &str, value: &Value, at: &str, depth: usize) -> Value {
        match (keyword, value) {
            ("properties" | "$defs" | "definitions" | "patternProperties" | "dependentSchemas", Value::Object(map)) => {
                let inner =
                    map.iter().map(|(name, schema)| (name.clone(), self.schema(schema, &join(at, name), depth + 1)));
                Value::Object(inner.collect())
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(all)) => {
                let inner = all.iter().enumerate();
                inner.map(|(index, schema)| self.schema(schema, &format!("{at}[{index}]"), depth + 1)).collect()
            }
            (
                "items" | "additionalProperties" | "not" | "if" | "then" | "else" | "contains" | "propertyNames",
                inner,
            ) if inner.is_object() => self.schema(inner, at, depth + 1),
            _ => value.clone(),
        }
    }

    /// An object of which nothing but what is named may be said, as guarantees need it.
    fn close(&mut self, schema: &mut Map, at: &str) {
        let is_object = match schema.get("type") {
            Some(Value::String(kind)) => kind == "object",
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
            _ => schema.contains_key("properties"),
        };
        if !is_object {
            return;
        }
        if schema.get("additionalProperties").is_some_and(|more| !matches!(more, Value::Bool(_))) {
            self.cannot(at, "has members of any name");
        }
        let names: Vec<String> = match schema.get("properties") {
            Some(Value::Object(properties)) => properties.keys().cloned().collect(),
            _ => {
                self.cannot(at, "is an object without named members");
                return;
            }
        };
        schema.insert("additionalProperties".to_owned(), json!(false));
        let required: Vec<Value> = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        if required.iter().any(|name| name.as_str().is_none_or(|name| !names.iter().any(|own| own == name))) {
            self.cannot(at, "requires members that are not named");
        }
        if !self.profile.all_required {
            return;
        }
        // Nulls that stand for members left out are found and taken away below members and items, and nowhere else.
        if required.len() < names.len() && !is_plain(at) {
            self.cannot(at, "has optional members behind a reference or a choice");
        }
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            let optional = properties.iter_mut().filter(|(name, _)| !required.iter().any(|own| own == name.as_str()));
            optional.for_each(|(_, schema)| make_nullable(schema));
        }
        schema.insert("required".to_owned(), json!(names));
    }
}

/// Whether only members and items lead to a place.
fn is_plain(at: &str) -> bool {
    let mut words = at.split('.');
    while let Some(word) = words.next() {
        match word {
            "" | "items" => {}
            "properties" if words.next().is_some() => {}
            _ => return false,
        }
    }
    true
}

/// Keywords that have a say in which members an object has: without them a closed object may be one that never fits.
const ADDS_MEMBERS: &[&str] = &[
    "allOf",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "minProperties",
    "patternProperties",
    "propertyNames",
    "then",
    "unevaluatedProperties",
];

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// The same or null.
fn make_nullable(schema: &mut Value) {
    if accepts_null(schema) {
        return;
    }
    let inner = schema.take();
    *schema = json!({ "anyOf": [inner, { "type": "null" }] });
}

/// Whether a schema says that null fits, as far as it says so itself.
fn accepts_null(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(kind)) => kind == "null",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "null"),
        _ => {
            let any = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
            let one = schema.get("enum").and_then(Value::as_array);
            match (any, one) {
                (Some(any), _) => any.iter().any(accepts_null),
                (None, Some(values)) => values.iter().any(Value::is_null),
                (None, None) => schema.get("$ref").is_none() && schema.get("const").is_none_or(Value::is_null),
            }
        }
    }
}

/// Takes away nulls that stand for members which were left out, where the schema does not know them.
pub(crate) fn without_nulls(value: &mut Value, schema: &Value) {
    match (value, schema) {
        (Value::Object(members), Value::Object(_)) => {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
                return;
            };
            let required = schema.get("required").and_then(Value::as_array);
            let is_required = |name: &str| required.is_some_and(|required| required.iter().any(|own| own == name));
            members.retain(|name, member| {
                let known = properties.get(name);
                !(member.is_null() && !is_required(name) && known.is_some_and(|schema| !accepts_null(schema)))
            });
            for (name, member) in members.iter_mut() {
                if let Some(schema) = properties.get(name) {
                    without_nulls(member, schema);
                }
            }
        }
        (Value::Array(items), Value::Object(_)) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| without_nulls(item, schema));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "minLength": 1, "pattern": "^a" },
                "tags": { "type": "array", "items": { "type": "string", "maxLength": 9 }, "uniqueItems": true },
                "size": { "type": ["integer", "null"], "minimum": 1 },
                "kind": { "oneOf": [{ "const": "a" }, { "type": "object", "required": ["x"], "properties": { "x": { "type": "number" } } }] },
            },
        })
    }

    #[test]
    fn each_protocol_says_what_it_leaves_out() {
        let none: &[&str] = &[];
        for (api, purpose, lost) in [
            (Api::Chat, Use::Tool, none),
            (Api::Anthropic, Use::Tool, none),
            (Api::Ollama, Use::Result, none),
            (
                Api::Chat,
                Use::Result,
                &["properties.name.minLength", "properties.tags.items.maxLength", "properties.tags.uniqueItems"],
            ),
            (
                Api::Responses,
                Use::Result,
                &["properties.name.minLength", "properties.tags.items.maxLength", "properties.tags.uniqueItems"],
            ),
            (
                Api::Anthropic,
                Use::Result,
                &[
                    "properties.name.minLength",
                    "properties.name.pattern",
                    "properties.tags.items.maxLength",
                    "properties.tags.uniqueItems",
                    "properties.size.minimum",
                ],
            ),
            (
                Api::Gemini,
                Use::Tool,
                &[
                    "properties.name.minLength",
                    "properties.name.pattern",
                    "properties.tags.items.maxLength",
                    "properties.tags.uniqueItems",
                    "properties.kind.oneOf[0].const",
                ],
            ),
        ] {
            let fitted = fit(api, purpose, &schema());
            assert_eq!(
                (fitted.lost.as_slice(), fitted.unfit),
                (&lost.iter().map(ToString::to_string).collect::<Vec<_>>()[..], None),
                "{api:?} {purpose:?}"
            );
            assert!(fitted.schema.get("$schema").is_none());
        }
    }

    #[test]
    fn a_guaranteed_object_is_closed_and_what_is_optional_may_be_null() {
        let fitted = fit(Api::Chat, Use::Result, &schema()).schema;
        let expected = json!({
            "type": "object",
            "required": ["name", "tags", "size", "kind"],
            "additionalProperties": false,
            "properties": {
                "name": { "type": "string", "pattern": "^a" },
                "tags": { "anyOf": [{ "type": "array", "items": { "type": "string" } }, { "type": "null" }] },
                "size": { "type": ["integer", "null"], "minimum": 1 },
                "kind": { "anyOf": [
                    { "anyOf": [{ "const": "a" }, {
                        "type": "object", "additionalProperties": false, "required": ["x"],
                        "properties": { "x": { "type": "number" } },
                    }] },
                    { "type": "null" },
                ] },
            },
        });
        assert_eq!(fitted, expected);
    }

    #[test]
    fn what_cannot_be_guaranteed_is_not_asked_for() {
        for schema in [
            json!({ "type": "array" }),
            json!({ "type": "object" }),
            json!({ "type": "object", "additionalProperties": { "type": "number" }, "properties": {} }),
            json!({ "type": "object", "properties": { "a": true } }),
            json!({ "type": "object", "properties": { "a": {} }, "allOf": [{ "required": ["b"] }] }),
            json!({ "type": "object", "properties": { "a": {} }, "required": ["b"] }),
            json!({ "type": "object", "properties": { "a": {} }, "patternProperties": { "^b": {} } }),
            json!({ "type": "object", "properties": { "a": { "anyOf": [], "oneOf": [] } } }),
            json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/x" } }, "$defs": { "x": { "type": "object", "properties": { "b": {} } } } }),
            json!({ "type": "object", "properties": { "a": { "anyOf": [{ "type": "object", "properties": { "b": {} } }] } } }),
        ] {
            assert!(fit(Api::Chat, Use::Result, &schema).unfit.is_some(), "{schema}");
            assert!(fit(Api::Ollama, Use::Result, &schema).unfit.is_none(), "{schema}");
        }
    }

    #[test]
    fn nulls_that_stand_for_nothing_go_and_those_that_mean_something_stay() {
        let mut value = json!({ "name": "a", "tags": null, "size": null, "kind": null, "more": null });
        without_nulls(&mut value, &schema());
        assert_eq!(value, json!({ "name": "a", "size": null, "more": null }));
        let of_lists = json!({ "type": "array", "items": schema() });
        let mut value = json!([{ "name": null, "tags": null }]);
        without_nulls(&mut value, &of_lists);
        assert_eq!(value, json!([{ "name": null }]));
    }
}
