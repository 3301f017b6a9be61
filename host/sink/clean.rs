//! Text of guests, models and providers, made safe for a terminal.

/// The text on one line, without control characters, at most `max` characters; what is cut is marked.
#[must_use]
pub fn clean(text: &str, max: usize) -> String {
    let mut words = String::new();
    let mut count = 0;
    for letter in text.trim().chars() {
        let letter = if letter.is_control() { ' ' } else { letter };
        if (letter == ' ' && words.ends_with(' ')) || is_invisible(letter) {
            continue;
        }
        if count == max {
            words.push('…');
            break;
        }
        words.push(letter);
        count += 1;
    }
    words
}

/// Characters that change how the rest of a line reads.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn a_terminal_cannot_be_told_what_to_do() {
        assert_eq!(clean("a\u{1b}[2Jb\r\n  c\u{202e}d", 100), "a [2Jb cd");
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(clean("abc", 3), "abc");
    }
}
