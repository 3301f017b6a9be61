//! A run's plugins: loaded, with what the user granted.

use super::Orchestrator;
use super::answers::{self, About, OF_REQUESTS};
use super::fetching::{Update, Wish};
use crate::error::Error;
use crate::grants::GrantPolicy;
use crate::lock::LockEntry;
use crate::mounts;
use crate::workflow::Workflow;
use cofferdam_core::event::PluginPin;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::Alias;
use cofferdam_core::policy::{Grants, PluginKind};
use cofferdam_core::port::{Answer, Condition, PurePlugins, Put, Question, Tool, Transform};
use cofferdam_core::spec::workflow::PluginReference as Declared;
use cofferdam_core::value::Map;
use cofferdam_plugin::{Digest, LoadedPlugin, PluginReference, Source};
use futures_util::future::join_all;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A plugin or an MCP server of a document, and what it lacks.
#[derive(Clone, Debug, Serialize)]
pub struct PluginCheck {
    /// `plugin` or `mcp server`.
    pub kind: &'static str,
    /// What the document calls it.
    pub alias: String,
    /// What it may do, one line a capability.
    pub granted: Vec<String>,
    /// What the document requests and the user did not grant, one line a capability.
    pub missing: Vec<String>,
    /// Flags that would grant what is missing.
    pub allow: String,
    /// What is to be locked, when somebody approved the plugin.
    #[serde(skip)]
    pub(crate) approved: Option<LockEntry>,
}

impl PluginCheck {
    /// Of a plugin that lacks nothing, since only the user names it.
    pub(super) fn granted(alias: &Alias, granted: Vec<String>) -> Self {
        let (missing, allow) = (Vec::new(), String::new());
        Self { kind: "plugin", alias: alias.to_string(), granted, missing, allow, approved: None }
    }
}

/// The plugins of a run, by what they can be used as.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) tools: Vec<(Option<Alias>, Arc<dyn Tool>)>,
    pub(super) pure: PurePlugins,
    /// All of them, for those that are named as models.
    pub(super) plugins: BTreeMap<Alias, Arc<LoadedPlugin>>,
    pub(super) pins: Vec<PluginPin>,
    pub(super) checks: Vec<PluginCheck>,
}

impl Loaded {
    /// Takes in a plugin; its tools may be played by a script.
    pub(super) fn add(&mut self, plugin: &Arc<LoadedPlugin>, played: bool) {
        let alias = plugin.alias().clone();
        self.plugins.insert(alias.clone(), Arc::clone(plugin));
        if plugin.is(PluginKind::Tool) && !played {
            self.tools.push((Some(alias.clone()), Arc::clone(plugin) as Arc<dyn Tool>));
        }
        if plugin.is(PluginKind::Transform) {
            self.pure.transforms.insert(alias.clone(), Arc::clone(plugin) as Arc<dyn Transform>);
        }
        if plugin.is(PluginKind::Condition) {
            self.pure.conditions.insert(alias, Arc::clone(plugin) as Arc<dyn Condition>);
        }
    }
}

/// A plugin of a document as it is loaded for a run: its directories rendered.
pub(super) struct Wanted<'w> {
    pub(super) workflow: &'w Workflow,
    pub(super) alias: &'w Alias,
    pub(super) declared: Declared,
    pub(super) policy: Cow<'w, GrantPolicy>,
}

impl Orchestrator {
    /// Loads the plugins of a document, all at once. Without inputs, directories that depend on them are left out.
    pub(super) async fn load_plugins(&self, workflow: &Workflow, inputs: Option<&Map>) -> Result<Loaded, Error> {
        let settings = &self.shared.settings;
        for alias in settings.grants.flagged() {
            if !workflow.inner.plugins.contains_key(alias) && !settings.model_plugins.contains_key(alias) {
                tracing::warn!(%alias, "a grant names a plugin that the document does not have");
            }
        }
        settings.vault.learn([]);
        let refuse = |message: String| Error::Refused(vec![Fault::user("plugin_grants", message)]);
        let policy = settings.grants.changed(|grants| mounts::render(grants, inputs)).map_err(refuse)?;
        let played = |alias: &Alias| settings.rehearsal.as_ref().is_some_and(|tools| tools.plays(alias));
        let pure = workflow.inner.pure_plugins();
        let needed = |alias: &&Alias| !played(alias) || pure.contains(*alias);
        let mut wanted = Vec::new();
        for (alias, declared) in workflow.inner.plugins.iter().filter(|(alias, _)| needed(alias)) {
            let requested = mounts::render(&declared.requested, inputs)
                .map_err(|error| refuse(format!("plugin `{alias}`: {error}")))?;
            let declared = Declared { requested, ..declared.clone() };
            wanted.push(Wanted { workflow, alias, declared, policy: Cow::Borrowed(&policy) });
        }
        let (mut loaded, mut faults) = (Loaded::default(), Vec::new());
        for outcome in join_all(wanted.iter().map(|wanted| self.load_plugin(wanted))).await {
            match outcome {
                Ok((plugin, pin, check)) => {
                    loaded.add(&plugin, played(plugin.alias()));
                    loaded.pins.push(pin);
                    loaded.checks.push(check);
                }
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(loaded) } else { Err(Error::Refused(faults)) }
    }

    async fn load_plugin(&self, wanted: &Wanted<'_>) -> Result<(Arc<LoadedPlugin>, PluginPin, PluginCheck), Fault> {
        let wanted = &self.as_named(wanted)?;
        let Wanted { alias, declared, policy, .. } = wanted;
        let strict = self.shared.settings.undecided.strict;
        let requested = &declared.requested;
        let mut granted = policy.effective(alias, requested, &Grants::default());
        let mut plugin = self.load_with(wanted, declared, granted.clone()).await?;
        let entry = self.entry(wanted, &plugin);
        let mut approved = self.check_lock(wanted, &entry).await?;
        if !requested.missing_from(&granted).is_empty() && !strict {
            let request = self.requested(wanted.workflow, alias, &plugin.digest().to_string(), requested);
            // The key has the requests in it: what was allowed is all of them.
            let is_remembered = self.is_remembered(request.as_ref()).await;
            let remembered = if is_remembered { requested.clone() } else { Grants::default() };
            granted = policy.effective(alias, requested, &remembered);
            let missing = requested.missing_from(&granted);
            if !missing.is_empty() && self.ask_to_grant(alias, &missing, request).await {
                granted = granted.union(requested);
                approved = true;
            }
            // What was looked at is what gets the grants, also when the file changed meanwhile.
            let pinned = Declared { digest: Some(plugin.digest().to_string()), ..declared.clone() };
            plugin = self.load_with(wanted, &pinned, granted.clone()).await?;
        }
        approved |= policy.allows_requests() && !requested.is_empty();
        let missing = requested.missing_from(&granted);
        if strict && !missing.is_empty() {
            let message = format!("plugin `{alias}` requests what nobody granted: {}", missing.explain().join("; "));
            let advice = policy.whose(alias).advice(alias);
            let hint = advice.unwrap_or_else(|| format!("grant it: {}", missing.to_command_line(alias)));
            return Err(Fault::user("plugin_undecided", message).with_hint(hint));
        }
        self.shared.settings.vault.learn(granted.secret_names());
        let pin = PluginPin {
            alias: alias.to_string(),
            source: declared.source.clone(),
            digest: plugin.digest().to_string(),
            name: format!("{} {}", plugin.about().id, plugin.about().version),
            granted: plugin.granted(),
        };
        let check = PluginCheck {
            kind: "plugin",
            alias: alias.to_string(),
            granted: plugin.granted(),
            missing: missing.explain(),
            allow: if missing.is_empty() { String::new() } else { allowing(policy, alias, &missing) },
            approved: approved.then_some(entry),
        };
        Ok((plugin, pin, check))
    }

    /// What would be locked of all plugins of a document; what is in a registry is fetched.
    pub(super) async fn entries(&self, workflow: &Workflow, update: Update) -> Result<Vec<LockEntry>, Error> {
        let (mut wanted, mut manifests) = (Vec::new(), Vec::new());
        for (alias, declared) in &workflow.inner.plugins {
            let (mut declared, mut manifest) = (declared.clone(), None);
            if let Ok(Source::Registry(reference)) = Source::parse(&declared.source, &workflow.base) {
                let wish = Wish { alias: Some(alias), digest: declared.digest.clone(), update };
                let fetched = self.fetch(&reference, wish).await?;
                (declared.digest, manifest) = (Some(fetched.digest), fetched.manifest);
            }
            wanted.push(Wanted { workflow, alias, declared, policy: Cow::Owned(GrantPolicy::deny_all()) });
            manifests.push(manifest);
        }
        let loads = wanted.iter().zip(manifests).map(|(wanted, manifest)| async move {
            let plugin = self.load_with(wanted, &wanted.declared, Grants::default()).await?;
            Ok(LockEntry { manifest, ..self.entry(wanted, &plugin) })
        });
        let (mut entries, mut faults) = (Vec::new(), Vec::new());
        for outcome in join_all(loads).await {
            match outcome {
                Ok(entry) => entries.push(entry),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(entries) } else { Err(Error::Refused(faults)) }
    }

    pub(super) async fn load_with(
        &self,
        wanted: &Wanted<'_>,
        declared: &Declared,
        granted: Grants,
    ) -> Result<Arc<LoadedPlugin>, Fault> {
        let Wanted { workflow, alias, policy, .. } = wanted;
        let refuse = |message: String| Fault::user("plugin", format!("plugin `{alias}`: {message}"));
        let parsed = Source::parse(&declared.source, &workflow.base);
        let source = parsed.map_err(|error| {
            let hint = error.hint().map(str::to_owned);
            let fault = refuse(error.to_string());
            hint.into_iter().fold(fault, Fault::with_hint)
        })?;
        let digest = self.digest_of(alias, declared, &source)?;
        let digest = digest.as_deref().map(Digest::parse).transpose();
        let config = if declared.config.is_empty() { serde_json::Value::Null } else { declared.config.clone().into() };
        let reference = PluginReference {
            alias: (*alias).clone(),
            source,
            digest: digest.map_err(|error| refuse(error.to_string()))?,
            config,
            granted,
            requested: declared.requested.clone(),
            limits: declared.limits,
            base: self.shared.settings.root.clone().unwrap_or_else(|| workflow.base.clone()),
            name_of: policy.whose(alias),
            trust: policy.trust(alias),
        };
        self.shared.plugins.load(reference).await.map_err(|error| error.to_fault())
    }

    /// What an answer about a document is about, to be remembered for good: with the requests, so that a changed document asks anew.
    /// Nothing is remembered of a document that is no file.
    pub(super) fn requested(
        &self,
        workflow: &Workflow,
        alias: &Alias,
        digest: &str,
        requested: &Grants,
    ) -> Option<answers::Request> {
        Some(answers::Request {
            alias: alias.to_string(),
            document: workflow.file.clone()?,
            digest: digest.to_owned(),
            requested: serde_json::to_string(requested).ok()?,
            server: None,
            at: self.clock().now(),
        })
    }

    /// Whether a person allowed this for good.
    pub(super) async fn is_remembered(&self, request: Option<&answers::Request>) -> bool {
        let about = request.map(|request| About::Request(request.clone()));
        let Some(key) = about.and_then(|about| self.key_of(&about)) else { return false };
        match self.shared.settings.state.get(OF_REQUESTS, &key).await {
            Ok(entry) => entry.is_some(),
            Err(error) => {
                tracing::warn!(%error, "remembered answers cannot be read");
                false
            }
        }
    }

    async fn ask_to_grant(&self, alias: &Alias, missing: &Grants, request: Option<answers::Request>) -> bool {
        let Some(approver) = &self.shared.settings.approver else { return false };
        let question = Question {
            run_id: None,
            path: cofferdam_core::id::StepPath::ROOT,
            title: format!("allow the plugin `{alias}` what the document requests?"),
            detail: missing.explain().join("\n"),
            always: Some("for this document and this plugin as it is".to_owned()),
        };
        match approver.ask(question).await {
            Answer::Yes => true,
            Answer::Always => {
                self.remember(request).await;
                true
            }
            Answer::No(_) | Answer::Nobody => false,
        }
    }

    pub(super) async fn remember(&self, request: Option<answers::Request>) {
        let Some(about) = request.map(About::Request) else { return };
        let Some(key) = self.key_of(&about) else { return };
        let put = Put { namespace: OF_REQUESTS.to_owned(), key, value: Some(about.to_bytes().into()), expected: None };
        if let Err(error) = self.shared.settings.state.put_if(put).await {
            tracing::warn!(%error, "the answer cannot be remembered");
        }
    }
}

/// What a person can do to allow what is missing.
fn allowing(policy: &GrantPolicy, alias: &Alias, missing: &Grants) -> String {
    policy.whose(alias).advice(alias).map_or_else(|| missing.to_command_line(alias), |advice| format!("# {advice}"))
}
