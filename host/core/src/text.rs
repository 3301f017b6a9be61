//! Text that comes from elsewhere, a guest for instance: cut to a bound and freed of what could forge a line or a terminal's screen.
//!
//! It must not know where the text goes.

use crate::limits;
use std::borrow::Cow;

/// At most [`limits::PLUGIN_MESSAGE_BYTES`], without control characters; line ends become spaces.
#[must_use]
pub fn clean(text: &str) -> String {
    clean_to(text, limits::PLUGIN_MESSAGE_BYTES)
}

/// At most `bytes`, without control and direction characters; line ends and tabs become spaces.
#[must_use]
pub fn clean_to(text: &str, bytes: usize) -> String {
    let cut = text.get(..text.floor_char_boundary(bytes)).unwrap_or_default();
    let mut clean: String = cut.chars().filter_map(visible).collect();
    if cut.len() < text.len() {
        clean.push('…');
    }
    clean
}

/// The text with everything escaped that a reader cannot see or that does something to a terminal: a name or a quoted
/// text must not look like another one. Line ends are escaped too.
#[must_use]
pub fn escaped(text: &str) -> Cow<'_, str> {
    escaped_where(text, |character| character.is_control() || is_unseen(character))
}

/// As [`escaped`], for text of several lines, which may be in colour: control characters are left as they are.
#[must_use]
pub fn escaped_unseen(text: &str) -> Cow<'_, str> {
    escaped_where(text, is_unseen)
}

fn escaped_where(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return text.into();
    }
    let show = |character: char| {
        if hidden(character) { character.escape_unicode().to_string() } else { character.to_string() }
    };
    text.chars().map(show).collect::<String>().into()
}

/// Whether a character is not seen, or turns the direction of others: format characters, separators of lines and
/// paragraphs, private use.
#[must_use]
pub fn is_unseen(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        | '\u{f0000}'..='\u{10ffff}')
}

fn visible(character: char) -> Option<char> {
    match character {
        '\n' | '\r' | '\t' => Some(' '),
        // Marks that turn the direction of what follows can make a line read as another.
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => None,
        character if character.is_control() => None,
        character => Some(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_direction_marks_are_gone() {
        assert_eq!(clean("a\u{1b}[31mred\u{202e}\nb\0"), "a[31mred b");
    }

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        assert_eq!(escaped("a\u{1b}\u{202e}\u{2028}\u{e000}\n"), "a\\u{1b}\\u{202e}\\u{2028}\\u{e000}\\u{a}");
        assert_eq!(escaped_unseen("a\u{1b}\n\u{2067}"), "a\u{1b}\n\\u{2067}");
        assert!(matches!(escaped("plain é 漢字"), Cow::Borrowed(_)));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let cut = clean_to(&"ä".repeat(10), 5);
        assert_eq!(cut, "ää…");
        assert!(clean(&"x".repeat(100_000)).len() <= limits::PLUGIN_MESSAGE_BYTES + '…'.len_utf8());
    }
}
