//! Conditions on a row, and whether they hold.

use cofferdam_sdk::{Error, Result};
use regex_lite::Regex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::value::{self, Row};

/// One condition on one column.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition {
    /// The column; `a.b` is `b` within the object `a`.
    column: String,
    /// How to compare.
    op: Operator,
    /// With what; `in` takes a list, `empty` and `not_empty` nothing.
    #[serde(default)]
    value: Value,
}

/// How a cell compares with the value of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Operator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Text that contains the value.
    Contains,
    StartsWith,
    EndsWith,
    /// Text in which the regular expression occurs.
    Matches,
    /// One of a list.
    In,
    Empty,
    NotEmpty,
}

/// Whether all or any of several conditions have to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Join {
    #[default]
    All,
    Any,
}

impl Join {
    /// Whether the conditions hold for a row. None at all always hold.
    pub(crate) fn holds(self, conditions: &[Compiled], row: &Row) -> bool {
        match self {
            Self::All => conditions.iter().all(|condition| condition.holds(row)),
            Self::Any => conditions.is_empty() || conditions.iter().any(|condition| condition.holds(row)),
        }
    }
}

/// A condition that was checked.
pub(crate) struct Compiled {
    condition: Condition,
    pattern: Option<Regex>,
}

/// Checks conditions once, before the rows.
///
/// # Errors
///
/// A pattern that is none, a value of the wrong type, with its column.
pub(crate) fn compile(conditions: &[Condition]) -> Result<Vec<Compiled>> {
    conditions.iter().cloned().map(Compiled::new).collect()
}

impl Compiled {
    fn new(condition: Condition) -> Result<Self> {
        let Condition { column, op, value } = &condition;
        let fault =
            |wanted: &str| Err(Error::invalid_input(format!("condition on `{column}`: the value is no {wanted}")));
        let mut pattern = None;
        match op {
            Operator::Matches => match value.as_str() {
                Some(text) => {
                    let compiled = Regex::new(text)
                        .map_err(|error| Error::invalid_input(format!("condition on `{column}`: {error}")))?;
                    pattern = Some(compiled);
                }
                None => return fault("text"),
            },
            Operator::In if !value.is_array() => return fault("list"),
            _ => {}
        }
        Ok(Self { condition, pattern })
    }

    fn holds(&self, row: &Row) -> bool {
        let Condition { column, op, value: wanted } = &self.condition;
        let found = value::of(row, column);
        let text = || (value::cell(found), value::cell(wanted));
        let order = || ordered(found, wanted);
        match op {
            Operator::Eq => same(found, wanted),
            Operator::Ne => !same(found, wanted),
            Operator::Lt => order().is_some_and(std::cmp::Ordering::is_lt),
            Operator::Le => order().is_some_and(std::cmp::Ordering::is_le),
            Operator::Gt => order().is_some_and(std::cmp::Ordering::is_gt),
            Operator::Ge => order().is_some_and(std::cmp::Ordering::is_ge),
            Operator::Contains => match found {
                Value::Array(items) => items.iter().any(|item| same(item, wanted)),
                _ => text().0.contains(&text().1),
            },
            Operator::StartsWith => text().0.starts_with(&text().1),
            Operator::EndsWith => text().0.ends_with(&text().1),
            Operator::Matches => self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(&value::cell(found))),
            Operator::In => wanted.as_array().is_some_and(|list| list.iter().any(|item| same(found, item))),
            Operator::Empty => is_empty(found),
            Operator::NotEmpty => !is_empty(found),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// `3` and `"3"` are the same: which of them a cell holds is an accident of CSV.
fn same(left: &Value, right: &Value) -> bool {
    left == right
        || match (value::as_number(left), value::as_number(right)) {
            (Some(a), Some(b)) => a == b,
            _ => value::cell(left) == value::cell(right) && !left.is_null() && !right.is_null(),
        }
}

/// By number where both are numbers, else by text; a missing cell has no order.
fn ordered(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    if left.is_null() || right.is_null() {
        return None;
    }
    match (value::as_number(left), value::as_number(right)) {
        (Some(a), Some(b)) => a.partial_cmp(&b),
        _ => Some(value::cell(left).cmp(&value::cell(right))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(cell: &Value, op: &str, wanted: &Value) -> bool {
        let condition = json!({ "column": "c", "op": op, "value": wanted });
        let conditions = vec![serde_json::from_value(condition).unwrap()];
        let row = Row::from_iter([("c".to_owned(), cell.clone())]);
        Join::All.holds(&compile(&conditions).unwrap(), &row)
    }

    #[test]
    fn each_operator_holds_where_it_says() {
        for (cell, op, wanted, expected) in [
            (json!(3), "eq", json!("3"), true),
            (json!("a"), "ne", json!("b"), true),
            (json!(10), "gt", json!(9), true),
            (json!("10"), "gt", json!(9), true),
            (json!(null), "lt", json!(9), false),
            (json!("b"), "ge", json!("a"), true),
            (json!("abc"), "contains", json!("b"), true),
            (json!(["x", "y"]), "contains", json!("y"), true),
            (json!("abc"), "starts_with", json!("b"), false),
            (json!("abc"), "ends_with", json!("c"), true),
            (json!("abc"), "matches", json!("^a.c$"), true),
            (json!(2), "in", json!([1, 2]), true),
            (json!(" "), "empty", json!(null), true),
            (json!(0), "not_empty", json!(null), true),
        ] {
            assert_eq!(holds(&cell, op, &wanted), expected, "{cell} {op} {wanted}");
        }
    }

    #[test]
    fn a_condition_that_cannot_hold_is_an_error() {
        for (op, wanted) in [("matches", json!("(")), ("matches", json!(1)), ("in", json!("a"))] {
            let condition = json!({ "column": "c", "op": op, "value": wanted });
            let conditions = vec![serde_json::from_value(condition).unwrap()];
            let error = compile(&conditions).err().unwrap();
            assert!(error.message().starts_with("condition on `c`"), "{error}");
        }
    }
}
