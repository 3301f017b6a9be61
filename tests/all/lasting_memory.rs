//! A shared memory that outlives its run: what others wrote, compare-and-set between runs, crashes, replays, and the command line.

use crate::library::quick;
use crate::support::Project;
use cofferdam::core::event::{RunStatus, StepOutput};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{AgentName, RunId};
use cofferdam::core::limits;
use cofferdam::core::port::{
    AgentContext, AgentFailure, AgentInput, AgentOutput, Append, BlobId, BoxFuture, JournalError, Lease, LeaseRequest,
    Page, Put, PutOne, Puts, RecordBody, RunFilter, RunPage, State, StateEntry,
};
use cofferdam::store::{Memory, MemoryState};
use cofferdam::{Agent, InputText, Journal, Orchestrator, ResumeOptions, RunOptions, RunResult, Workflow};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn workflow(steps: &str) -> Workflow {
    let text = format!(
        "name: w\noptions: {{ memory: {{ scope: shared }} }}\nagents: {{ scout: {{ description: S. }} }}\n{steps}"
    );
    Workflow::parse(&text, ".").unwrap()
}

fn write(key: &str, value: &Value) -> Workflow {
    workflow(&format!("steps: [{{ id: a, tool: memory_write, args: {{ key: {key}, value: {value} }} }}]"))
}

/// The entry `x` of `workflow`, as an expression and a tool see it.
fn read() -> Workflow {
    workflow(
        "steps: [{ id: a, tool: memory_read, args: { key: x } }]\noutput: '[has(memory.workflow.x), steps.a.result]'",
    )
}

fn with(state: &Arc<MemoryState>) -> Orchestrator {
    Orchestrator::builder().shared_memory(Arc::clone(state) as Arc<dyn State>).build().unwrap()
}

fn run(orchestrator: &Orchestrator, workflow: &Workflow) -> RunResult {
    quick().block_on(orchestrator.run_flow(workflow, RunOptions::default())).unwrap()
}

#[test]
fn a_later_run_sees_what_an_earlier_one_wrote_and_one_of_another_store_does_not() {
    let (one, other) = (Arc::new(MemoryState::new()), Arc::new(MemoryState::new()));
    assert_eq!(run(&with(&one), &write("x", &json!([1]))).status, RunStatus::Completed);
    let seen = run(&with(&one), &read());
    assert_eq!((&seen.output[0], &seen.output[1]["value"]), (&json!(true), &json!([1])));
    assert_eq!(run(&with(&other), &read()).output, json!([false, null]));
    let alone = "name: w\nsteps: [{ id: a, tool: memory_read, args: { key: x } }]\noutput: '[has(memory.workflow.x), steps.a.result]'";
    assert_eq!(
        run(&with(&one), &Workflow::parse(alone, ".").unwrap()).output,
        json!([false, null]),
        "a run of its own"
    );
    let listed = quick().block_on(with(&one).shared_memory().list(None)).unwrap();
    assert_eq!(listed.len(), 1, "nothing but the entry is left: {listed:?}");
}

#[test]
fn a_change_is_refused_when_another_run_was_quicker_or_there_is_no_room() {
    let state = Arc::new(MemoryState::new());
    let orchestrator = with(&state);
    run(&orchestrator, &write("x", &json!(1)));
    let tool = |tool: &str, args: &str| workflow(&format!("steps: [{{ id: a, tool: {tool}, args: {args} }}]"));
    for (document, code) in [
        (tool("memory_write", "{ key: x, value: 2, expected: 0 }"), "memory_conflict"),
        (tool("memory_write", "{ key: y, value: 2, expected: 77 }"), "memory_conflict"),
        (tool("memory_delete", "{ key: x, expected: 77 }"), "memory_conflict"),
        (tool("memory_delete", "{ key: y }"), "unknown_memory_key"),
        (tool("memory_write", "{ key: 'a b', value: 1 }"), "invalid_memory_key"),
        (tool("memory_write", "{ key: y, value: null }"), "invalid_memory_value"),
    ] {
        let result = run(&orchestrator, &document);
        assert_eq!(result.error.unwrap().fault.code, code);
    }
    let large = json!("x".repeat(1_000_000));
    let codes: Vec<Option<String>> = (0..5)
        .map(|at| {
            run(&orchestrator, &write(&format!("large{at}"), &large)).error.map(|error| error.fault.code.to_string())
        })
        .collect();
    assert_eq!(codes.iter().flatten().collect::<Vec<_>>(), ["memory_full"], "four fit: {codes:?}");
    let entry = quick().block_on(orchestrator.shared_memory().get("workflow", "x")).unwrap().unwrap();
    assert_eq!(*entry.value, json!(1));
}

/// Adds one to a counter, again until nobody was quicker.
struct Counts;

impl Agent for Counts {
    fn name(&self) -> &str {
        "scout"
    }

    fn run(&self, ctx: AgentContext, _: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(async move {
            let memory = ctx.run.memory();
            loop {
                let entry = memory.read("scout", "count").await?;
                let (count, revision) = entry.map_or((0, 0), |entry| (entry.value.as_u64().unwrap(), entry.revision));
                // Others come in between.
                tokio::task::yield_now().await;
                match memory.write_if("count", json!(count + 1), revision).await {
                    Ok(_) => return Ok(AgentOutput::default()),
                    Err(fault) if fault.code == "memory_conflict" => {}
                    Err(fault) => return Err(fault.into()),
                }
            }
        })
    }
}

#[test]
fn runs_at_the_same_time_lose_no_change() {
    let state = Arc::new(MemoryState::new());
    let builder = Orchestrator::builder().shared_memory(Arc::clone(&state) as Arc<dyn State>);
    let orchestrator = builder.agent(AgentName::parse("scout").unwrap(), Counts).build().unwrap();
    let steps = "steps: [{ id: a, agent: scout, instructions: Go. }, { id: b, agent: scout, instructions: Go. }]";
    let document = workflow(steps);
    quick().block_on(async {
        let runs = (0..20).map(|_| orchestrator.run_flow(&document, RunOptions::default()));
        for result in futures_util::future::join_all(runs).await {
            assert_eq!(result.unwrap().status, RunStatus::Completed);
        }
        let entry = orchestrator.shared_memory().get("scout", "count").await.unwrap().unwrap();
        assert_eq!(*entry.value, json!(40));
    });
}

const WAITS: &str = "steps:
  - { id: before, tool: memory_read, args: { key: x } }
  - { id: q, ask: { prompt: 'Sure?' }, dependsOn: [before] }
  - { id: after, tool: memory_read, args: { key: x }, dependsOn: [q] }
  - { id: seen, tool: context_get, args: { key: none }, dependsOn: [q], condition: memory.workflow.x == 2 }
output: '[steps.before.result, steps.after.result, steps.seen.status]'";

#[test]
fn a_run_that_goes_on_sees_what_is_there_then_and_a_replay_what_was_read() {
    let state = Arc::new(MemoryState::new());
    let store = Arc::new(Memory::default());
    let builder = Orchestrator::builder().shared_memory(Arc::clone(&state) as Arc<dyn State>);
    let orchestrator = builder.storage(Arc::clone(&store) as Arc<dyn Journal>).build().unwrap();
    run(&orchestrator, &write("x", &json!(1)));
    let document = workflow(WAITS);
    let waits = run(&orchestrator, &document);
    assert_eq!(waits.status, RunStatus::Waiting);
    run(&orchestrator, &write("x", &json!(2)));
    let answers = BTreeMap::from([("q".to_owned(), InputText::Text("yes".to_owned()))]);
    let resume = ResumeOptions { answers, ..ResumeOptions::default() };
    let result = quick().block_on(orchestrator.resume_flow(&waits.run_id, Some(&document), resume)).unwrap();
    let output = &result.output;
    assert_eq!((&output[0]["value"], &output[1]["value"], &output[2]), (&json!(1), &json!(2), &json!("completed")));
    quick().block_on(orchestrator.shared_memory().clear(None)).unwrap();
    quick().block_on(orchestrator.replay(&result.run_id)).unwrap();
    let elsewhere = Orchestrator::builder().storage(store as Arc<dyn Journal>).build().unwrap();
    quick().block_on(elsewhere.replay(&result.run_id)).unwrap();
}

/// Journal and small values of one machine, with everything that was written in order.
#[derive(Default)]
struct Machine {
    journal: Memory,
    state: MemoryState,
    written: Mutex<Vec<Written>>,
    /// The next change of values is made at once, and said to be made seconds later.
    is_slow: AtomicBool,
}

#[derive(Clone)]
enum Written {
    Append(Append),
    Put(Put),
    Puts(Puts),
}

impl Machine {
    /// What would be there, had the machine stopped after so many writes.
    async fn cut(&self, writes: usize) -> Arc<Self> {
        let cut = Arc::new(Self::default());
        let written = self.written.lock().unwrap()[..writes].to_vec();
        for one in written {
            match one {
                Written::Append(append) => drop(cut.append(append).await.unwrap()),
                Written::Put(put) => drop(cut.put_if(put).await.unwrap()),
                Written::Puts(puts) => drop(cut.put_all(puts).await.unwrap()),
            }
        }
        cut
    }

    fn orchestrator(self: &Arc<Self>) -> Orchestrator {
        let builder = Orchestrator::builder().storage(Arc::clone(self) as Arc<dyn Journal>);
        builder.shared_memory(Arc::clone(self) as Arc<dyn State>).build().unwrap()
    }

    fn note(&self, written: Written) {
        self.written.lock().unwrap().push(written);
    }
}

impl State for Machine {
    fn get<'a>(&'a self, namespace: &'a str, key: &'a str) -> BoxFuture<'a, Result<Option<StateEntry>, JournalError>> {
        self.state.get(namespace, key)
    }

    fn put_if(&self, put: Put) -> BoxFuture<'_, Result<u64, JournalError>> {
        self.note(Written::Put(put.clone()));
        self.state.put_if(put)
    }

    fn put_all(&self, puts: Puts) -> BoxFuture<'_, Result<Vec<u64>, JournalError>> {
        self.note(Written::Puts(puts.clone()));
        let made = self.state.put_all(puts);
        let is_slow = self.is_slow.swap(false, Ordering::Relaxed);
        Box::pin(async move {
            if is_slow {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            made.await
        })
    }

    fn clear<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, JournalError>> {
        self.state.clear(prefix)
    }

    fn scan<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StateEntry>, JournalError>> {
        self.state.scan(namespace, prefix, after, limit)
    }
}

impl Journal for Machine {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        self.note(Written::Append(request.clone()));
        self.journal.append(request)
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        self.journal.read(run, after, limit)
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        self.journal.list(filter)
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        self.journal.put_blob(id, bytes)
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        self.journal.get_blob(id)
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        self.journal.lease(request)
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        self.journal.delete(run)
    }
}

const TWO: &str = "steps:
  - { id: a, tool: memory_write, args: { key: x, value: 1 } }
  - { id: b, tool: memory_write, args: { key: y, value: 1 } }
  - { id: c, tool: memory_delete, args: { key: y }, dependsOn: [a, b] }";

#[test]
fn a_change_is_made_once_wherever_the_machine_stops_and_whoever_writes_meanwhile() {
    let whole = Arc::new(Machine::default());
    let document = workflow(TWO);
    let first = run(&whole.orchestrator(), &document);
    assert_eq!(first.status, RunStatus::Completed);
    let writes = whole.written.lock().unwrap().clone();
    let writes_x = |written: &Written| matches!(written, Written::Puts(puts) if puts.writes[0].key.ends_with("/x"));
    let has = |written: &Written, kind: &str| match written {
        Written::Append(append) => append
            .records
            .iter()
            .any(|record| matches!(&record.body, RecordBody::Event(event) if event.body.kind() == kind)),
        _ => false,
    };
    let ended = |written: &Written| has(written, "run_finished");
    let begun = writes.iter().position(|written| has(written, "run_started")).unwrap() + 1;
    for stopped in begun..=writes.len() {
        let cut = quick().block_on(whole.cut(stopped));
        let orchestrator = cut.orchestrator();
        run(&orchestrator, &write("x", &json!(9)));
        let resumed = orchestrator.resume_flow(&first.run_id, Some(&document), ResumeOptions::default());
        let resumed = quick().block_on(resumed).unwrap();
        assert_eq!(resumed.status, RunStatus::Completed, "after {stopped}: {:?}", resumed.error);
        let entries = quick().block_on(orchestrator.shared_memory().list(None)).unwrap();
        let entries: Vec<_> = entries.iter().map(|entry| (&*entry.key, (*entry.value).clone())).collect();
        // Who came later stays; who came first is written over.
        let was_there = writes[..stopped].iter().any(writes_x);
        assert_eq!(entries, [("x", json!(if was_there { 9 } else { 1 }))], "after {stopped}");
        quick().block_on(orchestrator.replay(&first.run_id)).unwrap();
        // A run that had ended is not taken up, and its mark goes with it.
        let left = quick().block_on(cut.scan("memory", "r/", None, 10)).unwrap();
        assert!(left.is_empty() || writes[..stopped].iter().any(ended), "nothing is open any more: {left:?}");
        quick().block_on(orchestrator.forget_values(&first.run_id)).unwrap();
        assert!(quick().block_on(cut.scan("memory", "r/", None, 10)).unwrap().is_empty());
    }
}

/// Makes a value, another one each time; or fails the first time.
enum Acts {
    Makes(&'static str, AtomicU32),
    Checks(AtomicBool),
}

impl Agent for Acts {
    fn name(&self) -> &str {
        if matches!(self, Self::Makes(..)) { "maker" } else { "judge" }
    }

    fn run(&self, _: AgentContext, _: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        let content = match self {
            Self::Makes(who, count) => format!("{who} {}", count.fetch_add(1, Ordering::Relaxed)),
            Self::Checks(passed) if passed.swap(true, Ordering::Relaxed) => "good".to_owned(),
            Self::Checks(_) => {
                let fault = Fault::retry("not_yet", "not good enough");
                return Box::pin(std::future::ready(Err(fault.into())));
            }
        };
        let output = StepOutput { content: content.into(), ..StepOutput::default() };
        Box::pin(std::future::ready(Ok(AgentOutput { output, ..AgentOutput::default() })))
    }
}

const AGAIN: &str = "name: w
options: { memory: { scope: shared } }
agents: { maker: { description: M. }, judge: { description: J. } }
steps:
  - id: g
    retries: 3
    steps:
      - { id: gen, agent: maker, instructions: Make. }
      - { id: save, dependsOn: [gen], tool: memory_write, args: { key: x, value: '{{ steps.gen.content }}' } }
      - { id: check, dependsOn: [save], agent: judge, instructions: Check. }
output: memory.workflow.x";

#[test]
fn what_a_step_that_begins_anew_writes_is_another_change_wherever_the_machine_stopped() {
    let document = Workflow::parse(AGAIN, ".").unwrap();
    let open = |machine: &Arc<Machine>, who| {
        let builder = Orchestrator::builder().storage(Arc::clone(machine) as Arc<dyn Journal>);
        let agent = |name| AgentName::parse(name).unwrap();
        let builder = builder.agent(agent("maker"), Acts::Makes(who, AtomicU32::new(1)));
        let builder = builder.agent(agent("judge"), Acts::Checks(AtomicBool::new(false)));
        builder.shared_memory(Arc::clone(machine) as Arc<dyn State>).build().unwrap()
    };
    let whole = Arc::new(Machine::default());
    let first = run(&open(&whole, "first"), &document);
    assert_eq!((first.status, &first.output), (RunStatus::Completed, &json!("first 2")), "{:?}", first.error);
    let writes = whole.written.lock().unwrap().len();
    let mut differ = Vec::new();
    for stopped in 1..=writes {
        let cut = quick().block_on(whole.cut(stopped));
        let orchestrator = open(&cut, "second");
        let resumed = orchestrator.resume_flow(&first.run_id, Some(&document), ResumeOptions::default());
        // Before its beginning is recorded there is no run.
        let Ok(resumed) = quick().block_on(resumed) else { continue };
        assert_eq!(resumed.status, RunStatus::Completed, "after {stopped}: {:?}", resumed.error);
        let entry = quick().block_on(orchestrator.shared_memory().get("workflow", "x")).unwrap().unwrap();
        if *entry.value != resumed.output {
            differ.push(format!("after {stopped}: {} is there, and the run has {}", entry.value, resumed.output));
        }
    }
    assert!(differ.is_empty() && writes > 10, "{writes} writes: {differ:#?}");
}

#[test]
fn a_change_that_was_made_too_late_to_be_recorded_is_not_made_again_over_that_of_another_run() {
    let steps = "steps:
  - { id: a, timeout: 1s, tool: memory_write, args: { key: x, value: 1 } }
  - { id: b, tool: memory_write, args: { key: y, value: 1 } }";
    let machine = Arc::new(Machine::default());
    machine.is_slow.store(true, Ordering::Relaxed);
    let document = workflow(steps);
    let first = run(&machine.orchestrator(), &document);
    assert_eq!((first.status, first.error.unwrap().fault.code.as_ref()), (RunStatus::Partial, "timeout"));
    let orchestrator = machine.orchestrator();
    let keys = || {
        let entries = quick().block_on(orchestrator.shared_memory().list(None)).unwrap();
        entries.iter().map(|entry| format!("{} {}", entry.key, entry.value)).collect::<Vec<_>>()
    };
    assert_eq!(keys(), ["x 1", "y 1"]);
    run(&orchestrator, &write("x", &json!(9)));
    let resumed = orchestrator.resume_flow(&first.run_id, Some(&document), ResumeOptions::default());
    assert_eq!(quick().block_on(resumed).unwrap().status, RunStatus::Completed);
    assert_eq!(keys(), ["x 9", "y 1"], "who came later stays");
    quick().block_on(orchestrator.replay(&first.run_id)).unwrap();
}

#[test]
fn runs_that_never_complete_take_no_room_from_entries() {
    let state = Arc::new(MemoryState::new());
    let marks = (0..limits::SHARED_MEMORY_KEYS).map(|run| PutOne {
        key: format!("r/run-{run}"),
        value: Some(Arc::from(&br#"{"calls":[]}"#[..])),
        expected: None,
    });
    let puts = Puts { namespace: "memory".to_owned(), writes: marks.collect(), quota: None };
    quick().block_on(state.put_all(puts)).unwrap();
    let result = run(&with(&state), &write("x", &json!(1)));
    assert_eq!(result.status, RunStatus::Completed, "{:?}", result.error);
}

const NOTES: &str = "
name: notes
agents: { scout: { description: Finds., memory: { read: true, write: true } } }
options: { memory: { scope: shared } }
steps: [{ id: find, agent: scout, instructions: Find. }]
output: '[has(memory.scout.found), steps.find.content]'
";
const MODEL: &str = "
answers:
  - { step: find, turn: 1, times: 1, toolCalls: [{ tool: memory_write, args: { key: found, value: [a, b] } }] }
default: { text: done }
";

#[test]
fn a_project_keeps_it_shows_it_and_forgets_it() {
    let project = Project::new();
    project.file("notes.yaml", NOTES).file("model.yaml", MODEL);
    let run = ["run", "notes.yaml", "--model", "scripted/model.yaml"];
    project.run(&run).expect(0);
    let shown = project.run(&["memory", "show", "--shared", "--json"]).expect(0).json_lines();
    assert_eq!(
        (&shown[0]["agent"], &shown[0]["key"], &shown[0]["value"]),
        (&json!("scout"), &json!("found"), &json!(["a", "b"]))
    );
    project.run(&["memory", "show", "--shared"]).expect(0);
    project
        .run(&["memory", "show", "--shared", "--agent", "nobody"])
        .expect(0)
        .says(&["the agent `nobody` has no entry; entries are there of `scout`"]);
    project.file("model.yaml", "default: { text: done }");
    let again = project.run(&run).expect(0);
    assert_eq!(serde_json::from_str::<Value>(&again.stdout).unwrap(), json!([true, "done"]));
    assert!(project.run(&["memory", "show", "last"]).expect(0).stdout.contains("found"));
    project.run(&["memory", "clear", "--shared"]).expect(3).says(&["--yes"]);
    project
        .run(&["memory", "clear", "--shared", "--agent", "scout", "--yes"])
        .expect(0)
        .says(&["1 entry was forgotten"]);
    project.run(&["replay", "last"]).expect(0);
    let forgotten = project.run(&run).expect(0);
    assert_eq!(serde_json::from_str::<Value>(&forgotten.stdout).unwrap(), json!([false, "done"]));
    let other = Project::new();
    other.run(&["memory", "show", "--shared"]).expect(0).says(&["no entry"]);
}
