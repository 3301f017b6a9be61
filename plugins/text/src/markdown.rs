//! The parts of Markdown that matter here, as in CommonMark 0.31: headings of
//! both kinds, and prose without code, tables and signs.

use schemars::JsonSchema;
use serde::Serialize;

/// A heading.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Heading {
    /// From 1 to 6.
    pub(crate) level: usize,
    /// Without the signs that make it a heading.
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// All headings outside code, `#` headings and underlined ones.
pub(crate) fn headings(text: &str) -> Vec<Heading> {
    let mut headings = Vec::new();
    let mut paragraph: Option<(&str, usize)> = None;
    for (number, line, code) in lines(text) {
        if code {
            paragraph = None;
            continue;
        }
        if let Some((level, title)) = hash_heading(line) {
            headings.push(Heading { level, text: title.to_owned(), line: number });
            paragraph = None;
        } else if let (Some(level), Some((title, at))) = (underline(line), paragraph) {
            headings.push(Heading { level, text: title.trim().to_owned(), line: at });
            paragraph = None;
        } else if line.trim().is_empty() || is_block_start(line) {
            paragraph = None;
        } else {
            // Of a heading with several lines the first is reported.
            paragraph = paragraph.or(Some((line, number)));
        }
    }
    headings
}

/// The text that one reads aloud: without code, tables, link targets and signs;
/// headings and list items end as sentences do.
pub(crate) fn prose(text: &str) -> String {
    let mut prose = String::new();
    for (_, line, code) in lines(text) {
        let bare = line.trim();
        if code || bare.starts_with('|') || underline(line).is_some() {
            continue;
        }
        let (content, ends_here) = match hash_heading(line) {
            Some((_, title)) => (title, true),
            None => list_item(bare).map_or((bare.trim_start_matches(['>', ' ']), false), |item| (item, true)),
        };
        let content = without_signs(content);
        prose.push_str(&content);
        if ends_here && !content.ends_with(['.', '!', '?', ':']) && !content.is_empty() {
            prose.push('.');
        }
        prose.push('\n');
    }
    prose
}

/// Lines with their numbers, and whether they belong to fenced code.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str, bool)> {
    let mut fence: Option<(char, usize)> = None;
    text.lines().enumerate().map(move |(index, line)| {
        let mark = fence_mark(line);
        let code = match (fence, mark) {
            (None, Some((sign, length, _))) => {
                fence = Some((sign, length));
                true
            }
            (Some((sign, length)), Some((other, other_length, bare))) => {
                if bare && sign == other && other_length >= length {
                    fence = None;
                }
                true
            }
            (Some(_), None) => true,
            (None, None) => false,
        };
        (index + 1, line, code)
    })
}

/// The sign and length of a fence, and whether nothing follows it.
fn fence_mark(line: &str) -> Option<(char, usize, bool)> {
    let bare = indented_at_most_three(line)?;
    let sign = bare.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = bare.chars().take_while(|c| *c == sign).count();
    let rest = bare.trim_start_matches(sign);
    let valid = length >= 3 && !(sign == '`' && rest.contains('`'));
    valid.then(|| (sign, length, rest.trim().is_empty()))
}

fn indented_at_most_three(line: &str) -> Option<&str> {
    let bare = line.trim_start_matches(' ');
    (line.len() - bare.len() <= 3).then_some(bare)
}

fn hash_heading(line: &str) -> Option<(usize, &str)> {
    let bare = indented_at_most_three(line)?;
    let title = bare.trim_start_matches('#');
    let level = bare.len() - title.len();
    if !(1..=6).contains(&level) || !(title.is_empty() || title.starts_with([' ', '\t'])) {
        return None;
    }
    let title = title.trim();
    let open = title.trim_end_matches('#');
    let closed = open.is_empty() || open.ends_with([' ', '\t']);
    Some((level, if closed { open.trim() } else { title }))
}

fn underline(line: &str) -> Option<usize> {
    let bare = indented_at_most_three(line)?.trim_end();
    let all = |sign: char| !bare.is_empty() && bare.chars().all(|c| c == sign);
    if all('=') {
        Some(1)
    } else if all('-') {
        Some(2)
    } else {
        None
    }
}

/// What cannot be the text of an underlined heading.
fn is_block_start(line: &str) -> bool {
    let bare = line.trim_start();
    line.starts_with("    ") || bare.starts_with(['>', '|']) || list_item(bare).is_some()
}

fn list_item(line: &str) -> Option<&str> {
    let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    if digits.len() < line.len() {
        return digits.strip_prefix(['.', ')'])?.strip_prefix(' ');
    }
    line.strip_prefix(['-', '*', '+'])?.strip_prefix(' ')
}

/// Removes emphasis, code marks and the targets of links.
fn without_signs(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' | '_' | '`' | '[' => {}
            '!' if chars.peek() == Some(&'[') => {}
            ']' => {
                if chars.next_if_eq(&'(').is_some() {
                    chars.by_ref().find(|c| *c == ')');
                }
            }
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String, usize)> {
        headings(text).into_iter().map(|h| (h.level, h.text, h.line)).collect()
    }

    #[test]
    fn both_kinds_of_headings_are_found() {
        let text = "# One #\n\nTwo\n===\nThree\n---\n   ### Four\n#no\n####### no\n#\tTab\n";
        let expected = [(1, "One", 1), (1, "Two", 3), (2, "Three", 5), (3, "Four", 7), (1, "Tab", 10)];
        assert_eq!(found(text), expected.map(|(level, text, line)| (level, text.to_owned(), line)));
    }

    #[test]
    fn a_sharp_name_keeps_its_sign() {
        assert_eq!(found("# C#\n"), [(1, "C#".to_owned(), 1)]);
    }

    #[test]
    fn code_and_rules_are_no_headings() {
        assert_eq!(found("```sh\n# comment\n```\n~~~\n# x\n```\n~~~\n"), []);
        assert_eq!(found("\n---\n- item\n---\n    # code\n"), []);
    }

    #[test]
    fn prose_is_what_one_reads_aloud() {
        let text = "# Title\n\nSee [the *docs*](http://x.y/z).\n\n```\ncode\n```\n- item\n| a |\n";
        assert_eq!(prose(text), "Title.\n\nSee the docs.\n\nitem.\n");
    }
}
