//! The archived condition: every verdict, and a choice.

use cofferdam_sdk::{Error, Level, PureContext, Result, Verdict, condition};
use guest_kept::Config;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// What it decides.
    verdict: Which,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Which {
    Proceed,
    Skip,
    Stop,
    Fail,
}

/// Decides what its options say.
#[condition(choose = choose)]
fn decide(ctx: &PureContext, options: &Options, view: &Value) -> Result<Verdict> {
    ctx.log(Level::Info, "a kept guest is asked");
    let word = ctx.config::<Config>()?.word;
    let topic = view.pointer("/inputs/topic").unwrap_or(&Value::Null);
    let reason = format!("{word} {topic}");
    match options.verdict {
        Which::Proceed => Ok(Verdict::Proceed),
        Which::Skip => Ok(Verdict::Skip(reason)),
        Which::Stop => Ok(Verdict::Stop(reason)),
        Which::Fail => Err(Error::invalid_input("failed as asked").with_code("asked")),
    }
}

/// The label that is the configured word.
fn choose(ctx: &PureContext, _options: &Options, labels: &[String], _view: &Value) -> Result<Option<usize>> {
    let word = ctx.config::<Config>()?.word;
    Ok(labels.iter().position(|label| *label == word))
}

cofferdam_sdk::plugin!(id = "tests/kept-condition", config = Config, conditions = [decide]);
