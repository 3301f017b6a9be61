//! Markdown as a list of blocks: headings, paragraphs, list items, tables, fences.
//!
//! It must not render anything. It knows as much of markdown as reports and tool outputs use.

use serde_json::Value;

/// A block of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Block<'a> {
    /// Level 1 to 6 and text.
    Heading(usize, &'a str),
    /// Lines joined by spaces.
    Paragraph(String),
    /// One item of a list, without its mark.
    Item(&'a str),
    /// The lines of a table, its header and rule first.
    Table(Vec<&'a str>),
    /// JSON, in a fence or bare.
    Json(Value),
    /// Any other fence: its language and content.
    Code(&'a str),
}

/// The blocks of a text, in order. A fence that is not closed reaches to the end.
pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    if let Some(value) = json(text) {
        return vec![Block::Json(value)];
    }
    let mut out = Vec::new();
    let mut paragraph = Paragraph::default();
    let mut rest = text;
    while let Some((line, after)) = next_line(rest) {
        let trimmed = line.trim();
        if let Some(mark) = fence_mark(trimmed) {
            paragraph.end(&mut out);
            let (body, beyond) = fenced(after, mark);
            if body.trim_start().starts_with(['{', '[']) {
                split_prose(body.trim(), &mut out);
            } else {
                out.push(Block::Code(body));
            }
            rest = beyond;
            continue;
        }
        match one_line(trimmed) {
            Some(block) => {
                paragraph.end(&mut out);
                out.push(block);
            }
            None if trimmed.starts_with('|') => {
                paragraph.end(&mut out);
                match out.last_mut() {
                    Some(Block::Table(rows)) => rows.push(trimmed),
                    _ => out.push(Block::Table(vec![trimmed])),
                }
            }
            None if trimmed.is_empty() => paragraph.end(&mut out),
            None => paragraph.push(trimmed),
        }
        rest = after;
    }
    paragraph.end(&mut out);
    out
}

/// The JSON values that stand in a text as fences or bare paragraphs.
pub(super) fn json_values(text: &str) -> Vec<Value> {
    let value = |block| match block {
        Block::Json(value) => Some(value),
        _ => None,
    };
    blocks(text).into_iter().filter_map(value).collect()
}

#[derive(Default)]
struct Paragraph(String);

impl Paragraph {
    fn push(&mut self, line: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(line);
    }

    fn end(&mut self, out: &mut Vec<Block<'_>>) {
        if self.0.is_empty() {
            return;
        }
        split_prose(&std::mem::take(&mut self.0), out);
    }
}

fn next_line(text: &str) -> Option<(&str, &str)> {
    if text.is_empty() {
        return None;
    }
    Some(text.split_once('\n').unwrap_or((text, "")))
}

/// A heading or an item of a list.
fn one_line(line: &str) -> Option<Block<'_>> {
    let level = line.bytes().take_while(|byte| *byte == b'#').count();
    if (1..=6).contains(&level)
        && let Some(text) = line.get(level..).and_then(|rest| rest.strip_prefix(' '))
    {
        return Some(Block::Heading(level, text.trim()));
    }
    let marked = ["- ", "* ", "+ "].iter().find_map(|mark| line.strip_prefix(mark));
    let numbered = || {
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        line.get(digits..).filter(|_| (1..=3).contains(&digits)).and_then(|rest| rest.strip_prefix(". "))
    };
    marked.or_else(numbered).map(|item| Block::Item(item.trim()))
}

/// The backquotes or tildes that open a fence, as many as there are.
fn fence_mark(line: &str) -> Option<&str> {
    ['`', '~'].iter().find_map(|mark| {
        let length = line.len() - line.trim_start_matches(*mark).len();
        line.get(..length).filter(|_| length >= 3)
    })
}

/// What stands in a fence, and what comes after it.
fn fenced<'a>(text: &'a str, mark: &str) -> (&'a str, &'a str) {
    let mut end = 0;
    let mut rest = text;
    while let Some((line, after)) = next_line(rest) {
        let line = line.trim();
        if line.starts_with(mark) && line.bytes().all(|byte| mark.as_bytes().first() == Some(&byte)) {
            return (text.get(..end).unwrap_or_default(), after);
        }
        end = text.len() - after.len();
        rest = after;
    }
    (text, "")
}

/// An object or an array; a lone number or word in a text is text.
fn json(text: &str) -> Option<Value> {
    let text = text.trim();
    let is_candidate = text.starts_with(['{', '[']) && text.ends_with(['}', ']']);
    is_candidate.then(|| serde_json::from_str(text).ok()).flatten()
}

/// Prose and the JSON in it. An array that is cut, as large outputs are in a prompt, gives its whole items; what comes
/// after them stays prose, since it says that there was more.
fn split_prose(text: &str, out: &mut Vec<Block<'_>>) {
    let mut rest = text;
    if let Some(value) = json(rest) {
        out.push(Block::Json(value));
        return;
    }
    while let Some((before, value, after)) = embedded(rest) {
        push_prose(before, out);
        out.push(Block::Json(value));
        rest = after;
    }
    push_prose(rest, out);
}

fn push_prose(text: &str, out: &mut Vec<Block<'_>>) {
    let text = text.trim();
    if !text.is_empty() {
        out.push(Block::Paragraph(text.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
}

/// The first object or array of objects in a text, with what stands before and after it.
fn embedded(text: &str) -> Option<(&str, Value, &str)> {
    let start = ["[{", "{\"", "[ {", "{ \"", "[\n"].iter().filter_map(|mark| text.find(mark)).min()?;
    let (before, from) = text.split_at(start);
    if let Some((value, after)) = leading(from) {
        return Some((before, value, after));
    }
    let mut items = Vec::new();
    let mut rest = from.strip_prefix('[')?;
    while let Some((item, after)) = leading(rest) {
        items.push(item);
        rest = after.trim_start().strip_prefix(',').unwrap_or(after);
    }
    let marker = rest.rfind("[...").and_then(|at| rest.get(at..)).unwrap_or_default();
    (!items.is_empty()).then_some((before, Value::Array(items), marker))
}

/// The object or array with which a text begins.
fn leading(text: &str) -> Option<(Value, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values.next()?.ok().filter(|value| value.is_object() || value.is_array())?;
    Some((value, text.get(values.byte_offset()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_is_cut_into_its_blocks() {
        let text = "# Title\nOne\ntwo.\n\n- item\n1. other\n\n| a |\n|---|\n| 1 |\n```json\n{\"a\": 1}\n```\n~~~rust\nfn a() {}\n~~~\nend";
        let expected = vec![
            Block::Heading(1, "Title"),
            Block::Paragraph("One two.".to_owned()),
            Block::Item("item"),
            Block::Item("other"),
            Block::Table(vec!["| a |", "|---|", "| 1 |"]),
            Block::Json(json!({"a": 1})),
            Block::Code("fn a() {}\n"),
            Block::Paragraph("end".to_owned()),
        ];
        assert_eq!(blocks(text), expected);
    }

    #[test]
    fn headings_in_a_fence_are_not_headings_and_an_open_fence_ends_with_the_text() {
        assert_eq!(blocks("````\n# no\n```\nstill"), [Block::Code("# no\n```\nstill")]);
    }

    #[test]
    fn a_tool_output_is_one_value_and_bare_json_counts() {
        assert_eq!(blocks("[1,\n\n2]"), [Block::Json(json!([1, 2]))]);
        assert_eq!(json_values("Result:\n\n{\"a\":\n2}\n"), [json!({"a": 2})]);
        assert_eq!(json_values("{broken}"), Vec::<Value>::new());
        assert_eq!(json_values("see [1] and [x]"), Vec::<Value>::new());
    }

    #[test]
    fn json_inside_prose_is_found() {
        let expected = vec![
            Block::Paragraph("Found:".to_owned()),
            Block::Json(json!([{"a": 1}])),
            Block::Paragraph("and".to_owned()),
            Block::Json(json!({"b": 2})),
        ];
        assert_eq!(blocks("Found: [{\"a\": 1}] and {\"b\": 2}"), expected);
    }

    #[test]
    fn an_array_that_was_cut_gives_its_whole_items_and_the_note() {
        let note = "[... shortened: 9 of 99 bytes left out ...]";
        let expected = vec![Block::Json(json!([{"a": 1}, {"a": 2}])), Block::Paragraph(note.to_owned())];
        let cut = format!("[{{\"a\": 1}},{{\"a\": 2}},{{\"a\n{note}");
        assert_eq!(blocks(&cut), expected);
        assert_eq!(blocks(&format!("```json\n{cut}\n```\n")), expected);
    }
}
