//! Recorded runs, run again against their records: no model, no tool, no network.
//!
//! It must not connect to, fetch or write anything.

use super::Orchestrator;
use super::launch::RECALL;
use super::plugins::{Loaded, Wanted};
use super::recorded::recorded_coordinator;
use crate::error::Error;
use crate::grants::GrantPolicy;
use crate::workflow::Workflow;
use cofferdam_core::event::{Body, PluginPin, RunEvent, Sensitive};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{AgentName, RunId};
use cofferdam_core::permission::Rules;
use cofferdam_core::policy::Grants;
use cofferdam_core::port::PurePlugins;
use cofferdam_engine::{Gateway, ReplayPorts, Replayed, replay};
use cofferdam_plugin::Source;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The engine of documents that name none.
const DEFAULT_ENGINE: &str = "default";

/// Whether agents could write to somebody.
fn has_coordinator(events: &[Arc<RunEvent>]) -> bool {
    let Some(Body::RunStarted { settings, .. }) = events.first().map(|first| &first.body) else { return false };
    recorded_coordinator(settings).is_ok_and(|found| found.is_some_and(|found| !found.only_synthesizes()))
}

fn has_recall(events: &[Arc<RunEvent>]) -> bool {
    let first = events.first().map(|first| &first.body);
    matches!(first, Some(Body::RunStarted { settings, .. }) if settings.contains_key(RECALL))
}

impl Orchestrator {
    /// Runs a recorded run again, against what is recorded of its models and tools, as far as its record goes; it may come
    /// from another machine. What could not be found out here, since a closure, a plugin or an agent is not here, is
    /// named in what this gives.
    ///
    /// # Errors
    /// [`Error::Differs`] at the first difference; else when there is no such run, its records cannot be read, or its
    /// document cannot be had any more.
    pub async fn replay(&self, run: &RunId) -> Result<Replayed, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        let recorded = self.recorded(run).await?;
        let workflow = recorded.pinned().or_else(|_| recorded.workflow())?.under(&recorded.host()?);
        let events = self.events_of(run).await?;
        let ports = self.replay_ports(&workflow, &events).await?;
        replay(ports, workflow.shared(), &events).await.map_err(|difference| {
            let mut sensitive = events.first().and_then(|first| Sensitive::recorded(first));
            if let Some(sensitive) = &mut sensitive {
                events.iter().for_each(|event| sensitive.note(event));
            }
            let shown = sensitive.map_or_else(|| (*difference).clone(), |hide| difference.public(&hide));
            Error::Differs { run: run.clone(), difference, shown: Box::new(shown) }
        })
    }

    async fn replay_ports(&self, workflow: &Workflow, events: &[Arc<RunEvent>]) -> Result<ReplayPorts, Error> {
        let settings = &self.shared.settings;
        let document = workflow.document();
        let foreign = document.plugins.keys().chain(document.servers.keys());
        let native =
            settings.tools_beside(|alias| document.plugins.contains_key(alias) || document.servers.contains_key(alias));
        let gateway = Gateway::new(native, Rules::default(), None, Arc::clone(&settings.clock))?;
        let mut agents: BTreeSet<AgentName> = self.agents_for(workflow).into_keys().collect();
        // Whether a plan was one depended on what tools and files there were.
        let planning = document.name == Self::PLANNER;
        agents.extend(document.agents.keys().filter(|_| planning).cloned());
        let engine = document.options.engine.as_deref().unwrap_or(DEFAULT_ENGINE);
        Ok(ReplayPorts {
            natives: Arc::new(workflow.natives(&settings.natives)),
            plugins: Arc::new(self.pure_plugins(workflow, events).await),
            agents,
            gateway: Arc::new(
                gateway
                    .with_unlisted(foreign.cloned())
                    .with_coordinator(has_coordinator(events))
                    .with_recall(has_recall(events)),
            ),
            sources: Arc::clone(&workflow.sources),
            ordered_by_engine: engine != DEFAULT_ENGINE || settings.engines.contains_key(engine),
        })
    }

    /// The transforms and conditions of the run that are here, by the very components that it used; they have no capability.
    async fn pure_plugins(&self, workflow: &Workflow, events: &[Arc<RunEvent>]) -> PurePlugins {
        let pins = events.iter().rev().find_map(|event| match &event.body {
            Body::RunStarted { plugins, .. } | Body::RunResumed { plugins, .. } => Some(plugins.as_slice()),
            _ => None,
        });
        let pins = pins.unwrap_or_default();
        let mut loaded = Loaded::default();
        for alias in workflow.document().pure_plugins() {
            let pin = pins.iter().find(|pin| pin.alias == alias.as_str());
            let declared = workflow.document().plugins.get(&alias);
            let Some((pin, declared)) = pin.zip(declared) else { continue };
            let declared = declared.clone();
            let wanted = Wanted { workflow, alias: &alias, declared, policy: Cow::Owned(GrantPolicy::deny_all()) };
            match self.pinned_plugin(&wanted, pin).await {
                Ok(plugin) => loaded.add(&plugin, true),
                Err(why) => tracing::debug!(%alias, %why, "a plugin of the run is not here"),
            }
        }
        loaded.pure
    }

    async fn pinned_plugin(
        &self,
        wanted: &Wanted<'_>,
        pin: &PluginPin,
    ) -> Result<Arc<cofferdam_plugin::LoadedPlugin>, Fault> {
        let source = Source::parse(&wanted.declared.source, &wanted.workflow.base);
        if matches!(source, Ok(Source::Registry(_))) {
            return Err(Fault::user("plugin", "it is in a registry"));
        }
        let mut declared = wanted.declared.clone();
        declared.digest = Some(pin.digest.clone());
        self.load_with(wanted, &declared, Grants::default()).await
    }
}
