//! Text that comes from elsewhere, a guest for instance: cut to a bound and freed of what could forge a line or a terminal's screen.
//!
//! It must not know where the text goes.

use crate::limits;

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
    fn long_text_is_cut_between_characters() {
        let cut = clean_to(&"ä".repeat(10), 5);
        assert_eq!(cut, "ää…");
        assert!(clean(&"x".repeat(100_000)).len() <= limits::PLUGIN_MESSAGE_BYTES + '…'.len_utf8());
    }
}
