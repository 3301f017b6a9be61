//! Mailboxes are bounded: a message too many is dropped with its reason, and what stops a step is no such message.

use crate::support::{Doing, TestRuntime, close, gave};
use cofferdam::core::event::{Body, DropReason, MessageKind, RunEvent, RunStatus};
use cofferdam::core::fault::Fault;
use cofferdam::core::id::{AgentName, RunId};
use cofferdam::core::limits::MAILBOX_MESSAGES;
use cofferdam::core::mail::tally;
use cofferdam::core::port::{
    AgentContext, AgentFailure, AgentInput, AgentOutput, BoxFuture, Effects, Model, Post, RunContext,
};
use cofferdam::llm::Scripted;
use cofferdam::{Agent, Builder, Coordinator, Orchestrator, RunOptions, Tool, Workflow};
use cofferdam_engine::read_events;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What became of messages, in the order in which they were written.
type Receipts = Arc<Mutex<Vec<Option<DropReason>>>>;

/// Writes one message more than a mailbox holds.
async fn flood(run: &dyn RunContext, to: Option<&str>, receipts: &Receipts) -> Result<(), Fault> {
    for number in 0..=MAILBOX_MESSAGES {
        post(run, to, MessageKind::Info, number, receipts).await?;
    }
    Ok(())
}

async fn post(
    run: &dyn RunContext,
    to: Option<&str>,
    kind: MessageKind,
    number: usize,
    receipts: &Receipts,
) -> Result<(), Fault> {
    let key = format!("{} {kind:?} {number}", run.path()).into();
    let post = Post { to: to.map(str::to_owned), kind, text: number.to_string(), key, failed: false };
    let dropped = run.post(post).await?.dropped;
    receipts.lock().unwrap().push(dropped.map(|(reason, _)| reason));
    Ok(())
}

/// An agent that writes to the coordinator.
struct Writer(Receipts, Arc<Scripted>);

impl Agent for Writer {
    fn name(&self) -> &'static str {
        "writer"
    }

    fn run(&self, ctx: AgentContext, _: AgentInput) -> BoxFuture<'_, Result<AgentOutput, AgentFailure>> {
        Box::pin(async move {
            // From then on the coordinator reads nothing: it waits for its model.
            while !self.1.requests().iter().any(|request| request.path.is_coordinator()) {
                tokio::task::yield_now().await;
            }
            flood(ctx.run.as_ref(), None, &self.0).await?;
            std::future::pending().await
        })
    }
}

/// A tool that writes to a step, and then stops it.
fn flooding(receipts: &Receipts) -> impl Tool + 'static {
    let receipts = Arc::clone(receipts);
    Doing::new("flood", Effects { read_only: true, ..Effects::default() }, move |ctx, _| {
        let receipts = Arc::clone(&receipts);
        async move {
            flood(ctx.run.as_ref(), Some("slow"), &receipts).await?;
            post(ctx.run.as_ref(), Some("slow"), MessageKind::Cancel, 0, &receipts).await?;
            gave(json!("written"))
        }
    })
}

fn builder(model: &Arc<Scripted>, receipts: &Receipts) -> Builder {
    let shared = Arc::clone(model);
    Orchestrator::builder()
        .model_resolver(move |_| Some(Arc::clone(&shared) as Arc<dyn Model>))
        .default_model("mine/one")
        .agent(AgentName::parse("writer").unwrap(), Writer(Arc::clone(receipts), Arc::clone(model)))
        .tool(flooding(receipts))
        .coordinator(Coordinator::default().tools(["flood"]))
}

async fn events(on: &Orchestrator, run: &RunId) -> Vec<Arc<RunEvent>> {
    let mut events = Vec::new();
    read_events(&*on.runs(), run, |event| events.push(Arc::clone(event))).await.unwrap();
    events
}

/// How many messages were dropped, by their reasons.
fn drops(events: &[Arc<RunEvent>]) -> BTreeMap<&'static str, usize> {
    let mut drops = BTreeMap::new();
    for event in events {
        if let Body::MessageDropped(dropped) = &event.body {
            *drops.entry(dropped.reason.as_str()).or_default() += 1;
        }
    }
    drops
}

/// One message too many, and how many there were.
fn check_receipts(receipts: &[Option<DropReason>]) {
    assert_eq!(receipts.len(), MAILBOX_MESSAGES + 1);
    assert!(receipts[..MAILBOX_MESSAGES].iter().all(Option::is_none), "the bound is lower");
    assert_eq!(receipts[MAILBOX_MESSAGES], Some(DropReason::MailboxFull));
}

#[test]
fn a_full_mailbox_takes_no_message_but_one_that_stops_its_step() {
    let script = "
answers:
  - { step: '@coordinator', contains: 'step `slow` began', times: 1, toolCalls: [{ tool: flood, args: {} }] }
  - { step: '@coordinator', text: ok }
default: { delay: 1h, text: too late }";
    let (model, receipts) = (Arc::new(Scripted::parse(script).unwrap()), Receipts::default());
    TestRuntime::threads(2).block_on(async {
        let on = builder(&model, &receipts).build().unwrap();
        let workflow = Workflow::parse("name: w\nsteps: [{ id: slow, instructions: x }]", ".").unwrap();
        let result = on.run_flow(&workflow, RunOptions::default()).await.unwrap();
        assert_eq!(result.step("slow").unwrap().status.as_str(), "cancelled");
        let receipts = receipts.lock().unwrap().clone();
        check_receipts(&receipts[..=MAILBOX_MESSAGES]);
        assert_eq!(receipts[MAILBOX_MESSAGES + 1..], [None], "what stops the step got through");
        let events = events(&on, &result.run_id).await;
        let tally = tally(&events).unwrap();
        assert_eq!((tally.posted, tally.delivered, tally.dropped), (10_002, 1, 10_001));
        assert_eq!(drops(&events), [("mailbox_full", 1), ("target_finished", 10_000)].into());
        close(&on).await;
    });
}

#[test]
fn agents_that_write_faster_than_the_coordinator_reads_are_told() {
    let script = "default: { delay: 1h, text: too late }";
    let (model, receipts) = (Arc::new(Scripted::parse(script).unwrap().recording()), Receipts::default());
    TestRuntime::threads(2).block_on(async {
        let on = builder(&model, &receipts).build().unwrap();
        let document =
            "name: w\nagents: { writer: { description: Writes. } }\nsteps: [{ id: a, agent: writer, instructions: x }]";
        let workflow = Workflow::parse(document, ".").unwrap();
        let run = RunId::parse("flooded").unwrap();
        let options = RunOptions { run_id: Some(run.clone()), ..RunOptions::default() };
        let (runner, closed) = (on.clone(), async {
            while receipts.lock().unwrap().len() <= MAILBOX_MESSAGES {
                tokio::task::yield_now().await;
            }
            close(&on).await;
        });
        let (result, ()) = tokio::join!(runner.run_flow(&workflow, options), closed);
        assert_eq!(result.unwrap().status, RunStatus::Cancelled);
        check_receipts(&receipts.lock().unwrap());
        let events = events(&on, &run).await;
        assert_eq!(tally(&events).unwrap().posted, 10_001);
        assert_eq!(drops(&events), [("mailbox_full", 1), ("run_cancelled", 10_000)].into());
    });
}
