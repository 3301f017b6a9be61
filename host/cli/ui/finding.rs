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
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Most characters of a line that are shown.
const LINE_CHARS: usize = 160;

/// Larger files are named, not shown.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// All findings, an empty line between them, and how many there are.
pub(crate) fn render(findings: &Diagnostics) -> String {
    let mut files = Files::default();
    let mut text = String::new();
    for finding in findings {
        push(&mut text, finding, &mut files);
        text.push('\n');
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

/// The lines of files, read once each.
#[derive(Default)]
struct Files(HashMap<Arc<str>, Option<String>>);

impl Files {
    fn line(&mut self, place: &Place) -> Option<&str> {
        let text = self.0.entry(Arc::clone(&place.file)).or_insert_with(|| {
            let small = std::fs::metadata(&*place.file)
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= FILE_BYTES);
            small.then(|| std::fs::read_to_string(&*place.file).ok()).flatten()
        });
        let line = text.as_deref()?.lines().nth(usize::try_from(place.line).ok()?.checked_sub(1)?)?;
        (!line.trim().is_empty()).then_some(line)
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
        let _ =
            writeln!(text, "{margin}{} {}:{}:{}{within}", paint::quiet("-->"), place.file, place.line, place.column);
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
    // Tabs and control characters would shift the mark.
    let shown: String =
        line.chars().take(LINE_CHARS).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let before = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    // Writing into a string cannot fail.
    let _ = writeln!(text, "{margin} {bar}\n{} {bar} {}", paint::quiet(number), shown.trim_end());
    if before < LINE_CHARS {
        let marks = "^".repeat(word_length(&shown, before));
        let _ = writeln!(text, "{margin} {bar} {}{}", " ".repeat(before), paint::bad(&marks));
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
