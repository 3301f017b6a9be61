//! Documents: authored YAML or JSON with spans, validated, resolved into a [`Workflow`].
//!
//! All findings are reported, not the first. Nothing here runs, and files are read through the [`Sources`] port only.

pub mod authored;
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
mod run_limits;
mod safety;
mod schema;
mod scope;
mod step;
mod tree;

pub use input::InputText;
pub use run_limits::RunLimits;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::{SourceFile, Sources};

    struct Nothing;

    impl Sources for Nothing {
        fn read(&self, path: &str, _: usize) -> Result<SourceFile, SourceError> {
            Err(SourceError::Missing(path.into()))
        }
    }

    fn findings(text: &str) -> Diagnostics {
        parse(text, "w.yaml", &Nothing).unwrap_err()
    }

    #[test]
    fn thousands_of_mistakes_are_counted_and_few_are_searched() {
        let unknown: String = (0..20_000).map(|index| format!("idd{index}, ")).collect();
        let dependencies = format!(
            "name: w\nsteps:\n  - {{id: idd, instructions: x}}\n  - {{id: b, instructions: x, dependsOn: [{unknown}]}}\n"
        );
        let keys: String = (0..20_000).map(|index| format!("namee{index}: 1\n")).collect();
        for text in [dependencies, format!("name: w\nsteps: [{{id: a, instructions: x}}]\n{keys}")] {
            let found: Vec<_> = findings(&text).into_iter().collect();
            assert_eq!(found.len(), limits::DIAGNOSTICS + 1);
            assert_eq!(found.last().unwrap().message, "and 19000 more findings");
            assert!(found.iter().filter(|found| found.hint.is_some()).count() <= limits::SUGGESTIONS + 1);
        }
    }

    #[test]
    fn an_empty_document_says_so() {
        for text in ["", "\n \n", "# only a remark\n", "---\n"] {
            let found: Vec<_> = findings(text).into_iter().collect();
            assert_eq!((found.len(), found[0].message.as_str()), (1, "the document is empty"), "{text:?}");
            assert!(found[0].hint.as_ref().unwrap().contains("cofferdam init"));
        }
    }

    #[test]
    fn a_key_that_is_not_text_has_its_place() {
        let text = "name: w\nsteps: [{id: a, instructions: x, metadata: {ok: 1, 7: x}}]\ntrue: 1\n";
        let found: Vec<_> = findings(text).into_iter().filter(|found| found.code == code::SYNTAX.id).collect();
        let places: Vec<_> =
            found.iter().map(|found| found.place.as_ref().map(|at| (at.line, at.column)).unwrap()).collect();
        assert_eq!(places, [(2, 52), (3, 1)], "{found:?}");
        assert!(found[0].message.contains("`7`"));
    }
}
