//! What each event becomes, and that each type has the keys that are documented for it.

use super::super::testing::{Gone, Shared, batch, event, later};
use super::line::written;
use super::*;
use cofferdam_core::event::{
    Body, Delivered, DropReason, Dropped, LoopEnd, MessageKind, Posted, RunEvent, RunStatus, SkippedBecause,
    StepOutput, StepStatus,
};
use cofferdam_core::id::{AgentName, StepPath, ToolName};
use cofferdam_core::message::{Message, Usage};
use cofferdam_core::value::Map;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

async fn lines(events: &[RunEvent]) -> Vec<Value> {
    let out = Shared::default();
    let sink = super::super::zenflow(out.clone());
    // A batch each, since what is remembered must outlive one.
    for event in events {
        assert_eq!(sink.deliver(batch(std::slice::from_ref(event))).await, Ok(Ack::All));
    }
    out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn run_started(settings: Map) -> Body {
    Body::RunStarted {
        schema_version: 1,
        workflow: if settings.is_empty() { "review".into() } else { crate::Orchestrator::PLANNER.into() },
        hash: String::new(),
        sources: Vec::new(),
        inputs: Map::new(),
        input: None,
        context_files: Arc::default(),
        plugins: Vec::new(),
        settings,
        plan: vec!["draft".into(), "check".into()],
        sensitive: Vec::new(),
        branched_from: None,
    }
}

fn step_started(agent: Option<&str>) -> Body {
    let agent = agent.map(|agent| AgentName::parse(agent).unwrap());
    Body::StepStarted { agent, tool: None, items: None, inputs: None, narrowed: Vec::new() }
}

fn step_finished(error: Option<Fault>) -> Body {
    let status = if error.is_none() { StepStatus::Completed } else { StepStatus::Failed };
    let (output, usage) = (StepOutput::default(), Usage { input: 3, output: 2, ..Usage::default() });
    Body::StepFinished { status, output, error, usage, truncated_inputs: Vec::new() }
}

fn run_finished() -> Body {
    let usage = Usage { input: 3, output: 2, ..Usage::default() };
    Body::RunFinished {
        status: RunStatus::Completed,
        reason: None,
        output: Value::Null,
        usage,
        cost: None,
        error: None,
    }
}

#[tokio::test]
async fn a_run_and_its_steps_have_their_frames() {
    let events = [
        event("", run_started(Map::new())),
        event("draft", Body::StepReady {}),
        event("draft", step_started(Some("writer"))),
        later("draft", 1_500, step_finished(None)),
        later("check", 1_500, step_started(None)),
        later("check", 1_512, step_finished(Some(Fault::step("broken", "it broke")))),
        later("other", 1_512, Body::StepSkipped { because: SkippedBecause::Condition, detail: "`false`".into() }),
        later("last", 1_512, Body::StepCancelled { detail: "step `check` failed".into() }),
        later("", 70_880, run_finished()),
    ];
    let at = "2026-11-20T08:00:00.000Z";
    let end = "2026-11-20T08:00:01.512Z";
    let tokens = json!({ "prompt": 3, "completion": 2, "total": 5 });
    let expected = json!([
        { "type": "plan_ready", "timestamp": at, "runId": "r1", "data": { "workflow": { "name": "review", "steps": ["draft", "check"] } } },
        { "type": "workflow_start", "timestamp": at, "runId": "r1", "message": "review", "data": { "total": 2 } },
        { "type": "step_start", "timestamp": at, "runId": "r1", "stepId": "draft", "agent": "writer", "data": { "index": 0, "total": 2 } },
        { "type": "step_end", "timestamp": "2026-11-20T08:00:01.500Z", "runId": "r1", "stepId": "draft", "agent": "writer",
          "duration": "1.5s", "tokens": tokens },
        { "type": "step_start", "timestamp": "2026-11-20T08:00:01.500Z", "runId": "r1", "stepId": "check",
          "data": { "index": 1, "total": 2 } },
        { "type": "error", "timestamp": end, "runId": "r1", "stepId": "check", "duration": "12ms", "tokens": tokens, "error": "it broke" },
        { "type": "step_skipped", "timestamp": end, "runId": "r1", "stepId": "other", "message": "condition false",
          "data": { "status": "skipped", "because": "condition", "detail": "`false`" } },
        { "type": "step_skipped", "timestamp": end, "runId": "r1", "stepId": "last", "message": "step `check` failed",
          "data": { "status": "cancelled" } },
        { "type": "workflow_end", "timestamp": "2026-11-20T08:01:10.880Z", "runId": "r1", "duration": "1m10.88s",
          "tokens": tokens, "data": { "status": "completed" } },
    ]);
    assert_eq!(json!(lines(&events).await), expected);
}

#[tokio::test]
async fn a_try_that_failed_is_a_message_and_begins_no_second_step() {
    let retrying =
        Body::StepRetrying { error: Fault::step("broken", "it broke"), delay_ms: 1_000, usage: Usage::default() };
    let events = [
        event("a", step_started(None)),
        event("a", retrying),
        event("a", step_started(None)),
        event("a", step_finished(None)),
    ];
    let lines = lines(&events).await;
    let types: Vec<&Value> = lines.iter().map(|line| &line["type"]).collect();
    assert_eq!(types, ["step_start", "message", "step_end"]);
    assert_eq!(lines[1]["data"]["error"], "it broke");
}

#[tokio::test]
async fn calls_say_what_they_were_given_at_both_ends_and_whose_they_are() {
    let tool = || ToolName::parse("read").unwrap();
    let (call_id, args) = (|| "c1".to_owned(), Arc::new(json!({ "path": "a.txt" })));
    let finished = Body::ToolCallFinished {
        call_id: call_id(),
        tool: tool(),
        result: Arc::new(Value::Null),
        content: "text".into(),
        error: None,
        duration_ms: 12,
    };
    let events = [
        event("a", step_started(Some("writer"))),
        event("a@7", Body::ToolCallStarted { call_id: call_id(), tool: tool(), args }),
        event("a@7", finished),
    ];
    let lines = lines(&events).await;
    let data = |phase: &str| json!({ "phase": phase, "tool_name": "read", "tool_call_id": "c1", "input": r#"{"path":"a.txt"}"#, "depth": 1, "parentCallID": "7" });
    assert_eq!(lines[1]["data"], data("start"));
    let mut end = data("end");
    end["output"] = json!("text");
    assert_eq!((&lines[2]["data"], &lines[2]["duration"]), (&end, &json!("12ms")));
    assert_eq!((&lines[1]["agent"], &lines[1]["stepId"]), (&json!("writer"), &json!("a@7")));
}

#[tokio::test]
async fn an_answer_ends_with_a_piece_that_says_so() {
    let message = Message::Assistant { text: "ab".into(), tool_calls: Vec::new(), opaque: Vec::new() };
    let finished = || Body::TurnFinished {
        turn: 1,
        model: "m".into(),
        message: message.clone(),
        usage: Usage::default(),
        cut: false,
        cost: None,
    };
    let events = [
        event("a", Body::TurnStarted { turn: 1, model: "m".into(), options: Arc::default() }),
        event("a", Body::ThinkingDelta { turn: 1, text: "hm".into() }),
        event("a", Body::OutputDelta { turn: 1, text: "ab".into() }),
        event("a", finished()),
        event("a", finished()),
    ];
    let lines = lines(&events).await;
    let pieces: Vec<_> = lines.iter().filter(|line| line["type"] == "output").collect();
    assert_eq!(pieces.len(), 3, "{lines:#?}");
    assert_eq!(
        (&pieces[0]["delta"], &pieces[0]["reasoning"], &pieces[0]["done"]),
        (&json!("hm"), &json!(true), &json!(false))
    );
    assert_eq!((&pieces[1]["delta"], pieces[1].get("reasoning")), (&json!("ab"), None));
    assert_eq!((&pieces[2]["delta"], &pieces[2]["done"]), (&json!(""), &json!(true)));
    assert!(pieces.iter().all(|piece| piece["timestamp"].is_string() && piece["stepId"] == "a"));
    assert_eq!(lines.last().unwrap()["tokens"], json!({ "prompt": 0, "completion": 0, "total": 0 }));
    assert_eq!(lines.last().unwrap()["data"], json!({ "phase": "response", "turn": 1, "model": "m" }));
}

#[tokio::test]
async fn messages_go_to_and_from_the_coordinator_by_its_name() {
    let coordinator = StepPath::coordinator();
    let kind = MessageKind::ContextUpdate;
    let posted = Posted {
        id: 1,
        key: "k".into(),
        to: "a".into(),
        message_kind: kind,
        text: "hi".into(),
        failed: false,
        in_reply_to: None,
    };
    let delivered = |from: StepPath| Delivered { id: 1, from, message_kind: kind, text: "hi".into(), turn: 2 };
    let dropped = Dropped {
        id: 2,
        from: coordinator.clone(),
        to: "b".into(),
        reason: DropReason::TargetFinished,
        text: "hi".into(),
    };
    let events = [
        event("@coordinator", Body::MessagePosted(posted)),
        event("a", Body::MessageDelivered(delivered(coordinator))),
        event("@coordinator", Body::MessageDelivered(delivered("a".into()))),
        event("", Body::MessageDropped(dropped)),
        event("@coordinator", Body::Narrated { text: "so far".into(), key: "k".into() }),
        event("@coordinator", Body::Summarized { summary: "all done".into() }),
        event("a", Body::Warning { code: "wake_cycles".into(), message: "often".into() }),
    ];
    let shown: Vec<Value> = lines(&events)
        .await
        .into_iter()
        .map(|mut line| {
            let map = line.as_object_mut().unwrap();
            map.remove("timestamp");
            map.remove("runId");
            line
        })
        .collect();
    assert_eq!(
        json!(shown),
        json!([
            { "type": "message_sent", "stepId": "coordinator", "message": "hi", "data": { "to": "a", "text": "hi", "msg_type": 2 } },
            { "type": "agent_inbox_drain", "stepId": "a", "message": "[coordinator]: hi", "data": { "from": "coordinator", "msg_type": 2 } },
            { "type": "coordinator_inbox_message", "stepId": "coordinator", "message": "hi", "data": { "from": "a", "type": "context_update" } },
            { "type": "message_dropped", "stepId": "b", "message": "[coordinator -> b]: hi",
              "data": { "reason": "target-terminal", "from": "coordinator", "to": "b" } },
            { "type": "coordinator_narration", "stepId": "coordinator", "message": "so far" },
            { "type": "coordinator_synthesis", "stepId": "coordinator", "message": "all done" },
            { "type": "max_wake_cycles_warning", "stepId": "a", "message": "often", "data": { "current_cycle": 8, "max_cycles": 10 } },
        ])
    );
}

#[tokio::test]
async fn a_loop_says_what_it_is_and_how_it_ended() {
    let items = Some(Arc::new(vec![json!(1), json!(2)]));
    let started = Body::StepStarted { agent: None, tool: None, items, inputs: None, narrowed: Vec::new() };
    let events = [
        event("each", started),
        event("each[0]", Body::LoopIterationStarted { index: 0 }),
        event("each", Body::LoopFinished { iterations: 2, because: LoopEnd::Items }),
        event("each", step_finished(None)),
    ];
    let lines = lines(&events).await;
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!(lines[0]["data"], json!({ "loop_type": "forEach", "items": 2 }));
    assert_eq!(lines[1]["data"], json!({ "iterations": 2, "loop_end": "items" }));
}

#[tokio::test]
async fn planning_is_no_workflow_and_its_work_is_seen() {
    let mut settings = Map::new();
    settings.insert("metadata".into(), json!({ "goal": "g" }));
    let events = [
        event("", run_started(settings)),
        event("planner", step_started(None)),
        event("planner", Body::TurnStarted { turn: 1, model: "m".into(), options: Arc::default() }),
        event("planner", step_finished(None)),
        event("", run_finished()),
    ];
    let types: Vec<Value> = lines(&events).await.into_iter().map(|line| line["type"].clone()).collect();
    assert_eq!(types, ["agent_turn"]);
}

#[tokio::test]
async fn nothing_of_a_run_is_remembered_after_its_end() {
    let out = Shared::default();
    let sink = super::super::zenflow(out.clone());
    let events = [event("", run_started(Map::new())), event("a", step_started(None)), event("", run_finished())];
    sink.deliver(batch(&events)).await.unwrap();
    assert!(sink.state.lock().unwrap().mapping.remembers_nothing());
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_fault() {
    let sink = super::super::zenflow(Gone);
    for _ in 0..2 {
        assert_eq!(sink.deliver(batch(&[event("", run_finished())])).await, Ok(Ack::All));
    }
}

#[test]
fn durations_are_written_as_go_does() {
    let cases = [
        (0, "0s"),
        (12, "12ms"),
        (1_000, "1s"),
        (1_050, "1.05s"),
        (60_000, "1m0s"),
        (70_880, "1m10.88s"),
        (3_603_000, "1h0m3s"),
    ];
    for (millis, text) in cases {
        assert_eq!(written(Duration::from_millis(millis)), text);
    }
}
