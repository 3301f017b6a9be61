//! Transforms and conditions as components: the laws that their native twin keeps, their bounds, and whole runs.

use crate::support::Project;
use cofferdam::core::event::Body;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{Alias, RunId, StepPath};
use cofferdam::core::policy::PluginKind;
use cofferdam::core::port::{
    BoxFuture, Choice, Condition, Item, ItemValue, NoRedactor, PureContext, Recorder, Transform,
};
use cofferdam::core::time::Timestamp;
use cofferdam::core::value::Map;
use cofferdam::plugin::{HostSettings, LoadedPlugin, PluginHost, PluginReference, Source};
use cofferdam_engine::{TokioClock, contract};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Heard(Mutex<Vec<Body>>);

impl Recorder for Heard {
    fn record(&self, body: Body) -> BoxFuture<'_, Result<(), Fault>> {
        self.observe(body);
        Box::pin(std::future::ready(Ok(())))
    }

    fn observe(&self, body: Body) {
        self.0.lock().unwrap().push(body);
    }
}

fn host() -> PluginHost {
    PluginHost::new(HostSettings { redactor: Arc::new(NoRedactor), ..HostSettings::alone(Arc::new(TokioClock::new())) })
}

fn reference(name: &str) -> PluginReference {
    let component = cofferdam_guests::built_bytes(name).unwrap();
    PluginReference::new(Alias::parse(name).unwrap(), Source::Bytes(Arc::from(component)))
}

async fn mirror(host: &PluginHost) -> Arc<LoadedPlugin> {
    host.load(reference("mirror")).await.unwrap()
}

fn at(heard: &Arc<Heard>) -> PureContext {
    PureContext {
        run_id: RunId::parse("r1").unwrap(),
        path: StepPath::from("scan"),
        attempt: 1,
        now: Timestamp::from_millis(0),
        events: Arc::clone(heard) as Arc<dyn Recorder>,
    }
}

fn act(act: &str) -> Map {
    let Value::Object(options) = json!({ "do": act }) else { unreachable!() };
    options
}

fn text(text: &str) -> Item {
    Item { id: "content".into(), value: ItemValue::Text(text.into()) }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_component_keeps_the_laws_of_both_kinds() {
    block_on(async {
        let (host, native) = (host(), contract::Mirror);
        let plugin = mirror(&host).await;
        assert!(plugin.is(PluginKind::Transform) && plugin.is(PluginKind::Condition) && !plugin.is(PluginKind::Tool));
        contract::transform(&*plugin).await.unwrap();
        contract::condition(&*plugin).await.unwrap();
        contract::transform(&native).await.unwrap();
        contract::condition(&native).await.unwrap();
    });
}

#[test]
fn a_pure_plugin_that_misbehaves_ends_within_its_bounds_and_is_named() {
    block_on(async {
        let host = host();
        let plugin = mirror(&host).await;
        let digest = plugin.digest().to_string();
        for (word, code, limit) in [
            ("trap", "plugin_trap", Value::Null),
            ("loop", "plugin_limit", json!("fuel")),
            ("memory", "plugin_limit", json!("memory")),
            ("lie", "plugin_protocol", Value::Null),
        ] {
            let (heard, began) = (Arc::<Heard>::default(), Instant::now());
            let changed = plugin.apply(at(&heard), &act(word), vec![text("a")]).await;
            assert!(began.elapsed() < Duration::from_millis(2_200 * 5), "{word} took {:?}", began.elapsed());
            let fault = changed.unwrap_err();
            assert_eq!(fault.code, code, "{word}: {fault}");
            let detail = fault.detail.unwrap();
            assert_eq!((&detail["plugin"], &detail["digest"]), (&json!("mirror"), &json!(digest)), "{word}");
            // A clock that is slower than the fuel may come first on a busy machine.
            assert!(detail["limit"] == limit || detail["limit"] == "wall", "{word}: {detail}");
            assert!(matches!(heard.0.lock().unwrap()[..], [Body::PluginFailed { .. }]), "{word}");
        }
        let choice = Choice { labels: vec!["one".to_owned()], view: Map::new() };
        let lied = plugin.choose(at(&Arc::default()), &act("lie"), choice).await.unwrap_err();
        assert!(lied.message.contains("it chose label 1 of 1"), "{lied}");
        // A good call right after.
        assert!(plugin.apply(at(&Arc::default()), &act("keep"), vec![text("a")]).await.is_ok());
    });
}

#[test]
fn a_batch_that_is_too_large_is_refused_before_anything_runs() {
    block_on(async {
        let host = host();
        let plugin = mirror(&host).await;
        let items = vec![text(&"a".repeat(17 << 20))];
        let fault = plugin.apply(at(&Arc::default()), &act("trap"), items).await.unwrap_err();
        assert!(fault.message.contains("more than 16 MiB"), "{fault}");
    });
}

#[test]
fn inspect_shows_the_kinds_the_options_and_the_fuel() {
    let project = Project::with_plugins();
    let said = project.run(&["plugin", "inspect", "builtin:gate"]).expect(0).stdout;
    assert!(said.contains("kinds     condition"), "{said}");
    assert!(said.contains("as a condition: value*"), "{said}");
    assert!(said.contains("2000000000 units of fuel"), "{said}");
    assert!(!said.contains("Tools"), "{said}");
}

const REDACTED: &str = r#"
name: redacted
plugins: { redact: builtin:redact, gate: builtin:gate }
options: { outputTransform: [{ plugin: redact, options: { kinds: [email] } }] }
steps:
  - { id: note, instructions: Say it. }
  - id: mail
    dependsOn: [note]
    instructions: Repeat it.
    condition: { plugin: gate, options: { value: steps.note.content, contains: write } }
  - id: never
    dependsOn: [note]
    instructions: Not this.
    condition: { plugin: gate, options: { value: steps.note.content, contains: phone, reason: nobody to call } }
"#;

const MODEL: &str = "answers:\n  - { step: note, text: 'write to ada@example.com' }\n  - { step: mail, contains: '[email removed]', text: done }\n";

#[test]
fn a_run_with_builtin_plugins_redacts_what_enters_a_prompt_and_decides() {
    let project = Project::with_plugins();
    project.file("r.yaml", REDACTED).file("m.yaml", MODEL);
    let outcome = project.run(&["run", "r.yaml", "--model", "scripted/m.yaml", "--json"]).expect(0);
    let events = outcome.json_lines();
    let skipped = events.iter().find(|event| event["kind"] == "step_skipped").unwrap();
    assert!(skipped["detail"].as_str().unwrap().contains("nobody to call"), "{skipped}");
    let mail = events.iter().find(|event| event["kind"] == "step_finished" && event["path"] == "mail").unwrap();
    assert_eq!(mail["output"]["content"], "done", "{}", outcome.stdout);
}

#[test]
fn a_plugin_of_another_kind_and_a_misspelt_option_are_found_before_a_run() {
    let project = Project::with_plugins();
    let steps = "steps: [{ id: a, instructions: x, condition: { plugin: text } }, \
                 { id: b, instructions: x, transform: { output: [{ plugin: redact, options: { kind: [email] } }] } }]";
    project.file("w.yaml", format!("name: w\nplugins: {{ text: builtin:text, redact: builtin:redact }}\n{steps}\n"));
    let said = project.run(&["run", "w.yaml", "--model", "builtin/extract"]).expect(2).stderr;
    assert!(said.contains("the plugin `text` is no condition"), "{said}");
    assert!(said.contains("the plugin `redact` does not take these options"), "{said}");
}

#[test]
fn a_workflow_built_in_code_names_plugins_as_a_document_does() {
    use cofferdam::{Condition as When, Orchestrator, Step, Transform as Change, WorkflowConfig};
    block_on(async {
        let orchestrator = Orchestrator::builder().build().unwrap();
        let mut flow = orchestrator.workflow(WorkflowConfig::new("coded"));
        flow.set("plugins", json!({ "gate": "builtin:gate", "redact": "builtin:redact" }));
        let options = json!({ "value": "inputs.kind" });
        let step = Step::new("a").instructions("Speak.").condition(When::plugin("gate", options).label("one"));
        let kinds = json!({ "kinds": ["email"] });
        flow.add_step(
            step.transform(Change::plugin("redact", kinds)).transform_output(Change::plugin("redact", json!(null))),
        )
        .unwrap();
        let text = flow.to_yaml().unwrap();
        let read = cofferdam::Workflow::parse(&text, ".").unwrap();
        assert_eq!(read.to_yaml(), text);
        for part in ["plugin: gate", "value: inputs.kind", "label: one", "plugin: redact", "- email"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    });
}
