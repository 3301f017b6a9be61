//! Records cases: what came of a case becomes what is expected of it, written into the file beside all that stands
//! there. An expectation that is there is never touched.
//!
//! A new text counts only when reading it gives the old data and the new expectations, and nothing else.

use super::act::Act;
use super::run::{self, Found};
use super::write::insert;
use super::{PluginCase, PluginTests};
use crate::testing::matcher::OPERATORS;
use crate::testing::stage::Machine;
use cofferdam_core::spec::authored::read;
use cofferdam_core::value::Map;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Why what was recorded is not written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The case was not done.
    #[error("the case `{case}` cannot be recorded: {reason}")]
    Failed {
        /// The case.
        case: String,
        /// What happened.
        reason: String,
    },
    /// The file is written in a way that nothing can be put into safely.
    #[error("nothing can be written into the case `{case}` as it stands in the file; write this into it:\n{expect}")]
    Form {
        /// The case.
        case: String,
        /// What to write.
        expect: String,
    },
}

impl PluginCase {
    /// Does what it says and gives what to expect of it. Must run inside a tokio runtime.
    ///
    /// # Errors
    /// When it cannot be staged, or asks for answers that it does not have.
    pub async fn observed(&self, source: &str, machine: &Machine) -> Result<Value, RecordError> {
        let failed = |reason| RecordError::Failed { case: self.name.clone(), reason };
        let found = run::observe(&self.act, &self.staged, source, machine).await.map_err(failed)?;
        if let Some(miss) = found.misses.first() {
            // What is recorded without an answer would expect a failure that is the case's own.
            return Err(failed(format!("it expects {}, and there was {}", miss.expected, miss.found)));
        }
        Ok(self.expectation(&found))
    }

    /// What came of it, without what differs from machine to machine: messages of failures, fuel, memory.
    fn expectation(&self, found: &Found) -> Value {
        let of = |key: &str| found.value.get(key).cloned().unwrap_or_default();
        let mut expect = Map::new();
        let mut put = |key: &str, value: Value| drop(expect.insert(key.to_owned(), value));
        let (error, result) = (of("error"), of("result"));
        match &self.act {
            _ if !error.is_null() => put("error", of_error(&error)),
            Act::Call { .. } if result.is_null() => put("content", literal(of("content"))),
            Act::Call { .. } => put("result", literal(result)),
            Act::Apply { .. } => {
                put("outcomes", of("outcomes").as_array().into_iter().flatten().map(of_outcome).collect());
            }
            Act::Decide { .. } => {
                put("verdict", of("verdict"));
                if !of("reason").is_null() {
                    put("reason", of("reason"));
                }
            }
            Act::Choose { .. } => put("choice", of("choice")),
        }
        if of("denied").as_array().is_some_and(|denied| !denied.is_empty()) {
            expect.insert("denied".to_owned(), of("denied"));
        }
        if let Some(requests) = of("requests").as_array().filter(|requests| !requests.is_empty()) {
            expect.insert("requests".to_owned(), requests.iter().map(|request| self.of_request(request)).collect());
        }
        if run::keeps_values(&self.staged.grants) && found.kept != self.staged.kv {
            expect.insert("kv".to_owned(), self.of_values(&of("kv")));
        }
        Value::Object(expect)
    }

    /// A request, without the parts that hold a secret, and without headers: most of them are the library's.
    fn of_request(&self, request: &Value) -> Value {
        let scrubber = run::scrubber(&self.staged);
        let open = |value: &Value| !scrubber.finds(value.to_string().as_bytes());
        let body = match request.get("json") {
            Some(Value::Null) | None => "body",
            Some(_) => "json",
        };
        let part = |key: &str| {
            let value = request.get(key).filter(|value| open(value) && value.as_str() != Some(""))?;
            Some((key.to_owned(), literal(value.clone())))
        };
        Value::Object(["method", "url", body].into_iter().filter_map(part).collect())
    }

    /// The values at the end; what was there before and is gone is nothing.
    fn of_values(&self, kept: &Value) -> Value {
        let gone = self.staged.kv.iter().map(|(key, _)| (key.clone(), Value::Null));
        let there = kept.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), literal(value.clone())));
        Value::Object(gone.chain(there).collect())
    }
}

/// Code and kind of a failure: its message names the digest of the component.
fn of_error(error: &Value) -> Value {
    let known = ["code", "kind", "own"].into_iter();
    let part = |key: &str| Some((key.to_owned(), error.get(key).filter(|value| !value.is_null())?.clone()));
    Value::Object(known.filter_map(part).collect())
}

fn of_outcome(outcome: &Value) -> Value {
    let part = |(key, value): (&String, &Value)| match key.as_str() {
        "fail" => (key.clone(), of_error(value)),
        _ => (key.clone(), literal(value.clone())),
    };
    Value::Object(outcome.as_object().into_iter().flatten().map(part).collect())
}

/// The value as an expectation that it is exactly this, also when it looks like operators.
fn literal(value: Value) -> Value {
    let looks = value.as_object().is_some_and(|map| map.keys().any(|key| OPERATORS.contains(&key.as_str())));
    if looks { json!({ "equals": value }) } else { value }
}

impl PluginTests {
    /// The text of the file with expectations, by the name of their case, for cases that have none. Comments, order and
    /// spelling of all else stay.
    ///
    /// # Errors
    /// When the text cannot hold one of them without changing something else.
    pub fn recorded(&self, expectations: &BTreeMap<String, Value>) -> Result<String, RecordError> {
        let mut text = self.text.clone();
        // From the last to the first: what is put in moves only what stands behind it.
        for (index, case) in self.cases.iter().enumerate().rev() {
            let Some(expect) = expectations.get(&case.name).filter(|_| !case.expects()) else { continue };
            let place = (case.line, case.column);
            let is_json = self.name.ends_with(".json");
            let changed = insert(&text, place, expect, is_json).filter(|new| self.holds(&text, new, index, expect));
            let form =
                || RecordError::Form { case: case.name.clone(), expect: json!({ "expect": expect }).to_string() };
            text = changed.ok_or_else(form)?;
        }
        Ok(text)
    }

    /// Whether the new text says what the old one said, and the expectation.
    fn holds(&self, old: &str, new: &str, index: usize, expect: &Value) -> bool {
        let parsed = |text: &str| read(text, &self.name).0.map(|file| file.root().to_json());
        let Some((mut wanted, found)) = parsed(old).zip(parsed(new)) else { return false };
        let case = wanted.get_mut("cases").and_then(|cases| cases.get_mut(index)).and_then(Value::as_object_mut);
        let Some(case) = case else { return false };
        case.insert("expect".to_owned(), expect.clone());
        wanted == found
    }
}
