//! The report: blocks of the sources, the less telling ones left out.
//!
//! It must not add a word that is neither in the sources nor a fixed phrase of this module or `table`.

use super::Sources;
use super::markdown::{Block, blocks};
use super::sentence::{shorten, telling};
use super::table;
use cofferdam_core::limits;
use serde_json::Value;
use std::fmt::Write as _;

/// The first line of every report.
const LABEL: &str = "*Extracted by builtin/extract, which is not a language model: what follows is copied from its input or counted in it.*\n";

/// The heading under which the engine puts what a step was asked to do.
const TASK: &str = "Task";

/// Paragraphs of a section that are quoted.
const PARAGRAPHS: usize = 3;

/// Writes the report of all sources.
pub(super) fn write(sources: &Sources<'_>) -> String {
    let mut report = Report::default();
    for source in sources.iter() {
        for block in blocks(source) {
            report.add(block);
        }
        report.end_section();
        report.pending.clear();
    }
    cut(format!("{LABEL}{}", report.out))
}

#[derive(Default)]
struct Report<'a> {
    out: String,
    /// Headings that were read but have nothing under them yet.
    pending: Vec<(usize, &'a str)>,
    section: Section,
    /// JSON that was shown: a step's content often repeats its result.
    shown: Vec<Value>,
}

/// What was taken of the current section.
#[derive(Default)]
struct Section {
    is_task: bool,
    paragraphs: usize,
    items: usize,
}

impl<'a> Report<'a> {
    fn add(&mut self, block: Block<'a>) {
        if !matches!(block, Block::Item(_)) {
            self.end_items();
        }
        match block {
            Block::Heading(level, text) => self.heading(level, text),
            Block::Paragraph(text) => self.paragraph(&text),
            Block::Item(text) => self.item(text),
            Block::Table(rows) => self.body(&table::copy(&rows)),
            Block::Json(value) => self.json(value),
            Block::Code(_) => {}
        }
    }

    fn heading(&mut self, level: usize, text: &'a str) {
        self.end_section();
        self.pending.retain(|(above, _)| *above < level);
        self.pending.push((level, text));
        self.section.is_task = text == TASK;
    }

    fn paragraph(&mut self, text: &str) {
        self.section.paragraphs += 1;
        if self.section.is_task {
            if self.section.paragraphs == 1
                && let Some(asked) = telling(text).first()
            {
                self.body(&format!("> {asked}\n"));
            }
        } else if self.section.paragraphs <= PARAGRAPHS {
            let sentences = telling(text).join(" ");
            self.body(&format!("{sentences}\n"));
        }
    }

    fn item(&mut self, text: &str) {
        if self.section.is_task {
            return;
        }
        self.section.items += 1;
        if self.section.items == 1 {
            self.body("");
        }
        if self.section.items <= limits::EXTRACT_LIST_ITEMS {
            let text = shorten(text, limits::EXTRACT_SENTENCE_CHARS);
            let _ = writeln!(self.out, "- {text}");
        }
    }

    fn json(&mut self, value: Value) {
        if self.shown.contains(&value) {
            return;
        }
        let rendered = table::render(&value);
        self.body(&rendered);
        self.shown.push(value);
    }

    /// Writes something, after the headings that wait for it.
    fn body(&mut self, text: &str) {
        for (level, heading) in self.pending.drain(..) {
            let _ = writeln!(self.out, "\n{} {heading}", "#".repeat(level));
        }
        let _ = write!(self.out, "\n{text}");
    }

    fn end_items(&mut self) {
        let more = self.section.items.saturating_sub(limits::EXTRACT_LIST_ITEMS);
        if more > 0 {
            let _ = writeln!(self.out, "- … and {more} more items");
        }
        self.section.items = 0;
    }

    fn end_section(&mut self) {
        self.end_items();
        self.section = Section::default();
    }
}

/// Cuts a report that is too long at the end of a line.
fn cut(mut report: String) -> String {
    if report.len() <= limits::EXTRACT_REPORT_BYTES {
        return report;
    }
    report.truncate(report.floor_char_boundary(limits::EXTRACT_REPORT_BYTES));
    report.truncate(report.rfind('\n').map_or(0, |end| end + 1));
    report.push_str("\n… and more\n");
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str) -> String {
        write(&Sources(vec![text])).strip_prefix(LABEL).unwrap().to_owned()
    }

    #[test]
    fn a_heading_with_nothing_under_it_is_left_out() {
        assert_eq!(report("# A\n## B\n## C\nText here.\n# D\n"), "\n# A\n\n## C\n\nText here.\n");
    }

    #[test]
    fn of_the_task_only_the_first_sentence_is_quoted() {
        assert_eq!(report("## Task\nCount it. Use 3 words.\n\n- be kind\n"), "\n## Task\n\n> Count it.\n");
    }

    #[test]
    fn the_same_json_is_shown_once() {
        let text = "### a\n```json\n{\"n\": 1}\n```\n### a result\n```json\n{\"n\": 1}\n```\n";
        assert_eq!(report(text), "\n### a\n\n- n: 1\n");
    }

    #[test]
    fn long_lists_and_long_reports_are_cut() {
        let list = "- item\n".repeat(13);
        assert!(report(&list).ends_with("- item\n- … and 3 more items\n"));
        let long = "# Heading\nSome text of it.\n".repeat(10_000);
        let cut = report(&long);
        assert!(cut.len() < limits::EXTRACT_REPORT_BYTES + 100 && cut.ends_with("\n… and more\n"));
    }
}
