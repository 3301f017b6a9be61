//! Cases of plugins with the world around them played: servers, secrets, values, time; what they cost; recording them.

use crate::support::{Outcome, Project, repository, with_echo};
use serde_json::{Value, json};
use std::fs;

const FILE: &str = "echo.plugin-test.yaml";

/// Runs a file with these cases of the guest `echo`.
fn cases(text: &str) -> (Project, Outcome) {
    let project = with_echo();
    project.file(FILE, format!("plugin: ./echo.wasm\n{text}"));
    let outcome = project.run(&["plugin", "test", "--json"]);
    (project, outcome)
}

/// What does not hold of the first case.
fn misses(text: &str) -> Vec<(String, String, String)> {
    let (_, outcome) = cases(text);
    let outcome = outcome.expect(1);
    let misses = outcome.json_lines()[0]["misses"].as_array().cloned().unwrap_or_default();
    let part = |miss: &Value, key: &str| miss[key].as_str().unwrap_or_default().to_owned();
    misses.iter().map(|miss| (part(miss, "about"), part(miss, "expected"), part(miss, "found"))).collect()
}

#[test]
fn the_cases_of_the_plugins_that_come_along_hold() {
    let project = Project::with_plugins();
    let mut tested = Vec::new();
    for name in cofferdam_guests::FIRST_PARTY {
        let folder = repository().join("plugins").join(name);
        let files = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
        let files: Vec<_> = files.filter(|path| path.to_string_lossy().ends_with(".plugin-test.yaml")).collect();
        for file in &files {
            let outcome = project.run(&["plugin", "test", file.to_str().unwrap(), "--json"]);
            let outcome = outcome.expect(0);
            // The cases are of the plugin that they lie beside.
            let text = fs::read_to_string(file).unwrap();
            assert!(text.contains(&format!("plugin: builtin:{name}\n")), "{}", file.display());
            assert!(outcome.json_lines().last().unwrap()["passed"].as_u64().unwrap() > 1, "{}", outcome.stdout);
        }
        let outcome = project.run(&["plugin", "inspect", &format!("builtin:{name}"), "--json"]).expect(0);
        let sheet: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let kinds = sheet["kinds"].to_string();
        if ["tool", "transform", "condition"].iter().any(|kind| kinds.contains(kind)) {
            assert!(!files.is_empty(), "`{name}` is a {kinds} and has no cases");
            tested.push(name);
        }
    }
    assert!(tested.len() >= 8, "{tested:?}");
}

#[test]
fn servers_are_played_behind_grants_redirects_and_credentials() {
    let text = "
grants:
  secrets: [KEY]
  http:
    - host: api.example.com
      methods: [GET, POST]
      swap: [{ secret: KEY, in: header }, { secret: KEY, in: body }]
secrets: { KEY: made-up-key-1 }
cases:
  - name: a stand-in is swapped where the grant says
    http:
      - request: { method: POST, json: { key: made-up-key-1 }, headers: { x-key: made-up-key-1, accept: null } }
        response: { status: 201, headers: { x-a: b }, body: echo of made-up-key-1 }
    call: { tool: send_stand_in, args: { secret: KEY, url: 'https://api.example.com/a' } }
    expect:
      result: null
      content: echo of [redacted]
      requests: [{ url: { matches: '^https://api.example.com/a[?]key=cofferdam-secret-' } }]
  - name: answers come in turn
    http:
      - request: https://api.example.com/a
        response: [{ status: 307, headers: { location: /a } }, { json: { n: 2 } }]
    call: { tool: get, args: { url: 'https://api.example.com/a' } }
    expect: { content: '{\"n\":2}', requests: { cel: size(value) == 2 } }
";
    let (_, outcome) = cases(text);
    let outcome = outcome.expect(0);
    assert_eq!(outcome.json_lines().last().unwrap()["passed"], 2, "{}", outcome.stdout);
}

#[test]
fn a_request_without_an_answer_fails_its_case_and_shows_the_nearest_one() {
    let text = "
grants: { http: [{ host: api.example.com }], secrets: [KEY] }
cases:
  - name: asks for something else
    http:
      - { request: 'https://api.example.com/other', response: {} }
      - { request: { method: POST, url: 'https://api.example.com/a' }, response: [{}, {}] }
    call: { tool: get, args: { url: 'https://api.example.com/a' } }
    expect: { error: { kind: unavailable } }
";
    let misses = misses(text);
    let all = format!("{misses:?}");
    assert_eq!(misses.len(), 3, "{all}");
    assert!(misses.iter().all(|(about, ..)| about == "http"), "{all}");
    assert_eq!(misses[0].2, "GET https://api.example.com/a");
    assert!(misses[0].1.contains("nearest is line 8: it wants method to be POST and not GET"), "{all}");
    assert!(misses[1].1.contains("line 7"), "an answer that nobody asks for is a miss: {all}");
    assert!(misses[2].1.contains("2 times"), "{all}");
}

#[test]
fn no_report_shows_the_value_of_a_secret() {
    let text = "
grants: { http: [{ host: a.example, inject: [{ secret: KEY, header: x-token }] }] }
secrets: { KEY: made-up-key-1 }
cases:
  - name: differs
    http: [{ request: { headers: { x-token: other } }, response: {} }]
    call: { tool: get, args: { url: 'https://a.example/' } }
    expect: { requests: [{ headers: { x-token: made-up-key-1, x-other: made-up-key-1 } }] }
";
    let (project, outcome) = cases(text);
    let text = project.run(&["plugin", "test"]).expect(1);
    for said in [&outcome.stdout, &outcome.stderr, &text.stdout, &text.stderr] {
        assert!(!said.contains("made-up-key-1"), "{said}");
    }
    assert!(outcome.stdout.contains("x-token to be other and not [redacted]"), "{}", outcome.stdout);
}

#[test]
fn a_case_sees_no_variable_of_the_environment() {
    let project = with_echo().variable("KEY", "from-the-environment");
    let text = "
plugin: ./echo.wasm
cases:
  - name: has no value
    grants: { secrets: [{ name: KEY, reveal: true }] }
    call: { tool: leak, args: { secret: KEY, how: result } }
    expect: { error: { kind: auth-required } }
";
    project.file(FILE, text).run(&["plugin", "test"]).expect(0);
}

#[test]
fn values_are_seeded_and_looked_at_and_the_time_stands_where_the_case_says() {
    let text = "
grants: { kv: { scope: run } }
kv: { text: two words, data: { n: 1 }, gone: x }
cases:
  - name: reads a text
    call: { tool: keep, args: { key: text } }
    expect: { result: two words, kv: { text: two words, data: { n: 1 }, other: null } }
  - name: reads data as its text
    call: { tool: keep, args: { key: data } }
    expect: { result: '{\"n\":1}' }
  - name: writes
    clock: 2030-01-02T03:04:05Z
    kv: { n: 3 }
    call: { tool: keep, args: { key: new, value: '7', ttl_ms: 1000 } }
    expect: { kv: { new: { atLeast: 7 }, n: 3, text: null } }
  - name: begins anew
    call: { tool: keys, args: { prefix: '', limit: 9 } }
    expect: { result: [[data, gone, text]] }
  - name: is granted none
    grants: {}
    call: { tool: keep, args: { key: text } }
    expect: { error: { kind: denied }, denied: [kv] }
  - name: its deadline is the clock and the limit of a tool
    clock: 2030-01-02T03:04:05Z
    call: { tool: whoami }
    expect: { result: { contains: { deadline_ms: 1893553475000, run_id: case } } }
";
    let (_, outcome) = cases(text);
    let outcome = outcome.expect(0);
    assert_eq!(outcome.json_lines().last().unwrap()["passed"], 6, "{}", outcome.stdout);
}

#[test]
fn fuel_and_memory_are_measured_and_the_same_each_time() {
    let text = "
cases:
  - { name: costs, call: { tool: echo, args: { value: [1, 2] } }, expect: { fuel: { max: 1000000 }, memory: { max: 4MiB } } }
  - { name: more, call: { tool: echo, args: { value: [1, 2, 3, 4, 5, 6, 7, 8, 9] } }, expect: { result: { value: [1, 2, 3, 4, 5, 6, 7, 8, 9] } } }
";
    let spent = |outcome: &Outcome| -> Vec<(u64, u64)> {
        let lines = outcome.json_lines();
        let of = |line: &Value| (line["fuel"].as_u64().unwrap(), line["memory_bytes"].as_u64().unwrap());
        lines.iter().filter(|line| line["kind"] == "case").map(of).collect()
    };
    let (project, first) = cases(text);
    let (first, second) = (spent(&first.expect(0)), spent(&project.run(&["plugin", "test", "--json"]).expect(0)));
    assert_eq!(first, second);
    assert!(first[1].0 > first[0].0 && first[0].0 > 1_000 && first[0].1 >= 65_536, "{first:?}");
    let shown = project.run(&["plugin", "test"]).expect(0).stdout;
    assert!(shown.contains("costs  (fuel ") && shown.contains("memory 1.") && shown.contains(" MiB)"), "{shown}");
    let misses =
        misses("cases: [{ name: a, call: { tool: whoami }, expect: { fuel: { max: 10 }, memory: { max: 1KiB } } }]");
    assert_eq!(misses.iter().map(|(about, ..)| about.as_str()).collect::<Vec<_>>(), ["fuel", "memory"]);
    assert_eq!(misses[1].1, "at most 1024");
}

#[test]
fn a_case_of_another_kind_than_its_plugin_says_so() {
    let (_, outcome) = cases("cases: [{ name: a, apply: { items: [x] }, expect: { outcomes: [x] } }]");
    assert!(outcome.stdout.contains("the plugin is no transform, and `apply` is for one"), "{}", outcome.stdout);
    let project = Project::with_plugins();
    project.file(FILE, "plugin: builtin:redact\ncases: [{ name: a, decide: {}, expect: proceed }]\n");
    let outcome = project.run(&["plugin", "test"]).expect(1);
    assert!(outcome.stdout.contains("the plugin is no condition"), "{}", outcome.stdout);
}

#[test]
fn what_is_wrong_with_a_case_is_said_at_its_place() {
    for (case, at, texts) in [
        (
            "{ name: a, call: { tool: x }, apply: { items: [] }, expect: {} }",
            4,
            &["does one thing", "`call` and `apply`"][..],
        ),
        ("{ name: a, expect: {} }", 4, &["the case does nothing", "sinks, storages, models and recalls"]),
        ("{ name: a, call: { tool: x } }", 4, &["expects nothing", "--record"]),
        (
            "{ name: a, call: { tool: x }, clock: noon, expect: {} }",
            4,
            &["`noon` is no moment", "2026-01-31T08:00:00Z"],
        ),
        ("{ name: a, call: { tool: x }, secrets: { K: abc }, expect: {} }", 4, &["too short"]),
        (
            "{ name: a, call: { tool: x }, grants: { fs: { also: [{ from: /, at: /o, read: true }] } }, expect: {} }",
            4,
            &["`fs.also` cannot be granted", "`/step`"],
        ),
        (
            "{ name: a, call: { tool: x }, http: [{ reqest: u }], expect: {} }",
            4,
            &["`reqest`", "did you mean `request`"],
        ),
        (
            "{ name: a, call: { tool: x }, http: [{ request: u, response: { status: 99 } }], expect: {} }",
            4,
            &["100 to 999"],
        ),
        (
            "{ name: a, call: { tool: x }, http: [{ request: u, response: { body: a, json: 1 } }], expect: {} }",
            4,
            &["one of `body` and `json`"],
        ),
        (
            "{ name: a, call: { tool: x }, http: [{ request: u, response: [] }], expect: {} }",
            4,
            &["there is no answer"],
        ),
        ("{ name: a, call: { tool: x }, expect: { fuel: { min: 3 } } }", 4, &["unknown key `min`", "`max` is missing"]),
        ("{ name: a, call: { tool: x }, expect: { fuel: { max: lots } } }", 4, &["expected a whole number"]),
        ("{ name: a, call: { tool: x }, expect: { memory: { max: 4 MB } } }", 4, &["is not a size", "64MiB"]),
        ("{ name: a, call: { tool: x }, expect: { requests: 3 } }", 4, &["expected a list"]),
        ("{ name: a, call: { tool: x }, expect: { requests: [{ methd: GET }] } }", 4, &["did you mean `method`"]),
        ("{ name: a, call: { tool: x }, expect: { kv: [] } }", 4, &["expected a table"]),
        ("{ name: a, apply: { options: {} }, expect: {} }", 4, &["`items` is missing"]),
        ("{ name: a, apply: { items: [] }, expect: { result: 1 } }", 4, &["unknown key `result`", "outcomes"]),
        (
            "{ name: a, decide: { viw: {} }, expect: { verdict: maybe } }",
            4,
            &["did you mean `view`", "can never be found here"],
        ),
        ("{ name: a, choose: { labels: [] }, expect: { choice: a } }", 4, &["nothing to choose from"]),
    ] {
        let project = Project::new();
        project.file(FILE, format!("plugin: ./none.wasm\nclok: x\ncases:\n  - {case}\n"));
        let outcome = project.run(&["plugin", "test"]).expect(2).says(&["unknown key `clok`", "did you mean `clock`"]);
        let place = format!("{FILE}:{at}:");
        assert!(outcome.stderr.contains(&place), "{case}: no `{place}` in\n{}", outcome.stderr);
        outcome.says(texts);
    }
}

#[test]
fn recording_fills_in_what_is_missing_and_touches_nothing_else() {
    let text = "\
# about these cases
plugin: ./echo.wasm
grants: { http: [{ host: a.example, inject: [{ secret: KEY, header: x-token }] }], kv: { scope: run } }
secrets: { KEY: made-up-key-1 }
cases:
  - name: blocks   # stay blocks
    call:
      tool: echo
      args: { value: { contains: looks like an operator } }

  # about the next one
  - { name: braces, call: { tool: fail, args: { kind: denied } } }
  - name: asks
    http:
    - { request: 'https://a.example/?q=1', response: { body: hello } }
    call: { tool: get, args: { url: 'https://a.example/?q=1' } }
  - name: keeps
    kv: { old: 1 }
    call: { tool: keep, args: { key: new, value: v } }
  - name: has one
    call: { tool: echo, args: { value: 1 } }
    expect: { result: wrong } # and keeps it
";
    let project = with_echo();
    project.file(FILE, text);
    let outcome = project.run(&["plugin", "test", "--record"]).expect(0).says(&["4 recorded"]);
    assert!(outcome.stdout.contains("recorded braces") && !outcome.stdout.contains("has one"), "{}", outcome.stdout);
    let new = project.read(FILE);
    let added = [
        "    expect: { result: { value: { contains: looks like an operator } } }\n",
        ", expect: { error: { code: plugin_error, kind: denied, own: asked } }",
        "    expect: { content: hello, requests: [{ method: GET, url: \"https://a.example/?q=1\" }] }\n",
        "    expect: { result: [",
    ];
    let mut old = new.clone();
    for text in added {
        assert!(old.contains(text), "`{text}` is not in\n{new}");
        old = old.replacen(text, "", 1);
    }
    // All that is left of the last one is the rest of its line.
    let rest = old.lines().find(|line| line.contains("kv: { old: 1, new: v }")).unwrap_or_else(|| panic!("{new}"));
    assert_eq!(old.replacen(&format!("{rest}\n"), "", 1), text);
    let outcome = project.run(&["plugin", "test", "--json"]).expect(1);
    let failed: Vec<Value> = outcome.json_lines().into_iter().filter(|line| line["passed"] == false).collect();
    assert_eq!(failed.iter().map(|line| line["case"].clone()).collect::<Vec<_>>(), ["has one"], "{failed:?}");
    project.run(&["plugin", "test", "--record"]).expect(0).says(&["0 recorded"]);
    assert_eq!(project.read(FILE), new);
}

#[test]
fn what_cannot_be_played_is_not_recorded() {
    let text = "plugin: ./echo.wasm
grants: { http: [{ host: a.example }] }
cases: [{ name: asks, call: { tool: get, args: { url: 'https://a.example/' } } }, { name: fine, call: { tool: whoami } }]
";
    let project = with_echo();
    project.file(FILE, text);
    let outcome = project.run(&["plugin", "test", "--record"]).expect(1);
    outcome.says(&["`asks` cannot be recorded", "GET https://a.example/", "1 recorded"]);
    assert!(project.read(FILE).contains("{ name: asks, call: { tool: get, args: { url: 'https://a.example/' } } },"));
    project.run(&["plugin", "test", "--record", "--json"]).expect(3);
}

#[test]
fn a_json_file_stays_json() {
    let project = with_echo();
    let case = json!({ "plugin": "./echo.wasm", "cases": [{ "name": "a", "call": { "tool": "whoami" } }] });
    project.file("a.plugin-test.json", serde_json::to_string_pretty(&case).unwrap());
    project.run(&["plugin", "test", "--record"]).expect(0);
    let new: Value = serde_json::from_str(&project.read("a.plugin-test.json")).unwrap();
    assert_eq!(new["cases"][0]["expect"]["result"]["step_path"], "call", "{new}");
    project.run(&["plugin", "test"]).expect(0);
}
