//! Verdicts as people and programs read them.

use super::junit;
use crate::args::TestFormat;
use crate::terminal;
use crate::ui::{diff, paint};
use cofferdam::core::text::{escaped, is_unseen};
use cofferdam::plugin::Spent;
use cofferdam::sink::bytes;
use cofferdam::testing::{Miss, Verdict};
use serde_json::json;
use std::fmt::Write as _;
use std::time::Duration;

/// Longer texts are cut.
const SHOWN_CHARS: usize = 4_000;

/// Tells of cases as they are done, in their order.
pub(in crate::command) struct Reporter {
    format: TestFormat,
    file: String,
}

impl Reporter {
    pub(in crate::command) fn new(format: TestFormat) -> Self {
        Self { format, file: String::new() }
    }

    /// Tells of one case.
    pub(in crate::command) fn tell(&mut self, verdict: &Verdict) -> std::io::Result<()> {
        match self.format {
            TestFormat::Text => {
                let head =
                    if self.file == verdict.file { String::new() } else { format!("{}\n", escaped(&verdict.file)) };
                verdict.file.clone_into(&mut self.file);
                terminal::print(&format!("{head}{}", of_case(verdict)))
            }
            TestFormat::Json => {
                let mut line = json!({
                    "kind": "case",
                    "file": verdict.file,
                    "case": verdict.case,
                    "line": verdict.line,
                    "passed": verdict.passed(),
                    "misses": verdict.misses,
                });
                if let (Some(members), Some(spent)) = (line.as_object_mut(), verdict.spent) {
                    members.insert("fuel".to_owned(), spent.fuel.into());
                    members.insert("memory_bytes".to_owned(), spent.memory_bytes.into());
                }
                terminal::print(&format!("{line}\n"))
            }
            TestFormat::Junit => Ok(()),
        }
    }

    /// Tells of all of them together, and how many of `wanted` did not run.
    pub(in crate::command) fn finish(&self, verdicts: &[Verdict], wanted: usize) -> std::io::Result<()> {
        let left = wanted.saturating_sub(verdicts.len());
        let failed = verdicts.iter().filter(|verdict| !verdict.passed()).count();
        let passed = verdicts.len() - failed;
        match self.format {
            TestFormat::Junit => terminal::print(&junit::render(verdicts)),
            TestFormat::Json => {
                let mut line =
                    json!({ "kind": "summary", "cases": verdicts.len(), "passed": passed, "failed": failed });
                if let Some(members) = line.as_object_mut().filter(|_| left > 0) {
                    members.insert("not_run".to_owned(), left.into());
                }
                terminal::print(&format!("{line}\n"))
            }
            TestFormat::Text => {
                let again = |verdict: &&Verdict| {
                    format!("  {}:{} {}\n", escaped(&verdict.file), verdict.line, visible(&verdict.case))
                };
                let lines: String =
                    verdicts.iter().filter(|verdict| !verdict.passed()).map(|verdict| again(&verdict)).collect();
                let took: Duration = verdicts.iter().map(|verdict| verdict.took).sum();
                let total = format!("{passed} passed, {failed} failed");
                let left = if left == 0 { String::new() } else { paint::warn(&format!(", {left} not run")) };
                let total = if failed == 0 { paint::good(&total) } else { paint::bad(&total) };
                let time = paint::quiet(&format!("({:.2} s of work)", took.as_secs_f64()));
                let head = if failed == 0 { String::new() } else { format!("\nfailed:\n{lines}") };
                terminal::print(&format!("{head}\n{total}{left} {time}\n"))
            }
        }
    }
}

fn of_case(verdict: &Verdict) -> String {
    let spent = verdict.spent.map(|spent| paint::quiet(&of_spent(spent))).unwrap_or_default();
    if verdict.passed() {
        return format!("  {}     {}{spent}\n", paint::good("ok"), visible(&verdict.case));
    }
    let mut text = format!("  {} {}{spent}\n", paint::bad("FAILED"), visible(&verdict.case));
    verdict.misses.iter().for_each(|miss| push(&mut text, miss));
    text
}

/// What a call took, for people.
fn of_spent(spent: Spent) -> String {
    let fuel = match spent.fuel {
        None => String::new(),
        Some(fuel @ 0..10_000) => format!("fuel {fuel}, "),
        Some(fuel @ 10_000..10_000_000) => format!("fuel {} k, ", fuel / 1_000),
        Some(fuel) => format!("fuel {} M, ", fuel / 1_000_000),
    };
    format!("  ({fuel}memory {})", bytes(spent.memory_bytes))
}

fn push(text: &mut String, miss: &Miss) {
    let (expected, found) = (shown(&miss.expected), shown(&miss.found));
    // Writing into a string cannot fail.
    let _ = writeln!(text, "    {}", paint::strong(&visible(&miss.about)));
    if expected.contains('\n') && found.contains('\n') {
        push_difference(text, &expected, &found);
        return;
    }
    for (word, what) in [("expected:", expected), ("found:   ", found)] {
        let what = if what.is_empty() { "(nothing)".to_owned() } else { what.replace('\n', "\n                ") };
        let _ = writeln!(text, "      {} {what}", paint::quiet(word));
    }
}

/// Texts of several lines: the lines that differ, with some around them.
fn push_difference(text: &mut String, expected: &str, found: &str) {
    let _ = writeln!(text, "      {}", paint::quiet("- expected, + found"));
    diff::push(text, "      ", (expected, found));
}

/// A text within bounds, safe for a terminal.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{} ...", visible(text.get(..end).unwrap_or_default())),
        None => visible(text),
    }
}

fn visible(text: &str) -> String {
    let hidden = |letter: char| is_unseen(letter) || letter.is_control() && !matches!(letter, '\n' | '\t');
    text.chars()
        .map(|letter| if hidden(letter) { letter.escape_unicode().to_string() } else { letter.to_string() })
        .collect()
}
