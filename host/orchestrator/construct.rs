//! Workflows that are built in code: the constructors, and what built workflows ask of their orchestrator.

use super::{Lineage, Orchestrator};
use crate::error::Error;
use crate::workflow::{Flow, Kept, Mode, Workflow, WorkflowAgent, WorkflowConfig};
use cofferdam_core::id::{AgentName, RunId};
use cofferdam_core::port::{Agent, Clock};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Orchestrator {
    /// A workflow to be built in code, wired as its configuration says.
    #[must_use]
    pub fn workflow(&self, config: WorkflowConfig) -> Flow {
        Flow::new(self.clone(), config)
    }

    /// A workflow whose steps run one after the other.
    #[must_use]
    pub fn sequential(&self, config: &WorkflowConfig) -> Flow {
        self.workflow(WorkflowConfig { mode: Mode::Sequential, ..config.clone() })
    }

    /// A workflow whose steps run all at once.
    #[must_use]
    pub fn parallel(&self, config: &WorkflowConfig) -> Flow {
        self.workflow(WorkflowConfig { mode: Mode::Parallel, ..config.clone() })
    }

    /// A workflow whose steps run by their dependencies.
    #[must_use]
    pub fn dag(&self, config: &WorkflowConfig) -> Flow {
        self.workflow(WorkflowConfig { mode: Mode::Dag, ..config.clone() })
    }

    /// A workflow whose steps run again and again.
    #[must_use]
    pub fn looping(&self, config: &WorkflowConfig) -> Flow {
        self.workflow(WorkflowConfig { mode: Mode::Loop, ..config.clone() })
    }

    /// A workflow, loaded or built, as an agent of other workflows; it runs here.
    ///
    /// # Errors
    /// When the name is none of an agent.
    pub fn workflow_agent(&self, name: &str, workflow: &Workflow) -> Result<WorkflowAgent, Error> {
        WorkflowAgent::new(self.clone(), name, workflow.clone())
    }

    /// The embedder's agent of this name.
    pub(crate) fn agent(&self, name: &AgentName) -> Option<Arc<Kept>> {
        self.shared.settings.agents.get(name).cloned()
    }

    /// The embedder's agents, those of the workflow before those of the orchestrator.
    pub(crate) fn agents_for(&self, workflow: &Workflow) -> BTreeMap<AgentName, Arc<dyn Agent>> {
        let agents = self.shared.settings.agents.iter();
        let own = workflow.agents().iter().map(|(name, agent)| (name, agent));
        agents.chain(own).map(|(name, agent)| (name.clone(), Arc::clone(agent) as Arc<dyn Agent>)).collect()
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.settings.clock)
    }

    pub(crate) fn max_depth(&self) -> usize {
        self.shared.settings.max_depth
    }

    /// The workflows around a run that is under way, its own at the end.
    pub(crate) fn lineage(&self, run: &RunId) -> Lineage {
        self.shared.lineages.of(run)
    }
}
