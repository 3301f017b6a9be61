//! A condition for everyday use: it compares one value of the run with its options, and chooses between steps by
//! keywords. No model is asked.

mod comparison;
mod keyword;
mod place;

use cofferdam_sdk::{Error, PureContext, Result, Verdict, condition};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

use comparison::Comparison;

/// What the condition compares, and what follows.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Where the value stands in what an expression could read: `inputs.kind`, `steps.scan.result.items[0].score`.
    pub value: String,
    /// The value is this.
    pub equals: Option<Value>,
    /// The value is not this.
    #[serde(rename = "notEquals")]
    pub not_equals: Option<Value>,
    /// The value is one of these.
    #[serde(rename = "oneOf")]
    pub one_of: Option<Vec<Value>>,
    /// The number is at least this.
    #[serde(rename = "atLeast")]
    pub at_least: Option<f64>,
    /// The number is at most this.
    #[serde(rename = "atMost")]
    pub at_most: Option<f64>,
    /// The text has this in it, upper and lower case alike; the list has it as an element.
    pub contains: Option<Value>,
    /// What happens when a comparison does not hold.
    #[serde(default, rename = "else")]
    pub otherwise: Otherwise,
    /// What happens when there is no such value.
    #[serde(default)]
    pub missing: Missing,
    /// Why a step does not run, for people; by default the comparison that does not hold, without the value.
    pub reason: Option<String>,
    /// For choosing: the words that speak for a label; by default the words of the label itself.
    #[serde(default)]
    pub keywords: BTreeMap<String, Vec<String>>,
    /// For choosing: the label when nothing speaks for any; by default none, and no step runs.
    pub fallback: Option<String>,
}

/// What happens when a comparison does not hold.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// The step is skipped.
    #[default]
    Skip,
    /// The scope ends here.
    Stop,
}

/// What happens when there is no value.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The step fails: perhaps the place is misspelt.
    #[default]
    Fail,
    /// As when a comparison does not hold.
    Else,
    /// The step runs.
    Proceed,
}

/// Decides by a value of the run.
#[condition(choose = choose)]
fn gate(_ctx: &PureContext, options: &Options, view: &Value) -> Result<Verdict> {
    let Some(value) = place::find(view, &options.value)? else {
        return match options.missing {
            Missing::Fail => Err(missing(options)),
            Missing::Else => Ok(options.held_back(format!("there is no `{}`", options.value))),
            Missing::Proceed => Ok(Verdict::Proceed),
        };
    };
    let comparisons = Comparison::all(options);
    if comparisons.is_empty() {
        let truthy = !matches!(value, Value::Null | Value::Bool(false)) && value.as_str() != Some("");
        let why = || format!("`{}` is false or empty", options.value);
        return Ok(if truthy { Verdict::Proceed } else { options.held_back(why()) });
    }
    match comparisons.iter().find(|comparison| !comparison.holds(value)) {
        None => Ok(Verdict::Proceed),
        Some(failed) => Ok(options.held_back(format!("`{}` is not {failed}", options.value))),
    }
}

fn choose(_ctx: &PureContext, options: &Options, labels: &[String], view: &Value) -> Result<Option<usize>> {
    let fallback = || options.fallback.as_ref().and_then(|fallback| labels.iter().position(|label| label == fallback));
    let Some(value) = place::find(view, &options.value)? else {
        return if options.missing == Missing::Fail { Err(missing(options)) } else { Ok(fallback()) };
    };
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(keyword::choose(&text, labels, &options.keywords).or_else(fallback))
}

impl Options {
    /// The reason never shows the value: it may be what another step keeps to itself, and reasons reach sinks.
    fn held_back(&self, why: String) -> Verdict {
        let reason = self.reason.clone().unwrap_or(why);
        match self.otherwise {
            Otherwise::Skip => Verdict::Skip(reason),
            Otherwise::Stop => Verdict::Stop(reason),
        }
    }
}

fn missing(options: &Options) -> Error {
    Error::not_found(format!("there is no `{}` here; `missing` says what then", options.value))
        .with_code("missing_value")
}

cofferdam_sdk::plugin!(id = "cofferdam/gate", conditions = [gate]);

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sdk::{Condition as _, ConditionPlugin, ErrorKind};
    use serde_json::json;

    type Gate = <Plugin as ConditionPlugin>::Condition;

    fn view() -> String {
        json!({
            "inputs": { "kind": "bug", "size": 3 },
            "steps": { "scan": { "content": "Please REFUND my order", "result": { "tags": ["a"], "empty": "" } } },
        })
        .to_string()
    }

    fn decide(options: &Value) -> Result<Verdict> {
        Gate::decide(&PureContext::fake(), &options.to_string(), &view())
    }

    fn pick(options: &Value, labels: &[&str]) -> Result<Option<usize>> {
        let labels = labels.iter().map(|&label| label.to_owned()).collect();
        Gate::choose(&PureContext::fake(), &options.to_string(), labels, &view())
    }

    #[test]
    fn a_step_runs_when_every_comparison_holds() {
        for options in [
            json!({ "value": "inputs.kind", "equals": "bug" }),
            json!({ "value": "inputs.kind", "oneOf": ["bug", "task"], "notEquals": "task" }),
            json!({ "value": "inputs.size", "atLeast": 3, "atMost": 3.5 }),
            json!({ "value": "steps.scan.content", "contains": "refund" }),
            json!({ "value": "steps.scan.result.tags", "contains": "a" }),
            json!({ "value": "steps.scan.result.tags[0]" }),
        ] {
            assert_eq!(decide(&options).unwrap(), Verdict::Proceed, "{options}");
        }
    }

    #[test]
    fn a_comparison_that_does_not_hold_skips_or_stops_with_the_reason() {
        let skipped = decide(&json!({ "value": "inputs.size", "atLeast": 5 })).unwrap();
        assert_eq!(skipped, Verdict::Skip("`inputs.size` is not at least 5".into()));
        let stopped = decide(&json!({ "value": "inputs.kind", "equals": "task", "else": "stop", "reason": "no" }));
        assert_eq!(stopped.unwrap(), Verdict::Stop("no".into()));
        let empty = decide(&json!({ "value": "steps.scan.result.empty" })).unwrap();
        assert_eq!(empty, Verdict::Skip("`steps.scan.result.empty` is false or empty".into()));
    }

    #[test]
    fn a_reason_does_not_show_the_value() {
        let skipped = decide(&json!({ "value": "steps.scan.content", "contains": "invoice" })).unwrap();
        assert_eq!(skipped, Verdict::Skip("`steps.scan.content` is not with \"invoice\" in it".into()));
    }

    #[test]
    fn a_missing_value_fails_unless_the_options_say_otherwise() {
        let error = decide(&json!({ "value": "inputs.knd" })).unwrap_err();
        assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, Some("missing_value")));
        assert_eq!(decide(&json!({ "value": "inputs.knd", "missing": "proceed" })).unwrap(), Verdict::Proceed);
        assert!(matches!(decide(&json!({ "value": "x", "missing": "else" })).unwrap(), Verdict::Skip(_)));
    }

    #[test]
    fn a_label_is_chosen_by_its_keywords_or_itself() {
        let by_words = json!({ "value": "steps.scan.content", "keywords": { "money": ["refund", "invoice"] } });
        assert_eq!(pick(&by_words, &["tech", "money"]).unwrap(), Some(1));
        let by_label = json!({ "value": "inputs.kind" });
        assert_eq!(pick(&by_label, &["task", "bug"]).unwrap(), Some(1));
        let fallback = json!({ "value": "inputs.kind", "fallback": "other" });
        assert_eq!(pick(&fallback, &["task", "other"]).unwrap(), Some(1));
        assert_eq!(pick(&fallback, &["task"]).unwrap(), None);
    }

    #[test]
    fn an_unknown_option_is_refused() {
        assert_eq!(decide(&json!({ "value": "inputs.kind", "equal": 1 })).unwrap_err().code(), Some("options"));
    }
}
