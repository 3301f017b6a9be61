//! Text safety: what a reader cannot see is removed, what misleads a reader is refused.

use super::code;
use super::report::{Report, Spot};
use icu_normalizer::ComposingNormalizerBorrowed;
use std::collections::BTreeSet;

/// The safe form of a text, when it differs from the text. Removals are warned about; characters that turn the
/// direction of text around are errors.
pub(super) fn clean(text: &str, report: &mut Report, spot: Spot, path: &str) -> Option<String> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t')) {
        return None;
    }
    if let Some(found) = text.chars().find(|character| is_bidi(*character)) {
        let message = format!("the text contains U+{:04X}, which turns the direction of text around", u32::from(found));
        report.at(code::BIDI, spot, path, message).hint("remove the character");
    }
    let removed: BTreeSet<char> = text.chars().filter(|character| is_invisible(*character)).collect();
    if !removed.is_empty() {
        let names: Vec<String> =
            removed.iter().take(5).map(|character| format!("U+{:04X}", u32::from(*character))).collect();
        report
            .at(
                code::REMOVED_CHARACTERS,
                spot,
                path,
                format!("invisible characters were removed: {}", names.join(", ")),
            )
            .warning();
    }
    let kept: String = text.chars().filter(|character| !is_invisible(*character)).collect();
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(&kept);
    (composed != text).then(|| composed.into_owned())
}

fn is_bidi(character: char) -> bool {
    matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

fn is_invisible(character: char) -> bool {
    let control = character.is_control() && !matches!(character, '\n' | '\t');
    let zero_width = matches!(character, '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}' | '\u{180E}');
    let private =
        matches!(character, '\u{E000}'..='\u{F8FF}' | '\u{F0000}'..='\u{FFFFD}' | '\u{100000}'..='\u{10FFFD}');
    control || zero_width || private
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> (Option<String>, Vec<&'static str>) {
        let mut report = Report::new("x.yaml", "".into());
        let cleaned = clean(text, &mut report, Spot::START, "name");
        (cleaned, report.finish().iter().map(|found| found.code).collect())
    }

    #[test]
    fn clean_text_is_left_alone() {
        assert_eq!(run("plain\n\ttext é 漢字 🙂"), (None, vec![]));
    }

    #[test]
    fn invisible_characters_are_removed_with_a_warning() {
        assert_eq!(run("a\u{200B}b\u{7}c\u{E000}"), (Some("abc".into()), vec!["W013"]));
    }

    #[test]
    fn overrides_of_direction_are_errors() {
        assert_eq!(run("a\u{202E}b").1, ["W014"]);
        assert_eq!(run("a\u{2067}b").1, ["W014"]);
    }

    #[test]
    fn text_is_composed() {
        assert_eq!(run("e\u{301}"), (Some("é".into()), vec![]));
    }
}
