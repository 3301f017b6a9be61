//! The shipped components are those of the sources: the same call gets the same answer from both. Bytes are not
//! compared, since another compiler writes others.

use crate::support::{Answer, Project, Provider};
use cofferdam::core::event::{Body, RunEvent, RunStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{Alias, RunId, StepPath};
use cofferdam::core::message::{Message, Usage};
use cofferdam::core::policy::Grants;
use cofferdam::core::port::{
    Append, Batch, BlobId, BoxFuture, Choice, Condition as _, Durability, Item, ItemValue, Journal as _, Memo,
    Model as _, ModelRequest, ModelSettings, PureContext, Recall as _, Record, RecordBody, Recorder, RunFilter,
    RunIndex, Search, Sink as _, State, ToolChoice, Transform as _,
};
use cofferdam::core::time::Timestamp;
use cofferdam::core::value::Map;
use cofferdam::plugin::{HostSettings, LoadedPlugin, Network, PluginHost, PluginReference, Source};
use cofferdam::store::MemoryState;
use cofferdam_engine::TokioClock;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What each call of a component answers, by step: the result, or the failure without the component's digest.
fn answers(component: &[u8], calls: &[(&str, &str)]) -> Vec<(String, Value, String)> {
    let project = Project::new();
    let mut document =
        String::from("name: same\nplugins: { it: { source: ./it.wasm, grants: { fs: { read: true } } } }");
    document += "\nsteps:\n";
    for (at, (tool, args)) in calls.iter().enumerate() {
        document += &format!("  - {{ id: s{at}, tool: it.{tool}, args: {args} }}\n");
    }
    project
        .file("it.wasm", component)
        .file("same.yaml", &document)
        .file("site/a.md", "# One\n\nto be or not to be\n")
        .file("site/a.csv", "name,size\na,3\nb,1\n")
        .file("site/run.sh", format!("export API_KEY={}{}\n", "q8Zr1Lw0pXv7", "Kd2m9Ts4Hb6y"));
    let outcome = project.run(&["run", "same.yaml", "--workdir", "site", "--grant-requested", "--json"]);
    let digest = cofferdam_guests::digest(component);
    let finished = outcome.json_lines().into_iter().filter(|event| event["kind"] == "tool_call_finished");
    let mut answers: Vec<_> = finished
        .map(|event| {
            let failure = event["error"].to_string().replace(&digest, "").replace(&digest[7..19], "");
            (event["path"].to_string(), event["result"].clone(), failure)
        })
        .collect();
    answers.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(answers.len(), calls.len(), "{}{}", outcome.stdout, outcome.stderr);
    let says = |(_, result, failure): &(String, Value, String)| !result.is_null() || failure != "null";
    assert!(answers.iter().all(says), "{}", outcome.stdout);
    answers
}

fn compare(name: &str, calls: &[(&str, &str)]) {
    let shipped = answers(&cofferdam_guests::dist_bytes(name).unwrap(), calls);
    let built = answers(&cofferdam_guests::built_bytes(name).unwrap(), calls);
    assert_eq!(shipped, built, "`{name}` is not what its sources say: run `cargo run -p cofferdam-guests -- dist`");
}

/// The components whose tools are called.
const TOOLS: [&str; 4] = ["csv", "fetch", "secrets-scan", "text"];

#[test]
fn every_shipped_tool_answers_as_its_sources_do() {
    let sum = "{ path: a.csv, aggregates: [{ op: sum, column: size }] }";
    compare("csv", &[("read", "{ path: a.csv, sort: [-size], format: markdown }"), ("aggregate", sum)]);
    compare(
        "fetch",
        &[("get", "{ url: 'http://127.0.0.1:9/' }"), ("get", "{ url: 'http://h/', max_bytes: 99999999 }")],
    );
    compare("secrets-scan", &[("scan", "{ paths: [run.sh, a.md, none] }"), ("scan", "{ max_file_bytes: 99999999 }")]);
    compare("text", &[("words", "{ path: a.md }"), ("survey", "{ paths: [a.md, a.csv] }")]);
}

struct Deaf;

impl Recorder for Deaf {
    fn record(&self, _: Body) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn observe(&self, _: Body) {}
}

fn map(value: Value) -> Map {
    let Value::Object(map) = value else { panic!("{value} is no object") };
    map
}

fn moment() -> PureContext {
    PureContext {
        run_id: RunId::parse("r1").unwrap(),
        path: StepPath::from("a"),
        attempt: 1,
        now: Timestamp::from_millis(0),
        events: Arc::new(Deaf),
    }
}

fn event(seq: u64, body: Body) -> Arc<RunEvent> {
    let (run_id, path) = (RunId::parse("r1").unwrap(), StepPath::from("a"));
    Arc::new(RunEvent { seq, sub: None, at: Timestamp::from_millis(7), run_id, path, attempt: None, body })
}

fn events() -> Vec<Arc<RunEvent>> {
    let usage = Usage::default();
    let (status, output) = (RunStatus::Failed, json!("x"));
    let error = Some(Fault::step("no", "it does not want to"));
    vec![
        event(1, Body::StepReady {}),
        event(2, Body::RunFinished { status, reason: None, output, usage, cost: None, error }),
    ]
}

/// The transforms and the condition: what they make of the same items and the same view.
async fn pure(name: &str, plugin: &LoadedPlugin) -> String {
    let item = |id: &str, value| Item { id: id.into(), value };
    let rows = json!([{ "name": "a|b", "size": 3 }, { "name": "c" }]);
    let text = "Write to ada@example.com or call +49 30 901820, from 10.1.2.3. ".repeat(20);
    let items = vec![item("content", ItemValue::Text(text.into())), item("result", ItemValue::Json(Arc::new(rows)))];
    if name == "gate" {
        let view = || map(json!({ "inputs": { "kind": "a refund, please", "size": 3 } }));
        let mut said = Vec::new();
        for options in
            [json!({ "value": "inputs.size", "atMost": 2, "else": "stop" }), json!({ "value": "inputs.none" })]
        {
            said.push(format!("{:?}", plugin.decide(moment(), &map(options), view()).await));
        }
        let choice = Choice { labels: vec!["fault".into(), "refund".into()], view: view() };
        said.push(format!("{:?}", plugin.choose(moment(), &map(json!({ "value": "inputs.kind" })), choice).await));
        return said.join("\n");
    }
    let options = match name {
        "redact" => json!({ "replacement": "<{kind}>" }),
        "markdown-table" => json!({ "maxRows": 1, "keepText": true }),
        _ => json!({ "tokens": 40, "keep": "ends" }),
    };
    format!("{:?}", plugin.apply(moment(), &map(options), items).await)
}

/// The sinks: what they want, what they say to a batch, and what came of it.
async fn sink(plugin: &Arc<LoadedPlugin>) -> String {
    let sink = plugin.sink().await.unwrap();
    let acks = [
        sink.deliver(Batch { events: events(), dropped_before: 2 }).await,
        sink.flush().await.map(|()| cofferdam::core::port::Ack::All),
    ];
    format!("{:?}\n{acks:?}", cofferdam::core::port::Sink::want(&sink))
}

async fn journal(plugin: &Arc<LoadedPlugin>) -> String {
    let storage = plugin.storage().await.unwrap();
    let run = RunId::parse("r1").unwrap();
    let records = events().into_iter().map(|event| Record { at: event.at, body: RecordBody::Event(event) }).collect();
    let index = RunIndex { workflow: "w".into(), status: "failed".into(), started_at: Timestamp::from_millis(1) };
    let append =
        Append { run: run.clone(), expected_head: 0, records, index: Some(index), durability: Durability::Durable };
    let blob = BlobId::of(b"blob");
    let said = (
        storage.append(append.clone()).await,
        storage.append(append).await,
        storage.read(&run, 0, 10).await,
        storage.list(RunFilter::default()).await,
        storage.put_blob(blob.clone(), Arc::from(&b"blob"[..])).await,
        storage.get_blob(&blob).await,
        storage.delete(&RunId::parse("none").unwrap()).await,
    );
    format!("{said:?}")
}

async fn recall(plugin: &Arc<LoadedPlugin>) -> String {
    let recall = plugin.recall().await.unwrap();
    let memo = |id: &str, text: &str| Memo { id: id.into(), text: text.into(), meta: map(json!({ "n": id })) };
    let kept = recall.upsert("s", vec![memo("a", "the red door"), memo("b", "a blue door, a red roof")]).await;
    let search = Search { query: "red door".into(), limit: 5, filter: Map::new() };
    let said = (kept, recall.search("s", search).await, recall.forget("s", vec!["a".into(), "c".into()]).await);
    format!("{said:?}")
}

async fn model(plugin: &Arc<LoadedPlugin>) -> String {
    let request = ModelRequest {
        run_id: RunId::parse("r1").unwrap(),
        path: StepPath::from("a"),
        attempt: 1,
        turn: 1,
        messages: Arc::new(vec![Message::system("Be brief."), Message::user("Hi")]),
        tools: Arc::new([]),
        tool_choice: ToolChoice::Auto,
        result: None,
        settings: ModelSettings { temperature: Some(0.5), ..ModelSettings::default() },
        max_retries: 0,
        asker: None,
    };
    let said: Vec<_> = plugin.model("m").unwrap().stream(request).await.unwrap().collect().await;
    format!("{said:?}")
}

/// Every file below a folder, with what is in it; of commits only how much, since each has an id that chance gave.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        match path.is_dir() {
            true => found.extend(files(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes))),
            false => found.push((name, std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    for (name, bytes) in &mut found {
        if name.starts_with("runs/") {
            *bytes = bytes.len().to_string().into_bytes();
        }
    }
    found
}

/// What a component says of itself, what it answers, and what it did to a folder and a server.
async fn behaviour(name: &str, component: Vec<u8>, provider: &Provider) -> String {
    let folder = tempfile::tempdir().unwrap();
    let url = provider.url();
    let port: u16 = url.trim_end_matches("/v1").rsplit(':').next().unwrap().parse().unwrap();
    let mount = |at: &str| json!({ "from": folder.path(), "at": at, "read": true, "write": true });
    let http =
        json!({ "host": "127.0.0.1", "port": port, "scheme": "http", "methods": ["POST"], "cidrs": ["127.0.0.0/8"] });
    let (config, grants) = match name {
        "webhook" | "slack" => (json!({ "url": url }), json!({ "http": [http] })),
        "openai-shaped" => (json!({ "base_url": url }), json!({ "http": [http] })),
        "ndjson-file" => (json!({}), json!({ "fs": { "also": [mount("/sink")] } })),
        "dir-journal" => (Value::Null, json!({ "fs": { "also": [mount("/journal")] } })),
        "keyword-recall" => (Value::Null, json!({ "kv": { "scope": "project" } })),
        _ => (Value::Null, json!({})),
    };
    let host = PluginHost::new(HostSettings {
        network: Some(Network {
            egress: cofferdam_egress::Egress::new(),
            secrets: Arc::new(cofferdam_egress::NoSecrets),
        }),
        state: Some(Arc::new(MemoryState::new()) as Arc<dyn State>),
        ..HostSettings::alone(Arc::new(TokioClock::new()))
    });
    let source = Source::Bytes(component.into());
    let reference = PluginReference::new(Alias::parse(name).unwrap(), source);
    let reference = PluginReference { config, granted: Grants::parse(&grants).unwrap(), ..reference };
    let plugin = host.load(reference).await.unwrap();
    let before = provider.requests().len();
    let said = match name {
        "gate" | "redact" | "markdown-table" | "truncate-tokens" => pure(name, &plugin).await,
        "webhook" | "slack" | "ndjson-file" => sink(&plugin).await,
        "dir-journal" => journal(&plugin).await,
        "keyword-recall" => recall(&plugin).await,
        "openai-shaped" => model(&plugin).await,
        other => panic!("nobody compares `{other}`"),
    };
    // The server keeps a request after it has answered it.
    let asks = matches!(name, "webhook" | "slack" | "openai-shaped");
    let kept = async {
        while asks && provider.requests().len() == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), kept).await.unwrap();
    let sent: Vec<String> = provider.requests().split_off(before);
    let seen = format!("{:?}\n{said}\n{sent:?}\n{:?}", plugin.about(), files(folder.path()));
    // The digest of the component stands in its failures.
    let digest = plugin.digest().to_string();
    seen.replace(&digest, "").replace(&digest[7..19], "")
}

#[test]
fn every_other_shipped_plugin_does_what_its_sources_do() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let body = json!({ "choices": [{ "message": { "content": "Hello." }, "finish_reason": "stop" }] });
    let provider = Provider::start(vec![Answer::Http(200, "content-type: application/json\r\n", body.to_string())]);
    for name in cofferdam_guests::FIRST_PARTY.into_iter().filter(|name| !TOOLS.contains(name)) {
        let shipped = cofferdam_guests::dist_bytes(name).unwrap();
        let built = cofferdam_guests::built_bytes(name).unwrap();
        let shipped = runtime.block_on(behaviour(name, shipped, &provider));
        let built = runtime.block_on(behaviour(name, built, &provider));
        assert!(!shipped.contains("denied") && shipped.len() > 200, "`{name}`: {shipped}");
        assert_eq!(shipped, built, "`{name}` is not what its sources say: run `cargo run -p cofferdam-guests -- dist`");
    }
}
