//! Reads tables, texts and lists of a test file, and says at its place what is none.
//!
//! It must not know what the keys mean.

use cofferdam_core::spec::authored::{Findings, Member, Part};
use cofferdam_core::spec::code;

/// A table whose keys are known.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    part: Part<'a>,
}

impl<'a> Fields<'a> {
    /// Opens a table. Keys that begin with `x-` are remarks.
    pub(super) fn open(part: Part<'a>, known: &[&str], findings: &mut Findings) -> Option<Self> {
        for member in members(part, findings)? {
            if !known.contains(&member.key) && !member.key.starts_with("x-") {
                findings.unknown_key(member, known);
            }
        }
        Some(Self { part })
    }

    /// The value of a key. A key without a value is one that is not there.
    pub(super) fn get(self, key: &str) -> Option<Part<'a>> {
        self.part.member(key).filter(|part| !part.to_json().is_null())
    }

    /// The value of a key, also when it says `null`.
    pub(super) fn given(self, key: &str) -> Option<Part<'a>> {
        self.part.member(key)
    }

    /// A text that is not empty.
    pub(super) fn text(self, key: &str, findings: &mut Findings) -> Option<&'a str> {
        text(self.get(key)?, findings)
    }

    /// A text that must be there.
    pub(super) fn required(self, key: &str, findings: &mut Findings) -> Option<&'a str> {
        if self.get(key).is_none() {
            findings.at(self.part, code::MISSING_KEY, format!("the key `{key}` is missing"), None);
        }
        self.text(key, findings)
    }

    /// A whole number.
    pub(super) fn number(self, key: &str, findings: &mut Findings) -> Option<u64> {
        let part = self.get(key)?;
        let number = part.to_json().as_u64();
        if number.is_none() {
            wrong(part, "a whole number", findings);
        }
        number
    }

    /// Whether something is so; absent = it is not.
    pub(super) fn flag(self, key: &str, findings: &mut Findings) -> bool {
        let Some(part) = self.get(key) else { return false };
        let flag = part.to_json().as_bool();
        if flag.is_none() {
            wrong(part, "`true` or `false`", findings);
        }
        flag.unwrap_or_default()
    }

    /// Texts: one, or a list of them.
    pub(super) fn texts(self, key: &str, findings: &mut Findings) -> Vec<(Part<'a>, &'a str)> {
        let Some(part) = self.get(key) else { return Vec::new() };
        one_or_many(part).filter_map(|part| Some((part, text(part, findings)?))).collect()
    }

    /// The members of a table.
    pub(super) fn members(self, key: &str, findings: &mut Findings) -> Vec<Member<'a>> {
        self.get(key).and_then(|part| members(part, findings)).unwrap_or_default()
    }
}

/// The items of a list, or the value itself.
pub(super) fn one_or_many(part: Part<'_>) -> impl Iterator<Item = Part<'_>> {
    let items = part.items();
    let single = items.is_none().then_some(part);
    items.into_iter().flatten().chain(single)
}

pub(super) fn members<'a>(part: Part<'a>, findings: &mut Findings) -> Option<Vec<Member<'a>>> {
    let members = part.members();
    if members.is_none() {
        wrong(part, "a table", findings);
    }
    members.map(Iterator::collect)
}

pub(super) fn items<'a>(part: Part<'a>, findings: &mut Findings) -> Vec<Part<'a>> {
    let items = part.items();
    if items.is_none() {
        wrong(part, "a list", findings);
    }
    items.into_iter().flatten().collect()
}

pub(super) fn text<'a>(part: Part<'a>, findings: &mut Findings) -> Option<&'a str> {
    match part.text() {
        Some("") => {
            findings.at(part, code::EMPTY, "the text is empty", None);
            None
        }
        Some(text) => Some(text),
        None => {
            wrong(part, "text", findings);
            None
        }
    }
}

pub(super) fn wrong(part: Part<'_>, expected: &str, findings: &mut Findings) {
    findings.at(part, code::WRONG_TYPE, format!("expected {expected}, found {}", part.describe()), None);
}
