//! Collects findings, each with its place. It must not stop at the first.

use super::code::{self, Code};
use super::suggest::did_you_mean;
use super::tree::Node;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use crate::limits;
use crate::text;
use std::borrow::Cow;
use std::sync::Arc;

/// Most characters of one text of the document that a finding quotes.
const QUOTED_CHARS: usize = 80;

/// Most characters of a message, a hint or a path.
const FINDING_CHARS: usize = 4_000;

/// A place in a file: line and column from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Spot {
    pub(super) const START: Self = Self { line: 1, column: 1 };

    pub(super) fn new(line: u64, column: u64) -> Self {
        Self { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
    }

    /// The place of an offset in a text.
    pub(super) fn of_offset(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
    }
}

/// The findings about a document, the documents that it includes, and their files.
#[derive(Default)]
pub(super) struct Report {
    file: Arc<str>,
    text: Arc<str>,
    found: Vec<Diagnostic>,
    /// How often a known word was looked for.
    searches: usize,
}

impl Report {
    pub(super) fn new(file: &str, text: Arc<str>) -> Self {
        Self { file: file.into(), text, found: Vec::new(), searches: 0 }
    }

    /// Goes on in another file; gives back the one it was in.
    pub(super) fn enter(&mut self, file: Arc<str>, text: Arc<str>) -> (Arc<str>, Arc<str>) {
        (std::mem::replace(&mut self.file, file), std::mem::replace(&mut self.text, text))
    }

    /// Whether the name of the file that is being read says that it is JSON.
    pub(super) fn is_json(&self) -> bool {
        self.file.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("json"))
    }

    /// A spot of the file that is being read.
    pub(super) fn place(&self, spot: Spot) -> Place {
        Place { file: Arc::clone(&self.file), line: spot.line, column: spot.column }
    }

    /// How much was found so far.
    pub(super) fn mark(&self) -> usize {
        self.found.len()
    }

    /// Whether an error was found after a mark.
    pub(super) fn has_errors_since(&self, mark: usize) -> bool {
        self.found.iter().skip(mark).any(|found| found.severity == Severity::Error)
    }

    /// Makes warnings of all that was found after a mark.
    pub(super) fn soften_since(&mut self, mark: usize) {
        for found in self.found.iter_mut().skip(mark) {
            found.severity = Severity::Warning;
        }
    }

    /// A hint naming the nearest known word; none after many searches: whoever has so many mistakes has seen the kind.
    pub(super) fn did_you_mean<'w>(&mut self, given: &str, known: impl IntoIterator<Item = &'w str>) -> Option<String> {
        self.searches += 1;
        if self.searches > limits::SUGGESTIONS { None } else { did_you_mean(given, known) }
    }

    /// A finding at a node.
    pub(super) fn error(&mut self, code: Code, node: &Node, message: impl Into<String>) -> Found<'_> {
        self.at(code, node.spot, &node.path, message)
    }

    /// A finding at a place.
    pub(super) fn at(&mut self, code: Code, spot: Spot, path: &str, message: impl Into<String>) -> Found<'_> {
        let place = self.place(spot);
        self.elsewhere(code, place, path, message)
    }

    /// A finding in a file that need not be the one that is being read.
    pub(super) fn elsewhere(&mut self, code: Code, place: Place, path: &str, message: impl Into<String>) -> Found<'_> {
        self.found.push(Diagnostic {
            code: code.id,
            severity: Severity::Error,
            place: Some(place),
            path: path.to_owned(),
            message: message.into(),
            hint: None,
        });
        Found(self.found.last_mut())
    }

    /// A finding about the whole document.
    pub(super) fn whole(&mut self, code: Code, message: impl Into<String>) -> Found<'_> {
        self.at(code, Spot::START, "", message)
    }

    /// A finding inside a text of the document, at an offset in bytes.
    pub(super) fn inside(&mut self, code: Code, node: &Node, offset: usize, message: impl Into<String>) -> Found<'_> {
        let spot = self.spot_inside(node, offset);
        self.at(code, spot, &node.path, message)
    }

    /// Where an offset of a text stands in the document, as exactly as its way of writing allows.
    fn spot_inside(&self, node: &Node, offset: usize) -> Spot {
        let (Some(value), Some(range)) = (node.text(), node.bytes.clone()) else { return node.spot };
        let (Some(head), Some(raw)) = (value.get(..offset), self.text.get(range.start..)) else { return node.spot };
        let column = |skipped: usize| {
            let letters = head.chars().count() + skipped;
            Spot { line: node.spot.line, column: node.spot.column.saturating_add(u32::try_from(letters).unwrap_or(0)) }
        };
        if !head.contains('\n') && raw.starts_with(head) && !raw.starts_with(['"', '\'', '|', '>']) {
            return column(0);
        }
        if !head.contains('\n')
            && raw.starts_with(['"', '\''])
            && raw.get(1..).is_some_and(|rest| rest.starts_with(head))
        {
            return column(1);
        }
        self.spot_in_block(node, value, offset).unwrap_or(node.spot)
    }

    /// In a literal block every line of the value is a line of the document, indented.
    fn spot_in_block(&self, node: &Node, value: &str, offset: usize) -> Option<Spot> {
        let inside = Spot::of_offset(value, offset);
        let wanted = value.lines().nth(usize::try_from(inside.line).ok()?.checked_sub(1)?)?;
        let first = value.lines().next()?;
        let from = usize::try_from(node.spot.line).ok()?.saturating_sub(1);
        let rows: Vec<&str> = self.text.lines().skip(from).take(value.lines().count() + 2).collect();
        let start = rows.iter().position(|row| row.trim() == first.trim())?;
        let skipped = usize::try_from(inside.line).ok()? - 1;
        let row = rows.get(start + skipped).filter(|row| row.trim_end().ends_with(wanted.trim_end()))?;
        let indent = row.trim_end().chars().count().checked_sub(wanted.trim_end().chars().count())?;
        Some(Spot {
            line: u32::try_from(from + start + skipped + 1).ok()?,
            column: inside.column.saturating_add(u32::try_from(indent).ok()?),
        })
    }

    /// A finding that another report made about another file.
    pub(super) fn repeat(&mut self, mut found: Diagnostic, file: &str, spot: Spot, path: &str) {
        found.place = Some(Place { file: file.into(), line: spot.line, column: spot.column });
        path.clone_into(&mut found.path);
        self.found.push(found);
    }

    pub(super) fn has_errors(&self) -> bool {
        self.has_errors_since(0)
    }

    /// The findings by place: of too many the errors first, and how many are left out.
    pub(super) fn finish(mut self) -> Diagnostics {
        let count = self.found.len();
        let mut rest = None;
        if count > limits::DIAGNOSTICS {
            self.found.sort_by(|a, b| (a.severity, &a.place).cmp(&(b.severity, &b.place)));
            let more = count - limits::DIAGNOSTICS;
            rest = self.found.get(limits::DIAGNOSTICS).map(|first| Diagnostic {
                code: code::MORE.id,
                severity: first.severity,
                place: None,
                path: String::new(),
                message: format!("and {more} more findings"),
                hint: Some("they follow when these are mended".into()),
            });
            self.found.truncate(limits::DIAGNOSTICS);
        }
        let mut diagnostics = Diagnostics::default();
        for mut found in self.found {
            found.message = presentable(&found.message);
            found.path = brief_path(&found.path);
            found.hint = found.hint.map(|hint| presentable(&hint));
            diagnostics.push(found);
        }
        let mut diagnostics = diagnostics.sorted();
        if let Some(rest) = rest {
            diagnostics.push(rest);
        }
        diagnostics
    }
}

/// The finding just made, to be completed.
pub(super) struct Found<'r>(Option<&'r mut Diagnostic>);

impl Found<'_> {
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        self.maybe(Some(hint.into()))
    }

    pub(super) fn maybe(mut self, hint: Option<String>) -> Self {
        if let Some(found) = &mut self.0 {
            found.hint = hint;
        }
        self
    }

    pub(super) fn warning(mut self) -> Self {
        if let Some(found) = &mut self.0 {
            found.severity = Severity::Warning;
        }
        self
    }
}

/// A message quotes the document: it must not do to a terminal what the document could, nor be as long.
fn presentable(text: &str) -> String {
    text::escaped(&brief(text)).into_owned()
}

/// The text with what it quotes shortened.
fn brief(text: &str) -> Cow<'_, str> {
    if text.len() <= QUOTED_CHARS {
        return text.into();
    }
    // Quotes stand between backticks; a text that has some of its own may be cut elsewhere, and not be longer.
    let parts: Vec<Cow<'_, str>> = text
        .split('`')
        .enumerate()
        .map(|(index, part)| if index % 2 == 1 { cut(part, QUOTED_CHARS) } else { part.into() })
        .collect();
    let brief = parts.join("`");
    cut(&brief, FINDING_CHARS).into_owned().into()
}

/// The path with its keys shortened.
fn brief_path(path: &str) -> String {
    let keys: Vec<Cow<'_, str>> = path.split('.').map(|key| cut(key, QUOTED_CHARS)).collect();
    let brief = keys.join(".");
    text::escaped(&cut(&brief, FINDING_CHARS)).into_owned()
}

/// At most so many characters, and a mark for the rest.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_shortened_and_the_rest_stays() {
        let long = "k".repeat(100_000);
        let shown = presentable(&format!("unknown key `{long}`, not `name`"));
        assert_eq!(shown, format!("unknown key `{}…`, not `name`", "k".repeat(QUOTED_CHARS)));
        assert!(presentable(&"`x`".repeat(10_000)).chars().count() <= FINDING_CHARS + 1);
        assert!(brief_path(&format!("steps[0].{long}.x")).ends_with("k….x"));
    }
}
