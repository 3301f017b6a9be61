//! All that is found in a text: places that do not overlap, in order.

use crate::{Kind, account, address, card, mail, phone, secret};
use regex_lite::Regex;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) kind: Kind,
}

/// The places of these kinds. Where two overlap, the kind that is looked for first counts.
pub(crate) fn spans(text: &str, kinds: &[Kind]) -> Vec<Span> {
    let mut found: Vec<Span> = Vec::new();
    let mut apart = Apart::default();
    for kind in Kind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        let places = match kind {
            Kind::Secret => secret::find(text),
            Kind::Email => mail::find(text),
            Kind::Iban => account::find(text),
            Kind::Card => card::find(text),
            Kind::Ip => address::find(text),
            Kind::Phone => phone::find(text),
        };
        let free = places.into_iter().filter(|&place| apart.add(place));
        found.extend(free.map(|(from, to)| Span { from, to, kind }));
    }
    found.sort_by_key(|span| span.from);
    found
}

/// A place: from where to where.
pub(crate) type Place = (usize, usize);

/// Places that do not overlap: their ends by their beginnings.
#[derive(Default)]
pub(crate) struct Apart {
    ends: BTreeMap<usize, usize>,
}

impl Apart {
    /// Adds a place, unless it overlaps with one that is there. Of those that begin before its end only the last can.
    pub(crate) fn add(&mut self, (from, to): Place) -> bool {
        let is_free = self.ends.range(..to).next_back().is_none_or(|(_, end)| *end <= from);
        if is_free {
            self.ends.insert(from, to);
        }
        is_free
    }

    /// The places, in order.
    pub(crate) fn into_places(self) -> Vec<Place> {
        self.ends.into_iter().collect()
    }
}

impl FromIterator<Place> for Apart {
    fn from_iter<I: IntoIterator<Item = Place>>(places: I) -> Self {
        Self { ends: places.into_iter().collect() }
    }
}

/// An expression that is compiled when it is first needed.
pub(crate) struct Pattern {
    text: &'static str,
    compiled: OnceLock<Regex>,
}

impl Pattern {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self { text, compiled: OnceLock::new() }
    }

    pub(crate) fn get(&self) -> &Regex {
        self.compiled.get_or_init(|| Regex::new(self.text).expect("a test compiles every pattern"))
    }

    /// Where it matches.
    pub(crate) fn places(&self, text: &str) -> Vec<Place> {
        searched(text);
        self.get().find_iter(text).map(|found| (found.start(), found.end())).collect()
    }

    /// Where it matches, if all that it matches consists of such ASCII characters. Only rows of them that are worth it
    /// are searched, since the expression is slow; what it matches must not depend on what stands beside.
    pub(crate) fn places_in(&self, text: &str, row: fn(&u8) -> bool, worth: fn(&[u8]) -> bool) -> Vec<Place> {
        let (mut found, mut next) = (Vec::new(), 0);
        for bytes in text.as_bytes().split(|byte| !row(byte)) {
            let (from, to) = (next, next + bytes.len());
            next = to + 1;
            if worth(bytes)
                && let Some(part) = text.get(from..to)
            {
                found.extend(self.places(part).into_iter().map(|place| (from + place.0, from + place.1)));
            }
        }
        found
    }
}

/// How many digits there are.
pub(crate) fn digits(row: &[u8]) -> usize {
    row.iter().filter(|byte| byte.is_ascii_digit()).count()
}

/// Every text that an expression searches passes here, so that tests can measure the work.
#[cfg(not(test))]
pub(crate) fn searched(_text: &str) {}

#[cfg(test)]
std::thread_local! {
    static SEARCHED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
pub(crate) fn searched(text: &str) {
    SEARCHED.set(SEARCHED.get() + text.len());
}

/// The characters beside a place.
pub(crate) fn around(text: &str, (from, to): Place) -> (Option<char>, Option<char>) {
    let before = text.get(..from).and_then(|before| before.chars().next_back());
    let after = text.get(to..).and_then(|after| after.chars().next());
    (before, after)
}

/// Whether a place is no part of a longer word or number.
pub(crate) fn stands_alone(text: &str, place: Place) -> bool {
    let (before, after) = around(text, place);
    let joins = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    !joins(before) && !joins(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_that_is_looked_for_first_counts() {
        let text = "https://ada:secret-word@example.com";
        let found = spans(text, &[Kind::Email, Kind::Secret]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, Kind::Secret);
    }

    /// What is found, and how many bytes expressions searched for it.
    fn measured(text: &str) -> (Vec<Span>, usize) {
        SEARCHED.set(0);
        (spans(text, &Kind::ALL), SEARCHED.get())
    }

    #[test]
    fn prose_is_hardly_searched() {
        let text =
            "The board met on 2024-01-31 at 10:30, and kept the minutes of that meeting for 3.5 years.\n".repeat(2_000);
        let (found, work) = measured(&text);
        assert!(found.is_empty(), "{found:?}");
        assert!(work < text.len() / 2, "{work} of {}", text.len());
    }

    #[test]
    fn many_addresses_are_searched_a_few_times_at_most() {
        let text: String = (0..9_000).map(|number| format!("u{number}@host.example ")).collect();
        let (found, work) = measured(&text);
        assert!(found.len() == 9_000 && found.iter().all(|span| span.kind == Kind::Email));
        assert!(work < text.len() * 3, "{work} of {}", text.len());
    }

    #[test]
    fn a_search_in_rows_finds_what_a_search_finds() {
        let pattern = Pattern::new("[0-9]+-[0-9]+");
        for text in ["", "1-2", "\u{e4}1-2\u{e9} 3-4-5\u{20ac}6-7", "a1-b-2 33-44,", "--1--2-3-"] {
            let in_rows = pattern.places_in(text, |byte| byte.is_ascii_digit() || *byte == b'-', |row| row.len() > 2);
            assert_eq!(in_rows, pattern.places(text), "{text}");
        }
    }

    #[test]
    fn only_places_that_do_not_overlap_are_added() {
        let mut apart = Apart::default();
        let added = [(5, 10), (10, 12), (0, 5), (4, 6), (6, 7), (0, 20), (12, 13)].map(|place| apart.add(place));
        assert_eq!(added, [true, true, true, false, false, false, true]);
        assert_eq!(apart.into_places(), [(0, 5), (5, 10), (10, 12), (12, 13)]);
    }
}
