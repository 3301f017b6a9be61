//! International bank account numbers: of the length of their country, with right check digits (ISO 13616, mod 97).

use crate::find::{Place, stands_alone};

/// Characters of an account number by country.
const LENGTHS: [(&str, usize); 76] = [
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NL", 18),
    ("NO", 15),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("SA", 24),
    ("SC", 31),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("XK", 20),
];

pub(crate) fn find(text: &str) -> Vec<Place> {
    let bytes = text.as_bytes();
    let mut found: Vec<Place> = Vec::new();
    for from in (0..bytes.len()).filter(|&from| bytes.get(from..).is_some_and(may_begin)) {
        if found.last().is_none_or(|(_, to)| from >= *to)
            && let Some(to) = end(text, from)
            && stands_alone(text, (from, to))
        {
            found.push((from, to));
        }
    }
    found
}

/// Whether two letters, two digits and a character more stand here, perhaps with a separator.
fn may_begin(rest: &[u8]) -> bool {
    let [one, two, three, four, rest @ ..] = rest else { return false };
    let letters = one.is_ascii_alphabetic() && two.is_ascii_alphabetic();
    let body = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"-")).unwrap_or(rest);
    letters && three.is_ascii_digit() && four.is_ascii_digit() && body.first().is_some_and(u8::is_ascii_alphanumeric)
}

/// Where the account number that begins here ends, if it is one.
fn end(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let country = rest.get(..2)?.to_ascii_uppercase();
    let length = LENGTHS.iter().find(|(known, _)| *known == country)?.1;
    let (mut number, mut to) = (String::with_capacity(length), from);
    for letter in rest.chars() {
        match letter {
            letter if letter.is_ascii_alphanumeric() => number.push(letter.to_ascii_uppercase()),
            ' ' | '-' => {}
            _ => return None,
        }
        to += 1;
        if number.len() == length {
            return checks(&number).then_some(to);
        }
    }
    None
}

/// The first four characters to the end, letters as numbers from 10: the rest of the division by 97 is 1.
fn checks(number: &str) -> bool {
    let (head, body) = number.split_at(4);
    let digits = body.chars().chain(head.chars()).filter_map(|letter| letter.to_digit(36));
    let rest = digits.fold(0, |rest, value| (rest * if value < 10 { 10 } else { 100 } + value) % 97);
    rest == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_of_several_countries_are_found_in_any_spelling() {
        for account in [
            "DE89370400440532013000",
            "GB82 WEST 1234 5698 7654 32",
            "fr14 2004 1010 0505 0001 3m02 606",
            "NL91-ABNA-0417-1643-00",
        ] {
            let text = format!("to {account} now");
            assert_eq!(find(&text), [(3, 3 + account.len())], "{account}");
        }
    }

    #[test]
    fn a_word_that_begins_alike_hides_no_account() {
        assert_eq!(find("no12 DE89370400440532013000"), [(5, 27)]);
    }

    #[test]
    fn a_wrong_digit_or_length_is_none() {
        for text in
            ["DE88370400440532013000", "DE8937040044053201300", "DE893704004405320130001", "XX89370400440532013000"]
        {
            assert_eq!(find(text), [], "{text}");
        }
    }
}
