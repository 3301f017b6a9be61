//! Rows and columns, from JSON to Markdown.

use crate::cell;
use serde_json::Value;
use std::fmt::Write as _;

/// Rows of equal length below their heads.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    /// The table of a list of objects, a list of lists (the first is the head), or one object.
    pub(crate) fn of(value: &Value, columns: &[String]) -> Option<Self> {
        match value {
            Value::Array(rows) if !rows.is_empty() && rows.iter().all(Value::is_object) => {
                Some(Self::of_objects(rows, columns))
            }
            Value::Array(rows) if !rows.is_empty() && rows.iter().all(Value::is_array) => Self::of_lists(rows),
            Value::Object(table) if !table.is_empty() => {
                let wanted = |key: &String| columns.is_empty() || columns.contains(key);
                let rows = table.iter().filter(|(key, _)| wanted(key));
                let rows = rows.map(|(key, value)| vec![Value::from(key.as_str()), value.clone()]).collect();
                Some(Self { head: vec!["key".to_owned(), "value".to_owned()], rows })
            }
            _ => None,
        }
    }

    fn of_objects(rows: &[Value], columns: &[String]) -> Self {
        let mut head = columns.to_vec();
        if head.is_empty() {
            for key in rows.iter().filter_map(Value::as_object).flat_map(|row| row.keys()) {
                if !head.contains(key) {
                    head.push(key.clone());
                }
            }
        }
        let row = |row: &Value| head.iter().map(|key| row.get(key).cloned().unwrap_or_default()).collect();
        let rows = rows.iter().map(row).collect();
        Self { head, rows }
    }

    fn of_lists(rows: &[Value]) -> Option<Self> {
        let (head, rows) = rows.split_first()?;
        let head: Vec<String> = head.as_array()?.iter().map(cell::plain).collect();
        let row = |row: &Value| {
            let mut cells = row.as_array().cloned().unwrap_or_default();
            cells.resize(head.len(), Value::Null);
            cells
        };
        let rows = rows.iter().map(row).collect();
        (!head.is_empty()).then_some(Self { head, rows })
    }

    /// The table as text; columns of numbers stand on the right.
    pub(crate) fn markdown(&self, most: usize) -> String {
        let mut text = String::from("|");
        for head in &self.head {
            write!(text, " {} |", cell::escaped(head)).expect("writing to a string cannot fail");
        }
        text.push_str("\n|");
        for column in 0..self.head.len() {
            text.push_str(if self.is_numeric(column) { "---:|" } else { "---|" });
        }
        for row in self.rows.iter().take(most) {
            text.push_str("\n|");
            for value in row {
                write!(text, " {} |", cell::escaped(&cell::plain(value))).expect("writing to a string cannot fail");
            }
        }
        let left = self.rows.len().saturating_sub(most);
        if left > 0 {
            write!(text, "\n\n({left} more rows are not shown)").expect("writing to a string cannot fail");
        }
        text
    }

    fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column)).filter(|value| !value.is_null()).peekable();
        cells.peek().is_some() && cells.all(Value::is_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn missing_values_are_empty_and_columns_can_be_chosen() {
        let rows = json!([{ "a": 1 }, { "b": "x|y", "a": null }]);
        assert_eq!(Table::of(&rows, &[]).unwrap().markdown(9), "| a | b |\n|---:|---|\n| 1 |  |\n|  | x\\|y |");
        assert_eq!(Table::of(&rows, &["b".into()]).unwrap().markdown(9), "| b |\n|---|\n|  |\n| x\\|y |");
    }

    #[test]
    fn lists_have_their_head_first_and_one_object_is_keys_and_values() {
        let lists = json!([["n", "sum"], [1, 2, 3], [4]]);
        assert_eq!(Table::of(&lists, &[]).unwrap().markdown(9), "| n | sum |\n|---:|---:|\n| 1 | 2 |\n| 4 |  |");
        let object = json!({ "a": 1, "b": { "c": [2] } });
        let text = Table::of(&object, &[]).unwrap().markdown(9);
        assert_eq!(text, "| key | value |\n|---|---|\n| a | 1 |\n| b | {\"c\":[2]} |");
    }

    #[test]
    fn rows_that_are_not_shown_are_counted() {
        let rows = json!([{ "a": 1 }, { "a": 2 }, { "a": 3 }]);
        assert!(Table::of(&rows, &[]).unwrap().markdown(1).ends_with("| 1 |\n\n(2 more rows are not shown)"));
    }

    #[test]
    fn other_data_is_no_table() {
        for value in [json!([]), json!({}), json!([1, { "a": 1 }]), json!("a"), json!([[]])] {
            assert_eq!(Table::of(&value, &[]), None, "{value}");
        }
    }
}
