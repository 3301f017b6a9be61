//! The same document, script, plugins and seed give the same events, but for the time: on one thread and on eight. What runs
//! side by side may end in any order; then the events of each step are the same.
//!
//! `KILLS=200` tries a thousand documents.

use crate::crash::chances;
use crate::support::user_directory;
use cofferdam::core::id::RunId;
use cofferdam::core::permission::{Rule, Rules};
use cofferdam::core::port::{BoxFuture, Clock, Journal, Randomness, RecordBody};
use cofferdam::core::time::Timestamp;
use cofferdam::llm::Scripted;
use cofferdam::store::Memory;
use cofferdam::{Orchestrator, RunOptions, UserDirs, Workflow};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Builder;

const SCRIPT: &str = "
answers:
  - { step: a1, turn: 1, toolCalls: [{ tool: text.words, args: { text: one two three } }] }
  - { step: a2, turn: 1, text: first, toolCalls: [{ tool: text.words, args: { text: x } }] }
  - { step: a2, turn: 2, text: second, toolCalls: [{ tool: text.words, args: { txt: a slip } }] }
  - { step: a3, attempt: 1, error: { status: 503, message: out of order } }
default: { text: 'said by {{step}}', usage: { input: 3, output: 2 } }
";

const HEAD: &str = "
name: alike
plugins: { text: builtin:text, gate: builtin:gate, table: builtin:markdown-table }
agents: { worker: { description: Works., tools: [text.words] } }
steps:
";

/// Numbers of one seed.
struct Seeded(AtomicU64);

impl Randomness for Seeded {
    fn unit(&self) -> f64 {
        let mut seed = self.0.load(Ordering::Relaxed);
        let number = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31) % 1_000;
        seed = seed.wrapping_add(1);
        self.0.store(seed, Ordering::Relaxed);
        f64::from(u32::try_from(number).unwrap()) / 1_000.0
    }
}

/// A clock by which it is always the same time, and whose short waits are shorter still.
struct Hurried;

impl Clock for Hurried {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000)
    }

    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        let wait = if wait < Duration::from_secs(30) { wait.min(Duration::from_millis(1)) } else { wait };
        Box::pin(tokio::time::sleep(wait))
    }
}

/// How the steps depend on each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wiring {
    /// Each on all before it: one order.
    Chain,
    /// Each on the first and some before it.
    Graph,
}

/// A document of a few steps of every kind.
fn document(wiring: Wiring, chance: &mut impl FnMut(u64) -> u64) -> String {
    let mut text = format!("{HEAD}  - {{ id: a0, agent: worker, instructions: Begin. }}\n");
    for number in 1..4 + chance(6) {
        let mut before: Vec<String> = (0..number).map(|number| format!("a{number}")).collect();
        before.retain(|id| chance(3) == 0 || wiring == Wiring::Chain || id == "a0");
        write!(text, "  - {{ id: a{number}, dependsOn: [{}]", before.join(", ")).unwrap();
        if chance(4) == 0 {
            text.push_str(", condition: { plugin: gate, options: { value: steps.a0.content, contains: said } }");
        }
        text.push_str(match chance(5) {
            0 => ", tool: text.words, args: { text: '{{ steps.a0.content }} and more' } }\n",
            1 => ", agent: worker, instructions: Work., maxRetries: 0, retries: 2 }\n",
            2 => ", loop: { forEach: [k, l], steps: [{ id: in, tool: text.words, args: { text: '{{ item }}' } }] } }\n",
            3 => ", steps: [{ id: g, agent: worker, instructions: Go. }, { id: h, instructions: On., dependsOn: [g] }] }\n",
            _ => ", instructions: Say., transform: { output: [{ plugin: table }] } }\n",
        });
    }
    text
}

/// The events of a run, without the time. On a machine that is too busy a plugin may be stopped at its limit of time; such
/// a run says nothing.
fn events(document: &str, seed: u64, threads: usize, at_once: usize) -> Vec<Map<String, Value>> {
    let is_sound =
        |events: &Vec<Map<String, Value>>| !events.iter().any(|event| format!("{event:?}").contains("plugin_limit"));
    let mut tries = (0..5).map(|_| events_of_one(document, seed, threads, at_once));
    tries.find(is_sound).expect("the machine is too busy")
}

fn events_of_one(document: &str, seed: u64, threads: usize, at_once: usize) -> Vec<Map<String, Value>> {
    let (journal, run) = (Arc::new(Memory::default()), RunId::parse("alike").unwrap());
    let user = user_directory();
    let orchestrator = Orchestrator::builder()
        .model(Scripted::parse(SCRIPT).unwrap())
        .storage(Arc::clone(&journal) as Arc<dyn Journal>)
        .clock(Arc::new(Hurried))
        .randomness(Arc::new(Seeded(AtomicU64::new(seed))))
        .user_dirs(UserDirs { cache: user.join("cache/cofferdam"), state: user.join("state/cofferdam") })
        .permissions(Rules { allow: vec![Rule::parse("*").unwrap()], ..Rules::default() })
        .max_concurrency(at_once)
        .build()
        .unwrap();
    let workflow = Workflow::parse(document, ".").unwrap();
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    let page = runtime.block_on(async {
        let options = RunOptions { run_id: Some(run.clone()), ..RunOptions::default() };
        orchestrator.run_flow(&workflow, options).await.unwrap();
        orchestrator.close().await;
        journal.read(&run, 0, 100_000).await.unwrap()
    });
    let events = page.records.iter().filter_map(|record| match &record.body {
        RecordBody::Event(event) => Some(event),
        RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
    });
    events.map(|event| timeless(serde_json::to_value(event).unwrap())).collect()
}

fn timeless(event: Value) -> Map<String, Value> {
    let Value::Object(mut event) = event else { panic!("an event is an object: {event}") };
    for key in ["at", "duration_ms"] {
        event.shift_remove(key);
    }
    event
}

/// The same with the events of each step together: what runs side by side may end in any order.
fn by_path(mut events: Vec<Map<String, Value>>) -> Vec<Map<String, Value>> {
    events.iter_mut().for_each(|event| _ = event.shift_remove("seq"));
    events.sort_by_key(|event| event.get("path").map(Value::to_string));
    events
}

/// Holds events against others, and shows the first that differs.
fn same(found: &[Map<String, Value>], wanted: &[Map<String, Value>], document: &str) {
    let differs = found.iter().zip(wanted).find(|(found, wanted)| found != wanted);
    assert!(differs.is_none() && found.len() == wanted.len(), "{document}\n{differs:#?}");
}

#[test]
fn one_document_gives_the_same_events_on_one_thread_and_on_eight() {
    let count = if std::env::var_os("KILLS").is_some() { 1_000 } else { 50 };
    let (mut chance, mut most) = (chances(), 0);
    for seed in 0..count {
        let chain = document(Wiring::Chain, &mut chance);
        let first = events(&chain, seed, 1, 1);
        most = most.max(first.len());
        same(&events(&chain, seed, 8, 1), &first, &chain);
        let graph = document(Wiring::Graph, &mut chance);
        let first = by_path(events(&graph, seed, 1, 4));
        same(&by_path(events(&graph, seed, 8, 4)), &first, &graph);
    }
    assert!(most > 60, "only {most} events");
}

#[test]
fn another_seed_gives_other_events() {
    let document = format!("{HEAD}  - {{ id: a3, agent: worker, instructions: Work., maxRetries: 0, retries: 2 }}\n");
    let first = events(&document, 1, 1, 1);
    assert_eq!(events(&document, 1, 8, 1), first);
    assert_ne!(events(&document, 2, 1, 1), first, "the pause before a try is drawn");
}
