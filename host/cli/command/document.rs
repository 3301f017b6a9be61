//! A document that a command was pointed at.

use crate::failure::Failure;
use crate::terminal;
use crate::ui::finding;
use cofferdam::Workflow;
use cofferdam::core::spec::suggest::did_you_mean;
use cofferdam::core::text::escaped;
use std::path::Path;

/// Whether warnings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warnings {
    Show,
    Hide,
}

/// Why there is no document where a command was pointed at.
pub(super) struct Absence {
    pub(super) message: String,
    pub(super) hint: String,
}

/// Loads a document, and says what is perhaps not meant.
pub(super) fn load(file: &Path, warnings: Warnings) -> Result<Workflow, Failure> {
    if let Some(Absence { message, hint }) = absence(file) {
        return Err(Failure::usage(message).with_hint(hint));
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

/// Why there is no document; none when there is something that can be opened.
pub(super) fn absence(file: &Path) -> Option<Absence> {
    let shown = terminal::name(file);
    if file.is_dir() {
        let example = file.join("NAME.yaml");
        let hint =
            format!("name a document, `{}`; `cofferdam run` alone lists those of a folder", terminal::name(&example));
        return Some(Absence { message: format!("`{shown}` is a directory"), hint });
    }
    (!file.exists())
        .then(|| Absence { message: format!("there is no document `{shown}`"), hint: where_it_may_be(file) })
}

fn where_it_may_be(file: &Path) -> String {
    if file == Path::new("-") {
        return "`/dev/stdin` is standard input, where a document is taken from a file".to_owned();
    }
    let given = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if given.contains(['*', '?', '[']) {
        return "no file matches the pattern, and so the shell has passed it on as it stands".to_owned();
    }
    let names: Vec<String> = std::fs::read_dir(directory(file))
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let near = did_you_mean(&given, names.iter().map(String::as_str)).map(|near| escaped(&near).into_owned());
    near.unwrap_or_else(|| "`cofferdam run` alone lists those of this folder".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_a_folder_is_in_this_one() {
        assert_eq!(directory(Path::new("x.yaml")), Path::new("."));
        assert_eq!(directory(Path::new("a/x.yaml")), Path::new("a"));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_known_as_one() {
        assert!(absence(Path::new("no-such-*.yaml")).unwrap().hint.contains("the pattern"));
        assert!(absence(Path::new("/")).unwrap().message.contains("is a directory"));
    }
}
