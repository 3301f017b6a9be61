//! `matches`: a regular expression on a text, with the work of a whole evaluation bounded.
//!
//! A match takes time by the size of its pattern times that of its text, and cannot be stopped: so each is paid for
//! before it begins. An evaluation stays on one thread, which keeps what it has left.

use crate::limits;
use cel::common::types::{CelBool, CelString};
use cel::{Env, ExecutionError};
use regex::Regex;
use std::cell::RefCell;
use std::iter::Peekable;
use std::str::Chars;

thread_local! {
    static PURSE: RefCell<Purse> = const { RefCell::new(Purse { left: 0, last: None }) };
}

/// What an evaluation may still spend, and the pattern that it used last.
struct Purse {
    left: u64,
    last: Option<(String, Regex)>,
}

/// Adds the function in both its forms.
pub(super) fn declare(env: &mut Env) {
    cel::add_overload!(env, fn matches: (CelString<'_>, CelString<'_>) -> Result<CelBool>)
        .expect("nobody else declares it");
    cel::add_member_overload!(env, fn matches: (CelString<'_>, CelString<'_>) -> Result<CelBool>)
        .expect("nobody else declares it");
}

/// A new evaluation begins on this thread.
pub(super) fn begin() {
    PURSE.with_borrow_mut(|purse| *purse = Purse { left: limits::EXPRESSION_MATCH_WORK, last: None });
}

fn matches(text: &CelString<'_>, pattern: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    let found = PURSE.with_borrow_mut(|purse| purse.is_match(text.inner(), pattern.inner()));
    found
        .map(CelBool::from)
        .map_err(|message| ExecutionError::FunctionError { function: "matches".to_owned(), message })
}

impl Purse {
    fn is_match(&mut self, text: &str, pattern: &str) -> Result<bool, String> {
        let (bytes, most) = (pattern.len(), limits::EXPRESSION_PATTERN_BYTES);
        if bytes > most {
            return Err(format!("the pattern has {bytes} bytes, more than the limit of {most}"));
        }
        let weight = weight(pattern);
        let known = self.last.as_ref().is_some_and(|(last, _)| last == pattern);
        let compiling = if known { 0 } else { limits::EXPRESSION_PATTERN_COST };
        self.pay(weight, compiling.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX)))?;
        if !known {
            // Its message quotes the pattern, and only its last line says what is wrong.
            let why = |error: regex::Error| error.to_string().lines().last().unwrap_or_default().to_owned();
            let regex = Regex::new(pattern).map_err(|error| format!("not a regular expression: {}", why(error)))?;
            self.last = Some((pattern.to_owned(), regex));
        }
        Ok(self.last.as_ref().is_some_and(|(_, regex)| regex.is_match(text)))
    }

    fn pay(&mut self, weight: u64, bytes: u64) -> Result<(), String> {
        let left = self.left.checked_sub(weight.saturating_mul(bytes));
        let most = limits::EXPRESSION_MATCH_WORK;
        self.left = left.ok_or_else(|| {
            format!("too much work: the patterns times the texts of one evaluation are more than the limit of {most}")
        })?;
        Ok(())
    }
}

/// What follows the bracket that opens a class, to the one that closes it.
fn skip_class(letters: &mut Peekable<Chars<'_>>) {
    let mut depth = 1_usize;
    let mut first = true;
    while let Some(letter) = letters.next() {
        match letter {
            '^' if first => continue,
            // As the first letter of a class it is one of it.
            ']' if !first => depth -= 1,
            '[' => depth += 1,
            '\\' => drop(letters.next()),
            _ => {}
        }
        first = letter == '[';
        if depth == 0 {
            return;
        }
    }
}

/// How large a pattern is once its counted repetitions are written out; at least 1.
fn weight(pattern: &str) -> u64 {
    // There, comments may hold any brackets: as if every repetition stood inside all others.
    let is_verbose = pattern.match_indices("(?").any(|(at, _)| {
        let flags = pattern.get(at + 2..).unwrap_or_default();
        flags.chars().take_while(char::is_ascii_alphabetic).any(|letter| letter == 'x')
    });
    if is_verbose {
        let counts = pattern.split(|letter: char| !letter.is_ascii_digit()).filter_map(|count| count.parse().ok());
        let bytes = u64::try_from(pattern.len()).unwrap_or(u64::MAX);
        return counts.filter(|count| *count > 1).fold(bytes, u64::saturating_mul);
    }
    // For each group that is open: what it weighs so far, and the last piece of it.
    let mut groups: Vec<(u64, u64)> = vec![(1, 0)];
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        let piece = match letter {
            '(' => {
                groups.push((1, 0));
                continue;
            }
            ')' if groups.len() > 1 => groups.pop().map_or(1, |(sum, _)| sum),
            '{' => {
                let counts: String = letters.by_ref().take_while(|letter| *letter != '}').collect();
                let most = counts.split(',').filter_map(|count| count.trim().parse::<u64>().ok()).max().unwrap_or(1);
                if let Some((sum, last)) = groups.last_mut() {
                    let whole = last.saturating_mul(most.max(1));
                    *sum = sum.saturating_add(whole.saturating_sub(*last));
                    *last = whole;
                }
                continue;
            }
            '[' => {
                skip_class(&mut letters);
                1
            }
            '\\' => {
                // The braces of a class that has a name count nothing.
                if matches!(letters.next(), Some('p' | 'P' | 'x' | 'u' | 'U')) && letters.peek() == Some(&'{') {
                    letters.by_ref().take_while(|letter| *letter != '}').for_each(drop);
                }
                1
            }
            _ => 1,
        };
        if let Some((sum, last)) = groups.last_mut() {
            *sum = sum.saturating_add(piece);
            *last = piece;
        }
    }
    groups.into_iter().fold(0, |sum: u64, (group, _)| sum.saturating_add(group))
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn repetitions_count_as_often_as_they_repeat() {
        for (pattern, size) in [
            ("", 1),
            ("abc", 4),
            ("a{3}", 4),
            ("a{2,5}b", 7),
            ("(a{100}){100}", 10_101),
            (r"\p{Greek}{7}", 8),
            (r"\{9}", 4),
            ("[0-9a-f]{8}", 9),
            (r"(?:[^])\](]a{10}){10}", 141),
            ("(?x: # )\n(a{10}){10}", 2_000),
            ("a{99999999999999999999}", 2),
            ("((a", 4),
            ("a{", 2),
        ] {
            assert_eq!(weight(pattern), size, "{pattern}");
        }
    }
}
