//! Models of all five protocols as users name them: on the command line, in `cofferdam.toml`, with what goes wrong.

use crate::support::{Outcome, Project};
use cofferdam_model_server::ModelServer;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::Command;

/// A provider of each protocol.
const PROVIDERS: &[&str] = &["openai", "openai-responses", "anthropic", "gemini", "ollama", "azure"];
const KEY: &str = "sk-canary-5d1e";

/// Runs what blocks beside the server.
fn with_server<T: Send + 'static>(work: impl FnOnce(&ModelServer, Project) -> T + Send + 'static) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(ModelServer::start(Default::default())).unwrap();
    let project = Project::new();
    let guaranteeing =
        ["openai", "anthropic", "gemini"].map(|name| format!("[models.providers.{name}]\nguarantees_schemas = true\n"));
    let toml = format!(
        "{}[models.providers.openai-responses]\napi = \"responses\"\nguarantees_schemas = true\nbase_url = \"{}\"\n[models.providers.azure]\nbase_url = \"{}\"\n",
        guaranteeing.concat(),
        server.base_url(),
        server.base_url()
    );
    project.file("cofferdam.toml", toml);
    let mut project = project;
    for name in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "AZURE_OPENAI_API_KEY"] {
        project = project.variable(name, KEY);
    }
    let project = project
        .variable("OPENAI_BASE_URL", &server.base_url())
        .variable("ANTHROPIC_BASE_URL", &server.root())
        .variable("GOOGLE_GEMINI_BASE_URL", &server.root())
        .variable("OLLAMA_HOST", &server.root());
    work(&server, project)
}

fn ask(project: &Project, model: &str) -> Outcome {
    project.run(&["agent", "Say it.", "--model", model, "--allow", "read"])
}

#[test]
fn each_protocol_answers_with_its_key_where_it_looks_for_it() {
    with_server(|server, project| {
        for provider in PROVIDERS {
            server.clear();
            let outcome = ask(&project, &format!("{provider}/text")).expect(0);
            assert_eq!(outcome.stdout.trim(), "Grüße, Wörld 😀", "{provider}");
            let request = server.requests().pop().unwrap();
            let (header, value) = match *provider {
                "anthropic" => ("x-api-key", KEY.to_owned()),
                "gemini" => ("x-goog-api-key", KEY.to_owned()),
                "azure" => ("api-key", KEY.to_owned()),
                _ => ("authorization", format!("Bearer {KEY}")),
            };
            let sent = request.header(header);
            assert_eq!(sent, (*provider != "ollama").then_some(value.as_str()), "{provider}: {}", request.path());
        }
    });
}

#[test]
fn tools_run_and_thinking_comes_back_untouched() {
    with_server(|server, project| {
        project.file("note.txt", "eighteen degrees");
        for provider in PROVIDERS {
            server.clear();
            let outcome = ask(&project, &format!("{provider}/thinking-tools")).expect(0);
            assert_eq!(server.requests().len(), 2, "{provider}: {}", outcome.stdout);
            if matches!(*provider, "openai-responses" | "anthropic" | "gemini") {
                assert!(outcome.stdout.contains("signature kept"), "{provider}: {}", outcome.stdout);
            }
        }
    });
}

const RESULT: &str = "\
name: counted
agents:
  counter:
    description: Counts.
    tools: []
    resultSchema:
      type: object
      required: [count]
      properties: { count: { type: integer }, unit: { type: string, minLength: 1 } }
steps:
  - { id: count, agent: counter, instructions: Count. }
";

#[test]
fn a_result_is_had_in_the_providers_own_way() {
    with_server(|server, project| {
        project.file("counted.yaml", RESULT);
        for (provider, place) in [
            ("openai", "/response_format/json_schema/schema"),
            ("openai-responses", "/text/format/schema"),
            ("anthropic", "/output_config/format/schema"),
            ("gemini", "/generationConfig/responseJsonSchema"),
            ("ollama", "/format"),
        ] {
            server.clear();
            let model = format!("{provider}/json-schema");
            let outcome = project.run(&["run", "counted.yaml", "--model", &model, "--json"]).expect(0);
            let finished = outcome.json_lines().into_iter().find(|event| event["kind"] == "step_finished").unwrap();
            assert!(finished["output"]["result"]["count"].is_i64(), "{provider}: {finished}");
            let body = server.requests().pop().unwrap().json();
            assert_eq!(
                body.pointer(place).and_then(|schema| schema.get("type")),
                Some(&json!("object")),
                "{provider}: {body}"
            );
            assert!(body.get("tools").is_none(), "{provider}");
        }
    });
}

#[test]
fn each_failure_says_whose_it_is_and_what_to_do() {
    with_server(|server, project| {
        for provider in PROVIDERS {
            for (mode, tries, said) in [
                ("flaky-1", 2, ""),
                ("e401", 1, "key"),
                ("e429-quota", 1, "nothing left"),
                ("cut", 1, "broke off"),
                ("mid-error", 1, ""),
            ] {
                server.clear();
                let model = format!("{provider}/{mode}");
                let outcome = ask(&project, &model);
                let fails = mode != "flaky-1";
                assert_eq!(outcome.code, Some(i32::from(fails)), "{model}: {}", outcome.stderr);
                assert_eq!(server.requests().len(), tries, "{model}: {}", outcome.stderr);
                assert!(outcome.stderr.contains(said), "{model}: {}", outcome.stderr);
                assert!(!fails || outcome.stderr.contains(provider), "{model}: {}", outcome.stderr);
                assert!(!outcome.stderr.contains(KEY) && !outcome.stdout.contains(KEY), "{model}");
            }
        }
    });
}

#[test]
fn another_model_answers_where_the_settings_say_so_and_it_is_told() {
    with_server(|server, project| {
        let toml = "[models.aliases]\nfast = \"openai/e503\"\n[models.fallbacks]\nfast = [\"anthropic/text\"]\n";
        project
            .file("cofferdam.toml", toml)
            .file("a.yaml", "name: a\nsteps:\n  - { id: s, instructions: Say it., maxRetries: 0 }\n");
        let outcome = project.run(&["run", "a.yaml", "--model", "fast", "--json"]).expect(0);
        let events = outcome.json_lines();
        let find = |kind: &str| events.iter().find(|event| event["kind"] == kind).unwrap_or(&Value::Null);
        assert_eq!(find("turn_finished")["model"], "anthropic/text");
        assert_eq!(find("warning")["code"], "model_fallback");
        assert_eq!(server.requests().len(), 2);
        project.run(&["replay", "last"]).expect(0);
    });
}

#[test]
fn what_is_configured_is_listed_without_a_key() {
    with_server(|_, project| {
        let listed = project.run(&["models", "list", "--json"]).expect(0);
        let find = |name: &str| listed.json_lines().into_iter().find(|line| line["provider"] == name).unwrap();
        assert_eq!((&find("anthropic")["has_key"], &find("anthropic")["from"]), (&json!(true), &json!("settings")));
        assert_eq!(find("ollama")["from"], "environment");
        assert_eq!(
            (&find("openai-responses")["api"], &find("openai-responses")["from"]),
            (&json!("responses"), &json!("settings"))
        );
        assert_eq!((&find("groq")["has_key"], &find("groq")["from"]), (&json!(false), &json!("built in")));
        let table = project.run(&["models", "list"]).expect(0).stdout;
        assert!(table.contains("GROQ_API_KEY: missing") && !table.contains(KEY), "{table}");
    });
}

#[test]
fn a_provider_is_tried_and_what_it_says_is_shown() {
    with_server(|server, project| {
        let good = project.run(&["doctor", "--provider", "anthropic/text"]).expect(0).stdout;
        for text in ["/v1/messages", "200", "message_start", "the provider answers"] {
            assert!(good.contains(text), "`{text}` is not in {good}");
        }
        let bad = project.run(&["doctor", "--provider", "openai/e401", "--json"]).expect(1);
        assert!(bad.stdout.contains("\"check\":\"status\"") && bad.stdout.contains("401") && !bad.stdout.contains(KEY));
        assert_eq!(server.requests().len(), 2, "nothing is asked twice");
        project.run(&["doctor", "--provider", "opnai"]).expect(3).says(&["did you mean `openai`"]);
    });
}

#[test]
fn what_a_provider_cannot_guarantee_is_told_when_it_is_asked_for() {
    let project = Project::new();
    project.file("counted.yaml", RESULT);
    project.run(&["validate", "counted.yaml"]).expect(0);
    let told = project.run(&["validate", "counted.yaml", "--provider", "all"]).expect(0);
    told.says(&["H002", "properties.unit.minLength", "openai", "anthropic"]);
    project.run(&["validate", "counted.yaml", "--provider", "ollama", "--strict"]).expect(0);
    project.run(&["validate", "counted.yaml", "--provider", "anthropic", "--strict"]).expect(2);
    project.run(&["validate", "counted.yaml", "--provider", "antropic"]).expect(3).says(&["did you mean `anthropic`"]);
}

#[test]
fn the_server_of_models_serves_until_it_is_interrupted() {
    let project = Project::new();
    let modes = project.run(&["dev", "model-server", "--modes"]).expect(0).stdout;
    assert!(modes.contains("flaky-N") || modes.contains("flaky-"), "{modes}");
    let mut command: Command = project.command(&["dev", "model-server"]);
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    let answered =
        Project::new().variable("OPENAI_BASE_URL", told["base_url"].as_str().unwrap()).variable("OPENAI_API_KEY", KEY);
    assert_eq!(ask(&answered, "openai/text").expect(0).stdout.trim(), "Grüße, Wörld 😀");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn what_was_recorded_is_replayed_without_the_provider_and_without_a_key() {
    with_server(|server, project| {
        project.file("counted.yaml", RESULT);
        for provider in PROVIDERS {
            server.clear();
            let tape = format!("tape-{provider}");
            for mode in ["tools-then-text", "flaky-1"] {
                let model = format!("{provider}/{mode}");
                let args = ["agent", "Say it.", "--model", &model, "--allow", "read"];
                let recorded = project.run(&[&args[..], &["--record", &tape]].concat()).expect(0);
                let alone = Project::new();
                alone.copy_to(&project.path(&tape), &tape);
                if *provider == "openai-responses" {
                    alone.file("cofferdam.toml", "[models.providers.openai-responses]\napi = \"responses\"\n");
                }
                let asked = server.requests().len();
                let replayed = alone.run(&[&args[..], &["--replay", &tape]].concat()).expect(0);
                assert_eq!((replayed.stdout, server.requests().len()), (recorded.stdout, asked), "{model}");
                std::fs::remove_dir_all(project.path(&tape)).unwrap();
            }
        }
    });
}

#[test]
fn a_request_that_was_not_recorded_shows_what_differs() {
    with_server(|_, project| {
        let ask = |prompt: &str, flag: &str| project.run(&["agent", prompt, "--model", "openai/text", flag, "tape"]);
        ask("Say it.", "--record").expect(0).says(&["recorded in"]);
        for file in std::fs::read_dir(project.path("tape")).unwrap() {
            assert!(!std::fs::read_to_string(file.unwrap().path()).unwrap().contains(KEY));
        }
        let missed = ask("Say that.", "--replay").expect(1);
        missed.says(&["openai/text", "Say it.", "Say that.", "--record", "not asked for, of the recordings"]);
        project.run(&["agent", "x", "--record", "a", "--replay", "b"]).expect(3);
        project.run(&["agent", "x", "--replay", "no-such"]).expect(3).says(&["no-such"]);
    });
}

#[test]
fn a_recording_answers_in_a_test_of_a_workflow() {
    with_server(|_, project| {
        project.file("counted.yaml", RESULT);
        project.run(&["run", "counted.yaml", "--model", "anthropic/json-schema", "--record", "tape"]).expect(0);
        let case = "workflow: counted.yaml\nmodel: { recording: tape, name: anthropic/json-schema }\ncases:\n  - name: counts\n    expect:\n      steps: { count: { status: completed } }\n";
        project.file("counted.test.yaml", case);
        project.run(&["test"]).expect(0);
        project.file("counted.yaml", RESULT.replace("Count.", "Count again."));
        let missed = project.run(&["test"]).expect(1);
        assert!(format!("{}{}", missed.stdout, missed.stderr).contains("was not recorded"), "{missed:?}");
        project.file("counted.test.yaml", case.replace("tape", "tap"));
        project.run(&["test"]).expect(2).says(&["there is no folder `tap`"]);
    });
}
