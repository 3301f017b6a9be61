//! What is recorded of the calls of one try, in the order in which they were made.

use cofferdam_core::event::{Body, Decision, RunEvent};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::ToolName;
use cofferdam_core::port::ToolReply;
use cofferdam_core::value;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What became of a call.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// A rule denied it.
    Denied(String),
    /// It was asked about, and has not begun.
    Waits,
    /// It had begun; nothing tells how it ended.
    Open,
    Answered(ToolReply),
}

/// A call that is recorded.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// Where its beginning, or the decision about it, stands.
    pub(super) seq: u64,
    pub(super) tool: ToolName,
    /// None where it was denied.
    pub(super) args: Option<Arc<Value>>,
    pub(super) fate: Fate,
}

/// The calls of one try, by number. What tools called is theirs.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(BTreeMap<u32, Recorded>);

impl Calls {
    pub(super) fn of(events: &[Arc<RunEvent>]) -> Self {
        let mut calls = BTreeMap::new();
        for event in events {
            if let Some((number, recorded)) = id_of(&event.body)
                .and_then(|id| id.parse().ok())
                .and_then(|number: u32| note(calls.get(&number), event).map(|recorded| (number, recorded)))
            {
                calls.insert(number, recorded);
            }
        }
        Self(calls)
    }

    /// The first call with a number above this one.
    pub(super) fn after(&self, number: u32) -> Option<(u32, &Recorded)> {
        self.0.range(number.saturating_add(1)..).next().map(|(number, call)| (*number, call))
    }
}

/// The one call of a tool step, which has this id.
pub(super) fn single(events: &[Arc<RunEvent>], id: &str) -> Option<Recorded> {
    let own = events.iter().filter(|event| id_of(&event.body) == Some(id));
    own.fold(None, |before, event| note(before.as_ref(), event).or(before))
}

fn id_of(body: &Body) -> Option<&str> {
    match body {
        Body::ToolCallStarted { call_id, .. }
        | Body::ToolCallFinished { call_id, .. }
        | Body::PermissionAsked { call_id, .. }
        | Body::PermissionDecided { call_id, .. } => Some(call_id),
        _ => None,
    }
}

/// What is known of a call after one more event of it.
fn note(before: Option<&Recorded>, event: &RunEvent) -> Option<Recorded> {
    match &event.body {
        Body::PermissionDecided { tool, decision: Decision::Deny, rule, .. } => {
            Some(Recorded { seq: event.seq, tool: tool.clone(), args: None, fate: Fate::Denied(rule.clone()) })
        }
        Body::PermissionAsked { tool, args, .. } => {
            Some(Recorded { seq: event.seq, tool: tool.clone(), args: Some(Arc::clone(args)), fate: Fate::Waits })
        }
        Body::ToolCallStarted { tool, args, .. } => {
            Some(Recorded { seq: event.seq, tool: tool.clone(), args: Some(Arc::clone(args)), fate: Fate::Open })
        }
        Body::ToolCallFinished { result, content, error, .. } => {
            let before = before?.clone();
            let text = if content.is_empty() { value::to_text(result).into() } else { Arc::clone(content) };
            let reply = ToolReply { text, result: Arc::clone(result), error: error.clone() };
            Some(Recorded { fate: Fate::Answered(reply), ..before })
        }
        _ => None,
    }
}

/// Whether nothing in a run leads to such a failure: it came from outside, and is taken as it is recorded.
pub(super) fn is_from_outside(error: &Fault) -> bool {
    const DERIVED: [&str; 9] = [
        "no_result",
        "too_many_tool_calls",
        "output_too_large",
        "arguments_too_large",
        "message",
        "message_too_large",
        "template",
        "tool_denied",
        "plugin_protocol",
    ];
    !DERIVED.contains(&&*error.code)
}
