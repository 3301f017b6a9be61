//! Groups, and what is computed over a group or over all rows.

use std::collections::HashMap;

use cofferdam_sdk::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::shape::require_column;
use crate::table::Rows;
use crate::value::{self, Row};

/// One computed column.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Aggregate {
    /// What to compute.
    op: Operation,
    /// Over which column; `count` needs none.
    #[serde(default)]
    column: Option<String>,
    /// The name of the result. Default: `count`, or operation and column, e.g.
    /// `sum_size`.
    #[serde(default, rename = "as")]
    name: Option<String>,
}

/// What can be computed. Missing values are left out of all of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Operation {
    /// How many rows, or how many values of the column.
    Count,
    /// How many different values.
    Distinct,
    Sum,
    Mean,
    Median,
    Min,
    Max,
    First,
    Last,
    /// All different values, in the order of their occurrence.
    List,
}

/// One row for each combination of values of the columns `by`, in the order of
/// their occurrence.
///
/// # Errors
///
/// No column, a column that is not there, a value that is no number where one is
/// needed.
pub(crate) fn group(rows: &Rows, by: &[String], aggregates: &[Aggregate]) -> Result<Rows> {
    if by.is_empty() {
        return Err(Error::invalid_input("`by` names no column"));
    }
    for name in by {
        require_column(rows, name)?;
    }
    let counting = [Aggregate { op: Operation::Count, column: None, name: None }];
    let aggregates = if aggregates.is_empty() { &counting } else { aggregates };
    let columns = columns(rows, by, aggregates)?;

    let mut groups: Vec<(Row, Vec<&Row>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for row in &rows.rows {
        let key: Row = by.iter().map(|name| (name.clone(), value::of(row, name).clone())).collect();
        let place = *places.entry(Value::Object(key.clone()).to_string()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, members)) => members.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    let rows = groups
        .into_iter()
        .map(|(mut row, members)| {
            for aggregate in aggregates {
                row.insert(aggregate.name(), aggregate.compute(&members)?);
            }
            Ok(row)
        })
        .collect::<Result<Vec<Row>>>()?;
    Ok(Rows { columns, rows })
}

/// One row, computed over all rows.
///
/// # Errors
///
/// As for [`group`].
pub(crate) fn all(rows: &Rows, aggregates: &[Aggregate]) -> Result<Rows> {
    if aggregates.is_empty() {
        return Err(Error::invalid_input("`aggregates` is empty"));
    }
    let columns = columns(rows, &[], aggregates)?;
    let members: Vec<&Row> = rows.rows.iter().collect();
    let row = aggregates
        .iter()
        .map(|aggregate| Ok((aggregate.name(), aggregate.compute(&members)?)))
        .collect::<Result<Row>>()?;
    Ok(Rows { columns, rows: vec![row] })
}

/// The columns of the result, each of which has to have a name of its own.
fn columns(rows: &Rows, by: &[String], aggregates: &[Aggregate]) -> Result<Vec<String>> {
    let mut columns = by.to_vec();
    for aggregate in aggregates {
        match &aggregate.column {
            Some(column) => require_column(rows, column)?,
            None if aggregate.op == Operation::Count => {}
            None => {
                return Err(Error::invalid_input(format!("`{}` needs a `column`", aggregate.op.name())));
            }
        }
        let name = aggregate.name();
        if columns.contains(&name) {
            return Err(Error::invalid_input(format!(
                "two columns of the result are called `{name}`; name one with `as`"
            )));
        }
        columns.push(name);
    }
    Ok(columns)
}

impl Aggregate {
    fn name(&self) -> String {
        match (&self.name, &self.column) {
            (Some(name), _) => name.clone(),
            (None, Some(column)) => format!("{}_{column}", self.op.name()),
            (None, None) => self.op.name().to_owned(),
        }
    }

    fn compute(&self, members: &[&Row]) -> Result<Value> {
        let Some(column) = &self.column else {
            return Ok(Value::from(members.len()));
        };
        let values: Vec<&Value> =
            members.iter().map(|row| value::of(row, column)).filter(|value| !value.is_null()).collect();
        Ok(match self.op {
            Operation::Count => Value::from(values.len()),
            Operation::Distinct => Value::from(distinct(&values).len()),
            Operation::List => Value::Array(distinct(&values)),
            Operation::First => values.first().map_or(Value::Null, |value| (*value).clone()),
            Operation::Last => values.last().map_or(Value::Null, |value| (*value).clone()),
            Operation::Min => extreme(values.iter().copied().min_by(|a, b| value::compare(a, b))),
            Operation::Max => extreme(values.iter().copied().max_by(|a, b| value::compare(a, b))),
            Operation::Sum => value::from_number(self.numbers(&values, column)?.iter().sum()),
            Operation::Mean => {
                let numbers = self.numbers(&values, column)?;
                value::from_number(numbers.iter().sum::<f64>() / numbers.len() as f64)
            }
            Operation::Median => median(self.numbers(&values, column)?),
        })
    }

    fn numbers(&self, values: &[&Value], column: &str) -> Result<Vec<f64>> {
        let number = |value: &&Value| {
            value::as_number(value).ok_or_else(|| {
                let shown: String = value::cell(value).chars().take(40).collect();
                Error::invalid_input(format!("`{}` of `{column}`: `{shown}` is no number", self.op.name()))
            })
        };
        values.iter().map(number).collect()
    }
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Distinct => "distinct",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Min => "min",
            Self::Max => "max",
            Self::First => "first",
            Self::Last => "last",
            Self::List => "list",
        }
    }
}

fn extreme(value: Option<&Value>) -> Value {
    value.cloned().unwrap_or(Value::Null)
}

fn distinct(values: &[&Value]) -> Vec<Value> {
    let mut seen = std::collections::HashSet::new();
    values.iter().filter(|value| seen.insert(value.to_string())).map(|value| (*value).clone()).collect()
}

fn median(mut numbers: Vec<f64>) -> Value {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    let upper = numbers.get(middle).copied();
    let lower = if numbers.len().is_multiple_of(2) {
        middle.checked_sub(1).and_then(|at| numbers.get(at).copied())
    } else {
        upper
    };
    match (lower, upper) {
        (Some(lower), Some(upper)) => value::from_number(f64::midpoint(lower, upper)),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows() -> Rows {
        let rows = json!([
            {"kind": "a", "n": 1, "at": {"file": "x"}},
            {"kind": "b", "n": 5, "at": {"file": "x"}},
            {"kind": "a", "n": 4, "at": {"file": "y"}},
            {"kind": "a", "n": null, "at": {"file": "y"}},
        ]);
        Rows::from(serde_json::from_value::<Vec<Row>>(rows).unwrap())
    }

    fn aggregates(list: &Value) -> Vec<Aggregate> {
        serde_json::from_value(list.clone()).unwrap()
    }

    #[test]
    fn groups_are_counted_by_default() {
        let grouped = group(&rows(), &["kind".to_owned()], &[]).unwrap();
        let expected = json!([{"kind": "a", "count": 3}, {"kind": "b", "count": 1}]);
        assert_eq!(json!(grouped.rows), expected);
    }

    #[test]
    fn a_group_may_be_by_a_value_within_an_object() {
        let grouped = group(&rows(), &["at.file".to_owned(), "kind".to_owned()], &[]).unwrap();
        assert_eq!(grouped.rows.len(), 3);
        assert_eq!(grouped.columns, ["at.file", "kind", "count"]);
    }

    #[test]
    fn every_operation_leaves_missing_values_out() {
        let list = json!([
            {"op": "count", "column": "n"}, {"op": "sum", "column": "n"},
            {"op": "mean", "column": "n", "as": "average"}, {"op": "median", "column": "n"},
            {"op": "min", "column": "n"}, {"op": "max", "column": "n"},
            {"op": "distinct", "column": "kind"}, {"op": "list", "column": "kind"},
            {"op": "first", "column": "kind"}, {"op": "last", "column": "n"},
        ]);
        let computed = all(&rows(), &aggregates(&list)).unwrap();
        let expected = json!([{
            "count_n": 3, "sum_n": 10, "average": 10.0 / 3.0, "median_n": 4, "min_n": 1,
            "max_n": 5, "distinct_kind": 2, "list_kind": ["a", "b"], "first_kind": "a", "last_n": 4,
        }]);
        assert_eq!(json!(computed.rows), expected);
    }

    #[test]
    fn nothing_has_no_mean_but_a_sum() {
        let list = json!([{"op": "mean", "column": "n"}, {"op": "sum", "column": "n"}]);
        let computed = all(&Rows::default(), &aggregates(&list)).unwrap();
        assert_eq!(json!(computed.rows), json!([{"mean_n": null, "sum_n": 0}]));
    }

    #[test]
    fn what_cannot_be_computed_is_an_error() {
        for (list, message) in [
            (json!([{"op": "sum", "column": "kind"}]), "`sum` of `kind`: `a` is no number"),
            (json!([{"op": "sum"}]), "`sum` needs a `column`"),
            (json!([{"op": "sum", "column": "x"}]), "no column `x`; there is kind, n, at"),
            (
                json!([{"op": "count"}, {"op": "count"}]),
                "two columns of the result are called `count`; name one with `as`",
            ),
        ] {
            assert_eq!(all(&rows(), &aggregates(&list)).unwrap_err().message(), message);
        }
    }
}
