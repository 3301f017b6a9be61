//! Tables as they are handled inside, and as they are returned.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::value::{self, Row};

/// A table being worked on.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl From<Vec<Row>> for Rows {
    /// The columns are all names that occur, in the order of their occurrence.
    fn from(rows: Vec<Row>) -> Self {
        let mut seen = std::collections::BTreeSet::new();
        let mut columns = Vec::new();
        for name in rows.iter().flat_map(|row| row.keys()) {
            if seen.insert(name.as_str()) {
                columns.push(name.clone());
            }
        }
        Self { columns, rows }
    }
}

/// A table as returned.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Table {
    /// The names of the columns, in order.
    pub(crate) columns: Vec<String>,
    /// The rows, each an object.
    pub(crate) rows: Vec<Row>,
    /// How many rows there are, before `limit`.
    pub(crate) count: usize,
    /// The table as text, if `format` asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
}

/// RFC 4180 with a header, lines ending in `\n`.
pub(crate) fn to_csv(rows: &Rows) -> String {
    let mut text = String::new();
    push_record(&mut text, rows.columns.iter().cloned());
    for row in &rows.rows {
        push_record(&mut text, rows.columns.iter().map(|name| value::cell(value::of(row, name))));
    }
    text
}

fn push_record(text: &mut String, cells: impl Iterator<Item = String>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            text.push(',');
        }
        // An empty first cell alone would read as an empty line.
        if cell.contains(['"', ',', '\n', '\r']) || (cell.is_empty() && at == 0) {
            write!(text, "\"{}\"", cell.replace('"', "\"\"")).expect("a string takes any text");
        } else {
            text.push_str(&cell);
        }
    }
    text.push('\n');
}

/// A table of GitHub Flavored Markdown; columns of numbers are right-aligned.
pub(crate) fn to_markdown(rows: &Rows) -> String {
    let mut text = String::new();
    push_line(&mut text, rows.columns.iter().map(|name| escaped(name)));
    push_line(
        &mut text,
        rows.columns.iter().map(|name| {
            let numeric = !rows.rows.is_empty() && rows.rows.iter().all(|row| value::of(row, name).is_number());
            if numeric { "---:" } else { "---" }.to_owned()
        }),
    );
    for row in &rows.rows {
        let cells = rows.columns.iter().map(|name| escaped(&value::cell(value::of(row, name))));
        push_line(&mut text, cells);
    }
    text
}

fn push_line(text: &mut String, cells: impl Iterator<Item = String>) {
    text.push('|');
    for cell in cells {
        write!(text, " {cell} |").expect("a string takes any text");
    }
    text.push('\n');
}

fn escaped(cell: &str) -> String {
    cell.replace('\\', "\\\\").replace('|', "\\|").replace("\r\n", " ").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;
    use serde_json::{Value, json};

    fn rows(rows: &Value) -> Rows {
        Rows::from(serde_json::from_value::<Vec<Row>>(rows.clone()).unwrap())
    }

    #[test]
    fn what_is_written_as_csv_reads_back() {
        let rows = rows(&json!([{"a": "x,\"y\"\nz", "b": 1}, {"a": null, "b": 2}]));
        let text = to_csv(&rows);
        let cells: Vec<_> = parse::records(&text, ',').unwrap().into_iter().map(|record| record.cells).collect();
        assert_eq!(cells, [["a", "b"], ["x,\"y\"\nz", "1"], ["", "2"]]);
    }

    #[test]
    fn a_markdown_table_cannot_be_broken_by_its_cells() {
        let rows = rows(&json!([{"a": "x|y\nz", "n": 1}]));
        assert_eq!(to_markdown(&rows), "| a | n |\n| --- | ---: |\n| x\\|y z | 1 |\n");
    }

    #[test]
    fn columns_come_in_the_order_of_their_occurrence() {
        assert_eq!(rows(&json!([{"b": 1}, {"a": 1, "b": 2}])).columns, ["b", "a"]);
    }
}
