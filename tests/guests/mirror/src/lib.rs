//! A transform and a condition that do what their options say: what the laws of both kinds are held against, and what
//! no plugin should do.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{SystemTime, UNIX_EPOCH};

use cofferdam_sdk::{Error, Item, Outcome, PureContext, Result, Verdict, condition, transform};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// What to do.
    #[serde(rename = "do")]
    act: Act,
    /// A text for what needs one.
    #[serde(default)]
    text: String,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Act {
    Keep,
    Upper,
    Twice,
    Drop,
    Fail,
    /// Puts a random number and the time into the text.
    Chance,
    /// Puts the configuration into the text.
    Config,
    Trap,
    Loop,
    Memory,
    /// One outcome too few, or a label that there is not.
    Lie,
    Skip,
    Stop,
    /// Chooses the label that is the text.
    Pick,
}

/// Does to each item what its options say.
#[transform(batch)]
fn changed(ctx: &PureContext, options: &Options, items: Vec<Item>) -> Result<Vec<Outcome>> {
    misbehave(options.act)?;
    let mut outcomes: Vec<Outcome> = items.into_iter().map(|item| one(ctx, options, item)).collect();
    if matches!(options.act, Act::Lie) {
        outcomes.pop();
    }
    Ok(outcomes)
}

fn one(ctx: &PureContext, options: &Options, item: Item) -> Outcome {
    let text = item.as_text().map(str::to_owned);
    match (options.act, text) {
        (Act::Drop, _) => Outcome::Drop(options.text.clone()),
        (Act::Fail, _) => Outcome::Fail(Error::invalid_input(options.text.clone()).with_code("asked_to")),
        (Act::Twice, _) => Outcome::Replace(vec![item.clone(), item]),
        (Act::Upper, Some(text)) => Outcome::Keep(item.with_text(text.to_uppercase())),
        (Act::Chance, Some(_)) => Outcome::Keep(item.with_text(chance())),
        (Act::Config, Some(_)) => match ctx.config::<Value>() {
            Ok(config) => Outcome::Keep(item.with_text(config.to_string())),
            Err(error) => Outcome::Fail(error),
        },
        _ => Outcome::Keep(item),
    }
}

/// Decides as its options say.
#[condition(choose = pick)]
fn decided(_ctx: &PureContext, options: &Options, view: &Value) -> Result<Verdict> {
    misbehave(options.act)?;
    match options.act {
        Act::Skip => Ok(Verdict::Skip(options.text.clone())),
        Act::Stop => Ok(Verdict::Stop(options.text.clone())),
        Act::Fail => Err(Error::invalid_input(options.text.clone()).with_code("asked_to")),
        Act::Chance => Ok(Verdict::Skip(chance())),
        // What it sees.
        Act::Config => Ok(Verdict::Skip(view.to_string())),
        _ => Ok(Verdict::Proceed),
    }
}

fn pick(_ctx: &PureContext, options: &Options, labels: &[String], _view: &Value) -> Result<Option<usize>> {
    misbehave(options.act)?;
    match options.act {
        Act::Pick => Ok(labels.iter().position(|label| *label == options.text)),
        Act::Lie => Ok(Some(labels.len())),
        Act::Fail => Err(Error::invalid_input(options.text.clone()).with_code("asked_to")),
        _ => Ok(None),
    }
}

fn misbehave(act: Act) -> Result<()> {
    match act {
        Act::Trap => std::process::abort(),
        Act::Loop => loop {
            std::hint::black_box(());
        },
        Act::Memory => {
            let much = vec![1u8; 64 << 20];
            Err(Error::internal(format!("{} bytes were there", std::hint::black_box(much).len())))
        }
        _ => Ok(()),
    }
}

/// A random number as hash tables get theirs, and the time.
fn chance() -> String {
    let number = RandomState::new().build_hasher().finish();
    #[expect(clippy::disallowed_methods, reason = "what the host answers is what is tested")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    format!("{number} at {now}")
}

cofferdam_sdk::plugin!(id = "acme/mirror", transforms = [changed], conditions = [decided], config = Config,);

/// Anything.
#[derive(Deserialize, JsonSchema)]
pub struct Config {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_as_it_is_told() {
        let upper = Options { act: Act::Upper, text: String::new() };
        let outcomes = changed(&PureContext::fake(), &upper, vec![Item::text("content", "a")]).unwrap();
        assert_eq!(outcomes, [Outcome::Keep(Item::text("content", "A"))]);
    }
}
