//! What plugins may do, as a user sees it: grants that steps narrow, values that are kept, further directories, calls of
//! other tools, and host functions that end in time.

use crate::support::{Manner, Outcome, Project, Server, with_echo};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

/// The events of one kind.
fn events(outcome: &Outcome, kind: &str) -> Vec<Value> {
    outcome.json_lines().into_iter().filter(|event| event["kind"] == kind).collect()
}

/// The result of a step's call.
fn result(outcome: &Outcome, path: &str) -> Value {
    let found = events(outcome, "tool_call_finished").into_iter().find(|event| event["path"] == path);
    found.unwrap_or_else(|| panic!("no call of `{path}`:\n{}{}", outcome.stdout, outcome.stderr))
}

const NARROWED: &str = "
name: narrowed
plugins: { echo: { source: ./echo.wasm, grants: { fs: { read: true }, kv: { scope: run } } } }
steps:
  - { id: free, tool: echo.read_file, args: { path: /step/a.txt } }
  - { id: shut, tool: echo.read_file, args: { path: /step/a.txt }, grants: { fs: none }, onFailure: continue }
  - id: group
    grants: { kv: none }
    onFailure: continue
    steps: [{ id: inner, tool: echo.keep, args: { key: k, value: v }, grants: { fs: { write: false } } }]
";

#[test]
fn a_step_narrows_what_its_plugins_may_do_and_a_denial_names_it() {
    let project = with_echo();
    project.file("narrowed.yaml", NARROWED).file("a.txt", "text");
    let outcome = project.run(&["run", "narrowed.yaml", "--grant-requested", "--json"]);
    assert_eq!(result(&outcome, "free")["content"], "text");
    let hint = |path: &str| result(&outcome, path)["error"]["hint"].as_str().unwrap().to_owned();
    assert!(hint("shut").contains("the `grants` of step `shut` take it away"), "{}", hint("shut"));
    assert!(hint("group.inner").contains("the `grants` of step `group` take it away"), "{}", hint("group.inner"));
    let started = events(&outcome, "step_started");
    let narrowed = |path: &str| started.iter().find(|event| event["path"] == path).unwrap()["narrowed"].clone();
    assert_eq!(narrowed("free"), Value::Null);
    assert_eq!(narrowed("shut"), json!(["step `shut`: no fs"]));
    assert_eq!(narrowed("group"), json!(["step `group`: no kv"]));
    assert_eq!(narrowed("group.inner"), json!(["step `group`: no kv", "step `group.inner`: fs without write"]));
    let denied = events(&outcome, "plugin_denied").into_iter().map(|event| event["request"].to_string());
    assert_eq!(denied.collect::<BTreeSet<_>>(), ["\"fs\"", "\"kv\""].map(str::to_owned).into());
}

#[test]
fn a_plan_shows_what_is_narrowed() {
    let project = with_echo();
    project.file("narrowed.yaml", NARROWED);
    let plan = project.run(&["plan", "narrowed.yaml"]).expect(0).stdout;
    for line in ["grants no fs", "grants no kv", "grants fs without write"] {
        assert!(plan.contains(line), "`{line}` is not in\n{plan}");
    }
    let plan: Value =
        serde_json::from_str(&project.run(&["plan", "narrowed.yaml", "--format", "json"]).stdout).unwrap();
    assert_eq!(
        plan["steps"][1]["grants"],
        json!({ "fs": { "read": false, "write": false, "out": false, "also": [] } })
    );
}

fn keeping(scope: &str) -> String {
    format!(
        "
name: keeping
mode: sequential
plugins: {{ echo: {{ source: ./echo.wasm, grants: {{ kv: {{ scope: {scope} }} }} }} }}
steps:
  - {{ id: look, tool: echo.keep, args: {{ key: k }} }}
  - {{ id: write, tool: echo.keep, args: {{ key: k, value: v, version: 0 }} }}
  - {{ id: read, tool: echo.keep, args: {{ key: k }} }}
"
    )
}

#[test]
fn values_live_as_long_as_their_scope_says() {
    for (scope, beside, later) in
        [("step", Value::Null, Value::Null), ("run", json!("v"), Value::Null), ("project", json!("v"), json!("v"))]
    {
        let project = with_echo();
        project.file("keeping.yaml", keeping(scope));
        let run = || project.run(&["run", "keeping.yaml", "--grant-requested", "--json"]);
        let first = run().expect(0);
        assert_eq!(result(&first, "look")["result"], Value::Null, "{scope}");
        assert_eq!(result(&first, "read")["result"], beside, "{scope}");
        assert_eq!(result(&run(), "look")["result"], later, "{scope}");
    }
}

#[test]
fn what_a_run_kept_is_gone_from_the_disk_when_it_is_completed_or_deleted() {
    let project = with_echo();
    let document = keeping("run").replace("value: v", "value: left-behind");
    project.file("keeping.yaml", document);
    project.run(&["run", "keeping.yaml", "--grant-requested", "-q"]).expect(0);
    assert_eq!(sqlite_rows(&project), 0);
    let fails = "  - { id: fails, tool: read, args: { path: none.txt }, dependsOn: [keep] }\n";
    let waits = "  - { id: waits, ask: { prompt: on? }, dependsOn: [keep] }\n";
    // Both can be taken up again, and read then what they kept.
    for (more, code) in [(fails, 1), (waits, 4)] {
        let document = format!(
            "name: keeping\nplugins: {{ it: {{ source: ./echo.wasm, grants: {{ kv: {{ scope: run }} }} }} }}\nsteps:\n  \
             - {{ id: keep, tool: it.keep, args: {{ key: k, value: left-behind }} }}\n{more}"
        );
        project.file("more.yaml", document);
        project.run(&["run", "more.yaml", "--grant-requested", "-q"]).expect(code);
        assert_eq!(sqlite_rows(&project), 1, "{more}");
        project.run(&["run", "more.yaml", "--grant-requested", "-q"]).expect(code);
        project.run(&["runs", "rm", "last"]).expect(0);
        assert_eq!(sqlite_rows(&project), 0, "{more}");
    }
}

#[test]
fn a_run_does_not_go_on_with_another_component_than_it_had() {
    let project = with_echo();
    let document = keeping("run") + "  - { id: waits, ask: { prompt: on? } }\n";
    project.file("keeping.yaml", document);
    project.run(&["run", "keeping.yaml", "--grant-requested", "-q"]).expect(4);
    let echo = fs::read(project.path("echo.wasm")).unwrap();
    project.file("echo.wasm", cofferdam_guests::built_bytes("greet").unwrap());
    let answer = ["answer", "last", "waits", "yes", "--grant-requested"];
    project.run(&answer).expect(2).says(&["plugin `echo` is another component", "./echo.wasm", "as it was"]);
    project.file("echo.wasm", echo);
    project.run(&answer).expect(0);
}

/// How many values the project holds, by its own list of them.
fn sqlite_rows(project: &Project) -> usize {
    let state = cofferdam::store::StateStore::new(project.path(".cofferdam/state.db"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let cleared = runtime.block_on(cofferdam::core::port::State::clear(&state, "kv/"));
    usize::try_from(cleared.unwrap()).unwrap()
}

#[test]
fn writes_have_conditions_and_listings_pages() {
    let project = with_echo();
    let document = "
name: versions
mode: sequential
plugins: { echo: { source: ./echo.wasm, grants: { kv: { scope: run } } } }
steps:
  - { id: a, tool: echo.keep, args: { key: p/a, value: '1' } }
  - { id: again, tool: echo.keep, args: { key: p/a, value: '2', version: 0 }, onFailure: continue }
  - { id: over, toolInput: { key: p/a, value: '3', version: '{{ steps.a.result[0] }}' }, tool: echo.keep }
  - { id: b, tool: echo.keep, args: { key: p/b, value: x, ttl_ms: 1 } }
  - { id: c, tool: echo.keep, args: { key: p/c, value: x } }
  - { id: d, tool: echo.keep, args: { key: p/d, value: x } }
  - { id: keys, tool: echo.keys, args: { prefix: p/, limit: 2 } }
  - { id: long, tool: echo.keep, args: { key: '', value: x }, onFailure: continue }
";
    project.file("versions.yaml", document.replace("toolInput:", "args:"));
    let outcome = project.run(&["run", "versions.yaml", "--grant-requested", "--json"]);
    assert_eq!(result(&outcome, "again")["error"]["detail"]["kind"], "conflict");
    assert!(result(&outcome, "over")["error"].is_null(), "{}", outcome.stdout);
    assert_eq!(result(&outcome, "keys")["result"], json!([["p/a", "p/c"], ["p/d"]]));
    assert_eq!(result(&outcome, "long")["error"]["detail"]["kind"], "invalid-input");
}

#[test]
fn a_further_directory_is_seen_where_the_inputs_lead_and_only_as_granted() {
    let project = with_echo();
    let document = "
name: mounted
inputs: { dir: { type: string } }
plugins:
  echo:
    source: ./echo.wasm
    grants: { fs: { also: [{ from: '{{ inputs.dir }}', at: /in, read: true }] } }
steps:
  - { id: read, tool: echo.read_file, args: { path: /in/a.txt } }
  - { id: up, tool: echo.read_file, args: { path: /in/../b.txt }, onFailure: continue }
output: steps.read.content
";
    project.file("mounted.yaml", document).file("data/a.txt", "inside").file("b.txt", "outside");
    let run = |args: &[&str]| project.run(&[&["run", "mounted.yaml", "-i", "dir=./data/", "-q"], args].concat());
    assert!(run(&["--grant-requested"]).stdout.starts_with("inside"));
    assert!(run(&["--grant", "echo:fs=also=data:/in:read"]).stdout.starts_with("inside"));
    run(&[]).says(&["--grant echo:fs=also=data:/in:read"]);
    project.file(
        "cofferdam.toml",
        "[plugins.echo.grants]\nfs = { also = [{ from = \"data\", at = \"/in\", read = true }] }\n",
    );
    assert!(run(&[]).stdout.starts_with("inside"));
    let elsewhere = project.run(&["run", "mounted.yaml", "-i", "dir=.", "-q"]);
    assert_ne!(elsewhere.code, Some(0), "the project grants `data` and nothing else");
}

#[test]
fn one_tree_is_not_both_read_only_and_writable() {
    let project = with_echo();
    let document = "
name: overlap
plugins:
  echo:
    source: ./echo.wasm
    grants: { fs: { read: true, also: [{ from: data, at: /in, read: true, write: true }] } }
steps: [{ id: read, tool: echo.read_file, args: { path: /in/a.txt } }]
";
    project.file("overlap.yaml", document).file("data/a.txt", "inside");
    let outcome = project.run(&["run", "overlap.yaml", "--grant-requested"]).expect(1);
    outcome.says(&["`/step` and `/in` are one tree"]);
    let write_only = document.replace("read: true, also", "also").replace("at: /in, read: true,", "at: /in,");
    project.file("overlap.yaml", write_only);
    project.run(&["run", "overlap.yaml", "--grant-requested"]).expect(2).says(&["`write` without `read`"]);
}

fn relaying(tools: &str, tool: &str, args: &str) -> String {
    format!(
        "
name: relaying
plugins: {{ echo: {{ source: ./echo.wasm, grants: {{ tools: [{tools}] }} }} }}
steps: [{{ id: ask, tool: echo.relay, args: {{ tool: {tool}, args: {args} }} }}]
"
    )
}

#[test]
fn a_plugin_calls_other_tools_through_the_gate() {
    let project = with_echo();
    project.file("a.txt", "text");
    let run = |tools: &str, tool: &str, args: &str, more: &[&str]| {
        project.file("relaying.yaml", relaying(tools, tool, args));
        project.run(&[&["run", "relaying.yaml", "--grant-requested", "--json"], more].concat())
    };
    let outcome = run("read", "read", "{ path: a.txt }", &[]).expect(0);
    let calls: Vec<_> =
        events(&outcome, "tool_call_started").into_iter().map(|event| event["call_id"].clone()).collect();
    assert_eq!(calls, [json!("step"), json!("step.1")]);
    assert!(outcome.stdout.contains("text"));
    let outcome = run("read", "write", "{ path: 'out:a', content: x }", &[]);
    assert_eq!(result(&outcome, "ask")["error"]["detail"]["kind"], "denied");
    assert!(result(&outcome, "ask")["error"]["hint"].as_str().unwrap().contains("--grant echo:tools=write"));
    let outcome = run("write", "write", "{ path: 'out:a', content: x }", &[]);
    assert!(outcome.stdout.contains("no rule and nobody to ask"), "{}", outcome.stdout);
    run("write", "write", "{ path: 'out:a', content: x }", &["--allow", "write"]).expect(0);
}

#[test]
fn tools_that_call_each_other_do_so_four_deep() {
    let project = with_echo();
    let mut args = String::from("{ value: bottom }");
    let mut tool = "echo.echo";
    for _ in 0..4 {
        args = format!("{{ tool: {tool}, args: {args} }}");
        tool = "echo.relay";
    }
    let document = |args: &str| relaying("echo.relay, echo.echo", "echo.relay", args);
    let run = |args: &str| {
        project.file("deep.yaml", document(args));
        project.run(&["run", "deep.yaml", "--grant-requested", "--allow", "echo.*", "--json"])
    };
    let too_deep = run(&args);
    assert!(too_deep.stdout.contains("at most 4 deep"), "{}", too_deep.stdout);
    let inner = args.strip_prefix("{ tool: echo.relay, args: ").unwrap().strip_suffix(" }").unwrap();
    assert!(run(inner).expect(0).stdout.contains("bottom"));
}

#[test]
fn a_host_function_that_waits_ends_with_the_call() {
    let project = with_echo();
    let server = Server::start(Manner::Stalls);
    let document = format!(
        "
name: stalling
plugins:
  echo:
    source: ./echo.wasm
    limits: {{ wall: 1s }}
    grants: {{ http: [{{ host: 127.0.0.1, scheme: http, port: {}, cidrs: [127.0.0.1] }}] }}
steps: [{{ id: get, tool: echo.get, args: {{ url: 'http://127.0.0.1:{}/' }} }}]
",
        server.port, server.port
    );
    project.file("stalling.yaml", document);
    let begun = Instant::now();
    let outcome = project.run(&["run", "stalling.yaml", "--grant-requested", "--json"]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let call = result(&outcome, "get");
    assert!(call["duration_ms"].as_u64().unwrap() < 1_400, "{call}");
    let error = &call["error"];
    assert!(error["detail"]["kind"] == "timeout" || error["code"] == "plugin_limit", "{error}");
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_large_value_is_kept_as_a_blob() {
    let project = with_echo();
    let document = "
name: blob
plugins: { echo: ./echo.wasm }
steps: [{ id: keep, tool: echo.as_blob, args: { message: text } }]
";
    project.file("blob.yaml", document);
    let outcome = project.run(&["run", "blob.yaml", "--json"]).expect(0);
    assert_eq!(result(&outcome, "keep")["result"]["blob"].as_str().unwrap().len(), 64);
}

#[test]
fn strict_refuses_what_nobody_decided() {
    let project = with_echo();
    project.file("keeping.yaml", keeping("run"));
    let outcome = project.run(&["run", "keeping.yaml", "--strict"]).expect(2);
    outcome.says(&["requests what nobody granted", "--grant echo:kv=run"]);
    project.run(&["run", "keeping.yaml", "--strict", "--grant", "echo:kv=run", "-q"]).expect(0);
    project.file("cofferdam.toml", "strict = true\n");
    project.run(&["run", "keeping.yaml"]).expect(2).says(&["requests what nobody granted"]);
    project.file("cofferdam.toml", "strickt = true\n");
    project.run(&["run", "keeping.yaml", "--grant", "echo:kv=run"]).expect(3).says(&["strickt"]);
    assert!(!fs::exists(project.path("cofferdam.lock")).unwrap(), "a flag locks nothing");
}

#[test]
fn every_import_that_is_not_granted_is_refused_and_told() {
    let project = with_echo();
    let document = "
name: nothing
plugins: { echo: { source: ./echo.wasm, grants: { fs: { read: true } } } }
steps:
  - { id: fs, tool: echo.read_file, args: { path: /step/a.txt }, onFailure: continue }
  - { id: out, tool: echo.write_file, args: { path: a.txt, text: x }, onFailure: continue }
  - { id: http, tool: echo.get, args: { url: 'https://example.com/' }, onFailure: continue }
  - { id: kv, tool: echo.keep, args: { key: k }, onFailure: continue }
  - { id: secrets, tool: echo.send_stand_in, args: { secret: KEY, url: 'https://example.com/' }, onFailure: continue }
  - { id: reveal, tool: echo.leak, args: { secret: KEY, how: result }, onFailure: continue }
  - { id: tools, tool: echo.relay, args: { tool: read, args: { path: a.txt } }, onFailure: continue }
";
    project.file("nothing.yaml", document).file("a.txt", "text");
    let outcome = project.run(&["run", "nothing.yaml", "--json"]);
    let denied = events(&outcome, "plugin_denied");
    for (path, request) in [
        ("fs", "fs"),
        ("out", "fs"),
        ("http", "http GET https://example.com/"),
        ("kv", "kv"),
        ("secrets", "secrets KEY"),
        ("reveal", "secrets-reveal KEY"),
        ("tools", "tools read"),
    ] {
        let error = &result(&outcome, path)["error"];
        // Where there is no directory, a standard library finds no file.
        assert!(error["detail"]["kind"] == "denied" || path == "fs", "{path}: {error}");
        assert!(error["hint"].as_str().unwrap().contains("--grant echo:"), "{path}: {error}");
        let told = denied.iter().any(|event| event["path"] == path && event["request"] == request);
        assert!(told, "{path}: {denied:?}");
    }
}
