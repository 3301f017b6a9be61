//! Every section of the benchmark still runs, with counts so small that its figures mean nothing: what is tested is that
//! each prints some and none fails. No time is looked at.

#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

use std::process::Command;

fn bench(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cofferdam-bench")).args(args).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{args:?} ended with {}\n{stdout}\n{stderr}", output.status);
    stdout
}

#[test]
fn every_section_prints_figures_and_none_fails() {
    let listed = bench(&["--list"]);
    let sections: Vec<&str> = listed.lines().collect();
    assert!(sections.len() >= 12, "{sections:?}");
    let printed = bench(&["--smoke"]);
    for section in sections {
        let (_, rest) =
            printed.split_once(&format!("\n[{section}]\n")).unwrap_or_else(|| panic!("{section}\n{printed}"));
        let figures = rest.lines().take_while(|line| !line.starts_with('['));
        let figure = |line: &&str| line.chars().any(|found| found.is_ascii_digit());
        assert!(figures.clone().any(|line| figure(&line)), "`{section}` prints no figure\n{printed}");
    }
}

#[test]
fn a_section_that_there_is_not_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_cofferdam-bench")).args(["--smoke", "grahp"]).output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("`grahp`") && said.contains("graph"), "{said}");
}
