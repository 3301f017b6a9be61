//! Counts of words and lines.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

const MOST_FREQUENT: usize = 10;

/// Counts of words. A word is what stands between white space, if there is a
/// letter or digit in it.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct WordCounts {
    /// All words.
    pub(crate) words: usize,
    /// Different words, without regard to case and signs around them.
    pub(crate) distinct: usize,
    /// All characters, white space included.
    pub(crate) characters: usize,
    /// The ten most frequent words of four letters and more.
    pub(crate) frequent: Vec<Frequency>,
}

/// How often a word occurs.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Frequency {
    pub(crate) word: String,
    pub(crate) count: usize,
}

/// Counts of lines. What follows the last line ending is a line if it is not
/// empty.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct LineCounts {
    /// All lines.
    pub(crate) lines: usize,
    /// Lines of white space only.
    pub(crate) blank: usize,
    /// Characters of the longest line.
    pub(crate) longest: usize,
    /// Which line that is, counted from 1; 0 if there is none.
    pub(crate) longest_line: usize,
}

/// The words of a text.
pub(crate) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|word| word.contains(char::is_alphanumeric))
}

/// Counts words.
pub(crate) fn words(text: &str) -> WordCounts {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut words = 0;
    for word in split(text) {
        words += 1;
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        *counts.entry(bare).or_default() += 1;
    }
    let distinct = counts.len();
    let mut frequent: Vec<Frequency> = counts
        .into_iter()
        .filter(|(word, _)| word.chars().filter(|c| c.is_alphabetic()).count() >= 4)
        .map(|(word, count)| Frequency { word, count })
        .collect();
    frequent.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.word.cmp(&b.word)));
    frequent.truncate(MOST_FREQUENT);
    WordCounts { words, distinct, characters: text.chars().count(), frequent }
}

/// Counts lines.
pub(crate) fn lines(text: &str) -> LineCounts {
    let mut counts = LineCounts { lines: 0, blank: 0, longest: 0, longest_line: 0 };
    for line in text.lines() {
        counts.lines += 1;
        counts.blank += usize::from(line.trim().is_empty());
        let length = line.chars().count();
        if length > counts.longest {
            counts.longest = length;
            counts.longest_line = counts.lines;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_has_a_letter_or_a_digit() {
        let counts = words("To be - or not, to be: 2b?");
        assert_eq!((counts.words, counts.distinct), (7, 5));
        assert_eq!(counts.frequent, []);
    }

    #[test]
    fn frequent_words_come_first_and_equal_ones_by_name() {
        let counts = words("Zebra zebra! apple Apple. pear tree");
        let found: Vec<_> = counts.frequent.iter().map(|f| (f.word.as_str(), f.count)).collect();
        assert_eq!(found, [("apple", 2), ("zebra", 2), ("pear", 1), ("tree", 1)]);
    }

    #[test]
    fn lines_are_counted_with_any_ending() {
        let counts = lines("one\r\n\r\n  \nthree long\n");
        assert_eq!(counts, LineCounts { lines: 4, blank: 2, longest: 10, longest_line: 4 });
        assert_eq!(lines("").lines, 0);
    }
}
