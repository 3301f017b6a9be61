//! The files that a document names with `@`: read once each, followed, made safe, and kept for the journal.

use super::code;
use super::report::{Found, Report, Spot};
use super::safety;
use super::tree::Node;
use crate::digest::sha256_hex;
use crate::event::Source;
use crate::limits;
use crate::port::{SourceError, Sources};
use std::sync::Arc;

/// The document's files.
pub(super) struct Files<'s> {
    sources: &'s dyn Sources,
    /// The directory of the document as the user named it, with a final `/`; empty for the current one.
    directory: String,
    document: Source,
    /// Each file as it was read, and its safe text.
    read: Vec<(Source, Arc<str>)>,
}

impl<'s> Files<'s> {
    /// The files of the document `name`, which was read already.
    pub(super) fn new(sources: &'s dyn Sources, name: &str, text: &Arc<str>) -> Self {
        let directory = name.rfind(['/', '\\']).and_then(|at| name.get(..=at)).unwrap_or_default();
        let document = Source { path: name.to_owned(), sha256: sha256_hex(text.as_bytes()), text: Arc::clone(text) };
        Self { sources, directory: directory.to_owned(), document, read: Vec::new() }
    }

    /// All files, the document first.
    pub(super) fn into_sources(self) -> Vec<Source> {
        std::iter::once(self.document).chain(self.read.into_iter().map(|(source, _)| source)).collect()
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
        let mut path = first.trim().to_owned();
        loop {
            if path.is_empty() {
                let by = chain.last().map_or_else(|| "`@`".to_owned(), |file| format!("file `{file}`"));
                report
                    .error(code::FILE, node, format!("{by} names no file"))
                    .hint("write `@@` for text that begins with `@`");
                return None;
            }
            if chain.contains(&path) {
                chain.push(path);
                report.error(
                    code::FILE_CHAIN,
                    node,
                    format!("files name each other in a circle: {}", chain.join(" -> ")),
                );
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
                    path = next.trim().to_owned();
                }
                Some(literal) if literal.starts_with('@') => return text.trim_start().strip_prefix('@').map(Arc::from),
                _ => return Some(text),
            }
        }
    }

    fn read(&mut self, report: &mut Report, node: &Node, path: &str) -> Option<Arc<str>> {
        let shown = format!("{}{path}", self.directory);
        if let Some((_, text)) = self.read.iter().find(|(source, _)| source.path == shown) {
            return Some(Arc::clone(text));
        }
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
        let source = Source { path: shown, sha256: sha256_hex(&file.bytes), text: written.into() };
        self.read.push((source, Arc::clone(&text)));
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
