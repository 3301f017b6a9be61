//! Documents with faults give exactly the expected findings.

use crate::case::{CASES, INCLUDES, all_cases, cases, documents, to_json};
use cofferdam_core::diagnostic::Diagnostics;
use cofferdam_core::spec;
use std::path::Path;

#[test]
fn every_invalid_document_has_exactly_its_findings() {
    for name in CASES {
        check_findings(&documents().join(name));
    }
}

#[test]
fn every_document_with_includes_has_exactly_its_findings() {
    check_findings(&documents().join(INCLUDES));
}

fn check_findings(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let cases = cases(&text);
    if std::env::var_os("UPDATE").is_some() {
        let mut updated = text.split("=== ").next().unwrap().to_owned();
        for (case, block) in cases.iter().zip(text.split("=== ").skip(1)) {
            let (source, _) = block.split_once("\n>>>\n").unwrap();
            updated.push_str(&format!("=== {source}\n>>>\n{}\n\n", case.findings().join("\n")));
        }
        std::fs::write(path, updated.trim_end().to_owned() + "\n").unwrap();
        return;
    }
    assert!(cases.len() > 15);
    for case in &cases {
        assert_eq!(case.findings(), case.expected, "{}", case.name);
        assert!(!case.expected.is_empty(), "{} finds nothing", case.name);
    }
}

#[test]
fn every_code_of_documents_has_a_case() {
    let seen: Vec<String> = all_cases().into_iter().flat_map(|case| case.expected).collect();
    // Inputs are bound, not written; what is too long is tested below; includes have tests of their own.
    let elsewhere = ["W009", "W061", "W062", "W081", "W082", "W083", "W084", "W099"];
    for code in spec::code::ALL.iter().filter(|code| !elsewhere.contains(&code.id)) {
        assert!(seen.iter().any(|finding| finding.starts_with(code.id)), "no case has {}: {}", code.id, code.title);
    }
}

#[test]
fn the_json_form_of_an_invalid_document_has_the_same_findings() {
    for case in all_cases() {
        let Ok(value) = to_json(&case.document) else { continue };
        // What a document loses on its way to JSON: anchors, and the letters that JSON escapes.
        if case.name.contains("yaml only") {
            continue;
        }
        let json = serde_json::to_string_pretty(&value).unwrap();
        let shape = |found: &Diagnostics| {
            let mut codes: Vec<_> = found.iter().map(|found| (found.code, found.path.clone())).collect();
            codes.sort();
            codes
        };
        let findings = |text: &str| shape(&case.load(text).map_or_else(|found| found, |loaded| loaded.warnings));
        assert_eq!(findings(&json), findings(&case.document), "{}", case.name);
    }
}
