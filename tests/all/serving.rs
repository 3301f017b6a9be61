//! Plugins that serve the host: the laws that their native twins keep, whole runs through them, and what becomes of those
//! that crash, lie or hang.

mod sinks;

use crate::support::{Answer, Project, Provider};
use cofferdam::core::event::{Body, RunEvent};
use cofferdam::core::id::{Alias, RunId, StepPath};
use cofferdam::core::message::Message;
use cofferdam::core::policy::Grants;
use cofferdam::core::port::{
    Ack, Batch, Journal, JournalError, LeaseRequest, Model as _, ModelEvent, ModelRequest, ModelSettings, Owner,
    Recall, Redactor, Sink, State, ToolChoice,
};
use cofferdam::core::time::Timestamp;
use cofferdam::plugin::{CacheDirs, HostSettings, LoadedPlugin, Network, PluginHost, PluginReference, Source};
use cofferdam::store::{MemoryState, contract};
use cofferdam::{Orchestrator, RunOptions, ServicePlugin, Workflow};
use cofferdam_engine::TokioClock;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn host() -> PluginHost {
    host_with(None)
}

/// A host that compiles each component once, as it does for a user.
fn host_with(cache: Option<CacheDirs>) -> PluginHost {
    PluginHost::new(HostSettings {
        cache,
        network: Some(Network {
            egress: cofferdam_egress::Egress::new(),
            secrets: Arc::new(cofferdam_egress::NoSecrets),
        }),
        state: Some(Arc::new(MemoryState::new()) as Arc<dyn State>),
        ..HostSettings::alone(Arc::new(TokioClock::new()))
    })
}

fn reference(alias: &str, component: Vec<u8>, grants: &Value) -> PluginReference {
    PluginReference {
        granted: Grants::parse(grants).unwrap(),
        ..PluginReference::new(Alias::parse(alias).unwrap(), Source::Bytes(Arc::from(component)))
    }
}

fn load(runtime: &Runtime, host: &PluginHost, reference: PluginReference) -> Arc<LoadedPlugin> {
    runtime.block_on(host.load(reference)).unwrap()
}

fn in_directory(directory: &Path) -> PluginReference {
    journal_in(directory, "dir-journal")
}

fn journal_in(directory: &Path, guest: &str) -> PluginReference {
    let mount = json!({ "from": directory, "at": "/journal", "read": true, "write": true });
    let component = cofferdam_guests::built_bytes(guest).unwrap();
    reference("journal", component, &json!({ "fs": { "also": [mount] } }))
}

/// Waits on the runtime from inside of it.
fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(work))
}

#[test]
fn a_journal_in_a_directory_keeps_the_laws_of_journals() {
    let (runtime, host, folder) = (runtime(), host(), tempfile::tempdir().unwrap());
    let count = std::sync::atomic::AtomicUsize::new(0);
    let make = || {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let directory = folder.path().join(number.to_string());
        std::fs::create_dir(&directory).unwrap();
        let plugin = wait(host.load(in_directory(&directory))).unwrap();
        Arc::new(wait(plugin.storage()).unwrap()) as Arc<dyn Journal>
    };
    runtime.block_on(contract::journal(make)).unwrap();
}

/// One crash a law, at each change of the disk that the first commit of a run makes, torn writes among them.
#[test]
fn a_journal_in_a_directory_keeps_its_laws_when_it_crashes_at_any_write() {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let dirs = |name: &str| folder.path().join(name);
    let host = host_with(Some(CacheDirs { code: dirs("code"), state: dirs("state") }));
    let count = std::sync::atomic::AtomicUsize::new(0);
    for change in 0..9_usize {
        let crashed = std::sync::Mutex::new(Vec::new());
        let make = || {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let directory = folder.path().join(number.to_string());
            std::fs::create_dir(&directory).unwrap();
            std::fs::write(directory.join("crash"), change.to_string()).unwrap();
            crashed.lock().unwrap().push(directory.join("crash"));
            let plugin = wait(host.load(journal_in(&directory, "frail-journal"))).unwrap();
            Arc::new(wait(plugin.storage()).unwrap()) as Arc<dyn Journal>
        };
        // Whoever dies after it has written a commit leaves word that its blobs are wanted: they are kept for longer than
        // anybody needs them.
        let kept_longer = |broken: &String| change >= 6 && broken.contains("the blob of the deleted run");
        match runtime.block_on(contract::journal(make)) {
            Err(broken) if !kept_longer(&broken) => panic!("crash at {change}: {broken}"),
            _ => {}
        }
        let crashed = crashed.into_inner().unwrap().iter().filter(|order| !order.exists()).count();
        assert!(crashed > 5, "it crashed in {crashed} laws at change {change}");
    }
}

#[test]
fn of_two_programs_over_one_directory_one_gets_a_lease() {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let hosts = [host(), host()];
    let open = |host| Arc::new(runtime.block_on(load(&runtime, host, in_directory(folder.path())).storage()).unwrap());
    let journals = hosts.iter().map(open).collect::<Vec<_>>();
    let ask = |pid: u32, now: i64| LeaseRequest {
        run: RunId::parse("r").unwrap(),
        owner: Owner { host: "h".into(), boot_id: "b".into(), pid, process_started: 1 },
        epoch: 0,
        now: Timestamp::from_millis(now),
        hold: Duration::from_millis(10),
        owner_is_gone: false,
    };
    for round in 0..5_u32 {
        let asking = (0..8).map(|number| {
            let journal = Arc::clone(&journals[number as usize % 2]);
            runtime.spawn(async move { journal.lease(ask(round * 8 + number, i64::from(round) * 100)).await })
        });
        let asking: Vec<_> = asking.collect();
        let answers: Vec<_> = asking.into_iter().map(|asked| runtime.block_on(asked).unwrap()).collect();
        let holder = answers.iter().find_map(|answer| answer.as_ref().ok()).unwrap();
        for answer in &answers {
            match answer {
                Ok(lease) => assert_eq!(lease, holder, "two hold it: {answers:?}"),
                Err(JournalError::Held(lease)) => assert_eq!(&**lease, holder),
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(holder.epoch, u64::from(round) + 1);
    }
}

#[test]
fn a_recall_by_keywords_keeps_the_laws_of_recalls() {
    let (runtime, count) = (runtime(), std::sync::atomic::AtomicUsize::new(0));
    let host = host();
    let component = cofferdam_guests::built_bytes("keyword-recall").unwrap();
    let make = || {
        // Another alias has values of its own.
        let alias = format!("recall{}", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let grants = json!({ "kv": { "scope": "project" } });
        let plugin = wait(host.load(reference(&alias, component.clone(), &grants))).unwrap();
        Arc::new(wait(plugin.recall()).unwrap()) as Arc<dyn Recall>
    };
    runtime.block_on(contract::recall(make)).unwrap();
}

const THREE: &str = "
name: three
steps:
  - { id: a, tool: write, args: { path: \"out:a.txt\", content: a } }
  - { id: b, tool: write, args: { path: \"out:b.txt\", content: b }, dependsOn: [a] }
  - { id: c, tool: glob, args: { pattern: \"*\" }, dependsOn: [b] }
";

const JOURNAL: &str = "
[run]
storage = \"plugin:journal\"
[plugins.journal]
source = \"builtin:dir-journal\"
grants = { fs = { also = [{ from = \"kept\", at = \"/journal\", read = true, write = true }] } }
";

#[test]
fn runs_are_kept_in_a_directory_and_found_there_again() {
    let project = Project::with_plugins();
    project.file("three.yaml", THREE).file("cofferdam.toml", JOURNAL).file("kept/.keep", "");
    let outcome = project.run(&["run", "three.yaml", "--json"]).expect(0);
    let events = outcome.json_lines();
    let run = events[0]["run_id"].as_str().unwrap().to_owned();
    assert!(project.path("kept/FORMAT").is_file() && !project.path(".cofferdam/runs.db").exists());
    let listed = project.run(&["runs", "list", "--json"]).expect(0).json_lines();
    assert_eq!((listed.len(), &listed[0]["run_id"], &listed[0]["status"]), (1, &json!(run), &json!("completed")));
    let kept = project.run(&["runs", "show", &run, "--json"]).expect(0).json_lines();
    let durable: Vec<&Value> = events.iter().filter(|event| event.get("sub").is_none()).collect();
    assert_eq!(kept.iter().collect::<Vec<_>>(), durable);
    // The flag beats the file.
    let elsewhere = project.run(&["runs", "list", "--json", "--storage", "sqlite"]).expect(0);
    assert_eq!(elsewhere.stdout, "");
    // Damage is named, not skipped.
    let first = std::fs::read_dir(project.path("kept/runs")).unwrap().next().unwrap().unwrap().path();
    let commit = first.join("00000000000000000001");
    let mut bytes = std::fs::read(&commit).unwrap();
    let last = bytes.len() - 9;
    bytes[last] ^= 1;
    std::fs::write(&commit, bytes).unwrap();
    project.run(&["runs", "show", &run]).expect(1).says(&["record 1", "is damaged"]);
}

#[test]
fn storage_without_a_grant_says_what_would_allow_it() {
    let project = Project::with_plugins();
    project.file("three.yaml", THREE);
    let outcome = project.run(&["run", "three.yaml", "--storage", "plugin:builtin:dir-journal"]).expect(2);
    outcome.says(&["plugin `dir-journal`", "at: /journal"]);
    project
        .run(&["run", "three.yaml", "--storage", "plugin:jurnal"])
        .expect(3)
        .says(&["has no plugin `jurnal` with a source", "[plugins.jurnal]"]);
    project.run(&["run", "three.yaml", "--storage", "sqlitee"]).expect(3).says(&["names no plugin"]);
    project
        .run(&["run", "three.yaml", "--storage", "plugin:builtin:text"])
        .expect(2)
        .says(&["plugin `text` is no storage; it is: tool"]);
    project.file("kept/.keep", "");
    let grant = "dir-journal:fs=also=kept:/journal:read+write";
    let outcome = project.run(&["run", "three.yaml", "--storage", "plugin:builtin:dir-journal", "--grant", grant]);
    assert!(!outcome.expect(0).stderr.contains("does not have"), "the grant is for the storage");
    assert!(project.path("kept/FORMAT").is_file());
    let listed = ["runs", "list", "--json", "--storage", "plugin:builtin:dir-journal", "--grant", grant];
    assert_eq!(project.run(&listed).expect(0).json_lines().len(), 1);
}

#[test]
fn a_document_that_takes_the_name_of_a_service_gets_nothing_from_it() {
    let project = Project::with_plugins();
    let document = "
name: taken
plugins: { lines: { source: builtin:text, grants: { fs: { read: true } } } }
steps: [{ id: count, tool: lines.words, args: { path: notes.md } }]
";
    project.file("taken.yaml", document).file("notes.md", "one two");
    let grants = "[plugins.lines.grants]\nfs = { read = true }\n";
    project.file("cofferdam.toml", format!("[plugins.lines]\nsource = \"builtin:ndjson-file\"\n{grants}"));
    let events = project.run(&["run", "taken.yaml", "--json"]).expect(1).json_lines();
    let denied: Vec<&Value> = events.iter().filter(|event| event["kind"] == "plugin_denied").collect();
    assert_eq!((denied.len(), &denied[0]["plugin"], &denied[0]["request"]), (1, &json!("lines"), &json!("fs")));
    // Nothing that is written under this name reaches it, so nothing of that kind is advised.
    let allow = denied[0]["allow"].as_str().unwrap();
    assert!(allow.contains("give this plugin another name") && !allow.contains("[plugins.lines.grants]"), "{allow}");
    // Without a source the table is about plugins of documents.
    project.file("cofferdam.toml", grants);
    project.run(&["run", "taken.yaml"]).expect(0);
}

#[test]
fn services_are_pinned_where_only_what_was_decided_may_run() {
    let project = Project::with_plugins();
    let component = cofferdam_guests::built_bytes("ndjson-file").unwrap();
    let digest = cofferdam::core::digest::sha256_hex(&component);
    project.file("three.yaml", THREE).file("lines.wasm", component).file("log/.keep", "");
    let settings = |more: &str| {
        format!(
            "[run]\nsinks = [\"plugin:lines\"]\n[plugins.lines]\nsource = \"./lines.wasm\"\n{more}\nconfig = {{ path = \"all.ndjson\" }}\ngrants = {{ fs = {{ also = [{{ from = \"log\", at = \"/sink\", read = true, write = true }}] }} }}\n"
        )
    };
    project.file("cofferdam.toml", settings(""));
    for flag in ["--locked", "--strict"] {
        let outcome = project.run(&["run", "three.yaml", flag]).expect(2);
        outcome.says(&["plugin `lines`", "is not pinned", "digest = \"sha256:...\"", "[plugins.lines]", "plugin lock"]);
    }
    let run = ["run", "three.yaml", "--locked", "--strict", "--allow", "write", "--allow", "glob"];
    project.file("cofferdam.toml", settings(&format!("digest = \"sha256:{digest}\"")));
    project.run(&run).expect(0);
    project.file("cofferdam.toml", JOURNAL).file("kept/.keep", "");
    project.run(&run).expect(0);
}

#[test]
fn events_go_to_a_file_a_line_each() {
    let project = Project::with_plugins();
    project.file("three.yaml", THREE).file("log/.keep", "").file(
        "cofferdam.toml",
        "[run]\nsinks = [\"plugin:lines\"]\n[plugins.lines]\nsource = \"builtin:ndjson-file\"\nconfig = { path = \"runs/all.ndjson\", kinds = [\"step_finished\", \"run_*\"] }\ngrants = { fs = { also = [{ from = \"log\", at = \"/sink\", read = true, write = true }] } }\n",
    );
    let events = project.run(&["run", "three.yaml", "--json"]).expect(0).json_lines();
    let wanted = |event: &&Value| {
        event["kind"] == "step_finished" || event["kind"].as_str().is_some_and(|kind| kind.starts_with("run_"))
    };
    let lines = project.read("log/runs/all.ndjson");
    let written: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(written.iter().collect::<Vec<_>>(), events.iter().filter(wanted).collect::<Vec<_>>());
}

#[test]
fn events_are_posted_and_what_is_never_taken_is_put_aside() {
    let project = Project::with_plugins();
    let refusing = Provider::start(vec![Answer::Http(422, "", String::new())]);
    let url = refusing.url();
    let port = url.trim_end_matches("/v1").rsplit(':').next().unwrap();
    project.file("three.yaml", THREE).file(
        "cofferdam.toml",
        format!("[run]\nsinks = [\"plugin:hook\"]\n[plugins.hook]\nsource = \"builtin:webhook\"\nconfig = {{ url = \"{url}\", kinds = [\"run_finished\"] }}\n[plugins.hook.grants]\nhttp = [{{ host = \"127.0.0.1\", port = {port}, scheme = \"http\", methods = [\"POST\"], cidrs = [\"127.0.0.0/8\"] }}]\n"),
    );
    let outcome = project.run(&["run", "three.yaml"]).expect(0);
    assert_eq!(refusing.requests().len(), 1, "{}", outcome.stderr);
    assert!(refusing.requests()[0].contains("idempotency-key"), "{:?}", refusing.requests());
    outcome.says(&["dead letter"]);
}

fn event(seq: u64) -> Arc<RunEvent> {
    Arc::new(RunEvent {
        seq,
        sub: None,
        at: Timestamp::from_millis(i64::try_from(seq).unwrap()),
        run_id: RunId::parse("r").unwrap(),
        path: StepPath::from("a"),
        attempt: None,
        body: Body::StepReady {},
    })
}

fn batch(count: u64) -> Batch {
    Batch { events: (1..=count).map(event).collect(), dropped_before: 0 }
}

#[test]
fn a_model_of_a_plugin_answers_a_conversation() {
    let (runtime, host) = (runtime(), host());
    let body = json!({
        "choices": [{ "message": { "content": "Hello." }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 3, "completion_tokens": 1 },
    });
    let provider = Provider::start(vec![
        Answer::Http(200, "content-type: application/json\r\n", body.to_string()),
        Answer::Http(200, "content-type: application/json\r\n", "{\"choices\":[]}".to_owned()),
    ]);
    let url = provider.url();
    let port: u16 = url.trim_end_matches("/v1").rsplit(':').next().unwrap().parse().unwrap();
    let grant =
        json!({ "host": "127.0.0.1", "port": port, "scheme": "http", "methods": ["POST"], "cidrs": ["127.0.0.0/8"] });
    let component = cofferdam_guests::built_bytes("openai-shaped").unwrap();
    let config = json!({ "base_url": url });
    let reference = PluginReference { config, ..reference("chat", component, &json!({ "http": [grant] })) };
    let plugin = load(&runtime, &host, reference);
    let model = plugin.model("m-1").unwrap();
    assert_eq!(&*model.info().name, "plugin:chat/m-1");
    let request = || ModelRequest {
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
    let ask = || async { model.stream(request()).await.unwrap().collect::<Vec<_>>().await };
    let said = runtime.block_on(ask());
    assert_eq!(said[0], Ok(ModelEvent::Text("Hello.".into())));
    assert!(matches!(said.last(), Some(Ok(ModelEvent::Finished(_)))), "{said:?}");
    assert!(provider.requests()[0].contains("\"model\":\"m-1\""), "{:?}", provider.requests());
    let cut = runtime.block_on(ask());
    assert!(matches!(&cut[..], [Err(fault)] if fault.message.contains("has no end")), "{cut:?}");
}

#[test]
fn what_does_not_close_in_time_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fickle.wasm"), cofferdam_guests::built_bytes("fickle").unwrap()).unwrap();
    let sink = |alias: &str, act: &str| {
        let Value::Object(config) = json!({ "do": act }) else { unreachable!() };
        let limits = cofferdam::core::policy::PluginLimits::parse(&json!({ "wall": "3s" })).unwrap();
        let plugin = ServicePlugin::new(Alias::parse(alias).unwrap(), "./fickle.wasm", folder.path());
        ServicePlugin { config, limits, ..plugin }
    };
    let builder = Orchestrator::builder().sink_plugin(sink("stays", "stay")).sink_plugin(sink("goes", "take"));
    let orchestrator = builder.build().unwrap();
    let workflow = Workflow::parse(THREE, ".").unwrap();
    runtime().block_on(async {
        let result = orchestrator.run_flow(&workflow, RunOptions::default()).await.unwrap();
        assert!(result.warnings.is_empty(), "{:?}", result.warnings);
        let report = orchestrator.close_within(Duration::from_millis(300)).await;
        assert_eq!((report.still_running, report.unclosed), (Vec::new(), vec!["sink `stays`".to_owned()]));
    });
}

#[test]
fn views_and_sinks_behind_the_wall_keep_the_laws_of_sinks() {
    let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
    let dirs = |name: &str| folder.path().join(name);
    let host = host_with(Some(CacheDirs { code: dirs("code"), state: dirs("state") }));
    let fickle = |act: &str| {
        let component = cofferdam_guests::built_bytes("fickle").unwrap();
        let config = json!({ "do": act });
        let plugin = wait(host.load(PluginReference { config, ..reference("fickle", component, &json!({})) })).unwrap();
        Arc::new(wait(plugin.sink()).unwrap()) as Arc<dyn Sink>
    };
    type Make<'m> = &'m dyn Fn() -> Arc<dyn Sink>;
    let sinks: [(&str, Make<'_>); 6] = [
        ("ndjson", &|| Arc::new(cofferdam::sink::ndjson(std::io::sink()))),
        ("human", &|| Arc::new(cofferdam::sink::human(std::io::sink()))),
        ("zenflow", &|| Arc::new(cofferdam::sink::zenflow(std::io::sink()))),
        ("a component", &|| fickle("take")),
        ("a component that takes one at a time", &|| fickle("one")),
        ("a component that refuses some", &|| fickle("odd")),
    ];
    for (name, make) in sinks {
        runtime.block_on(cofferdam::contract::sink(make)).unwrap_or_else(|broken| panic!("{name}: {broken}"));
    }
}
