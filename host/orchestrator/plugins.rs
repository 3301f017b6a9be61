//! A run's plugins: loaded, with what the user granted.

use super::Orchestrator;
use crate::error::Error;
use crate::workflow::Workflow;
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::event::PluginPin;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::Alias;
use cofferdam_core::policy::Grants;
use cofferdam_core::port::{Answer, Put, Question, Tool};
use cofferdam_core::spec::workflow::PluginReference as Declared;
use cofferdam_plugin::{Digest, LoadedPlugin, PluginReference, Source, user_key};
use futures_util::future::join_all;
use serde::Serialize;
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
}

/// Where remembered answers about grants are kept.
const REMEMBERED: &str = "grants";

type Loaded = (Vec<(Option<Alias>, Arc<dyn Tool>)>, Vec<PluginPin>, Vec<PluginCheck>);

impl Orchestrator {
    /// Loads the plugins of a document, all at once.
    pub(super) async fn load_plugins(&self, workflow: &Workflow) -> Result<Loaded, Error> {
        for alias in self.shared.settings.grants.flagged() {
            if !workflow.inner.plugins.contains_key(alias) {
                tracing::warn!(%alias, "a grant names a plugin that the document does not have");
            }
        }
        let played = |alias: &Alias| self.shared.settings.rehearsal.as_ref().is_some_and(|tools| tools.plays(alias));
        let declared = workflow.inner.plugins.iter().filter(|(alias, _)| !played(alias));
        let loads = declared.map(|(alias, declared)| self.load_plugin(workflow, alias, declared));
        let (mut tools, mut pins, mut checks, mut faults) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for outcome in join_all(loads).await {
            match outcome {
                Ok((plugin, pin, check)) => {
                    tools.push((Some(plugin.alias().clone()), plugin as Arc<dyn Tool>));
                    pins.push(pin);
                    checks.push(check);
                }
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok((tools, pins, checks)) } else { Err(Error::Refused(faults)) }
    }

    async fn load_plugin(
        &self,
        workflow: &Workflow,
        alias: &Alias,
        declared: &Declared,
    ) -> Result<(Arc<LoadedPlugin>, PluginPin, PluginCheck), Fault> {
        let policy = &self.shared.settings.grants;
        let mut granted = policy.effective(alias, &declared.requested, &Grants::default());
        let mut plugin = self.load_with(workflow, alias, declared, granted.clone()).await?;
        if !declared.requested.missing_from(&granted).is_empty() {
            let key = self.grant_key(workflow, alias, &plugin.digest().to_string(), &declared.requested);
            let remembered = self.remembered(key.as_deref()).await;
            granted = policy.effective(alias, &declared.requested, &remembered);
            let missing = declared.requested.missing_from(&granted);
            if !missing.is_empty() && self.ask_to_grant(alias, &missing, key.as_deref(), &declared.requested).await {
                granted = granted.union(&declared.requested);
            }
            // What was looked at is what gets the grants, also when the file changed meanwhile.
            let pinned = Declared { digest: Some(plugin.digest().to_string()), ..declared.clone() };
            plugin = self.load_with(workflow, alias, &pinned, granted.clone()).await?;
        }
        let missing = declared.requested.missing_from(&granted);
        let pin = PluginPin {
            alias: alias.to_string(),
            source: declared.source.clone(),
            digest: plugin.digest().to_string(),
            name: format!("{} {}", plugin.about().id, plugin.about().version),
            granted: granted.explain(),
        };
        let check = PluginCheck {
            kind: "plugin",
            alias: alias.to_string(),
            granted: granted.explain(),
            missing: missing.explain(),
            allow: if missing.is_empty() { String::new() } else { missing.to_command_line(alias) },
        };
        Ok((plugin, pin, check))
    }

    async fn load_with(
        &self,
        workflow: &Workflow,
        alias: &Alias,
        declared: &Declared,
        granted: Grants,
    ) -> Result<Arc<LoadedPlugin>, Fault> {
        let refuse = |message: String| Fault::user("plugin", format!("plugin `{alias}`: {message}"));
        let source = Source::parse(&declared.source, &workflow.base).map_err(|error| refuse(error.to_string()))?;
        let digest = declared.digest.as_deref().map(Digest::parse).transpose();
        let config = if declared.config.is_empty() { serde_json::Value::Null } else { declared.config.clone().into() };
        let reference = PluginReference {
            alias: alias.clone(),
            source,
            digest: digest.map_err(|error| refuse(error.to_string()))?,
            config,
            granted,
            requested: declared.requested.clone(),
            limits: declared.limits,
        };
        self.shared.plugins.load(reference).await.map_err(|error| error.to_fault())
    }

    /// Under what the answer about a plugin is remembered. It contains the user's secret, so that the records that a
    /// folder brings along cannot hold an answer; and the requests, so that a changed document asks anew. Nothing is
    /// remembered without a secret, or of a document that is no file.
    pub(super) fn grant_key(
        &self,
        workflow: &Workflow,
        alias: &Alias,
        digest: &str,
        requested: &Grants,
    ) -> Option<String> {
        let dirs = self.shared.settings.user_dirs.as_ref()?;
        let path = workflow.file.as_deref()?.as_os_str().as_encoded_bytes();
        let secret = match user_key(&dirs.state) {
            Ok(secret) => secret,
            Err(error) => {
                tracing::warn!(%error, "answers about plugins are not remembered");
                return None;
            }
        };
        let requested = serde_json::to_vec(requested).ok()?;
        let parts = [b"grant", &secret[..], path, alias.as_str().as_bytes(), digest.as_bytes(), &requested];
        Some(sha256_hex(&parts.join(&0)))
    }

    /// What a person allowed this plugin of this document for good.
    async fn remembered(&self, key: Option<&str>) -> Grants {
        let value = self.answer(key).await.and_then(|value| serde_json::from_slice(&value).ok());
        value.and_then(|value| Grants::parse(&value).ok()).unwrap_or_default()
    }

    /// What is kept of an answer.
    pub(super) async fn answer(&self, key: Option<&str>) -> Option<Vec<u8>> {
        match self.shared.settings.state.get(REMEMBERED, key?).await {
            Ok(entry) => entry.map(|entry| entry.value.to_vec()),
            Err(error) => {
                tracing::warn!(%error, "remembered answers cannot be read");
                None
            }
        }
    }

    async fn ask_to_grant(&self, alias: &Alias, missing: &Grants, key: Option<&str>, requested: &Grants) -> bool {
        let Some(approver) = &self.shared.settings.approver else { return false };
        let question = Question {
            run_id: None,
            path: cofferdam_core::id::StepPath::ROOT,
            title: format!("allow the plugin `{alias}` what the document requests?"),
            detail: missing.explain().join("\n"),
        };
        match approver.ask(question).await {
            Answer::Yes => true,
            Answer::Always => {
                if let Some(key) = key {
                    self.remember(key, requested).await;
                }
                true
            }
            Answer::No(_) | Answer::Nobody => false,
        }
    }

    pub(super) async fn remember(&self, key: &str, grants: &Grants) {
        let Ok(bytes) = serde_json::to_vec(grants) else { return };
        let put =
            Put { namespace: REMEMBERED.to_owned(), key: key.to_owned(), value: Some(bytes.into()), expected: None };
        if let Err(error) = self.shared.settings.state.put_if(put).await {
            tracing::warn!(%error, "the answer cannot be remembered");
        }
    }
}
