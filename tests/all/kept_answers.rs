//! What was allowed for good: listed and taken back at the command line, and what a question says of who asks.

use crate::library::quick;
use crate::support::{Project, user_directory, with_echo};
use cofferdam::core::policy::Grants;
use cofferdam::core::port::{Answer, Approver, BoxFuture, Put, Question, State as _};
use cofferdam::llm::Scripted;
use cofferdam::store::StateStore;
use cofferdam::{Builder, GrantPolicy, Orchestrator, PermissionAnswer, RunOptions, UserDirs, Workflow};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

const SCRIPT: &str = "
answers:
  - turn: 1
    toolCalls: [{ tool: write, args: { path: 'out:a', content: x } }, { tool: edit, args: { path: 'out:a', old: x, new: y } }]
  - { turn: 2, text: done }
";
const WRITER: &str = "name: w\nsteps: [{ id: a, instructions: Write. }]";

/// Says the same to everything, and keeps what it was asked.
struct Says(Answer, Mutex<Vec<Question>>);

impl Says {
    fn new(answer: Answer) -> Arc<Self> {
        Arc::new(Self(answer, Mutex::default()))
    }

    fn titles(&self) -> Vec<String> {
        self.1.lock().unwrap().iter().map(|question| question.title.clone()).collect()
    }
}

impl Approver for Says {
    fn ask(&self, question: Question) -> BoxFuture<'_, Answer> {
        self.1.lock().unwrap().push(question);
        let answer = self.0.clone();
        Box::pin(std::future::ready(answer))
    }
}

fn state() -> PathBuf {
    user_directory().join("state/cofferdam")
}

fn builder(project: &Project, person: &Arc<Says>) -> Builder {
    builder_of(project, person, state())
}

fn builder_of(project: &Project, person: &Arc<Says>, state: PathBuf) -> Builder {
    let dirs = UserDirs { cache: user_directory().join("cache/cofferdam"), state };
    let builder = Orchestrator::builder().project(project.path(".cofferdam")).user_dirs(dirs);
    builder.approval(Arc::clone(person) as Arc<dyn Approver>, None)
}

fn write(builder: Builder) {
    quick().block_on(async {
        let orchestrator = builder.model(Scripted::parse(SCRIPT).unwrap()).build().unwrap();
        let workflow = Workflow::parse(WRITER, ".").unwrap();
        assert!(orchestrator.run_flow(&workflow, RunOptions::default()).await.unwrap().success());
        orchestrator.close().await;
    });
}

fn listed(project: &Project) -> Vec<Value> {
    project.run(&["permissions", "list", "--json"]).expect(0).json_lines()
}

fn names(answers: &[Value]) -> Vec<&str> {
    answers.iter().map(|answer| answer["name"].as_str().unwrap()).collect()
}

#[test]
fn answers_about_tools_are_listed_and_taken_back_one_by_one() {
    let (project, always) = (Project::new(), Says::new(Answer::Always));
    project.run(&["permissions", "list"]).expect(0).says(&["nothing was allowed for good in this project"]);
    project.run(&["permissions", "forget", "--all"]).expect(0).says(&["nothing was allowed for good"]);
    write(builder(&project, &always));
    let answers = listed(&project);
    assert_eq!(names(&answers), ["edit", "write"]);
    for answer in &answers {
        assert_eq!((answer["kind"].as_str(), answer["counts"].as_bool()), (Some("tool"), Some(true)), "{answer}");
        assert_eq!((answer["of"].as_str(), answer["at"].is_string()), (None, true), "{answer}");
    }
    let shown = project.run(&["permissions", "list"]).expect(0).stdout;
    assert!(shown.contains("tool write") && shown.contains("every call of `write`"), "{shown}");
    project.run(&["permissions", "forget", "write"]).expect(0).says(&["taken back: tool write"]);
    assert_eq!(names(&listed(&project)), ["edit"]);
    let again = Says::new(Answer::Always);
    write(builder(&project, &again));
    assert_eq!(again.titles(), ["allow `write`?"]);
    let answers = listed(&project);
    let id = answers[0]["id"].as_str().unwrap();
    let gone = project.run(&["permissions", "forget", &id[..12], "--json"]).expect(0).json_lines();
    assert_eq!(gone, answers[..1]);
    project.run(&["permissions", "forget", &id[..12]]).expect(3).says(&["nothing was allowed for good that is called"]);
    project.run(&["permissions", "forget", "wr"]).expect(3).says(&["`cofferdam permissions list` names what was"]);
    project.run(&["permissions", "forget"]).expect(3);
    let gone = project.run(&["permissions", "forget", "--all", "--json"]).expect(0).json_lines();
    assert_eq!(names(&gone), ["write"]);
    assert!(listed(&project).is_empty());
}

#[test]
fn an_answer_of_an_older_version_counts_and_is_listed() {
    let (project, always) = (Project::new(), Says::new(Answer::Always));
    write(builder(&project, &always));
    let store = StateStore::new(project.path(".cofferdam/state.db"));
    for answer in listed(&project) {
        let (key, name) = (answer["id"].as_str().unwrap(), answer["name"].as_str().unwrap());
        // What older versions kept under the same key.
        let value = Some(name.as_bytes().into());
        let put = Put { namespace: "permissions".into(), key: key.into(), value, expected: None };
        quick().block_on(store.put_if(put)).unwrap();
    }
    let put = |key: &str, text: &str| {
        let value = Some(text.as_bytes().into());
        let put = Put { namespace: "grants".into(), key: key.into(), value, expected: None };
        quick().block_on(store.put_if(put)).unwrap();
    };
    put("ab".repeat(32).as_str(), r#"{"fs":{"read":true}}"#);
    put("cd".repeat(32).as_str(), "\u{1b}[31m not JSON");
    let answers = listed(&project);
    let kinds: Vec<_> = answers.iter().map(|answer| (answer["kind"].as_str().unwrap(), &answer["counts"])).collect();
    assert_eq!(
        kinds,
        [("older", &Value::Null), ("older", &Value::Null), ("tool", &Value::Bool(true)), ("tool", &Value::Bool(true))]
    );
    let shown = project.run(&["permissions", "list"]).expect(0).stdout;
    assert!(shown.contains("perhaps") && !shown.contains('\u{1b}'), "{shown}");
    let again = Says::new(Answer::Yes);
    write(builder(&project, &again));
    assert!(again.titles().is_empty(), "{:?}", again.titles());
    project.run(&["permissions", "forget", "abab"]).expect(0);
    assert_eq!(listed(&project).len(), 3);
}

#[test]
fn an_answer_of_another_user_is_listed_as_one_that_does_not_count() {
    let (project, always) = (Project::new(), Says::new(Answer::Always));
    write(builder_of(&project, &always, project.path("theirs")));
    let answers = listed(&project);
    assert_eq!(names(&answers), ["edit", "write"]);
    assert!(answers.iter().all(|answer| answer["counts"] == Value::Bool(false)), "{answers:?}");
}

const SCAN: &str = "name: scan
plugins:
  scan: { source: 'builtin:secrets-scan', grants: { fs: { read: true } } }
steps: [{ id: a, tool: scan.scan, args: {} }]
";

#[test]
fn what_a_document_was_allowed_is_listed_and_taken_back() {
    let project = Project::new();
    project.file("scan.yaml", SCAN);
    let ask = || {
        let person = Says::new(Answer::Always);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let orchestrator = builder(&project, &person).build().unwrap();
            let workflow = Workflow::load(project.path("scan.yaml")).unwrap();
            orchestrator.check(&workflow, &RunOptions::default()).await.unwrap();
            orchestrator.close().await;
        });
        person.titles().len()
    };
    assert_eq!((ask(), ask()), (1, 0));
    let answers = listed(&project);
    let answer = &answers[0];
    assert_eq!((answers.len(), answer["kind"].as_str(), answer["name"].as_str()), (1, Some("plugin"), Some("scan")));
    assert!(answer["of"].as_str().unwrap().ends_with("scan.yaml"), "{answer}");
    assert_eq!(answer["counts"], Value::Bool(true));
    let allows: Vec<String> = serde_json::from_value(answer["allows"].clone()).unwrap();
    let requested = Grants::parse(&serde_json::json!({ "fs": { "read": true } })).unwrap();
    assert_eq!(allows, requested.explain());
    project.run(&["permissions", "forget", "scan"]).expect(0).says(&["taken back: plugin scan"]);
    assert_eq!(ask(), 1);
}

#[test]
fn a_question_about_a_call_that_a_plugin_makes_names_the_plugin() {
    let project = with_echo();
    project.file(
        "relay.yaml",
        "name: relay
plugins: { echo: { source: ./echo.wasm, grants: { tools: [write] } } }
steps: [{ id: a, instructions: Relay. }]
",
    );
    let script = "
answers:
  - { turn: 1, toolCalls: [{ tool: echo.relay, args: { tool: write, args: { path: 'out:a', content: x } } }] }
  - { turn: 2, text: done }
";
    let (person, decided) = (Says::new(Answer::Yes), Arc::new(Mutex::new(Vec::new())));
    let hears = Arc::clone(&decided);
    let builder = builder(&project, &person).grants(GrantPolicy::deny_all().with_requested());
    let builder = builder.permission_handler(move |request| {
        hears.lock().unwrap().push((request.tool.to_string(), request.caller.as_ref().map(ToString::to_string)));
        PermissionAnswer::Ask
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let orchestrator = builder.model(Scripted::parse(script).unwrap()).build().unwrap();
        let workflow = Workflow::load(project.path("relay.yaml")).unwrap();
        let result = orchestrator.run_flow(&workflow, RunOptions::default()).await.unwrap();
        assert!(result.success(), "{:?}", result.error);
        orchestrator.close().await;
    });
    assert_eq!(person.titles(), ["allow `echo.relay`?", "allow `write`, called by the plugin `echo` in `echo.relay`?"]);
    let always = person.1.lock().unwrap()[1].always.clone().unwrap();
    assert_eq!(always, "every call of `write` by models and plugins in this project");
    let decided = decided.lock().unwrap();
    assert_eq!(decided[..], [("echo.relay".to_owned(), None), ("write".to_owned(), Some("echo.relay".to_owned()))]);
}
