//! Models that are plugins: named in documents, flags and settings, with their grants, secrets, bounds and failures.

use crate::support::{Answer, Outcome, Project, Provider};
use cofferdam::core::event::RunStatus;
use cofferdam::core::id::Alias;
use cofferdam::core::policy::Grants;
use cofferdam::{Orchestrator, RunOptions, ServicePlugin, Workflow};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SECRET: &str = "sk-canary-7f3b";

fn reply(content: &Value) -> Answer {
    let usage = json!({ "prompt_tokens": 7, "completion_tokens": 2 });
    let finish = if content.is_string() { "stop" } else { "tool_calls" };
    let message = if content.is_string() { json!({ "content": content }) } else { content.clone() };
    let body = json!({ "choices": [{ "message": message, "finish_reason": finish }], "usage": usage });
    Answer::Http(200, "content-type: application/json\r\n", body.to_string())
}

fn says(text: &str) -> Answer {
    reply(&json!(text))
}

fn calls(tool: &str, arguments: &str) -> Answer {
    let function = json!({ "name": tool, "arguments": arguments });
    reply(&json!({ "content": "", "tool_calls": [{ "id": "c1", "type": "function", "function": function }] }))
}

fn port(provider: &Provider) -> String {
    provider.url().trim_end_matches("/v1").rsplit(':').next().unwrap().to_owned()
}

/// The grant of an endpoint on loopback, with its key, as flow that is YAML and, with `=`, TOML.
fn grant(provider: &Provider, is: &str) -> String {
    format!(
        "{{ host{is} \"127.0.0.1\", scheme{is} \"http\", port{is} {}, methods{is} [\"POST\"], paths{is} [\"/v1/**\"], \
         cidrs{is} [\"127.0.0.0/8\"], inject{is} [{{ secret{is} \"CHAT_KEY\", header{is} \"authorization\", \
         format{is} \"Bearer {{}}\" }}] }}",
        port(provider)
    )
}

/// The plugin as a document declares it.
fn declared(provider: &Provider) -> String {
    let grant = grant(provider, ":");
    let config = format!("{{ base_url: '{}' }}", provider.url());
    format!(
        "name: asks\nplugins:\n  chat: {{ source: builtin:openai-shaped, config: {config}, grants: {{ http: [{grant}] }} }}\n"
    )
}

fn project() -> Project {
    Project::with_plugins().variable("CHAT_KEY", SECRET)
}

/// A project whose `cofferdam.toml` describes the plugin `corp`.
fn with_corp(provider: &Provider, more: &str) -> Project {
    let project = project();
    let toml = format!(
        "{more}[plugins.corp]\nsource = \"builtin:openai-shaped\"\nconfig = {{ base_url = \"{}\" }}\ngrants = {{ http = [{}] }}\n",
        provider.url(),
        grant(provider, " =")
    );
    project.file("cofferdam.toml", toml);
    project
}

fn of_kind<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["kind"] == kind).collect()
}

/// Fails unless all of these are in what a command wrote.
fn shows(outcome: &Outcome, texts: &[&str]) {
    let all = format!("{}{}", outcome.stdout, outcome.stderr);
    for text in texts {
        assert!(all.contains(text), "`{text}` is not in\n{all}");
    }
}

fn models(outcome: &Outcome) -> Vec<String> {
    let events = outcome.json_lines();
    of_kind(&events, "turn_started").iter().map(|event| event["model"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_place_of_a_document_names_models_of_its_plugins() {
    let provider = Provider::start(vec![
        says("one"),
        says("two"),
        says("three"),
        calls("submit_result", "{\"done\":true}"),
        says("flag"),
    ]);
    let project = project();
    let document = declared(&provider)
        + "agents:\n  writer: { description: writes, model: plugin:chat/of-agent, tools: [] }\n  judge: { description: judges, \
           model: plugin:chat/of-judge, tools: [], resultSchema: { type: object, required: [done], properties: { done: { type: boolean } } } }\n\
           options: { model: plugin:chat/of-options }\nsteps:\n  - { id: a, instructions: go, model: plugin:chat/of-step }\n  \
           - { id: b, instructions: go, agent: writer, dependsOn: [a] }\n  \
           - { id: c, instructions: go, dependsOn: [b], loop: { maxIterations: 2, untilAgent: judge } }\n";
    project.file("asks.yaml", &document);
    project.run(&["validate", "asks.yaml", "--strict"]).expect(0);
    let outcome = project.run(&["run", "asks.yaml", "--grant-requested", "--json"]).expect(0);
    let asked = ["plugin:chat/of-step", "plugin:chat/of-agent", "plugin:chat/of-options", "plugin:chat/of-judge"];
    assert_eq!(models(&outcome), asked);
    let events = outcome.json_lines();
    let pins = events[0]["plugins"].as_array().unwrap();
    assert_eq!((pins.len(), &pins[0]["alias"]), (1, &json!("chat")));
    assert_eq!(of_kind(&events, "turn_finished")[0]["usage"], json!({ "input": 7, "output": 2 }));
    assert!(of_kind(&events, "output_delta").iter().any(|event| event["text"] == "one"));
    let requests = provider.requests();
    assert!(requests[0].contains("\"model\":\"of-step\"") && requests[0].contains(&format!("Bearer {SECRET}")));
    project.file("one.yaml", declared(&provider) + "steps: [{ id: a, instructions: go, model: builtin/extract }]");
    let flagged =
        project.run(&["run", "one.yaml", "--grant-requested", "--json", "--model", "plugin:chat/x"]).expect(0);
    assert_eq!(models(&flagged), ["plugin:chat/x"]);
    assert!(!(outcome.stdout + &outcome.stderr + &flagged.stdout).contains(SECRET));
}

#[test]
fn a_plugin_of_the_project_is_named_like_one_of_the_document() {
    let provider = Provider::start(vec![says("hello")]);
    let aliases = "[models]\naliases = { fast = \"plugin:corp/small\" }\n[run]\nmodel = \"plugin:corp/usual\"\n";
    let project = with_corp(&provider, aliases);
    let steps = "steps:\n  - { id: a, instructions: go, model: plugin:corp/large }\n  \
                 - { id: b, instructions: go, model: fast, dependsOn: [a] }\n  - { id: c, instructions: go, dependsOn: [b] }\n";
    project.file("asks.yaml", format!("name: asks\n{steps}"));
    project.run(&["validate", "asks.yaml", "--strict"]).expect(0);
    let outcome = project.run(&["run", "asks.yaml", "--json", "--strict", "--locked"]).expect(0);
    assert_eq!(models(&outcome), ["plugin:corp/large", "plugin:corp/small", "plugin:corp/usual"]);
    assert_eq!(outcome.json_lines()[0]["plugins"][0]["alias"], "corp");
    assert!(provider.requests()[1].contains("\"model\":\"small\""));
    shows(&project.run(&["doctor"]).expect(0), &["plugin:corp/usual"]);
    // A document that takes the name gets neither the grants nor the key.
    project.file("taken.yaml", declared(&provider).replace("  chat:", "  corp:") + steps);
    let taken = project.run(&["run", "taken.yaml", "--grant-requested"]).expect(2);
    taken.says(&["both the document and `cofferdam.toml` have a plugin `corp`", "another name"]);
    assert_eq!(provider.requests().len(), 3);
}

#[test]
fn a_plugin_of_the_project_is_pinned_where_only_what_was_decided_runs() {
    let project = project();
    project.file("fickle.wasm", cofferdam_guests::built_bytes("fickle").unwrap());
    project.file("f.yaml", "name: f\nsteps: [{ id: a, instructions: go, model: plugin:own/words }]\n");
    project.file("cofferdam.toml", "[plugins.own]\nsource = \"./fickle.wasm\"\n");
    project.run(&["run", "f.yaml"]).expect(0);
    let outcome = project.run(&["run", "f.yaml", "--locked"]).expect(2);
    outcome.says(&["plugin `own` is not pinned", "[plugins.own]"]);
    project.run(&["plugin", "lock"]).expect(0).says(&["was written"]);
    project.run(&["run", "f.yaml", "--locked"]).expect(0);
    std::fs::remove_file(project.path("cofferdam.lock")).unwrap();
    let digest = cofferdam_guests::digest(&cofferdam_guests::built_bytes("fickle").unwrap());
    project.file("cofferdam.toml", format!("[plugins.own]\nsource = \"./fickle.wasm\"\ndigest = \"{digest}\"\n"));
    project.run(&["run", "f.yaml", "--locked", "--strict"]).expect(0);
}

/// A project with the guest `fickle`, whose models do what their names say.
fn with_fickle(steps: &str) -> Project {
    let project = project();
    project.file("fickle.wasm", cofferdam_guests::built_bytes("fickle").unwrap());
    let plugin = "{ source: ./fickle.wasm, limits: { wall: 2s } }";
    project.file("f.yaml", format!("name: f\nplugins: {{ odd: {plugin}, redact: builtin:redact }}\n{steps}\n"));
    project
}

fn ask(model: &str) -> String {
    format!("steps: [{{ id: a, input: one two three, model: '{model}' }}]")
}

#[test]
fn names_that_lead_nowhere_are_found_before_anything_runs() {
    let findings = [
        ("plugin:od/words", (0, 3), &["has a plugin `od`", "did you mean `odd`?", "warning", "f.yaml:3:"][..]),
        ("plugin:redact/x", (2, 2), &["plugin `redact` is no model; it is: transform", "f.yaml:3:"]),
        ("plugin:odd/word", (2, 2), &["has no model `word`", "did you mean `words`?", "it has: words, mute"]),
        ("plugin:odd", (2, 2), &["`plugin:odd` names no model of a plugin", "plugin:ALIAS/MODEL", "W012"]),
    ];
    for (name, (checked, ran), texts) in findings {
        let project = with_fickle(&ask(name));
        shows(&project.run(&["validate", "f.yaml"]).expect(checked), texts);
        let refused = project.run(&["run", "f.yaml"]).expect(ran);
        refused.says(&texts[..1]);
    }
    let project = with_fickle(&ask("plugin:odd/words"));
    project.run(&["validate", "f.yaml", "--strict"]).expect(0);
    project.run(&["run", "f.yaml", "--model", "plugin:nobody/x"]).expect(3).says(&["has a plugin `nobody`"]);
}

#[test]
fn inspect_shows_what_a_plugin_lists() {
    let project = with_fickle(&ask("plugin:odd/words"));
    let sheet = project.run(&["plugin", "inspect", "fickle.wasm"]).expect(0);
    shows(&sheet, &["Models", "plugin:fickle/words  not a language model", "says the last message again"]);
    let json: Value =
        serde_json::from_str(&project.run(&["plugin", "inspect", "fickle.wasm", "--json"]).expect(0).stdout).unwrap();
    assert_eq!(json["about"]["models"][0]["name"], "words");
    let sheet = project.run(&["plugin", "inspect", "builtin:openai-shaped"]).expect(0);
    shows(&sheet, &["it lists none and takes any name: plugin:openai-shaped/NAME"]);
}

#[test]
fn an_answer_comes_in_pieces_and_is_marked_as_no_language_model() {
    let project = with_fickle(&ask("plugin:odd/words"));
    let outcome = project.run(&["run", "f.yaml", "--json"]).expect(0);
    let events = outcome.json_lines();
    let pieces: Vec<&str> = of_kind(&events, "output_delta").iter().map(|e| e["text"].as_str().unwrap()).collect();
    assert_eq!(pieces, ["one ", "two ", "three"]);
    let outcome = project.run(&["run", "f.yaml"]).expect(0).says(&["plugin:odd/words", "not a language model"]);
    assert_eq!(outcome.stdout, "one two three\n");
}

#[test]
fn what_breaks_in_an_answer_says_plugin_function_and_bound() {
    let tries = [
        ("mute", &["broke the plugin contract in `next`", "no piece before the end"][..]),
        ("trap", &["plugin `odd`", "crashed in `next`"]),
        ("loop", &["was stopped in `next`", "ran longer than its 2s", "plugins.odd.limits"]),
        ("flood", &["was stopped in `next`", "returned more than 16 MiB"]),
    ];
    for (model, texts) in tries {
        let project = with_fickle(&ask(&format!("plugin:odd/{model}")));
        let begun = Instant::now();
        let outcome = project.run(&["run", "f.yaml", "--json"]).expect(1).says(texts);
        assert!(begun.elapsed() < Duration::from_secs(20), "{model}: {:?}", begun.elapsed());
        let events = outcome.json_lines();
        let failed = of_kind(&events, "plugin_failed");
        assert!(!failed.is_empty() && failed.iter().all(|event| event["plugin"] == "odd"), "{model}: {failed:?}");
    }
}

#[test]
fn what_a_model_is_denied_is_an_event_with_the_lines_that_allow_it() {
    let provider = Provider::start(vec![says("hello")]);
    let project = project();
    project.file("asks.yaml", declared(&provider) + &ask("plugin:chat/m"));
    let outcome = project.run(&["run", "asks.yaml", "--json"]).expect(1);
    let events = outcome.json_lines();
    let denied = of_kind(&events, "plugin_denied");
    assert_eq!((denied.len(), &denied[0]["plugin"], &denied[0]["path"]), (1, &json!("chat"), &json!("a")));
    let line = format!("--grant chat:http=POST@http://127.0.0.1:{}", port(&provider));
    assert!(denied[0]["allow"].as_str().unwrap().contains(&line), "{}", denied[0]);
    shows(&outcome, &["[plugins.chat.grants]"]);
    let strict = project.run(&["run", "asks.yaml", "--strict"]).expect(2);
    strict.says(&["plugin `chat` requests what nobody granted"]);
    // A step that narrows takes the network of its model along.
    let step = "steps: [{ id: a, instructions: go, model: plugin:chat/m, grants: { http: none } }]";
    project.file("narrow.yaml", declared(&provider).replace(", paths: [\"/v1/**\"]", "") + step);
    let narrow = project.run(&["run", "narrow.yaml", "--grant-requested"]).expect(1);
    narrow.says(&["the `grants` of step `a` take it away"]);
    assert!(provider.requests().is_empty());
    let project = with_fickle(&ask("plugin:odd/stray"));
    project.run(&["run", "f.yaml"]).expect(1).says(&["--grant odd:secrets=ELSEWHERE"]);
}

#[test]
fn a_document_whose_model_is_a_plugin_is_locked_with_what_it_lists() {
    let project = with_fickle(&ask("plugin:odd/words"));
    project.run(&["run", "f.yaml", "--locked"]).expect(2).says(&["is not in the lock file"]);
    project.run(&["plugin", "lock", "f.yaml"]).expect(0);
    assert!(project.read("cofferdam.lock").contains("cofferdam:model/model@0.1.0"));
    project.run(&["run", "f.yaml", "--locked", "--strict"]).expect(0);
}

#[test]
fn what_may_pass_is_asked_again_and_what_cannot_is_not() {
    let busy = || Answer::Http(429, "retry-after: 1\r\n", "{}".to_owned());
    let down = || Answer::Http(503, "", "{}".to_owned());
    let refused = || Answer::Http(401, "", "{\"error\":{\"message\":\"bad key\"}}".to_owned());
    for (answers, code, asked, text) in [
        (vec![busy(), down(), says("at last")], 0, 3, "at last"),
        (vec![down()], 1, 3, "the endpoint answered 503, also after 2 retries"),
        (vec![refused()], 1, 1, "the endpoint answered 401: bad key"),
        (vec![Answer::Http(200, "", "{\"choices\":[]}".to_owned()), says("whole")], 0, 2, "whole"),
    ] {
        let provider = Provider::start(answers);
        let project = project();
        project.file("asks.yaml", declared(&provider) + &ask("plugin:chat/m"));
        let outcome = project.run(&["run", "asks.yaml", "--grant-requested"]).expect(code);
        shows(&outcome, &[text]);
        assert_eq!(provider.requests().len(), asked, "{text}");
    }
}

#[test]
fn tools_and_results_go_through_a_model_of_a_plugin() {
    let provider = Provider::start(vec![
        calls("glob", "{\"pattern\":\"*.md\"}"),
        calls("submit_result", "{\"count\":\"many\"}"),
        calls("submit_result", "{\"count\":1}"),
    ]);
    let project = project();
    let schema = "{ type: object, required: [count], properties: { count: { type: integer } } }";
    let step = format!("steps: [{{ id: a, instructions: count, model: plugin:chat/m, resultSchema: {schema} }}]");
    project.file("asks.yaml", declared(&provider) + &step).file("one.md", "x");
    let outcome = project.run(&["run", "asks.yaml", "--grant-requested", "--json"]).expect(0);
    let events = outcome.json_lines();
    assert_eq!(of_kind(&events, "step_finished")[0]["output"]["result"], json!({ "count": 1 }));
    let requests = provider.requests();
    assert!(requests[1].contains("one.md"), "{}", requests[1]);
    assert!(requests[2].contains("submit_result") && requests[2].contains("integer"), "{}", requests[2]);
}

#[test]
fn a_key_that_an_endpoint_sends_back_reaches_nobody() {
    let provider = Provider::start(vec![says(&format!("your key is {SECRET}, keep it"))]);
    let project = project();
    project.file("asks.yaml", declared(&provider) + &ask("plugin:chat/m"));
    let outcome = project.run(&["run", "asks.yaml", "--grant-requested", "--json"]).expect(0);
    assert!(outcome.stdout.contains("your key is ") && !outcome.stdout.contains(SECRET), "{}", outcome.stdout);
    assert!(provider.requests()[0].contains(SECRET));
}

/// An orchestrator with a project's plugin `own`, and a workflow of one step.
fn in_code(model: &str, step: &str) -> (tokio::runtime::Runtime, Orchestrator, Workflow) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.keep().join("fickle.wasm");
    std::fs::write(&path, cofferdam_guests::built_bytes("fickle").unwrap()).unwrap();
    let alias = Alias::parse("own").unwrap();
    let plugin = ServicePlugin::new(alias, path.to_str().unwrap(), ".");
    let plugin = ServicePlugin { grants: Grants::default(), ..plugin };
    let orchestrator = Orchestrator::builder().model_plugin(plugin).default_model(model).build().unwrap();
    let workflow = Workflow::parse(&format!("name: x\nsteps: [{{ id: a, input: one two{step} }}]"), ".").unwrap();
    (runtime, orchestrator, workflow)
}

#[test]
fn an_embedder_names_models_of_plugins_and_gives_a_loaded_one() {
    let (runtime, orchestrator, workflow) = in_code("plugin:own/words", "");
    let run = |orchestrator: &Orchestrator| runtime.block_on(orchestrator.run_flow(&workflow, RunOptions::default()));
    let result = run(&orchestrator).unwrap();
    assert_eq!((result.final_output(), result.total_tokens()), ("one two".to_owned(), 3));
    let seen = orchestrator.plugin_models();
    assert_eq!((&*seen[0].name, seen[0].is_language_model), ("plugin:own/words", false));
    let component = cofferdam_guests::built_bytes("fickle").unwrap();
    let source = cofferdam::plugin::Source::Bytes(component.into());
    let reference = cofferdam::plugin::PluginReference::new(Alias::parse("mine").unwrap(), source);
    let plugin = runtime.block_on(orchestrator.plugins().load(reference)).unwrap();
    assert!(plugin.model("nothing").is_err());
    let given = Orchestrator::builder().model(plugin.model("words").unwrap()).build().unwrap();
    assert_eq!(run(&given).unwrap().final_output(), "one two");
}

#[test]
fn a_step_whose_time_is_over_takes_the_answer_of_its_model_along() {
    let (runtime, orchestrator, workflow) = in_code("plugin:own/loop", ", timeout: 300ms");
    let begun = Instant::now();
    let result = runtime.block_on(orchestrator.run_flow(&workflow, RunOptions::default())).unwrap();
    assert_eq!(result.status, RunStatus::Failed);
    assert!(format!("{:?}", result.error).contains("300ms"), "{:?}", result.error);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    // Its slot is free again: as many as there are answer after it.
    let closed = runtime.block_on(orchestrator.close());
    assert!(closed.still_running.is_empty());
}
