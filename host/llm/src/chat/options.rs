//! Options of a request as chat completions have them, and what they have no word for.

use crate::provider::Provider;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::ModelSettings;
use cofferdam_core::value::Map;
use serde_json::{Value, json};

/// What a body says of sampling; what is meant for this provider alone beats the rest.
pub(super) fn parameters(provider: &Provider, settings: &ModelSettings) -> Map {
    let ModelSettings { temperature, top_p, options, .. } = settings;
    let stop = options.stop.as_ref().filter(|texts| !texts.is_empty());
    let said = [
        ("temperature", temperature.map(Value::from)),
        ("top_p", top_p.map(Value::from)),
        (provider.dialect.seed, options.seed.map(Value::from)),
        ("stop", stop.map(|texts| json!(texts))),
        ("top_k", options.top_k.filter(|_| provider.dialect.top_k).map(Value::from)),
        ("frequency_penalty", options.frequency_penalty.map(Value::from)),
        ("presence_penalty", options.presence_penalty.map(Value::from)),
    ];
    let said = said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut all: Map = said.chain(options.reasoning.as_ref().and_then(|told| reasoning(provider, told))).collect();
    options.add_own(&provider.name, &mut all);
    all
}

/// How much the model thinks: a word, or a table where the provider reads one.
fn reasoning(provider: &Provider, told: &Value) -> Option<(String, Value)> {
    match told {
        Value::String(word) => Some(("reasoning_effort".to_owned(), json!(word))),
        Value::Object(_) if provider.dialect.reasoning_table => Some(("reasoning".to_owned(), told.clone())),
        _ => None,
    }
}

/// What is not sent.
pub(super) fn unsupported(provider: &Provider, options: &ModelOptions) -> Vec<&'static str> {
    let thinks = options.reasoning.as_ref().is_some_and(|told| reasoning(provider, told).is_none());
    let single = [
        ("topK", options.top_k.is_some() && !provider.dialect.top_k),
        ("reasoning", thinks),
        // Providers of this protocol keep prompts by themselves, or not at all.
        ("promptCache", options.prompt_cache.is_some()),
    ];
    single.into_iter().filter(|(_, lost)| *lost).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Known;
    use std::sync::Arc;

    fn settings(options: Value) -> ModelSettings {
        let options = serde_json::from_value(options).unwrap();
        ModelSettings { temperature: Some(0.5), options: Arc::new(options), ..ModelSettings::default() }
    }

    fn known(name: &str) -> Provider {
        Known::find(name).unwrap().provider()
    }

    fn all() -> Value {
        json!({
            "seed": 7, "stop": ["END"], "topK": 4, "frequencyPenalty": 0.5, "presencePenalty": -0.5, "reasoning": "low",
            "promptCache": true, "headers": { "X-Team": "docs" },
            "provider": { "openai": { "service_tier": "flex", "temperature": 1 }, "vllm": { "min_p": 0.1 } },
        })
    }

    #[test]
    fn each_option_has_its_field_and_each_provider_its_own_part() {
        let expected = json!({
            "temperature": 1, "seed": 7, "stop": ["END"], "frequency_penalty": 0.5, "presence_penalty": -0.5,
            "reasoning_effort": "low", "service_tier": "flex",
        });
        assert_eq!(Value::Object(parameters(&known("openai"), &settings(all()))), expected);
        let vllm = parameters(&known("vllm"), &settings(all()));
        assert_eq!(
            (vllm.get("top_k"), vllm.get("min_p"), vllm.get("service_tier")),
            (Some(&json!(4)), Some(&json!(0.1)), None)
        );
        let mistral = parameters(&known("mistral"), &settings(all()));
        assert_eq!((mistral.get("random_seed"), mistral.get("seed")), (Some(&json!(7)), None));
        assert_eq!(
            Value::Object(parameters(&known("openai"), &settings(json!({ "stop": [] })))),
            json!({ "temperature": 0.5 })
        );
    }

    #[test]
    fn thinking_is_a_word_or_a_table_where_one_is_read() {
        let table = settings(json!({ "reasoning": { "max_tokens": 9 } }));
        assert_eq!(parameters(&known("openrouter"), &table).get("reasoning"), Some(&json!({ "max_tokens": 9 })));
        assert_eq!(parameters(&known("openai"), &table).get("reasoning"), None);
        assert_eq!(unsupported(&known("openai"), &table.options), ["reasoning"]);
        assert!(unsupported(&known("openrouter"), &table.options).is_empty());
    }

    #[test]
    fn what_is_not_sent_is_named() {
        let options = settings(all()).options;
        assert_eq!(unsupported(&known("openai"), &options), ["topK", "promptCache"]);
        assert_eq!(unsupported(&known("vllm"), &options), ["promptCache"]);
    }
}
