//! The archived transform: every outcome.

use cofferdam_sdk::{Error, Item, Level, Outcome, PureContext, Result, transform};
use guest_kept::Config;
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// What becomes of each item.
    outcome: Which,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Which {
    Keep,
    Replace,
    Drop,
    Fail,
}

/// Does with every item what its options say.
#[transform(batch)]
fn kept(ctx: &PureContext, options: &Options, items: Vec<Item>) -> Result<Vec<Outcome>> {
    ctx.log(Level::Info, "a kept guest is asked");
    let word = ctx.config::<Config>()?.word;
    Ok(items.into_iter().map(|item| one(&word, options.outcome, item)).collect())
}

fn one(word: &str, which: Which, item: Item) -> Outcome {
    let said = item.as_text().map(|text| format!("{text} {word}"));
    match which {
        Which::Keep => Outcome::Keep(match said {
            Some(said) => item.with_text(said),
            None => item,
        }),
        Which::Replace => Outcome::Replace(vec![item.clone(), Item::text("kept", word)]),
        Which::Drop => Outcome::Drop(word.to_owned()),
        Which::Fail => Outcome::Fail(Error::invalid_input("failed as asked").with_code("asked")),
    }
}

cofferdam_sdk::plugin!(id = "tests/kept-transform", config = Config, transforms = [kept]);
