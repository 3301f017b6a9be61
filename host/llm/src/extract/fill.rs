//! Arguments of a forced call, copied from JSON that was found.
//!
//! It must not make values up, convert them, or read prose.

use serde_json::{Map, Value};

/// Fills the properties of `schema` from `found`: one object that has all required properties with the right types, or
/// else each property from the newest object that has it.
///
/// # Errors
/// A sentence that names what is missing.
pub(super) fn arguments(schema: &Value, found: &[Value]) -> Result<Value, String> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Err("its schema names no properties to look for".to_owned());
    };
    let mut objects = Vec::new();
    found.iter().for_each(|value| collect_objects(value, &mut objects));
    objects.reverse();
    let required = required(schema);
    let whole = objects.iter().map(|object| select(properties, &[object]));
    let fits = |map: &Map<String, Value>| required.iter().all(|name| map.contains_key(*name)) && !map.is_empty();
    if let Some(map) = whole.into_iter().find(fits) {
        return Ok(Value::Object(map));
    }
    let pieced = select(properties, &objects);
    if let Some(missing) = required.iter().find(|name| !pieced.contains_key(**name)) {
        return Err(format!("nothing in the conversation gives `{missing}`"));
    }
    if pieced.is_empty() {
        return Err("nothing in the conversation gives any of its properties".to_owned());
    }
    Ok(Value::Object(pieced))
}

fn required(schema: &Value) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.map(|names| names.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

fn collect_objects<'a>(value: &'a Value, out: &mut Vec<&'a Map<String, Value>>) {
    match value {
        Value::Object(map) => {
            map.values().for_each(|inner| collect_objects(inner, out));
            out.push(map);
        }
        Value::Array(items) => items.iter().for_each(|inner| collect_objects(inner, out)),
        _ => {}
    }
}

fn select(properties: &Map<String, Value>, objects: &[&Map<String, Value>]) -> Map<String, Value> {
    let pick = |(name, schema): (&String, &Value)| {
        let value = objects.iter().find_map(|object| object.get(name).filter(|value| has_type(value, schema)));
        value.map(|value| (name.clone(), value.clone()))
    };
    properties.iter().filter_map(pick).collect()
}

fn has_type(value: &Value, schema: &Value) -> bool {
    let is = |name: &str| match name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    };
    let type_fits = match schema.get("type") {
        Some(Value::String(name)) => is(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    };
    let allowed = schema.get("enum").and_then(Value::as_array);
    type_fits && allowed.is_none_or(|allowed| allowed.contains(value))
}

#[cfg(test)]
mod tests {
    use super::arguments;
    use serde_json::json;

    #[test]
    fn one_object_with_everything_beats_pieces() {
        let schema = json!({"required": ["a", "b"], "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}});
        let found = [json!({"x": {"a": 1, "b": "one"}}), json!([{"a": 2}])];
        assert_eq!(arguments(&schema, &found), Ok(json!({"a": 1, "b": "one"})));
        assert_eq!(arguments(&schema, &[json!({"b": "one"}), json!({"a": 2})]), Ok(json!({"a": 2, "b": "one"})));
    }

    #[test]
    fn values_of_another_type_do_not_count() {
        let schema = json!({"required": ["a"], "properties": {"a": {"type": "string", "enum": ["x"]}}});
        assert!(arguments(&schema, &[json!({"a": 1}), json!({"a": "y"})]).unwrap_err().contains("`a`"));
        assert_eq!(arguments(&schema, &[json!({"a": "x"})]), Ok(json!({"a": "x"})));
    }
}
