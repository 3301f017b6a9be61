//! Puts an `expect` into the text of one case, in the style in which the case is written: a block or a pair of braces.
//!
//! It must not be trusted: whoever calls it reads the new text again.

use serde_json::Value;

/// Longer lines become blocks.
const LINE_CHARS: usize = 100;

/// The text with the expectation in the case that begins at this line and column, both from 1. None when the place is
/// none of a case.
pub(super) fn insert(text: &str, (line, column): (u32, u32), expect: &Value, is_json: bool) -> Option<String> {
    let start = offset(text, line, column)?;
    let (at, new) = if text.get(start..)?.starts_with('{') {
        let end = closing(text, start)?;
        let inside = text.get(..end)?.trim_end();
        let comma = if inside.ends_with([',', '{']) { "" } else { "," };
        let value = if is_json { expect.to_string() } else { flow(expect) };
        let key = if is_json { "\"expect\"" } else { "expect" };
        // Before the white space in front of the brace, which may be a line of its own; not into a comment.
        let after_comment = !is_json && inside.lines().next_back().is_some_and(|line| line.contains('#'));
        (if after_comment { end } else { inside.len() }, format!("{comma} {key}: {value}"))
    } else {
        let indent = usize::try_from(column).ok()?.checked_sub(1)?;
        let end = end_of_block(text, start, indent);
        let lead = if text.get(..end)?.ends_with('\n') { "" } else { "\n" };
        (end, format!("{lead}{}", block("expect", expect, indent)))
    };
    let (before, after) = (text.get(..at)?, text.get(at..)?);
    Some(format!("{before}{new}{after}"))
}

fn offset(text: &str, line: u32, column: u32) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let here = text.get(start..)?;
    Some(start + here.char_indices().nth(column)?.0)
}

/// Where the brace closes that opens at `start`.
fn closing(text: &str, start: usize) -> Option<usize> {
    let (mut depth, mut quote, mut escaped, mut comment, mut before) = (0usize, None, false, false, ' ');
    for (at, letter) in text.get(start..)?.char_indices() {
        match (quote, letter) {
            _ if comment => comment = letter != '\n',
            (Some('"'), _) if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), letter) if open == letter => quote = None,
            (Some(_), _) => {}
            // A quote inside of a word is a letter of it; one behind a quote, as in `it''s`, goes on with the text.
            (None, '"' | '\'') if matches!(before, ' ' | '\n' | '\t' | '{' | '[' | ',' | ':' | '\'') => {
                quote = Some(letter);
            }
            (None, '#') if before.is_whitespace() => comment = true,
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(start + at);
                }
            }
            (None, _) => {}
        }
        before = letter;
    }
    None
}

/// Behind the last line that belongs to the table whose keys begin in column `indent`, counted from 0.
fn end_of_block(text: &str, start: usize, indent: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    let mut end = start;
    let mut at = start;
    for (index, line) in rest.split_inclusive('\n').enumerate() {
        at += line.len();
        let spaces = line.len() - line.trim_start_matches(' ').len();
        let said = line.trim();
        let own = index == 0 || spaces > indent || (spaces == indent && !said.is_empty() && !said.starts_with('#'));
        match said {
            // Blank lines and comments at the end may be about what follows.
            "" => {}
            comment if comment.starts_with('#') && !own => {}
            _ if own => end = at,
            _ => break,
        }
    }
    end
}

/// `key: value` as lines, each with its line end.
fn block(key: &str, value: &Value, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let line = format!("{pad}{}: {}", scalar(key), flow(value));
    if line.chars().count() <= LINE_CHARS || !is_nest(value) {
        return line + "\n";
    }
    format!("{pad}{}:\n{}", scalar(key), nest(value, indent + 2))
}

fn is_nest(value: &Value) -> bool {
    match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn nest(value: &Value, indent: usize) -> String {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| block(key, value, indent)).collect(),
        Value::Array(items) => items.iter().map(|item| format!("{pad}- {}\n", flow(item))).collect(),
        other => format!("{pad}{}\n", flow(other)),
    }
}

/// The value in one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let members: Vec<String> =
                map.iter().map(|(key, value)| format!("{}: {}", scalar(key), flow(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A text without quotes where it can be nothing but text, else as JSON.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 8] = ["null", "true", "false", "yes", "no", "on", "off", "y"];
    let plain = text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && !text.ends_with(' ')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, ' ' | '_' | '-' | '.' | '/'));
    let reserved = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word)) || text.eq_ignore_ascii_case("n");
    if plain && !reserved { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::spec::authored::read;
    use serde_json::json;

    /// Inserts into each case, and gives the text when it reads as it should.
    fn put(text: &str, index: usize, expect: &Value) -> Option<String> {
        let (file, _) = read(text, "t.yaml");
        let file = file.unwrap();
        let part = file.root().nearest(&format!("cases[{index}]"));
        let new = insert(text, (part.line(), part.column()), expect, false)?;
        let mut wanted = file.root().to_json();
        wanted["cases"][index]["expect"] = expect.clone();
        let (file, _) = read(&new, "t.yaml");
        assert_eq!(file.map(|file| file.root().to_json()), Some(wanted), "{new}");
        Some(new)
    }

    #[test]
    fn an_expectation_stands_in_the_style_of_its_case_and_all_else_stays() {
        let text = "\
cases:
  # the first
  - name: a   # beside it
    call:
      tool: x
    files:
    - one

  # the second
  - { name: 'it''s }', call: { tool: \"}\" } } # inline
  -
    name: c
    about: |
      text: more
        deeper
";
        let new = put(text, 2, &json!({ "result": "a\nb" })).unwrap();
        let new = put(&new, 1, &json!({ "result": { "equals": 1 }, "x": "true" })).unwrap();
        let new = put(&new, 0, &json!({ "result": ["x".repeat(60), "y".repeat(60)], "denied": [] })).unwrap();
        for kept in text.lines().filter(|line| !line.contains("it''s")) {
            assert!(new.lines().any(|line| line == kept), "`{kept}` is not in\n{new}");
        }
        assert!(new.contains("tool: \"}\" }, expect: { result: { equals: 1 }, x: \"true\" } } # inline"), "{new}");
        assert!(new.contains("    - one\n    expect:\n"), "{new}");
    }

    #[test]
    fn a_file_without_a_last_line_end_and_a_case_over_several_lines_take_one() {
        put("cases:\n- name: a", 0, &json!({ "error": { "code": "x" } })).unwrap();
        put("cases: [\n  {\n    name: a, # why }\n    call: {},\n  },\n]\n", 0, &json!({ "result": null })).unwrap();
        put("cases: [{ name: a }, { name: b }]", 1, &json!({ "content": "x: y" })).unwrap();
    }

    #[test]
    fn what_is_no_case_takes_nothing() {
        assert_eq!(insert("cases: []", (9, 1), &json!({}), false), None);
        assert_eq!(insert("cases: [{ name: a", (1, 9), &json!({}), false), None);
    }
}
