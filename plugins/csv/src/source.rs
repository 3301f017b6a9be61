//! Where a table comes from: a list of objects, CSV text, or a file.

use cofferdam_sdk::{Context, Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::parse;
use crate::table::Rows;
use crate::value::{Row, infer};

// The whole table is held in memory, as text and as rows.
const MOST_FILE_BYTES: u64 = 8 * 1024 * 1024;
const MOST_ROWS: usize = 200_000;

/// Exactly one of `rows`, `csv` and `path`.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Source {
    /// A list of objects, such as an earlier step's result. Lists within it are
    /// joined, as a loop over steps returns them; null is left out.
    #[serde(default)]
    rows: Option<Value>,
    /// With `rows`: take the rows out of the lists of this name within its
    /// objects, e.g. `findings`.
    #[serde(default)]
    unnest: Option<String>,
    /// CSV text.
    #[serde(default)]
    csv: Option<String>,
    /// A CSV file, relative to the step's directory.
    #[serde(default)]
    path: Option<String>,
    /// Between cells, one character. Default: found out from the first line.
    #[serde(default)]
    delimiter: Option<char>,
    /// Whether the first line of CSV names the columns. Default: yes; else they
    /// are `c1`, `c2`, ...
    #[serde(default)]
    header: Option<bool>,
    /// Whether numbers and booleans are recognised in CSV. Default: yes.
    #[serde(default)]
    infer: Option<bool>,
}

impl Source {
    /// Reads the table.
    ///
    /// # Errors
    ///
    /// No source or several, a file that cannot be read, CSV with a fault (with
    /// its line), a list with something else than objects in it, too many rows.
    pub(crate) fn load(&self, ctx: &Context) -> Result<Rows> {
        let rows = match (&self.rows, &self.csv, &self.path) {
            (Some(rows), None, None) => read_json(rows, self.unnest.as_deref())?,
            (None, Some(text), None) => self.read_csv(text)?,
            (None, None, Some(path)) => self.read_csv(&ctx.step().read_text(path, MOST_FILE_BYTES)?)?,
            _ => {
                return Err(Error::invalid_input("give exactly one of `rows`, `csv` and `path`"));
            }
        };
        if rows.rows.len() > MOST_ROWS {
            return Err(Error::too_large(format!(
                "the table has {} rows, at most {MOST_ROWS} can be handled",
                rows.rows.len()
            )));
        }
        Ok(rows)
    }

    fn read_csv(&self, text: &str) -> Result<Rows> {
        let delimiter = self.delimiter.unwrap_or_else(|| parse::detect_delimiter(text));
        let mut records = parse::records(text, delimiter)?.into_iter();
        let columns: Vec<String> = if self.header.unwrap_or(true) {
            records.next().map(|record| record.cells).unwrap_or_default()
        } else {
            let widest = records.as_slice().iter().map(|record| record.cells.len()).max();
            (1..=widest.unwrap_or_default()).map(|number| format!("c{number}")).collect()
        };
        refuse_duplicates(&columns)?;
        let read = if self.infer.unwrap_or(true) { infer } else { Value::String };
        let mut rows = Vec::new();
        for record in records {
            if record.cells.len() > columns.len() {
                return Err(Error::invalid_input(format!(
                    "CSV line {}: {} cells, but the header names {} columns",
                    record.line,
                    record.cells.len(),
                    columns.len()
                )));
            }
            let cells = record.cells.into_iter().map(read).chain(std::iter::repeat(Value::Null));
            rows.push(columns.iter().cloned().zip(cells).collect());
        }
        Ok(Rows { columns, rows })
    }
}

fn refuse_duplicates(columns: &[String]) -> Result<()> {
    for (at, column) in columns.iter().enumerate() {
        if columns.iter().take(at).any(|other| other == column) {
            return Err(Error::invalid_input(format!("CSV: two columns are called `{column}`")));
        }
    }
    Ok(())
}

fn read_json(value: &Value, unnest: Option<&str>) -> Result<Rows> {
    let mut rows: Vec<Row> = Vec::new();
    collect(value, "rows", &mut |at, row| {
        let Some(key) = unnest else {
            rows.push(row.clone());
            return Ok(());
        };
        match row.get(key) {
            Some(inner @ (Value::Array(_) | Value::Null)) => collect(inner, &format!("{at}.{key}"), &mut |_, row| {
                rows.push(row.clone());
                Ok(())
            }),
            Some(_) => Err(Error::invalid_input(format!("`{at}.{key}` is no list"))),
            None => Err(Error::invalid_input(format!(
                "`{at}` has no list `{key}`; it has {}",
                row.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
            ))),
        }
    })?;
    Ok(Rows::from(rows))
}

/// Calls `each` with every object of a list, also of lists within it.
fn collect(value: &Value, at: &str, each: &mut dyn FnMut(&str, &Row) -> Result<()>) -> Result<()> {
    match value {
        Value::Null => Ok(()),
        Value::Object(row) => each(at, row),
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(index, item)| collect(item, &format!("{at}[{index}]"), each))
        }
        _ => Err(Error::invalid_input(format!("`{at}` is no object"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn load(args: &Value) -> Result<Rows> {
        serde_json::from_value::<Source>(args.clone()).unwrap().load(&Context::fake())
    }

    #[test]
    fn cells_become_values_and_missing_ones_null() {
        let rows = load(&json!({ "csv": "a,b\n1,x\n2\n" })).unwrap();
        assert_eq!(json!(rows.rows), json!([{"a": 1, "b": "x"}, {"a": 2, "b": null}]));
        let rows = load(&json!({ "csv": "a\n1\n", "infer": false })).unwrap();
        assert_eq!(json!(rows.rows), json!([{"a": "1"}]));
        let rows = load(&json!({ "csv": "1,2\n", "header": false })).unwrap();
        assert_eq!(json!(rows.rows), json!([{"c1": 1, "c2": 2}]));
    }

    #[test]
    fn the_results_of_a_loop_are_joined() {
        let rows = json!([{"findings": [{"k": 1}]}, null, {"findings": []}, {"findings": [{"k": 2}]}]);
        let rows = load(&json!({ "rows": rows, "unnest": "findings" })).unwrap();
        assert_eq!(json!(rows.rows), json!([{"k": 1}, {"k": 2}]));
        let rows = load(&json!({ "rows": [[{"k": 1}], [{"k": 2}]] })).unwrap();
        assert_eq!(rows.rows.len(), 2);
    }

    #[test]
    fn faults_are_named_with_their_place() {
        for (args, message) in [
            (json!({ "csv": "a\n1,2\n" }), "CSV line 2: 2 cells, but the header names 1 columns"),
            (json!({ "csv": "a,a\n" }), "CSV: two columns are called `a`"),
            (json!({ "rows": [{}, 3] }), "`rows[1]` is no object"),
            (json!({ "rows": [{"a": 1}], "unnest": "b" }), "`rows[0]` has no list `b`; it has a"),
            (json!({}), "give exactly one of `rows`, `csv` and `path`"),
        ] {
            assert_eq!(load(&args).unwrap_err().message(), message);
        }
    }
}
