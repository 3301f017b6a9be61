//! `run` without a file: the documents of a folder, and how to run one.

use crate::exit::Exit;
use crate::failure::{Audience, Failure};
use crate::terminal;
use crate::ui::table::{self, Wide};
use cofferdam::Workflow;
use cofferdam::sink::clean;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Folders below the named one that are looked into as well.
const FOLDERS: [&str; 4] = [".", "workflows", "examples", "host/examples"];

/// Most documents that are listed.
const DOCUMENTS: usize = 100;

pub(super) fn show(folder: &Path, audience: Audience) -> anyhow::Result<Exit> {
    let found = documents(folder);
    let Some(first) = found.first() else {
        return Err(Failure::usage("there is no workflow document in this folder")
            .with_hint("`cofferdam init` writes one; `cofferdam run FILE` runs one that is elsewhere")
            .into());
    };
    if audience == Audience::Machine {
        found.iter().try_for_each(|path| terminal::print(&line(path)))?;
        return Ok(Exit::Usage);
    }
    let mut rows = table::with_head(Wide::Break, &["DOCUMENT", "NAME", "DESCRIPTION"]);
    for path in &found {
        rows.add_row(row(path));
    }
    terminal::print(&table::render(&rows))?;
    terminal::tell(&format!("\nrun one of them:  cofferdam run {}", terminal::name(first)));
    Ok(Exit::Usage)
}

/// A document as a line of JSON; one with errors has no name.
fn line(path: &Path) -> String {
    let workflow = Workflow::load(path).ok();
    let document = workflow.as_ref().map(Workflow::document);
    let value = json!({
        "kind": "document",
        "file": path.display().to_string(),
        "valid": document.is_some(),
        "name": document.map(|document| &document.name),
        "description": document.and_then(|document| document.description.as_deref()),
    });
    format!("{value}\n")
}

fn row(path: &Path) -> Vec<String> {
    let shown = terminal::name(path);
    match Workflow::load(path) {
        Ok(workflow) => {
            let description = workflow.document().description.as_deref().unwrap_or_default();
            vec![shown, clean(workflow.name(), 40), clean(description, 80)]
        }
        Err(_) => vec![shown.clone(), String::new(), format!("has errors; see `cofferdam validate {shown}`")],
    }
}

fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = FOLDERS.iter().flat_map(|name| in_folder(&folder.join(name))).collect();
    found.sort();
    found.truncate(DOCUMENTS);
    found
}

fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let plain = |path: PathBuf| path.strip_prefix("./").map(Path::to_owned).unwrap_or(path);
    let plain = move |path: PathBuf| plain(path.strip_prefix(".").map(Path::to_owned).unwrap_or(path));
    paths.filter(|path| is_document(path)).map(plain).collect()
}

/// Whether a file looks like a workflow: by its name, and by having steps.
fn is_document(path: &Path) -> bool {
    let is_named =
        path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
    let is_small = || {
        let limit = cofferdam::core::limits::DOCUMENT_BYTES as u64;
        std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= limit)
    };
    is_named && is_small() && std::fs::read_to_string(path).is_ok_and(|text| has_steps(&text))
}

/// A cheap look at the text: other YAML files of a folder must not appear as broken workflows.
fn has_steps(text: &str) -> bool {
    let has_key = |key: &str| text.lines().any(|line| line.starts_with(key));
    let is_schema = text.contains("\"$defs\"");
    (has_key("steps:") && has_key("name:")) || (text.contains("\"steps\"") && text.contains("\"name\"") && !is_schema)
}

#[cfg(test)]
mod tests {
    use super::has_steps;

    #[test]
    fn other_yaml_is_no_workflow() {
        assert!(has_steps("name: x\nsteps:\n  - a\n"));
        assert!(has_steps("{\"name\": \"x\", \"steps\": []}"));
        assert!(!has_steps("{\"$defs\": {\"x\": {\"steps\": 1, \"name\": 2}}}"));
        assert!(!has_steps("jobs:\n  build:\n    steps: []\nname: ci\n"));
    }
}
