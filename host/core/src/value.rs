//! JSON values: depth, size, and the one compact text form.
//!
//! It must not know what the values mean.

use crate::limits;
use serde_json::Value;

/// A JSON object.
pub type Map = serde_json::Map<String, Value>;

/// A value that a bound refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nested too deep.
    #[error("the value is nested deeper than {} levels", limits::VALUE_DEPTH)]
    Depth,
    /// Not JSON.
    #[error("not valid JSON: {0}")]
    Syntax(String),
}

/// Parses JSON text and checks its depth.
///
/// # Errors
/// When it is not JSON, or nested too deep.
pub fn parse(text: &str) -> Result<Value, Error> {
    // The parser has the same bound, and reaches it first when the text is not closed.
    let too_deep = |error: &serde_json::Error| error.to_string().starts_with("recursion limit exceeded");
    let value: Value = serde_json::from_str(text)
        .map_err(|error| if too_deep(&error) { Error::Depth } else { Error::Syntax(error.to_string()) })?;
    check_depth(&value)?;
    Ok(value)
}

/// Checks that walks over the value cannot overflow a stack.
///
/// # Errors
/// When it is nested deeper than [`limits::VALUE_DEPTH`].
pub fn check_depth(value: &Value) -> Result<(), Error> {
    fn within(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left > 0 && items.iter().all(|item| within(item, left - 1)),
            Value::Object(map) => left > 0 && map.values().all(|item| within(item, left - 1)),
            _ => true,
        }
    }
    within(value, limits::VALUE_DEPTH - 1).then_some(()).ok_or(Error::Depth)
}

/// About how many bytes a value takes as text, without writing it.
#[must_use]
pub fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 20,
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().fold(2, |sum: usize, item| sum.saturating_add(size(item) + 1)),
        Value::Object(map) => {
            map.iter().fold(2, |sum: usize, (key, item)| sum.saturating_add(key.len() + 4).saturating_add(size(item)))
        }
    }
}

/// A string as it is, any other value as compact JSON: how values stand in text.
#[must_use]
pub fn to_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a value is, for error messages: `a string`, `an object`.
#[must_use]
pub fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_value_is_near_that_of_its_text() {
        let value = serde_json::json!({ "a": ["x".repeat(1_000), 1, null], "b": { "c": true } });
        let (guess, text) = (size(&value), value.to_string().len());
        assert!(guess >= text && guess < text + 100, "{guess} for {text}");
    }

    #[test]
    fn a_value_too_deep_is_refused() {
        let text = format!("{}1{}", "[".repeat(limits::VALUE_DEPTH), "]".repeat(limits::VALUE_DEPTH));
        assert_eq!(parse(&text), Err(Error::Depth));
        assert!(parse("[[1]]").is_ok());
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
