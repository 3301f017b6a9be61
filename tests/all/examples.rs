//! The examples do what they promise: the audit finds what was planted and nothing else, and reaches nothing outside;
//! the denial says what would allow it.

use crate::support::{Answer, Outcome, Project, Provider, repository};
use std::fs;

/// Planted: path, line, kind and the secret. Put together here, so that an audit of this repository finds nothing.
fn planted() -> Vec<(&'static str, usize, &'static str, String)> {
    vec![
        (".env", 2, "aws-access-key-id", format!("AKIA{}", "J4XQ7WZT2NPL5RVK")),
        ("config/settings.yaml", 3, "secret-value", format!("{}{}", "q8Zr1Lw0pXv7", "Kd2m9Ts4Hb6y")),
        ("src/deploy.sh", 2, "github-token", format!("gh{}{}", "p_", "x7Kq2LmZ9vRtW4nYc8BdF1sHj6PgA3eU5oTi")),
        ("src/notify.py", 1, "slack-token", format!("xo{}{}", "xb-", "731904826155-Qw8ErTy2UiOp5AsDf7Gh")),
    ]
}

/// A folder with four secrets and much that only looks like one.
fn folder() -> Project {
    let project = Project::with_plugins();
    let secrets = planted();
    project
        .file("site/.env", format!("# settings\nAWS_ACCESS_KEY_ID={}\n", secrets[0].3))
        .file("site/config/settings.yaml", format!("name: site\nport: 8080\napi_key: \"{}\"\n", secrets[1].3))
        .file("site/src/deploy.sh", format!("#!/bin/sh\nexport GITHUB_TOKEN={}\n", secrets[2].3))
        .file("site/src/notify.py", format!("TOKEN = '{}'\n", secrets[3].3))
        .file("site/README.md", "# Site\n\nSet `API_KEY=your-key-here` and `password: changeme`.\n")
        .file(
            "site/src/main.py",
            "import os\napi_key = os.environ['API_KEY']\nid = 'b1946ac92492d2347c6235b4d2611184'\n",
        )
        .file("site/logo.png", b"\x89PNG\r\n\x1a\n\0\0binary")
        .file("outside.env", format!("AWS_ACCESS_KEY_ID=AKIA{}\n", "Z7YQ3WXT5NPM2RVH"));
    std::os::unix::fs::symlink(project.path("outside.env"), project.path("site/link.env")).unwrap();
    project.copy_from_repository("host/examples");
    project
}

fn audit(project: &Project, more: &[&str]) -> Outcome {
    let mut args = vec!["run", "host/examples/audit.yaml", "--workdir", "site", "--grant-requested"];
    args.extend(["--model", "builtin/extract"]);
    args.extend(more);
    project.run(&args)
}

fn report(project: &Project) -> String {
    let runs = fs::read_dir(project.path(".cofferdam/runs")).unwrap();
    let newest = runs.map(|entry| entry.unwrap().path()).max().unwrap();
    fs::read_to_string(newest.join("out/report.md")).unwrap()
}

#[test]
fn the_audit_finds_what_was_planted_and_nothing_else() {
    let project = folder();
    let outcome = audit(&project, &[]).expect(0);
    let report = report(&project);
    for text in [&outcome.stdout, &report] {
        let mut rows: Vec<&str> =
            text.lines().filter(|line| line.contains("***") || line.contains('\u{2026}')).collect();
        rows.dedup();
        for (path, line, kind, secret) in planted() {
            let row = format!("| {path} | {line} | {kind} |");
            assert!(text.contains(&row), "`{row}` is not in\n{text}");
            assert!(!text.contains(&secret) && !text.contains(&secret[6..]), "{kind} is not masked");
        }
        let (findings, skipped) = text.split_once("## Not searched").unwrap();
        for clean in ["README.md |", "main.py |", "logo.png |", "link.env |", "outside.env"] {
            assert!(!findings.contains(clean), "`{clean}` is in\n{text}");
        }
        assert!(skipped.contains("| logo.png | binary |") && skipped.contains(".gitignore"), "{skipped}");
        assert!(findings.contains("| not searched (binary) |"), "{findings}");
    }
    let all = outcome.stdout + &outcome.stderr;
    assert!(planted().iter().all(|(_, _, _, secret)| !all.contains(secret)));
}

#[test]
fn the_events_of_an_audit_hold_no_secret_and_every_finding() {
    let project = folder();
    let outcome = audit(&project, &["--json"]).expect(0);
    assert!(planted().iter().all(|(_, _, _, secret)| !outcome.stdout.contains(secret)));
    let events = outcome.json_lines();
    let findings: usize = events
        .iter()
        .filter(|event| event["kind"] == "tool_call_finished" && event["tool"] == "secrets.scan")
        .map(|event| event["result"]["findings"].as_array().unwrap().len())
        .sum();
    assert_eq!(findings, planted().len());
    let started = &events[0];
    assert_eq!(started["kind"], "run_started");
    for plugin in started["plugins"].as_array().unwrap() {
        let granted = plugin["granted"].to_string();
        assert!(!granted.contains("http") && !granted.contains("write"), "{plugin}");
    }
}

#[test]
fn without_grants_the_audit_fails_and_says_how_to_allow_it() {
    let project = folder();
    let args = ["run", "host/examples/audit.yaml", "--workdir", "site", "--model", "builtin/extract"];
    let outcome = project.run(&args).expect(1).says(&["--grant secrets:fs=read", "--grant text:fs=read"]);
    assert!(!outcome.stdout.contains("AKIA"));
}

#[test]
fn an_audit_of_an_empty_folder_is_an_audit() {
    let project = folder();
    fs::create_dir(project.path("empty")).unwrap();
    let args =
        ["run", "host/examples/audit.yaml", "--workdir", "empty", "--grant-requested", "--model", "builtin/extract"];
    project.run(&args).expect(0);
    assert!(report(&project).starts_with("# "));
}

#[test]
fn this_repository_holds_no_secret() {
    let project = folder();
    let root = repository();
    let args =
        ["run", "host/examples/audit.yaml", "--grant-requested", "--model", "builtin/extract", "--json", "--workdir"];
    let outcome = project.run(&[&args[..], &[root.to_str().unwrap()]].concat()).expect(0);
    let events = outcome.json_lines();
    let scans: Vec<_> = events
        .iter()
        .filter(|event| event["kind"] == "tool_call_finished" && event["tool"] == "secrets.scan")
        .collect();
    let files: u64 = scans.iter().map(|event| event["result"]["files_scanned"].as_u64().unwrap()).sum();
    assert!(files > 200, "only {files} files were scanned");
    for scan in scans {
        assert_eq!(scan["result"]["findings"], serde_json::json!([]));
    }
}

#[test]
fn a_denial_names_the_plugin_the_request_and_the_lines_that_allow_it() {
    let project = folder();
    let outcome = project.run(&["run", "host/examples/denied.yaml"]).expect(1);
    let outcome =
        outcome.says(&["web", "https://example.com/", "--grant web:http=https://example.com", "[plugins.web.grants]"]);
    assert!(outcome.stdout.is_empty());
}

#[test]
fn the_run_of_the_example_is_kept_in_a_directory() {
    let project = Project::with_plugins();
    project.copy_from_repository("host/examples/kept");
    let at = ["--project", "host/examples/kept"];
    let run = ["run", "host/examples/kept/kept.yaml", "A cofferdam keeps the water out.", "--model", "builtin/extract"];
    project.run(&[&run[..], &at[..]].concat()).expect(0);
    assert_eq!(project.read("host/examples/kept/journals/FORMAT"), "1");
    let listed = project.run(&[&["runs", "list", "--json"], &at[..]].concat()).expect(0).json_lines();
    assert_eq!((listed.len(), &listed[0]["workflow"], &listed[0]["status"]), (1, &"kept".into(), &"completed".into()));
    assert!(!project.path("host/examples/kept/.cofferdam/runs.db").exists());
}

#[test]
fn the_events_of_the_example_go_to_a_file_and_to_an_address() {
    let provider = Provider::start(vec![Answer::Http(200, "", String::new())]);
    let port = provider.url().trim_end_matches("/v1").rsplit(':').next().unwrap().to_owned();
    let project = Project::with_plugins();
    project.copy_from_repository("host/examples/watched");
    let settings = project.read("host/examples/watched/cofferdam.toml");
    project.file("host/examples/watched/cofferdam.toml", settings.replace("8080", &port));
    let run = ["run", "host/examples/watched/watched.yaml", "A cofferdam keeps the water out.", "--json"];
    let at = ["--project", "host/examples/watched", "--model", "builtin/extract"];
    let events = project.run(&[&run[..], &at[..]].concat()).expect(0).json_lines();
    let durable = events.iter().filter(|event| event.get("sub").is_none()).count();
    assert_eq!(project.read("host/examples/watched/log/events.ndjson").lines().count(), durable);
    let posted = provider.requests().concat();
    assert_eq!(posted.matches("\"kind\":\"step_finished\"").count(), 2);
    assert_eq!(posted.matches("\"kind\":\"run_finished\"").count(), 1);
}

#[test]
fn the_cases_of_every_example_pass() {
    let project = folder();
    let cases = fs::read_dir(project.path("host/examples")).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.ends_with(".test.yaml").then(|| format!("host/examples/{name}"))
    });
    let cases: Vec<String> = cases.collect();
    assert!(cases.len() >= 5, "{cases:?}");
    let args: Vec<&str> = ["test"].into_iter().chain(cases.iter().map(String::as_str)).collect();
    project.run(&args).expect(0);
}

#[test]
fn the_example_of_an_endpoint_speaks_to_one_and_keeps_its_key() {
    let answer = |message: serde_json::Value, finish: &str| {
        let choice = serde_json::json!({ "message": message, "finish_reason": finish });
        Answer::Http(200, "content-type: application/json\r\n", serde_json::json!({ "choices": [choice] }).to_string())
    };
    let function = serde_json::json!({ "name": "submit_result", "arguments": "{\"kind\":\"fault\"}" });
    let call = serde_json::json!({ "tool_calls": [{ "id": "1", "type": "function", "function": function }] });
    let provider = Provider::start(vec![
        answer(call, "tool_calls"),
        answer(serde_json::json!({ "content": "Somebody will look at it." }), "stop"),
    ]);
    let project = Project::with_plugins().variable("CHAT_KEY", "sk-canary-41aa");
    project.copy_from_repository("host/examples");
    let port = provider.url().trim_end_matches("/v1").rsplit(':').next().unwrap().to_owned();
    let document = project.read("host/examples/endpoint.yaml").replace("11434", &port);
    project.file("host/examples/endpoint.yaml", document);
    let args = ["run", "host/examples/endpoint.yaml", "--grant-requested", "The door does not close."];
    let outcome = project.run(&args).expect(0);
    assert_eq!(outcome.stdout, "Somebody will look at it.\n");
    let requests = provider.requests();
    assert!(requests.iter().all(|request| request.contains("Bearer sk-canary-41aa")), "{requests:?}");
    assert!(requests[1].contains("The door does not close.") && requests[1].contains("fault"), "{}", requests[1]);
    assert!(!outcome.stderr.contains("canary"));
}

#[path = "../../host/examples/axum_server.rs"]
#[expect(dead_code, reason = "`main` is for people")]
mod axum_server;
#[path = "../../host/examples/orchestrator_life.rs"]
#[expect(dead_code, reason = "`main` is for people")]
mod orchestrator_life;
#[path = "../../host/examples/own_parts.rs"]
#[expect(dead_code, reason = "`main` is for people")]
mod own_parts;
#[path = "../../host/examples/workflow_engine.rs"]
#[expect(dead_code, reason = "`main` is for people")]
mod workflow_engine;
#[path = "../../host/examples/workflow_modes.rs"]
#[expect(dead_code, reason = "`main` is for people")]
mod workflow_modes;
#[path = "../../host/examples/workflow_stream.rs"]
#[expect(dead_code, reason = "`main` is for people")]
mod workflow_stream;

/// What one of the examples in Rust writes.
fn said(run: impl AsyncFnOnce(&mut Vec<u8>) -> Result<(), Box<dyn std::error::Error>>) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut out = Vec::new();
    runtime.block_on(run(&mut out)).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn workflows_of_every_mode_run_as_the_example_says() {
    let wanted = "sequential: Rust is safe and concurrent.
dag: fetch, analyse, report -> Report: sales grew by 150 percent.
loop: Good: a second draft. after 2 iterations
memory: Pull the red lever.
";
    assert_eq!(said(async |out| workflow_modes::run(out).await), wanted);
}

#[test]
fn an_orchestrator_lives_as_the_example_says() {
    let wanted = "run: completed, \"It is well written.\"
summary: The letter is written and checked.
in no time: failed
resumed: completed, \"It is well written.\"
agent: [Say it.]
agent with a model of our own: so they say
goal: \"harbour\"
recorded as completed: 6
closed twice: true
closed: 14 of 14 ways in
";
    assert_eq!(said(async |out| Box::pin(orchestrator_life::run(out)).await), wanted);
}

#[test]
fn parts_of_ones_own_work_as_the_example_says() {
    let wanted = "The gauge says {\"cm\":412}.
south: there is no gauge at the south lock
ended: ask completed, south failed
other events: true
";
    assert_eq!(said(async |out| own_parts::run(out).await), wanted);
}

#[test]
fn a_web_server_answers_as_the_example_says() {
    let said = said(async |out| axum_server::run(out).await);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["200: The moon pulls the water.", "200: Gates lift a ship step by step."], "{said}");
    assert!(lines[2].starts_with("400: ") && said.contains("input `question` takes text"), "{said}");
    assert!(said.contains("502: the scripted model answered an error: I do not know\n"), "{said}");
    assert!(said.ends_with("closed, with nothing left: true\n"), "{said}");
}

#[test]
fn the_stream_of_the_example_says_which_step_writes() {
    let wanted = "steps: outline, write
[1/2 outline] 1. Ownership 2. Borrowing
[2/2 write] Every value has one owner; others may borrow it.
done
";
    let said = said(async |out| workflow_stream::run(out).await);
    assert!(said.starts_with(wanted) && said.contains("completed with "), "{said}");
}

#[test]
fn the_engine_of_the_example_takes_the_cheapest_step_first() {
    assert_eq!(
        said(async |out| workflow_engine::run(out).await),
        "ours: walls, garden, roof\ncheapest first: garden, walls, roof\n"
    );
}

/// Teams of agents: what is run, and what it gives.
const TEAMS: [(&[&str], &str); 4] = [
    (&["code_review", "--input", "files=*.txt"], r#""verdict":"change""#),
    (&["debate", "Tea is better than coffee."], r#""winner":"for""#),
    (&["research", "How do cities measure noise?", "--coordinator"], "courtyards are not measured"),
    (&["map_reduce", "--input", "pattern=*.txt", "--input", "question=What for?"], "All of them say"),
];

#[test]
fn teams_of_agents_run_with_the_scripts_beside_them() {
    let project = Project::new();
    project.copy_from_repository("host/examples").file("a.txt", "agents: one").file("b.txt", "two");
    for (args, gives) in TEAMS {
        let name = args[0];
        let (document, model) = (format!("host/examples/{name}.yaml"), format!("scripted/{name}.model.yaml"));
        let flags = [&["run", &document], &args[1..], &["--model", &model]].concat();
        let outcome = project.run(&flags).expect(0);
        assert!(outcome.stdout.contains(gives), "{name}: {}", outcome.stdout);
        assert!(!outcome.stderr.contains("failed"), "{name}: {}", outcome.stderr);
    }
}
