//! A transform and a condition that do what their options say: the native twin of the guest `mirror`.

use cofferdam_core::fault::Fault;
use cofferdam_core::port::{
    BoxFuture, Choice, Condition, Item, ItemValue, Outcome, PureContext, PureVerdict, Transform,
};
use cofferdam_core::value::Map;
use serde_json::Value;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Does as it is told: `{do: keep | upper | twice | drop | fail | chance | config | lie | skip | stop | pick, text}`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mirror;

const ACTS: [&str; 11] = ["keep", "upper", "twice", "drop", "fail", "chance", "config", "lie", "skip", "stop", "pick"];

/// The options as they are written.
struct Told<'o> {
    act: &'o str,
    text: &'o str,
}

impl<'o> Told<'o> {
    fn of(options: &'o Map) -> Self {
        let text = |key: &str| options.get(key).and_then(Value::as_str).unwrap_or_default();
        Self { act: text("do"), text: text("text") }
    }
}

fn refuse(options: &Map) -> Option<String> {
    let told = Told::of(options);
    (!ACTS.contains(&told.act)).then(|| format!("`do` is one of {}", ACTS.join(", ")))
}

/// What a component gets of its clock and its random numbers, which native code has to take from where it works.
fn chance(ctx: &PureContext) -> String {
    let mut hasher = DefaultHasher::new();
    (ctx.run_id.as_str(), ctx.path.as_str()).hash(&mut hasher);
    format!("{} at {}", hasher.finish(), ctx.now.as_millis())
}

impl Transform for Mirror {
    fn refuse(&self, options: &Map) -> Option<String> {
        refuse(options)
    }

    fn apply<'a>(
        &'a self,
        ctx: PureContext,
        options: &'a Map,
        items: Vec<Item>,
    ) -> BoxFuture<'a, Result<Vec<Outcome>, Fault>> {
        let told = Told::of(options);
        let one = |item: Item| match (told.act, &item.value) {
            ("drop", _) => Outcome::Drop(told.text.to_owned()),
            ("fail", _) => Outcome::Fail(Fault::step("asked_to", told.text)),
            ("twice", _) => Outcome::Replace(vec![item.clone(), item]),
            ("upper", ItemValue::Text(text)) => Outcome::Keep(with_text(&item, &text.to_uppercase())),
            ("chance", ItemValue::Text(_)) => Outcome::Keep(with_text(&item, &chance(&ctx))),
            _ => Outcome::Keep(item),
        };
        let outcomes: Vec<Outcome> = items.into_iter().map(one).collect();
        let lies = told.act == "lie";
        Box::pin(async move { if lies { Err(Fault::step("plugin_protocol", "it lied")) } else { Ok(outcomes) } })
    }
}

fn with_text(item: &Item, text: &str) -> Item {
    Item { id: item.id.clone(), value: ItemValue::Text(text.into()) }
}

impl Condition for Mirror {
    fn refuse(&self, options: &Map) -> Option<String> {
        refuse(options)
    }

    fn decide<'a>(
        &'a self,
        ctx: PureContext,
        options: &'a Map,
        view: Map,
    ) -> BoxFuture<'a, Result<PureVerdict, Fault>> {
        let told = Told::of(options);
        let verdict = match told.act {
            "skip" => Ok(PureVerdict::Skip(told.text.to_owned())),
            "stop" => Ok(PureVerdict::Stop(told.text.to_owned())),
            "fail" => Err(Fault::step("asked_to", told.text)),
            "chance" => Ok(PureVerdict::Skip(chance(&ctx))),
            "config" => Ok(PureVerdict::Skip(Value::Object(view).to_string())),
            _ => Ok(PureVerdict::Proceed),
        };
        Box::pin(std::future::ready(verdict))
    }

    fn choose<'a>(
        &'a self,
        _: PureContext,
        options: &'a Map,
        choice: Choice,
    ) -> BoxFuture<'a, Result<Option<usize>, Fault>> {
        let told = Told::of(options);
        let chosen = match told.act {
            "pick" => Ok(choice.labels.iter().position(|label| label == told.text)),
            "fail" => Err(Fault::step("asked_to", told.text)),
            "lie" => Err(Fault::step("plugin_protocol", "it lied")),
            _ => Ok(None),
        };
        Box::pin(std::future::ready(chosen))
    }
}
