//! Mailbox stores: what an embedder keeps of the messages of a run, and what happens when it lies.

use crate::library::quick;
use cofferdam::core::fault::Fault;
use cofferdam::core::id::RunId;
use cofferdam::core::mail::Letter;
use cofferdam::core::port::{BoxFuture, MailboxStore};
use cofferdam::llm::Scripted;
use cofferdam::store::MemoryMailbox;
use cofferdam::{Coordinator, Orchestrator, ResumeOptions, RunOptions, RunResult, Workflow};
use std::path::Path;
use std::sync::{Arc, Mutex};

const DOCUMENT: &str = "
name: w
agents: { one: { description: o, tools: [send_message] } }
steps:
  - { id: a, agent: one, instructions: Write. }
  - { id: sure, dependsOn: [a], ask: { prompt: Sure? } }
  - { id: b, agent: one, dependsOn: [sure], instructions: Read. }
";
const SCRIPT: &str = "
answers:
  - { step: '@coordinator', contains: 'message from step `a`', times: 1, toolCalls: [{ tool: forward_to_agent, args: { target_step_id: b, text: wait } }, { tool: forward_to_agent, args: { target_step_id: none, text: x } }] }
  - { step: '@coordinator', text: ok }
  - { step: a, turn: 1, toolCalls: [{ tool: send_message, args: { text: hello } }] }
  - { text: done }
";

/// Writes down what it is asked, and answers as the store within.
#[derive(Default)]
struct Watched {
    within: MemoryMailbox,
    asked: Mutex<Vec<String>>,
}

impl Watched {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

impl MailboxStore for Watched {
    fn append<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), Fault>> {
        self.note(format!("append {} to {}: {}", letter.id, letter.to, letter.text));
        self.within.append(letter)
    }

    fn unread(&self) -> BoxFuture<'_, Result<Vec<u64>, Fault>> {
        self.note("unread".to_owned());
        self.within.unread()
    }

    fn mark_read<'a>(&'a self, ids: &'a [u64]) -> BoxFuture<'a, Result<Vec<u64>, Fault>> {
        self.note(format!("read {ids:?}"));
        self.within.mark_read(ids)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.note("close".to_owned());
        self.within.close()
    }
}

/// A store that does what it must not.
#[derive(Clone, Copy)]
enum Broken {
    Fails,
    Hangs,
    Panics,
}

impl MailboxStore for Broken {
    fn append<'a>(&'a self, _: &'a Letter) -> BoxFuture<'a, Result<(), Fault>> {
        match self {
            Self::Fails => Box::pin(async { Err(Fault::step("full", "the disk is full")) }),
            Self::Hangs => Box::pin(std::future::pending()),
            Self::Panics => Box::pin(async { panic!("no") }),
        }
    }

    fn unread(&self) -> BoxFuture<'_, Result<Vec<u64>, Fault>> {
        panic!("it failed before")
    }

    fn mark_read<'a>(&'a self, _: &'a [u64]) -> BoxFuture<'a, Result<Vec<u64>, Fault>> {
        panic!("it failed before")
    }

    fn close(&self) -> BoxFuture<'_, Result<(), Fault>> {
        panic!("it failed before")
    }
}

fn orchestrator(store: impl Fn(&RunId) -> Arc<dyn MailboxStore> + Send + Sync + 'static) -> Orchestrator {
    let builder = Orchestrator::builder().model(Scripted::parse(SCRIPT).unwrap());
    builder.coordinator(Coordinator::default()).mailbox_store(store).build().unwrap()
}

async fn first_half(orchestrator: &Orchestrator) -> RunResult {
    let workflow = Workflow::parse(DOCUMENT, Path::new(".")).unwrap();
    orchestrator.run_flow(&workflow, RunOptions::default()).await.unwrap()
}

async fn second_half(orchestrator: &Orchestrator, run: &RunId) -> RunResult {
    let answers = [("sure".to_owned(), cofferdam::InputText::Text("yes".to_owned()))].into();
    let options = ResumeOptions { answers, ..ResumeOptions::default() };
    orchestrator.resume_flow(run, None, options).await.unwrap()
}

#[test]
fn the_store_in_memory_keeps_the_laws() {
    quick().block_on(cofferdam::contract::mailbox(&MemoryMailbox::default())).unwrap();
}

#[test]
fn a_store_hears_of_each_message_and_has_what_waits() {
    let store = Arc::new(Watched::default());
    let kept = Arc::clone(&store);
    let orchestrator = orchestrator(move |_| Arc::clone(&kept) as Arc<dyn MailboxStore>);
    quick().block_on(async {
        let half = first_half(&orchestrator).await;
        assert_eq!((half.status.as_str(), half.warnings.len()), ("waiting", 0), "{:?}", half.warnings);
        let waiting: Vec<String> = store.within.waiting().iter().map(|letter| letter.text.to_string()).collect();
        assert_eq!(waiting, ["wait"]);
        let whole = second_half(&orchestrator, &half.run_id).await;
        assert_eq!((whole.status.as_str(), whole.warnings.len()), ("completed", 0), "{:?}", whole.warnings);
    });
    let asked = store.asked.lock().unwrap();
    assert_eq!(
        asked[..],
        [
            "append 1 to @coordinator: hello",
            "read [1]",
            "append 2 to b: wait",
            "append 3 to none: x",
            "read [3]",
            "close",
            "unread",
            "read [2]",
            "close"
        ]
    );
}

#[test]
fn a_store_that_says_something_else_is_reported_and_set_right() {
    let store = Arc::new(MemoryMailbox::default());
    let kept = Arc::clone(&store);
    let orchestrator = orchestrator(move |_| Arc::clone(&kept) as Arc<dyn MailboxStore>);
    quick().block_on(async {
        let half = first_half(&orchestrator).await;
        // Somebody reads what waits, and writes what nobody wrote.
        let letter = Letter { id: 77, ..store.waiting().remove(0) };
        store.mark_read(&[2]).await.unwrap();
        store.append(&letter).await.unwrap();
        let whole = second_half(&orchestrator, &half.run_id).await;
        assert_eq!(whole.status.as_str(), "completed");
        assert!(
            whole.warnings.iter().any(|said| said.contains("it lacks the messages 2; it has 77 as unread")),
            "{:?}",
            whole.warnings
        );
        assert!(store.waiting().is_empty());
    });
}

#[test]
fn a_store_that_fails_ends_no_run() {
    for (broken, why) in
        [(Broken::Fails, "the disk is full"), (Broken::Hangs, "within 5s"), (Broken::Panics, "it panicked")]
    {
        let orchestrator = orchestrator(move |_| Arc::new(broken));
        quick().block_on(async {
            let half = first_half(&orchestrator).await;
            assert_eq!(half.status.as_str(), "waiting");
            let said: Vec<&String> = half.warnings.iter().filter(|said| said.contains("mailbox store")).collect();
            assert!(said.len() == 1 && said[0].contains(why), "{:?}", half.warnings);
        });
    }
}
