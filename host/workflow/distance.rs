//! How much a text has changed: a normalised edit distance of bounded cost.
//!
//! What both texts begin and end with is set aside first, since drafts mostly change in one place. What is left is
//! compared by characters when it is short, by words when it is longer, then by lines; what is too long even then counts
//! as changed throughout.

use cofferdam_core::limits::CONVERGENCE_UNITS;

/// The part of the longer text that one must change to get the other: 0 when they are equal, 1 when they share nothing.
#[must_use]
pub(super) fn change(before: &str, after: &str) -> f64 {
    let (before, after) = (before.trim(), after.trim());
    if before == after {
        return 0.0;
    }
    let by_characters = || compare(&before.chars().collect::<Vec<_>>(), &after.chars().collect::<Vec<_>>());
    let by_words = || compare(&pieces(before, ' '), &pieces(after, ' '));
    let by_lines = || compare(&pieces(before, '\n'), &pieces(after, '\n'));
    by_characters().or_else(|_| by_words()).or_else(|_| by_lines()).unwrap_or_else(|rough| rough)
}

fn pieces(text: &str, separator: char) -> Vec<&str> {
    text.split_inclusive(separator).collect()
}

/// The normalised distance, or the upper bound of it when the texts are too long to compare.
fn compare<T: PartialEq>(before: &[T], after: &[T]) -> Result<f64, f64> {
    let longest = before.len().max(after.len());
    let (before, after) = without_common_ends(before, after);
    let left = before.len().max(after.len());
    if left > CONVERGENCE_UNITS { Err(part(left, longest)) } else { Ok(part(levenshtein(before, after), longest)) }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of lengths")]
fn part(some: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

fn without_common_ends<'a, T: PartialEq>(before: &'a [T], after: &'a [T]) -> (&'a [T], &'a [T]) {
    let start = before.iter().zip(after).take_while(|(one, other)| one == other).count();
    let (before, after) = (before.get(start..).unwrap_or_default(), after.get(start..).unwrap_or_default());
    let end = before.iter().rev().zip(after.iter().rev()).take_while(|(one, other)| one == other).count();
    let keep = |text: &'a [T]| text.get(..text.len().saturating_sub(end)).unwrap_or_default();
    (keep(before), keep(after))
}

/// The fewest insertions, deletions and replacements (Levenshtein), with one row of the table at a time.
fn levenshtein<T: PartialEq>(before: &[T], after: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=after.len()).collect();
    for (index, one) in before.iter().enumerate() {
        let (mut left, mut diagonal) = (index + 1, index);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, other) in row.iter_mut().skip(1).zip(after) {
            let replaced = diagonal + usize::from(one != other);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_the_part_that_changed() {
        let cases = [
            ("kitten", "sitting", 3.0 / 7.0),
            ("same", " same\n", 0.0),
            ("", "abcd", 1.0),
            ("abc", "xyz", 1.0),
            ("a text", "a text.", 1.0 / 7.0),
            ("ab", "ba", 1.0),
            ("aaa", "aa", 1.0 / 3.0),
        ];
        for (before, after, wanted) in cases {
            assert!((change(before, after) - wanted).abs() < 1e-9, "{before:?} {after:?}: {}", change(before, after));
            assert!((change(before, after) - change(after, before)).abs() < 1e-9, "it has two sides");
        }
    }

    #[test]
    fn long_texts_are_compared_at_a_bounded_cost() {
        let long = |word: &str| format!("{word} ").repeat(1_900);
        assert!(change(&long("one"), &long("two")) > 0.99);
        let lines: String = (0..50_000).map(|line| format!("line {line}\n")).collect();
        let changed = lines.replacen("line 25000\n", "another line\n", 1);
        assert!(change(&lines, &changed) < 0.001);
        let began = std::time::Instant::now();
        let (huge, other) = ("a b\n".repeat(500_000), "c d\n".repeat(500_000));
        assert!(change(&huge, &other) > 0.99);
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    }
}
