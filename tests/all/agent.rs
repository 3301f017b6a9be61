//! One agent without a graph, from the command line and from a program.

use crate::support::{Project, TestRuntime, close};
use cofferdam::core::event::RunStatus;
use cofferdam::llm::Scripted;
use cofferdam::{AgentConfig, Builder, Error, Orchestrator, RunOptions};
use serde_json::json;
use std::future::Future;
use std::time::Duration;

const LOOK: &str = "
answers:
  - { turn: 1, text: looking, toolCalls: [{ tool: grep, args: { pattern: hello, files: '*.txt' } }] }
  - { turn: 2, text: '[{{prompt}}]' }
default: { text: no more }
";

fn project() -> Project {
    let project = Project::new();
    project.file("model.yaml", LOOK).file("a.txt", "hello\n");
    project
}

#[test]
fn an_agent_is_asked_at_the_command_line_and_recorded_as_a_run() {
    let project = project();
    let model = ["--model", "scripted/model.yaml"];
    let said = project.run(&[&["agent", "What is here?"][..], &model].concat()).expect(0);
    assert_eq!(said.stdout, "[What is here?]\n");
    assert!(said.stderr.contains("nobody to ask"), "{}", said.stderr);
    let cut = project.run(&[&["agent", "x", "--max-turns", "1"][..], &model].concat()).expect(0);
    assert_eq!(cut.stdout, "looking\n");
    project.run(&[&["agent", "What is here?"][..], &model].concat()).expect(0);
    let shown = project.run(&["runs", "show", "last", "--transcript"]).expect(0).stdout;
    assert!(shown.contains("-> grep") && shown.contains("a.txt:1: hello"), "{shown}");
    project.run(&["replay", "last"]).expect(0);
    assert_eq!(project.run(&["resume", "last"]).expect(0).stdout, "[What is here?]\n");
}

#[test]
fn what_is_piped_in_comes_after_the_prompt() {
    let project = project();
    let said = project.run_reading(&["agent", "Review.", "--model", "scripted/model.yaml"], "a diff").expect(0);
    assert_eq!(said.stdout, "[Review.\n\na diff]\n");
    let said = project.run_reading(&["agent", "--model", "scripted/model.yaml"], "alone").expect(0);
    assert_eq!(said.stdout, "[alone]\n");
}

#[test]
fn flags_describe_the_agent() {
    let project = Project::with_plugins();
    let schema = json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } });
    project.file("schema.json", schema.to_string()).file("system.txt", "You count.").file(
        "model.yaml",
        "answers:
  - { turn: 1, toolCalls: [{ tool: text.words, args: { text: one two } }, { tool: read, args: { path: system.txt } }] }
  - { turn: 2, toolCalls: [{ tool: submit_result, args: { n: 2 } }] }",
    );
    let args = ["agent", "Count.", "--model", "scripted/model.yaml", "--plugin", "text=builtin:text", "--json"];
    let more = ["--schema", "schema.json", "--system", "@system.txt", "--tools", "text.words, glob"];
    let said = project.run(&[&args[..], &more].concat());
    let said = said.expect(0).stdout;
    for part in [r#""tool":"text.words","result""#, r#""result":{"n":2}"#, "You count."] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains(r#""tool":"read""#), "`read` is not among its tools: {said}");
    for (args, says) in [
        (&["agent"][..], "nothing to ask"),
        (&["agent", "x", "--plugin", "text"], "has no source"),
        (&["agent", "x", "--tools", "reed", "--model", "scripted/model.yaml"], "`reed`"),
        (&["agent", "x", "--max-turns", "0"], "--max-turns"),
        (&["agent", "x", "--plugin", "a=builtin:text", "--plugin", "a=builtin:csv"], "given twice"),
        (&["agent", "x", "--yolo", "--sandbox"], "--sandbox"),
        (&["agent", "x", "--system", "@gone"], "`gone` cannot be read"),
        (&["agent", "x", "--schema", "system.txt"], "no JSON"),
    ] {
        let refused = project.run(args);
        assert!(matches!(refused.code, Some(2 | 3)) && refused.stderr.contains(says), "{args:?}: {}", refused.stderr);
    }
}

/// Time passes where nothing else happens.
fn play<F: Future>(work: F) -> F::Output {
    TestRuntime::quick().block_on(work)
}

fn builder(script: &str) -> Builder {
    Orchestrator::builder().model(Scripted::parse(script).unwrap())
}

fn agent() -> AgentConfig {
    AgentConfig::new("asker").tools(["grep"])
}

#[test]
fn what_an_agent_gave_is_told_whole() {
    play(async {
        let orchestrator = builder(LOOK).build().unwrap();
        let result = orchestrator.run_agent(&agent(), "@{{ not a template }}", RunOptions::default()).await.unwrap();
        assert!(result.success() && result.error.is_none(), "{result:?}");
        assert_eq!(&*result.content, "[@{{ not a template }}]");
        assert_eq!((result.turns, result.truncated), (2, false));
        let cut = agent().max_turns(1);
        let result = orchestrator.run_agent(&cut, "x", RunOptions::default()).await.unwrap();
        assert_eq!((result.turns, result.truncated, &*result.content), (1, true, "looking"));
        assert_eq!(result.warnings.len(), 1, "{:?}", result.warnings);
        let schema = json!({ "type": "object", "required": ["n"] });
        let owed = agent().result_schema(schema);
        let result = orchestrator.run_agent(&owed, "x", RunOptions::default()).await.unwrap();
        assert_eq!((result.status, result.error.unwrap().code.as_ref()), (RunStatus::Failed, "no_result"));
        let recorded = orchestrator.recorded(&result.run_id).await.unwrap();
        assert_eq!(recorded.workflow().unwrap().name(), "asker");
        let wrong = agent().set("colour", "blue");
        assert!(matches!(orchestrator.run_agent(&wrong, "x", RunOptions::default()).await, Err(Error::Invalid(_))));
        close(&orchestrator).await;
        let closed = orchestrator.run_agent(&agent(), "x", RunOptions::default()).await;
        assert!(matches!(closed, Err(Error::Closed)));
        assert!(matches!(orchestrator.run_agent_async(&agent(), "x", RunOptions::default()), Err(Error::Closed)));
    });
}

#[test]
fn an_agent_in_the_background_ends_once_and_is_listed_for_a_while() {
    play(async {
        let orchestrator = builder("default: { text: done, delay: 1m }").build().unwrap();
        let of = |session: &str| RunOptions { session: Some(session.to_owned()), ..RunOptions::default() };
        let handle = orchestrator.run_agent_async(&agent(), "x", of("a")).unwrap();
        let other = orchestrator.run_agent_async(&agent(), "x", of("b")).unwrap();
        assert!(handle.result().is_none() && handle.id() != other.id());
        let listed = |session| orchestrator.agent_handles(session).len();
        assert_eq!((listed(None), listed(Some("a")), listed(Some("c"))), (2, 1, 0));
        let (first, second) = (handle.done().await, handle.clone().done().await);
        assert_eq!(&*(*first).as_ref().unwrap().content, "done");
        assert!(std::sync::Arc::ptr_eq(&first, &second) && handle.result().is_some());
        other.done().await;
        tokio::time::sleep(Duration::from_secs(29 * 60)).await;
        assert_eq!(listed(None), 2);
        tokio::time::sleep(Duration::from_secs(2 * 60)).await;
        assert_eq!(listed(None), 0);
    });
}

#[test]
fn an_agent_in_the_background_is_cancelled_timed_out_or_closed() {
    play(async {
        let orchestrator = builder("default: { text: late, delay: 5h }").build().unwrap();
        let start = || orchestrator.run_agent_async(&agent(), "x", RunOptions::default()).unwrap();
        let status = |outcome: &Result<cofferdam::AgentResult, Error>| outcome.as_ref().unwrap().status;
        let handle = start();
        tokio::time::sleep(Duration::from_secs(1)).await;
        handle.cancel();
        assert_eq!(status(&*handle.done().await), RunStatus::Cancelled);
        let began = tokio::time::Instant::now();
        let outcome = start().done().await;
        assert_eq!(status(&outcome), RunStatus::Failed);
        assert!(began.elapsed() < Duration::from_secs(31 * 60), "{:?}", began.elapsed());
        let handle = start();
        tokio::time::sleep(Duration::from_secs(1)).await;
        close(&orchestrator).await;
        assert_eq!(status(&*handle.done().await), RunStatus::Cancelled);
    });
}

#[test]
fn an_agent_in_the_background_ends_with_the_last_orchestrator() {
    play(async {
        let orchestrator = builder("default: { text: late, delay: 5h }").build().unwrap();
        let handle = orchestrator.run_agent_async(&agent(), "x", RunOptions::default()).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(orchestrator);
        let outcome = handle.done().await;
        assert_eq!(outcome.as_ref().as_ref().unwrap().status, RunStatus::Cancelled);
    });
}
