//! Laws of conditions.

use super::{Law, Verdict, act, at, same, told};
use cofferdam_core::port::{Choice, Condition, PureVerdict};
use cofferdam_core::value::Map;
use serde_json::{Value, json};

pub(super) const LAWS: &[Law<dyn Condition>] = &[
    Law {
        sentence: "a step proceeds, is skipped, or ends its scope, with the reason",
        holds: |it| Box::pin(verdicts(it)),
    },
    Law { sentence: "a condition sees what it is shown", holds: |it| Box::pin(sees(it)) },
    Law { sentence: "a label is chosen by its index, or none", holds: |it| Box::pin(chooses(it)) },
    Law { sentence: "an index beyond the labels is a broken contract", holds: |it| Box::pin(lie(it)) },
    Law { sentence: "what cannot decide says why", holds: |it| Box::pin(fails(it)) },
    Law { sentence: "the same call gives the same, another step another number", holds: |it| Box::pin(again(it)) },
    Law { sentence: "options that are none are refused before a run", holds: |it| Box::pin(options(it)) },
];

fn view() -> Map {
    let Value::Object(view) = json!({ "inputs": { "a": "\u{e4}\"" }, "steps": {} }) else { return Map::new() };
    view
}

fn choice() -> Choice {
    Choice { labels: vec!["one".to_owned(), "two".to_owned()], view: view() }
}

async fn verdicts(it: &dyn Condition) -> Verdict {
    for (word, wanted) in [
        ("keep", PureVerdict::Proceed),
        ("skip", PureVerdict::Skip("why".to_owned())),
        ("stop", PureVerdict::Stop("why".to_owned())),
    ] {
        let verdict = it.decide(at("a"), &act(word, "why"), view()).await.map_err(|fault| told(&fault))?;
        same(&verdict, &wanted)?;
    }
    Ok(())
}

async fn sees(it: &dyn Condition) -> Verdict {
    let verdict = it.decide(at("a"), &act("config", ""), view()).await.map_err(|fault| told(&fault))?;
    same(&verdict, &PureVerdict::Skip(Value::Object(view()).to_string()))
}

async fn chooses(it: &dyn Condition) -> Verdict {
    for (text, wanted) in [("one", Some(0)), ("two", Some(1)), ("three", None)] {
        let chosen = it.choose(at("a"), &act("pick", text), choice()).await.map_err(|fault| told(&fault))?;
        same(&chosen, &wanted)?;
    }
    Ok(())
}

async fn lie(it: &dyn Condition) -> Verdict {
    match it.choose(at("a"), &act("lie", ""), choice()).await {
        Err(fault) => same(&fault.code.to_string(), &"plugin_protocol".to_owned()),
        Ok(chosen) => Err(format!("took {chosen:?}")),
    }
}

async fn fails(it: &dyn Condition) -> Verdict {
    let decided = it.decide(at("a"), &act("fail", "no words"), view()).await.map(|verdict| format!("{verdict:?}"));
    let chosen = it.choose(at("a"), &act("fail", "no words"), choice()).await.map(|chosen| format!("{chosen:?}"));
    for outcome in [decided, chosen] {
        match outcome {
            Err(fault) if fault.message.contains("no words") => {}
            other => return Err(format!("gave {other:?}")),
        }
    }
    Ok(())
}

async fn again(it: &dyn Condition) -> Verdict {
    let options = act("chance", "");
    let first = it.decide(at("a"), &options, view()).await.map_err(|fault| told(&fault))?;
    let second = it.decide(at("a"), &options, view()).await.map_err(|fault| told(&fault))?;
    same(&second, &first)?;
    let other = it.decide(at("b"), &options, view()).await.map_err(|fault| told(&fault))?;
    same(&(other == first), &false)
}

async fn options(it: &dyn Condition) -> Verdict {
    same(&it.refuse(&act("keep", "")), &None)?;
    same(&it.refuse(&act("fly", "")).is_some(), &true)
}
