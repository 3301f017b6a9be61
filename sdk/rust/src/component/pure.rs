//! The exports of transforms and conditions.

use super::bindings::cofferdam::types::common;
use super::bindings::condition::exports::cofferdam::transform::condition;
use super::bindings::transform::exports::cofferdam::transform::transform;
use super::{Host, error_out, info, payload_in, payload_out};
use crate::error::Result;
use crate::plugin::{ConditionPlugin, TransformPlugin};
use crate::pure::{Condition, Item, Outcome, PureContext, Transform, Verdict};

impl<P: TransformPlugin> transform::Guest for P {
    fn options_schema() -> Option<String> {
        <P::Transform as Transform>::options_schema().map(|schema| schema.to_string())
    }

    fn apply(ctx: common::CallContext, options: String, items: Vec<transform::Item>) -> Vec<transform::Outcome> {
        let ctx = PureContext::new(info(ctx), Host);
        let items: Result<Vec<Item>> = items.into_iter().map(item_in).collect();
        match items {
            Ok(items) => P::Transform::apply(&ctx, &options, items).into_iter().map(outcome_out).collect(),
            // The host checks what it sends; the answer has the wrong length and is refused as such.
            Err(error) => vec![transform::Outcome::Fail(error_out(&error))],
        }
    }
}

impl<P: ConditionPlugin> condition::Guest for P {
    fn options_schema() -> Option<String> {
        <P::Condition as Condition>::options_schema().map(|schema| schema.to_string())
    }

    fn decide(
        ctx: common::CallContext,
        options: String,
        view: String,
    ) -> Result<condition::Verdict, common::PluginError> {
        let verdict = P::Condition::decide(&PureContext::new(info(ctx), Host), &options, &view);
        verdict.map(verdict_out).map_err(|error| error_out(&error))
    }

    fn choose(
        ctx: common::CallContext,
        options: String,
        labels: Vec<String>,
        view: String,
    ) -> Result<Option<u32>, common::PluginError> {
        let choice = P::Condition::choose(&PureContext::new(info(ctx), Host), &options, labels, &view);
        let choice = choice.map_err(|error| error_out(&error))?;
        Ok(choice.map(|index| u32::try_from(index).unwrap_or(u32::MAX)))
    }
}

fn item_in(item: transform::Item) -> Result<Item> {
    Ok(Item { id: item.id, value: payload_in(item.value)? })
}

fn item_out(item: Item) -> transform::Item {
    transform::Item { id: item.id, value: payload_out(item.value), meta: "{}".to_owned() }
}

fn outcome_out(outcome: Outcome) -> transform::Outcome {
    match outcome {
        Outcome::Keep(item) => transform::Outcome::Keep(item_out(item)),
        Outcome::Replace(items) => transform::Outcome::Replace(items.into_iter().map(item_out).collect()),
        Outcome::Drop(why) => transform::Outcome::Drop(why),
        Outcome::Fail(error) => transform::Outcome::Fail(error_out(&error)),
    }
}

fn verdict_out(verdict: Verdict) -> condition::Verdict {
    match verdict {
        Verdict::Proceed => condition::Verdict::Proceed,
        Verdict::Skip(why) => condition::Verdict::Skip(why),
        Verdict::Stop(why) => condition::Verdict::Stop(why),
    }
}
