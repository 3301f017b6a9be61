//! Parse, print, parse: a workflow that was written out is the same workflow.

use crate::dice::{Dice, rounds, seeds};
use crate::document::{Beside, document};
use cofferdam_core::spec::workflow::Workflow;
use cofferdam_core::spec::{self, export};
use serde_json::Value;

fn parse(text: &str) -> Workflow {
    let loaded = spec::parse(text, "flow", &Beside).unwrap_or_else(|found| panic!("{found}\n\n{text}"));
    loaded.workflow
}

/// All of it but what tells one text from another.
fn meaning(mut workflow: Workflow) -> String {
    workflow.sources.clear();
    workflow.hash.clear();
    workflow.options.compat = None;
    workflow.unbuilt.sort_by(|one, other| one.path.cmp(&other.path));
    format!("{workflow:#?}")
}

fn same(seed: u64, what: &str, left: &str, right: &str) {
    if left == right {
        return;
    }
    let at = left.lines().zip(right.lines()).position(|(left, right)| left != right).unwrap_or_default();
    let near = |text: &str| text.lines().skip(at.saturating_sub(6)).take(12).collect::<Vec<_>>().join("\n");
    panic!("seed {seed}: {what}\n--- one\n{}\n--- other\n{}", near(left), near(right));
}

fn check(seed: u64, document: &Value) {
    let first = parse(&document.to_string());
    let yaml = serde_yaml::to_string(document).unwrap();
    let meant = meaning(first.clone());
    same(seed, "YAML and JSON differ", &meaning(parse(&yaml)), &meant);
    let exported = export::to_value(&first);
    let again = parse(&exported.to_string());
    assert_eq!(export::to_value(&again), exported, "seed {seed}: the second export differs from the first");
    same(seed, "the exported value differs", &meaning(again), &meant);
    let text = export::to_yaml(&first);
    same(seed, &format!("the exported text differs\n{text}"), &meaning(parse(&text)), &meant);
}

#[test]
fn a_workflow_that_was_written_out_is_the_same() {
    for seed in seeds(rounds("ROUND_TRIPS", 200)) {
        let document = document(&mut Dice::new(seed));
        let checked = std::panic::catch_unwind(|| check(seed, &document));
        assert!(checked.is_ok(), "SEED={seed} shows it again");
    }
}

#[test]
fn every_document_of_the_tests_survives_being_written_out() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/documents/valid");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let Ok(loaded) = spec::parse(&text, "flow", &Beside) else { continue };
        let written = export::to_yaml(&loaded.workflow);
        same(0, &written, &meaning(parse(&written)), &meaning(loaded.workflow));
        count += 1;
    }
    assert!(count > 3);
}
