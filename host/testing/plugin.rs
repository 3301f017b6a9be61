//! Test files of plugins: what is done with a plugin in each case, what is there when it begins, and what is expected.
//!
//! A case goes the way of every call, in a folder of its own, and records nothing. Its plugin is real; the network, the
//! secrets, the values and the time are played. It must not build anything: who runs a case says where the component is.

mod act;
mod bystander;
mod exchange;
mod player;
mod record;
mod run;
mod staged;
mod values;
mod want;
mod write;

pub use record::RecordError;

use super::reader::{Fields, items, text};
use super::script::Shared;
use super::shape::{Shape, Want};
use super::stage::Machine;
use super::verdict::{Miss, Verdict};
use crate::error::Error;
use crate::sources::read_named;
use act::Act;
use cofferdam_core::limits;
use cofferdam_core::spec::authored::{Findings, Part, read};
use cofferdam_core::spec::code;
use serde_json::Value;
use staged::Staged;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The keys of a file and of a case, besides those that they share, and of where the component is.
const FILE: [&str; 3] = ["description", "plugin", "cases"];
const CASE: [&str; 3] = ["name", "about", "expect"];
const SUBJECT: [&str; 2] = ["source", "build"];

/// Every key of a test file of a plugin, for its documentation.
pub(super) fn keys() -> Vec<&'static str> {
    let shapes: [&Shape; 7] =
        [&want::CALLED, &want::APPLIED, &want::DECIDED, &want::CHOSEN, &want::FAILED, &want::OUTCOME, &want::REQUEST];
    let lists = [&FILE[..], &CASE, &SUBJECT, &staged::STAGE, &act::ACTS].into_iter();
    let lists = lists.chain(act::ACT_KEYS).chain(exchange::KEYS);
    lists.flatten().copied().chain(shapes.into_iter().flat_map(|shape| shape.keys).map(|(key, _)| *key)).collect()
}

/// Where the component of a test file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A file, or `builtin:NAME`.
    Source(String),
    /// It is built first, from the crate in this folder.
    Build(PathBuf),
}

/// A test file of a plugin, checked.
#[derive(Debug)]
pub struct PluginTests {
    subject: Subject,
    cases: Vec<PluginCase>,
    /// The file as it was read, and its name.
    text: String,
    name: String,
}

/// What is done in a case, and what is expected of it.
#[derive(Debug)]
pub struct PluginCase {
    name: String,
    file: String,
    /// Where it begins, from 1.
    line: u32,
    column: u32,
    act: Act,
    staged: Staged,
    /// None for one that is to be recorded.
    expect: Option<Want>,
    fails: bool,
}

/// What a case without `expect` is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Wrong,
    Recorded,
}

/// What a file says for all its cases.
struct Common<'a> {
    root: Fields<'a>,
    place: Shared,
    missing: Missing,
}

impl PluginTests {
    /// Loads a test file, YAML or JSON. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, with place and hint.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::read(path.as_ref(), Missing::Wrong)
    }

    /// As [`Self::load`], with cases that expect nothing: they are to be recorded.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_to_record(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::read(path.as_ref(), Missing::Recorded)
    }

    fn read(path: &Path, missing: Missing) -> Result<Self, Error> {
        let name = path.display().to_string();
        let bytes = read_named(path, limits::DOCUMENT_BYTES).map_err(|error| Error::Settings(error.to_string()))?.bytes;
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::Settings(format!("`{name}` is not UTF-8 text")))?;
        let (file, mut findings) = read(text, &name);
        let decoded = file.as_ref().and_then(|file| decode(file.root(), path, missing, &mut findings));
        match decoded {
            Some((subject, cases)) if !findings.has_errors() => {
                Ok(Self { subject, cases, text: text.to_owned(), name })
            }
            _ => Err(Error::Invalid(findings.finish())),
        }
    }

    /// Where the component is.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The cases, in the order of the file.
    #[must_use]
    pub fn cases(&self) -> &[PluginCase] {
        &self.cases
    }
}

fn decode(
    root: Part<'_>,
    path: &Path,
    missing: Missing,
    findings: &mut Findings,
) -> Option<(Subject, Vec<PluginCase>)> {
    let known: Vec<&str> = FILE.iter().chain(&staged::STAGE).copied().collect();
    let fields = Fields::open(root, &known, findings)?;
    if let Some(part) = fields.get("description") {
        text(part, findings);
    }
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    let subject = subject(fields, root, &directory, findings);
    let mut place = Shared::new(path.display().to_string(), directory);
    place.settings = place.read(fields, findings);
    let Some(list) = fields.given("cases") else {
        let hint = Some("`cases` is a list of `{ name, call, expect }`".to_owned());
        findings.at(root, code::MISSING_KEY, "the key `cases` is missing", hint);
        return None;
    };
    let common = Common { root: fields, place, missing };
    let parts = items(list, findings);
    if parts.is_empty() && list.items().is_some() {
        findings.at(list, code::EMPTY, "there is no case", None);
    }
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    for part in parts {
        let Some(case) = case(part, &common, findings) else { continue };
        if !names.insert(case.name.clone()) {
            let message = format!("two cases are called `{}`", case.name);
            findings.at(part.nearest("name"), code::DUPLICATE_STEP, message, None);
        }
        cases.push(case);
    }
    Some((subject?, cases))
}

/// `plugin: SOURCE`, `{ source: SOURCE }` or `{ build: FOLDER }`.
fn subject(fields: Fields<'_>, root: Part<'_>, directory: &Path, findings: &mut Findings) -> Option<Subject> {
    let hint = || Some("write `{ source: ./my-tool.wasm }`, `{ source: builtin:text }` or `{ build: . }`".to_owned());
    let Some(part) = fields.get("plugin") else {
        findings.at(root, code::MISSING_KEY, "the key `plugin` is missing", hint());
        return None;
    };
    let file = |source: &str| match source.starts_with("builtin:") {
        true => Subject::Source(source.to_owned()),
        false => Subject::Source(directory.join(source).display().to_string()),
    };
    if let Some(source) = part.text() {
        return Some(file(source));
    }
    let fields = Fields::open(part, &SUBJECT, findings)?;
    match (fields.text("source", findings), fields.text("build", findings)) {
        (Some(source), None) => Some(file(source)),
        (None, Some(folder)) => Some(Subject::Build(directory.join(folder))),
        _ => {
            findings.at(part, code::CONFLICT, "a plugin has one of `source` and `build`", hint());
            None
        }
    }
}

fn case(part: Part<'_>, common: &Common<'_>, findings: &mut Findings) -> Option<PluginCase> {
    let known: Vec<&str> = CASE.iter().chain(&staged::STAGE).chain(&act::ACTS).copied().collect();
    let fields = Fields::open(part, &known, findings)?;
    let name = fields.required("name", findings);
    if let Some(part) = fields.get("about") {
        text(part, findings);
    }
    let staged = Staged::decode(fields, common.root, &common.place, findings);
    let act = Act::decode(part, fields, findings)?;
    let expected = fields.get("expect");
    if expected.is_none() && common.missing == Missing::Wrong {
        let hint =
            "`expect: { result: ... }`, or `{ error: { code: plugin_error } }`; `--record` writes what comes of it";
        findings.at(part, code::MISSING_KEY, "the case expects nothing", Some(hint.to_owned()));
        return None;
    }
    let fails = expected.and_then(|part| part.member("error")).is_some_and(|part| !part.to_json().is_null());
    let expect = expected.map(|part| Want::decode(part, act.shape(), findings));
    let (name, file) = (name?.to_owned(), common.place.file.clone());
    Some(PluginCase { name, file, line: part.line(), column: part.column(), act, staged, expect, fails })
}

impl PluginCase {
    /// Its name, unique in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it expects something; if not it can only be recorded.
    #[must_use]
    pub fn expects(&self) -> bool {
        self.expect.is_some()
    }

    /// Does what it says with the component at `source`, and judges what came of it. Must run inside a tokio runtime.
    pub async fn run(&self, source: &str, machine: &Machine) -> Verdict {
        let began = Instant::now();
        let (misses, spent) = match run::observe(&self.act, &self.staged, source, machine).await {
            Ok(mut found) => (self.misses(&mut found), found.spent),
            Err(reason) => (vec![Miss::new(self.act.key(), "an answer", reason)], None),
        };
        let scrubber = run::scrubber(&self.staged);
        let clean = |text: &str| scrubber.scrub_text(text).into_owned();
        let misses = misses.iter().map(|miss| Miss::new(clean(&miss.about), clean(&miss.expected), clean(&miss.found)));
        Verdict {
            file: self.file.clone(),
            case: self.name.clone(),
            line: self.line,
            misses: misses.collect(),
            spent,
            took: began.elapsed(),
        }
    }

    fn misses(&self, found: &mut run::Found) -> Vec<Miss> {
        let Some(expect) = &self.expect else { return vec![Miss::new("expect", "an expectation", "none")] };
        if let Some(members) = found.value.as_object_mut() {
            members.insert("kv".to_owned(), values::shown(&found.kept, expect.member("kv")));
        }
        let mut misses = expect.misses("", &found.value);
        let error = found.value.get("error").unwrap_or(&Value::Null);
        let shown = error.get("message").and_then(Value::as_str).unwrap_or_default();
        match (self.fails, error.is_null()) {
            (true, true) => misses.insert(0, Miss::new("error", "an error", "none")),
            // Who sees only that the result is missing has to guess.
            (false, false) if !misses.iter().any(|miss| miss.about.starts_with("error")) => {
                misses.insert(0, Miss::new("error", "nothing", shown));
            }
            _ => {}
        }
        misses.append(&mut found.misses);
        misses
    }
}
