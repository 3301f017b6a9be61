//! Guests that were built for released contracts and never again: each must run on this host, with everything granted
//! that its kind may have, and with nothing.
//!
//! What they report is beside them, `tests/guests/archive/NAME.json`. A difference there means that plugins which people
//! have see another host than before.

use crate::support::{Golden, Manner, Project, Server, check_golden, repository};
use cofferdam::core::id::{Alias, RunId, StepPath};
use cofferdam::core::message::Message;
use cofferdam::core::policy::Grants;
use cofferdam::core::port::{
    BlobId, Journal as _, LeaseRequest, Memo, Model as _, ModelEvent, ModelRequest, ModelSettings, NoRedactor, Owner,
    Recall as _, RunFilter, Search, State, ToolChoice,
};
use cofferdam::core::time::Timestamp;
use cofferdam::plugin::{HostSettings, LoadedPlugin, Network, PluginHost, PluginReference, Source};
use cofferdam::store::MemoryState;
use cofferdam_engine::TokioClock;
use cofferdam_guests::{Archived, archived, archived_bytes};
use futures_util::StreamExt as _;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::Arc;

const SECRET: &str = "a-kept-secret-0451";

/// The place of a guest: a project, and the server that it may ask.
struct Scene {
    project: Project,
    server: Server,
    guest: Archived,
    component: Vec<u8>,
    granted: bool,
}

#[test]
fn every_archived_guest_runs_on_this_host() {
    let mut differences = Vec::new();
    for guest in archived().unwrap() {
        let component = archived_bytes(&guest.name).unwrap();
        let report = json!({
            "with everything granted": run(&Scene::new(&guest, &component, true)),
            "with nothing granted": run(&Scene::new(&guest, &component, false)),
        });
        let path = repository().join(format!("tests/guests/archive/{}.json", guest.name));
        let actual = serde_json::to_string_pretty(&report).unwrap() + "\n";
        differences.extend(check_golden(&Golden { path, actual }).err());
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What a guest reports.
fn run(scene: &Scene) -> Value {
    match scene.guest.kind.as_str() {
        "tool" => tool(scene),
        "transform" => transform(scene),
        "condition" => condition(scene),
        "sink" => sink(scene),
        "storage" => storage(scene),
        "model" => model(scene),
        "recall" => recall(scene),
        other => panic!("`{}` is of the kind `{other}`, which nothing here runs", scene.guest.name),
    }
}

/// The same guest, as if its contract had other numbers.
fn renumbered(component: &[u8], version: &str) -> Vec<u8> {
    const PRESENT: &[u8] = b"@0.1.0";
    let wanted = format!("@{version}");
    assert_eq!(wanted.len(), PRESENT.len(), "sizes stand in the component");
    let mut bytes = component.to_vec();
    for at in 0..bytes.len().saturating_sub(PRESENT.len()) {
        if bytes[at..].starts_with(PRESENT) {
            bytes[at..at + PRESENT.len()].copy_from_slice(wanted.as_bytes());
        }
    }
    bytes
}

fn of_the_first_contract() -> Vec<Archived> {
    archived().unwrap().into_iter().filter(|guest| guest.sdk == "0.1.0").collect()
}

#[test]
fn a_guest_of_a_later_contract_that_fits_finds_the_same_host() {
    for guest in of_the_first_contract() {
        let component = archived_bytes(&guest.name).unwrap();
        let report = run(&Scene::new(&guest, &renumbered(&component, "0.1.7"), true));
        let path = repository().join(format!("tests/guests/archive/{}.json", guest.name));
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(report, kept["with everything granted"], "{}", guest.name);
    }
}

#[test]
fn a_guest_of_a_contract_that_is_not_served_is_told_which_is_and_what_to_do() {
    for guest in of_the_first_contract() {
        let component = archived_bytes(&guest.name).unwrap();
        let own = guest.interfaces.iter().find(|name| name.contains(&format!("/{}@", guest.kind))).unwrap();
        for (version, what_to_do) in
            [("0.2.0", "update Cofferdam"), ("9.0.0", "update Cofferdam"), ("0.0.9", "build it again with the SDK")]
        {
            let project = Project::new();
            project.file("kept.wasm", renumbered(&component, version));
            let wanted = format!("it wants `{}`", own.replace("0.1.0", version));
            let outcome = project.run(&["plugin", "inspect", "kept.wasm"]).expect(2);
            let text = outcome.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
            for says in [wanted.as_str(), "and this host serves 0.1.0", what_to_do] {
                assert!(text.contains(says), "`{says}` is not in\n{}", outcome.stderr);
            }
        }
    }
}

impl Scene {
    fn new(guest: &Archived, component: &[u8], granted: bool) -> Self {
        let project = Project::new().variable("KEPT_SECRET", SECRET);
        project.file("kept.wasm", component);
        project.file("notes.txt", "a note\n").file("kept/.keep", "").file("script.yaml", "default: { text: said }\n");
        let (guest, component) = (guest.clone(), component.to_vec());
        Self { project, server: Server::start(Manner::Repeats), guest, component, granted }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    fn config(&self) -> Value {
        json!({ "word": "kept", "url": self.url() })
    }

    /// Everything that a plugin of this kind may have.
    fn grants(&self) -> Value {
        let mut grants = json!({});
        if !self.granted {
            return grants;
        }
        let may = |kinds: &[&str]| kinds.contains(&self.guest.kind.as_str());
        if may(&["tool", "sink", "storage", "model", "recall"]) {
            grants["http"] = json!([{
                "host": "127.0.0.1", "port": self.server.port, "scheme": "http", "methods": ["GET", "POST"],
                "cidrs": ["127.0.0.0/8"], "swap": [{ "secret": "KEPT", "in": "header" }],
            }]);
            grants["secrets"] = json!([{ "name": "KEPT", "reveal": self.guest.kind == "tool" }]);
        }
        if may(&["tool", "sink", "recall"]) {
            grants["kv"] = json!({ "scope": "project" });
        }
        if may(&["tool"]) {
            grants["fs"] = json!({ "read": true, "out": true });
            grants["tools"] = json!(["glob"]);
        }
        if may(&["storage"]) {
            let mount = json!({ "from": self.project.path("kept"), "at": "/kept", "read": true, "write": true });
            grants["fs"] = json!({ "also": [mount] });
        }
        grants
    }

    /// The project's settings; a plugin that serves the host has its source there.
    fn settings(&self, run: &Value, source: bool) {
        let mut plugin = json!({ "grants": self.grants() });
        if source {
            plugin["source"] = json!("./kept.wasm");
            plugin["config"] = self.config();
        }
        let settings = json!({
            "secrets": { "KEPT": { "env": "KEPT_SECRET" } }, "run": run, "plugins": { "kept": plugin },
        });
        self.project.file("cofferdam.toml", toml::to_string(&settings).unwrap());
    }

    /// Runs a document with these steps, and answers how it and they ended.
    fn run(&self, steps: &Value) -> Value {
        let plugin = json!({ "source": "./kept.wasm", "config": self.config() });
        let inputs = json!({ "topic": { "type": "string", "default": "tides" } });
        let document = json!({ "name": "kept", "inputs": inputs, "plugins": { "kept": plugin }, "steps": steps });
        self.project.file("kept.yaml", document.to_string());
        let outcome = self.project.run(&["run", "kept.yaml", "--json", "--model", "scripted/script.yaml"]);
        assert!(!outcome.stdout.contains(SECRET) && !outcome.stderr.contains(SECRET), "{}", outcome.stdout);
        let events = outcome.json_lines();
        assert!(!events.is_empty(), "{}", outcome.stderr);
        let of = |kind: &'static str| events.iter().filter(move |event| event["kind"] == kind);
        let ended = |event: &Value| {
            let name = event["path"].as_str().unwrap().to_owned();
            let mut ended = json!({});
            for member in ["status", "because", "reason", "output"] {
                if let Some(value) = event.get(member) {
                    ended[member] = value.clone();
                }
            }
            // The content of a result is its text.
            if ended["output"].get("result").is_some_and(Value::is_object) {
                ended["output"].as_object_mut().unwrap().remove("content");
            }
            if let Some(error) = event.get("error") {
                ended["error"] = json!({ "code": error["code"], "class": error["class"] });
                for member in ["kind", "code", "detail"] {
                    ended["error"]["own"][member] = error["detail"][member].clone();
                }
            }
            (name, ended)
        };
        let mut steps: Vec<(String, Value)> = of("step_finished").chain(of("step_skipped")).map(ended).collect();
        steps.sort_by(|one, other| one.0.cmp(&other.0));
        let mut denied: Vec<String> = of("plugin_denied").map(|event| self.here(&event["request"])).collect();
        denied.sort();
        denied.dedup();
        let progress: Vec<&Value> = of("progress").map(|event| &event["message"]).collect();
        let warnings: Vec<&Value> = of("warning").map(|event| &event["code"]).collect();
        json!({
            "exit": outcome.code, "steps": steps.into_iter().collect::<serde_json::Map<_, _>>(), "denied": denied,
            "progress": progress, "warnings": warnings,
        })
    }

    /// A text without what changes from run to run.
    fn here(&self, text: &Value) -> String {
        text.as_str().unwrap().replace(&self.server.port.to_string(), "PORT")
    }

    /// What the guest told the server, and whether the secret got there.
    fn told(&self) -> (Vec<Value>, bool) {
        let seen = self.server.seen();
        let reports = seen.iter().filter(|request| request.starts_with("POST /report"));
        let body = |request: &String| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
        let secret = seen.iter().any(|request| request.contains(&format!("x-kept: {SECRET}")));
        (reports.map(body).collect(), secret)
    }

    /// The guest as an embedder loads it.
    fn load(&self, runtime: &tokio::runtime::Runtime) -> (PluginHost, Arc<LoadedPlugin>) {
        let host = PluginHost::new(HostSettings {
            network: Some(Network { egress: cofferdam_egress::Egress::new(), secrets: Arc::new(OneSecret) }),
            state: Some(Arc::new(MemoryState::new()) as Arc<dyn State>),
            redactor: Arc::new(NoRedactor),
            ..HostSettings::alone(Arc::new(TokioClock::new()))
        });
        let source = Source::Bytes(Arc::from(self.component.as_slice()));
        let mut reference = PluginReference::new(Alias::parse("kept").unwrap(), source);
        reference.granted = Grants::parse(&self.grants()).unwrap();
        reference.config = self.config();
        let plugin = runtime.block_on(host.load(reference)).unwrap();
        (host, plugin)
    }
}

struct OneSecret;

impl cofferdam_egress::Secrets for OneSecret {
    fn get(&self, name: &str) -> Option<SecretString> {
        (name == "KEPT").then(|| SecretString::from(SECRET))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn fault(fault: &cofferdam::core::fault::Fault) -> Value {
    json!({ "error": fault.code, "own": fault.detail.as_ref().map(|detail| detail["kind"].clone()) })
}

fn tool(scene: &Scene) -> Value {
    scene.settings(&json!({}), false);
    let give = |form: &str| json!({ "id": form, "tool": "kept.give", "args": { "form": form } });
    let report = scene.run(&json!([
        { "id": "report", "tool": "kept.report" }, give("json"), give("text"), give("bytes"), give("blob"),
        { "id": "fail", "tool": "kept.fail" },
    ]));
    json!({ "run": report, "the secret arrives": scene.told().1 })
}

fn transform(scene: &Scene) -> Value {
    scene.settings(&json!({}), false);
    let each = ["keep", "replace", "drop", "fail"].map(|outcome| {
        let chain = json!([{ "plugin": "kept", "options": { "outcome": outcome } }]);
        let step = json!({ "id": outcome, "instructions": "go on", "transform": { "output": chain } });
        (outcome.to_owned(), scene.run(&json!([step])))
    });
    each.into_iter().collect::<serde_json::Map<_, _>>().into()
}

fn condition(scene: &Scene) -> Value {
    scene.settings(&json!({}), false);
    let step = |id: &str, condition: Value| json!({ "id": id, "instructions": "go on", "condition": condition });
    let each = ["proceed", "skip", "stop", "fail"].map(|verdict| {
        let condition = json!({ "plugin": "kept", "options": { "verdict": verdict } });
        (verdict.to_owned(), scene.run(&json!([step(verdict, condition)])))
    });
    let mut report: serde_json::Map<_, _> = each.into_iter().collect();
    let label = |label: &str| json!({ "plugin": "kept", "label": label, "options": { "verdict": "proceed" } });
    report.insert("choose".to_owned(), scene.run(&json!([step("a", label("kept")), step("b", label("other"))])));
    report.into()
}

const TWO: &str = "name: two\nsteps:\n  - { id: a, tool: glob, args: { pattern: '*' } }\n";

fn sink(scene: &Scene) -> Value {
    scene.settings(&json!({ "sinks": ["plugin:kept"] }), true);
    scene.project.file("two.yaml", TWO);
    let outcome = scene.project.run(&["run", "two.yaml"]);
    assert!(!outcome.stderr.contains(SECRET), "{}", outcome.stderr);
    let (told, secret) = scene.told();
    // How events fall into batches is a matter of the moment, their order is not.
    let taken: Vec<&Value> =
        told.iter().filter_map(|report| report.get("taken")).filter(|kind| !kind.is_null()).collect();
    json!({
        "exit": outcome.code,
        "opened": told.first(),
        "taken": taken,
        "flushed": told.contains(&json!("flushed")),
        "the last one is a dead letter": outcome.stderr.contains("dead letter"),
        "the secret arrives": secret,
    })
}

fn storage(scene: &Scene) -> Value {
    let runtime = runtime();
    let (_host, plugin) = scene.load(&runtime);
    let journal = match runtime.block_on(plugin.storage()) {
        Ok(journal) => journal,
        Err(error) => return fault(&error),
    };
    let (id, run) = (BlobId::of(b"kept bytes"), RunId::parse("r").unwrap());
    let now = Timestamp::from_millis(1_000);
    let ask = |pid: u32| LeaseRequest {
        run: run.clone(),
        owner: Owner { host: "h".into(), boot_id: "b".into(), pid, process_started: 1 },
        epoch: 0,
        now,
        hold: std::time::Duration::from_secs(59),
        owner_is_gone: false,
    };
    let parts = runtime.block_on(async {
        let put = journal.put_blob(id.clone(), Arc::from(&b"kept bytes"[..])).await;
        let got = journal.get_blob(&id).await;
        let lease = journal.lease(ask(1)).await;
        let other = journal.lease(ask(2)).await;
        let gone = journal.delete(&run).await;
        json!({
            "put": put.is_ok(), "got": got.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).ok(),
            "lease": lease.map(|lease| lease.epoch).ok(), "held": other.is_err(), "deleting what is not there": gone.is_ok(),
            "runs": journal.list(RunFilter::default()).await.map(|page| page.rows.len()).ok(),
        })
    });
    runtime.block_on(journal.close());
    let (told, secret) = scene.told();
    let runs = whole_runs(scene);
    let deleted = runtime.block_on(async {
        let journal = plugin.storage().await.unwrap();
        let rows = journal.list(RunFilter::default()).await.unwrap().rows;
        let deleted = journal.delete(&rows[0].run_id).await.is_ok();
        (deleted, journal.list(RunFilter::default()).await.unwrap().rows.len())
    });
    json!({
        "opened": told.first(), "the secret arrives": secret, "parts": parts, "runs": runs,
        "deleted": deleted.0, "left": deleted.1,
    })
}

/// A run through the storage, and what later processes find of it.
fn whole_runs(scene: &Scene) -> Value {
    scene.settings(&json!({ "storage": "plugin:kept" }), true);
    scene.project.file("two.yaml", TWO);
    let outcome = scene.project.run(&["run", "two.yaml", "--json"]);
    let events = outcome.json_lines();
    assert!(!events.is_empty(), "{}", outcome.stderr);
    let listed = scene.project.run(&["runs", "list", "--json"]).json_lines();
    let shown = scene.project.run(&["runs", "show", events[0]["run_id"].as_str().unwrap(), "--json"]).json_lines();
    let durable: Vec<&Value> = events.iter().filter(|event| event.get("sub").is_none()).collect();
    json!({
        "exit": outcome.code, "listed": listed.iter().map(|run| &run["status"]).collect::<Vec<_>>(),
        "shown as it was": shown.iter().collect::<Vec<_>>() == durable,
    })
}

fn model(scene: &Scene) -> Value {
    let runtime = runtime();
    let (_host, plugin) = scene.load(&runtime);
    let model = plugin.model("kept").unwrap();
    let request = ModelRequest {
        run_id: RunId::parse("r").unwrap(),
        path: StepPath::from("a"),
        attempt: 1,
        turn: 1,
        messages: Arc::new(vec![Message::user("Hi")]),
        tools: Arc::new([]),
        tool_choice: ToolChoice::Auto,
        result: None,
        settings: ModelSettings::default(),
        max_retries: 0,
        asker: None,
    };
    let events = runtime.block_on(async {
        match model.stream(request).await {
            Ok(stream) => stream.collect::<Vec<_>>().await,
            Err(error) => vec![Err(error)],
        }
    });
    let shown = |event: &Result<_, _>| match event {
        Ok(ModelEvent::Text(text)) => json!({ "text": serde_json::from_str::<Value>(text).unwrap() }),
        Ok(ModelEvent::Reasoning(text)) => json!({ "reasoning": text }),
        Ok(ModelEvent::ToolCall(call)) => json!({ "call": [call.id, call.name, call.arguments] }),
        Ok(ModelEvent::Opaque(opaque)) => json!({ "opaque": opaque.data }),
        Ok(ModelEvent::Usage(usage)) => json!({ "tokens": [usage.input, usage.output] }),
        Ok(other) => json!({ "other": format!("{other:?}") }),
        Err(error) => fault(error),
    };
    json!({ "answer": events.iter().map(shown).collect::<Vec<_>>(), "the secret arrives": scene.told().1 })
}

fn recall(scene: &Scene) -> Value {
    let runtime = runtime();
    let (_host, plugin) = scene.load(&runtime);
    let recall = runtime.block_on(plugin.recall()).unwrap();
    let search = |query: &str| Search { query: query.to_owned(), limit: 3, ..Search::default() };
    let memo = Memo { id: "m".into(), text: "a text".into(), meta: serde_json::Map::new() };
    let hits = |found: Result<Vec<cofferdam::core::port::Hit>, _>| match found {
        Ok(hits) => hits.iter().map(|hit| json!({ "id": hit.memo.id, "text": hit.memo.text })).collect(),
        Err(error) => fault(&error),
    };
    let report = runtime.block_on(async {
        json!({
            "kept": recall.upsert("s", vec![memo]).await.is_ok(),
            "found": hits(recall.search("s", search("a text")).await),
            "elsewhere": hits(recall.search("t", search("a text")).await),
            "forgotten": recall.forget("s", vec!["m".into(), "n".into()]).await.ok(),
            "report": match recall.search("s", search("report")).await {
                Ok(found) => serde_json::from_str(&found[0].memo.text).unwrap(),
                Err(error) => fault(&error),
            },
        })
    });
    json!({ "answers": report, "the secret arrives": scene.told().1 })
}
