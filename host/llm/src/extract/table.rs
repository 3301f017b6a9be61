//! JSON as markdown that people read: lists, tables, counts.
//!
//! It must not interpret: a sum or a count is of values that stand in the JSON, and their names are its keys.

use super::sentence::shorten;
use cofferdam_core::limits;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// Levels of objects that are written as lists; deeper ones are written as JSON.
const LIST_DEPTH: usize = 3;

/// Different values of a column that are worth counting.
const COUNTED_VALUES: usize = 8;

/// Columns whose numbers name a place or a thing, so that their sum would say nothing.
const PLACES: &[&str] = &["line", "column", "id", "index", "offset", "start", "end", "level", "port", "year", "status"];

type Object = Map<String, Value>;

/// A value as markdown, ending with a line end.
pub(super) fn render(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Array(items) => array(items, &mut out),
        Value::Object(map) => object(map, &mut out),
        scalar => {
            let _ = writeln!(out, "{}", cell(scalar));
        }
    }
    out
}

/// A table that stands in the source, with as many rows as fit.
pub(super) fn copy(rows: &[&str]) -> String {
    let shown = limits::EXTRACT_TABLE_ROWS + 2;
    let mut out = String::new();
    for row in rows.iter().take(shown) {
        let _ = writeln!(out, "{row}");
    }
    note_left_out(rows.len().saturating_sub(2), &mut out);
    out
}

fn array(items: &[Value], out: &mut String) {
    if items.is_empty() {
        out.push_str("(none)\n");
        return;
    }
    if let Some(rows) = all_objects(items) {
        table(&rows, out);
        return;
    }
    for item in items.iter().take(limits::EXTRACT_LIST_ITEMS) {
        let _ = writeln!(out, "- {}", cell(item));
    }
    let more = items.len().saturating_sub(limits::EXTRACT_LIST_ITEMS);
    if more > 0 {
        let _ = writeln!(out, "- … and {more} more items");
    }
}

fn all_objects(items: &[Value]) -> Option<Vec<&Object>> {
    let objects: Option<Vec<_>> = items.iter().map(Value::as_object).collect();
    objects.filter(|rows| !rows.is_empty())
}

/// First what fits on a line each, then the tables.
fn object(map: &Object, out: &mut String) {
    let mut tables = Vec::new();
    list(map, "", LIST_DEPTH, &mut Listing { out, tables: &mut tables });
    for (name, rows) in tables {
        let _ = write!(out, "\n**{name}** ({})\n\n", rows.len());
        table(&rows, out);
    }
}

struct Listing<'a, 'b> {
    out: &'b mut String,
    tables: &'b mut Vec<(String, Vec<&'a Object>)>,
}

fn list<'a>(map: &'a Object, prefix: &str, depth: usize, to: &mut Listing<'a, '_>) {
    for (key, value) in map {
        let name = format!("{prefix}{key}");
        match value {
            Value::Null => {}
            Value::Object(inner) if depth > 1 && !inner.is_empty() => list(inner, &format!("{name}."), depth - 1, to),
            Value::Array(items) => match all_objects(items) {
                Some(rows) => to.tables.push((name, rows)),
                None => {
                    let _ = writeln!(to.out, "- {name}: {}", cell(value));
                }
            },
            _ => {
                let _ = writeln!(to.out, "- {name}: {}", cell(value));
            }
        }
    }
}

/// Rows as a table, then what can be counted in it, then the tables inside its rows.
fn table(rows: &[&Object], out: &mut String) {
    flat_table(rows, out);
    for column in columns(rows) {
        let inner = inner_rows(rows, column);
        if !inner.is_empty() {
            let _ = write!(out, "\n**{column}** ({} in all rows)\n\n", inner.len());
            flat_table(&inner.iter().collect::<Vec<_>>(), out);
        }
    }
}

fn flat_table(rows: &[&Object], out: &mut String) {
    let columns = columns(rows);
    let shown: Vec<&str> = columns.iter().copied().take(limits::EXTRACT_TABLE_COLUMNS).collect();
    let head: Vec<String> = shown.iter().map(|column| escaped(column)).collect();
    let _ = writeln!(out, "| {} |", head.join(" | "));
    let _ = writeln!(out, "|{}", " --- |".repeat(shown.len()));
    for row in rows.iter().take(limits::EXTRACT_TABLE_ROWS) {
        let cells: Vec<String> = shown.iter().map(|column| row.get(*column).map(cell).unwrap_or_default()).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    note_left_out(rows.len(), out);
    if rows.len() > 1 {
        counts(rows, &columns, out);
    }
}

fn note_left_out(rows: usize, out: &mut String) {
    let more = rows.saturating_sub(limits::EXTRACT_TABLE_ROWS);
    if more > 0 {
        let _ = writeln!(out, "\n… and {more} more rows, {rows} in all");
    }
}

/// The keys of all rows in the order in which they first stand, without those that are null everywhere.
fn columns<'a>(rows: &[&'a Object]) -> Vec<&'a str> {
    let mut columns: Vec<&str> = Vec::new();
    for row in rows {
        for (key, value) in *row {
            if !value.is_null() && !columns.contains(&key.as_str()) {
                columns.push(key);
            }
        }
    }
    columns
}

/// The objects that stand in one column of all rows, each with the first text of its row.
fn inner_rows(rows: &[&Object], column: &str) -> Vec<Object> {
    let mut out = Vec::new();
    for row in rows {
        let label = row.iter().find(|(_, value)| value.is_string());
        let items = row.get(column).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for item in items.iter().filter_map(Value::as_object) {
            let mut inner = Object::new();
            if let Some((key, value)) = label.filter(|(key, _)| !item.contains_key(*key)) {
                inner.insert(key.clone(), value.clone());
            }
            inner.extend(item.clone());
            out.push(inner);
        }
    }
    out
}

/// Sums of whole numbers, and how often each of a few texts stands in a column.
fn counts(rows: &[&Object], columns: &[&str], out: &mut String) {
    let lines: Vec<String> = columns
        .iter()
        .filter_map(|column| {
            let values: Vec<&Value> = rows.iter().filter_map(|row| row.get(*column)).filter(|v| !v.is_null()).collect();
            let told = total(column, &values).or_else(|| tally(&values))?;
            Some(format!("- {}: {told}\n", escaped(column)))
        })
        .collect();
    if !lines.is_empty() {
        let _ = write!(out, "\nTotals and counts ({} rows):\n\n{}", rows.len(), lines.concat());
    }
}

fn total(column: &str, values: &[&Value]) -> Option<String> {
    if PLACES.contains(&column) {
        return None;
    }
    let numbers: Option<Vec<i64>> = values.iter().map(|value| value.as_i64()).collect();
    let sum = numbers?.into_iter().try_fold(0_i64, i64::checked_add)?;
    Some(sum.to_string())
}

fn tally(values: &[&Value]) -> Option<String> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for value in values {
        let text = match value {
            Value::String(text) => escaped(&shorten(text, limits::EXTRACT_CELL_CHARS)),
            Value::Bool(_) => value.to_string(),
            _ => return None,
        };
        match counts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, count)) => *count += 1,
            None => counts.push((text, 1)),
        }
        if counts.len() > COUNTED_VALUES {
            return None;
        }
    }
    let repeats = counts.len() < values.len();
    counts.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    let told: Vec<String> = counts.into_iter().map(|(text, count)| format!("{text} {count}")).collect();
    repeats.then(|| told.join(", "))
}

/// A value on one line.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escaped(&shorten(text, limits::EXTRACT_CELL_CHARS)),
        Value::Array(items) if items.is_empty() => "(none)".to_owned(),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            format!("{} entries", items.len())
        }
        Value::Array(items) if items.iter().all(is_scalar) => {
            let shown: Vec<String> = items.iter().take(limits::EXTRACT_LIST_ITEMS).map(cell).collect();
            let more = items.len().saturating_sub(limits::EXTRACT_LIST_ITEMS);
            let rest = if more > 0 { format!(", … and {more} more") } else { String::new() };
            shorten(&shown.join(", "), limits::EXTRACT_CELL_CHARS) + &rest
        }
        other => escaped(&shorten(&other.to_string(), limits::EXTRACT_CELL_CHARS)),
    }
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// Text that does not break out of its cell.
fn escaped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_become_a_table_with_what_can_be_counted() {
        let rows = json!([
            {"file": "a.rs", "kind": "token", "line": 3, "bytes": 10, "note": null},
            {"file": "b|c.rs", "kind": "token", "line": 9, "bytes": 5},
            {"file": "d.rs", "kind": "key", "line": 1, "bytes": 2, "extra": [1, 2]},
        ]);
        let expected = "| file | kind | line | bytes | extra |\n| --- | --- | --- | --- | --- |\n\
            | a.rs | token | 3 | 10 |  |\n| b\\|c.rs | token | 9 | 5 |  |\n| d.rs | key | 1 | 2 | 1, 2 |\n\
            \nTotals and counts (3 rows):\n\n- kind: token 2, key 1\n- bytes: 17\n";
        assert_eq!(render(&rows), expected);
    }

    #[test]
    fn tables_inside_rows_are_put_together() {
        let rows = json!([
            {"path": "a", "findings": [{"kind": "key"}]},
            {"path": "b", "findings": []},
        ]);
        let text = render(&rows);
        assert!(text.contains("| a | 1 entries |\n| b | (none) |\n"), "{text}");
        assert!(
            text.ends_with("**findings** (1 in all rows)\n\n| path | kind |\n| --- | --- |\n| a | key |\n"),
            "{text}"
        );
    }

    #[test]
    fn an_object_is_a_list_and_its_tables() {
        let text = render(&json!({"n": 1, "deep": {"x": "y", "none": null}, "rows": [{"a": 1}], "tags": ["p", "q"]}));
        assert_eq!(text, "- n: 1\n- deep.x: y\n- tags: p, q\n\n**rows** (1)\n\n| a |\n| --- |\n| 1 |\n");
    }

    #[test]
    fn long_tables_say_what_they_leave_out() {
        let rows: Vec<Value> = (0..45).map(|n| json!({"line": n})).collect();
        assert!(render(&Value::Array(rows)).ends_with("| 19 |\n\n… and 25 more rows, 45 in all\n"));
        let source: Vec<&str> = std::iter::repeat_n("| x |", 30).collect();
        assert!(copy(&source).ends_with("… and 8 more rows, 28 in all\n"));
    }

    #[test]
    fn odd_values_stay_on_one_line() {
        assert_eq!(render(&json!([])), "(none)\n");
        assert_eq!(render(&json!(["a\nb", {"x": 1}])), "- a b\n- {\"x\":1}\n");
        assert_eq!(render(&json!({"a": {"b": {"c": {"d": 1}}}})), "- a.b.c: {\"d\":1}\n");
        assert_eq!(
            render(&json!({"a": i64::MAX, "f": 1.5, "t": true})),
            format!("- a: {}\n- f: 1.5\n- t: true\n", i64::MAX)
        );
    }
}
