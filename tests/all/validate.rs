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

#[test]
fn what_this_machine_lacks_stands_where_it_is_named() {
    let project = Project::new();
    project
        .file(
            "w.yaml",
            "name: w\noptions: { model: nobody/x }\nincludes: { part: lib/part.yaml }\nagents:\n  a: { description: x, tools: [glob, reed], disallowedTools: [teleport, edit] }\n  b: { description: x, tools: [bash] }\nsteps:\n  - { id: s, agent: a, instructions: hi }\n  - { id: t, agent: b, instructions: hi }\n  - { id: g, steps: [{ id: u, tool: bash, args: {} }] }\n  - { id: i, include: part }\n",
        )
        .file("lib/part.yaml", "name: part\nsteps:\n  - { id: v, loop: { forEach: [1], steps: [{ id: w, tool: teleport }] } }\n");
    let lines = project.run(&["validate", "--format", "github", "w.yaml"]).expect(0).stdout;
    let found: Vec<&str> = lines.lines().filter(|line| line.contains("title=H001")).collect();
    let says = |place: &str, words: &[&str]| {
        let line = found.iter().find(|line| line.contains(place)).unwrap_or_else(|| panic!("{place}: {lines}"));
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    };
    assert_eq!(found.len(), 5, "{lines}");
    says("file=w.yaml,line=2,col=19", &["(at options.model)", "nobody"]);
    says("file=w.yaml,line=5,col=38", &["(at agents.a.tools[1])", "`reed`", "did you mean `read`?"]);
    says("file=w.yaml,line=6,", &["(at agents.b.tools[0])", "`bash`"]);
    says("file=w.yaml,line=10,", &["(at steps[2].steps[0].tool)", "`bash`"]);
    says("file=lib/part.yaml,line=3,", &["(at steps[0].loop.steps[0].tool)", "`teleport`"]);
}

#[test]
fn a_file_can_be_called_anything_and_does_nothing_to_a_terminal() {
    let project = Project::new();
    let name = "no\u{1b}[31m\u{202e}\u{2028}\u{e000}file";
    let (document, test) = (format!("{name}.yaml"), format!("{name}.test.yaml"));
    let broken = format!("{name}.json");
    project
        .file(&document, "name: x\nsteps: [{ id: a, instructions: hi, agnt: x }]\n")
        .file(&broken, "{")
        .file(&test, "workflow: gone.yaml\ncases: []\n");
    let hidden = |letter: char| matches!(letter, '\u{1b}' | '\u{202e}' | '\u{2028}' | '\u{e000}');
    let gone = format!("{name}.gone");
    for args in [
        &["validate", &document][..],
        &["validate", &gone],
        &["validate", &broken],
        &["validate", "--format", "github", &document],
        &["run", &document],
        &["run", &gone],
        &["run"],
        &["plan", &document],
        &["test"],
        &["test", &gone],
        &["run", "x", "--inputs", &gone],
        &["run", "x", "--workdir", &gone],
    ] {
        let outcome = project.run(args);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!said.contains(hidden), "{args:?}: {said:?}");
        assert!(args.contains(&"x") || said.contains("\\u{202e}"), "{args:?}: {said:?}");
    }
}

#[test]
fn json_is_json_and_nothing_else() {
    let project = Project::new();
    let good = "{\"name\": \"x\", \"includes\": {\"p\": \"p.json\"}, \"steps\": [{\"id\": \"a\", \"include\": \"p\"}]}";
    for (text, place) in [
        ("{\"name\": \"p\",\n \"steps\": [{\"id\": \"a\"},]}", "p.json:2:24"),
        ("{\"name\": 'p', \"steps\": []}", "p.json:1:10"),
        ("{\"name\": \"p\", # x\n \"steps\": []}", "p.json:1:15"),
        ("name: p\nsteps: [{ id: a }]\n", "p.json:1:2"),
    ] {
        project.file("w.json", good).file("p.json", text);
        for document in ["p.json", "w.json"] {
            let said = project.run(&["validate", document]).expect(2).says(&["not JSON", place, ".yaml"]);
            assert!(said.stderr.contains("error[W001]"), "{}", said.stderr);
        }
    }
    project.file("p.json", "{\"name\": \"p\", \"name\": \"q\", \"steps\": [{\"id\": \"a\"}]}");
    project.run(&["validate", "p.json"]).expect(2).says(&["W003"]);
    project.file("p.json", "\u{feff}{\"name\": \"p\",\t\"steps\": [{\"id\": \"a\", \"instructions\": \"hi\"}]}");
    project.run(&["validate", "w.json"]).expect(0);
}

#[test]
fn standard_input_has_a_name() {
    Project::new().run(&["validate", "-"]).expect(2).says(&["there is no document `-`", "/dev/stdin"]);
}

#[test]
fn functions_that_are_left_out_are_known_and_long_words_are_cut() {
    let project = Project::new();
    let long = "k".repeat(100_000);
    project.file(
        "w.yaml",
        format!("name: w\nsteps: [{{ id: a, instructions: hi, condition: 'duration(\"1s\") == duration(\"1s\")', agent: {long} }}]\n"),
    );
    let said = project.run(&["validate", "w.yaml"]).expect(2).says(&[
        "the function `duration` of CEL is not offered here",
        "the functions are size, contains",
        "kkk…`",
    ]);
    assert!(said.stderr.len() < 5_000, "{}", said.stderr.len());
}

#[test]
fn what_only_cannot_run_here_is_a_warning() {
    let project = Project::new();
    project.file(
        "w.yaml",
        "name: w\nplugins: { p: { source: 'builtin:text', permissions: { upper: ask } } }\nsteps: [{ id: a, instructions: hi, condition: { native: mine } }]\n",
    );
    let said = project.run(&["validate", "w.yaml"]).expect(0).says(&["no condition called `mine`"]);
    assert_eq!(said.stderr.matches("the `permissions` of a plugin is not built").count(), 1, "{}", said.stderr);
    project.run(&["validate", "--strict", "w.yaml"]).expect(2);
    project.run(&["run", "w.yaml", "--model", "builtin/extract"]).expect(2).says(&["is not built in this version"]);
}
