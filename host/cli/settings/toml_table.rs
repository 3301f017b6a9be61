//! TOML values as JSON, and the place of a part of them.
//!
//! It must not know what the values mean.

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::DeValue;

/// The value as JSON; none for dates and for numbers that JSON lacks.
pub(super) fn to_json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(number) => Value::Number(i64::from_str_radix(number.as_str(), number.radix()).ok()?.into()),
        DeValue::Float(number) => Value::Number(Number::from_f64(number.as_str().parse().ok()?)?),
        DeValue::Datetime(_) => return None,
        DeValue::Array(items) => Value::Array(items.iter().map(|item| to_json(item.get_ref())).collect::<Option<_>>()?),
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| Some((key.get_ref().to_string(), to_json(value.get_ref())?)));
            Value::Object(entries.collect::<Option<Map<_, _>>>()?)
        }
    })
}

/// Where the deepest part of `path` (`http[0].methods[1]`) that exists begins, in bytes.
pub(super) fn offset_of(value: &Spanned<DeValue<'_>>, path: &str) -> usize {
    let mut at = value;
    for part in path.split(['.', '[', ']']).filter(|part| !part.is_empty()) {
        let next = match (at.get_ref(), part.parse::<usize>()) {
            (DeValue::Array(items), Ok(index)) => items.get(index),
            (DeValue::Table(table), _) => table.iter().find(|(key, _)| key.get_ref() == part).map(|(_, value)| value),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    at.span().start
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use toml::de::DeTable;

    #[test]
    fn toml_becomes_json_with_places() {
        let text = "a = { b = [1, { c = \"x\" }], d = 1.5, e = true }";
        let table = DeTable::parse(text).unwrap();
        let value = table.get_ref().get("a").unwrap();
        assert_eq!(to_json(value.get_ref()), Some(json!({ "b": [1, { "c": "x" }], "d": 1.5, "e": true })));
        assert_eq!(text.get(offset_of(value, "b[1].c")..).unwrap().get(..3), Some("\"x\""));
        assert_eq!(offset_of(value, "nowhere"), 4);
    }
}
