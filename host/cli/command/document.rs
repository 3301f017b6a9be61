//! A document that a command was pointed at.

use crate::failure::Failure;
use crate::terminal;
use crate::ui::finding;
use cofferdam::Workflow;
use cofferdam::core::spec::suggest::did_you_mean;
use std::path::Path;

/// Whether warnings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warnings {
    Show,
    Hide,
}

/// Loads a document, and says what is perhaps not meant.
pub(super) fn load(file: &Path, warnings: Warnings) -> Result<Workflow, Failure> {
    if file.is_dir() {
        return Err(Failure::usage(format!("`{}` is a directory", file.display()))
            .with_hint("name a document; `cofferdam run` alone lists those of a folder"));
    }
    if !file.exists() {
        return Err(missing(file));
    }
    let workflow = Workflow::load(file)?;
    if warnings == Warnings::Show && !workflow.warnings().is_empty() {
        terminal::tell(&finding::render(workflow.warnings()));
    }
    Ok(workflow)
}

/// The directory that the files of a document are below.
pub(super) fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn missing(file: &Path) -> Failure {
    let failure = Failure::usage(format!("there is no document `{}`", file.display()));
    let names: Vec<String> = std::fs::read_dir(directory(file))
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let given = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let near = did_you_mean(&given, names.iter().map(String::as_str));
    failure.with_hint(near.unwrap_or_else(|| "`cofferdam run` alone lists those of this folder".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_a_folder_is_in_this_one() {
        assert_eq!(directory(Path::new("x.yaml")), Path::new("."));
        assert_eq!(directory(Path::new("a/x.yaml")), Path::new("a"));
    }
}
