//! Pins the contract: the resolved text of all packages, and the SDK's copy of
//! them. `UPDATE=1` rewrites both; the difference is then up for review.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail loudly")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;

use cofferdam_guests::repository;
use wit_component::WitPrinter;
use wit_parser::Resolve;

/// Dependencies first.
const PACKAGES: [&str; 9] = ["types", "host", "plugin", "tool", "transform", "storage", "sink", "model", "recall"];

fn resolved() -> String {
    let mut resolve = Resolve::default();
    let mut text = String::from("// Resolved from the folders beside this file; see README.md.\n");
    for package in PACKAGES {
        let folder = repository().join("wit").join(package);
        let (id, _) = resolve.push_dir(&folder).unwrap_or_else(|error| panic!("{error:#}"));
        let mut printer = WitPrinter::default();
        printer.print(&resolve, id, &[]).unwrap();
        text.push('\n');
        text.push_str(&String::from(printer.output));
    }
    text
}

fn update() -> bool {
    env::var_os("UPDATE").is_some()
}

fn files(root: &Path) -> BTreeMap<String, String> {
    PACKAGES
        .iter()
        .flat_map(|package| fs::read_dir(root.join(package)).unwrap())
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn the_contract_is_the_one_that_was_reviewed() {
    let path = repository().join("wit/golden.wit");
    let text = resolved();
    if update() {
        fs::write(&path, &text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let difference = similar::TextDiff::from_lines(&golden, &text);
    assert!(golden == text, "the contract changed; with UPDATE=1 this test accepts it\n{}", difference.unified_diff());
}

#[test]
fn the_copy_in_the_sdk_is_the_contract() {
    let (source, copy) = (repository().join("wit"), repository().join("sdk/rust/wit"));
    if update() {
        for (name, text) in files(&source) {
            let path = copy.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
    assert!(files(&source) == files(&copy), "sdk/rust/wit differs; run this test with UPDATE=1");
}

#[test]
fn every_item_of_the_contract_is_documented_and_dated() {
    for (name, text) in files(&repository().join("wit")) {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let item = ["interface ", "record ", "enum ", "variant ", "flags ", "type ", "resource ", "world "]
                .iter()
                .any(|keyword| line.starts_with(keyword))
                || line.contains(": func(")
                || line.contains(": static func(")
                || line.starts_with("import ")
                || line.starts_with("export ");
            if !item {
                continue;
            }
            let place = format!("{name}:{}: {line}", number + 1);
            assert_eq!(lines[number - 1], "@since(version = 0.1.0)", "{place}");
            assert!(lines[number - 2].starts_with("///"), "{place}");
        }
    }
}
