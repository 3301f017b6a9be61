//! What a request to a model says beside its conversation, its temperature and its length: where sampling begins, what ends
//! an answer, what only one provider understands.
//!
//! It must not know the protocol of any provider.

mod check;

pub use check::ModelOptionFault;

use crate::value::Map;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The options that whoever started a run gave it, among its settings.
pub const SETTING: &str = "model_options";

/// The options of the host that ran it, among its settings; everything else beats them.
pub const DEFAULT_SETTING: &str = "default_model_options";

/// Options of the requests to a model. What is absent is the provider's affair.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ModelOptions {
    /// Where sampling begins: the same seed gives the same answer, as far as the provider can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Texts at which an answer ends; an empty list says that there are none, whatever is below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Vec<String>>,
    /// Sampling from so many tokens only; at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Makes words that were used often less likely: -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Makes words that were used at all less likely: -2 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// How much the model thinks, in the provider's words: `low`, or a table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<Value>,
    /// Whether the provider may keep the beginning of a prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_cache: Option<bool>,
    /// Headers of each request, by name. They carry no credentials.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Parts of the body of a request, by the provider that gets them: what stands before the slash of `provider/model`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub provider: BTreeMap<String, Map>,
}

impl ModelOptions {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// These options, and where they are silent those below. Tables are merged, member by member.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        let headers = below.headers.iter().filter(|(name, _)| self.header(name).is_none()).chain(&self.headers);
        let mut provider = below.provider.clone();
        for (name, body) in &self.provider {
            merge_map(provider.entry(name.clone()).or_default(), body);
        }
        let reasoning = match (self.reasoning.clone(), below.reasoning.clone()) {
            (Some(above), Some(mut below)) => {
                merge(&mut below, &above);
                Some(below)
            }
            (above, below) => above.or(below),
        };
        Self {
            seed: self.seed.or(below.seed),
            stop: self.stop.clone().or_else(|| below.stop.clone()),
            top_k: self.top_k.or(below.top_k),
            frequency_penalty: self.frequency_penalty.or(below.frequency_penalty),
            presence_penalty: self.presence_penalty.or(below.presence_penalty),
            reasoning,
            prompt_cache: self.prompt_cache.or(below.prompt_cache),
            headers: headers.map(|(name, value)| (name.clone(), value.clone())).collect(),
            provider,
        }
    }

    /// The value of a header, by its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// What goes into the body for the provider of a model, `provider/model`; nothing for a model that has none.
    fn body_for(&self, model: &str) -> Option<&Map> {
        let (provider, _) = model.split_once('/')?;
        self.provider.get(provider).filter(|body| !body.is_empty())
    }

    /// Puts what is meant for this provider alone over a body, member by member.
    pub fn add_own(&self, provider: &str, body: &mut Map) {
        if let Some(own) = self.provider.get(provider) {
            merge_map(body, own);
        }
    }

    /// What is said to a model of this name, as a document names it: `topK`, `headers.x-team`, `provider.openai`.
    #[must_use]
    pub fn names(&self, model: &str) -> Vec<String> {
        let single = [
            ("seed", self.seed.is_some()),
            ("stop", self.stop.as_ref().is_some_and(|texts| !texts.is_empty())),
            ("topK", self.top_k.is_some()),
            ("frequencyPenalty", self.frequency_penalty.is_some()),
            ("presencePenalty", self.presence_penalty.is_some()),
            ("reasoning", self.reasoning.is_some()),
            ("promptCache", self.prompt_cache.is_some()),
        ];
        let said = single.into_iter().filter(|(_, is_said)| *is_said).map(|(name, _)| name.to_owned());
        let headers = self.headers.keys().map(|name| format!("headers.{name}"));
        let body = self.body_for(model).and(model.split_once('/'));
        said.chain(headers).chain(body.map(|(provider, _)| format!("provider.{provider}"))).collect()
    }

    /// As a table of a document, what is absent left out.
    ///
    /// # Panics
    /// Never: options have a JSON form.
    #[must_use]
    pub fn to_map(&self) -> Map {
        match serde_json::to_value(self).expect("options have a JSON form") {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}

fn merge_map(below: &mut Map, above: &Map) {
    for (key, value) in above {
        match below.get_mut(key) {
            Some(own) => merge(own, value),
            None => drop(below.insert(key.clone(), value.clone())),
        }
    }
}

fn merge(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => merge_map(below, above),
        (below, above) => *below = above.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options(value: Value) -> ModelOptions {
        serde_json::from_value(value).unwrap()
    }

    fn full() -> Value {
        json!({
            "seed": 1, "stop": ["a"], "topK": 2, "frequencyPenalty": 0.5, "presencePenalty": -0.5, "reasoning": "low",
            "promptCache": true, "headers": { "X-A": "1" }, "provider": { "p": { "a": 1 }, "q": { "b": 1 } },
        })
    }

    #[test]
    fn each_field_beats_the_one_below_and_leaves_the_others() {
        let below = full();
        for (key, value) in [
            ("seed", json!(9)),
            ("stop", json!([])),
            ("topK", json!(9)),
            ("frequencyPenalty", json!(1.5)),
            ("presencePenalty", json!(1.5)),
            ("reasoning", json!({ "effort": "high" })),
            ("promptCache", json!(false)),
        ] {
            let mut expected = below.clone();
            expected[key] = value.clone();
            let merged = options(json!({ key: value })).over(&options(below.clone()));
            assert_eq!(merged, options(expected), "{key}");
            assert_eq!(options(json!({})).over(&merged), merged, "{key}");
        }
    }

    #[test]
    fn tables_are_merged_and_headers_have_no_case() {
        let above = json!({
            "headers": { "x-a": "2", "x-b": "3" }, "reasoning": { "effort": "low" },
            "provider": { "p": { "a": { "deep": true } }, "r": { "c": 1 } },
        });
        let below = json!({
            "headers": { "X-A": "1" }, "reasoning": { "budget": 3, "effort": "high" },
            "provider": { "p": { "a": { "kept": 1 }, "z": 1 } },
        });
        let merged = options(above).over(&options(below));
        let expected = json!({
            "headers": { "x-a": "2", "x-b": "3" }, "reasoning": { "budget": 3, "effort": "low" },
            "provider": { "p": { "a": { "deep": true, "kept": 1 }, "z": 1 }, "r": { "c": 1 } },
        });
        assert_eq!(Value::Object(merged.to_map()), expected);
    }

    #[test]
    fn a_model_is_told_what_is_for_all_and_for_its_own_provider() {
        let all = options(full());
        let for_all = ["seed", "stop", "topK", "frequencyPenalty", "presencePenalty", "reasoning", "promptCache"];
        let with = |more: &[&'static str]| [&for_all[..], &["headers.X-A"], more].concat();
        assert_eq!(all.names("p/model/x"), with(&["provider.p"]));
        assert_eq!(all.names("p"), with(&[]));
        assert_eq!(all.names("other/model"), with(&[]));
        let mut body = json!({ "b": 0, "a": { "kept": 1 } }).as_object().unwrap().clone();
        all.add_own("q", &mut body);
        assert_eq!(Value::Object(body), json!({ "b": 1, "a": { "kept": 1 } }));
        assert!(options(json!({ "stop": [] })).names("p/x").is_empty());
    }
}
