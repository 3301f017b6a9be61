//! What a model said, kept as it came, for protocols that want it back untouched: signatures, encrypted reasoning.
//!
//! It must not interpret what it keeps. What another model or provider said is never sent to this one.

use crate::protocol::Asked;
use cofferdam_core::message::{Opaque, ToolCall};
use serde_json::{Value, json};

/// The parts of an answer, to be sent back by whoever speaks the same protocol to the same model.
pub(crate) fn keep(protocol: &str, asked: &Asked, parts: Vec<Value>) -> Opaque {
    let mut data = json!({ "protocol": protocol, "model": asked.model });
    if let Some(data) = data.as_object_mut() {
        data.insert("parts".to_owned(), Value::Array(parts));
    }
    Opaque { provider: asked.provider.clone(), data }
}

/// The parts that were kept of an answer, if they are of this provider, protocol and model and have just these calls:
/// a host that shortened or changed the answer sends what it has instead.
pub(crate) fn kept<'a>(
    opaque: &'a [Opaque],
    protocol: &str,
    asked: &Asked,
    calls: &[ToolCall],
    id_of: impl Fn(&'a Value) -> Option<&'a str>,
) -> Option<&'a [Value]> {
    let is_ours = |one: &&Opaque| {
        let text = |key: &str| one.data.get(key).and_then(Value::as_str);
        one.provider == asked.provider && text("protocol") == Some(protocol) && text("model") == Some(&asked.model)
    };
    let parts = opaque.iter().rev().find(is_ours)?.data.get("parts")?.as_array()?;
    parts.iter().filter_map(id_of).eq(calls.iter().map(|call| call.id.as_str())).then_some(parts.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(model: &str) -> Asked {
        Asked { provider: "acme".to_owned(), model: model.to_owned(), ..Asked::default() }
    }

    fn call(id: &str) -> ToolCall {
        ToolCall { id: id.to_owned(), name: "x".to_owned(), arguments: String::new() }
    }

    #[test]
    fn parts_go_back_to_who_made_them_and_only_beside_their_own_calls() {
        let parts = vec![json!({ "signature": "s" }), json!({ "id": "a" })];
        let kept_parts = [keep("p", &asked("m"), parts)];
        let find = |protocol: &str, model: &str, calls: &[ToolCall]| {
            kept(&kept_parts, protocol, &asked(model), calls, |part| part.get("id").and_then(Value::as_str)).is_some()
        };
        assert!(find("p", "m", &[call("a")]));
        assert!(!find("q", "m", &[call("a")]) && !find("p", "other", &[call("a")]));
        assert!(!find("p", "m", &[]) && !find("p", "m", &[call("a"), call("b")]) && !find("p", "m", &[call("b")]));
    }
}
