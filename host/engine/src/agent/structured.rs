//! Structured output: the tool `submit_result`, checked against the whole schema.

use cofferdam_core::fault::Fault;
use cofferdam_core::limits;
use cofferdam_core::message::ToolCall;
use cofferdam_core::port::ToolSpec;
use cofferdam_core::schema::Checker;
use cofferdam_core::value;
use serde_json::Value;
use std::sync::Arc;

/// The tool's name.
pub(super) const NAME: &str = "submit_result";

/// What became of a submission.
#[derive(Clone)]
pub(super) enum Submission {
    Accepted(Value),
    /// What is wrong with it.
    Refused(String),
}

pub(super) fn spec(schema: Arc<Value>) -> ToolSpec {
    ToolSpec {
        name: NAME.to_owned(),
        description: "Submits the final result. Call it once, when the task is done.".to_owned(),
        parameters: schema,
    }
}

pub(super) fn submit(schema: &Checker, call: &ToolCall) -> Submission {
    let parsed = call.parse_arguments().map_err(|error| error.to_string());
    let checked = parsed.and_then(|value| {
        value::check_depth(&value).map_err(|error| error.to_string())?;
        schema.check(&value)?;
        match inexact(&value, "") {
            None => Ok(value),
            Some(place) => Err(format!(
                "`{place}` is an integer beyond 2^53, which many readers of JSON round; give it as text, if the schema allows"
            )),
        }
    });
    match checked {
        Ok(value) => Submission::Accepted(value),
        Err(what) => Submission::Refused(what),
    }
}

/// Integers up to here are the same in every reader of JSON (RFC 8259, section 6).
const EXACT: u64 = 1 << 53;

/// Where the value has an integer that readers with floating point numbers would change.
fn inexact(value: &Value, at: &str) -> Option<String> {
    match value {
        Value::Number(number) => {
            let size = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            size.filter(|&size| size > EXACT).map(|_| at.to_owned())
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| inexact(item, &format!("{at}[{index}]")))
        }
        Value::Object(map) => map.iter().find_map(|(key, item)| {
            let place = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            inexact(item, &place)
        }),
        _ => None,
    }
}

/// What the model is told about a result that is wrong.
pub(super) fn refusal(what: &str) -> String {
    format!("the result was not accepted: {what}; correct it and submit it again")
}

/// The model was asked twice and did not submit.
pub(super) fn never_submitted(content: &str, refused: Option<&str>) -> Fault {
    if let Some(what) = refused {
        return Fault::step("no_result", format!("the agent's result does not fit its schema: {what}"));
    }
    let skip = content.chars().count().saturating_sub(limits::FINAL_TEXT_CHARS);
    let tail: String = content.chars().skip(skip).collect();
    let said = if tail.is_empty() { "it wrote nothing".to_owned() } else { format!("it wrote at last: {tail}") };
    Fault::step("no_result", format!("the agent never submitted a valid result; {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::schema;
    use serde_json::json;

    fn submitted(arguments: &str) -> Result<Value, String> {
        let properties = json!({ "count": { "type": "integer" }, "tags": { "items": { "required": ["id"] } } });
        let checker = schema::check(&json!({ "type": "object", "properties": properties })).unwrap();
        let call = ToolCall { id: "1".into(), name: NAME.into(), arguments: arguments.into() };
        match submit(&checker, &call) {
            Submission::Accepted(value) => Ok(value),
            Submission::Refused(what) => Err(what),
        }
    }

    #[test]
    fn an_integer_that_others_would_round_is_refused_with_its_place() {
        assert_eq!(submitted(r#"{"count": 9007199254740992}"#), Ok(json!({ "count": 9_007_199_254_740_992_u64 })));
        assert_eq!(submitted(r#"{"count": -9007199254740992}"#), Ok(json!({ "count": -9_007_199_254_740_992_i64 })));
        for (arguments, place) in [
            (r#"{"count": 9007199254740993}"#, "`count` is an integer beyond 2^53"),
            (r#"{"count": -9007199254740993}"#, "`count` is an integer beyond 2^53"),
            (r#"{"tags": [{"id": 1}, {"id": 18446744073709551615}]}"#, "`tags[1].id` is an integer beyond 2^53"),
            (r#"{"count": 1.5}"#, "count"),
        ] {
            let what = submitted(arguments).unwrap_err();
            assert!(what.contains(place), "{arguments}: {what}");
        }
    }
}
