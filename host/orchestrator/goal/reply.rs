//! What a model answered when it was asked for a plan, as a document: out of its fence, without what the host decides.

use cofferdam_core::spec::authored;
use serde_json::Value;

/// Keys of the document's options, of agents and of steps that a plan has no say in.
const DECIDED_BY_HOST: [&str; 9] =
    ["model", "temperature", "topP", "maxTokens", "timeout", "stepTimeout", "maxRetries", "budget", "modelOptions"];

/// The text in the first fence, or all of it where there is none.
pub(super) fn document_of(reply: &str) -> &str {
    let Some((_, rest)) = reply.split_once("```") else { return reply.trim() };
    // What stands behind the fence names a language.
    let (_, body) = rest.split_once('\n').unwrap_or(("", rest));
    body.split_once("```").map_or(body, |(body, _)| body).trim()
}

/// The document without what the host decides; none when it cannot be read.
pub(super) fn stripped(document: &str) -> Option<String> {
    let (read, _) = authored::read(document, "plan");
    let mut value = read?.root().to_json();
    strip(value.get_mut("options"));
    each(value.get_mut("agents"), strip);
    steps(value.get_mut("steps"));
    Some(value.to_string())
}

fn steps(list: Option<&mut Value>) {
    for step in list.and_then(Value::as_array_mut).into_iter().flatten() {
        steps(step.get_mut("steps"));
        if let Some(repeated) = step.get_mut("loop") {
            steps(repeated.get_mut("steps"));
        }
        strip(Some(step));
    }
}

fn each(table: Option<&mut Value>, mut change: impl FnMut(Option<&mut Value>)) {
    for value in table.and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut()) {
        change(Some(value));
    }
}

fn strip(table: Option<&mut Value>) {
    if let Some(table) = table.and_then(Value::as_object_mut) {
        table.retain(|key, _| !DECIDED_BY_HOST.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_stands_in_the_first_fence() {
        for (reply, wanted) in [
            ("name: w", "name: w"),
            ("Here:\n```yaml\nname: w\n```\nDone. ```x```", "name: w"),
            ("```\nname: w", "name: w"),
            ("``` yaml\n\n```", ""),
            ("  \n", ""),
        ] {
            assert_eq!(document_of(reply), wanted, "{reply:?}");
        }
    }

    #[test]
    fn what_the_host_decides_is_taken_out_and_arguments_stay() {
        let document = "
name: w
options: { model: x, timeout: 1s, onStepFailure: abort }
agents: { a: { description: A., model: x, temperature: 2, tools: [] } }
steps:
  - { id: s, agent: a, model: x, instructions: i }
  - { id: t, tool: read, args: { model: kept, timeout: kept }, timeout: 1s }
  - { id: g, steps: [{ id: h, agent: a, model: x, instructions: i }] }
  - { id: l, loop: { forEach: [1], steps: [{ id: m, agent: a, stepTimeout: 1s, instructions: i }] } }
";
        let text = stripped(document).unwrap();
        assert!(!text.contains("\"x\"") && !text.contains("1s") && !text.contains("temperature"), "{text}");
        assert!(text.contains(r#""model":"kept""#) && text.contains(r#""timeout":"kept""#), "{text}");
        assert!(text.contains("abort"), "{text}");
        assert_eq!(stripped("{"), None);
    }
}
