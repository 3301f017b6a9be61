//! Answers of servers that stand in a test file: which requests they are for, and what they are. It must not give them.

use super::want::REQUEST;
use crate::testing::reader::{Fields, items, text, wrong};
use crate::testing::shape::Want;
use cofferdam_core::spec::authored::{Findings, Part};
use cofferdam_core::spec::code;
use cofferdam_egress::Inbound;

/// The keys of an exchange, and of an answer.
pub(in crate::testing) const KEYS: [&[&str]; 2] = [&["request", "response"], &["status", "headers", "body", "json"]];

/// A request and what it is answered with.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) request: Want,
    pub(super) answers: Answers,
    pub(super) origin: Origin,
    /// Where it stands in the file.
    pub(super) line: u32,
}

/// Whose an exchange is. What a file plays for all its cases, not each of them has to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File,
    Case,
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Answers {
    /// To every such request.
    Always(Inbound),
    /// To the first, to the second, and so on; then no more.
    InTurn(Vec<Inbound>),
}

/// Reads the exchanges of a case.
pub(super) fn decode(part: Part<'_>, origin: Origin, findings: &mut Findings) -> Vec<Exchange> {
    items(part, findings).into_iter().filter_map(|part| exchange(part, origin, findings)).collect()
}

fn exchange(part: Part<'_>, origin: Origin, findings: &mut Findings) -> Option<Exchange> {
    let fields = Fields::open(part, KEYS[0], findings)?;
    let mut missing = |key: &str, hint: &str| {
        findings.at(part, code::MISSING_KEY, format!("the key `{key}` is missing"), Some(hint.to_owned()));
    };
    let Some(request) = fields.get("request") else {
        missing("request", "write `request: https://api.example.com/items`, or a table with `method`, `url`, ...");
        return None;
    };
    let Some(response) = fields.get("response") else {
        missing("response", "write `response: { status: 200, json: { ... } }`");
        return None;
    };
    let request = Want::decode(request, &REQUEST, findings);
    let answers = match response.items() {
        None => Answers::Always(answer(response, findings)?),
        Some(_) => {
            let list = items(response, findings);
            if list.is_empty() {
                findings.at(response, code::EMPTY, "there is no answer", None);
            }
            Answers::InTurn(list.into_iter().filter_map(|part| answer(part, findings)).collect())
        }
    };
    Some(Exchange { request, answers, origin, line: part.line() })
}

fn answer(part: Part<'_>, findings: &mut Findings) -> Option<Inbound> {
    let fields = Fields::open(part, KEYS[1], findings)?;
    let status = fields.number("status", findings).unwrap_or(200);
    let status = u16::try_from(status).ok().filter(|status| (100..=999).contains(status));
    if status.is_none() {
        findings.at(part.nearest("status"), code::WRONG_TYPE, "a status is a number from 100 to 999", None);
    }
    let mut headers = Vec::new();
    for member in fields.members("headers", findings) {
        let Some(value) = text(member.value, findings) else { continue };
        headers.push((member.key.to_owned(), value.as_bytes().to_vec()));
    }
    let body = match (fields.get("body"), fields.given("json")) {
        (Some(body), Some(_)) => {
            findings.at(body, code::CONFLICT, "an answer has one of `body` and `json`", None);
            String::new()
        }
        (Some(body), None) => match body.text() {
            Some(text) => text.to_owned(),
            None => {
                wrong(body, "text", findings);
                String::new()
            }
        },
        (None, Some(json)) => {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                headers.push(("content-type".to_owned(), b"application/json".to_vec()));
            }
            json.to_json().to_string()
        }
        (None, None) => String::new(),
    };
    Some(Inbound { status: status?, headers, body: body.into() })
}
