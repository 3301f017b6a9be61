//! What a run may have as a variable, in a document as well as while it runs.

use crate::fault::Fault;
use crate::id::StepPath;
use crate::{limits, value};
use serde_json::Value;

/// The variable that ends the innermost loop when it is set to false.
pub const LOOP_CONTINUE: &str = "loop_continue";
/// The grammar of a variable's name.
const NAME: &str = "^[A-Za-z_][A-Za-z0-9_]{0,63}$";

/// Checks the name of a variable.
///
/// # Errors
/// When no expression could read it.
pub fn check_name(name: &str) -> Result<(), Fault> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if first && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    let message = format!("variable name `{shown}` must match {NAME}");
    Err(Fault::step("invalid_variable", message).with_hint("it is read as `vars.NAME`"))
}

/// Checks the value of a variable.
///
/// # Errors
/// When it is too large or nested too deep.
pub fn check_value(name: &str, value: &Value) -> Result<(), Fault> {
    let too_deep = |error: value::Error| Fault::step("invalid_variable", format!("variable `{name}`: {error}"));
    value::check_depth(value).map_err(too_deep)?;
    let (bytes, limit) = (value::size(value), limits::VARIABLE_BYTES);
    if bytes > limit {
        let message = format!("variable `{name}` has {bytes} bytes, more than the limit of {limit}");
        return Err(Fault::step("variable_too_large", message)
            .with_hint("write large data to a file, `out:NAME`, and keep its name"));
    }
    Ok(())
}

/// Checks that a step may set a variable to this.
///
/// # Errors
/// As [`check_name`] and [`check_value`], and when the signal to a loop would signal nothing.
pub fn check_set(by: &StepPath, name: &str, value: &Value) -> Result<(), Fault> {
    check_name(name)?;
    check_value(name, value)?;
    if name != LOOP_CONTINUE {
        return Ok(());
    }
    if !value.is_boolean() {
        let message = format!("`{LOOP_CONTINUE}` must be true or false, and is {}", value::describe(value));
        return Err(Fault::step("invalid_variable", message).with_hint("false ends the loop after this iteration"));
    }
    // The path of whatever runs in a loop says in which iteration.
    if !by.as_str().contains('[') {
        let message = format!("`{LOOP_CONTINUE}` ends the loop around a step, and there is none around `{by}`");
        return Err(Fault::step("invalid_variable", message).with_hint("set it from a step inside of the loop"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(by: &str, name: &str, value: &Value) -> Result<(), Fault> {
        check_set(&serde_json::from_value(json!(by)).unwrap(), name, value)
    }

    #[test]
    fn names_and_values_are_bounded() {
        for good in ["a", "_x9", &"k".repeat(64)] {
            assert!(set("s", good, &json!(1)).is_ok(), "{good}");
        }
        for bad in ["", "9a", "a-b", "a.b", "ä", &"k".repeat(65)] {
            assert_eq!(set("s", bad, &json!(1)).unwrap_err().code, "invalid_variable", "{bad}");
        }
        let large = json!("x".repeat(limits::VARIABLE_BYTES));
        assert_eq!(set("s", "a", &large).unwrap_err().code, "variable_too_large");
    }

    #[test]
    fn a_signal_is_a_boolean_and_has_a_loop_to_reach() {
        assert!(set("l[0].a", LOOP_CONTINUE, &json!(false)).is_ok());
        let found = set("l[0].a", LOOP_CONTINUE, &json!("false")).unwrap_err();
        assert!(found.message.ends_with("and is a string"), "{found}");
        let found = set("a", LOOP_CONTINUE, &json!(false)).unwrap_err();
        assert!(found.message.ends_with("there is none around `a`"), "{found}");
    }
}
