//! What stands in one cell.

use serde_json::Value;

/// A value as text: nothing for null, text as it is, everything else as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Text that cannot end its cell or its row.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut letters = text.trim().chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '|' => safe.push_str("\\|"),
            '\r' if letters.peek() == Some(&'\n') => {}
            '\n' | '\r' => safe.push_str("<br>"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_in_its_row() {
        assert_eq!(escaped(" a|b\r\nc\nd "), "a\\|b<br>c<br>d");
    }
}
