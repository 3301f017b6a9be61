//! Sentences of prose.
//!
//! It must not change a word: what it gives are pieces of its input.

use cofferdam_core::limits;

/// The sentences of a paragraph. A sentence ends with `.`, `!` or `?` and a space before anything but a small letter, so
/// that `e.g. this` and `1.5` do not end one.
pub(super) fn sentences(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    let mut previous_ends = false;
    while let Some((index, character)) = characters.next() {
        let next_is_small = characters.peek().is_none_or(|(_, next)| next.is_lowercase());
        if previous_ends && character.is_whitespace() && !next_is_small {
            push(text, start, index, &mut out);
            start = index;
        }
        previous_ends = matches!(character, '.' | '!' | '?') || (previous_ends && matches!(character, '"' | ')' | '*'));
    }
    push(text, start, text.len(), &mut out);
    out
}

fn push<'a>(text: &'a str, start: usize, end: usize, out: &mut Vec<&'a str>) {
    let sentence = text.get(start..end).unwrap_or_default().trim();
    if !sentence.is_empty() {
        out.push(sentence);
    }
}

/// A text of at most so many characters; a longer one ends with an ellipsis.
pub(super) fn shorten(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default().trim_end()),
    }
}

/// The first sentence, and up to three later ones with figures in them.
pub(super) fn telling(text: &str) -> Vec<String> {
    let sentences = sentences(text);
    let (first, later) = sentences.split_at(sentences.len().min(1));
    let has_figure = |sentence: &&&str| sentence.bytes().any(|byte| byte.is_ascii_digit());
    let chosen = first.iter().chain(later.iter().filter(has_figure).take(3));
    chosen.map(|sentence| shorten(sentence, limits::EXTRACT_SENTENCE_CHARS)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_stop_inside_a_number_or_an_abbreviation_ends_nothing() {
        let text = "It costs 1.5 euros, e.g. today. \"Really?\" Yes. 3 remain";
        assert_eq!(sentences(text), ["It costs 1.5 euros, e.g. today.", "\"Really?\"", "Yes.", "3 remain"]);
    }

    #[test]
    fn the_first_sentence_and_those_with_figures_are_telling() {
        assert_eq!(
            telling("All is well. Nothing else. There are 3 files. Bye."),
            ["All is well.", "There are 3 files."]
        );
        assert!(telling("").is_empty());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shorten("ääää", 2), "ää…");
        assert_eq!(shorten("ää", 2), "ää");
    }
}
