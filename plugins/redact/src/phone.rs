//! Telephone numbers: international ones, and national ones that are written with separators.
//!
//! There are no check digits, so numbers in a row without any sign of being one stay.

use crate::find::{Apart, Pattern, Place, around, digits};

/// Digits of the shortest number of any form.
const FEWEST: usize = 8;

static INTERNATIONAL: Pattern = Pattern::new(r"(?:\+|00)[1-9][0-9]{0,2}(?:[ ./()-]{0,3}[0-9]){6,13}");
static NATIONAL: Pattern = Pattern::new(r"\(?0[1-9][0-9]{1,4}\)?(?: ?[/-] ?| )[0-9](?:[ /-]?[0-9]){4,9}");
static NORTH_AMERICAN: Pattern = Pattern::new(r"(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}");

pub(crate) fn find(text: &str) -> Vec<Place> {
    let mut found = Apart::default();
    for (pattern, fewest) in [(&INTERNATIONAL, 8), (&NATIONAL, 9), (&NORTH_AMERICAN, 10)] {
        for place in pattern.places_in(text, is_part, |row| digits(row) >= FEWEST) {
            let count = digits(text.get(place.0..place.1).unwrap_or_default().as_bytes());
            if (fewest..=15).contains(&count) && is_apart(text, place) {
                found.add(place);
            }
        }
    }
    found.into_places()
}

fn is_part(byte: &u8) -> bool {
    byte.is_ascii_digit() || b"+ ./()-".contains(byte)
}

/// Whether no digit, word or amount goes on beside it.
fn is_apart(text: &str, place: Place) -> bool {
    let (before, after) = around(text, place);
    // A group of digits in a longer row of groups; only a plus sign says that a number begins here.
    let head = text.get(..place.0).unwrap_or_default().trim_end_matches(' ');
    let in_a_row = head.ends_with(|letter: char| letter.is_ascii_digit());
    if in_a_row && !text.get(place.0..).is_some_and(|number| number.starts_with('+')) {
        return false;
    }
    let before = before.is_some_and(|letter| letter.is_alphanumeric() || matches!(letter, '.' | ',' | '_' | '-'));
    !before && !after.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_the_usual_spellings() {
        for number in [
            "+49 30 901820",
            "+1-202-555-0143",
            "+44 (0)20 7946 0958",
            "0049 30 9018200",
            "030 / 901 820 55",
            "(0664) 1234567",
            "202-555-0143",
            "(202) 555-0143",
        ] {
            let text = format!("call {number}, please");
            assert_eq!(find(&text), [(5, 5 + number.len())], "{number}");
        }
    }

    #[test]
    fn dates_amounts_and_plain_numbers_are_none() {
        for text in [
            "2024-01-31",
            "01-02-2023",
            "1234567890",
            "3.14159 26535",
            "id 20240131-0001",
            "v0-12345678",
            "3704 0044 0532 0130 01",
        ] {
            assert_eq!(find(text), [], "{text}");
        }
    }
}
