//! Addresses of machines.

use crate::find::{Apart, Pattern, Place, around, digits};
use std::net::{Ipv4Addr, Ipv6Addr};

static V4: Pattern = Pattern::new(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}");
static V6: Pattern = Pattern::new(r"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*");

pub(crate) fn find(text: &str) -> Vec<Place> {
    let v6s = V6.places_in(text, is_part_of_v6, |row| count(row, b':') >= 2);
    let mut found: Apart = v6s.into_iter().filter_map(|place| v6(text, place)).collect();
    for place in V4.places_in(text, is_part_of_v4, |row| count(row, b'.') >= 3 && digits(row) >= 4) {
        if is_v4(text, place) {
            found.add(place);
        }
    }
    found.into_places()
}

fn is_part_of_v4(byte: &u8) -> bool {
    byte.is_ascii_digit() || *byte == b'.'
}

fn is_part_of_v6(byte: &u8) -> bool {
    byte.is_ascii_hexdigit() || b":.".contains(byte)
}

fn count(row: &[u8], sign: u8) -> usize {
    row.iter().filter(|byte| **byte == sign).count()
}

fn is_v4(text: &str, place: Place) -> bool {
    let (before, after) = around(text, place);
    let next = text.get(place.1..).unwrap_or_default();
    let goes_on = after == Some('.') && next.chars().nth(1).is_some_and(|letter| letter.is_ascii_digit());
    let joined = before.is_some_and(|letter| letter.is_alphanumeric() || matches!(letter, '.' | '_'));
    let ends = !after.is_some_and(char::is_alphanumeric);
    !joined && ends && !goes_on && text.get(place.0..place.1).is_some_and(|text| text.parse::<Ipv4Addr>().is_ok())
}

/// The address without the signs of the sentence after it. What is as short as a path in code is none.
fn v6(text: &str, (from, to): Place) -> Option<Place> {
    let candidate = text.get(from..to)?.trim_end_matches(['.', ':']);
    let whole = if text.get(from..to)?.ends_with("::") && !candidate.contains("::") {
        format!("{candidate}::")
    } else {
        candidate.to_owned()
    };
    let place = (from, from + whole.len());
    let (before, after) = around(text, place);
    let joins = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    let has_digit = whole.bytes().any(|byte| byte.is_ascii_digit());
    let groups = whole.split(':').filter(|group| !group.is_empty()).count();
    let address = whole.parse::<Ipv6Addr>().is_ok();
    (address && has_digit && groups > 1 && !joins(before) && !joins(after)).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        find(text).into_iter().map(|(from, to)| text.get(from..to).unwrap()).collect()
    }

    #[test]
    fn both_kinds_are_found_without_the_sentence_around_them() {
        assert_eq!(found("At 10.0.0.1, 8.8.8.8:53 and 192.168.0.1."), ["10.0.0.1", "8.8.8.8", "192.168.0.1"]);
        assert_eq!(
            found("[2001:db8::1]:443 or fe80::1. ::ffff:10.0.0.1"),
            ["2001:db8::1", "fe80::1", "::ffff:10.0.0.1"]
        );
    }

    #[test]
    fn versions_times_and_paths_of_code_are_none() {
        for text in ["1.2.3.4.5", "v1.2.3.4", "256.1.1.1", "12:30:45", "a::b", "std::vec", "::1", "key: value:"] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }
}
