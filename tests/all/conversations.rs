//! Conversations of agents: calls of one turn are made side by side and answered in order, and what has grown too large for a
//! model gives way.

use crate::support::{Doing, TestRuntime, close, gave};
use cofferdam::core::event::{Body, RunEvent};
use cofferdam::core::limits::{CONVERSATION_BYTES, PARALLEL_TOOL_CALLS, TOOL_RESULT_BYTES};
use cofferdam::core::message::Message;
use cofferdam::core::port::{Effects, Model, ModelRequest, ToolOutput};
use cofferdam::llm::Scripted;
use cofferdam::{Coordinator, Orchestrator, RunOptions, RunResult, Tool, Workflow};
use cofferdam_engine::read_events;
use serde_json::json;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

fn reads() -> Effects {
    Effects { read_only: true, ..Effects::default() }
}

/// What an agent that gets these tools and answers was asked, and what came of it.
struct Held {
    result: RunResult,
    events: Vec<Arc<RunEvent>>,
    requests: Vec<ModelRequest>,
}

/// Holds the conversation of one step, in no time: whoever waits for ever is stopped at once.
fn hold(tool: impl Tool + 'static, script: &str, coordinator: Option<Coordinator>) -> Held {
    let model = Arc::new(Scripted::parse(script).unwrap().recording());
    let shared = Arc::clone(&model);
    let builder = Orchestrator::builder().model_resolver(move |_| Some(Arc::clone(&shared) as Arc<dyn Model>));
    let on = builder.default_model("mine/one").tool(tool).build().unwrap();
    TestRuntime::quick().block_on(async {
        let document = "name: w\noptions: { timeout: 1h }\nsteps: [{ id: a, instructions: Work. }]";
        let workflow = Workflow::parse(document, ".").unwrap();
        let options = RunOptions { coordinator, ..RunOptions::default() };
        let result = on.run_flow(&workflow, options).await.unwrap();
        let mut events = Vec::new();
        read_events(&*on.runs(), &result.run_id, |event| events.push(Arc::clone(event))).await.unwrap();
        let held = Held { result, events, requests: model.requests() };
        close(&on).await;
        held
    })
}

/// The answers of tools that a request has.
fn answers(request: &ModelRequest) -> Vec<&str> {
    let tool = |message: &&Message| matches!(message, Message::Tool { .. });
    request.messages.iter().filter(tool).map(Message::text).collect()
}

/// Turns of this step that call a tool so often each, and a last one that is done.
fn turns(step: &str, tool: &str, turns: usize, calls: usize) -> String {
    let mut script = "answers:\n".to_owned();
    for turn in 0..turns {
        let calls = (turn * calls..(turn + 1) * calls).map(|n| format!("{{ tool: {tool}, args: {{ n: {n} }} }}"));
        let calls = calls.collect::<Vec<_>>().join(", ");
        writeln!(script, "  - {{ step: '{step}', turn: {}, toolCalls: [{calls}] }}", turn + 1).unwrap();
    }
    script + "default: { text: done }\n"
}

/// A tool whose calls begin to end when so many are in it, the last one first; and how many were in it at most.
fn meeting(most: &Arc<AtomicUsize>) -> impl Tool + 'static {
    let (most, inside) = (Arc::clone(most), Arc::new(AtomicUsize::new(0)));
    // How many calls have come, and which one may end next.
    let gate = Arc::new(watch::Sender::new((0, PARALLEL_TOOL_CALLS)));
    Doing::new("meet", reads(), move |_, args| {
        let (most, inside, gate) = (Arc::clone(&most), Arc::clone(&inside), Arc::clone(&gate));
        let number = usize::try_from(args["n"].as_u64().unwrap()).unwrap();
        async move {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.send_modify(|(came, _)| *came += 1);
            let may_end = |(came, next): &(usize, usize)| *came >= PARALLEL_TOOL_CALLS && *next <= number + 1;
            gate.subscribe().wait_for(may_end).await.unwrap();
            gate.send_modify(|(_, next)| *next = (*next).min(number));
            inside.fetch_sub(1, Ordering::SeqCst);
            gave(json!(number * 2))
        }
    })
}

#[test]
fn eight_calls_of_a_turn_are_made_at_once_and_answered_in_their_order() {
    let most = Arc::default();
    let held = hold(meeting(&most), &turns("a", "meet", 1, 9), None);
    assert!(held.result.success(), "{:?}", held.result.error);
    assert_eq!(most.load(Ordering::SeqCst), 8, "at once");
    let ended = held.events.iter().filter_map(|event| match &event.body {
        Body::ToolCallFinished { result, .. } => result.as_u64(),
        _ => None,
    });
    assert!(ended.eq([14, 12, 10, 8, 6, 4, 2, 0, 16]), "they ended the last one first");
    let read: Vec<u64> = answers(&held.requests[1]).iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(read, [0, 2, 4, 6, 8, 10, 12, 14, 16]);
}

/// A tool whose answers are as large as they may be.
fn large() -> impl Tool + 'static {
    Doing::new("large", reads(), |_, args| {
        let content = format!("{:0>1$}", args["n"].to_string(), TOOL_RESULT_BYTES).into();
        async move { Ok(ToolOutput { result: Arc::default(), content: Some(content) }) }
    })
}

/// What a conversation at this place looks like that has grown too large.
fn check_compacted(held: &Held, step: &str) {
    assert!(held.result.success(), "{:?}", held.result.error);
    let requests: Vec<&ModelRequest> = held.requests.iter().filter(|asked| asked.path.as_str() == step).collect();
    let sizes = requests.iter().map(|asked| asked.messages.iter().map(|message| message.text().len()).sum::<usize>());
    let sizes: Vec<usize> = sizes.collect();
    assert!(sizes.len() > 5 && sizes.iter().all(|size| *size <= CONVERSATION_BYTES), "{sizes:?}");
    // What was left out once comes not back, and what was read last is there.
    let last = answers(requests.last().unwrap());
    assert_eq!(last.len(), 40);
    let mark = "[left out to make room: 32768 bytes of what `large` gave; call it again if it is needed]";
    assert!(last[..8].iter().all(|text| *text == mark), "{}", last[0]);
    assert!(last[32..].iter().all(|text| text.len() == TOOL_RESULT_BYTES));
    let marked = |asked: &&ModelRequest| answers(asked).contains(&mark);
    let told = held.events.iter().filter(|event| {
        let body = &event.body;
        event.path.as_str() == step && matches!(body, Body::Warning { code, .. } if code == "conversation_compacted")
    });
    let first = requests.iter().position(marked).unwrap();
    assert!(first > 1, "it had room at first");
    let times = requests.windows(2).filter(|pair| {
        let of = |asked: &ModelRequest| answers(asked).iter().filter(|text| **text == mark).count();
        of(pair[1]) > of(pair[0])
    });
    assert_eq!(told.count(), times.count(), "each time that something was left out that was told");
    let warned = held.result.warnings.iter().any(|said| said.contains("the conversation was too large"));
    assert!(warned, "{:?}", held.result.warnings);
}

#[test]
fn a_conversation_that_grows_too_large_loses_what_is_old_and_that_is_told() {
    check_compacted(&hold(large(), &turns("a", "large", 5, 8), None), "a");
}

#[test]
fn so_does_that_of_a_coordinator() {
    let coordinator = Coordinator::default().tools(["large"]);
    let held = hold(large(), &turns("@coordinator", "large", 5, 8), Some(coordinator));
    check_compacted(&held, "@coordinator");
}
