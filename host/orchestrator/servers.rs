//! A run's servers of the Model Context Protocol: allowed, started, and ended with the run.

use super::answers::Request;
use super::{Orchestrator, PluginCheck};
use crate::compose;
use crate::error::Error;
use crate::servers::{Wanted, lines_to_allow};
use crate::workflow::Workflow;
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::event::PluginPin;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, StepPath};
use cofferdam_core::policy::Grants;
use cofferdam_core::port::{Answer, Question, Tool};
use cofferdam_mcp::{Server, ServerSettings};
use futures_util::future::join_all;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How far servers are gone into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Whether they would be allowed.
    Look,
    /// Started, and asked for their tools.
    Connect,
}

/// The servers of one run.
#[derive(Default)]
pub(super) struct Servers {
    running: Vec<Arc<Server>>,
    /// Those whose tools are not known.
    pub(super) unlisted: Vec<Alias>,
    pub(super) checks: Vec<PluginCheck>,
}

impl Servers {
    pub(super) fn tools(&self) -> impl Iterator<Item = (Option<Alias>, Arc<dyn Tool>)> {
        self.running.iter().map(|server| (Some(server.alias().clone()), Arc::clone(server) as Arc<dyn Tool>))
    }

    pub(super) fn pins(&self) -> impl Iterator<Item = PluginPin> {
        self.running.iter().map(|server| server.pin())
    }

    /// Ends all of them at once.
    pub(super) async fn close(&self) {
        join_all(self.running.iter().map(|server| server.close())).await;
    }
}

impl Orchestrator {
    /// Starts the servers of a document that are allowed, all at once. Nothing is started while one is not.
    pub(super) async fn load_servers(&self, workflow: &Workflow, reach: Reach) -> Result<Servers, Error> {
        let settings = &self.shared.settings;
        for alias in settings.servers.flagged().filter(|alias| !workflow.inner.servers.contains_key(*alias)) {
            tracing::warn!(%alias, "a flag allows an MCP server that the document does not have");
        }
        let (mut servers, mut faults, mut allowed) = (Servers::default(), Vec::new(), Vec::new());
        for (alias, declared) in &workflow.inner.servers {
            if let Some(rehearsal) = &settings.rehearsal {
                // A rehearsal starts no programs: who is not played has no tools.
                servers.unlisted.extend((!rehearsal.plays(alias)).then(|| alias.clone()));
                continue;
            }
            let Some(wanted) = settings.servers.wanted(alias, declared, &workflow.base) else {
                let message = format!("the document uses the MCP server `{alias}` of cofferdam.toml, which has none");
                let fault = Fault::user("mcp_unknown_server", message);
                faults.push(fault.with_hint(format!("add `[mcp_servers.{alias}]` with `command` or `url`")));
                continue;
            };
            if reach == Reach::Look {
                servers.unlisted.push(alias.clone());
                servers.checks.push(check(alias, &wanted));
            } else if wanted.is_allowed || self.may_start(workflow, alias, &wanted).await {
                allowed.push(self.settings_of(alias, wanted));
            } else {
                faults.push(denied(alias, &wanted));
            }
        }
        if !faults.is_empty() {
            return Err(Error::Refused(faults));
        }
        for outcome in join_all(allowed.into_iter().map(Server::connect)).await {
            match outcome {
                Ok(server) => servers.running.push(server),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(servers) } else { Err(Error::Refused(faults)) }
    }

    fn settings_of(&self, alias: &Alias, wanted: Wanted) -> ServerSettings {
        let settings = &self.shared.settings;
        ServerSettings {
            alias: alias.clone(),
            reference: wanted.reference,
            directory: absolute(&settings.workdir),
            trust: wanted.trust,
            variables: Arc::new(compose::variable_secret),
            clock: Arc::clone(&settings.clock),
        }
    }

    /// Whether a person allowed it before, or does now.
    async fn may_start(&self, workflow: &Workflow, alias: &Alias, wanted: &Wanted) -> bool {
        let what = format!("mcp:{}", sha256_hex(format!("{:?}", wanted.reference).as_bytes()));
        let request = self.requested(workflow, alias, &what, &Grants::default());
        let request = request.map(|request| Request { server: Some(wanted.reference.explain()), ..request });
        if self.is_remembered(request.as_ref()).await {
            return true;
        }
        let Some(approver) = &self.shared.settings.approver else { return false };
        let question = Question {
            run_id: None,
            path: StepPath::ROOT,
            title: format!("allow the MCP server `{alias}` of the document?"),
            detail: wanted.reference.explain().join("\n"),
            always: Some("for this document and this server as it is".to_owned()),
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
}

fn check(alias: &Alias, wanted: &Wanted) -> PluginCheck {
    let lines = wanted.reference.explain();
    let (granted, missing) = if wanted.is_allowed { (lines, Vec::new()) } else { (Vec::new(), lines) };
    let allow = if wanted.is_allowed { String::new() } else { format!("--allow-mcp {alias}") };
    PluginCheck { kind: "mcp server", alias: alias.to_string(), granted, missing, allow, approved: None }
}

fn denied(alias: &Alias, wanted: &Wanted) -> Fault {
    let means = wanted.reference.explain().join("; ");
    let message = format!("the MCP server `{alias}` is requested by the document and not allowed; it {means}");
    Fault::user("mcp_not_allowed", message).with_hint(lines_to_allow(alias, &wanted.reference))
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
