//! Providers as the variables, else the settings, else our table describe them.
//!
//! It must not make models or connect.

use super::{Settings, Variables};
use crate::extract;
use crate::kind::Kind;
use crate::protocol::Api;
use crate::provider::{Auth, KNOWN, Key, Known, NOT_BUILT, Provider, azure_base_url, ollama_base_url};
use cofferdam_core::fault::Fault;
use cofferdam_core::spec::suggest;

/// Describes providers by name.
pub(super) struct Providers<'a> {
    pub(super) settings: &'a Settings,
    pub(super) variables: &'a Variables,
}

impl Providers<'_> {
    /// The provider of this name, with its key if one is set.
    pub(super) fn find(&self, name: &str) -> Result<Provider, Fault> {
        let provider = self.find_anywhere(name)?;
        if provider.base_url.is_empty() {
            return Err(no_address(name, Known::find(name).and_then(|known| known.url_variable)));
        }
        Ok(provider)
    }

    /// The same, also where nobody says at which address it is.
    pub(super) fn find_anywhere(&self, name: &str) -> Result<Provider, Fault> {
        let known = Known::find(name);
        let own = self.settings.providers.get(name);
        let mut provider = match (known, own.and_then(|own| own.base_url.as_ref())) {
            (Some(known), _) => known.provider(),
            (None, Some(base_url)) => Provider::new(name, base_url.clone()),
            (None, None) => return Err(self.unknown(name)),
        };
        if let Some(own) = own {
            own.apply(&mut provider);
        }
        let url_variable = known.and_then(|known| known.url_variable);
        match url_variable.and_then(|variable| self.variable(variable)) {
            Some(host) if name == "ollama" => provider.base_url = ollama_base_url(&host),
            Some(url) => url.trim().clone_into(&mut provider.base_url),
            None => {}
        }
        self.own_variables(&mut provider);
        if name == "ollama" && provider.api == Api::Chat && !provider.base_url.trim_end_matches('/').ends_with("/v1") {
            provider.base_url = provider.endpoint("v1");
        }
        // Another server than the provider's own may read over what it does not know.
        let is_elsewhere =
            known.is_some_and(|known| known.key == Key::Required && name != "azure") && !is_usual(&provider);
        provider.guarantees_schemas &= !is_elsewhere;
        if let Some(says) = own.and_then(|own| own.guarantees_schemas) {
            provider.guarantees_schemas = says;
        }
        let key_variable = provider.key_variable.as_deref();
        match key_variable.and_then(|variable| self.variable(variable)) {
            Some(key) => Ok(provider.with_key(&key)),
            None => Ok(provider),
        }
    }

    /// What only some providers have variables for.
    fn own_variables(&self, provider: &mut Provider) {
        match provider.name.as_ref() {
            "openai" | "openai-responses" => {
                provider.organization = self.variable("OPENAI_ORG_ID");
                provider.project = self.variable("OPENAI_PROJECT_ID");
            }
            "azure" => {
                provider.base_url = azure_base_url(&provider.base_url);
                provider.api_version = provider.api_version.take().or_else(|| self.variable("OPENAI_API_VERSION"));
            }
            // A token in the place of a key, as gateways and the provider's own tools have it.
            "anthropic" if self.lacks_key(provider, "ANTHROPIC_API_KEY") => {
                if let Some(token) = self.variable("ANTHROPIC_AUTH_TOKEN") {
                    provider.auth = Auth::Bearer;
                    provider.key = Some(token.trim().into());
                    provider.key_variable = Some("ANTHROPIC_AUTH_TOKEN".to_owned());
                }
            }
            "gemini" if self.lacks_key(provider, "GEMINI_API_KEY") => {
                if let Some(key) = self.variable("GOOGLE_API_KEY") {
                    provider.key = Some(key.trim().into());
                    provider.key_variable = Some("GOOGLE_API_KEY".to_owned());
                }
            }
            _ => {}
        }
    }

    /// Whether a provider's key is looked for in this variable, and is not there.
    fn lacks_key(&self, provider: &Provider, variable: &str) -> bool {
        provider.key_variable.as_deref() == Some(variable) && self.variable(variable).is_none()
    }

    /// The known providers that cost money and whose key is set.
    pub(super) fn with_keys(&self) -> Vec<&'static Known> {
        let has_key = |known: &&Known| known.key == Key::Required && self.variable(known.key_variable).is_some();
        KNOWN.iter().filter(has_key).collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|value| !value.trim().is_empty())
    }

    fn unknown(&self, name: &str) -> Fault {
        if NOT_BUILT.contains(&name) {
            let fault =
                Kind::NotConfigured.fault(format!("how provider `{name}` authenticates requests is not built in"));
            return fault.with_hint(format!(
                "an endpoint of it that takes a key can be set as `base_url` in `[models.providers.{name}]`"
            ));
        }
        let own = self.settings.providers.keys().map(String::as_str);
        let own = own.filter(|name| Known::find(name).is_none());
        let names: Vec<&str> = KNOWN.iter().map(|known| known.name).chain(own).collect();
        let hint = suggest::did_you_mean(name, names.iter().copied()).unwrap_or_else(|| {
            let known = names.join(", ");
            format!("known: {known}; others need `base_url` in `[models.providers.{name}]` of the settings")
        });
        let fault = Kind::Unknown.fault(format!("no provider of models is called `{name}`"));
        fault.with_hint(hint)
    }
}

/// A provider that is at another place for each user.
fn no_address(name: &str, url_variable: Option<&str>) -> Fault {
    let variable = url_variable.map_or_else(String::new, |variable| format!("set {variable}, or "));
    let fault = Kind::NotConfigured.fault(format!("provider `{name}` has no address that all users share"));
    fault.with_hint(format!("{variable}set `base_url` in `[models.providers.{name}]`"))
}

/// A hosted provider at its usual place needs a key; one at a base URL of the user's may not.
///
/// # Errors
/// When the key is missing; the hint names its variable.
pub(super) fn require_key(provider: &Provider, model: &str) -> Result<(), Fault> {
    let needs_key = Known::find(&provider.name).is_some_and(|known| known.key == Key::Required);
    if provider.key.is_some() || !needs_key || !is_usual(provider) {
        return Ok(());
    }
    let name = &provider.name;
    let variable = provider.key_variable.as_deref().unwrap_or("its key");
    let fault = Kind::NotConfigured.fault(format!("model `{name}/{model}` needs a key of provider `{name}`"));
    Err(fault.with_hint(format!("set {variable}, or use `--model {}`, which needs none", extract::NAME)))
}

/// Whether a provider is where everybody finds it.
pub(super) fn is_usual(provider: &Provider) -> bool {
    Known::find(&provider.name).is_some_and(|known| known.base_url == provider.base_url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::ProviderSettings;
    use std::sync::Arc;

    fn find(name: &str, settings: &Settings, variables: &'static [(&str, &str)]) -> Provider {
        let read = move |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let variables: Variables = Arc::new(read);
        Providers { settings, variables: &variables }.find(name).unwrap()
    }

    #[test]
    fn variables_place_providers() {
        let none = Settings::default();
        let openai = find("openai", &none, &[("OPENAI_BASE_URL", "http://proxy.test/v1"), ("OPENAI_ORG_ID", "org")]);
        assert_eq!((openai.base_url.as_str(), openai.organization.as_deref()), ("http://proxy.test/v1", Some("org")));
        assert!(require_key(&openai, "x").is_ok(), "a server of the user's own may need no key");
        let ollama = find("ollama", &none, &[("OLLAMA_HOST", "box")]);
        assert_eq!(ollama.base_url, "http://box:11434");
        let mut compatible = Settings::default();
        compatible
            .providers
            .insert("ollama".to_owned(), ProviderSettings { api: Some(Api::Chat), ..ProviderSettings::default() });
        assert_eq!(find("ollama", &compatible, &[("OLLAMA_HOST", "box")]).base_url, "http://box:11434/v1");
        assert!(require_key(&find("groq", &none, &[("GROQ_API_KEY", " ")]), "x").is_err());
    }

    #[test]
    fn schemas_are_guaranteed_by_the_provider_itself_and_by_whom_the_settings_say() {
        let none = Settings::default();
        assert!(
            find("openai", &none, &[]).guarantees_schemas
                && find("ollama", &none, &[("OLLAMA_HOST", "box")]).guarantees_schemas
        );
        assert!(!find("openai", &none, &[("OPENAI_BASE_URL", "http://proxy.test/v1")]).guarantees_schemas);
        let mut says = Settings::default();
        let own = ProviderSettings { guarantees_schemas: Some(true), ..ProviderSettings::default() };
        says.providers.insert("openai".to_owned(), own);
        assert!(find("openai", &says, &[("OPENAI_BASE_URL", "http://proxy.test/v1")]).guarantees_schemas);
    }

    #[test]
    fn a_key_is_found_in_its_other_variable_unless_the_settings_name_one() {
        let none = Settings::default();
        let token = &[("ANTHROPIC_AUTH_TOKEN", "token-0001"), ("GOOGLE_API_KEY", "g-1")];
        let anthropic = find("anthropic", &none, token);
        assert_eq!((anthropic.auth, anthropic.scrub("token-0001").as_str()), (Auth::Bearer, "***"));
        assert!(find("gemini", &none, token).key.is_some());
        let mut named = Settings::default();
        let own = ProviderSettings { key_variable: Some("CORP_KEY".to_owned()), ..ProviderSettings::default() };
        named.providers.extend([("anthropic".to_owned(), own.clone()), ("gemini".to_owned(), own)]);
        assert!(find("anthropic", &named, token).key.is_none() && find("gemini", &named, token).key.is_none());
    }

    #[test]
    fn settings_change_a_provider_and_variables_beat_them() {
        let mut settings = Settings::default();
        let mut own =
            ProviderSettings { base_url: Some("http://corp.test/v1".to_owned()), ..ProviderSettings::default() };
        own.key_variable = Some("CORP_KEY".to_owned());
        own.headers.insert("x-team".to_owned(), "docs".to_owned());
        settings.providers.insert("openai".to_owned(), own);
        let corp = find("openai", &settings, &[("CORP_KEY", "sk-corp-01"), ("OPENAI_API_KEY", "sk-2")]);
        assert_eq!((corp.base_url.as_str(), corp.headers.len()), ("http://corp.test/v1", 1));
        assert_eq!(corp.scrub("sk-corp-01 sk-2"), "*** sk-2");
        let moved = find("openai", &settings, &[("OPENAI_BASE_URL", "http://other.test/v1")]);
        assert_eq!(moved.base_url, "http://other.test/v1");
    }
}
