//! How much a text has changed: a normalised edit distance of bounded cost.
//!
//! Edits are counted by characters while they are few, then by words. What differs in more than that is compared by the
//! words that each text has, wherever they stand, which takes a time in proportion to the texts; the edit distance by words
//! is never smaller.

use cofferdam_core::limits::{CONVERGENCE_COMPARISONS, CONVERGENCE_EDITS};
use std::collections::HashMap;

/// A longer word is none that people write: its characters count as words, as in scripts that put no blanks between them.
const WORD_BYTES: usize = 64;

/// The part of the longer text that one must change to get the other: 0 when they are equal, 1 when they share nothing.
#[must_use]
pub(super) fn change(before: &str, after: &str) -> f64 {
    let (before, after) = (before.trim(), after.trim());
    if before == after {
        return 0.0;
    }
    let by_characters = || compare(&before.chars().collect::<Vec<_>>(), &after.chars().collect::<Vec<_>>());
    by_characters().unwrap_or_else(|| {
        let (before, after) = (words(before), words(after));
        compare(&before, &after).unwrap_or_else(|| unshared(&before, &after))
    })
}

/// Words with the blanks after them.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in text.split_inclusive(char::is_whitespace) {
        if word.len() <= WORD_BYTES {
            words.push(word);
        } else {
            words.extend(word.split_inclusive(|_: char| true));
        }
    }
    words
}

/// The normalised distance; none when it takes too many edits or too long to count them.
fn compare<T: PartialEq>(before: &[T], after: &[T]) -> Option<f64> {
    let longest = before.len().max(after.len());
    let (before, after) = without_common_ends(before, after);
    Edits { before, after, left: CONVERGENCE_COMPARISONS }.count().map(|edits| part(edits, longest))
}

/// The part of the longer text that is not in the other.
fn unshared(before: &[&str], after: &[&str]) -> f64 {
    let mut surplus: HashMap<&str, i64> = HashMap::new();
    before.iter().for_each(|word| *surplus.entry(word).or_default() += 1);
    after.iter().for_each(|word| *surplus.entry(word).or_default() -= 1);
    let sum = |sign: i64| surplus.values().map(|count| usize::try_from(count * sign).unwrap_or(0)).sum::<usize>();
    part(sum(1).max(sum(-1)), before.len().max(after.len()))
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

/// Counts the fewest insertions, deletions and replacements: how far one gets on each diagonal of the table with no edit,
/// with one, with two (Ukkonen, "Algorithms for Approximate String Matching", 1985). That takes the square of the edits,
/// not the product of the lengths.
struct Edits<'a, T> {
    before: &'a [T],
    after: &'a [T],
    /// Comparisons that may still be made.
    left: usize,
}

impl<T: PartialEq> Edits<'_, T> {
    fn count(mut self) -> Option<usize> {
        let (rows, columns) = (self.before.len(), self.after.len());
        // A diagonal is named by how far right of the corner it begins, moved by `middle` to be no less than 0.
        let most = rows.max(columns).min(CONVERGENCE_EDITS);
        let middle = most + 1;
        let goal = (columns + middle).checked_sub(rows)?;
        let mut reached: Vec<Option<usize>> = vec![None; 2 * middle + 1];
        for edits in 0..=most {
            let mut next = reached.clone();
            for diagonal in middle - edits.min(rows)..=middle + edits.min(columns) {
                let row = if edits == 0 { Some(0) } else { Self::step(&reached, diagonal) };
                let Some(row) = row.filter(|row| row + diagonal >= middle) else { continue };
                let row = row.min(rows).min((columns + middle).saturating_sub(diagonal));
                let row = self.slide(row, row + diagonal - middle)?;
                if let Some(place) = next.get_mut(diagonal) {
                    *place = Some(row);
                }
                if diagonal == goal && row == rows {
                    return Some(edits);
                }
            }
            reached = next;
        }
        None
    }

    /// How far one edit more leads on a diagonal: a replacement on it, a deletion from the right, an insertion from the left.
    fn step(reached: &[Option<usize>], diagonal: usize) -> Option<usize> {
        let at = |diagonal: usize| reached.get(diagonal).copied().flatten();
        let inserted = diagonal.checked_sub(1).and_then(at);
        [at(diagonal).map(|row| row + 1), at(diagonal + 1).map(|row| row + 1), inserted].into_iter().flatten().max()
    }

    /// How far both are equal from here on.
    fn slide(&mut self, row: usize, column: usize) -> Option<usize> {
        let (before, after) = (self.before.get(row..)?, self.after.get(column..)?);
        let equal = before.iter().zip(after).take_while(|(one, other)| one == other).count();
        self.left = self.left.checked_sub(equal + 1)?;
        Some(row + equal)
    }
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
            ("intention", "execution", 5.0 / 9.0),
            ("xabcdefgh", "abcdefghy", 2.0 / 9.0),
        ];
        for (before, after, wanted) in cases {
            assert!((change(before, after) - wanted).abs() < 1e-9, "{before:?} {after:?}: {}", change(before, after));
            assert!((change(before, after) - change(after, before)).abs() < 1e-9, "it has two sides");
        }
    }

    /// Cell by cell.
    fn plain(before: &[u8], after: &[u8]) -> usize {
        let mut row: Vec<usize> = (0..=after.len()).collect();
        for (index, one) in before.iter().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], index + 1);
            for column in 0..after.len() {
                let replaced = diagonal + usize::from(*one != after[column]);
                diagonal = row[column + 1];
                row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
            }
        }
        row[after.len()]
    }

    #[test]
    fn the_count_is_that_of_the_whole_table() {
        let mut seed = 7_u64;
        let mut text = |longest: u64| -> Vec<u8> {
            let mut dice = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed >> 33
            };
            (0..dice() % longest).map(|_| b'a' + u8::try_from(dice() % 3).unwrap()).collect()
        };
        for _ in 0..2_000 {
            let (before, after) = (text(30), text(30));
            let edits = Edits { before: &before, after: &after, left: 100_000 }.count();
            assert_eq!(edits, Some(plain(&before, &after)), "{before:?} {after:?}");
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

    #[test]
    fn long_texts_of_one_line_are_compared_too() {
        let words = |from: usize| (from..from + 150_000).map(|word| format!("word{word}")).collect::<Vec<_>>();
        let text = words(0).join(" ");
        let began = std::time::Instant::now();
        // In two places, so that there are no common ends.
        let few = format!("A {text} z.");
        assert!((0.0..0.001).contains(&change(&text, &few)) && change(&text, &few) > 0.0, "{}", change(&text, &few));
        let mut every_tenth = words(0);
        every_tenth.iter_mut().step_by(10).for_each(|word| *word = "new".to_owned());
        let tenth = change(&text, &every_tenth.join(" "));
        assert!((0.09..0.11).contains(&tenth), "{tenth}");
        assert!(change(&text, &words(500_000).join(" ")) > 0.99);
        let (one_word, other) = ("ab".repeat(600_000), "ba".repeat(600_000));
        assert!(change(&one_word, &other) < 0.001, "{}", change(&one_word, &other));
        let (letters, others) = ("abcdefghij".repeat(100_000), "zyxwvutsrq".repeat(100_000));
        assert!(change(&letters, &others) > 0.99);
        let (stripes, shifted) = ("aab".repeat(400_000), "aba".repeat(390_000));
        assert!(change(&stripes, &shifted) < 0.1);
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    }
}
