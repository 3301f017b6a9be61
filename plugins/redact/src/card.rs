//! Numbers of payment cards: they begin as an issuer's do, have the length of that issuer, and a right check digit
//! (ISO/IEC 7812, Luhn).

use crate::find::{Pattern, Place, around, digits};

/// Digits of the shortest number.
const FEWEST: usize = 13;

static DIGITS: Pattern = Pattern::new(r"[2-6][0-9](?:[ -]?[0-9]){11,60}");

pub(crate) fn find(text: &str) -> Vec<Place> {
    let mut found = Vec::new();
    for place in DIGITS.places_in(text, is_part, |row| digits(row) >= FEWEST) {
        let (before, _) = around(text, place);
        let joined = before.is_some_and(|letter| letter.is_alphanumeric() || matches!(letter, '.' | '_'));
        if !joined && let Some(to) = end(text, place) {
            found.push((place.0, to));
        }
    }
    found
}

fn is_part(byte: &u8) -> bool {
    byte.is_ascii_digit() || b" -".contains(byte)
}

/// Whether a text is nothing but such a number.
pub(crate) fn is_card(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && fits_an_issuer(text.bytes()) && checks(text.bytes())
}

/// Whether digits begin as those of an issuer do, and are as many.
fn fits_an_issuer(digits: impl Iterator<Item = u8> + Clone) -> bool {
    let length = digits.clone().count();
    let head = digits.take(2).fold(0, |head, digit| head * 10 + u32::from(digit - b'0'));
    match head {
        40..=49 => matches!(length, 13 | 16 | 19),
        34 | 37 => length == 15,
        30 | 36 | 38 | 39 => (14..=19).contains(&length),
        22..=27 | 51..=55 => length == 16,
        35 | 60..=65 => (16..=19).contains(&length),
        _ => false,
    }
}

/// The end of the longest number at the beginning of a place: after a card number other digits may follow, such as the
/// month in which it ends.
fn end(text: &str, (from, to): Place) -> Option<usize> {
    let run = text.get(from..to)?.as_bytes();
    let ends = (1..=run.len()).rev().filter(|&end| {
        let next = run.get(end).copied().or_else(|| text.as_bytes().get(to).copied());
        run.get(end - 1).is_some_and(u8::is_ascii_digit) && !next.is_some_and(|byte| byte.is_ascii_alphanumeric())
    });
    let digits = |end: usize| run.iter().take(end).copied().filter(u8::is_ascii_digit);
    ends.filter(|&end| fits_an_issuer(digits(end))).find(|&end| checks(digits(end))).map(|end| from + end)
}

fn checks(digits: impl DoubleEndedIterator<Item = u8>) -> bool {
    let mut sum = 0u32;
    for (place, digit) in digits.rev().enumerate() {
        let value = u32::from(digit - b'0') * if place % 2 == 1 { 2 } else { 1 };
        sum += if value > 9 { value - 9 } else { value };
    }
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_found_in_any_spelling_and_without_what_follows() {
        for card in ["4111111111111111", "5500-0055-5555-5559", "3782 822463 10005"] {
            let text = format!("card {card} 12/27");
            assert_eq!(find(&text), [(5, 5 + card.len())], "{card}");
        }
    }

    #[test]
    fn numbers_without_the_check_digit_are_none() {
        for text in ["4111111111111112", "1234567890123456", "41111111111111111111111", "x4111111111111111"] {
            assert_eq!(find(text), [], "{text}");
        }
        assert!(is_card("4111111111111111") && !is_card("411111111111"));
    }
}
