//! How a result is returned: which columns, in which order, how many rows, and
//! in which form.

use cofferdam_sdk::{Error, Output, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::table::{Rows, Table, to_csv, to_markdown};
use crate::value::{self, Row};

// What a model reads of a table when it is longer.
const ROWS_IN_SUMMARY: usize = 20;

/// The form of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// Rows only.
    #[default]
    Rows,
    /// Rows, and CSV as `text`.
    Csv,
    /// Rows, and a Markdown table as `text`.
    Markdown,
}

/// Options of every tool.
#[derive(Default, Deserialize, JsonSchema)]
pub(crate) struct Shape {
    /// Return these columns, in this order. `a.b` is `b` within the object `a`.
    #[serde(default)]
    columns: Option<Vec<String>>,
    /// Sort by these columns; `-name` sorts downwards.
    #[serde(default)]
    sort: Vec<String>,
    /// Return at most so many rows.
    #[serde(default)]
    limit: Option<usize>,
    /// `rows`, or also as text: `csv`, `markdown`.
    #[serde(default)]
    format: Format,
}

impl Shape {
    /// Shapes a table for its return.
    ///
    /// # Errors
    ///
    /// A column to sort by or to return that the table does not have.
    pub(crate) fn apply(&self, mut rows: Rows) -> Result<Output<Table>> {
        self.sort(&mut rows)?;
        let count = rows.rows.len();
        if let Some(limit) = self.limit {
            rows.rows.truncate(limit);
        }
        if let Some(columns) = &self.columns {
            rows = select(&rows, columns)?;
        }
        let text = match self.format {
            Format::Rows => None,
            Format::Csv => Some(to_csv(&rows)),
            Format::Markdown => Some(to_markdown(&rows)),
        };
        let summary = summary(&rows, count, text.as_deref());
        let Rows { columns, rows } = rows;
        Ok(Output::new(Table { columns, rows, count, text }).with_summary(summary))
    }

    fn sort(&self, rows: &mut Rows) -> Result<()> {
        let keys: Vec<(&str, bool)> = self
            .sort
            .iter()
            .map(|key| key.strip_prefix('-').map_or((key.as_str(), false), |name| (name, true)))
            .collect();
        for (name, _) in &keys {
            require_column(rows, name)?;
        }
        rows.rows.sort_by(|a, b| {
            keys.iter()
                .map(|(name, down)| {
                    let order = value::compare(value::of(a, name), value::of(b, name));
                    if *down { order.reverse() } else { order }
                })
                .find(|order| order.is_ne())
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        Ok(())
    }
}

/// Fails for a name that no row has; of an empty table any name will do, since
/// the result is empty whatever it is.
///
/// # Errors
///
/// A name that occurs nowhere, with the names that do.
pub(crate) fn require_column(rows: &Rows, name: &str) -> Result<()> {
    let first = name.split('.').next().unwrap_or(name);
    let known = |wanted: &str| rows.columns.iter().any(|column| column == wanted);
    if rows.rows.is_empty() || known(name) || known(first) {
        return Ok(());
    }
    Err(Error::invalid_input(format!("no column `{name}`; there is {}", rows.columns.join(", "))))
}

fn select(rows: &Rows, columns: &[String]) -> Result<Rows> {
    for name in columns {
        require_column(rows, name)?;
    }
    let pick = |row: &Row| columns.iter().map(|name| (name.clone(), value::of(row, name).clone())).collect();
    Ok(Rows { columns: columns.to_vec(), rows: rows.rows.iter().map(pick).collect() })
}

fn summary(rows: &Rows, count: usize, text: Option<&str>) -> String {
    if let Some(text) = text {
        return text.to_owned();
    }
    let shown = Rows { columns: rows.columns.clone(), rows: rows.rows.iter().take(ROWS_IN_SUMMARY).cloned().collect() };
    let table = to_markdown(&shown);
    if count > shown.rows.len() { format!("{table}\n{} of {count} rows", shown.rows.len()) } else { table }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shaped(shape: &Value) -> Result<Table> {
        let rows = json!([{"n": 2, "s": "b"}, {"n": 10, "s": "a"}, {"n": 2, "s": "a"}]);
        let rows = Rows::from(serde_json::from_value::<Vec<Row>>(rows).unwrap());
        let shape: Shape = serde_json::from_value(shape.clone()).unwrap();
        shape.apply(rows).map(|output| output.value)
    }

    #[test]
    fn rows_are_sorted_cut_and_selected() {
        let table = shaped(&json!({ "sort": ["-n", "s"], "limit": 2, "columns": ["s"] })).unwrap();
        assert_eq!(json!(table.rows), json!([{"s": "a"}, {"s": "a"}]));
        assert_eq!(table.count, 3);
    }

    #[test]
    fn a_column_that_is_not_there_is_named_with_those_that_are() {
        for shape in [json!({ "sort": ["-x"] }), json!({ "columns": ["x"] })] {
            assert_eq!(shaped(&shape).unwrap_err().message(), "no column `x`; there is n, s");
        }
    }

    #[test]
    fn text_comes_only_when_asked_for() {
        assert_eq!(shaped(&json!({})).unwrap().text, None);
        let table = shaped(&json!({ "format": "csv", "limit": 1 })).unwrap();
        assert_eq!(table.text.as_deref(), Some("n,s\n2,b\n"));
    }
}
