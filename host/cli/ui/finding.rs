//! Findings with the line that they are about and a mark below it.
//!
//! ```text
//! error[W021]: step `review` depends on unknown step `buidl`
//!   --> audit.yaml:12:17 (steps[2].dependsOn[0])
//!    |
//! 12 |     dependsOn: [buidl]
//!    |                 ^^^^^
//!    = hint: did you mean `build`?
//! ```

use super::paint;
use cofferdam::core::diagnostic::{Diagnostic, Diagnostics, Place, Severity};
use cofferdam::core::text::{escaped, is_unseen};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Most characters of a line that are shown.
const LINE_CHARS: usize = 160;

/// Stands for what is left out of a line.
const CUT: &str = "…";

/// Most findings that are shown to a person.
const FINDINGS: usize = 100;

/// Larger files are named, not shown.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// All findings, an empty line between them, and how many there are.
pub(crate) fn render(findings: &Diagnostics) -> String {
    let mut files = Files::default();
    let mut text = String::new();
    // A generated document can have a fault in each of its lines; nobody reads them all.
    for finding in findings.iter().take(FINDINGS) {
        push(&mut text, finding, &mut files);
        text.push('\n');
    }
    let more = findings.iter().count().saturating_sub(FINDINGS);
    if more > 0 {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "and {more} more; `validate --json` prints all\n");
    }
    text.push_str(&count(findings));
    text
}

/// `2 errors, 1 warning`.
fn count(findings: &Diagnostics) -> String {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let plural = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{count} {word}s")),
    };
    let parts = [plural(of(Severity::Error), "error"), plural(of(Severity::Warning), "warning")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The lines of files, read and split once each.
#[derive(Default)]
struct Files(HashMap<Arc<str>, Vec<String>>);

impl Files {
    fn line(&mut self, place: &Place) -> Option<&str> {
        let lines = self.0.entry(Arc::clone(&place.file)).or_insert_with(|| {
            let small = std::fs::metadata(&*place.file)
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= FILE_BYTES);
            let text = small.then(|| std::fs::read_to_string(&*place.file).ok()).flatten().unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        });
        let line = lines.get(usize::try_from(place.line).ok()?.checked_sub(1)?)?;
        (!line.trim().is_empty()).then_some(line.as_str())
    }
}

fn push(text: &mut String, finding: &Diagnostic, files: &mut Files) {
    let title = match finding.severity {
        Severity::Error => paint::bad(&format!("error[{}]", finding.code)),
        Severity::Warning => paint::warn(&format!("warning[{}]", finding.code)),
    };
    let line_number = finding.place.as_ref().map(|place| place.line.to_string()).unwrap_or_default();
    let margin = " ".repeat(line_number.len().max(1));
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{title}: {}", finding.message);
    let within = if finding.path.is_empty() { String::new() } else { paint::quiet(&format!(" ({})", finding.path)) };
    if let Some(place) = &finding.place {
        let (arrow, file) = (paint::quiet("-->"), escaped(&place.file));
        let _ = writeln!(text, "{margin}{arrow} {file}:{}:{}{within}", place.line, place.column);
        if let Some(line) = files.line(place) {
            push_source(text, line, place.column, &line_number);
        }
    } else if !within.is_empty() {
        let _ = writeln!(text, "{margin}{}{within}", paint::quiet("-->"));
    }
    if let Some(hint) = &finding.hint {
        let _ = writeln!(
            text,
            "{margin} {} {}",
            paint::quiet("= hint:"),
            hint.replace('\n', &format!("\n{margin}         "))
        );
    }
}

fn push_source(text: &mut String, line: &str, column: u32, number: &str) {
    let margin = " ".repeat(number.len());
    let bar = paint::quiet("|");
    let before = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    let count = line.chars().count();
    let start = window(before.min(count), count);
    // What is escaped is wider than what it stands for, and the mark must still be below its word.
    let mut shown = if start > 0 { CUT.to_owned() } else { String::new() };
    let mut mark = shown.chars().count();
    for (index, letter) in line.chars().enumerate().skip(start).take(LINE_CHARS) {
        push_letter(&mut shown, letter);
        if index < before {
            mark = shown.chars().count();
        }
    }
    // A place behind the end of its line is that end.
    let beyond = usize::from(before > count);
    let length = word_length(&shown, mark);
    let rest = if start + LINE_CHARS < count { CUT } else { "" };
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{margin} {bar}\n{} {bar} {}{rest}", paint::quiet(number), shown.trim_end());
    let _ = writeln!(text, "{margin} {bar} {}{}", " ".repeat(mark + beyond), paint::bad(&"^".repeat(length)));
}

/// Where to begin in a line so that a letter is shown with what stands around it.
fn window(letter: usize, count: usize) -> usize {
    if count <= LINE_CHARS || letter < LINE_CHARS / 2 {
        return 0;
    }
    (letter - LINE_CHARS / 2).min(count - LINE_CHARS)
}

/// A letter as it is shown: what would move the cursor, turn the direction of writing round or not be seen at all is
/// escaped, so that a document does not look like another one.
fn push_letter(shown: &mut String, letter: char) {
    match letter {
        '\t' => shown.push(' '),
        letter if letter.is_control() || is_unseen(letter) => shown.extend(letter.escape_unicode()),
        letter => shown.push(letter),
    }
}

/// The length of the word at a position; at least one mark is drawn.
fn word_length(line: &str, before: usize) -> usize {
    let is_word = |letter: &char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/' | '@');
    line.chars().skip(before).take_while(is_word).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn the_mark_stands_below_the_word() {
        let mut text = String::new();
        push_source(&mut text, "    dependsOn: [buidl]", 17, "12");
        assert_eq!(plain(&text), "   |\n12 |     dependsOn: [buidl]\n   |                 ^^^^^\n");
    }

    #[test]
    fn of_a_long_line_the_place_is_shown() {
        for before in [0, 10, 79, 80, 81, 159, 160, 500, 9_900, 10_000] {
            let line = format!("{}{}{}", "x ".repeat(before / 2 + 1), "MARK", " y".repeat(5_000 - before / 2));
            let mut text = String::new();
            push_source(&mut text, &line, u32::try_from(2 * (before / 2) + 3).unwrap(), "1");
            let text = plain(&text);
            let lines: Vec<&str> = text.lines().collect();
            let at =
                |line: &str, what: &str| line.split_once(what).unwrap_or_else(|| panic!("{text}")).0.chars().count();
            assert_eq!(at(lines[1], "MARK"), at(lines[2], "^^^^"), "{text}");
            assert!(lines[1].chars().count() < LINE_CHARS + 10, "{text}");
            assert_eq!(lines[1].contains("| …"), 2 * (before / 2) + 2 > 80, "{text}");
            assert_eq!(lines[1].ends_with('…'), before < 10_000, "{text}");
        }
        let mut text = String::new();
        push_source(&mut text, "short", u32::MAX, "1");
        assert_eq!(plain(&text).lines().last(), Some("  |       ^"));
    }

    #[test]
    fn what_cannot_be_seen_is_escaped_and_the_mark_moves_along() {
        let mut text = String::new();
        push_source(&mut text, "a\u{202e}\u{1b}\u{200b}: bad", 7, "1");
        assert_eq!(plain(&text), "  |\n1 | a\\u{202e}\\u{1b}\\u{200b}: bad\n  |                          ^^^\n");
    }

    #[test]
    fn a_hundred_findings_are_shown_and_the_rest_counted() {
        let mut findings = Diagnostics::default();
        for number in 0..250 {
            findings.push(Diagnostic {
                code: "W061",
                severity: Severity::Error,
                place: None,
                path: String::new(),
                message: format!("number {number}"),
                hint: None,
            });
        }
        let text = plain(&render(&findings));
        assert!(text.contains("number 99\n") && !text.contains("number 100\n"), "{text}");
        assert!(text.ends_with("and 150 more; `validate --json` prints all\n\n250 errors"), "{text}");
    }

    #[test]
    fn a_finding_without_a_file_still_says_what_to_do() {
        let mut findings = Diagnostics::default();
        findings.push(Diagnostic {
            code: "W061",
            severity: Severity::Error,
            place: None,
            path: "inputs.folder".into(),
            message: "input `folder` is missing".into(),
            hint: Some("give it".into()),
        });
        let text = plain(&render(&findings));
        assert_eq!(text, "error[W061]: input `folder` is missing\n --> (inputs.folder)\n  = hint: give it\n\n1 error");
    }
}
