//! Retrieval memory in programs and at the command line: sessions, memories that fail, and what people see of it.

use crate::support::{Project, TestRuntime};
use cofferdam::core::fault::Fault;
use cofferdam::core::port::BoxFuture;
use cofferdam::core::recollect::space_of;
use cofferdam::llm::Scripted;
use cofferdam::store::MemoryRecall;
use cofferdam::{
    Condition, Hit, Memo, Orchestrator, Recall, RecallChoice, RecallSettings, RunOptions, Search, Step, Workflow,
    WorkflowConfig,
};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn runtime() -> TestRuntime {
    TestRuntime::quick()
}

/// Each step repeats what it was told.
const ECHO: &str = "chunk: 0\ndefault: { text: '{{prompt}}' }";

fn orchestrator(store: Arc<dyn Recall>) -> Orchestrator {
    Orchestrator::builder().model(Scripted::parse(ECHO).unwrap()).recall(store).build().unwrap()
}

fn document(recall: &str) -> Workflow {
    let text = format!(
        "name: w\nsteps: [{{ id: a, input: '{{{{ input }}}}' }}]\noptions: {{ memory: {{ recall: {recall} }} }}\n"
    );
    Workflow::parse(&text, ".").unwrap()
}

fn options(input: &str, session: Option<&str>) -> RunOptions {
    RunOptions { input: Some(input.to_owned()), session: session.map(str::to_owned), ..RunOptions::default() }
}

async fn told(orchestrator: &Orchestrator, workflow: &Workflow, options: RunOptions) -> String {
    let result = orchestrator.run_flow(workflow, options).await.unwrap();
    assert!(result.success(), "{result:?}");
    result.step("a").unwrap().content.to_string()
}

#[test]
fn runs_of_one_session_find_what_the_others_kept_and_no_others_do() {
    runtime().block_on(async {
        let store = Arc::new(MemoryRecall::new());
        let orchestrator = orchestrator(Arc::clone(&store) as _);
        let workflow = document("{ store: [inputs] }");
        told(&orchestrator, &workflow, options("the lighthouse is white", Some("one"))).await;
        let found = told(&orchestrator, &workflow, options("more of the lighthouse", Some("one"))).await;
        assert!(found.contains("## From memory") && found.contains("the lighthouse is white"), "{found}");
        for other in [Some("two"), Some("on"), None] {
            let found = told(&orchestrator, &workflow, options("what of the lighthouse", other)).await;
            assert!(!found.contains("white"), "{other:?}: {found}");
        }
        // A session of the document is that of runs which have none.
        let own = document("{ session: one, store: [inputs], limit: 1 }");
        assert!(told(&orchestrator, &own, options("say: white lighthouse", None)).await.contains("is white"));
        // What an embedder puts into the space of a session is found like what steps gave.
        let id = cofferdam::core::id::RunId::parse("none").unwrap();
        let memo = Memo { id: "tides".into(), text: "spring tides are high".into(), meta: serde_json::Map::new() };
        orchestrator.recall_store().upsert(&space_of(Some("three"), &id), vec![memo]).await.unwrap();
        let found = told(&orchestrator, &workflow, options("when are tides high", Some("three"))).await;
        assert!(found.contains("### tides\n> spring tides are high"), "{found}");
    });
}

#[test]
fn options_and_the_orchestrator_turn_it_on_and_off() {
    runtime().block_on(async {
        let build = |settings: Option<RecallSettings>| {
            let builder = Orchestrator::builder().model(Scripted::parse(ECHO).unwrap());
            settings.into_iter().fold(builder, cofferdam::Builder::recall_settings).build().unwrap()
        };
        let plain = Workflow::parse("name: w\nsteps: [{ id: a, input: '{{ input }}' }]\n", ".").unwrap();
        let with = |recall: RecallChoice| RunOptions { recall, ..options("the lighthouse again", Some("s")) };
        for (settings, choice, finds) in [
            (None, RecallChoice::Inherit, false),
            (None, RecallChoice::With(RecallSettings::default()), true),
            (Some(RecallSettings::default()), RecallChoice::Inherit, true),
            (Some(RecallSettings::default()), RecallChoice::Exactly(None), false),
        ] {
            let orchestrator = build(settings);
            let first = RunOptions { input: Some("a white lighthouse".to_owned()), ..with(choice.clone()) };
            told(&orchestrator, &plain, first).await;
            let found = told(&orchestrator, &plain, with(choice.clone())).await.contains("a white lighthouse");
            assert_eq!(found, finds, "{choice:?}");
        }
    });
}

#[test]
fn a_workflow_has_a_memory_of_its_own_that_closures_search() {
    runtime().block_on(async {
        let orchestrator = Orchestrator::builder().model(Scripted::parse(ECHO).unwrap()).build().unwrap();
        let store = Arc::new(MemoryRecall::new());
        let mut flow = orchestrator.dag(&WorkflowConfig::new("w"));
        flow.set_memory(Arc::clone(&store) as _);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        let condition = Condition::closure("searches", move |ctx| {
            let sees = Arc::clone(&sees);
            async move {
                let found = ctx.recall("lighthouse", 5).await?;
                sees.lock().unwrap().extend(found.into_iter().map(|hit| hit.memo.id));
                Ok(true)
            }
        });
        flow.add_step(Step::new("a").instructions("The lighthouse is white.")).unwrap();
        flow.add_step(Step::new("b").instructions("Wait.").depends_on(["a"]).condition(condition)).unwrap();
        let result = flow.run("").await.unwrap();
        assert!(result.success(), "{result:?}");
        assert_eq!(store.list(None, 9).await.unwrap().len(), 4);
        assert!(orchestrator.recall_store().list(None, 9).await.unwrap().is_empty());
        let seen = seen.lock().unwrap();
        assert!(seen.len() == 1 && seen.iter().all(|id| id.contains("/a/workflow_step_")), "{seen:?}");
    });
}

/// A memory that does not do what it should.
#[derive(Clone, Copy, PartialEq)]
enum Bad {
    Refuses,
    Hangs,
    Panics,
}

struct Failing(Bad, AtomicUsize);

impl Failing {
    fn fail<T: Send + 'static>(&self) -> BoxFuture<'static, Result<T, Fault>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let bad = self.0;
        Box::pin(async move {
            match bad {
                Bad::Refuses => Err(Fault::step("broken", "the shelf is broken")),
                Bad::Hangs => std::future::pending().await,
                Bad::Panics => panic!("not today"),
            }
        })
    }
}

impl Recall for Failing {
    fn upsert<'a>(&'a self, _: &'a str, _: Vec<Memo>) -> BoxFuture<'a, Result<(), Fault>> {
        self.fail()
    }

    fn search<'a>(&'a self, _: &'a str, _: Search) -> BoxFuture<'a, Result<Vec<Hit>, Fault>> {
        self.fail()
    }

    fn forget<'a>(&'a self, _: &'a str, _: Vec<String>) -> BoxFuture<'a, Result<usize, Fault>> {
        self.fail()
    }
}

#[test]
fn a_memory_that_fails_fails_no_step_and_is_left_alone_in_the_end() {
    for bad in [Bad::Refuses, Bad::Hangs, Bad::Panics] {
        runtime().block_on(async {
            let store = Arc::new(Failing(bad, AtomicUsize::new(0)));
            let orchestrator = orchestrator(Arc::clone(&store) as _);
            let steps = (0..6).map(|n| format!("  - {{ id: s{n}, instructions: Look {n}. }}\n")).collect::<String>();
            let text = format!("name: w\nmode: sequential\nsteps:\n{steps}options: {{ memory: {{ recall: {{}} }} }}\n");
            let began = tokio::time::Instant::now();
            let result = orchestrator.run_flow(&Workflow::parse(&text, ".").unwrap(), RunOptions::default()).await;
            let result = result.unwrap();
            assert!(result.success(), "{result:?}");
            let warnings = result.warnings.join("\n");
            assert!(warnings.contains("nothing was recalled") && warnings.contains("3 times in a row"), "{warnings}");
            assert_eq!(store.1.load(Ordering::SeqCst), 3);
            assert!(began.elapsed().as_secs() <= 15, "{:?}", began.elapsed());
        });
    }
}

#[test]
fn a_memory_that_fails_only_at_the_end_is_told_of_with_the_result() {
    struct Full(MemoryRecall);
    impl Recall for Full {
        fn upsert<'a>(&'a self, _: &'a str, _: Vec<Memo>) -> BoxFuture<'a, Result<(), Fault>> {
            Box::pin(async { Err(Fault::step("full", "the shelf is full")) })
        }

        fn search<'a>(&'a self, space: &'a str, search: Search) -> BoxFuture<'a, Result<Vec<Hit>, Fault>> {
            self.0.search(space, search)
        }

        fn forget<'a>(&'a self, space: &'a str, ids: Vec<String>) -> BoxFuture<'a, Result<usize, Fault>> {
            self.0.forget(space, ids)
        }
    }
    runtime().block_on(async {
        let orchestrator = orchestrator(Arc::new(Full(MemoryRecall::new())));
        let result = orchestrator.run_flow(&document("{}"), options("x", None)).await.unwrap();
        assert!(result.success() && result.warnings.iter().any(|warning| warning.contains("shelf is full")));
    });
}

/// Whatever runs of whatever sessions say, in whatever order: no word of one session stands in a prompt of another.
#[test]
fn sessions_never_mix() {
    for seed in 0..24 {
        let draw = |what: &str, most: u8| {
            let digest = cofferdam::core::digest::sha256_hex(format!("{seed} {what}").as_bytes());
            u8::from_str_radix(&digest[..2], 16).unwrap() % most
        };
        runtime().block_on(async {
            let orchestrator = orchestrator(Arc::new(MemoryRecall::new()));
            let workflow = document("{}");
            for number in 0..draw("runs", 12) {
                let session = draw(&format!("session {number}"), 4);
                // One in four belongs to no session.
                let name = (session > 0).then(|| format!("s{session}"));
                let own = name.as_ref().map_or_else(|| format!("own{number}"), |name| format!("session-{name}"));
                let said = format!("word{} of-{own}", draw(&format!("word {number}"), 4));
                let prompt = told(&orchestrator, &workflow, options(&said, name.as_deref())).await;
                for part in prompt.split_whitespace().filter_map(|part| part.strip_prefix("of-")) {
                    assert_eq!(part, own, "{seed} {number}: {prompt}");
                }
            }
        });
    }
}

const HARBOUR: &str = "
name: harbour
steps: [{ id: a, input: '{{ input }}' }]
options: { memory: { recall: { store: [inputs] } } }
";

fn project() -> Project {
    let project = Project::new();
    project.file("w.yaml", HARBOUR).file("model.yaml", ECHO);
    project
}

fn run<'p>(project: &'p Project, args: &[&'p str]) -> String {
    let all = [&["run", "w.yaml", "--model", "scripted/model.yaml"], args].concat();
    project.run(&all).expect(0).stdout
}

#[test]
fn people_see_what_is_recalled_and_kept_and_may_clear_it() {
    let project = project();
    run(&project, &["the quay is long", "--session", "s"]);
    let second = run(&project, &["measure the quay", "--session", "s"]);
    assert!(second.contains("## From memory") && second.contains("the quay is long"), "{second}");
    let said = project.run(&["runs", "show", "last", "--transcript", "--full"]).expect(0).stdout;
    assert!(said.contains("recalls from memory") && said.contains("the quay is long"), "{said}");
    project.run(&["replay", "last"]).expect(0);
    assert!(!run(&project, &["measure the quay", "--session", "t"]).contains("From memory"));
    assert!(!run(&project, &["measure the quay", "--session", "s", "--no-recall"]).contains("From memory"));

    let lines = |args: &[&str]| -> Vec<Value> {
        let shown = project.run(&[&["memory", "show", "--json"], args].concat()).expect(0).stdout;
        shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let shown = lines(&["--session", "s"]);
    assert_eq!((shown.len(), &shown[1]["text"], &shown[1]["session"]), (2, &"the quay is long".into(), &"s".into()));
    assert_eq!(shown[1]["meta"]["kind"], "workflow_step_input");
    assert_eq!(lines(&["--session", "s", "--search", "long"]).len(), 1);
    assert_eq!(lines(&[]).len(), 3);
    let table = project.run(&["memory", "show"]).expect(0).stdout;
    assert!(table.starts_with("OF") && table.contains("session s"), "{table}");

    let refused = project.run(&["memory", "clear", "--session", "s"]).expect(3);
    refused.says(&["nobody is there", "--yes"]);
    project.run(&["memory", "clear", "--session", "s", "--yes"]).expect(0).says(&["2 texts were forgotten"]);
    assert_eq!(lines(&[]).len(), 1);
    project.run(&["memory", "clear", "--all", "--yes"]).expect(0);
    assert!(lines(&[]).is_empty());
    project.run(&["memory", "clear"]).expect(3);
    project.run(&["memory", "show", "--search", "x"]).expect(3);
}

#[test]
fn the_projects_file_and_flags_say_what_is_recalled() {
    let project = project();
    project.file("w.yaml", "name: w\nsteps: [{ id: a, input: '{{ input }}' }]\n");
    run(&project, &["the quay is long", "--session", "s"]);
    assert_eq!(project.run(&["memory", "show", "--json"]).expect(0).stdout, "");
    project.file("cofferdam.toml", "[memory.recall]\nsession = \"s\"\nlimit = 1\nmin_score = 0.1\n");
    run(&project, &["the quay is long"]);
    assert!(run(&project, &["measure the quay"]).contains("the quay is long"));
    assert!(!run(&project, &["measure the quay", "--recall=session=t,store=outputs"]).contains("From memory"));
    assert!(!run(&project, &["weigh the quay", "--recall=min-score=1"]).contains("is long"));
    let refused = project.run(&["run", "w.yaml", "x", "--recall=limit=0"]).expect(3);
    refused.says(&["from 1 to 50"]);
    project.file("cofferdam.toml", "[memory.recall]\nlimt = 1\ntokens = \"many\"\n");
    let refused = project.run(&["run", "w.yaml", "x"]).expect(3);
    refused.says(&["cofferdam.toml:2", "did you mean `limit`?", "cofferdam.toml:3"]);
}

#[test]
fn a_fork_keeps_what_it_took_over_and_a_plugin_may_keep_it_all() {
    let project = Project::with_plugins();
    let script = "chunk: 0\nanswers: [{ step: c, text: '{{prompt}}' }]\ndefault: { text: noted }";
    project.file("model.yaml", script).file(
        "w.yaml",
        "name: w
plugins: { shelf: { source: 'builtin:keyword-recall', grants: { kv: { scope: project } } } }
steps: [{ id: a, instructions: The quay is long. }, { id: b, instructions: Go., dependsOn: [a] }, { id: c, instructions: Measure the quay., dependsOn: [b] }]
options: { memory: { recall: { provider: shelf, store: [inputs], session: s } } }",
    );
    let done = run(&project, &["--grant-requested"]);
    assert!(done.contains("What step `a` of `w` was told"), "{done}");
    project.run(&["fork", "last", "--from", "c", "--grant-requested"]).expect(0);
    project.run(&["replay", "last"]).expect(0);
    project.file(
        "w.yaml",
        "name: w
plugins: { text: 'builtin:text' }
steps: [{ id: a, instructions: x }]
options: { memory: { recall: { provider: text } } }",
    );
    let refused = project.run(&["run", "w.yaml", "--model", "scripted/model.yaml"]).expect(2);
    refused.says(&["`text` is no retrieval memory"]);
}

#[test]
fn secrets_are_not_kept() {
    let project = project();
    project.file("key", "canary-4711-canary").file("cofferdam.toml", "[secrets]\nkey = { file = \"key\" }\n");
    run(&project, &["the quay key is canary-4711-canary"]);
    let kept = project.run(&["memory", "show", "--json"]).expect(0).stdout;
    assert!(kept.contains("the quay key is") && !kept.contains("4711"), "{kept}");
}

#[test]
fn what_a_sensitive_step_gave_is_in_no_memory_also_not_as_half_of_a_message() {
    let project = Project::new();
    let long = "harbour ".repeat(3_000);
    let model = format!("chunk: 0\nanswers:\n  - {{ step: a, text: '{long}' }}\ndefault: {{ text: noted }}\n");
    let document = "
name: w
steps:
  - { id: a, sensitive: true, instructions: Whisper. }
  - { id: b, dependsOn: [a], instructions: Report. }
options: { memory: { recall: { session: s } } }
";
    project.file("w.yaml", document).file("model.yaml", model);
    run(&project, &[]);
    let kept = project.run(&["memory", "show", "--json", "--session", "s"]).expect(0).stdout;
    assert!(kept.contains("noted") && !kept.contains("harbour"), "{kept}");
}

#[test]
fn a_fork_runs_again_whoever_found_what_is_different() {
    let project = Project::new();
    let document = "
name: w
steps:
  - { id: facts, instructions: Say how long the quay is. }
  - { id: wait, instructions: Wait. }
  - { id: use, dependsOn: [wait], instructions: Measure the quay. }
options: { maxConcurrency: 1, memory: { recall: { session: s, store: [outputs] } } }
";
    let model = |text: &str| format!("answers: [{{ step: facts, text: {text} }}]\ndefault: {{ text: done }}\n");
    project.file("w.yaml", document).file("model.yaml", model("the quay has 12 metres"));
    run(&project, &[]);
    let events = project.run(&["runs", "show", "last", "--json"]).expect(0).json_lines();
    let found = events.iter().find(|event| event["kind"] == "memory_recalled" && event["path"] == "use").unwrap();
    assert!(found["text"].as_str().unwrap().contains("> the quay has 12 metres"), "{found}");
    project.file("model.yaml", model("the quay has 99 metres"));
    project.run(&["fork", "last", "--from", "facts"]).expect(0).says(&["reused: wait"]);
}

#[test]
fn what_is_told_again_and_again_hides_nothing() {
    runtime().block_on(async {
        let model = "answers: [{ contains: first, text: the quay has 12 metres }]\ndefault: { text: noted }";
        let store: Arc<dyn Recall> = Arc::new(MemoryRecall::new());
        let orchestrator =
            Orchestrator::builder().model(Scripted::parse(model).unwrap()).recall(store).build().unwrap();
        let workflow = document("{}");
        told(&orchestrator, &workflow, options("first: the quay", Some("s"))).await;
        let asks = || options("How long is the quay, the long quay?", Some("s"));
        for _ in 0..220 {
            told(&orchestrator, &workflow, asks()).await;
        }
        let result = orchestrator.run_flow(&workflow, asks()).await.unwrap();
        let page = orchestrator.runs().read(&result.run_id, 0, 100).await.unwrap();
        assert!(format!("{page:?}").contains("12 metres"), "what was found stands in the record");
    });
}

#[test]
fn a_run_that_is_deleted_leaves_nothing_in_the_memory() {
    let project = project();
    run(&project, &["the quay is long"]);
    assert!(project.run(&["memory", "show"]).expect(0).stdout.contains("quay"));
    project.run(&["runs", "rm", "last"]).expect(0);
    assert!(!project.run(&["memory", "show"]).expect(0).stdout.contains("quay"));
}
