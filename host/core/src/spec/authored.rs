//! A door to the spanned tree for files that people write beside documents: tests of workflows.
//!
//! It gives values with their places and collects findings as for documents, with the same dangers kept out. It must
//! not know what such a file means.

use super::code::Code;
use super::report::{Report, Spot};
use super::tree::{self, Content, Node};
use crate::diagnostic::Diagnostics;
use serde_json::Value;
use std::sync::Arc;

/// A file as it was written: values that know their places.
#[derive(Debug)]
pub struct Authored {
    root: Node,
}

/// The findings about such a file.
pub struct Findings {
    report: Report,
}

/// A value of the file.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    node: &'a Node,
}

/// A key of a table, and its value.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The key.
    pub key: &'a str,
    /// The value.
    pub value: Part<'a>,
    spot: Spot,
}

/// Reads a file, YAML or JSON. None when it is neither; the findings then say why.
#[must_use]
pub fn read(text: &str, file_name: &str) -> (Option<Authored>, Findings) {
    let mut report = Report::new(file_name, Arc::from(text));
    let root = tree::parse(text, &mut report);
    (root.map(|root| Authored { root }), Findings { report })
}

impl Authored {
    /// The whole file.
    #[must_use]
    pub fn root(&self) -> Part<'_> {
        Part { node: &self.root }
    }
}

impl<'a> Part<'a> {
    /// The text, when it is one.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        self.node.text()
    }

    /// The items, when it is a list.
    #[must_use]
    pub fn items(self) -> Option<impl Iterator<Item = Part<'a>>> {
        let Content::List(items) = &self.node.content else { return None };
        Some(items.iter().map(|node| Part { node }))
    }

    /// The members, when it is a table.
    #[must_use]
    pub fn members(self) -> Option<impl Iterator<Item = Member<'a>>> {
        let Content::Map(entries) = &self.node.content else { return None };
        Some(entries.iter().map(|entry| Member {
            key: &entry.key,
            value: Part { node: &entry.value },
            spot: entry.spot,
        }))
    }

    /// The value of a key, when it is a table that has it.
    #[must_use]
    pub fn member(self, key: &str) -> Option<Part<'a>> {
        self.node.member(key).map(|node| Part { node })
    }

    /// The value without places.
    #[must_use]
    pub fn to_json(self) -> Value {
        self.node.to_json()
    }

    /// What it is, for messages: `a table`, `text`.
    #[must_use]
    pub fn describe(self) -> &'static str {
        self.node.describe()
    }

    /// The line that it begins in, from 1.
    #[must_use]
    pub fn line(self) -> u32 {
        self.node.spot.line
    }

    /// The column that it begins in, from 1.
    #[must_use]
    pub fn column(self) -> u32 {
        self.node.spot.column
    }

    /// Its path in the file: `steps[2].tool`.
    #[must_use]
    pub fn path(self) -> &'a str {
        &self.node.path
    }

    /// The part at a path such as `answers[0].text`, or the nearest one around it.
    #[must_use]
    pub fn nearest(self, path: &str) -> Self {
        Self { node: self.node.nearest(path) }
    }
}

impl Findings {
    /// A finding at a value.
    pub fn at(&mut self, part: Part<'_>, code: Code, message: impl Into<String>, hint: Option<String>) {
        self.report.error(code, part.node, message).maybe(hint);
    }

    /// A finding inside a text, at an offset in bytes.
    pub fn inside(&mut self, part: Part<'_>, offset: usize, code: Code, (message, hint): (String, Option<String>)) {
        self.report.inside(code, part.node, offset, message).maybe(hint);
    }

    /// A key that is none of these.
    pub fn unknown_key(&mut self, member: Member<'_>, known: &[&str]) {
        let hint = self.report.did_you_mean(member.key, known.iter().copied());
        let hint = hint.unwrap_or_else(|| format!("keys here: {}", known.join(", ")));
        let message = format!("unknown key `{}`", member.key);
        self.report.at(super::code::UNKNOWN_KEY, member.spot, &member.value.node.path, message).hint(hint);
    }

    /// A hint naming the nearest of some words.
    pub fn did_you_mean(&mut self, given: &str, known: &[&str]) -> Option<String> {
        self.report.did_you_mean(given, known.iter().copied())
    }

    /// Whether anything keeps the file from being used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.report.has_errors()
    }

    /// All findings, by place.
    #[must_use]
    pub fn finish(self) -> Diagnostics {
        self.report.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::code;

    #[test]
    fn a_finding_has_the_place_of_its_value() {
        let (file, mut findings) = read("cases:\n  - nmae: x\n", "a.test.yaml");
        let file = file.unwrap();
        let case = file.root().nearest("cases[0]");
        let member = case.members().unwrap().next().unwrap();
        findings.unknown_key(member, &["name"]);
        findings.at(member.value, code::WRONG_TYPE, "no", None);
        let shown: Vec<String> = findings.finish().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "a.test.yaml:2:5: error[W005]: unknown key `nmae` (at cases[0].nmae)",
                "a.test.yaml:2:11: error[W004]: no (at cases[0].nmae)"
            ]
        );
    }
}
