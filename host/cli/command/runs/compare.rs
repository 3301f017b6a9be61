//! What is different between two runs: how they were started, and step by step how they went.
//!
//! It must not know how differences are shown. Times and ids are none.

use super::history::Step;
use super::side::Side;
use cofferdam::core::event::PluginPin;
use cofferdam::core::fault::Fault;
use cofferdam::core::message::Usage;
use cofferdam::core::value::Map;
use cofferdam::{Journal, source_changes};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Difference {
    /// The step; none for the run itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<String>,
    pub(super) what: What,
    /// Which source, input, plugin or setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// What the first run has; null when it has nothing of it.
    pub(super) a: Value,
    /// What the second run has.
    pub(super) b: Value,
    /// How long the step took in each of them, in milliseconds: told beside a difference, never one itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) took_ms: Option<[Option<u64>; 2]>,
}

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Workflow,
    Document,
    Input,
    Plugin,
    Setting,
    /// Whether the step is there.
    Step,
    Status,
    Output,
    Error,
    Attempts,
    Tokens,
}

impl Difference {
    fn of_run(what: What, name: Option<&str>, a: Value, b: Value) -> Self {
        Self { step: None, what, name: name.map(str::to_owned), a, b, took_ms: None }
    }

    /// Whether the runs came to something else, not only in another way.
    pub(super) fn decides(&self) -> bool {
        matches!(self.what, What::Step | What::Status | What::Output)
    }
}

/// All differences: of the run first, then of its steps in their order.
pub(super) async fn compare(journal: &dyn Journal, a: &Side, b: &Side) -> anyhow::Result<Vec<Difference>> {
    let mut found = starts(a, b);
    ends(a, b, &mut found);
    let (of_a, of_b) = (a.history.ordered(), b.history.ordered());
    let in_b: HashMap<&str, &Step> = of_b.iter().map(|step| (step.path.as_str(), *step)).collect();
    let in_a: BTreeSet<&str> = of_a.iter().map(|step| step.path.as_str()).collect();
    for step in &of_a {
        let Some(other) = in_b.get(step.path.as_str()) else {
            found.push(of_step(step, What::Step, step.status.into(), Value::Null));
            continue;
        };
        let before = found.len();
        steps(step, other, &mut found);
        if a.digest(&step.path) != b.digest(&step.path) {
            let (a, b) = (a.output(journal, &step.path).await?, b.output(journal, &step.path).await?);
            found.push(of_step(step, What::Output, a, b));
        }
        let took = [step.took, other.took].map(|took| took.map(millis));
        found.iter_mut().skip(before).for_each(|difference| difference.took_ms = Some(took));
    }
    for step in of_b.iter().filter(|step| !in_a.contains(step.path.as_str())) {
        found.push(of_step(step, What::Step, Value::Null, step.status.into()));
    }
    Ok(found)
}

fn of_step(step: &Step, what: What, a: Value, b: Value) -> Difference {
    Difference { step: Some(step.path.clone()), what, name: None, a, b, took_ms: None }
}

/// How two runs were started.
fn starts(a: &Side, b: &Side) -> Vec<Difference> {
    let mut found = Vec::new();
    if a.history.workflow != b.history.workflow {
        let (a, b) = (a.history.workflow.as_str().into(), b.history.workflow.as_str().into());
        found.push(Difference::of_run(What::Workflow, None, a, b));
    }
    let (a_start, b_start) = (&a.start, &b.start);
    let text = |text: &Option<Arc<str>>| text.as_deref().map_or(Value::Null, Value::from);
    for change in source_changes(&a_start.sources, &b_start.sources) {
        let (a, b) = (text(&change.before), text(&change.now));
        found.push(Difference::of_run(What::Document, Some(&change.path), a, b));
    }
    let (a_inputs, b_inputs) = (a.without_id(&json!(a_start.inputs)), b.without_id(&json!(b_start.inputs)));
    keyed(What::Input, &map(a_inputs), &map(b_inputs), &mut found);
    if a_start.input != b_start.input {
        found.push(Difference::of_run(What::Input, None, json!(a_start.input), json!(b_start.input)));
    }
    let plugin = |pin: &PluginPin| (pin.alias.clone(), json!({ "name": pin.name, "digest": pin.digest }));
    let plugins = |pins: &[PluginPin]| pins.iter().map(plugin).collect::<Map>();
    keyed(What::Plugin, &plugins(&a_start.plugins), &plugins(&b_start.plugins), &mut found);
    keyed(What::Setting, &a_start.settings, &b_start.settings, &mut found);
    found
}

fn map(value: Value) -> Map {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn keyed(what: What, a: &Map, b: &Map, found: &mut Vec<Difference>) {
    for (key, value) in a {
        let other = b.get(key).unwrap_or(&Value::Null);
        if value != other {
            found.push(Difference::of_run(what, Some(key), value.clone(), other.clone()));
        }
    }
    for (key, value) in b.iter().filter(|(key, value)| !a.contains_key(key.as_str()) && !value.is_null()) {
        found.push(Difference::of_run(what, Some(key), Value::Null, value.clone()));
    }
}

/// How two runs ended.
fn ends(a: &Side, b: &Side, found: &mut Vec<Difference>) {
    let status = |side: &Side| side.history.status.map_or("running", |status| status.as_str());
    let mut push = |what, a: Value, b: Value| {
        if a != b {
            found.push(Difference::of_run(what, None, a, b));
        }
    };
    push(What::Status, status(a).into(), status(b).into());
    push(What::Output, a.without_id(&a.history.output), b.without_id(&b.history.output));
    push(What::Error, fault(a.history.error.as_ref()), fault(b.history.error.as_ref()));
    push(What::Tokens, tokens(&a.history.usage), tokens(&b.history.usage));
}

/// How a step went in two runs, but for its output.
fn steps(a: &Step, b: &Step, found: &mut Vec<Difference>) {
    let mut push = |what, a_value: Value, b_value: Value| {
        if a_value != b_value {
            found.push(of_step(a, what, a_value, b_value));
        }
    };
    push(What::Status, a.status.into(), b.status.into());
    push(What::Error, fault(a.error.as_ref()), fault(b.error.as_ref()));
    push(What::Attempts, a.attempts.into(), b.attempts.into());
    push(What::Tokens, tokens(&a.usage), tokens(&b.usage));
}

fn fault(fault: Option<&Fault>) -> Value {
    fault.map_or(Value::Null, |fault| json!({ "code": fault.code, "message": fault.message }))
}

fn tokens(usage: &Usage) -> Value {
    json!({ "input": usage.input, "output": usage.output })
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Where two values differ first, as a JSON pointer, with what is there in each.
pub(super) fn first_difference<'v>(a: &'v Value, b: &'v Value) -> Option<(String, &'v Value, &'v Value)> {
    let (mut pointer, mut at) = (String::new(), (a, b));
    if a == b {
        return None;
    }
    loop {
        let next = match at {
            (Value::Object(a), Value::Object(b)) => {
                let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(key.as_str())));
                let null = &Value::Null;
                let both = keys.map(|key| (key.clone(), a.get(key).unwrap_or(null), b.get(key).unwrap_or(null)));
                both.into_iter().find(|(_, a, b)| a != b)
            }
            (Value::Array(a), Value::Array(b)) => {
                let null = &Value::Null;
                let item =
                    |index: usize| (index.to_string(), a.get(index).unwrap_or(null), b.get(index).unwrap_or(null));
                (0..a.len().max(b.len())).map(item).find(|(_, a, b)| a != b)
            }
            _ => None,
        };
        // Nothing further in: a key with null against none at all, or two values that hold no others.
        let Some((key, a, b)) = next else { return Some((pointer, at.0, at.1)) };
        pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        at = (a, b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_of_values_has_a_place() {
        let (a, b) = (json!({ "x": [1, { "y/z": 2 }], "w": 0 }), json!({ "x": [1, { "y/z": 3 }], "w": 1 }));
        assert_eq!(first_difference(&a, &b), Some(("/x/1/y~1z".into(), &json!(2), &json!(3))));
        assert_eq!(first_difference(&a, &a), None);
        let (a, b) = (json!([1, 2]), json!([1]));
        assert_eq!(first_difference(&a, &b), Some(("/1".into(), &json!(2), &Value::Null)));
        let (a, b) = (json!("a"), json!({ "k": 1 }));
        assert_eq!(first_difference(&a, &b), Some((String::new(), &a, &b)));
    }

    #[test]
    fn what_only_one_has_is_a_difference() {
        let of = |value: Value| map(value);
        let mut found = Vec::new();
        keyed(What::Input, &of(json!({ "a": 1, "b": 2 })), &of(json!({ "b": 2, "c": 3 })), &mut found);
        let names: Vec<_> = found.iter().filter_map(|difference| difference.name.as_deref()).collect();
        assert_eq!(names, ["a", "c"]);
        assert!(found.iter().all(|difference| !difference.decides()));
    }
}
