//! How the difference of two texts looks: lines that are gone after `-`, lines that are new after `+`.
//!
//! It must not compare anything itself.

use super::paint;
use cofferdam::core::text::escaped;
use cofferdam::diff::{Line, lines};
use std::fmt::Write as _;

/// Lines that both texts have around each change.
const AROUND: usize = 2;

/// Most lines that are shown.
const SHOWN_LINES: usize = 200;

/// Most characters of a line.
const LINE_CHARS: usize = 400;

/// Adds the lines in which two texts differ, each after a margin.
pub(crate) fn push(text: &mut String, margin: &str, (old, new): (&str, &str)) {
    let lines = lines(old, new, AROUND);
    for line in lines.iter().take(SHOWN_LINES) {
        let line = match line {
            Line::Same(line) => format!("  {}", shown(line)),
            Line::Removed(line) => paint::bad(&format!("- {}", shown(line))),
            Line::Added(line) => paint::good(&format!("+ {}", shown(line))),
            Line::Gap => paint::quiet("..."),
            Line::Uncompared(left) => paint::quiet(&format!("... {left} more lines were not compared")),
        };
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{margin}{line}");
    }
    if let Some(more) = lines.len().checked_sub(SHOWN_LINES).filter(|more| *more > 0) {
        let _ = writeln!(text, "{margin}{}", paint::quiet(&format!("... {more} more lines")));
    }
}

/// A line within bounds, safe for a terminal.
fn shown(line: &str) -> String {
    let line = line.replace('\t', "    ");
    match line.char_indices().nth(LINE_CHARS) {
        Some((end, _)) => format!("{}…", escaped(line.get(..end).unwrap_or_default())),
        None => escaped(&line).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_difference_is_cut_and_cannot_drive_a_terminal() {
        let new = (0..SHOWN_LINES + 7).map(|line| format!("{line}\u{1b}[2J\n")).collect::<String>();
        let mut text = String::new();
        push(&mut text, "  ", ("", &new));
        assert!(text.contains("... 7 more lines") && !text.contains("\u{1b}[2J"), "{text}");
    }
}
