//! Single values: how a cell's text is read, how values compare, how they look
//! in a cell, and how a column's name finds its value in a row.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// A row: columns in order.
pub(crate) type Row = Map<String, Value>;

/// The value of a column; `a.b` also finds `b` within the object `a`. Missing
/// values are null.
pub(crate) fn of<'row>(row: &'row Row, column: &str) -> &'row Value {
    static NULL: Value = Value::Null;
    if let Some(value) = row.get(column) {
        return value;
    }
    let mut parts = column.split('.');
    let first = parts.next().and_then(|part| row.get(part));
    parts.try_fold(first.unwrap_or(&NULL), |value, part| value.get(part)).unwrap_or(&NULL)
}

/// A cell as a value: a number only if writing it again gives the same text, so
/// that `007` and `1e5` stay text; `true` and `false`; nothing is null.
pub(crate) fn infer(cell: String) -> Value {
    match cell.as_str() {
        "" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => number(text).map_or(Value::String(cell), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Ok(integer) = text.parse::<i64>() {
        return (integer.to_string() == text).then(|| integer.into());
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    // More digits than these do not survive as a number.
    if !plain || text.len() > 16 {
        return None;
    }
    let float = text.parse::<f64>().ok()?;
    let digits = text.trim_start_matches('-');
    let usual =
        !digits.starts_with('.') && !digits.ends_with('.') && (digits.starts_with("0.") || !digits.starts_with('0'));
    usual.then(|| Number::from_f64(float)).flatten()
}

/// The value as a number, if it is one or a text that is one.
pub(crate) fn as_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// A number without a needless fraction.
pub(crate) fn from_number(number: f64) -> Value {
    // Beyond this not every integer is a floating point number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within the exact range")]
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// Null before booleans before numbers before text before the rest; within these
/// by value. Total, so that sorting is stable and never fails.
pub(crate) fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            a.total_cmp(&b)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => rank(left).cmp(&rank(right)).then_with(|| match rank(left) {
            4 => left.to_string().cmp(&right.to_string()),
            _ => Ordering::Equal,
        }),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) | Value::Object(_) => 4,
    }
}

/// The value in a cell; what is no single value appears as JSON.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_is_read_only_where_nothing_is_lost() {
        for (text, value) in [
            ("3", json!(3)),
            ("-2.50", json!(-2.5)),
            ("007", json!("007")),
            ("1e5", json!("1e5")),
            ("1.", json!("1.")),
            ("123456789012345678901234567890", json!("123456789012345678901234567890")),
            ("1-2", json!("1-2")),
            ("true", json!(true)),
            ("", Value::Null),
        ] {
            assert_eq!(infer(text.to_owned()), value, "{text}");
        }
    }

    #[test]
    fn a_dotted_name_reaches_into_objects() {
        let Value::Object(row) = json!({ "a": { "b": 1 }, "c.d": 2 }) else { unreachable!() };
        assert_eq!(of(&row, "a.b"), &json!(1));
        assert_eq!(of(&row, "c.d"), &json!(2));
        assert_eq!(of(&row, "a.x"), &Value::Null);
    }

    #[test]
    fn any_two_values_have_an_order() {
        let mut values = vec![json!("b"), json!(2), json!([1]), Value::Null, json!(1.5), json!("a")];
        values.sort_by(compare);
        assert_eq!(json!(values), json!([null, 1.5, 2, "a", "b", [1]]));
    }

    #[test]
    fn whole_numbers_have_no_fraction() {
        assert_eq!(from_number(3.0).to_string(), "3");
        assert_eq!(from_number(0.5).to_string(), "0.5");
        assert_eq!(from_number(f64::NAN), Value::Null);
    }
}
