//! Reads one fixed path from JSON, without any interpreter.

use crate::expr::EvalError;
use crate::expr::scan::{Key, Path};
use crate::value::{self, Map};
use serde_json::Value;

/// What the path leads to.
///
/// # Errors
/// `Missing` when a key or index is not there or leads into null; `Failed` when it leads into text or a number.
pub(crate) fn read<'v>(path: &Path, variables: &'v Map) -> Result<&'v Value, EvalError> {
    let missing = |upto: usize| EvalError::Missing(format!("`{}` is missing", name(path, upto)));
    let mut value = variables.get(&*path.root).ok_or_else(|| missing(0))?;
    for (index, segment) in path.segments.iter().enumerate() {
        let next = match (&segment.key, value) {
            (_, Value::Null) => None,
            (Key::Name(name), Value::Object(map)) => map.get(&**name),
            (Key::Index(at), Value::Array(items)) => items.get(*at),
            (key, other) => return Err(wrong_kind(path, index, key, other)),
        };
        value = next.ok_or_else(|| missing(index + 1))?;
    }
    Ok(value)
}

fn wrong_kind(path: &Path, index: usize, key: &Key, found: &Value) -> EvalError {
    let (what, owner) = match key {
        Key::Name(name) => (format!("member `{name}`"), "an object"),
        Key::Index(at) => (format!("item {at}"), "a list"),
    };
    EvalError::Failed(format!("`{}` is {}, not {owner}: it has no {what}", name(path, index), value::describe(found)))
}

/// The path as it would be written, up to so many segments.
fn name(path: &Path, upto: usize) -> String {
    let mut text = path.root.to_string();
    for segment in path.segments.iter().take(upto) {
        match &segment.key {
            Key::Name(name) => {
                text.push('.');
                text.push_str(name);
            }
            Key::Index(at) => text.push_str(&format!("[{at}]")),
        }
    }
    text
}
