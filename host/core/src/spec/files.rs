//! The files that documents name: included documents and texts after `@`, read once each, made safe, kept for the
//! journal.
//!
//! A path is written relative to its document; here it is one below the directory of the document that runs.

use super::code;
use super::report::{Found, Report, Spot};
use super::safety;
use super::tree::Node;
use crate::digest::sha256_hex;
use crate::event::Source;
use crate::limits;
use crate::oci::Reference;
use crate::port::{SourceError, Sources};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The files of a document that runs, seen from the document that is being decoded.
pub(super) struct Files<'s> {
    sources: &'s dyn Sources,
    /// The directory of the document that runs as the user named it, with a final `/`; empty for the current one.
    named: Arc<str>,
    /// The directory of the document that is being decoded, relative to that, with a final `/`; empty for the same one.
    directory: String,
    /// All that was read, in that order.
    read: Vec<Source>,
    recorded: BTreeSet<String>,
    /// The safe text of each file that was named with `@`.
    texts: BTreeMap<String, Arc<str>>,
}

/// Why a document could not be opened: in words, or where in it.
pub(super) enum Unreadable {
    Refused(SourceError),
    NotText(Spot),
}

impl<'s> Files<'s> {
    /// The files of the document `name`.
    pub(super) fn new(sources: &'s dyn Sources, name: &str) -> Self {
        let named = name.rfind(['/', '\\']).and_then(|at| name.get(..=at)).unwrap_or_default();
        Self {
            sources,
            named: named.into(),
            directory: String::new(),
            read: Vec::new(),
            recorded: BTreeSet::new(),
            texts: BTreeMap::new(),
        }
    }

    /// The same files for another document, given its path; what was read stays with the files that are left behind.
    pub(super) fn moved(&mut self, document: &str) -> Self {
        let directory = document.rfind('/').and_then(|at| document.get(..=at)).unwrap_or_default().to_owned();
        Self {
            sources: self.sources,
            named: Arc::clone(&self.named),
            directory,
            read: std::mem::take(&mut self.read),
            recorded: std::mem::take(&mut self.recorded),
            texts: std::mem::take(&mut self.texts),
        }
    }

    /// Takes back what another document has read.
    pub(super) fn resume(&mut self, other: Self) {
        self.read = other.read;
        self.recorded = other.recorded;
        self.texts = other.texts;
    }

    /// All that was read, the document that runs first.
    pub(super) fn into_sources(self) -> Vec<Source> {
        self.read
    }

    /// A file as the user would name it.
    pub(super) fn shown(&self, path: &str) -> String {
        format!("{}{path}", self.named)
    }

    /// What a path of the document means below the directory of the document that runs; none when it leads out.
    pub(super) fn resolve(&self, path: &str) -> Option<String> {
        // Where `\\` separates directories too, it must not lead out either.
        if path.starts_with(['/', '\\']) || path.split(['/', '\\']).any(|part| part == "..") && path.contains('\\') {
            return None;
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in self.directory.split('/').chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()?),
                _ => parts.push(part),
            }
        }
        // The directory itself is no file; whoever reads it says so.
        Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
    }

    /// The source of a plugin as the document that runs would write it.
    pub(super) fn plugin_source(&self, source: &str) -> String {
        if self.directory.is_empty() || source.starts_with("builtin:") || Reference::is_meant(source) {
            return source.to_owned();
        }
        let resolved = self.resolve(source).unwrap_or_else(|| format!("{}{source}", self.directory));
        format!("./{resolved}")
    }

    /// The text of a document.
    pub(super) fn document(&mut self, path: &str) -> Result<Arc<str>, Unreadable> {
        let file = self.sources.read(path, limits::DOCUMENT_BYTES).map_err(Unreadable::Refused)?;
        match std::str::from_utf8(&file.bytes) {
            Ok(text) => {
                let text: Arc<str> = text.into();
                self.record(&self.shown(path), &text);
                Ok(text)
            }
            Err(error) => {
                let valid = file.bytes.get(..error.valid_up_to()).map(String::from_utf8_lossy).unwrap_or_default();
                Err(Unreadable::NotText(Spot::of_offset(&valid, valid.len())))
            }
        }
    }

    /// Keeps what was read, once for each file.
    pub(super) fn record(&mut self, shown: &str, text: &Arc<str>) {
        if self.recorded.insert(shown.to_owned()) {
            let sha256 = sha256_hex(text.as_bytes());
            self.read.push(Source { path: shown.to_owned(), sha256, text: Arc::clone(text) });
        }
    }

    /// The text that `instructions` or `prompt` mean: as written, or of the file after `@`.
    pub(super) fn text(&mut self, report: &mut Report, node: &Node) -> Option<Arc<str>> {
        let text = node.text()?;
        match text.strip_prefix('@') {
            None => Some(text.into()),
            Some(rest) if rest.starts_with('@') => Some(rest.into()),
            Some(path) => self.follow(report, node, path),
        }
    }

    fn follow(&mut self, report: &mut Report, node: &Node, first: &str) -> Option<Arc<str>> {
        let mut chain: Vec<String> = Vec::new();
        let mut written = first.trim().to_owned();
        loop {
            if written.is_empty() {
                let by = chain.last().map_or_else(|| "`@`".to_owned(), |file| format!("file `{file}`"));
                report
                    .error(code::FILE, node, format!("{by} names no file"))
                    .hint("write `@@` for text that begins with `@`");
                return None;
            }
            let Some(path) = self.resolve(&written) else {
                let error = SourceError::Escape(written);
                refused(report.error(code::FILE, node, error.to_string()), &error);
                return None;
            };
            if chain.contains(&path) {
                chain.push(path);
                let message = format!("files name each other in a circle: {}", chain.join(" -> "));
                report.error(code::FILE_CHAIN, node, message);
                return None;
            }
            if chain.len() >= limits::TEXT_FILE_CHAIN {
                let message = format!("more than {} files name each other", limits::TEXT_FILE_CHAIN);
                report.error(code::FILE_CHAIN, node, message);
                return None;
            }
            let text = self.read(report, node, &path)?;
            let only = text.trim();
            // A file is a reference when it is one line and nothing else; other text may well begin with `@`.
            match only.strip_prefix('@') {
                Some(next) if !next.starts_with('@') && !only.contains('\n') => {
                    chain.push(path);
                    written = next.trim().to_owned();
                }
                Some(literal) if literal.starts_with('@') => return text.trim_start().strip_prefix('@').map(Arc::from),
                _ => return Some(text),
            }
        }
    }

    fn read(&mut self, report: &mut Report, node: &Node, path: &str) -> Option<Arc<str>> {
        if let Some(text) = self.texts.get(path) {
            return Some(Arc::clone(text));
        }
        let shown = self.shown(path);
        let file = match self.sources.read(path, limits::TEXT_FILE_BYTES) {
            Ok(file) => file,
            Err(error) => {
                refused(report.error(code::FILE, node, error.to_string()), &error);
                return None;
            }
        };
        let Ok(written) = std::str::from_utf8(&file.bytes) else {
            report.error(code::FILE, node, format!("file `{path}` is not UTF-8 text"));
            return None;
        };
        let text = written.strip_prefix('\u{FEFF}').unwrap_or(written).replace("\r\n", "\n");
        let mut own = Report::new(&shown, "".into());
        let clean = safety::clean(&text, &mut own, Spot::START, "");
        for found in own.finish() {
            let spot = text.find(|character: char| !(character.is_ascii_graphic() || character.is_whitespace()));
            let spot = spot.map_or(Spot::START, |offset| Spot::of_offset(&text, offset));
            report.repeat(found, &shown, spot, &node.path);
        }
        let text: Arc<str> = clean.unwrap_or(text).into();
        if text.trim().is_empty() {
            report.error(code::EMPTY, node, format!("file `{path}` is empty"));
            return None;
        }
        self.record(&shown, &written.into());
        self.texts.insert(path.to_owned(), Arc::clone(&text));
        Some(text)
    }
}

fn refused(found: Found<'_>, error: &SourceError) {
    match error {
        SourceError::Missing(_) => {
            found.hint("paths are relative to the document; write `@@` for text that begins with `@`")
        }
        SourceError::Escape(_) => found.hint("move the file beside the document, or below it"),
        SourceError::TooLarge { .. } | SourceError::Io { .. } => found,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::SourceFile;

    struct Nothing;

    impl Sources for Nothing {
        fn read(&self, path: &str, _: usize) -> Result<SourceFile, SourceError> {
            Err(SourceError::Missing(path.into()))
        }
    }

    #[test]
    fn paths_are_those_of_the_document_that_runs() {
        let mut root = Files::new(&Nothing, "some/where/flow.yaml");
        assert_eq!(root.shown("a.md"), "some/where/a.md");
        for (path, resolved) in [
            ("a.md", Some("a.md")),
            ("./b/./a.md", Some("b/a.md")),
            ("b/../a.md", Some("a.md")),
            ("../a.md", None),
            ("b/../../a.md", None),
            ("/a.md", None),
            ("b/..", Some(".")),
            ("b\\..\\..\\a.md", None),
        ] {
            assert_eq!(root.resolve(path).as_deref(), resolved, "{path}");
        }
        assert_eq!(root.plugin_source("./x.wasm"), "./x.wasm");
        let inner = root.moved("lib/deep/inc.yaml");
        for (path, resolved) in [("a.md", Some("lib/deep/a.md")), ("../../a.md", Some("a.md")), ("../../../a.md", None)]
        {
            assert_eq!(inner.resolve(path).as_deref(), resolved, "{path}");
        }
        assert_eq!(inner.plugin_source("../x.wasm"), "./lib/x.wasm");
        assert_eq!(inner.plugin_source("builtin:text"), "builtin:text");
    }
}
