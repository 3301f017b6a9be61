//! What agents of a workflow would be offered here.

use super::servers::Reach;
use super::{Orchestrator, RunOptions};
use crate::error::Error;
use crate::workflow::Workflow;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{AgentName, Alias};
use cofferdam_core::spec::suggest::did_you_mean;
use cofferdam_core::spec::workflow::ToolFilter;
use cofferdam_engine::Listed;
use tokio_util::sync::CancellationToken;

/// A tool of a workflow, as its agents would be offered it.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferedTool {
    /// The tool, and what would be decided of its calls.
    pub listed: Listed,
    /// Where it comes from: `native`, the source of a plugin, or `mcp server`.
    pub from: String,
}

/// The tools of a workflow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfferedTools {
    /// Those that are known, by name.
    pub tools: Vec<OfferedTool>,
    /// MCP servers, whose tools are known only when a run has started them.
    pub unlisted: Vec<Alias>,
}

impl Orchestrator {
    /// The tools that agents of a workflow would be offered, or one of them. Loads plugins, and starts no servers.
    ///
    /// # Errors
    /// When there is no such agent, or what keeps the workflow from starting here.
    pub async fn tools(&self, workflow: &Workflow, agent: Option<&str>) -> Result<OfferedTools, Error> {
        let filter = match agent {
            None => ToolFilter::default(),
            Some(name) => filter_of(workflow, name)?,
        };
        let options = RunOptions { input: Some("input".to_owned()), ..RunOptions::default() };
        let servers = self.load_servers(workflow, Reach::Look).await?;
        let (ports, _, _) = self.prepare(workflow, &options, None, (CancellationToken::new(), &servers)).await?;
        let document = &workflow.inner;
        let from = |alias: Option<&Alias>| match alias {
            None => "native".to_owned(),
            Some(alias) => match document.plugins.get(alias) {
                Some(plugin) => plugin.source.clone(),
                None => "mcp server".to_owned(),
            },
        };
        let listed = ports.gateway.list(&filter).await;
        let tools = listed.into_iter().map(|listed| OfferedTool { from: from(listed.name.alias()), listed }).collect();
        Ok(OfferedTools { tools, unlisted: document.servers.keys().cloned().collect() })
    }
}

fn filter_of(workflow: &Workflow, name: &str) -> Result<ToolFilter, Error> {
    let agents = &workflow.inner.agents;
    let found = AgentName::parse(name).ok().and_then(|name| agents.get(&name));
    found.map(|agent| agent.tools.clone()).ok_or_else(|| {
        let names: Vec<&str> = agents.keys().map(AgentName::as_str).collect();
        let near = did_you_mean(name, names.iter().copied()).unwrap_or_default();
        let fault = Fault::user("unknown_agent", format!("the document has no agent `{name}`"));
        Error::Refused(vec![match names.is_empty() {
            true => fault,
            false => fault.with_hint(format!("{near} it has: {}", names.join(", ")).trim_start().to_owned()),
        }])
    })
}
