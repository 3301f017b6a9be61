//! Messages between agents: what one costs the router, what a coordinator costs a run, and many agents that write at once.

mod latency;

use crate::graph::{ports, request, step, workflow};
use crate::measure::{best, count, micros, resident_kib, row};
use anyhow::{Context as _, Result};
use cofferdam_core::event::{Body, MessageKind, Posted, RunEvent};
use cofferdam_core::id::{AgentName, RunId, StepPath};
use cofferdam_core::mail::{Mail, tally};
use cofferdam_core::port::{
    Agent, AgentContext, AgentFailure, AgentInput, AgentOutput, BoxFuture, Journal, Post, RecordBody,
};
use cofferdam_core::spec::workflow::{Step, Work, Workflow};
use cofferdam_core::time::Timestamp;
use cofferdam_engine::{Coordinator, Executor, Ports, RunRequest, RunSettings};
use cofferdam_llm::Scripted;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let messages = count(200_000, 50);
    let each = routed(messages);
    row("a message through the router, posted and delivered", &micros(each, messages), "0.33 us");
    both_threads(messages);
    latency::run(runtime)?;
    let (without, with) = (ten_steps(runtime, false), ten_steps(runtime, true));
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    row("ten instant steps beside a coordinator", &format!("{ratio:.1} x without"), "2 x");
    soak(runtime, count(1_000, 3), count(100, 2))
}

/// The events of a run, as it stamps them.
struct Stamp(RunId);

impl Stamp {
    fn new() -> Self {
        Self(RunId::parse("bench").expect("the name follows the grammar"))
    }

    fn event(&self, path: &StepPath, seq: u64, body: Body) -> RunEvent {
        let run_id = self.0.clone();
        RunEvent { seq, sub: None, at: Timestamp::default(), run_id, path: path.clone(), attempt: Some(1), body }
    }
}

/// Two routers at once, of a run each.
#[expect(clippy::cast_precision_loss, reason = "figures are rounded for people")]
fn both_threads(count: usize) {
    let took = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| routed(count)));
        threads.map(|thread| thread.join().expect("a router does not panic")).into_iter().max().unwrap_or_default()
    });
    let rate = (2 * count) as f64 / took.as_secs_f64();
    row("messages a second through routers on two threads", &format!("{rate:.0}"), "3000000");
}

/// The router follows events: each message is one that was posted and one that was delivered.
fn routed(count: usize) -> Duration {
    let (from, to) = (StepPath::from("writer"), StepPath::from("step"));
    let stamp = Stamp::new();
    let posted = (1..=count as u64).map(|id| {
        let (key, text) = (format!("bench/{id}").into(), Arc::from("a message"));
        let posted =
            Posted { id, key, to: to.clone(), message_kind: MessageKind::Info, text, failed: false, in_reply_to: None };
        stamp.event(&from, id, Body::MessagePosted(posted))
    });
    let posted: Vec<RunEvent> = posted.collect();
    best(3, || {
        let mut mail = Mail::default();
        for event_of_post in &posted {
            mail.note(event_of_post);
            let letter = mail.waiting(&to).next().expect("it was just posted").delivered(1);
            mail.note(&stamp.event(&to, event_of_post.seq, letter));
        }
        assert!(!mail.has(&to), "all are delivered");
    })
}

fn coordinated(request: RunRequest, coordinator: bool) -> RunRequest {
    let coordinator = coordinator.then(Coordinator::default);
    RunRequest { settings: RunSettings { coordinator, ..request.settings.clone() }, ..request }
}

fn ten_steps(runtime: &Runtime, coordinator: bool) -> Duration {
    let chain = workflow((0..10).map(|index| step(index, index.checked_sub(1).into_iter().collect())).collect());
    best(200, || {
        let ports = ports(Arc::new(Scripted::answering("done")));
        finish(runtime, ports, coordinated(request(&chain, 5), coordinator));
    })
}

fn finish(runtime: &Runtime, ports: Ports, request: RunRequest) {
    let work = async { tokio::spawn(async move { Executor::new().run(ports, request).await }).await };
    let result = runtime.block_on(work).expect("the task does not panic").expect("the run starts");
    assert!(result.success(), "the run completes");
}

/// An agent that writes so many messages, one after the other.
struct Writer(usize);

impl Agent for Writer {
    fn name(&self) -> &'static str {
        "writer"
    }

    fn run(&self, ctx: AgentContext, _: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(async move {
            for number in 0..self.0 {
                let (text, key) = (format!("message {number}"), format!("{}/{number}", ctx.path).into());
                ctx.run.post(Post { to: None, kind: MessageKind::Info, text, key, failed: false }).await?;
            }
            Ok(AgentOutput::default())
        })
    }
}

fn writers(agents: usize) -> Arc<Workflow> {
    let name = AgentName::parse("writer").expect("the name follows the grammar");
    let steps = (0..agents).map(|index| {
        let mut made: Step = step(index, Vec::new());
        if let Work::Agent(work) = &mut made.work {
            work.agent = Some(name.clone());
        }
        made
    });
    workflow(steps.collect())
}

#[expect(clippy::cast_precision_loss, reason = "figures are rounded for people")]
fn soak(runtime: &Runtime, agents: usize, each: usize) -> Result<()> {
    let workflow = writers(agents);
    let mut ports = ports(Arc::new(Scripted::answering("ok")));
    ports.agents.insert(AgentName::parse("writer")?, Arc::new(Writer(each)));
    let journal = Arc::clone(&ports.journal);
    let (before, started) = (resident_kib(), Instant::now());
    finish(runtime, ports, coordinated(request(&workflow, agents), true));
    let took = started.elapsed();
    let grown = resident_kib().saturating_sub(before) as f64 / 1_024.0;
    let all = runtime.block_on(events(&journal))?;
    let tally = tally(&all).map_err(anyhow::Error::msg).context("the law of mail")?;
    assert_eq!(tally.posted, agents * each, "every message is there");
    let rate = tally.posted as f64 / took.as_secs_f64();
    let shown = format!("{rate:.0} a second, {} read, {} dropped", tally.delivered, tally.dropped);
    row(&format!("{agents} agents that write {each} messages each"), &shown, "");
    row("the same, memory with the whole journal in it", &format!("{grown:.0} MiB"), "");
    Ok(())
}

async fn events(journal: &Arc<dyn Journal>) -> Result<Vec<Arc<RunEvent>>> {
    let (run, mut all, mut after) = (RunId::parse("bench")?, Vec::new(), 0);
    loop {
        let page = journal.read(&run, after, 10_000).await?;
        after += page.records.len() as u64;
        let is_last = page.records.is_empty() || after >= page.head;
        all.extend(page.records.into_iter().filter_map(|record| match record.body {
            RecordBody::Event(event) => Some(event),
            RecordBody::Spilled(_) | RecordBody::Note { .. } => None,
        }));
        if is_last {
            return Ok(all);
        }
    }
}
