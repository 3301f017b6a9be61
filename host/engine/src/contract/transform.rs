//! Laws of transforms.

use super::{Law, Verdict, act, at, same, told};
use cofferdam_core::port::{Item, ItemValue, Outcome, Transform};
use serde_json::json;
use std::sync::Arc;

pub(super) const LAWS: &[Law<dyn Transform>] = &[
    Law { sentence: "no items have no outcomes", holds: |it| Box::pin(nothing(it)) },
    Law { sentence: "each item has one outcome, in the same order", holds: |it| Box::pin(order(it)) },
    Law { sentence: "texts and data come through unchanged", holds: |it| Box::pin(unchanged(it)) },
    Law { sentence: "several items may take the place of one", holds: |it| Box::pin(several(it)) },
    Law { sentence: "a reason goes along with what is dropped", holds: |it| Box::pin(dropped(it)) },
    Law { sentence: "an item that fails is no failure of the batch", holds: |it| Box::pin(failed(it)) },
    Law { sentence: "the same call gives the same, another step another number", holds: |it| Box::pin(again(it)) },
    Law { sentence: "options that are none are refused before a run", holds: |it| Box::pin(options(it)) },
    Law { sentence: "a list of another length is a broken contract", holds: |it| Box::pin(lie(it)) },
];

fn text(text: &str) -> Item {
    Item { id: "content".into(), value: ItemValue::Text(text.into()) }
}

async fn nothing(it: &dyn Transform) -> Verdict {
    let outcomes = it.apply(at("a"), &act("keep", ""), Vec::new()).await.map_err(|fault| told(&fault))?;
    same(&outcomes, &Vec::new())
}

async fn order(it: &dyn Transform) -> Verdict {
    let items = vec![text("a"), text("b"), text("c")];
    let outcomes = it.apply(at("a"), &act("upper", ""), items).await.map_err(|fault| told(&fault))?;
    same(&outcomes, &["A", "B", "C"].map(|wanted| Outcome::Keep(text(wanted))).to_vec())
}

async fn unchanged(it: &dyn Transform) -> Verdict {
    let data =
        json!({ "text": "\u{e4}\n\"\u{1f600}", "number": 12_345_678_901_234_567_u64, "list": [null, true, 1.5] });
    let items = vec![text("\u{e4}\n\"\u{1f600}"), Item { id: "result".into(), value: ItemValue::Json(Arc::new(data)) }];
    let outcomes = it.apply(at("a"), &act("keep", ""), items.clone()).await.map_err(|fault| told(&fault))?;
    same(&outcomes, &items.into_iter().map(Outcome::Keep).collect())
}

async fn several(it: &dyn Transform) -> Verdict {
    let outcomes = it.apply(at("a"), &act("twice", ""), vec![text("a")]).await.map_err(|fault| told(&fault))?;
    same(&outcomes, &vec![Outcome::Replace(vec![text("a"), text("a")])])
}

async fn dropped(it: &dyn Transform) -> Verdict {
    let outcomes = it.apply(at("a"), &act("drop", "too old"), vec![text("a")]).await.map_err(|fault| told(&fault))?;
    same(&outcomes, &vec![Outcome::Drop("too old".to_owned())])
}

async fn failed(it: &dyn Transform) -> Verdict {
    let items = vec![text("a"), text("b")];
    let outcomes = it.apply(at("a"), &act("fail", "no words"), items).await.map_err(|fault| told(&fault))?;
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Fail(fault) if fault.message.contains("no words"));
    same(&(outcomes.len(), outcomes.iter().all(failed)), &(2, true))
}

async fn again(it: &dyn Transform) -> Verdict {
    let options = act("chance", "");
    let first = it.apply(at("a"), &options, vec![text("a")]).await.map_err(|fault| told(&fault))?;
    let second = it.apply(at("a"), &options, vec![text("a")]).await.map_err(|fault| told(&fault))?;
    same(&second, &first)?;
    let other = it.apply(at("b"), &options, vec![text("a")]).await.map_err(|fault| told(&fault))?;
    let clock = |outcomes: &[Outcome]| format!("{outcomes:?}").contains("1700000000000");
    same(&(other == first, clock(&first), clock(&other)), &(false, true, true))
}

async fn options(it: &dyn Transform) -> Verdict {
    same(&it.refuse(&act("keep", "")), &None)?;
    same(&(it.refuse(&act("fly", "")).is_some(), it.refuse(&Default::default()).is_some()), &(true, true))
}

async fn lie(it: &dyn Transform) -> Verdict {
    match it.apply(at("a"), &act("lie", ""), vec![text("a"), text("b")]).await {
        Err(fault) => same(&fault.code.to_string(), &"plugin_protocol".to_owned()),
        Ok(outcomes) => Err(format!("took {outcomes:?}")),
    }
}
