//! Conversations in which calls are told in words: of a tool that is not on offer, and those that were none to the model.
//!
//! It must not change what else was said, nor come between calls and their results.

use cofferdam_core::message::{Message, Opaque, ToolCall};
use serde_json::Value;
use std::sync::Arc;

/// What the id of a call begins with that was made of an answer's text.
pub(super) const MADE_BEFORE: &str = "call_";
/// What it ends with.
pub(super) const MADE_AFTER: &str = "_result";

/// The conversation with calls that were made of an answer's text as that text.
pub(super) fn instead_of_made(messages: &Arc<Vec<Message>>) -> Arc<Vec<Message>> {
    let is_made = |call: &ToolCall| call.id.starts_with(MADE_BEFORE) && call.id.ends_with(MADE_AFTER);
    let has_made =
        |message: &Message| matches!(message, Message::Assistant { tool_calls, .. } if tool_calls.iter().any(is_made));
    if messages.iter().any(has_made) { Arc::new(instead_of(messages, is_made)) } else { Arc::clone(messages) }
}

/// The conversation with these calls as the text that they carry, and what was said of them as words of the user.
pub(super) fn instead_of(messages: &[Message], of: impl Fn(&ToolCall) -> bool) -> Vec<Message> {
    let (mut told, mut replies) = (Vec::with_capacity(messages.len() + 1), Vec::new());
    let mut taken: Vec<&str> = Vec::new();
    for message in messages {
        match message {
            // What is said of one stands behind the results of other calls, which must follow the calls at once.
            Message::Tool { call_id, text, .. } if taken.contains(&call_id.as_str()) => {
                replies.push(Message::user(Arc::clone(text)));
            }
            Message::Tool { .. } => told.push(message.clone()),
            other => {
                told.append(&mut replies);
                if let Message::Assistant { tool_calls, .. } = other {
                    taken = tool_calls.iter().filter(|call| of(call)).map(|call| call.id.as_str()).collect();
                }
                told.push(without(&taken, other));
            }
        }
    }
    told.append(&mut replies);
    told
}

/// A message with the arguments of calls as its text.
fn without(taken: &[&str], message: &Message) -> Message {
    let Message::Assistant { text, tool_calls, opaque } = message else {
        return message.clone();
    };
    let (own, others): (Vec<&ToolCall>, Vec<&ToolCall>) =
        tool_calls.iter().partition(|call| taken.contains(&call.id.as_str()));
    if own.is_empty() {
        return message.clone();
    }
    let written = own.iter().map(|call| call.arguments.as_str());
    let text: Vec<&str> = Some(&**text).filter(|text| !text.is_empty()).into_iter().chain(written).collect();
    Message::Assistant {
        text: text.join("\n").into(),
        tool_calls: others.into_iter().cloned().collect(),
        opaque: opaque.iter().map(|one| without_parts(taken, one)).collect(),
    }
}

/// What is kept of an answer without the parts that are these calls, whatever the protocol calls their ids.
fn without_parts(taken: &[&str], opaque: &Opaque) -> Opaque {
    let mut opaque = opaque.clone();
    let id = |part: &Value| {
        let places = [part.get("call_id"), part.get("functionCall").and_then(|call| call.get("id")), part.get("id")];
        places.into_iter().flatten().find_map(Value::as_str).map(str::to_owned)
    };
    if let Some(Value::Array(parts)) = opaque.data.get_mut("parts") {
        parts.retain(|part| id(part).is_none_or(|id| !taken.contains(&id.as_str())));
    }
    opaque
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(id: &str, name: &str) -> ToolCall {
        ToolCall { id: id.into(), name: name.into(), arguments: "{}".into() }
    }

    fn reply(id: &str, name: &str) -> Message {
        Message::Tool { call_id: id.into(), name: name.into(), text: id.into(), is_error: false }
    }

    #[test]
    fn what_is_said_of_a_result_does_not_come_between_calls_and_their_results() {
        for order in [["a", "b"], ["b", "a"]] {
            let name = |id: &str| if id == "a" { "submit" } else { "look" };
            let calls = order.iter().map(|id| call(id, name(id))).collect();
            let mut said = vec![Message::Assistant { text: "".into(), tool_calls: calls, opaque: Vec::new() }];
            said.extend(order.iter().map(|id| reply(id, name(id))));
            said.push(Message::user("on"));
            let told = instead_of(&said, |call| call.name == "submit");
            let kinds: Vec<(&str, bool)> =
                told.iter().map(|message| (message.text(), matches!(message, Message::Tool { .. }))).collect();
            assert_eq!(kinds, [("{}", false), ("b", true), ("a", false), ("on", false)], "{order:?}");
        }
    }

    #[test]
    fn what_a_provider_wants_back_loses_just_the_call() {
        let parts = json!({"parts": [{"type": "thinking", "signature": "s"}, {"id": "a"}, {"functionCall": {"id": "b"}}, {"id": "fc", "call_id": "a"}]});
        let opaque = Opaque { provider: "p".into(), data: parts };
        let said = [Message::Assistant {
            text: "".into(),
            tool_calls: vec![call("a", "submit"), call("b", "look")],
            opaque: vec![opaque],
        }];
        let told = instead_of(&said, |call| call.name == "submit");
        let Some(Message::Assistant { opaque, tool_calls, .. }) = told.first() else { panic!("{told:?}") };
        assert_eq!((opaque[0].data["parts"].as_array().unwrap().len(), tool_calls.len()), (2, 1));
    }

    #[test]
    fn a_conversation_without_made_calls_is_not_copied() {
        let plain = Arc::new(vec![
            Message::user("x"),
            Message::Assistant { text: "".into(), tool_calls: vec![call("call_1_1", "x")], opaque: Vec::new() },
        ]);
        assert!(Arc::ptr_eq(&plain, &instead_of_made(&plain)));
    }
}
