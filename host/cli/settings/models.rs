//! The table `[models]`: names, providers, who answers in whose place, and what each may be asked at once.

use super::code::{TYPE, VALUE};
use super::reader::{Entry, Reader};
use cofferdam::core::spec::suggest::did_you_mean;
use cofferdam::llm::Api;
use cofferdam::llm::http::Limits;
use cofferdam::llm::select::{ProviderSettings, Settings as Models};

/// The keys of `[models]`.
const KEYS: &[&str] = &["default", "script", "aliases", "fallbacks", "limits", "providers"];
/// The keys of `[models.providers.NAME]`.
const PROVIDER_KEYS: &[&str] =
    &["api", "base_url", "api_version", "key_variable", "headers", "guarantees_schemas", "limits"];
/// The keys of a table `limits`.
const LIMIT_KEYS: &[&str] = &["concurrency", "requests_per_minute"];

impl Reader<'_> {
    pub(super) fn models(&mut self, table: Entry<'_, '_>) -> Models {
        let mut models = Models::default();
        for entry in self.entries(table) {
            match entry.0 {
                "default" => models.default = self.text(entry, "models.default").map(str::to_owned),
                "script" => models.script = self.text(entry, "models.script").map(str::to_owned),
                "aliases" => models.aliases = self.texts(entry, "models.aliases"),
                "fallbacks" => {
                    for model in self.entries(entry) {
                        let others = self.list_of(model, &format!("models.fallbacks.{}", model.0), "ollama/llama3.2");
                        models.fallbacks.insert(model.0.to_owned(), others);
                    }
                }
                "limits" => {
                    for model in self.entries(entry) {
                        let limits = self.model_limits(model, &format!("models.limits.{}", model.0));
                        models.limits.insert(model.0.to_owned(), limits);
                    }
                }
                "providers" => {
                    for provider in self.entries(entry) {
                        let settings = self.provider(provider);
                        models.providers.insert(provider.0.to_owned(), settings);
                    }
                }
                _ => self.unknown(entry, "models", KEYS),
            }
        }
        models
    }

    fn provider(&mut self, table: Entry<'_, '_>) -> ProviderSettings {
        let path = format!("models.providers.{}", table.0);
        let mut provider = ProviderSettings::default();
        for entry in self.entries(table) {
            match entry.0 {
                "api" => provider.api = self.api(entry, &path),
                "base_url" => provider.base_url = self.text(entry, &path).map(str::to_owned),
                "api_version" => provider.api_version = self.text(entry, &path).map(str::to_owned),
                "key_variable" => provider.key_variable = self.variable_name(entry, &path),
                "headers" => provider.headers = self.texts(entry, &path),
                "guarantees_schemas" => provider.guarantees_schemas = Some(self.switch(entry)),
                "limits" => provider.limits = self.model_limits(entry, &format!("{path}.limits")),
                _ => self.unknown(entry, &path, PROVIDER_KEYS),
            }
        }
        provider
    }

    /// The name of a variable. What is none may be the key itself, and is not repeated.
    fn variable_name(&mut self, entry: Entry<'_, '_>, path: &str) -> Option<String> {
        let name = self.text(entry, path)?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name || name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            let hint = "it names the variable that the key is in: `CORP_API_KEY`".to_owned();
            self.find(
                VALUE,
                (entry.2.span().start, path),
                "`key_variable` is no name of a variable".to_owned(),
                Some(hint),
            );
            return None;
        }
        Some(name.to_owned())
    }

    fn api(&mut self, entry: Entry<'_, '_>, path: &str) -> Option<Api> {
        let name = self.text(entry, path)?;
        let api = Api::find(name);
        if api.is_none() {
            let names = Api::ALL.map(Api::name);
            let hint = did_you_mean(name, names).unwrap_or_else(|| format!("it takes {}", names.join(", ")));
            self.find(VALUE, (entry.2.span().start, path), format!("no protocol is called `{name}`"), Some(hint));
        }
        api
    }

    fn model_limits(&mut self, table: Entry<'_, '_>, path: &str) -> Limits {
        let mut limits = Limits::default();
        for entry in self.entries(table) {
            match entry.0 {
                "concurrency" => limits.concurrency = self.number_of(entry, path),
                "requests_per_minute" => limits.requests_per_minute = self.number_of(entry, path),
                _ => self.unknown(entry, path, LIMIT_KEYS),
            }
        }
        limits
    }

    /// A whole number of at least 1.
    fn number_of(&mut self, (key, _, value): Entry<'_, '_>, path: &str) -> Option<u32> {
        let number = value.get_ref().as_integer();
        let number = number.and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.filter(|number| *number > 0);
        if number.is_none() {
            let message = format!("`{key}` takes a whole number of at least 1");
            self.find(TYPE, (value.span().start, path), message, None);
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file::{File, Kind};
    use cofferdam::core::diagnostic::Diagnostic;
    use std::path::Path;

    fn findings(text: &str) -> Vec<String> {
        let shown = |found: Diagnostic| format!("{found} {}", found.hint.as_deref().unwrap_or_default());
        File::check(Path::new("c.toml"), text).err().into_iter().flatten().map(shown).collect()
    }

    #[test]
    fn each_slip_is_found_at_its_place() {
        for (text, found) in [
            ("[models.providers.corp]\napi = \"respones\"\n", "did you mean `responses`"),
            ("[models.providers.corp]\nbase_ulr = \"x\"\n", "did you mean `base_url`"),
            ("[models.providers.corp]\nlimits = { concurrency = 0 }\n", "at least 1"),
            ("[models.limits.\"a/b\"]\nrequests_per_minut = 1\n", "did you mean `requests_per_minute`"),
            ("[models.providers.corp]\nkey_variable = \"sk-live-1\"\n", "no name of a variable"),
            ("[models.fallbacks]\nfast = \"a/b\"\n", "takes a list of texts"),
        ] {
            let there = findings(text);
            assert!(there.first().is_some_and(|first| first.contains(found)), "{text}: {there:?}");
        }
    }

    #[test]
    fn providers_of_models_are_described() {
        let text = r#"
            [models]
            aliases = { fast = "corp/small" }
            [models.fallbacks]
            fast = ["ollama/x"]
            [models.limits."corp/small"]
            concurrency = 2
            [models.providers.corp]
            api = "responses"
            base_url = "http://x/v1"
            key_variable = "CORP"
            limits = { concurrency = 4, requests_per_minute = 60 }
        "#;
        let models = File::parse(Path::new("c.toml"), text, Kind::Project).unwrap().models.unwrap();
        let corp = &models.providers["corp"];
        assert_eq!((corp.key_variable.as_deref(), corp.api), (Some("CORP"), Some(Api::Responses)));
        assert_eq!(corp.limits, Limits { concurrency: Some(4), requests_per_minute: Some(60) });
        assert_eq!((models.aliases["fast"].as_str(), models.fallbacks["fast"].len()), ("corp/small", 1));
        assert_eq!(models.limits["corp/small"].concurrency, Some(2));
    }
}
