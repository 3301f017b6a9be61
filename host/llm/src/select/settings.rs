//! The table `[models]` of the settings.
//!
//! It must not hold keys: it names the variables that do.

use crate::http::Limits;
use crate::protocol::Api;
use crate::provider::Provider;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Models as the user's files describe them.
///
/// ```toml
/// [models]
/// default = "fast"
/// script = "answers.yaml"                # what `scripted` alone means
/// aliases = { fast = "corp/small" }
///
/// [models.fallbacks]
/// fast = ["ollama/llama3.2"]             # who answers where `fast` cannot
///
/// [models.limits."corp/small"]
/// concurrency = 2
///
/// [models.providers.corp]
/// base_url = "https://models.corp.test/v1"
/// key_variable = "CORP_API_KEY"
/// headers = { x-team = "docs" }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The model of steps that name none.
    pub default: Option<String>,
    /// The script of the model `scripted`.
    pub script: Option<String>,
    /// Other names of models.
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    /// Who answers in the place of a model, by its name or alias, in this order.
    #[serde(default)]
    pub fallbacks: BTreeMap<String, Vec<String>>,
    /// What is allowed of single models, by `provider/model`.
    #[serde(default)]
    pub limits: BTreeMap<String, Limits>,
    /// Providers by name; a known name is changed, another is new.
    #[serde(default)]
    pub providers: BTreeMap<String, ProviderSettings>,
}

/// What the user says of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// What it speaks. Unless it is said, a provider that is known by name speaks its own protocol, and any other chat
    /// completions.
    pub api: Option<Api>,
    /// Its base URL; with chat completions and responses `/v1` is part of it. Needed for a provider that is not known by name.
    pub base_url: Option<String>,
    /// The version of the protocol, where it has some.
    pub api_version: Option<String>,
    /// The variable that holds its key.
    pub key_variable: Option<String>,
    /// Headers to send along.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether it guarantees that an answer fits a schema. Unless it is said, those known to do it are believed, at their own
    /// address or on the user's machine.
    pub guarantees_schemas: Option<bool>,
    /// What is allowed of all its models together.
    #[serde(default)]
    pub limits: Limits,
}

impl ProviderSettings {
    /// Puts what is said over what is known.
    pub(super) fn apply(&self, provider: &mut Provider) {
        if let Some(base_url) = &self.base_url {
            provider.base_url.clone_from(base_url);
        }
        if self.api_version.is_some() {
            provider.api_version.clone_from(&self.api_version);
        }
        if let Some(api) = self.api {
            provider.speak(api);
        }
        if self.key_variable.is_some() {
            provider.key_variable.clone_from(&self.key_variable);
        }
        provider
            .headers
            .extend(self.headers.iter().map(|(name, value)| (name.clone(), SecretString::from(value.clone()))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_keys_are_refused() {
        let good = json!({"default": "a/b", "providers": {"corp": {"base_url": "http://x/v1", "headers": {"x": "y"}}}});
        let settings: Settings = serde_json::from_value(good).unwrap();
        assert_eq!(settings.providers.len(), 1);
        assert!(serde_json::from_value::<Settings>(json!({"defualt": "a"})).is_err());
        assert!(serde_json::from_value::<ProviderSettings>(json!({"key": "sk-1"})).is_err());
    }
}
