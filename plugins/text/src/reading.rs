//! Readability of English prose by three published formulas. All of them know
//! only lengths: they say how demanding a text is, not whether it is good.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{count, syllables};

/// How hard a text is to read.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Readability {
    /// Flesch reading ease: 100 is very easy, 60 plain English, below 30 very
    /// hard. R. Flesch, A new readability yardstick, 1948:
    /// 206.835 - 1.015 words/sentences - 84.6 syllables/words.
    pub(crate) reading_ease: f64,
    /// Flesch-Kincaid grade: years of schooling (US) that it takes. Kincaid et
    /// al., 1975: 0.39 words/sentences + 11.8 syllables/words - 15.59.
    pub(crate) grade: f64,
    /// Automated readability index, also in years. Smith and Senter, 1967:
    /// 4.71 letters/words + 0.5 words/sentences - 21.43.
    pub(crate) automated_index: f64,
    /// The reading ease in words.
    pub(crate) level: &'static str,
    pub(crate) words: usize,
    /// Ends of sentences: `.`, `!`, `?` before white space; at least one.
    pub(crate) sentences: usize,
    /// By rule, for English.
    pub(crate) syllables: usize,
    /// At 238 words a minute (Brysbaert, 2019, silent reading of prose).
    pub(crate) reading_minutes: f64,
}

/// Measures a text, if there are words in it.
pub(crate) fn measure(text: &str) -> Option<Readability> {
    let (mut words, mut letters, mut spoken, mut ends) = (0_usize, 0_usize, 0_usize, 0_usize);
    for word in count::split(text) {
        words += 1;
        letters += word.chars().filter(|c| c.is_alphanumeric()).count();
        spoken += syllables::count(word);
        ends += usize::from(ends_sentence(word));
    }
    if words == 0 {
        return None;
    }
    let last_is_open = count::split(text).last().is_some_and(|word| !ends_sentence(word));
    let sentences = (ends + usize::from(last_is_open)).max(1);
    let per_sentence = words as f64 / sentences as f64;
    let per_word = spoken as f64 / words as f64;
    let reading_ease = 206.835 - 1.015 * per_sentence - 84.6 * per_word;
    Some(Readability {
        reading_ease: rounded(reading_ease),
        grade: rounded(0.39 * per_sentence + 11.8 * per_word - 15.59),
        automated_index: rounded(4.71 * (letters as f64 / words as f64) + 0.5 * per_sentence - 21.43),
        level: level(reading_ease),
        words,
        sentences,
        syllables: spoken,
        reading_minutes: rounded(words as f64 / 238.0),
    })
}

fn ends_sentence(word: &str) -> bool {
    word.trim_end_matches(['"', '\'', ')', ']', '\u{201d}', '\u{2019}', '*', '_']).ends_with(['.', '!', '?'])
}

/// Flesch's own names for the ranges.
fn level(reading_ease: f64) -> &'static str {
    match reading_ease {
        90.0.. => "very easy",
        80.0.. => "easy",
        70.0.. => "fairly easy",
        60.0.. => "plain",
        50.0.. => "fairly hard",
        30.0.. => "hard",
        _ => "very hard",
    }
}

/// To one digit: more would pretend.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formulas_are_the_published_ones() {
        // 12 words, 2 sentences, 14 syllables, 43 letters: worked out by hand.
        let measured = measure("The cat sat on the mat. It was a sunny day today.").unwrap();
        assert_eq!((measured.words, measured.sentences, measured.syllables), (12, 2, 14));
        assert_eq!(measured.reading_ease, rounded(206.835 - 1.015 * 6.0 - 84.6 * 14.0 / 12.0));
        assert_eq!(measured.grade, rounded(0.39 * 6.0 + 11.8 * 14.0 / 12.0 - 15.59));
        assert_eq!(measured.level, "very easy");
    }

    #[test]
    fn a_text_without_an_end_is_one_sentence() {
        assert_eq!(measure("no end here").unwrap().sentences, 1);
        assert_eq!(measure("One. two").unwrap().sentences, 2);
    }

    #[test]
    fn long_words_are_hard() {
        let easy = measure("We go home now.").unwrap();
        let hard = measure("Internationalization necessitates considerable deliberation.").unwrap();
        assert!(hard.reading_ease < easy.reading_ease && hard.grade > easy.grade);
        assert_eq!(hard.level, "very hard");
    }

    #[test]
    fn nothing_cannot_be_measured() {
        assert_eq!(measure(" - ... "), None);
    }
}
