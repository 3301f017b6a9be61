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
        schema.check(&value).map(|()| value)
    });
    match checked {
        Ok(value) => Submission::Accepted(value),
        Err(what) => Submission::Refused(what),
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
