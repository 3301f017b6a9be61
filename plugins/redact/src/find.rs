//! All that is found in a text: places that do not overlap, in order.

use crate::{Kind, account, address, card, mail, phone, secret};
use regex_lite::Regex;
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
    for kind in Kind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        let places = match kind {
            Kind::Secret => secret::find(text),
            Kind::Email => mail::find(text),
            Kind::Iban => account::find(text),
            Kind::Card => card::find(text),
            Kind::Ip => address::find(text),
            Kind::Phone => phone::find(text),
        };
        for (from, to) in places {
            if found.iter().all(|span| to <= span.from || span.to <= from) {
                found.push(Span { from, to, kind });
            }
        }
    }
    found.sort_by_key(|span| span.from);
    found
}

/// A place: from where to where.
pub(crate) type Place = (usize, usize);

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
        self.get().find_iter(text).map(|found| (found.start(), found.end())).collect()
    }
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
}
