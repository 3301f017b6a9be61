//! Bad input: each is answered by a message that names file, line or plugin and what to do; the record of the run stays
//! readable; nothing panics or hangs. Documents with faults are in `tests/cases/invalid`.

use crate::support::{Answer, Outcome, Project, Provider};
use std::fs;

const HELLO: &str = "name: hello\nsteps: [{ id: hi, maxRetries: 0, instructions: Say hello. }]\n";

/// The journal can be read, and its last event says how the run ended.
#[track_caller]
fn has_readable_record(project: &Project) {
    let events = project.run(&["runs", "show", "last", "--json"]).expect(0).json_lines();
    assert_eq!(events.last().unwrap()["kind"], "run_finished");
    project.run(&["runs", "show", "last"]).expect(0);
}

// Documents that are no text.

#[test]
fn a_document_of_bytes_is_refused() {
    let contents: [(&str, Vec<u8>); 6] = [
        ("nul", b"name: a\0b\nsteps: []\n".to_vec()),
        ("latin", b"name: caf\xe9\nsteps: []\n".to_vec()),
        ("binary", (0..=255).cycle().take(5_000).collect()),
        ("long", b"# a comment\n".repeat(100_000)),
        ("deep", [b"name: ".to_vec(), b"[".repeat(100_000)].concat()),
        ("deep-block", (0..2_000).flat_map(|depth| [b" ".repeat(depth), b"a:\n".to_vec()].concat()).collect()),
    ];
    for (name, bytes) in contents {
        let project = Project::new();
        project.file("bad.yaml", bytes);
        for command in ["validate", "run", "plan"] {
            let outcome = project.run(&[command, "bad.yaml"]);
            assert_eq!(outcome.code, Some(2), "{name}: {}", outcome.stderr);
            outcome.says(&["bad.yaml", "error"]);
        }
    }
}

#[test]
fn a_folder_is_no_document() {
    let project = Project::new();
    fs::create_dir(project.path("folder.yaml")).unwrap();
    let outcome = project.run(&["run", "folder.yaml"]).says(&["folder.yaml", "directory"]);
    assert!(matches!(outcome.code, Some(2 | 3)), "{:?}", outcome.code);
}

#[test]
fn all_documents_are_checked_and_json_says_the_same() {
    let project = Project::new();
    project.file("good.yaml", HELLO).file("bad.yaml", "name: bad\nsteps: [{ id: a, agnt: x }]\n");
    let outcome =
        project.run(&["validate", "bad.yaml", "good.yaml", "gone.yaml"]).says(&["bad.yaml:2", "gone.yaml", "agnt"]);
    assert_eq!(outcome.code, Some(2));
    let lines = project.run(&["validate", "--json", "bad.yaml", "good.yaml"]).expect(2).json_lines();
    assert!(lines.iter().any(|line| line["code"] == "W005"), "{lines:?}");
}

// Components.

fn with_component(bytes: impl AsRef<[u8]>) -> Outcome {
    let project = Project::new();
    project.file("bad.wasm", bytes);
    project.file("w.yaml", "name: w\nplugins: { bad: ./bad.wasm }\nsteps: [{ id: a, tool: bad.do_it, args: {} }]\n");
    let inspected = project.run(&["plugin", "inspect", "bad.wasm"]);
    assert_ne!(inspected.code, Some(0), "{}", inspected.stdout);
    inspected.says(&["bad.wasm"]);
    project.run(&["run", "w.yaml"]).expect(2).says(&["bad"])
}

#[test]
fn a_file_that_is_no_component_is_refused() {
    with_component("hello");
    with_component("");
    with_component([b"\0asm\x0d\0\x01\0".as_slice(), &[0xff; 200]].concat());
}

#[test]
fn a_core_module_is_refused_as_one() {
    with_component(b"\0asm\x01\0\0\0").says(&["component"]);
}

#[test]
fn a_truncated_component_is_refused() {
    let whole = cofferdam_guests::dist_bytes("text").unwrap();
    for end in [9, 1_000, whole.len() / 2, whole.len() - 1] {
        with_component(&whole[..end]);
    }
}

#[test]
fn an_empty_component_has_no_kind() {
    with_component(b"\0asm\x0d\0\x01\0");
}

/// A shipped component that says another name of its interface.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "names in a component have their length before them");
    let mut bytes = cofferdam_guests::dist_bytes("text").unwrap();
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty(), "`{from}` is not in the component");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[test]
fn a_component_of_another_version_is_refused_with_both_versions() {
    with_component(renamed("cofferdam:tool/tool@0.1.0", "cofferdam:tool/tool@9.7.0")).says(&["9.7.0", "0.1.0"]);
}

#[test]
fn a_component_of_an_unknown_kind_is_refused() {
    with_component(renamed("cofferdam:tool/tool@0.1.0", "cofferdam:told/told@0.1.0"));
}

#[test]
fn a_component_that_wants_what_nobody_serves_is_refused_with_its_name() {
    with_component(renamed("cofferdam:host/run-control@0.1.0", "cofferdam:host/run-cuntrol@0.1.0"))
        .says(&["run-cuntrol"]);
}

#[test]
fn a_component_that_is_missing_is_named() {
    let project = Project::new();
    project.file("w.yaml", "name: w\nplugins: { gone: ./gone.wasm }\nsteps: [{ id: a, tool: gone.x }]\n");
    project.run(&["run", "w.yaml"]).expect(2).says(&["gone"]);
}

#[test]
fn a_component_with_another_digest_is_refused() {
    let project = Project::with_plugins();
    let digest = format!("sha256:{}", "0".repeat(64));
    project.file(
        "w.yaml",
        format!("name: w\nplugins: {{ text: {{ source: 'builtin:text', digest: '{digest}' }} }}\nsteps: [{{ id: a, tool: text.words, args: {{ text: x }} }}]\n"),
    );
    project.run(&["run", "w.yaml"]).expect(2).says(&["text", &digest]);
}

// Providers.

fn asked(answers: Vec<Answer>) -> (Project, Provider, Outcome) {
    let provider = Provider::start(answers);
    let project =
        Project::new().variable("OPENAI_BASE_URL", &provider.url()).variable("OPENAI_API_KEY", "key-of-this-test");
    project.file("hello.yaml", HELLO);
    let outcome = project.run(&["run", "hello.yaml", "--model", "openai/test-model"]);
    (project, provider, outcome)
}

const JSON: &str = "content-type: application/json\r\n";
const STREAM: &str = "content-type: text/event-stream\r\n";

fn delta(text: &str) -> String {
    format!(
        "data: {{\"id\":\"1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

fn whole(text: &str) -> String {
    let end =
        "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    delta(text) + end
}

#[test]
fn a_provider_that_answers_well_is_heard() {
    let (_, provider, outcome) = asked(vec![Answer::Http(200, STREAM, whole("Hello."))]);
    assert_eq!(outcome.expect(0).stdout, "Hello.\n");
    let request = &provider.requests()[0];
    assert!(request.contains("test-model") && request.contains("Bearer key-of-this-test"), "{request}");
}

#[test]
fn every_fault_of_a_provider_has_a_message_and_a_record() {
    let page = "<html><body>Bad gateway</body></html>".to_owned();
    let error = |text: &str| format!("{{\"error\":{{\"message\":\"{text}\",\"type\":\"x\"}}}}");
    let faults: Vec<(&str, Answer, &[&str])> = vec![
        ("401", Answer::Http(401, JSON, error("bad key")), &["OPENAI_API_KEY"]),
        ("403", Answer::Http(403, JSON, error("no access")), &["openai"]),
        ("404", Answer::Http(404, JSON, error("no such model")), &["test-model"]),
        (
            "429",
            Answer::Http(429, "content-type: application/json\r\nretry-after: 0\r\n", error("slow down")),
            &["slow down"],
        ),
        ("500", Answer::Http(500, JSON, error("it broke")), &["500"]),
        ("html with 200", Answer::Http(200, "content-type: text/html\r\n", page.clone()), &["openai"]),
        ("html with 502", Answer::Http(502, "content-type: text/html\r\n", page), &["502"]),
        ("nothing", Answer::Nothing, &["openai"]),
        ("empty body", Answer::Http(200, STREAM, String::new()), &["openai"]),
        ("half a stream", Answer::CutStream(delta("Hel")), &["openai"]),
        ("a stream without end", Answer::Http(200, STREAM, delta("Hel")), &["openai"]),
        ("no json", Answer::Http(200, STREAM, "data: {nonsense\n\n".into()), &["openai"]),
        (
            "an error in the stream",
            Answer::Http(200, STREAM, delta("Hel") + "data: {\"error\":{\"message\":\"overloaded\"}}\n\n"),
            &["overloaded"],
        ),
        ("a redirect", Answer::Http(302, "location: http://169.254.169.254/\r\n", String::new()), &["openai"]),
    ];
    for (name, answer, says) in faults {
        let (project, provider, outcome) = asked(vec![answer]);
        assert_eq!(outcome.code, Some(1), "{name}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "", "{name}: half an answer is not an answer");
        for text in says.iter().chain(&["error"]) {
            assert!(outcome.stderr.contains(text), "{name}: `{text}` is not in\n{}", outcome.stderr);
        }
        assert!(!outcome.stderr.contains("key-of-this-test"), "{name}: the key is shown");
        assert_eq!(provider.requests().len(), 1, "{name}: asked again although maxRetries is 0");
        has_readable_record(&project);
    }
}

#[test]
fn a_provider_that_refuses_for_a_moment_is_asked_again() {
    let slow_down = Answer::Http(429, "retry-after: 0\r\n", "{}".into());
    let provider = Provider::start(vec![slow_down, Answer::Http(200, STREAM, whole("Hello."))]);
    let project = Project::new().variable("OPENAI_BASE_URL", &provider.url()).variable("OPENAI_API_KEY", "k");
    project.file("hello.yaml", HELLO.replace("maxRetries: 0, ", ""));
    assert_eq!(project.run(&["run", "hello.yaml", "--model", "openai/m"]).expect(0).stdout, "Hello.\n");
    assert_eq!(provider.requests().len(), 2);
}

#[test]
fn a_provider_that_says_nothing_holds_nobody_up() {
    let provider = Provider::start(vec![Answer::Silence]);
    let project = Project::new().variable("OPENAI_BASE_URL", &provider.url()).variable("OPENAI_API_KEY", "k");
    project.file("hello.yaml", HELLO.replace("maxRetries: 0", "timeout: 300ms"));
    project.run(&["run", "hello.yaml", "--model", "openai/m"]).expect(1).says(&["300ms"]);
    has_readable_record(&project);
}

#[test]
fn a_provider_that_is_not_there_is_named() {
    let project = Project::new().variable("OPENAI_BASE_URL", "http://127.0.0.1:9/v1").variable("OPENAI_API_KEY", "k");
    project.file("hello.yaml", HELLO);
    project.run(&["run", "hello.yaml", "--model", "openai/m"]).expect(1).says(&["openai", "127.0.0.1:9"]);
    has_readable_record(&project);
}

#[test]
fn a_missing_key_is_named_before_anything_is_sent() {
    let project = Project::new();
    project.file("hello.yaml", HELLO);
    project.run(&["run", "hello.yaml", "--model", "openai/m"]).expect(3).says(&["OPENAI_API_KEY"]);
}

// Settings, flags, records.

#[test]
fn bad_settings_are_named_with_their_line() {
    for (text, says) in
        [("model = \n", "cofferdam.toml:1"), ("\nmodle = \"x\"\n", "modle"), ("[plugins.text.grants]\nfs = 7\n", "fs")]
    {
        let project = Project::new();
        project.file("cofferdam.toml", text).file("hello.yaml", HELLO);
        project.run(&["run", "hello.yaml", "--model", "builtin/extract"]).expect(3).says(&["cofferdam.toml", says]);
    }
}

#[test]
fn bad_flags_are_named() {
    for (flags, says) in [
        (&["--grant", "text"][..], "text"),
        (&["--grant", "text:fly"], "fly"),
        (&["--allow", "("], "("),
        (&["--inputs", "gone.json"], "gone.json"),
        (&["--inputs", "bad.json"], "bad.json"),
        (&["--input", "novalue"], "novalue"),
        (&["--input", "a=@gone.txt"], "gone.txt"),
        (&["--workdir", "gone"], "gone"),
        (&["--model", "scripted/gone.yaml"], "gone.yaml"),
        (&["--model", "scripted/bad.yaml"], "bad.yaml"),
        (&["--project", "gone"], "gone"),
    ] {
        let project = Project::new();
        project.file("hello.yaml", HELLO).file("bad.json", "{").file("bad.yaml", "answers: [{ txt: a }]");
        let outcome = project.run(&[&["run", "hello.yaml"], flags].concat());
        assert_eq!(outcome.code, Some(3), "{flags:?}: {}", outcome.stderr);
        outcome.says(&["error", says]);
    }
}

#[test]
fn a_damaged_database_is_named_and_not_replaced() {
    let project = Project::new();
    project.file("hello.yaml", HELLO).file(".cofferdam/runs.db", "this is no database".repeat(100));
    let before = fs::read(project.path(".cofferdam/runs.db")).unwrap();
    let outcome = project.run(&["run", "hello.yaml", "--model", "builtin/extract"]).says(&["runs.db"]);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(fs::read(project.path(".cofferdam/runs.db")).unwrap(), before);
}

#[test]
fn a_run_that_does_not_exist_is_named() {
    let project = Project::new();
    let outcome = project.run(&["runs", "show", "01234567"]).says(&["01234567"]);
    assert!(matches!(outcome.code, Some(1 | 3)), "{:?}", outcome.code);
    project.run(&["runs", "list"]).expect(0);
}
