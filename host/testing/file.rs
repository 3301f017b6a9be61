//! A test file: cases, and what they share. Everything that is wrong with it is found before anything runs.

use super::case::{self, Case};
use super::reader::{Fields, items, text};
use super::script::Shared;
use crate::error::Error;
use crate::sources::read_named;
use cofferdam_core::diagnostic::Diagnostics;
use cofferdam_core::limits;
use cofferdam_core::port::SourceError;
use cofferdam_core::spec::authored::{Findings, Part, read};
use cofferdam_core::spec::code;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The keys of a test file.
pub(super) const ROOT: [&str; 8] = ["description", "workflow", "model", "tools", "files", "allow", "deny", "cases"];

/// A test file: its cases, checked.
#[derive(Debug)]
pub struct TestFile {
    cases: Vec<Arc<Case>>,
    warnings: Diagnostics,
}

impl TestFile {
    /// Loads a test file, YAML or JSON. Paths in it are relative to its directory.
    ///
    /// # Errors
    /// Everything that is wrong with it, with place and hint.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let fail = |code, message: String| {
            let (_, mut findings) = read("{}", &name);
            if let (Some(file), _) = read("{}", &name) {
                findings.at(file.root(), code, message, None);
            }
            Error::Invalid(findings.finish())
        };
        let file = match read_named(path, limits::DOCUMENT_BYTES) {
            Ok(file) => file,
            Err(error @ SourceError::TooLarge { .. }) => return Err(fail(code::TOO_LARGE, error.to_string())),
            Err(error) => return Err(fail(code::FILE, error.to_string())),
        };
        match std::str::from_utf8(&file.bytes) {
            Ok(text) => Self::parse(text, path),
            Err(_) => Err(fail(code::SYNTAX, "the file is not UTF-8 text".to_owned())),
        }
    }

    /// Reads a test file that was read already; `path` stands in findings, and what it names is relative to that.
    ///
    /// # Errors
    /// Everything that is wrong with it, with place and hint.
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let (file, mut findings) = read(text, &path.display().to_string());
        let cases = file.as_ref().map(|file| decode(file.root(), path, &mut findings)).unwrap_or_default();
        let failed = findings.has_errors();
        let findings = findings.finish();
        if failed {
            return Err(Error::Invalid(findings));
        }
        Ok(Self { cases: cases.into_iter().map(Arc::new).collect(), warnings: findings })
    }

    /// The cases, in the order of the file.
    #[must_use]
    pub fn cases(&self) -> &[Arc<Case>] {
        &self.cases
    }

    /// What is legal and perhaps not meant.
    #[must_use]
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }
}

fn decode(root: Part<'_>, path: &Path, findings: &mut Findings) -> Vec<Case> {
    let Some(fields) = Fields::open(root, &ROOT, findings) else { return Vec::new() };
    if let Some(part) = fields.get("description") {
        text(part, findings);
    }
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut place = Shared::new(path.display().to_string(), directory);
    place.settings = place.read(fields, findings);
    let Some(list) = fields.given("cases") else {
        let hint = Some("`cases` is a list of `{ name, inputs, model, expect }`".to_owned());
        findings.at(root, code::MISSING_KEY, "the key `cases` is missing", hint);
        return Vec::new();
    };
    let parts = items(list, findings);
    if parts.is_empty() && list.items().is_some() {
        findings.at(list, code::EMPTY, "there is no case", None);
    }
    let mut names = BTreeSet::new();
    let mut cases = Vec::new();
    for part in parts {
        let Some(case) = case::decode(part, &place, findings) else { continue };
        if !names.insert(case.name.clone()) {
            let message = format!("two cases are called `{}`", case.name);
            findings.at(part.nearest("name"), code::DUPLICATE_STEP, message, None);
        }
        cases.push(case);
    }
    cases
}
