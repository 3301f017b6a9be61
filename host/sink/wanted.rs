//! A call that a person shall allow, on one line.

use super::clean;
use cofferdam_core::event::OpenApproval;
use cofferdam_core::id::ToolName;
use serde_json::Value;

/// Most characters of one argument.
const VALUE_CHARS: usize = 80;

/// Most characters of the whole line.
const LINE_CHARS: usize = 400;

/// Who wants to call what, and with which arguments: the short ones first, each cut by itself.
#[must_use]
pub fn wanted(agent: Option<&str>, tool: &ToolName, args: &Value) -> String {
    let who = agent.map_or_else(|| "the document".to_owned(), |agent| format!("agent `{agent}`"));
    let args = match args {
        Value::Object(members) => {
            let mut parts: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{name}: {}", clean(&value.to_string(), VALUE_CHARS)))
                .collect();
            parts.sort_by_key(String::len);
            parts.join(", ")
        }
        other => clean(&other.to_string(), VALUE_CHARS),
    };
    clean(&format!("{who} wants to call `{tool}` with {args}"), LINE_CHARS)
}

/// The same of a call that a run waits with, with its step and its id.
#[must_use]
pub fn awaited(open: &OpenApproval) -> String {
    format!("{}, call {}: {}", open.step, open.call, wanted(open.agent.as_deref(), &open.tool, &open.args))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_is_told_on_one_line_with_its_short_arguments_first() {
        let tool = ToolName::parse("write").unwrap();
        let args = json!({ "content": "x".repeat(500), "path": "a\nb" });
        let line = wanted(Some("writer"), &tool, &args);
        assert!(
            line.starts_with("agent `writer` wants to call `write` with path: \"a\\nb\", content: \"xxx"),
            "{line}"
        );
        assert!(line.ends_with("x…") && line.chars().count() < 200, "{line}");
        assert_eq!(wanted(None, &tool, &json!(null)), "the document wants to call `write` with null");
    }
}
