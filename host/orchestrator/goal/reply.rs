//! What a model answered when it was asked for a plan, as a document: out of its fence, without what the host decides.

use cofferdam_core::spec::authored;
use serde_json::Value;

/// Keys of the document's options, of agents and of steps that a plan has no say in.
const DECIDED_BY_HOST: [&str; 9] =
    ["model", "temperature", "topP", "maxTokens", "timeout", "stepTimeout", "maxRetries", "budget", "modelOptions"];

/// Keys that a plan cannot have: it is made of agents and steps alone, and stands for itself wherever it is kept.
const NOT_IN_PLANS: [&str; 4] = ["plugins", "mcpServers", "include", "contextFiles"];

/// A block between fences.
struct Block<'r> {
    language: &'r str,
    text: &'r str,
}

/// The document in a reply: the last block that says that it is one, else the longest block, else all of it.
pub(super) fn document_of(reply: &str) -> &str {
    let blocks = blocks(reply);
    let said = blocks.iter().rev().find(|block| ["yaml", "yml", "json"].contains(&block.language));
    let found = said.or_else(|| blocks.iter().max_by_key(|block| block.text.len()));
    found.map_or(reply, |block| block.text).trim()
}

/// Blocks between fences at the beginning of a line; one ends with a fence of the same kind that stands as far in as its first.
fn blocks(reply: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut open) = (Vec::new(), None);
    let mut at = 0;
    for line in reply.split_inclusive('\n') {
        let (begin, end) = (at, at + line.len());
        at = end;
        let Some((indent, fence, rest)) = fence_of(line) else { continue };
        match open {
            None => open = Some((indent, fence, rest, end)),
            Some((own, kind, language, from)) if own == indent && kind == fence && rest.is_empty() => {
                blocks.push(Block { language, text: reply.get(from..begin).unwrap_or_default() });
                open = None;
            }
            Some(_) => {}
        }
    }
    if let Some((.., language, from)) = open {
        blocks.push(Block { language, text: reply.get(from..).unwrap_or_default() });
    }
    blocks
}

/// How far in a fence stands, of what it is made, and what stands behind it.
fn fence_of(line: &str) -> Option<(usize, &str, &str)> {
    let text = line.trim_start_matches(' ');
    let indent = line.len() - text.len();
    let fence = text.get(..3).filter(|fence| ["```", "~~~"].contains(fence))?;
    Some((indent, fence, text.trim_start_matches(['`', '~']).trim()))
}

/// What a plan cannot have, in words; nothing where the document cannot be read.
pub(super) fn refused(document: &str) -> Option<String> {
    let (read, _) = authored::read(document, "plan");
    refuse(&read?.root().to_json()).err()
}

/// The document without what the host decides; none when it cannot be read.
pub(super) fn stripped(document: &str) -> Option<String> {
    let (read, _) = authored::read(document, "plan");
    let mut value = read?.root().to_json();
    strip(value.get_mut("options"));
    for agent in
        value.get_mut("agents").and_then(Value::as_object_mut).into_iter().flat_map(|agents| agents.values_mut())
    {
        strip(Some(agent));
    }
    steps(value.get_mut("steps"));
    Some(value.to_string())
}

/// Refuses what leads out of the document; arguments of tools are the tools' affair.
fn refuse(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) if text.starts_with('@') => {
            Err(format!("a plan reads no files, and `{text}` would: write the text itself"))
        }
        Value::Array(items) => items.iter().try_for_each(refuse),
        Value::Object(map) => map.iter().filter(|(key, _)| *key != "args").try_for_each(|(key, value)| {
            match NOT_IN_PLANS.contains(&key.as_str()) {
                true => Err(format!("a plan has no `{key}`: use agents, steps and the tools that are listed")),
                false => refuse(value),
            }
        }),
        _ => Ok(()),
    }
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

fn strip(table: Option<&mut Value>) {
    if let Some(table) = table.and_then(Value::as_object_mut) {
        table.retain(|key, _| !DECIDED_BY_HOST.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_what_stands_in_the_fence_that_says_so() {
        for (reply, wanted) in [
            ("name: w", "name: w"),
            ("Here:\n```yaml\nname: w\n```\nDone. ```x```", "name: w"),
            ("```\nname: w", "name: w"),
            ("``` yaml\n\n```", ""),
            ("~~~yaml\nname: w\n~~~", "name: w"),
            ("1. so:\n  ```yaml\n  name: w\n  ```\n", "name: w"),
            ("```text\na long thought about it\n```\n```yaml\nname: w\n```", "name: w"),
            ("```\nshort\n```\n```\nname: longer\n```", "name: longer"),
            (
                "```yaml\nname: w\ntext: |\n  ```python\n  x\n  ```\nmore: y\n```",
                "name: w\ntext: |\n  ```python\n  x\n  ```\nmore: y",
            ),
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
        assert!(stripped("{").is_none() && refused("{").is_none());
        for (document, said) in [
            ("plugins: { t: builtin:text }", "`plugins`"),
            ("mcpServers: { s: {} }", "`mcpServers`"),
            ("steps: [{ id: a, include: b.yaml }]", "`include`"),
            ("steps: [{ id: a, loop: { steps: [{ id: b, contextFiles: [c] }] } }]", "`contextFiles`"),
            ("steps: [{ id: a, instructions: '@.env' }]", "@.env"),
        ] {
            let refused = refused(document).unwrap();
            assert!(refused.contains(said), "{refused}");
        }
        assert_eq!(refused("steps: [{ id: a, tool: read, args: { path: '@x' } }]"), None);
    }
}
