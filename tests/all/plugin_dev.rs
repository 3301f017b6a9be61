//! A plugin watched while it works (`plugin call --trace`), and while it is written (`plugin dev`).

use crate::authoring::with_cargo;
use crate::support::{Project, repository, with_echo};
use rustix::process::Signal;
use std::fs;

const CANARY: &str = "cAnArY/7f3+9zq";

#[test]
fn a_trace_shows_each_call_of_the_host_with_what_came_of_it() {
    let project = with_echo();
    project.file("docs/a.txt", "content");
    let call = |tool: &str, args: &str, grant: &str| {
        let args = ["plugin", "call", "echo.wasm", tool, args, "--trace", "-C", "docs", "--grant", grant];
        project.run(&args).stderr
    };
    for (tool, args, grant, said) in [
        ("read_file", r#"{"path": "/step/a.txt"}"#, "echo:fs=read", "host: files.open a.txt ("),
        ("read_file", r#"{"path": "/step/b.txt"}"#, "echo:fs=read", "host: files.open b.txt -> no-entry"),
        ("read_file", r#"{"path": "/step/a.txt"}"#, "echo:kv=run", "host: files.preopens the directories -> denied"),
        ("keep", r#"{"key": "k", "value": "abc"}"#, "echo:kv=run", "host: kv.commit k (3 bytes)"),
        ("keep", r#"{"key": "k"}"#, "echo:kv=run", "host: kv.get-many k -> 0 found"),
        ("keep", r#"{"key": "k"}"#, "echo:fs=read", "host: kv.get-many k -> denied"),
        (
            "get",
            r#"{"url": "https://a.example/x"}"#,
            "echo:fs=read",
            "host: http.fetch GET https://a.example/x -> denied",
        ),
        ("relay", r#"{"tool": "read", "args": {"path": "a.txt"}}"#, "echo:tools=read", "host: tools.invoke read ("),
        ("config", "{}", "echo:fs=read", "host: config.get -> 2 bytes"),
        ("as_blob", r#"{"message": "abc"}"#, "echo:fs=read", "host: blobs.size"),
    ] {
        let stderr = call(tool, args, grant);
        assert!(stderr.contains(said), "{tool}: `{said}` is not in\n{stderr}");
    }
    // Denials come with the lines that would allow them, and nothing is traced that nobody asked for.
    assert!(call("keep", r#"{"key": "k"}"#, "echo:fs=read").contains("--grant echo:kv=run"));
    let quiet = project.run(&["plugin", "call", "echo.wasm", "config"]).expect(0);
    assert!(!quiet.stderr.contains("host:"), "{}", quiet.stderr);
}

#[test]
fn a_trace_shows_no_value_of_a_secret() {
    let project = with_echo();
    project.file("key", CANARY).file("cofferdam.toml", "[secrets]\nKEY = { file = \"key\" }\n");
    for how in ["result", "error", "panic"] {
        let args = format!(r#"{{"secret": "KEY", "how": "{how}"}}"#);
        let grants = ["--grant", "echo:secrets=KEY:reveal", "--grant", "echo:kv=run", "--grant", "echo:fs=read"];
        let outcome = project.run(&[&["plugin", "call", "echo.wasm", "leak", &args, "--trace"], &grants[..]].concat());
        outcome_is_clean(&outcome.stdout);
        outcome_is_clean(&outcome.stderr);
        assert!(outcome.stderr.contains("host: secrets-reveal.reveal KEY ("), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("host: kv.commit [redacted]"), "{}", outcome.stderr);
    }
}

fn outcome_is_clean(text: &str) {
    for form in [CANARY, "cAnArY%2F7f3%2B9zq", &CANARY.to_lowercase()] {
        assert!(!text.contains(form), "{text}");
    }
}

#[test]
fn dev_builds_again_on_each_change_and_ends_with_ctrl_c() {
    let project = with_cargo();
    project.run(&["plugin", "new", "dev-count"]).expect(0);
    fs::copy(repository().join("Cargo.lock"), project.path("dev-count/Cargo.lock")).unwrap();
    let source = project.read("dev-count/src/lib.rs");
    let running =
        project.start(&["plugin", "dev", "dev-count", "--call", "count", "--args", r#"{"text": "two words"}"#]);
    let said = running.until("waiting for changes");
    assert!(said.contains("built ") && said.contains("nothing to mend"), "{said}");

    project.file("dev-count/src/lib.rs", source.replace(".count() })", ".count() }"));
    let said = running.until("waiting for changes");
    assert!(said.contains("changed src/lib.rs") && said.contains("src/lib.rs:"), "the compiler is heard: {said}");
    assert!(said.contains("does not build"), "{said}");

    project.file("dev-count/src/lib.rs", source.replace(".count() })", ".count() + 40 })"));
    let said = running.until("waiting for changes");
    assert!(said.contains("built "), "{said}");

    running.signal(Signal::INT);
    let outcome = running.wait().expect(130);
    // Without a call it runs the cases that lie in the folder, and goes on when they fail.
    let running = project.start(&["plugin", "dev", "dev-count"]);
    running.until("waiting for changes");
    let cases = project.read("dev-count/tool.plugin-test.yaml");
    project.file("dev-count/tool.plugin-test.yaml", cases.replace("words: 2 }", "words: 42 }"));
    assert!(running.until("waiting for changes").contains("changed tool.plugin-test.yaml"));
    running.signal(Signal::TERM);
    let stdout = running.wait().expect(143).stdout;
    assert!(stdout.contains("1 passed, 1 failed") && stdout.contains("2 passed, 0 failed"), "{stdout}");
    let counts: Vec<&str> = outcome.stdout.lines().filter(|line| line.contains("words")).map(str::trim).collect();
    assert_eq!(counts, ["\"words\": 2", "\"words\": 42"], "{}", outcome.stdout);
}

#[test]
fn dev_says_what_it_needs() {
    let project = Project::new();
    project.run(&["plugin", "dev", "nowhere"]).expect(3).says(&["there is no folder `nowhere`", "plugin new"]);
    project.run(&["plugin", "dev", ".", "--call", "a", "--test", "b"]).expect(3).says(&["--call", "--test"]);
}
