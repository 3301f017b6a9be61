//! Documents: authored YAML or JSON with spans, validated, resolved into a [`Workflow`].
//!
//! All findings are reported, not the first. Nothing here runs, and files are read through the [`Sources`] port only.

pub mod authored;
pub mod code;
pub mod duration;
pub mod export;
pub mod suggest;
pub mod workflow;

mod agent;
mod ask;
mod budget;
mod chain;
mod compat;
mod condition;
mod decode;
mod expression;
mod feed;
mod files;
mod graph;
mod host_defaults;
mod include;
mod input;
mod isolation;
mod json_schema;
mod keys;
mod kind;
mod looping;
mod memory;
mod merge;
mod model_options;
mod options;
mod plugin;
mod recall;
mod report;
mod root;
mod run_limits;
mod safety;
mod schema;
mod scope;
mod server;
mod shape;
mod step;
mod tree;
mod unbuilt;
mod work;

pub use host_defaults::HostDefaults;
pub use input::InputText;
pub use run_limits::RunLimits;
pub use schema::schema;
pub use workflow::Workflow;

use crate::diagnostic::Diagnostics;
use crate::port::{SourceError, Sources};
use decode::Decoder;
use files::{Files, Unreadable};
use include::Documents;
use report::Report;
use std::sync::Arc;

/// A document that may run, and what is doubtful about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The workflow.
    pub workflow: Workflow,
    /// Warnings.
    pub warnings: Diagnostics,
}

/// Reads and checks the document that the user named, and all that it includes. `sources` reads its directory: the
/// document by its file name, and the files that the documents name.
///
/// # Errors
/// All findings, warnings among them; at least one is an error.
pub fn load(path_as_named: &str, sources: &dyn Sources) -> Result<Loaded, Diagnostics> {
    let mut files = Files::new(sources, path_as_named);
    let mut report = Report::new(path_as_named, "".into());
    match files.document(name_of(path_as_named)) {
        Ok(text) => return decode(&text, path_as_named, files),
        Err(Unreadable::Refused(error)) => {
            let code = if matches!(error, SourceError::TooLarge { .. }) { code::TOO_LARGE } else { code::FILE };
            report.whole(code, error.to_string());
        }
        Err(Unreadable::NotText(spot)) => {
            report.at(code::SYNTAX, spot, "", "the document is not UTF-8 text").hint("save it as UTF-8");
        }
    }
    Err(report.finish())
}

/// Checks a document that was read already, and all that it includes; `file_name` stands in findings, and the files
/// that it names are read from `sources`.
///
/// # Errors
/// All findings, warnings among them; at least one is an error.
pub fn parse(text: &str, file_name: &str, sources: &dyn Sources) -> Result<Loaded, Diagnostics> {
    let text: Arc<str> = text.into();
    let mut files = Files::new(sources, file_name);
    files.record(file_name, &text);
    decode(&text, file_name, files)
}

fn decode(text: &Arc<str>, file_name: &str, files: Files<'_>) -> Result<Loaded, Diagnostics> {
    let mut report = Report::new(file_name, Arc::clone(text));
    let Some(root) = tree::parse(text, &mut report) else { return Err(report.finish()) };
    let decoder = Decoder::new(report, files, Documents::of(name_of(file_name)));
    let (workflow, report) = decoder.workflow(&root);
    let findings = report.finish();
    match workflow {
        Some(workflow) => Ok(Loaded { workflow, warnings: findings }),
        None => Err(findings),
    }
}

/// The document's name in its own directory.
fn name_of(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use crate::port::SourceFile;

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
