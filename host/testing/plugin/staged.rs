//! What is there when a case begins: configuration, grants, files, answers of servers, secrets, values, the time.
//!
//! A file may say each of them for all its cases; what a case says takes the place of it, files each by each.

use super::act::object;
use super::exchange::{self, Exchange, Origin};
use crate::testing::reader::{Fields, members, text};
use crate::testing::script::Shared;
use cofferdam_core::policy::Grants;
use cofferdam_core::spec::authored::{Findings, Part};
use cofferdam_core::spec::code;
use cofferdam_core::time::Timestamp;
use cofferdam_core::value::Map;
use cofferdam_egress::Scrubber;
use secrecy::SecretString;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// The keys that a file and its cases have in common.
pub(in crate::testing) const STAGE: [&str; 7] = ["config", "grants", "files", "http", "secrets", "kv", "clock"];

/// The moment of cases that name none, 2026-01-01T00:00:00Z: a case must not depend on the day on which it runs.
const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// What is there when a case begins.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) config: Map,
    pub(super) grants: Grants,
    pub(super) files: Vec<(PathBuf, Arc<str>)>,
    pub(super) http: Arc<[Exchange]>,
    pub(super) secrets: Vec<(String, SecretString)>,
    pub(super) kv: Vec<(String, Vec<u8>)>,
    pub(super) clock: Timestamp,
}

impl Staged {
    /// Reads what a case says, else what its file says.
    pub(super) fn decode(case: Fields<'_>, file: Fields<'_>, place: &Shared, findings: &mut Findings) -> Self {
        let of_both = |key| case.given(key).or_else(|| file.given(key)).filter(|part| !part.to_json().is_null());
        let config = of_both("config").and_then(|part| object(part, findings)).unwrap_or_default();
        let grants = of_both("grants").and_then(|part| grants(part, findings)).unwrap_or_default();
        let files = place.read(case, findings).files.into_iter().collect();
        let origin = if case.given("http").is_some() { Origin::Case } else { Origin::File };
        let http = of_both("http").map(|part| exchange::decode(part, origin, findings)).unwrap_or_default();
        let secrets = of_both("secrets").map(|part| secrets(part, findings)).unwrap_or_default();
        let kv = of_both("kv").map(|part| kept(part, findings)).unwrap_or_default();
        let clock = of_both("clock").and_then(|part| moment(part, findings)).unwrap_or(NOW);
        Self { config, grants, files, http: http.into(), secrets, kv, clock }
    }
}

fn grants(part: Part<'_>, findings: &mut Findings) -> Option<Grants> {
    match Grants::parse(&part.to_json()) {
        // A test file comes along with a plugin: nothing of the user's may be opened by it.
        Ok(grants) if !grants.fs.also.is_empty() => {
            let hint = Some("write `files`, and grant `fs: { read: true }`: they are in `/step`".to_owned());
            let message = "a case has no directory but its own, so `fs.also` cannot be granted";
            findings.at(part.nearest("fs.also"), code::BAD_GRANTS, message, hint);
            None
        }
        Ok(grants) => Some(grants),
        Err(errors) => {
            for error in errors {
                findings.at(part.nearest(&error.path), code::BAD_GRANTS, error.message, error.hint);
            }
            None
        }
    }
}

/// Values by name. They stand in a file that others read, so they are made up.
fn secrets(part: Part<'_>, findings: &mut Findings) -> Vec<(String, SecretString)> {
    let mut secrets = Vec::new();
    for member in members(part, findings).unwrap_or_default() {
        let Some(value) = text(member.value, findings).map(SecretString::from) else { continue };
        // It knows what it does not look for.
        if Scrubber::default().knows(&value) {
            let hint = Some("write a longer one, `test-token-1`".to_owned());
            findings.at(member.value, code::EMPTY, "the value is too short to be kept out of reports", hint);
        }
        secrets.push((member.key.to_owned(), value));
    }
    secrets
}

/// Values of the plugin: texts as they are, anything else as JSON.
fn kept(part: Part<'_>, findings: &mut Findings) -> Vec<(String, Vec<u8>)> {
    let members = members(part, findings).unwrap_or_default().into_iter();
    let bytes = |value: Value| match value {
        Value::String(text) => text.into_bytes(),
        data => data.to_string().into_bytes(),
    };
    members.map(|member| (member.key.to_owned(), bytes(member.value.to_json()))).collect()
}

fn moment(part: Part<'_>, findings: &mut Findings) -> Option<Timestamp> {
    let text = text(part, findings)?;
    match serde_json::from_value(Value::from(text)) {
        Ok(moment) => Some(moment),
        Err(_) => {
            let hint = Some("write `2026-01-31T08:00:00Z`".to_owned());
            findings.at(part, code::BAD_DURATION, format!("`{text}` is no moment"), hint);
            None
        }
    }
}
