//! Finds a model by its name.
//!
//! It must not read the environment or files by itself: variables and files come in through what it is given, and only
//! when a name needs them. Making a catalog does nothing.

mod choice;
mod listing;
mod probe;
mod providers;
mod settings;

pub use choice::{Choice, Found, choose};
pub use listing::{ListedName, ListedProvider, Origin};
pub use settings::{ProviderSettings, Settings};

use crate::extract::{self, Extract};
use crate::fallback::Fallback;
use crate::http::{HttpModel, Lane, Limits, Tried};
use crate::kind::Kind;
use crate::protocol::Api;
use crate::provider::{Known, Provider, without_user};
use crate::scripted::Scripted;
use crate::tape::Tape;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::PluginModelName;
use cofferdam_core::limits;
use cofferdam_core::port::{Clock, Model, Models, Sources};
use cofferdam_core::spec::suggest;
use cofferdam_egress::ProviderClient;
use providers::Providers;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Reads a variable of the environment, when one is needed.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The name that asks for a model to be chosen.
pub const AUTO: &str = "auto";

/// How often an alias may lead to another.
const ALIAS_STEPS: usize = 8;

/// All models that can be named: registered ones, aliases, `builtin/extract`, `scripted/<path>`, `provider/model`.
///
/// The same name gives the same object, so that steps share its connections and the waits that its provider asks for.
pub struct ModelCatalog {
    settings: Settings,
    variables: Variables,
    sources: Option<Arc<dyn Sources>>,
    clock: Arc<dyn Clock>,
    registered: HashMap<String, Arc<dyn Model>>,
    resolved: Mutex<HashMap<String, Arc<dyn Model>>>,
    clients: Mutex<HashMap<String, ProviderClient>>,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
    tape: Option<Arc<Tape>>,
}

impl std::fmt::Debug for ModelCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelCatalog").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ModelCatalog {
    /// A catalog without settings, variables or files.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            settings: Settings::default(),
            variables: Arc::new(|_| None),
            sources: None,
            clock,
            registered: HashMap::new(),
            resolved: Mutex::default(),
            clients: Mutex::default(),
            lanes: Mutex::default(),
            tape: None,
        }
    }

    /// With the table `[models]` of the settings.
    #[must_use]
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// With the variables that keys and base URLs are read from.
    #[must_use]
    pub fn with_variables(mut self, variables: Variables) -> Self {
        self.variables = variables;
        self
    }

    /// With the files that scripts are read from.
    #[must_use]
    pub fn with_sources(mut self, sources: Arc<dyn Sources>) -> Self {
        self.sources = Some(sources);
        self
    }

    /// With a model of the embedder under a name of its own, which beats all others.
    #[must_use]
    pub fn with_model(mut self, name: impl Into<String>, model: Arc<dyn Model>) -> Self {
        self.registered.insert(name.into(), model);
        self
    }

    /// With a tape, which all models of providers record to, or answer from. Where it replays, neither keys nor addresses
    /// are needed, and no model of this machine is looked for.
    #[must_use]
    pub fn with_tape(mut self, tape: Arc<Tape>) -> Self {
        self.tape = Some(tape);
        self
    }

    /// The tape, where it answers in the place of providers.
    fn replaying(&self) -> Option<&Arc<Tape>> {
        self.tape.as_ref().filter(|tape| tape.replays())
    }

    /// What `auto` stands for: the explicit setting, else a local Ollama that answers at once, else `builtin/extract`.
    /// A key alone never selects a model that costs money.
    pub async fn choose_auto(&self, explicit: Option<&str>) -> Choice {
        let explicit = explicit.or(self.settings.default.as_deref()).filter(|name| *name != AUTO);
        let local = match explicit {
            None => self.local_model().await,
            Some(_) => None,
        };
        let found = Found { explicit: explicit.map(str::to_owned), local, keys: self.providers().with_keys() };
        let mut choice = choose(&found);
        if let Some(place) = explicit.and_then(|name| self.unusual_place(name)) {
            choice.line = format!("{}, at {place}", choice.line);
        }
        choice
    }

    /// Where requests to a model go, without user information, unless that is its provider's usual place.
    #[must_use]
    pub fn unusual_place(&self, name: &str) -> Option<String> {
        if self.replaying().is_some() {
            return None;
        }
        let (provider, _) = self.unalias(name).ok()?.split_once('/')?;
        let provider = self.providers().find(provider).ok()?;
        (!providers::is_usual(&provider)).then(|| without_user(&provider.base_url))
    }

    /// The first model of the Ollama on this machine, with the address that answered; where recordings are replayed, the
    /// one that was found when they were made.
    async fn local_model(&self) -> Option<(String, String)> {
        if let Some(tape) = self.replaying() {
            return Some((tape.model_of("ollama")?, tape.place()));
        }
        let provider = self.providers().find("ollama").ok()?;
        let client = self.client(&provider).ok()?;
        let base = provider.base_url.strip_suffix("/v1").unwrap_or(&provider.base_url);
        let model = probe::first_ollama_model(&client, base).await?;
        Some((format!("ollama/{model}"), client.origin()))
    }

    /// Asks a provider, `openai`, or a model of one, `openai/gpt-5`, for one word, once.
    ///
    /// # Errors
    /// When no provider has this name, its key or address is missing, or the request cannot be written.
    pub async fn try_provider(&self, name: &str) -> Result<Tried, Fault> {
        let target = self.unalias(name)?;
        let (provider, model) = target.split_once('/').unwrap_or((target, ""));
        if let Some(tape) = self.replaying() {
            let found = self.providers().find_anywhere(provider)?;
            return HttpModel::replayed(found, model, Arc::clone(tape), Arc::clone(&self.clock)).try_once().await;
        }
        let found = self.providers().find(provider)?;
        let client = self.client(&found)?;
        let local = match (model, found.api) {
            ("", Api::Ollama) if provider == "ollama" => self.local_model().await.map(|(name, _)| name),
            _ => None,
        };
        let example = Known::find(provider).map_or("default", |known| known.example);
        let model = local.as_deref().and_then(|name| name.split_once('/')).map_or(model, |(_, model)| model);
        let model = if model.is_empty() { example } else { model };
        providers::require_key(&found, model)?;
        HttpModel::new(found, model, client, Arc::clone(&self.clock)).try_once().await
    }

    fn providers(&self) -> Providers<'_> {
        Providers { settings: &self.settings, variables: &self.variables }
    }

    /// The name behind aliases.
    fn unalias<'a>(&'a self, name: &'a str) -> Result<&'a str, Fault> {
        let mut target = name;
        for _ in 0..ALIAS_STEPS {
            match self.settings.aliases.get(target) {
                Some(next) => target = next,
                None => return Ok(target),
            }
        }
        Err(Kind::NotConfigured.fault(format!("the alias `{name}` of a model leads round in a circle")))
    }

    fn build(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
        if name == extract::NAME {
            return Ok(Arc::new(Extract));
        }
        match name.split_once('/') {
            Some(("scripted", path)) => self.scripted(name, path),
            None if name == "scripted" => match &self.settings.script {
                Some(path) => self.scripted(name, path),
                None => Err(Kind::NotConfigured
                    .fault("the scripted model needs a script")
                    .with_hint("name its file: `scripted/answers.yaml`, or set `script` in the table `[models]`")),
            },
            Some((provider, model)) if !model.is_empty() => {
                let clock = Arc::clone(&self.clock);
                if let Some(tape) = self.replaying() {
                    let provider = self.providers().find_anywhere(provider)?;
                    return Ok(Arc::new(HttpModel::replayed(provider, model, Arc::clone(tape), clock)));
                }
                let provider = self.providers().find(provider)?;
                providers::require_key(&provider, model)?;
                let client = self.client(&provider)?;
                let bounds = self.settings.providers.get(&*provider.name).map(|own| own.limits).unwrap_or_default();
                let lane = self.lane(&provider.name, bounds);
                let own = match self.settings.limits.get(name) {
                    Some(bounds) => self.lane(name, *bounds),
                    None => Arc::default(),
                };
                let built = HttpModel::new(provider, model, client, clock).on(lane, own);
                Ok(Arc::new(match &self.tape {
                    Some(tape) => built.taped(Arc::clone(tape)),
                    None => built,
                }))
            }
            _ => Err(self.unknown(name)),
        }
    }

    fn scripted(&self, name: &str, path: &str) -> Result<Arc<dyn Model>, Fault> {
        let refuse = |reason: String| {
            Kind::NotConfigured.fault(format!("the script of model `{name}` cannot be read: {reason}"))
        };
        let sources = self.sources.as_ref().ok_or_else(|| refuse("no files are available here".to_owned()))?;
        let file = sources.read(path, limits::SCRIPT_BYTES).map_err(|error| refuse(error.to_string()))?;
        let text = std::str::from_utf8(&file.bytes).map_err(|_| refuse(format!("`{path}` is not UTF-8 text")))?;
        let model = Scripted::parse(text)
            .map_err(|fault| Fault { message: format!("`{path}`: {}", fault.message), ..fault })?;
        Ok(Arc::new(model.named(name)))
    }

    fn client(&self, provider: &Provider) -> Result<ProviderClient, Fault> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&provider.base_url) {
            return Ok(client.clone());
        }
        if provider.base_url.contains(['?', '#']) {
            let (before, _) = provider.base_url.split_once(['?', '#']).unwrap_or_default();
            let fault = Kind::NotConfigured.fault(format!(
                "the base URL of provider `{}` has more than a path: `{}`",
                provider.name,
                without_user(before)
            ));
            return Err(fault
                .with_hint("leave out what stands behind `?` or `#`; secrets go into `headers` or a key's variable"));
        }
        let client = ProviderClient::new(&provider.base_url).map_err(|error| {
            Kind::NotConfigured.fault(format!(
                "the base URL `{}` of provider `{}` cannot be used: {error}",
                without_user(&provider.base_url),
                provider.name
            ))
        })?;
        clients.insert(provider.base_url.clone(), client.clone());
        Ok(client)
    }

    /// The lane of a provider or model, which all that ask it share.
    fn lane(&self, name: &str, bounds: Limits) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lanes.entry(name.to_owned()).or_insert_with(|| Arc::new(Lane::new(bounds))))
    }

    /// The model of this name behind all aliases, with those that answer in its place.
    fn with_fallbacks(&self, name: &str, target: &str) -> Result<Arc<dyn Model>, Fault> {
        let first = self.build(target)?;
        let fallbacks = &self.settings.fallbacks;
        let Some(others) = fallbacks.get(name).or_else(|| fallbacks.get(target)) else {
            return Ok(first);
        };
        // A model in its own place would only be asked twice.
        let others = others
            .iter()
            .filter(|other| self.unalias(other).is_ok_and(|other| other != target) || self.unalias(other).is_err());
        let others = others.map(|other| self.spare(name, other)).collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(Fallback::new(first, others)))
    }

    /// A model that answers in the place of another; it has none in its own place.
    fn spare(&self, of: &str, name: &str) -> Result<Arc<dyn Model>, Fault> {
        let target = self.unalias(name)?;
        let own = self.registered.get(name).or_else(|| self.registered.get(target)).map(Arc::clone);
        own.map_or_else(|| self.build(target), Ok)
            .map_err(|fault| Fault { message: format!("in the place of `{of}`: {}", fault.message), ..fault })
    }

    fn unknown(&self, name: &str) -> Fault {
        let others = self.settings.aliases.keys().chain(self.registered.keys()).map(String::as_str);
        let known = others.chain([extract::NAME, "scripted"]);
        let hint = suggest::did_you_mean(name, known).unwrap_or_else(|| {
            "write `provider/model`, for instance `ollama/llama3.2`, or set an alias in `[models.aliases]`".to_owned()
        });
        Kind::Unknown.fault(format!("no model is called `{name}`")).with_hint(hint)
    }
}

impl Models for ModelCatalog {
    fn resolve(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
        if let Some(model) = self.registered.get(name) {
            return Ok(Arc::clone(model));
        }
        let target = self.unalias(name)?;
        if let Some(model) = self.registered.get(target) {
            return Ok(Arc::clone(model));
        }
        if PluginModelName::parse(target).is_some() {
            return Err(Kind::NotConfigured.fault(format!(
                "`{target}` names no model of a plugin that this run has: `plugin:ALIAS/MODEL` is one of the plugin `ALIAS`"
            )));
        }
        // An alias may have others in its place, which its target has not.
        let key = if self.settings.fallbacks.contains_key(name) { name } else { target };
        if let Some(model) = self.resolved.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(Arc::clone(model));
        }
        if target == AUTO {
            return Err(Kind::NotConfigured
                .fault("model `auto` stands for a choice that is made once, at start")
                .with_hint("leave the model out to use the chosen one, or name one"));
        }
        let model = self.with_fallbacks(name, target)?;
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if resolved.len() >= limits::MODELS_RESOLVED {
            resolved.clear();
        }
        Ok(Arc::clone(resolved.entry(key.to_owned()).or_insert(model)))
    }

    fn plugin_model(&self, name: &str) -> Option<PluginModelName> {
        let target = self.unalias(name).ok()?;
        let own = |name: &str| self.registered.contains_key(name);
        if own(name) || own(target) { None } else { PluginModelName::parse(target)?.ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Idle, drain, request};
    use cofferdam_core::port::{SourceError, SourceFile};
    use cofferdam_model_server::ModelServer;

    struct Files;

    impl Sources for Files {
        fn read(&self, path: &str, _: usize) -> Result<SourceFile, SourceError> {
            match path {
                "answers.yaml" => Ok(SourceFile { bytes: Arc::from(&b"default: {text: hi}"[..]) }),
                "broken.yaml" => Ok(SourceFile { bytes: Arc::from(&b"defualt: {text: hi}"[..]) }),
                _ => Err(SourceError::Missing(path.to_owned())),
            }
        }
    }

    fn catalog(variables: &'static [(&'static str, &'static str)]) -> ModelCatalog {
        let find =
            move |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        ModelCatalog::new(Arc::new(Idle)).with_variables(Arc::new(find)).with_sources(Arc::new(Files))
    }

    fn refusal(catalog: &ModelCatalog, name: &str) -> (String, String) {
        let fault = catalog.resolve(name).map(|model| model.info()).unwrap_err();
        assert!(["model_not_configured", "model_unknown"].contains(&&*fault.code), "{fault}");
        (fault.message, fault.hint.unwrap_or_default())
    }

    #[tokio::test]
    async fn names_lead_to_models() {
        let catalog = catalog(&[("OPENAI_API_KEY", "sk-1")]);
        for name in
            ["builtin/extract", "scripted/answers.yaml", "openai/gpt-5", "ollama/llama3.2", "vllm/Qwen/Qwen3-8B"]
        {
            assert_eq!(&*catalog.resolve(name).unwrap().info().name, name);
        }
        let scripted = catalog.resolve("scripted/answers.yaml").unwrap();
        assert_eq!(drain(scripted.stream(request("a", "x")).await).await.text, "hi");
    }

    #[test]
    fn names_that_lead_nowhere_say_what_to_do() {
        let catalog = catalog(&[]);
        assert!(refusal(&catalog, "openai/gpt-5").1.contains("set OPENAI_API_KEY"));
        assert!(refusal(&catalog, "opnai/gpt-5").1.contains("did you mean `openai`"));
        assert!(refusal(&catalog, "anthropic/claude").1.contains("ANTHROPIC_API_KEY"));
        assert!(refusal(&catalog, "vertex/x").0.contains("not built in"));
        assert!(refusal(&catalog, "azure/x").1.contains("AZURE_OPENAI_ENDPOINT"));
        assert!(refusal(&catalog, "gpt-5").1.contains("provider/model"));
        assert!(refusal(&catalog, "openai/").0.contains("no model is called"));
        assert!(refusal(&catalog, "scripted").1.contains("scripted/answers.yaml"));
        assert!(refusal(&catalog, "scripted/none.yaml").0.contains("`none.yaml` does not exist"));
        assert!(refusal(&catalog, "scripted/broken.yaml").0.contains("defualt"));
        assert!(refusal(&catalog, "auto").0.contains("once, at start"));
    }

    #[test]
    fn settings_give_aliases_scripts_and_providers() {
        let mut settings = Settings { script: Some("answers.yaml".to_owned()), ..Settings::default() };
        settings.aliases.insert("fast".to_owned(), "quick".to_owned());
        settings.aliases.insert("quick".to_owned(), "corp/small".to_owned());
        settings.aliases.insert("round".to_owned(), "round".to_owned());
        let corp = ProviderSettings { base_url: Some("http://corp.test/v1".to_owned()), ..ProviderSettings::default() };
        settings.providers.insert("corp".to_owned(), corp);
        let catalog = catalog(&[]).with_settings(settings);
        assert_eq!(&*catalog.resolve("fast").unwrap().info().name, "corp/small");
        assert_eq!(&*catalog.resolve("scripted").unwrap().info().name, "scripted");
        assert!(refusal(&catalog, "round").0.contains("circle"));
    }

    #[test]
    fn the_same_name_is_the_same_object_and_an_own_model_beats_all() {
        let own: Arc<dyn Model> = Arc::new(Scripted::answering("mine"));
        let catalog = catalog(&[]).with_model("ollama/x", Arc::clone(&own));
        assert!(Arc::ptr_eq(&catalog.resolve("ollama/x").unwrap(), &own));
        assert!(Arc::ptr_eq(&catalog.resolve("ollama/y").unwrap(), &catalog.resolve("ollama/y").unwrap()));
    }

    #[test]
    fn a_model_and_its_alias_have_others_in_their_place_and_those_must_be_configured() {
        let mut settings = Settings::default();
        settings.aliases.insert("fast".to_owned(), "ollama/x".to_owned());
        settings.fallbacks.insert("fast".to_owned(), vec!["ollama/y".to_owned()]);
        settings.fallbacks.insert("ollama/z".to_owned(), vec!["openai/gpt-5".to_owned()]);
        let catalog = catalog(&[]).with_settings(settings);
        let (fast, plain) = (catalog.resolve("fast").unwrap(), catalog.resolve("ollama/x").unwrap());
        assert_eq!((&*fast.info().name, &*plain.info().name), ("ollama/x", "ollama/x"));
        assert!(!Arc::ptr_eq(&fast, &plain));
        let (message, hint) = refusal(&catalog, "ollama/z");
        assert!(
            message.starts_with("in the place of `ollama/z`") && hint.contains("OPENAI_API_KEY"),
            "{message}: {hint}"
        );
    }

    #[test]
    fn models_of_plugins_are_found_behind_aliases_and_made_elsewhere() {
        let mut settings = Settings::default();
        settings.aliases.insert("fast".to_owned(), "plugin:corp/small".to_owned());
        let own: Arc<dyn Model> = Arc::new(Scripted::answering("mine"));
        let catalog = catalog(&[]).with_settings(settings).with_model("plugin:corp/mine", own);
        for name in ["fast", "plugin:corp/small"] {
            assert_eq!(catalog.plugin_model(name).unwrap().to_string(), "plugin:corp/small");
            assert!(refusal(&catalog, name).0.contains("names no model of a plugin"));
        }
        for name in ["plugin:corp/mine", "openai/gpt-5", "plugin:corp"] {
            assert_eq!(catalog.plugin_model(name), None, "{name}");
        }
    }

    #[tokio::test]
    async fn a_local_ollama_is_chosen_before_the_extractor() {
        let server = ModelServer::start(Default::default()).await.unwrap();
        let host = server.base_url();
        let variables: Variables = Arc::new(move |name| (name == "OLLAMA_HOST").then(|| host.clone()));
        let catalog = ModelCatalog::new(Arc::new(Idle)).with_variables(variables);
        let choice = catalog.choose_auto(None).await;
        assert_eq!(choice.model, "ollama/text:latest");
        assert!(choice.line.contains(&server.root()), "{}", choice.line);
        assert_eq!(server.requests()[0].path(), "/api/tags");
    }

    #[tokio::test]
    async fn a_place_that_is_not_the_usual_one_is_named_without_its_user() {
        let moved = catalog(&[("OPENAI_BASE_URL", "http://me:secret@proxy.test/v1"), ("OPENAI_API_KEY", "sk-1")]);
        assert_eq!(moved.choose_auto(Some("openai/x")).await.line, "using openai/x, at http://proxy.test/v1");
        assert!(!refusal(&moved, "openai/x").0.contains("secret"));
        let usual = catalog(&[("OPENAI_API_KEY", "sk-1")]);
        assert_eq!(usual.choose_auto(Some("openai/x")).await.line, "using openai/x");
    }

    #[tokio::test]
    async fn without_a_local_model_the_extractor_is_chosen_and_keys_are_only_mentioned() {
        let catalog = catalog(&[("OLLAMA_HOST", "127.0.0.1:1"), ("OPENAI_API_KEY", "sk-1")]);
        let choice = catalog.choose_auto(None).await;
        assert_eq!(choice.model, "builtin/extract");
        assert!(choice.line.contains("OPENAI_API_KEY is set") && !choice.line.contains("sk-1"), "{}", choice.line);
        assert_eq!(catalog.choose_auto(Some("openai/x")).await.model, "openai/x");
    }
}
