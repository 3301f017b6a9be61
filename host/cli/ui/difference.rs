//! What a replay found, member by member: what is recorded after `-`, what came out after `+`.

use super::diff;
use cofferdam::Difference;
use cofferdam::core::text::escaped;
use cofferdam::core::value;
use serde_json::Value;
use std::fmt::Write as _;

/// Most members that are shown.
const SHOWN_MEMBERS: usize = 20;

/// Adds the two sides of a difference, each after a margin; says whether there is something to be seen.
pub(crate) fn push(text: &mut String, margin: &str, found: &Difference) -> bool {
    let mut members = Vec::new();
    match (&found.recorded, &found.replayed) {
        (Some(recorded), Some(replayed)) => collect("", Some(recorded), Some(replayed), &mut members),
        (recorded, replayed) => members.push((String::new(), shown(recorded.as_ref()), shown(replayed.as_ref()))),
    }
    members.retain(|(_, recorded, replayed)| recorded != replayed);
    for (name, recorded, replayed) in members.iter().take(SHOWN_MEMBERS) {
        if !name.is_empty() {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{margin}{}", escaped(name));
        }
        diff::push(text, &format!("{margin}  "), (recorded, replayed));
    }
    if let Some(more) = members.len().checked_sub(SHOWN_MEMBERS).filter(|more| *more > 0) {
        let _ = writeln!(text, "{margin}... {more} more members differ");
    }
    !members.is_empty()
}

/// The members in which two values differ, by their names.
fn collect(name: &str, recorded: Option<&Value>, replayed: Option<&Value>, into: &mut Vec<(String, String, String)>) {
    match (recorded, replayed) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let more = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(more) {
                let inner = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                collect(&inner, one.get(key), other.get(key), into);
            }
        }
        (recorded, replayed) => into.push((name.to_owned(), shown(recorded), shown(replayed))),
    }
}

/// A value as text: strings as they are, others as JSON.
fn shown(given: Option<&Value>) -> String {
    match given {
        None => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(_) | Value::Object(_)) => {
            given.and_then(|given| serde_json::to_string_pretty(given).ok()).unwrap_or_default()
        }
        Some(other) => value::to_text(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(recorded: Value, replayed: Value) -> Difference {
        let (path, what) = ("a".into(), "`step_finished` is another one".to_owned());
        Difference { seq: 4, path, attempt: None, what, recorded: Some(recorded), replayed: Some(replayed) }
    }

    #[test]
    fn only_what_differs_is_shown_line_by_line() {
        let recorded =
            json!({ "kind": "step_finished", "output": { "content": "one\ntwo\nthree" }, "status": "completed" });
        let replayed =
            json!({ "kind": "step_finished", "output": { "content": "one\n2\nthree" }, "status": "completed" });
        let mut text = String::new();
        assert!(push(&mut text, "", &found(recorded, replayed)));
        let text = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(text, "output.content\n    one\n  - two\n  + 2\n    three\n");
    }

    #[test]
    fn a_member_that_one_side_lacks_is_shown() {
        let mut text = String::new();
        push(&mut text, "", &found(json!({ "a": 1, "b": true }), json!({ "a": 1 })));
        let text = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(text, "b\n  - true\n");
    }
}
