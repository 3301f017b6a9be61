//! What a found value is held against: a value, or operators such as `contains`.
//!
//! It must not know what the value is of.

use super::reader::one_or_many;
use cofferdam_core::expr::{Expr, Names};
use cofferdam_core::schema::{self, Checker};
use cofferdam_core::spec::authored::{Findings, Part};
use cofferdam_core::spec::code;
use cofferdam_core::value::{self, Map};
use regex::Regex;
use serde_json::Value;

/// The operators. A table that has one of these keys has no other keys.
pub(super) const OPERATORS: [&str; 9] =
    ["equals", "not", "contains", "excludes", "matches", "schema", "cel", "atLeast", "atMost"];

/// Holds for some values.
#[derive(Debug)]
pub(super) struct Matcher {
    checks: Vec<Check>,
}

#[derive(Debug)]
enum Check {
    Equals(Value),
    Differs(Value),
    Contains(Value),
    Excludes(Value),
    Matches(Box<Regex>),
    Schema(Box<Checker>),
    Cel(Expr),
    AtLeast(f64),
    AtMost(f64),
}

/// Whether a table is one of operators.
pub(super) fn is_operators(part: Part<'_>) -> bool {
    part.members().is_some_and(|mut members| members.any(|member| OPERATORS.contains(&member.key)))
}

impl Matcher {
    /// Reads a matcher: a table of operators, or a value to be equal to.
    pub(super) fn decode(part: Part<'_>, findings: &mut Findings) -> Self {
        if !is_operators(part) {
            return Self { checks: vec![Check::Equals(part.to_json())] };
        }
        let mut checks = Vec::new();
        for member in part.members().into_iter().flatten() {
            if OPERATORS.contains(&member.key) {
                decode_operator(member.key, member.value, findings, &mut checks);
            } else {
                findings.unknown_key(member, &OPERATORS);
            }
        }
        Self { checks }
    }

    /// Exactly this value.
    pub(super) fn exactly(value: Value) -> Self {
        Self { checks: vec![Check::Equals(value)] }
    }

    /// At most this number.
    pub(super) fn at_most(most: u64) -> Self {
        // Exact up to 2^53, which is far beyond what a plugin may take.
        Self { checks: vec![Check::AtMost(most as f64)] }
    }

    /// The value that must be there exactly, when nothing else is asked.
    pub(super) fn exact(&self) -> Option<&Value> {
        match self.checks.as_slice() {
            [Check::Equals(value)] => Some(value),
            _ => None,
        }
    }

    /// What was expected, for every check that does not hold.
    pub(super) fn misses(&self, found: &Value) -> Vec<String> {
        self.checks.iter().filter_map(|check| check.miss(found)).collect()
    }
}

fn decode_operator(operator: &str, part: Part<'_>, findings: &mut Findings, checks: &mut Vec<Check>) {
    let number = |findings: &mut Findings| {
        let number = part.to_json().as_f64();
        if number.is_none() {
            wrong(findings, part, "a number");
        }
        number
    };
    let nothing = match operator {
        "contains" | "excludes" => is_empty(part) || part.items().is_some_and(|mut items| items.any(is_empty)),
        "matches" => part.text() == Some(""),
        _ => false,
    };
    if nothing {
        let message = format!("`{operator}` with nothing to look for says nothing");
        findings.at(part, code::EMPTY, message, None);
        return;
    }
    match operator {
        "equals" => checks.push(Check::Equals(part.to_json())),
        "not" => checks.push(Check::Differs(part.to_json())),
        "contains" => checks.extend(one_or_many(part).map(|part| Check::Contains(part.to_json()))),
        "excludes" => checks.extend(one_or_many(part).map(|part| Check::Excludes(part.to_json()))),
        "matches" => checks.extend(regex(part, findings).map(|regex| Check::Matches(Box::new(regex)))),
        "schema" => match schema::check(&part.to_json()) {
            Ok(checker) => checks.push(Check::Schema(Box::new(checker))),
            Err(error) => findings.at(part, code::BAD_SCHEMA, format!("not a JSON Schema: {error}"), None),
        },
        "cel" => checks.extend(expression(part, findings).map(Check::Cel)),
        "atLeast" => checks.extend(number(findings).map(Check::AtLeast)),
        _ => checks.extend(number(findings).map(Check::AtMost)),
    }
}

/// Whether everything, or nothing, would have it.
fn is_empty(part: Part<'_>) -> bool {
    let text = part.text().is_some_and(|text| text.trim_end_matches('\n').is_empty());
    let no_items = part.items().is_some_and(|mut items| items.next().is_none());
    text || no_items || part.members().is_some_and(|mut members| members.next().is_none())
}

fn wrong(findings: &mut Findings, part: Part<'_>, expected: &str) {
    findings.at(part, code::WRONG_TYPE, format!("expected {expected}, found {}", part.describe()), None);
}

fn regex(part: Part<'_>, findings: &mut Findings) -> Option<Regex> {
    let Some(text) = part.text() else {
        wrong(findings, part, "a regular expression");
        return None;
    };
    match Regex::new(text) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let shown = error.to_string();
            let last = shown.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            findings.at(part, code::EXPRESSION, format!("not a regular expression: {last}"), None);
            None
        }
    }
}

fn expression(part: Part<'_>, findings: &mut Findings) -> Option<Expr> {
    let Some(text) = part.text() else {
        wrong(findings, part, "an expression");
        return None;
    };
    match Expr::parse(text, &Names { steps: &[], roots: &["value"] }) {
        Ok(expr) => Some(expr),
        Err(error) => {
            findings.inside(part, error.offset, code::EXPRESSION, (error.message, error.hint));
            None
        }
    }
}

impl Check {
    /// What was expected, unless it holds.
    fn miss(&self, found: &Value) -> Option<String> {
        let number = found.as_f64();
        let (holds, expected) = match self {
            Self::Equals(value) => (is_same(value, found), value::to_text(value)),
            Self::Differs(value) => (!is_same(value, found), format!("anything but {}", quoted(value))),
            Self::Contains(value) => (includes(found, value), format!("something that contains {}", quoted(value))),
            Self::Excludes(value) => (!includes(found, value), format!("nothing that contains {}", quoted(value))),
            Self::Matches(regex) => {
                let fits = regex.is_match(&value::to_text(found));
                (fits, format!("text that matches `{}`", regex.as_str()))
            }
            Self::Schema(checker) => {
                return checker.check(found).err().map(|what| format!("what fits the schema; {what}"));
            }
            Self::Cel(expr) => return miss_of_expression(expr, found),
            Self::AtLeast(least) => (number.is_some_and(|number| number >= *least), format!("at least {least}")),
            Self::AtMost(most) => (number.is_some_and(|number| number <= *most), format!("at most {most}")),
        };
        (!holds).then_some(expected)
    }
}

fn miss_of_expression(expr: &Expr, found: &Value) -> Option<String> {
    let variables = Map::from_iter([("value".to_owned(), found.clone())]);
    let told = match expr.evaluate(&variables) {
        Ok(Value::Bool(true)) => return None,
        Ok(Value::Bool(false)) => String::new(),
        Ok(other) => format!("; it gives {}", quoted(&other)),
        Err(error) => format!("; {error}"),
    };
    Some(format!("`{}` to be true{told}", expr.source()))
}

/// As JSON, so that text is told apart from numbers.
pub(super) fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains(['`', '\n']) => format!("`{text}`"),
        other => other.to_string(),
    }
}

/// Equality as people mean it: 1 is 1.0, and the line break that ends a block of YAML is not part of the text.
fn is_same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::String(expected), Value::String(found)) => {
            expected.trim_end_matches('\n') == found.trim_end_matches('\n')
        }
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)))
        }
        _ => expected == found,
    }
}

/// A text has the text, a list has an item that is or has it, a table has at least these members.
pub(super) fn includes(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::String(found), Value::String(wanted)) => found.contains(wanted.trim_end_matches('\n')),
        (Value::String(found), wanted @ (Value::Number(_) | Value::Bool(_))) => found.contains(&wanted.to_string()),
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            found
                .get(key)
                .is_some_and(|found| is_same(wanted, found) || (wanted.is_object() && includes(found, wanted)))
        }),
        (Value::Array(items), wanted) => items.iter().any(|item| is_same(wanted, item) || includes(item, wanted)),
        _ => is_same(wanted, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::spec::authored::read;
    use serde_json::json;

    fn matcher(text: &str) -> Matcher {
        let (file, mut findings) = read(text, "m.yaml");
        let matcher = Matcher::decode(file.unwrap().root(), &mut findings);
        assert!(!findings.has_errors(), "{text}: {}", findings.finish());
        matcher
    }

    #[test]
    fn every_operator_can_hold_and_fail() {
        for (text, holds, fails) in [
            ("a", json!("a\n"), json!("b")),
            ("{equals: {contains: x}}", json!({ "contains": "x" }), json!("x")),
            ("{a: 1}", json!({ "a": 1.0 }), json!({ "a": 1, "b": 2 })),
            ("{not: a}", json!("b"), json!("a")),
            ("{contains: [a, b]}", json!("b a"), json!("a")),
            ("{contains: {a: {b: 1}}}", json!({ "a": { "b": 1, "c": 2 } }), json!({ "a": { "b": 2 } })),
            ("{contains: late}", json!(["early", "too late"]), json!(["early"])),
            ("{excludes: [a, b]}", json!("c"), json!("cb")),
            ("{matches: '^a.c$'}", json!("abc"), json!("abcd")),
            ("{schema: {type: object, required: [a]}}", json!({ "a": 1 }), json!({})),
            ("{cel: 'value.n > 2'}", json!({ "n": 3 }), json!({ "n": 2 })),
            ("{cel: 'value.n > 2'}", json!({ "n": 3 }), json!({ "m": 3 })),
            ("{atLeast: 2, atMost: 3}", json!(2), json!(4)),
            ("{atMost: 3}", json!(3), json!("x")),
        ] {
            assert_eq!(matcher(text).misses(&holds), Vec::<String>::new(), "{text}");
            assert!(!matcher(text).misses(&fails).is_empty(), "{text} holds for {fails}");
        }
    }

    #[test]
    fn a_broken_operator_is_a_finding_at_its_place() {
        for (text, line, message) in [
            ("contains: a\nmathces: b\n", 2, "unknown key `mathces`"),
            ("matches: '('\n", 1, "not a regular expression: unclosed group"),
            ("contains: a\ncel: value.\n", 2, ""),
            ("cel: other == 1\n", 1, "unknown variable `other`"),
            ("schema: {type: nothing}\n", 1, "not a JSON Schema"),
            ("atMost: many\n", 1, "expected a number, found text"),
            ("matches: [a]\n", 1, "expected a regular expression"),
            ("contains: ''\n", 1, "`contains` with nothing to look for"),
            ("equals: a\ncontains: []\n", 2, "`contains` with nothing to look for"),
            ("contains:\n  - a\n  - {}\n", 2, "`contains` with nothing to look for"),
            ("excludes: []\n", 1, "`excludes` with nothing to look for"),
            ("matches: ''\n", 1, "`matches` with nothing to look for"),
        ] {
            let (file, mut findings) = read(text, "m.yaml");
            Matcher::decode(file.unwrap().root(), &mut findings);
            let findings = findings.finish();
            let found = findings.iter().next().unwrap();
            assert_eq!(found.place.as_ref().unwrap().line, line, "{text}");
            assert!(found.message.contains(message), "{text}: {}", found.message);
        }
    }
}
