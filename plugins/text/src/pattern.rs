//! Search by regular expression. The engine takes linear time, so that no
//! pattern can hang the call.

use std::collections::BTreeMap;

use cofferdam_sdk::{Error, Result};
use regex_lite::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const DEFAULT_LIMIT: usize = 1_000;
const MOST_MATCHES: usize = 10_000;
const MOST_CHARACTERS: usize = 1_000;
const LONGEST_PATTERN: usize = 1_000;

/// What to search for.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Search {
    /// A regular expression; `^` and `$` match at the ends of lines.
    pattern: String,
    /// Whether upper and lower case are the same. Default: no.
    #[serde(default)]
    ignore_case: bool,
    /// List at most so many matches. Default: 1000; at most 10000.
    #[serde(default)]
    limit: Option<usize>,
}

/// One match.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Match {
    /// Counted from 1.
    pub(crate) line: usize,
    /// In characters, counted from 1.
    pub(crate) column: usize,
    /// What matched, at most 1000 characters of it.
    pub(crate) text: String,
    /// What the groups matched, by name, or by number if they have none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) groups: BTreeMap<String, String>,
}

/// Matches, and how many there are in all.
pub(crate) struct Found {
    pub(crate) matches: Vec<Match>,
    pub(crate) count: usize,
}

impl Search {
    /// How many matches to list.
    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_LIMIT).min(MOST_MATCHES)
    }

    /// Checks the pattern.
    ///
    /// # Errors
    ///
    /// A pattern that is none, is too long, or matches nothing everywhere.
    pub(crate) fn compile(&self) -> Result<Regex> {
        if self.pattern.len() > LONGEST_PATTERN {
            return Err(Error::invalid_input(format!("`pattern` is longer than {LONGEST_PATTERN} bytes")));
        }
        RegexBuilder::new(&self.pattern)
            .multi_line(true)
            .case_insensitive(self.ignore_case)
            .build()
            .map_err(|error| Error::invalid_input(format!("`pattern`: {error}")))
    }
}

/// Finds all matches and lists the first `limit`.
pub(crate) fn find(pattern: &Regex, text: &str, limit: usize) -> Found {
    let mut found = Found { matches: Vec::new(), count: 0 };
    let (mut line, mut line_start, mut counted_to) = (1, 0, 0);
    for captures in pattern.captures_iter(text) {
        found.count += 1;
        let Some(whole) = captures.get(0) else {
            continue;
        };
        if found.matches.len() >= limit {
            continue;
        }
        let between = text.get(counted_to..whole.start()).unwrap_or_default();
        line += between.matches('\n').count();
        line_start = between.rfind('\n').map_or(line_start, |at| counted_to + at + 1);
        counted_to = whole.start();
        let before = text.get(line_start..whole.start()).unwrap_or_default();
        found.matches.push(Match {
            line,
            column: before.chars().count() + 1,
            text: cut(whole.as_str()),
            groups: groups(pattern, &captures),
        });
    }
    found
}

fn groups(pattern: &Regex, captures: &regex_lite::Captures<'_>) -> BTreeMap<String, String> {
    pattern
        .capture_names()
        .enumerate()
        .skip(1)
        .filter_map(|(number, name)| {
            let name = name.map_or_else(|| number.to_string(), str::to_owned);
            captures.get(number).map(|group| (name, cut(group.as_str())))
        })
        .collect()
}

fn cut(text: &str) -> String {
    text.chars().take(MOST_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(pattern: &str, text: &str, limit: usize) -> Found {
        let search = Search { pattern: pattern.to_owned(), ignore_case: true, limit: None };
        find(&search.compile().unwrap(), text, limit)
    }

    #[test]
    fn places_are_counted_in_lines_and_characters() {
        let found = search("^x|b", "a\u{e4}b\nx\n\nb b", 10);
        let places: Vec<_> = found.matches.iter().map(|m| (m.line, m.column)).collect();
        assert_eq!(places, [(1, 3), (2, 1), (4, 1), (4, 3)]);
    }

    #[test]
    fn groups_have_their_names_or_numbers() {
        let found = search(r"(\w+)=(?P<value>\w+)(!)?", "A=1", 10);
        let groups: Vec<_> = found.matches[0].groups.iter().collect();
        assert_eq!(groups.len(), 2);
        assert_eq!(found.matches[0].groups["1"], "A");
        assert_eq!(found.matches[0].groups["value"], "1");
    }

    #[test]
    fn more_than_the_limit_is_counted() {
        let found = search("a", "aaaa", 2);
        assert_eq!((found.matches.len(), found.count), (2, 4));
    }

    #[test]
    fn a_pattern_that_is_none_is_an_error() {
        let search = Search { pattern: "(".to_owned(), ignore_case: false, limit: None };
        let error = search.compile().unwrap_err();
        assert!(error.message().starts_with("`pattern`: "), "{error}");
    }
}
