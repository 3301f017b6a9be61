//! The tools of a plugin's author, as an author meets them: check, call, new, build, test.

use crate::support::{Project, repository, with_echo};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_good_plugin_has_nothing_to_mend() {
    let outcome = Project::with_plugins().run(&["plugin", "check", "builtin:text"]).expect(0);
    assert!(outcome.stdout.starts_with("cofferdam/text "), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("(tool, 6 tools, "), "{}", outcome.stdout);
}

#[test]
fn every_plugin_that_comes_along_passes_its_own_check() {
    let project = Project::with_plugins();
    for name in cofferdam_guests::FIRST_PARTY {
        let outcome = project.run(&["plugin", "check", &format!("builtin:{name}"), "--json"]).expect(0);
        let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(found["ok"], true, "{name}: {found}");
        assert!(found["kinds"].as_array().is_some_and(|kinds| !kinds.is_empty()), "{name}: {found}");
    }
}

#[test]
fn what_is_no_plugin_is_a_finding_with_what_to_do() {
    let project = Project::new();
    project.file("text.wasm", "no component");
    let outcome = project.run(&["plugin", "check", "text.wasm"]).expect(2).says(&["error: ", "hint: "]);
    assert!(outcome.stdout.contains("1 to mend"), "{}", outcome.stdout);
    let outcome = project.run(&["plugin", "check", "text.wasm", "--json"]).expect(2);
    let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(found["ok"], false);
    assert_eq!(found["findings"][0]["weight"], "error");
}

#[test]
fn what_an_author_left_out_is_a_warning_and_no_error() {
    let outcome = with_echo().run(&["plugin", "check", "echo.wasm"]).expect(0);
    assert!(outcome.stdout.contains("to look at"), "{}", outcome.stdout);
    outcome.says(&["warning: ", "has no description", "write a comment above the field"]);
}

#[test]
fn a_tool_is_called_without_a_workflow_and_leaves_no_record() {
    let project = Project::with_plugins();
    let args = ["plugin", "call", "builtin:text", "words", r#"{"text": "two words"}"#];
    let outcome = project.run(&args).expect(0);
    let result: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(result["words"], 2, "{result}");
    assert!(!project.path(".cofferdam/runs.db").exists());
    project.file("args.json", r#"{"text": "{{ inputs.args }} {% raise %}"}"#);
    let outcome = project.run(&["plugin", "call", "builtin:text", "words", "@args.json", "--json"]).expect(0);
    let made: Value = serde_json::from_str(&outcome.stdout).unwrap();
    // All of the text arrived as it is, and none of it was a template.
    assert_eq!((&made["status"], &made["result"]["characters"]), (&"completed".into(), &29.into()), "{made}");
}

#[test]
fn a_call_shows_what_a_plugin_logs_and_how_far_it_is() {
    let outcome = with_echo().run(&["plugin", "call", "echo.wasm", "say", r#"{"message": "hello"}"#]).expect(0);
    assert_eq!(outcome.stdout, "said\n");
    outcome.says(&["INFO", "hello", "progress: hello (50 %)"]);
}

#[test]
fn a_call_is_denied_what_nobody_granted_and_says_what_would_allow_it() {
    let project = with_echo();
    project.file("docs/a.txt", "content");
    let call = ["plugin", "call", "echo.wasm", "read_file", r#"{"path": "/step/a.txt"}"#, "--workdir", "docs"];
    let outcome = project.run(&call).expect(1).says(&["error: ", "denied: fs", "--grant echo:fs=read"]);
    assert_eq!(outcome.stdout, "");
    let outcome = project.run(&[&call[..], &["--grant", "echo:fs=read"]].concat()).expect(0);
    assert_eq!(outcome.stdout, "content\n");
    project.run(&[&call[..], &["--grant", "other:fs=read"]].concat()).expect(3).says(&["--alias other"]);
}

#[test]
fn a_call_keeps_arguments_and_configuration_to_their_schemas() {
    let project = with_echo();
    project.run(&["plugin", "call", "echo.wasm", "say", r#"{"message": 5}"#]).expect(1).says(&["message"]);
    project.run(&["plugin", "call", "echo.wasm", "say", "[]"]).expect(3).says(&["no JSON object", "@FILE"]);
    project.run(&["plugin", "call", "echo.wasm", "no-such"]).expect(2).says(&["has no tool `no-such`", "whoami"]);
    project.run(&["plugin", "call", "echo.wasm", "whoam"]).expect(2).says(&["whoami"]);
    let config = ["plugin", "call", "echo.wasm", "config", "--config", r#"{"word": "given"}"#];
    let outcome = project.run(&config).expect(0);
    assert!(outcome.stdout.contains("given"), "{}", outcome.stdout);
}

/// A folder in which cargo works offline, with the versions that this repository has tested.
pub(crate) fn with_cargo() -> Project {
    let variable = |name: &str| std::env::var_os(name).unwrap_or_default().into_string().unwrap();
    let home = variable("HOME");
    let or_home = |name: &str, below: &str| match variable(name) {
        set if !set.is_empty() => set,
        _ => format!("{home}/{below}"),
    };
    // Shared with the crate of the README, whose dependencies are the same.
    let target = repository().join("target/readme/target");
    Project::with_plugins()
        .variable("PATH", &variable("PATH"))
        .variable("CARGO", env!("CARGO"))
        .variable("CARGO_HOME", &or_home("CARGO_HOME", ".cargo"))
        .variable("RUSTUP_HOME", &or_home("RUSTUP_HOME", ".rustup"))
        .variable("RUSTUP_TOOLCHAIN", &variable("RUSTUP_TOOLCHAIN"))
        .variable("CARGO_TARGET_DIR", target.to_str().unwrap())
        .variable("CARGO_NET_OFFLINE", "true")
}

/// Runs a command that builds, however long that takes.
fn building(project: &Project, args: &[&str]) -> (Option<i32>, String, String) {
    let output = project.command(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn what_new_writes_builds_offline_passes_its_check_and_its_tests_and_runs() {
    let project = with_cargo();
    let told = project.run(&["plugin", "new", "word-count"]).expect(0).says(&["next:", "cofferdam plugin build"]);
    assert!(told.stderr.contains("cofferdam plugin call"), "{}", told.stderr);
    fs::copy(repository().join("Cargo.lock"), project.path("word-count/Cargo.lock")).unwrap();
    let (code, stdout, stderr) = building(&project, &["plugin", "build", "word-count", "--json"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let built: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&built["id"], &built["findings"]), (&"acme/word-count".into(), &serde_json::json!([])), "{built}");
    let (code, stdout, stderr) = building(&project, &["plugin", "build", "word-count"]);
    assert_eq!(code, Some(0), "{stderr}");
    let component = stdout.trim();
    assert!(component.ends_with("word_count.wasm"), "{component}");
    assert!(stderr.contains("digest") && stderr.contains("nothing to mend"), "{stderr}");

    let made = project.run(&["plugin", "call", component, "count", r#"{"text": "two words"}"#]).expect(0);
    assert_eq!(serde_json::from_str::<Value>(&made.stdout).unwrap(), serde_json::json!({ "words": 2 }));
    let (code, stdout, stderr) = building(&project, &["plugin", "test", "word-count"]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("2 passed, 0 failed"), "{stdout}");
    let place = "word-count/target/wasm32-wasip2/release/word_count.wasm";
    project.file(place, fs::read(component).unwrap());
    let outcome = project.run(&["run", "word-count/workflow.yaml", "--quiet"]).expect(0);
    assert_eq!(outcome.stdout, "2\n");
}

#[test]
fn every_kind_of_new_builds_and_is_of_its_kind() {
    let project = with_cargo();
    for kind in ["transform", "condition", "sink", "storage", "model", "recall"] {
        let name = format!("my-{kind}");
        project.run(&["plugin", "new", &name, "--kind", kind]).expect(0);
        fs::copy(repository().join("Cargo.lock"), project.path(&format!("{name}/Cargo.lock"))).unwrap();
        let (code, stdout, stderr) = building(&project, &["plugin", "build", &name, "--json"]);
        assert_eq!(code, Some(0), "{kind}: {stdout}{stderr}");
        let built: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(
            (&built["kinds"], &built["findings"]),
            (&serde_json::json!([kind]), &serde_json::json!([])),
            "{built}"
        );
        let workflow = project.path(&format!("{name}/workflow.yaml"));
        if workflow.exists() && kind != "storage" {
            let place = format!("{name}/target/wasm32-wasip2/release/my_{kind}.wasm");
            project.file(&place, fs::read(built["source"].as_str().unwrap()).unwrap());
            project.run(&["run", &format!("{name}/workflow.yaml"), "--quiet"]).expect(0);
        }
    }
}

#[test]
fn new_overwrites_nothing() {
    let project = Project::new();
    project.file("taken/notes.txt", "mine");
    project.run(&["plugin", "new", "taken"]).expect(3).says(&["exists", "nothing is overwritten"]);
    assert_eq!(fs::read_dir(project.path("taken")).unwrap().count(), 1);
    project.run(&["plugin", "new", "Not A Name"]).expect(3).says(&["no name for a plugin", "word-count"]);
}

#[test]
fn a_build_says_what_is_missing() {
    let project = with_cargo();
    project.run(&["plugin", "build", "."]).expect(3).says(&["no plugin in", "cofferdam plugin new"]);
    project.run(&["plugin", "new", "broken"]).expect(0);
    fs::copy(repository().join("Cargo.lock"), project.path("broken/Cargo.lock")).unwrap();
    project.file("broken/src/lib.rs", "fn no_rust");
    let (code, _, stderr) = building(&project, &["plugin", "build", "broken"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("does not build") && stderr.contains("src/lib.rs"), "{stderr}");
}

#[test]
fn a_missing_target_is_named_with_the_command_that_adds_it() {
    let program = |project: &Project, name: &str, script: &str| {
        project.file(name, script);
        fs::set_permissions(project.path(name), fs::Permissions::from_mode(0o755)).unwrap();
        project.path(name).display().to_string()
    };
    let project = Project::new();
    project.file("crate/Cargo.toml", "");
    let cargo = program(&project, "cargo", "#!/bin/sh\nexit 101\n");
    let rustc = program(&project, "rustc", "#!/bin/sh\necho nowhere/lib\n");
    let project = project.variable("CARGO", &cargo).variable("RUSTC", &rustc);
    project.run(&["plugin", "build", "crate"]).expect(1).says(&["does not build", "rustup target add wasm32-wasip2"]);
    let project = project.variable("CARGO", "no-such-program");
    project.run(&["plugin", "build", "crate"]).expect(3).says(&["cargo cannot be run", "rustup.rs"]);
}

const CASES: &str = r#"
plugin: { source: ./echo.wasm }
grants: { fs: { read: true } }
files: { a.txt: content }
cases:
  - name: reads what is granted
    call: { tool: read_file, args: { path: /step/a.txt } }
    expect: { content: content }
  - name: a part of the data is enough
    call: { tool: echo, args: { value: { a: 1, b: [2] } } }
    expect: { result: { contains: { value: { contains: { a: 1 } } } } }
  - name: is configured
    config: { word: given }
    call: { tool: config }
    expect: { result: { word: given } }
  - name: is denied what is not granted
    grants: {}
    call: { tool: read_file, args: { path: /step/a.txt } }
    expect: { error: plugin_error, denied: [fs] }
  - name: fails in its own way
    call: { tool: fail, args: { kind: denied } }
    expect: { error: { code: plugin_error, kind: denied } }
"#;

#[test]
fn cases_of_plugins_are_data() {
    let project = with_echo();
    project.file("echo.plugin-test.yaml", CASES.replace("{ contains: { a: 1 } }", "{ a: 1 }"));
    // What a build left behind is no test of the author's.
    project.file("target/CACHEDIR.TAG", "").file("target/x.plugin-test.yaml", "broken");
    let outcome = project.run(&["plugin", "test"]).expect(0);
    assert!(outcome.stdout.contains("5 passed, 0 failed"), "{}", outcome.stdout);
    let outcome = project.run(&["plugin", "test", "--json", "--filter", "granted"]).expect(0);
    assert_eq!(outcome.json_lines().last().unwrap()["passed"], 2);
}

#[test]
fn a_case_that_does_not_hold_says_what_was_found() {
    let project = with_echo();
    let cases = CASES.replace("content: content }", "content: other }").replace("denied: [fs]", "denied: []");
    project.file("echo.plugin-test.yaml", cases.replace("kind: denied }", "kind: timeout }"));
    let outcome = project.run(&["plugin", "test", "echo.plugin-test.yaml"]).expect(1);
    for text in ["FAILED reads what is granted", "other", "content", "FAILED is denied", "FAILED fails in its own way"]
    {
        assert!(outcome.stdout.contains(text), "`{text}` is not in\n{}", outcome.stdout);
    }
}

#[test]
fn an_error_that_nobody_expected_fails_its_case_and_one_that_does_not_come_as_well() {
    let project = with_echo();
    let cases = "
plugin: ./echo.wasm
cases:
  - { name: unexpected, call: { tool: fail, args: { kind: denied } }, expect: { content: x } }
  - { name: missing, call: { tool: say, args: { message: x } }, expect: { error: {} } }
";
    project.file("echo.plugin-test.yaml", cases);
    let outcome = project.run(&["plugin", "test", "--json"]).expect(1);
    let lines = outcome.json_lines();
    assert_eq!(lines[0]["misses"][0]["about"], "error", "{}", lines[0]);
    assert_eq!(lines[1]["misses"][0]["expected"], "an error", "{}", lines[1]);
}

#[test]
fn unknown_keys_of_a_test_file_are_errors_with_their_place() {
    let project = with_echo();
    let cases = "
plugin: { source: ./echo.wasm, bild: . }
cases:
  - { name: a, call: { tool: say, arg: {} }, expect: { reslt: 1 }, grants: { fss: {} } }
";
    project.file("echo.plugin-test.yaml", cases);
    let outcome = project.run(&["plugin", "test"]).expect(2).says(&["bild", "arg", "reslt", "fss"]);
    outcome.says(&["echo.plugin-test.yaml:4", "did you mean"]);
    Project::new().run(&["plugin", "test"]).expect(3).says(&[".plugin-test.yaml"]);
}

#[test]
fn every_key_of_a_test_file_is_documented() {
    let page = fs::read_to_string(repository().join("host/docs/plugins.md")).unwrap();
    let (_, page) = page.split_once("### Test files").unwrap();
    let page = page.split("\n## ").next().unwrap();
    for key in cofferdam::testing::plugin_keys() {
        assert!(page.contains(&format!("`{key}`")), "`{key}` is not in host/docs/plugins.md");
    }
}
