//! Secrets: they reach the hosts that grants name, and come up nowhere else.

use crate::support::{Manner, Project, Server, with_echo};
use std::fs;
use std::path::Path;

const CANARY: &str = "cAnArY/7f3+9\"zq";

fn document(server: &Server, grant: &str, step: &str) -> String {
    format!(
        "
name: secrets
plugins:
  echo:
    source: ./echo.wasm
    grants:
      secrets: [KEY]
      http: [{{ host: 127.0.0.1, scheme: http, port: {}, methods: [GET, POST], cidrs: [127.0.0.1], {grant} }}]
steps: [{step}]
",
        server.port
    )
}

/// A project whose secret comes from a file.
fn project() -> Project {
    let project = with_echo();
    project.file("keys/key", format!("{CANARY}\n"));
    project.file("cofferdam.toml", "[secrets]\nKEY = { file = \"keys/key\" }\n");
    project
}

/// Every form of the canary that is looked for.
fn forms() -> Vec<String> {
    let exact = CANARY.to_owned();
    let json = CANARY.replace('"', "\\\"");
    let twice = json.replace('\\', "\\\\").replace('"', "\\\"");
    let percent = "cAnArY%2F7f3%2B9%22zq".to_owned();
    let base64 = "Y0FuQXJZLzdmMys5Inpx".to_owned();
    // In the path of a URL, and in its host.
    let path = "cAnArY/7f3+9%22zq".to_owned();
    vec![exact, json, twice, percent.to_lowercase(), percent, base64, path, CANARY.to_lowercase()]
}

#[track_caller]
fn holds_none(what: &str, bytes: &[u8]) {
    for form in forms() {
        let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
        assert!(!found, "{what} holds `{form}`:\n{}", String::from_utf8_lossy(bytes));
    }
}

/// Everything that was recorded in a project.
fn recorded(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            recorded(&path, found);
        } else if !path.file_name().unwrap().to_string_lossy().starts_with("state.db") {
            // What a guest keeps for itself is its own, like what it writes into a file.
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn a_secret_is_injected_where_the_grant_says_and_its_echo_is_removed() {
    let (project, server) = (project(), Server::start(Manner::Repeats));
    let step = format!("{{ id: get, tool: echo.get, args: {{ url: 'http://127.0.0.1:{}/' }} }}", server.port);
    project.file("s.yaml", document(&server, "inject: [{ secret: KEY, header: x-token, format: 'Bearer {}' }]", &step));
    let outcome = project.run(&["run", "s.yaml", "--grant-requested", "--json"]).expect(0);
    assert!(server.seen()[0].contains(&format!("x-token: Bearer {CANARY}")), "{:?}", server.seen());
    assert!(outcome.stdout.contains("Bearer [redacted]"), "{}", outcome.stdout);
    holds_none("stdout", outcome.stdout.as_bytes());
}

#[test]
fn a_stand_in_is_swapped_only_where_the_grant_says() {
    let (project, server) = (project(), Server::start(Manner::Repeats));
    let send = format!(
        "{{ id: send, tool: echo.send_stand_in, args: {{ secret: KEY, url: 'http://127.0.0.1:{}/' }} }}",
        server.port
    );
    project.file("s.yaml", document(&server, "swap: []", &send));
    project.run(&["run", "s.yaml", "--grant-requested", "-q"]).expect(0);
    let sent = server.seen().pop().unwrap();
    holds_none("a request without a rule", sent.as_bytes());
    assert_eq!(sent.matches("cofferdam-secret-").count(), 3, "{sent}");
    let swap = "swap: [{ secret: KEY, in: body }, { secret: KEY, in: header }]";
    project.file("s.yaml", document(&server, swap, &send));
    let outcome = project.run(&["run", "s.yaml", "--grant-requested", "--json"]).expect(0);
    let sent = server.seen().pop().unwrap();
    assert_eq!(sent.matches("cofferdam-secret-").count(), 1, "only the query keeps it: {sent}");
    assert!(sent.contains(&format!("x-key: {CANARY}")) && sent.contains(r#"{"key":"cAnArY/7f3+9\"zq"}"#), "{sent}");
    holds_none("stdout", outcome.stdout.as_bytes());
}

#[test]
fn a_redirect_to_another_origin_takes_no_secret_along() {
    let (project, thief) = (project(), Server::start(Manner::Repeats));
    let server = Server::start(Manner::SendsOn(thief.port));
    let rules = "swap: [{ secret: KEY, in: body }, { secret: KEY, in: header }], \
                 inject: [{ secret: KEY, header: x-token }]";
    let here = |port| {
        format!("{{ host: 127.0.0.1, scheme: http, port: {port}, methods: [POST], cidrs: [127.0.0.1], {rules} }}")
    };
    let document = format!(
        "
name: redirected
plugins: {{ echo: {{ source: ./echo.wasm, grants: {{ secrets: [KEY], http: [{}, {}] }} }} }}
steps: [{{ id: send, tool: echo.send_stand_in, args: {{ secret: KEY, url: 'http://127.0.0.1:{}/' }} }}]
",
        here(server.port),
        here(thief.port),
        server.port
    );
    project.file("s.yaml", document);
    project.run(&["run", "s.yaml", "--grant-requested", "-q"]).expect(0);
    assert!(server.seen()[0].contains(CANARY), "{:?}", server.seen());
    let sent = thief.seen().pop().unwrap();
    holds_none("what another origin got", sent.as_bytes());
    assert!(sent.contains("cofferdam-secret-") && !sent.contains("x-token"), "{sent}");
}

#[test]
fn a_revealed_secret_comes_up_nowhere() {
    let project = project();
    let encoded = "SECRET";
    for how in ["result", "error", "panic"] {
        let document = format!(
            "
name: leak
plugins:
  echo:
    source: ./echo.wasm
    grants: {{ fs: {{ read: true }}, kv: {{ scope: run }}, secrets: [{{ name: KEY, reveal: true }}] }}
steps:
  - {{ id: leak, tool: echo.leak, args: {{ secret: KEY, how: {how}, encoded: '{encoded}' }}, onFailure: continue }}
  - {{ id: read, tool: read, args: {{ path: keys/key }}, onFailure: continue }}
  - {{ id: next, tool: echo.echo, args: {{ value: '{{{{ steps.leak }}}} {{{{ steps.read }}}}' }}, dependsOn: [leak, read] }}
"
        );
        project.file("leak.yaml", document);
        for args in [&["--json", "-vvv"][..], &["-vvv"]] {
            let outcome = project.run(&[&["run", "leak.yaml", "--grant-requested"], args].concat());
            holds_none(&format!("{how}: stdout"), outcome.stdout.as_bytes());
            holds_none(&format!("{how}: stderr"), outcome.stderr.as_bytes());
            assert!(outcome.stderr.contains("[redacted]"), "the log shows that there was something");
            if args[0] == "--json" {
                assert!(outcome.stdout.contains("secret_revealed"), "{}", outcome.stdout);
            }
        }
        let shown = project.run(&["runs", "show", "last", "--json", "--reveal"]).expect(0);
        holds_none(&format!("{how}: the record"), shown.stdout.as_bytes());
    }
    let mut found = Vec::new();
    recorded(&project.path(".cofferdam"), &mut found);
    assert!(
        found.iter().any(|(path, _)| path.ends_with("runs.db")),
        "{:?}",
        found.iter().map(|f| &f.0).collect::<Vec<_>>()
    );
    for (path, bytes) in found {
        holds_none(&path, &bytes);
    }
}

#[test]
fn a_secret_in_the_document_or_among_the_inputs_is_in_no_record() {
    let project = project();
    let json = CANARY.replace('"', "\\\"");
    let document = format!(
        "
name: given
plugins: {{ echo: {{ source: ./echo.wasm, grants: {{ secrets: [KEY] }} }} }}
inputs: {{ word: {{ type: string }}, table: {{ type: object }} }}
steps:
  # the key is {CANARY}
  - {{ id: say, tool: echo.echo, args: {{ value: '{{{{ inputs.word }}}} and {{{{ inputs.table.deep }}}} and {{{{ input }}}}' }} }}
"
    );
    project.file("given.yaml", document);
    let (word, table) = (format!("word={CANARY}"), format!("table={{\"deep\": \"{json}\"}}"));
    let args = ["run", "given.yaml", CANARY, "--input", &word, "--input", &table, "--grant-requested", "--json"];
    let outcome = project.run(&args).expect(0);
    let started = &outcome.json_lines()[0];
    assert_eq!(started["inputs"]["word"], "[redacted]");
    assert!(started["sources"][0]["text"].as_str().unwrap().contains("the key is [redacted]"), "{started}");
    assert!(outcome.stdout.contains("[redacted] and [redacted] and [redacted]"), "{}", outcome.stdout);
    holds_none("stdout", outcome.stdout.as_bytes());
    let mut found = Vec::new();
    recorded(&project.path(".cofferdam"), &mut found);
    assert!(found.iter().any(|(path, _)| path.ends_with("runs.db")));
    found.iter().for_each(|(path, bytes)| holds_none(path, bytes));
}

#[test]
fn a_value_is_revealed_only_where_that_is_granted() {
    let project = project();
    let document = "
name: leak
plugins: { echo: { source: ./echo.wasm, grants: { secrets: [KEY] } } }
steps: [{ id: leak, tool: echo.leak, args: { secret: KEY, how: result } }]
";
    project.file("leak.yaml", document);
    let outcome = project.run(&["run", "leak.yaml", "--grant-requested"]).expect(1);
    outcome.says(&["--grant echo:secrets=KEY:reveal"]);
    let sheet = project.run(&["plugin", "inspect", "echo.wasm"]).expect(0).stdout;
    assert!(sheet.contains("secrets-reveal"), "{sheet}");
}

#[test]
fn a_secret_may_be_a_variable_and_an_absent_one_is_said_so() {
    let server = Server::start(Manner::Repeats);
    let step = format!("{{ id: get, tool: echo.get, args: {{ url: 'http://127.0.0.1:{}/' }} }}", server.port);
    let text = document(&server, "inject: [{ secret: KEY, header: x-token }]", &step);
    let project = with_echo().variable("TOKEN", CANARY);
    project.file("s.yaml", &text).file("cofferdam.toml", "[secrets]\nKEY = { env = \"TOKEN\" }\n");
    project.run(&["run", "s.yaml", "--grant-requested", "-q"]).expect(0);
    assert!(server.seen()[0].contains(&format!("x-token: {CANARY}")));
    project.file("cofferdam.toml", "[secrets]\nKEY = { env = \"OTHER\" }\n");
    project.run(&["run", "s.yaml", "--grant-requested"]).expect(1).says(&["the secret `KEY` has no value"]);
    project.file("cofferdam.toml", "[secrets]\nKEY = { keychain = \"x\" }\n");
    project.run(&["run", "s.yaml", "--grant-requested"]).expect(3).says(&["no keychain"]);
}
