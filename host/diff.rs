//! What changed between two texts, line by line: for documents, outputs and expectations.
//!
//! It must not know what the texts are, nor how a difference is coloured.

use cofferdam_core::limits;
use similar::{DiffTag, TextDiff};
use std::fmt::Write as _;
use std::ops::Range;

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'t> {
    /// It stands in both.
    Same(&'t str),
    /// Only the old text has it.
    Removed(&'t str),
    /// Only the new text has it.
    Added(&'t str),
    /// Lines that both have are left out here.
    Gap,
    /// This many lines were not compared: the texts are too long.
    Uncompared(usize),
}

/// The lines that differ, with up to `around` lines before and after each. Nothing for texts of the same lines; whether
/// the last line is ended makes no difference.
#[must_use]
pub fn lines<'t>(old: &'t str, new: &'t str, around: usize) -> Vec<Line<'t>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // What is the same at both ends costs nothing, so that a small change in a long text is found whole.
    let shared = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(old, new)| old == new).count();
    let before = shared(&mut old.iter().zip(&new));
    let shorter = old.len().min(new.len());
    let after = shared(&mut old.iter().rev().zip(new.iter().rev())).min(shorter - before);
    let start = before.saturating_sub(around);
    let part = |lines: &[&'t str]| {
        let end = (lines.len() - after).saturating_add(around).min(lines.len());
        let part = lines.get(start..end).unwrap_or_default();
        let compared = part.get(..part.len().min(limits::DIFF_LINES)).unwrap_or_default().to_vec();
        (part.len() - compared.len(), compared)
    };
    let ((left_of_old, old), (left_of_new, new)) = (part(&old), part(&new));
    let difference = TextDiff::from_slices(&old, &new);
    let mut found = Vec::new();
    for (index, group) in difference.grouped_ops(around).iter().enumerate() {
        if index > 0 {
            found.push(Line::Gap);
        }
        for operation in group {
            let (tag, removed, added) = operation.as_tag_tuple();
            let of = |lines: &[&'t str], range| lines.get::<Range<usize>>(range).unwrap_or_default().to_vec();
            let (removed, added) = (of(&old, removed), of(&new, added));
            if tag == DiffTag::Equal {
                found.extend(removed.into_iter().map(Line::Same));
                continue;
            }
            found.extend(removed.into_iter().map(Line::Removed));
            found.extend(added.into_iter().map(Line::Added));
        }
    }
    match left_of_old.max(left_of_new) {
        0 => {}
        left => found.push(Line::Uncompared(left)),
    }
    found
}

/// The same as text: `- old`, `+ new`, two spaces before what both have, `...` for what is left out.
#[must_use]
pub fn text(old: &str, new: &str, around: usize) -> String {
    lines(old, new, around).iter().fold(String::new(), |mut text, line| {
        // Writing into a string cannot fail.
        let _ = match line {
            Line::Same(line) => writeln!(text, "  {line}"),
            Line::Removed(line) => writeln!(text, "- {line}"),
            Line::Added(line) => writeln!(text, "+ {line}"),
            Line::Gap => writeln!(text, "..."),
            Line::Uncompared(left) => writeln!(text, "... {left} more lines were not compared"),
        };
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_lines_are_no_difference() {
        assert!(lines("a\nb\n", "a\nb", 2).is_empty());
        assert!(lines("", "", 2).is_empty());
    }

    #[test]
    fn a_change_stands_between_what_is_around_it() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = "1\n2\n3\nfour\n5\n6\n7\n8\n9\n10\n";
        assert_eq!(text(old, new, 1), "  3\n- 4\n+ four\n  5\n...\n  9\n+ 10\n");
        assert_eq!(text("a\na\n", "a\n", 1), "  a\n- a\n");
        assert_eq!(text("", "x", 1), "+ x\n");
    }

    #[test]
    fn a_small_change_in_a_long_text_is_found() {
        let old = "same\n".repeat(limits::DIFF_LINES * 3);
        let new = format!("{old}more\n");
        assert_eq!(text(&old, &new, 1), "  same\n+ more\n");
    }

    #[test]
    fn long_texts_are_compared_as_far_as_the_bound_allows() {
        let of = |word: &str| (0..limits::DIFF_LINES + 5).map(|line| format!("{word} {line}\n")).collect::<String>();
        let (old, new) = (of("old"), of("new"));
        assert_eq!(lines(&old, &new, 2).last(), Some(&Line::Uncompared(5)));
    }
}
