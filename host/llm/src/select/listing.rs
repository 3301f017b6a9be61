//! Which providers and names of models there are, from where, and whether keys are set.
//!
//! It must not connect, and must not give a key away.

use super::ModelCatalog;
use super::providers::is_usual;
use crate::protocol::Api;
use crate::provider::{KNOWN, Key, Known, without_user};

/// A provider as it would be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedProvider {
    /// Its name, before the slash of a model's.
    pub name: String,
    /// What it speaks.
    pub api: Api,
    /// Where it is, without user information; none where the user must say it.
    pub base_url: Option<String>,
    /// The variable of its key, if there is one.
    pub key_variable: Option<String>,
    /// Whether a key was found.
    pub has_key: bool,
    /// Whether it refuses to be asked without one.
    pub needs_key: bool,
    /// Whether it guarantees that an answer fits a schema.
    pub guarantees_schemas: bool,
    /// Who describes it.
    pub from: Origin,
}

/// Who describes a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Known by name, at its usual place.
    BuiltIn,
    /// A variable places it elsewhere.
    Variable,
    /// The settings describe or change it.
    Settings,
}

/// Another name of a model, or a model that has others in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedName {
    /// The name.
    pub name: String,
    /// The model that it leads to, or what is wrong with it.
    pub model: Result<String, String>,
    /// Who answers in its place.
    pub fallbacks: Vec<String>,
}

impl ModelCatalog {
    /// All providers: those of the settings, and those known by name.
    #[must_use]
    pub fn providers_listed(&self) -> Vec<ListedProvider> {
        let own = self.settings.providers.keys().map(String::as_str);
        let own = own.filter(|name| Known::find(name).is_none());
        KNOWN.iter().map(|known| known.name).chain(own).map(|name| self.listed(name)).collect()
    }

    fn listed(&self, name: &str) -> ListedProvider {
        let known = Known::find(name);
        let described = self.settings.providers.get(name);
        let found = self.providers().find(name).ok();
        let from = match (&found, described) {
            (_, Some(_)) => Origin::Settings,
            (Some(provider), None) if !is_usual(provider) => Origin::Variable,
            _ => Origin::BuiltIn,
        };
        let key_variable = found
            .as_ref()
            .map_or_else(|| known.map(|known| known.key_variable.to_owned()), |provider| provider.key_variable.clone());
        ListedProvider {
            name: name.to_owned(),
            api: found.as_ref().map_or(known.map_or(Api::Chat, |known| known.api), |provider| provider.api),
            base_url: found.as_ref().map(|provider| without_user(&provider.base_url)),
            key_variable,
            has_key: found.as_ref().is_some_and(|provider| provider.key.is_some()),
            needs_key: known.is_some_and(|known| known.key == Key::Required) && found.as_ref().is_none_or(is_usual),
            guarantees_schemas: found.as_ref().is_some_and(|provider| provider.guarantees_schemas),
            from,
        }
    }

    /// The names that the settings give models, and the models that have others in their place.
    #[must_use]
    pub fn names_listed(&self) -> Vec<ListedName> {
        let fallbacks = &self.settings.fallbacks;
        let of = |name: &str| fallbacks.get(name).cloned().unwrap_or_default();
        let aliases = self.settings.aliases.keys().map(|name| ListedName {
            name: name.clone(),
            model: self.unalias(name).map(str::to_owned).map_err(|fault| fault.message),
            fallbacks: of(name),
        });
        let others = fallbacks.keys().filter(|name| !self.settings.aliases.contains_key(*name));
        aliases
            .chain(others.map(|name| ListedName { name: name.clone(), model: Ok(name.clone()), fallbacks: of(name) }))
            .collect()
    }

    /// The model of steps that name none, as the settings say.
    #[must_use]
    pub fn default_model(&self) -> Option<&str> {
        self.settings.default.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::{ProviderSettings, Settings};
    use crate::testing::Idle;
    use std::sync::Arc;

    #[test]
    fn each_provider_says_from_where_it_is_and_whether_its_key_is_there() {
        let mut settings = Settings::default();
        let corp =
            ProviderSettings { base_url: Some("http://me:pw@corp.test/v1".to_owned()), ..ProviderSettings::default() };
        settings.providers.insert("corp".to_owned(), corp);
        settings.aliases.insert("fast".to_owned(), "corp/small".to_owned());
        settings.aliases.insert("round".to_owned(), "round".to_owned());
        settings.fallbacks.insert("openai/gpt-5".to_owned(), vec!["fast".to_owned()]);
        let variables = |name: &str| match name {
            "OPENAI_API_KEY" => Some("sk-secret".to_owned()),
            "OLLAMA_HOST" => Some("box".to_owned()),
            _ => None,
        };
        let catalog = ModelCatalog::new(Arc::new(Idle)).with_settings(settings).with_variables(Arc::new(variables));
        let listed = catalog.providers_listed();
        let find = |name: &str| listed.iter().find(|one| one.name == name).unwrap();
        assert_eq!((find("openai").has_key, find("openai").from), (true, Origin::BuiltIn));
        assert_eq!((find("anthropic").has_key, find("anthropic").needs_key), (false, true));
        assert_eq!(
            (find("ollama").from, find("ollama").base_url.as_deref()),
            (Origin::Variable, Some("http://box:11434"))
        );
        assert_eq!((find("azure").base_url.as_deref(), find("azure").api), (None, Api::Chat));
        assert_eq!(
            (find("corp").from, find("corp").base_url.as_deref()),
            (Origin::Settings, Some("http://corp.test/v1"))
        );
        assert!(!format!("{listed:?}").contains("secret"));
        let names = catalog.names_listed();
        assert_eq!(names[0].model.as_deref(), Ok("corp/small"));
        assert!(names[1].model.is_err());
        assert_eq!((names[2].name.as_str(), names[2].fallbacks.as_slice()), ("openai/gpt-5", &["fast".to_owned()][..]));
    }
}
