//! Cases as data: a document, the files beside it, and what is found in it.

use cofferdam_core::diagnostic::{Diagnostics, Severity};
use cofferdam_core::port::{SourceError, SourceFile, Sources};
use cofferdam_core::spec::{self, Loaded};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files in memory.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) BTreeMap<String, Vec<u8>>);

impl Sources for Memory {
    fn read(&self, path: &str, max_bytes: usize) -> Result<SourceFile, SourceError> {
        if path.split('/').any(|part| part == "..") || path.starts_with('/') {
            return Err(SourceError::Escape(path.into()));
        }
        let bytes = self.0.get(path.trim_start_matches("./")).ok_or_else(|| SourceError::Missing(path.into()))?;
        if bytes.len() > max_bytes {
            return Err(SourceError::TooLarge { path: path.into(), bytes: bytes.len() as u64, limit: max_bytes });
        }
        Ok(SourceFile { bytes: bytes.as_slice().into() })
    }
}

/// One case: a document, the files beside it, and what is expected of it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) document: String,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) expected: Vec<String>,
}

impl Case {
    pub(crate) fn load(&self, document: &str) -> Result<Loaded, Diagnostics> {
        spec::parse(document, "flow.yaml", &Memory(self.files.clone()))
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        let found = match self.load(&self.document) {
            Ok(loaded) => loaded.warnings,
            Err(found) => found,
        };
        found.iter().map(describe).collect()
    }
}

pub(crate) fn describe(found: &cofferdam_core::diagnostic::Diagnostic) -> String {
    let place = found.place.as_ref().map_or_else(String::new, |place| {
        let file = if &*place.file == "flow.yaml" { String::new() } else { format!("{}:", place.file) };
        format!("{file}{}:{}", place.line, place.column)
    });
    let severity = if found.severity == Severity::Warning { " warning" } else { "" };
    let path = if found.path.is_empty() { "-" } else { &found.path };
    let hint = found.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
    format!("{}{severity} {place} {path}: {}{hint}", found.code, found.message)
}

/// YAML as JSON, where `yes` and `y` are text, as in documents.
pub(crate) fn to_json(text: &str) -> Result<serde_json::Value, serde_yaml::Error> {
    serde_yaml::from_str_with_options(text, serde_yaml::options! { strict_booleans: true })
}

/// Files of cases: of documents in general, and of the parts of the language.
pub(crate) const CASES: [&str; 2] = ["invalid.cases", "language.cases"];

/// Cases of documents that include others.
pub(crate) const INCLUDES: &str = "includes.cases";

pub(crate) fn all_cases() -> Vec<Case> {
    CASES
        .iter()
        .chain([&INCLUDES])
        .flat_map(|name| cases(&std::fs::read_to_string(documents().join(name)).unwrap()))
        .collect()
}

pub(crate) fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents")
}

/// `=== name`, the document, `@@@ path` and a file, `>>>` and a line per finding.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    let unescape =
        |text: &str| text.replace("\\u{202E}", "\u{202E}").replace("\\u{200B}", "\u{200B}").replace("\\t", "\t");
    let mut cases = Vec::new();
    for block in text.split("=== ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let (body, expected) = rest.split_once("\n>>>\n").unwrap_or_else(|| panic!("{name} has no findings"));
        let mut parts = body.split("@@@ ");
        let document = unescape(parts.next().unwrap().trim_end()) + "\n";
        let files = parts
            .map(|part| part.split_once('\n').unwrap_or((part, "")))
            .map(|(path, text)| (path.trim().to_owned(), unescape(text.trim_end()).into()));
        let expected = expected.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        cases.push(Case { name: name.to_owned(), document, files: files.collect(), expected });
    }
    cases
}

pub(crate) fn valid() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(documents().join("valid")).unwrap() {
        let path = entry.unwrap().path();
        found.push((path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap()));
    }
    found.sort();
    assert!(found.len() > 5);
    found
}

pub(crate) fn beside() -> Memory {
    Memory(BTreeMap::from([
        ("prompts/review.md".to_owned(), b"Review it.\n".to_vec()),
        ("next.md".to_owned(), b"@prompts/review.md".to_vec()),
    ]))
}
