//! Durable sinks: what one missed, since it was down or the host was killed, comes later, once and in order; what it
//! refused for good is kept until somebody sends or drops it.

use crate::support::{Answer, Outcome, Project, Provider};
use cofferdam::core::event::RunEvent;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::Alias;
use cofferdam::core::limits::SINK_QUEUE_EVENTS;
use cofferdam::core::policy::Grants;
use cofferdam::core::port::{Ack, Batch, BoxFuture, Pressure, Want};
use cofferdam::llm::Scripted;
use cofferdam::{Orchestrator, RunOptions, ServicePlugin, Sink, Workflow};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, mpsc};

const TWO: &str = "
name: two
steps:
  - { id: a, tool: write, args: { path: \"out:a.txt\", content: a } }
  - { id: b, tool: glob, args: { pattern: \"*\" }, dependsOn: [a] }
";

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/v1";

fn taking() -> Provider {
    Provider::start(vec![Answer::Http(200, "", String::new())])
}

/// Settings of a webhook, beside lines in a file.
fn settings(url: &str, kinds: &str) -> String {
    let port = url.trim_end_matches("/v1").rsplit(':').next().unwrap();
    format!(
        "[run]\nsinks = [\"plugin:hook\", \"plugin:lines\"]\n[plugins.hook]\nsource = \"builtin:webhook\"\nconfig = {{ url = \"{url}\", kinds = {kinds} }}\n[plugins.hook.grants]\nhttp = [{{ host = \"127.0.0.1\", port = {port}, scheme = \"http\", methods = [\"POST\"], cidrs = [\"127.0.0.0/8\"] }}]\n[plugins.lines]\nsource = \"builtin:ndjson-file\"\ngrants = {{ fs = {{ also = [{{ from = \"log\", at = \"/sink\", read = true, write = true }}] }} }}\n"
    )
}

fn project(url: &str) -> Project {
    let project = Project::with_plugins();
    project.file("two.yaml", TWO).file("log/.keep", "").file("cofferdam.toml", settings(url, "[]"));
    project
}

/// The events that arrived, in order.
fn arrived(provider: &Provider) -> Vec<Value> {
    // Of a request whose sender was killed a part may be there.
    let body = |request: &String| {
        let (_, body) = request.split_once("\r\n\r\n")?;
        let body: Value = serde_json::from_str(body).ok()?;
        Some(body["events"].as_array().unwrap().clone())
    };
    provider.requests().iter().filter_map(body).flatten().collect()
}

/// The events of a run, as the sink in the file has them.
fn lines(project: &Project, run: &Value) -> Vec<Value> {
    let text = project.read("log/events.ndjson");
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["run_id"] == *run).collect()
}

fn of_run(events: &[Value], run: &Value) -> Vec<Value> {
    events.iter().filter(|event| event["run_id"] == *run).cloned().collect()
}

fn run_of(outcome: &Outcome) -> Value {
    outcome.json_lines()[0]["run_id"].clone()
}

#[test]
fn what_a_sink_missed_comes_with_the_next_run() {
    let project = project(NOWHERE);
    let first = project.run(&["run", "two.yaml", "--json"]).expect(0);
    let first = first.says(&["sink `hook` (", "events of this run", "cofferdam sinks deliver"]);
    let first = run_of(&first);
    let listed = project.run(&["sinks", "list", "--json"]).expect(0).json_lines();
    assert_eq!((&listed[0]["sink"], &listed[0]["runs"][0]["run_id"]), (&json!("hook"), &first));
    assert_eq!((&listed[1]["sink"], &listed[1]["runs"]), (&json!("lines"), &json!([])));
    let provider = taking();
    project.file("cofferdam.toml", settings(&provider.url(), "[]"));
    let second = project.run(&["run", "two.yaml", "--json"]).expect(0);
    assert!(!second.stderr.contains("sink `"), "{}", second.stderr);
    let (second, events) = (run_of(&second), arrived(&provider));
    for run in [&first, &second] {
        assert_eq!(of_run(&events, run), lines(&project, run), "once and in order");
    }
    let listed = project.run(&["sinks", "list", "--json"]).expect(0).json_lines();
    assert_eq!(listed[0]["runs"], json!([]));
    // A third run has nothing to catch up on.
    let before = arrived(&provider).len();
    let third = run_of(&project.run(&["run", "two.yaml", "--json"]).expect(0));
    assert_eq!(arrived(&provider)[before..], of_run(&arrived(&provider), &third));
}

#[test]
fn what_a_sink_missed_is_delivered_by_a_command() {
    let project = project(NOWHERE);
    let run = run_of(&project.run(&["run", "two.yaml", "--json"]).expect(0));
    project
        .run(&["sinks", "deliver"])
        .expect(1)
        .says(&["sink `hook`: 0 events were delivered; an earlier run is left"]);
    let provider = taking();
    project.file("cofferdam.toml", settings(&provider.url(), "[\"step_finished\", \"run_*\"]"));
    let delivered = project.run(&["sinks", "deliver", "hook", "--json"]).expect(0).json_lines();
    let wanted =
        |event: &&Value| ["step_finished", "run_started", "run_finished"].contains(&event["kind"].as_str().unwrap());
    let wanted: Vec<Value> = lines(&project, &run).iter().filter(wanted).cloned().collect();
    assert_eq!((&delivered[0]["delivered"], &delivered[0]["left"]), (&json!(wanted.len()), &json!(0)));
    assert_eq!(arrived(&provider), wanted);
    project.run(&["sinks", "deliver"]).expect(0).says(&["sink `hook`: 0 events were delivered"]);
    project.run(&["sinks", "deliver", "hok"]).expect(3).says(&["no sink is called `hok`", "did you mean `hook`?"]);
}

#[test]
fn what_a_sink_missed_may_be_given_up() {
    let project = project(NOWHERE);
    let run = run_of(&project.run(&["run", "two.yaml", "--json"]).expect(0));
    project.run(&["sinks", "drop", "hook", run.as_str().unwrap()]).expect(0).says(&["dropped"]);
    project.run(&["sinks", "drop", "hook", run.as_str().unwrap()]).expect(3).says(&["left nothing behind"]);
    let runs = [(); 2].map(|()| run_of(&project.run(&["run", "two.yaml", "--json"]).expect(0)));
    let dropped = project.run(&["sinks", "drop", "hook", "--all", "--json"]).expect(0).json_lines();
    assert_eq!(dropped.iter().map(|line| line["dropped"].clone()).collect::<Vec<_>>(), runs);
    project.run(&["sinks", "deliver"]).expect(0);
}

#[test]
fn a_run_whose_host_was_killed_is_delivered_as_far_as_it_came() {
    let project = project(NOWHERE);
    project
        .file("slow.yaml", "name: slow\nsteps: [{ id: hi, instructions: Say hello. }]\n")
        .file("model.yaml", "default: { delay: 1h, text: too late }\n");
    let running = project.start(&["run", "slow.yaml", "--model", "scripted/model.yaml"]);
    running.until("started");
    // While it lives, nobody takes its events on.
    project.run(&["sinks", "deliver", "hook"]).expect(0).says(&["0 events"]);
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, None);
    let killed = project.run(&["runs", "show", "last", "--json"]).expect(0).json_lines();
    let provider = taking();
    project.file("cofferdam.toml", settings(&provider.url(), "[]"));
    project.run(&["run", "two.yaml"]).expect(0);
    let events = of_run(&arrived(&provider), &killed[0]["run_id"]);
    assert!(killed.len() > 1 && events == killed, "{events:?}");
}

/// The events of a run by their positions, each once: what comes twice is the same.
fn once(events: Vec<Value>) -> Vec<Value> {
    let mut by_seq = std::collections::BTreeMap::new();
    for event in events {
        let seq = event["seq"].as_u64().unwrap();
        let known = by_seq.insert(seq, event.clone());
        assert!(known.is_none_or(|known| known == event), "{event}");
    }
    by_seq.into_values().collect()
}

#[test]
fn a_run_that_is_killed_and_goes_on_reaches_every_sink_whole() {
    for down in [true, false] {
        let provider = taking();
        let project = project(&if down { NOWHERE.to_owned() } else { provider.url() });
        project
            .file("slow.yaml", "name: slow\nsteps: [{ id: hi, instructions: Say hello. }]\n")
            .file("model.yaml", "default: { delay: 1h, text: too late }\n");
        let running = project.start(&["run", "slow.yaml", "--model", "scripted/model.yaml"]);
        running.until("started");
        running.signal(Signal::KILL);
        assert_eq!(running.wait().code, None);
        project
            .file("cofferdam.toml", settings(&provider.url(), "[]"))
            .file("model.yaml", "default: { text: hello }\n");
        project.run(&["resume", "last"]).expect(0);
        // A lock of the file that the kill left behind keeps that sink waiting for seconds: then the rest comes later.
        let is_done = |_: &u32| project.run(&["sinks", "deliver"]).code == Some(0);
        assert!((0..20).find(is_done).is_some(), "the sinks never take the rest");
        let recorded = project.run(&["runs", "show", "last", "--json"]).expect(0).json_lines();
        assert!(recorded.iter().any(|event| event["kind"] == "run_resumed"));
        let run = &recorded[0]["run_id"];
        assert_eq!(once(of_run(&arrived(&provider), run)), recorded, "the hook, down: {down}");
        assert_eq!(once(lines(&project, run)), recorded, "the file");
        let listed = project.run(&["sinks", "list", "--json"]).expect(0).json_lines();
        assert_eq!((&listed[0]["runs"], &listed[1]["runs"]), (&json!([]), &json!([])));
    }
}

#[test]
fn a_sink_that_is_back_before_the_end_lacks_nothing() {
    let busy = || Answer::Http(503, "", String::new());
    // As often as a batch is offered.
    let answers = (0..7).map(|_| busy()).chain([Answer::Http(200, "", String::new())]).collect();
    let provider = Provider::start(answers);
    let project = project(&provider.url());
    let outcome = project.run(&["run", "two.yaml", "--json"]).expect(0);
    assert!(!outcome.stderr.contains("sink `"), "{}", outcome.stderr);
    let run = run_of(&outcome);
    let refused = 7;
    let body = |request: &String| request.split_once("\r\n\r\n").unwrap().1.to_owned();
    let taken: Vec<Value> = provider.requests()[refused..]
        .iter()
        .flat_map(|request| {
            serde_json::from_str::<Value>(&body(request)).unwrap()["events"].as_array().unwrap().clone()
        })
        .collect();
    assert_eq!(taken, lines(&project, &run));
}

#[test]
fn what_comes_later_hides_what_would_have_been_hidden() {
    let project = project(NOWHERE);
    let document = "
name: secretive
steps:
  - { id: quiet, sensitive: true, tool: read, args: { path: notes.txt } }
  - { id: loud, tool: write, args: { path: \"out:x\", content: \"{{ steps.quiet.content }}\" }, dependsOn: [quiet] }
";
    project.file("secretive.yaml", document).file("notes.txt", "the word is tulips-are-blue today\n");
    let run = run_of(&project.run(&["run", "secretive.yaml", "--json", "--allow", "*"]).expect(0));
    let provider = taking();
    project.file("cofferdam.toml", settings(&provider.url(), "[]"));
    project.run(&["sinks", "deliver"]).expect(0);
    let events = arrived(&provider);
    assert_eq!(events, lines(&project, &run), "as it would have come live");
    let text = Value::from(events).to_string();
    assert!(text.contains("redacted") && !text.contains("word is tulips"), "{text}");
}

#[test]
fn dead_letters_are_shown_sent_again_and_dropped() {
    let refusing = Provider::start(vec![Answer::Http(422, "", String::new())]);
    let project = project(&refusing.url());
    let outcome = project.run(&["run", "two.yaml", "--json"]).expect(0);
    let outcome = outcome.says(&["sink `hook` (", "dead letters"]);
    let sent = lines(&project, &run_of(&outcome));
    let letters = project.run(&["sinks", "dead-letters", "hook", "--json"]).expect(0).json_lines();
    assert_eq!(letters.iter().map(|letter| letter["event"].clone()).collect::<Vec<_>>(), sent);
    assert_eq!(letters[0]["reason"], "status 422");
    let shown = project.run(&["sinks", "dead-letters", "hook"]).expect(0);
    assert!(shown.stdout.contains("run_started") && shown.stdout.contains("status 422"), "{}", shown.stdout);
    // Refused again, they stay.
    let first = letters[0]["key"].as_str().unwrap();
    project
        .run(&["sinks", "resend", "hook", first])
        .expect(1)
        .says(&["0 events were delivered", "dead letters are left"]);
    let provider = taking();
    project.file("cofferdam.toml", settings(&provider.url(), "[]"));
    project.run(&["sinks", "resend", "hook", first]).expect(1).says(&["1 event was delivered"]);
    let second = letters[1]["key"].as_str().unwrap();
    project.run(&["sinks", "drop", "hook", second]).expect(0);
    project.run(&["sinks", "resend", "hook", second]).expect(3).says(&["has no dead letter"]);
    project.run(&["sinks", "resend", "hook"]).expect(3);
    project.run(&["sinks", "resend", "hook", "--all"]).expect(0);
    let mut wanted = sent;
    wanted.remove(1);
    assert_eq!(arrived(&provider), wanted);
    project.run(&["sinks", "dead-letters", "hook"]).expect(0).says(&["has no dead letters"]);
    project.run(&["sinks", "drop", "hook", "--all"]).expect(0).says(&["has no dead letters"]);
}

#[test]
fn a_kind_that_there_is_not_is_told_before_the_run() {
    let project = project(NOWHERE);
    project.file("cofferdam.toml", settings(NOWHERE, "[\"run_*\", \"step_finishd\"]"));
    let outcome = project.run(&["run", "two.yaml"]).expect(2);
    outcome.says(&["sink `hook`", "`step_finishd`", "did you mean `step_finished`?"]);
}

#[test]
fn two_programs_write_whole_lines_into_one_file() {
    let project = Project::with_plugins();
    let steps: String =
        (0..20).map(|step| format!("  - {{ id: s{step}, tool: glob, args: {{ pattern: \"*\" }} }}\n")).collect();
    let lines = settings(NOWHERE, "[]").replace("\"plugin:hook\", ", "");
    project
        .file("many.yaml", format!("name: many\nsteps:\n{steps}"))
        .file("log/.keep", "")
        .file("cofferdam.toml", lines);
    let running: Vec<_> = (0..4).map(|_| project.start(&["run", "many.yaml", "--json"])).collect();
    let outcomes: Vec<Outcome> = running.into_iter().map(|running| running.wait().expect(0)).collect();
    for outcome in outcomes {
        let run = run_of(&outcome);
        let events: Vec<Value> = outcome.json_lines().into_iter().filter(|event| event.get("sub").is_none()).collect();
        assert_eq!(self::lines(&project, &run), events, "{}", outcome.stderr);
    }
}

#[test]
fn plugins_that_serve_the_host_are_locked_like_those_of_documents() {
    let project = Project::new();
    let component = cofferdam_guests::built_bytes("fickle").unwrap();
    project.file("two.yaml", TWO).file("fickle.wasm", &component).file(
        "cofferdam.toml",
        "[run]\nsinks = [\"plugin:it\"]\n[plugins.it]\nsource = \"./fickle.wasm\"\nconfig = { do = \"take\" }\n",
    );
    let run = |flags: &[&str]| project.run(&[&["run", "two.yaml", "--allow", "*"], flags].concat());
    run(&["--locked"]).expect(2).says(&["plugin `it`", "is not pinned", "cofferdam plugin lock"]);
    let locked = project.run(&["plugin", "lock"]).expect(0);
    assert!(locked.stdout.contains("it fickle.wasm sha256:"), "{}", locked.stdout);
    assert!(project.read("cofferdam.lock").contains("alias = \"it\""));
    run(&["--locked", "--strict"]).expect(0);
    project.run(&["plugin", "lock", "two.yaml"]).expect(0).says(&["is as it was"]);
    // The same with other bytes, then another one.
    project.file("fickle.wasm", [&component[..], &[0, 3, 1, b'x', 0]].concat());
    run(&[]).expect(0);
    run(&["--locked"]).expect(2).says(&["another component than the locked one"]);
    let settings = project.read("cofferdam.toml").replace("config = { do = \"take\" }\n", "");
    project.file("fickle.wasm", cofferdam_guests::built_bytes("ndjson-file").unwrap()).file("cofferdam.toml", settings);
    run(&[]).expect(2).says(&["plugin `it` is not the one that was approved", "cofferdam plugin lock"]);
    Project::new().run(&["plugin", "lock"]).expect(3).says(&["there is no plugin to approve"]);
}

#[test]
fn a_sink_is_told_when_nothing_more_comes() {
    let project = Project::new();
    project
        .file("fickle.wasm", cofferdam_guests::built_bytes("fickle").unwrap())
        .file("two.yaml", TWO)
        .file("fails.yaml", "name: fails\nsteps: [{ id: a, tool: read, args: { path: nowhere.txt } }]\n")
        .file("slow.yaml", "name: slow\nsteps: [{ id: hi, instructions: Say hello. }]\n")
        .file("model.yaml", "default: { delay: 1h, text: too late }\n")
        .file(
            "cofferdam.toml",
            "[run]\nsinks = [\"plugin:it\"]\n[plugins.it]\nsource = \"./fickle.wasm\"\nconfig = { do = \"take\" }\n",
        );
    project.run(&["run", "two.yaml", "-v"]).expect(0).says(&["it is closed"]);
    project.run(&["run", "fails.yaml", "-v"]).expect(1).says(&["it is closed"]);
    let running = project.start(&["run", "slow.yaml", "-v", "--model", "scripted/model.yaml"]);
    running.until("started");
    running.signal(Signal::INT);
    running.wait().expect(130).says(&["it is closed"]);
}

#[test]
fn a_slip_in_the_name_of_a_service_is_answered_with_what_was_meant() {
    let project = project(NOWHERE);
    for (flags, hint) in [
        (["--storage", "sqllite"], "did you mean `sqlite`?"),
        (["--storage", "dir-journal"], "did you mean `plugin:builtin:dir-journal`?"),
        (["--storage", "plugin:builtin:dir-jurnal"], "did you mean `dir-journal`?"),
        (["--sink", "plugin:builtin:webhok"], "did you mean `webhook`?"),
        (["--sink", "hook"], "did you mean `plugin:hook`?"),
    ] {
        project.run(&[&["run", "two.yaml"], &flags[..]].concat()).expect(3).says(&[hint]);
    }
}

#[test]
fn who_stops_waiting_for_a_sink_that_hangs_has_the_result() {
    let project = Project::with_plugins();
    project.file("two.yaml", TWO).file("fickle.wasm", cofferdam_guests::built_bytes("fickle").unwrap()).file(
        "cofferdam.toml",
        "[run]\nsinks = [\"plugin:hangs\"]\n[plugins.hangs]\nsource = \"./fickle.wasm\"\nconfig = { do = \"loop\" }\n",
    );
    let whole = project.run(&["run", "two.yaml", "-q"]).stdout;
    let running = project.start(&["run", "two.yaml"]);
    // The run, not its first step.
    running.until(&format!("{:<18}completed", "run"));
    running.signal(Signal::INT);
    let outcome = running.wait().says(&["stopping", "sink `hangs`", "cofferdam runs show"]);
    assert_eq!(outcome.stdout, whole, "{}", outcome.stderr);
}

/// Keeps the events of steps, and says when more have come than wait for a sink.
struct Sees(Mutex<Vec<Arc<RunEvent>>>, Mutex<mpsc::Sender<()>>);

impl Sink for Sees {
    fn want(&self) -> Want {
        Want { durable_only: true, ..Want::new(vec!["step_*".to_owned()], Pressure::Wait) }
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        let mut seen = self.0.lock().unwrap();
        seen.extend(batch.events);
        if seen.len() > SINK_QUEUE_EVENTS + 1_000 {
            let _ = self.1.lock().unwrap().send(());
        }
        Box::pin(std::future::ready(Ok(Ack::All)))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[test]
fn what_does_not_fit_the_queue_of_a_durable_sink_comes_from_the_journal() {
    let (many, wait_for_many) = mpsc::channel();
    let taking = vec![Answer::Http(200, "", String::new())];
    let provider = Provider::start_once(taking, move || wait_for_many.recv().unwrap());
    let url = provider.url();
    let port: u16 = url.trim_end_matches("/v1").rsplit(':').next().unwrap().parse().unwrap();
    let hook = ServicePlugin::new(Alias::parse("hook").unwrap(), "builtin:webhook", ".");
    let Value::Object(config) = json!({ "url": url, "kinds": ["step_*"] }) else { unreachable!() };
    let grants = json!({ "http": [{
        "host": "127.0.0.1", "port": port, "scheme": "http", "methods": ["POST"], "cidrs": ["127.0.0.0/8"],
    }] });
    let hook = ServicePlugin { config, grants: Grants::parse(&grants).unwrap(), ..hook };
    // Two events each.
    let items = Vec::from_iter(0..SINK_QUEUE_EVENTS * 2 / 3);
    let document = format!("name: w\nsteps: [{{ id: each, loop: {{ forEach: {items:?} }}, instructions: x }}]");
    let sees = Arc::new(Sees(Mutex::default(), Mutex::new(many)));
    let builder = Orchestrator::builder().model(Scripted::answering("fine")).sink_plugin(hook);
    let orchestrator = builder.sink(Arc::clone(&sees) as Arc<dyn Sink>).build().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let workflow = Workflow::parse(&document, ".").unwrap();
    let result = runtime.block_on(orchestrator.run_flow(&workflow, RunOptions::default())).unwrap();
    assert!(result.success(), "{:?}", result.error);
    // What a slow machine does not deliver before the end of the run comes behind it.
    runtime.block_on(orchestrator.deliver_missed(Some("hook"))).unwrap();
    let arrived = once(arrived(&provider)).into_iter().map(|event| event["seq"].as_u64().unwrap());
    let arrived = Vec::from_iter(arrived);
    let wanted: Vec<u64> = sees.0.lock().unwrap().iter().map(|event| event.seq).collect();
    assert_eq!(arrived, wanted, "once and in order");
}
