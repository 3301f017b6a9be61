//! What is said of calls: to a person who decides, and to the model that made them.
//!
//! It must not decide.

use cofferdam_core::fault::Fault;
use cofferdam_core::id::ToolName;
use cofferdam_core::limits;
use cofferdam_core::port::{ToolOutput, ToolReply};
use cofferdam_core::text::escaped;
use cofferdam_core::value;
use serde_json::Value;
use std::sync::Arc;

/// What is asked about a call, with whoever makes it where that is no model.
pub(super) fn title(tool: &ToolName, caller: Option<&ToolName>) -> String {
    match caller.map(|caller| (caller, caller.alias())) {
        None => format!("allow `{tool}`?"),
        Some((caller, Some(plugin))) => format!("allow `{tool}`, called by the plugin `{plugin}` in `{caller}`?"),
        Some((caller, None)) => format!("allow `{tool}`, called by the tool `{caller}`?"),
    }
}

/// Arguments for a person who decides: one a line, the short ones first, each cut by itself, with nothing in them that is not seen.
pub(super) fn shown(args: &Value) -> String {
    let Value::Object(members) = args else { return args.to_string() };
    let line = |(name, value): (&String, &Value)| {
        let text = escaped(&value.to_string()).into_owned();
        match text.char_indices().nth(limits::QUESTION_VALUE_CHARS) {
            None => format!("{name}: {text}"),
            Some((end, _)) => format!("{name}: {}... ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        }
    };
    let mut lines: Vec<String> = members.iter().map(line).collect();
    lines.sort_by_key(String::len);
    lines.join("\n")
}

pub(super) fn denial(tool: &ToolName, rule: &str) -> Fault {
    let hint = match rule.strip_prefix("deny ") {
        Some(rule) => format!("`--deny {rule}` beats every `--allow`"),
        None => format!("`--allow {tool}` would allow it"),
    };
    Fault::step("tool_denied", format!("the call of `{tool}` was denied ({rule})")).with_hint(hint)
}

/// A denial is a final answer for the model.
pub(crate) fn denial_reply(tool: &ToolName, rule: &str) -> ToolReply {
    let fault = denial(tool, rule);
    let text = format!("{}; do not ask for it again", fault.message);
    ToolReply { text: text.into(), result: Arc::default(), error: Some(fault) }
}

pub(super) fn refusal(fault: Fault) -> ToolReply {
    ToolReply { text: fault.message.as_str().into(), result: Arc::default(), error: Some(fault) }
}

pub(super) fn reply(output: ToolOutput) -> ToolReply {
    // A record cannot tell an empty text beside data from none.
    let text = output.content.filter(|text| !text.is_empty() || output.result.is_null());
    let text = text.unwrap_or_else(|| value::to_text(&output.result).into());
    ToolReply { text, result: output.result, error: None }
}
