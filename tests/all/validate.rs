//! `validate` as people, scripts and GitHub meet it: every finding of every document in one pass.

use crate::support::Project;

const GOOD: &str = "name: good\nsteps: [{ id: a, instructions: hi }]\n";
const BAD: &str = "name: bad\nsteps:\n  - { id: a, agnt: x }\n  - { id: b, instructions: hi, dependsOn: [c] }\n";
/// Right in itself; no machine has the tool.
const ELSEWHERE: &str = "name: elsewhere\nsteps: [{ id: a, tool: teleport, args: {} }]\n";

fn folder() -> Project {
    let project = Project::new();
    project.file("good.yaml", GOOD).file("bad.yaml", BAD).file("elsewhere.yaml", ELSEWHERE);
    project
}

#[test]
fn what_is_no_document_is_said_and_the_others_are_checked() {
    let project = folder();
    let files = ["gone.yaml", "no-such-*.yaml", ".", "bad.yaml", "good.yaml"];
    let outcome = project.run(&[&["validate"][..], &files].concat()).expect(2).says(&[
        "there is no document `gone.yaml`",
        "the pattern",
        "`.` is a directory",
        "bad.yaml:3:",
        "bad.yaml:4:",
        "5 documents, 4 invalid",
    ]);
    let words: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(
        words,
        ["gone.yaml: invalid", "no-such-*.yaml: invalid", ".: invalid", "bad.yaml: invalid", "good.yaml: valid"]
    );
}

#[test]
fn a_finding_stands_below_its_line() {
    let said = folder().run(&["validate", "bad.yaml"]).expect(2).stderr;
    let at = said.find("4 |   - { id: b, instructions: hi, dependsOn: [c] }").unwrap_or_else(|| panic!("{said}"));
    let mark = said[at..].lines().nth(1).unwrap();
    assert_eq!(mark.find('^'), said[at..].find("c]"), "{said}");
}

#[test]
fn findings_of_included_documents_and_texts_stand_below_their_own_lines() {
    let project = Project::new();
    project
        .file("flows/main.yaml", "name: main\nincludes: { part: lib/part.yaml }\nsteps:\n  - { id: p, include: part }\n  - { id: q, instructions: '@lib/text.md' }\n")
        .file("flows/lib/part.yaml", "name: part\nsteps:\n  - { id: a, instructions: hi, dependsOn: [gone] }\n")
        .file("flows/lib/text.md", "fine\nbad \u{202e} here\n");
    project.run(&["validate", "flows/main.yaml"]).expect(2).says(&[
        "flows/lib/part.yaml:3:",
        "3 |   - { id: a, instructions: hi, dependsOn: [gone] }\n",
        "^^^^",
        "flows/lib/text.md:2:5",
        "2 | bad \\u{202e} here\n",
    ]);
    let lines = project.run(&["validate", "--format", "github", "flows/main.yaml"]).expect(2).stdout;
    assert!(
        lines.contains("file=flows/lib/part.yaml,line=3,") && lines.contains("file=flows/lib/text.md,line=2,"),
        "{lines}"
    );
}

#[test]
fn a_code_that_is_none_leads_to_the_nearest_and_to_all() {
    folder().run(&["explain", "W02"]).expect(3).says(&["did you mean `W0", "W021  unknown dependency", "H001"]);
    for code in ["W081", "h001", "C002"] {
        assert!(folder().run(&["explain", code]).expect(0).stdout.lines().count() > 2, "{code}");
    }
}

#[test]
fn lines_of_json_are_findings_documents_and_a_summary() {
    let project = folder();
    for flag in [&["--json"][..], &["--format", "json"]] {
        let outcome = project.run(&[&["validate", "bad.yaml", "good.yaml"][..], flag].concat()).expect(2);
        assert!(outcome.stderr.is_empty(), "{}", outcome.stderr);
        let lines = outcome.json_lines();
        let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
        let findings = of("finding");
        assert!(findings.len() >= 2 && findings.iter().all(|line| line["document"] == "bad.yaml"), "{lines:?}");
        assert!(findings.iter().any(|line| line["code"] == "W005" && line["line"] == 3), "{findings:?}");
        let valid: Vec<_> =
            of("document").iter().map(|line| (line["document"].clone(), line["valid"].clone())).collect();
        assert_eq!(valid, [("bad.yaml".into(), false.into()), ("good.yaml".into(), true.into())]);
        let summary = lines.last().unwrap();
        assert_eq!(
            (&summary["kind"], &summary["documents"], &summary["invalid"]),
            (&"summary".into(), &2.into(), &1.into())
        );
        assert_eq!(summary["errors"], findings.len());
    }
}

#[test]
fn github_gets_an_annotation_for_each_finding() {
    let project = folder();
    let outcome = project.run(&["validate", "--format", "github", "bad.yaml", "good.yaml"]).expect(2);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert!(lines.len() >= 2 && lines.iter().all(|line| line.starts_with("::error file=bad.yaml,line=")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("line=3,") && line.contains("title=W005::")), "{lines:?}");
    assert!(outcome.stderr.contains("2 documents, 1 invalid"), "{}", outcome.stderr);
}

#[test]
fn what_this_machine_lacks_is_an_error_only_when_strict() {
    let project = folder();
    let line = |strict: &[&str], code| {
        let args = [&["validate", "elsewhere.yaml", "--format", "github"], strict].concat();
        project.run(&args).expect(code).stdout
    };
    assert!(line(&[], 0).starts_with("::warning file=elsewhere.yaml"));
    let strict = line(&["--strict"], 2);
    assert!(strict.starts_with("::error file=elsewhere.yaml") && strict.contains("teleport"), "{strict}");
}
