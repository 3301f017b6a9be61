//! Documents: authored YAML or JSON with spans, validated, resolved into a [`Workflow`].
//!
//! All findings are reported, not the first. Nothing here runs, and files are read through the [`Sources`] port only.

pub mod code;
pub mod duration;
pub mod suggest;
pub mod workflow;

mod agent;
mod decode;
mod expression;
mod files;
mod graph;
mod input;
mod keys;
mod kind;
mod options;
mod plugin;
mod report;
mod safety;
mod schema;
mod scope;
mod step;
mod tree;

pub use input::InputText;
pub use schema::schema;
pub use workflow::Workflow;

use crate::diagnostic::Diagnostics;
use crate::limits;
use crate::port::{SourceError, Sources};
use decode::Decoder;
use files::Files;
use report::{Report, Spot};
use std::sync::Arc;

/// A document that may run, and what is doubtful about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The workflow.
    pub workflow: Workflow,
    /// Warnings.
    pub warnings: Diagnostics,
}

/// Reads and checks the document that the user named. `sources` reads its directory: the document by its file name,
/// and the files that it names.
///
/// # Errors
/// All findings, warnings among them; at least one is an error.
pub fn load(path_as_named: &str, sources: &dyn Sources) -> Result<Loaded, Diagnostics> {
    let mut report = Report::new(path_as_named, "".into());
    let name = path_as_named.rsplit(['/', '\\']).next().unwrap_or(path_as_named);
    let file = match sources.read(name, limits::DOCUMENT_BYTES) {
        Ok(file) => file,
        Err(error) => {
            let code = if matches!(error, SourceError::TooLarge { .. }) { code::TOO_LARGE } else { code::FILE };
            report.whole(code, error.to_string());
            return Err(report.finish());
        }
    };
    match std::str::from_utf8(&file.bytes) {
        Ok(text) => parse(text, path_as_named, sources),
        Err(error) => {
            let valid = file.bytes.get(..error.valid_up_to()).map(String::from_utf8_lossy).unwrap_or_default();
            let spot = Spot::of_offset(&valid, valid.len());
            report.at(code::SYNTAX, spot, "", "the document is not UTF-8 text").hint("save it as UTF-8");
            Err(report.finish())
        }
    }
}

/// Checks a document that was read already; `file_name` stands in findings, and `@file` is read from `sources`.
///
/// # Errors
/// All findings, warnings among them; at least one is an error.
pub fn parse(text: &str, file_name: &str, sources: &dyn Sources) -> Result<Loaded, Diagnostics> {
    let text: Arc<str> = text.into();
    let mut report = Report::new(file_name, Arc::clone(&text));
    let Some(root) = tree::parse(&text, &mut report) else { return Err(report.finish()) };
    let files = Files::new(sources, file_name, &text);
    let (workflow, report) = Decoder::new(report, files).document(&root);
    let findings = report.finish();
    match workflow {
        Some(workflow) => Ok(Loaded { workflow, warnings: findings }),
        None => Err(findings),
    }
}
