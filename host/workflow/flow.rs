//! A workflow as an object: built step by step, checked as a document is, run any number of times at once.
//!
//! It holds nothing of any run. What runs is the [`Workflow`] that [`Flow::validate`] gives, the same type that documents
//! are loaded into.

use super::Workflow;
use super::agent_config::AgentConfig;
use super::agent_of_workflow::WorkflowAgent;
use super::code::Code;
use super::config::{Mode, WorkflowConfig};
use super::document::{self, Authored};
use super::lifecycle::{self, Kept};
use super::loop_condition::LoopCheck;
use super::step::{AgentRef, Step, Who};
use crate::error::Error;
use crate::orchestrator::{Orchestrator, RunOptions};
use crate::stream::{Stream, StreamOptions};
use cofferdam_core::id::{AgentName, StepId};
use cofferdam_core::port::Recall;
use cofferdam_core::run::RunResult;
use cofferdam_core::value::Map;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;

/// A workflow that is built in code; see [`Orchestrator::workflow`].
pub struct Flow {
    orchestrator: Orchestrator,
    config: WorkflowConfig,
    steps: Vec<Step>,
    go_on: Option<LoopCheck>,
    /// Agents that a model drives, by name.
    described: BTreeMap<String, Map>,
    /// Agents of the embedder's own, by name.
    own: BTreeMap<AgentName, Arc<Kept>>,
    /// Closures by name.
    code: Code,
    /// Retrieval memory.
    memory: Option<Arc<dyn Recall>>,
    /// Other keys of the root.
    more: Map,
    /// What all this comes to; made anew after each change.
    checked: OnceLock<Workflow>,
    prepared: Mutex<Prepared>,
}

/// What `initialize` has done.
#[derive(Default)]
struct Prepared {
    /// The agents that it prepared.
    agents: Vec<Arc<Kept>>,
    /// The workflow as it was then; none when it did not come to its end.
    workflow: Option<Workflow>,
}

/// An independent workflow with the same steps. The clone is not initialized.
impl Clone for Flow {
    fn clone(&self) -> Self {
        Self {
            orchestrator: self.orchestrator.clone(),
            config: self.config.clone(),
            steps: self.steps.clone(),
            go_on: self.go_on.clone(),
            described: self.described.clone(),
            own: self.own.clone(),
            code: self.code.clone(),
            memory: self.memory.clone(),
            more: self.more.clone(),
            checked: self.checked.clone(),
            prepared: Mutex::default(),
        }
    }
}

impl Flow {
    pub(crate) fn new(orchestrator: Orchestrator, config: WorkflowConfig) -> Self {
        Self {
            orchestrator,
            config,
            steps: Vec::new(),
            go_on: None,
            described: BTreeMap::new(),
            own: BTreeMap::new(),
            code: Code::default(),
            memory: None,
            more: Map::new(),
            checked: OnceLock::new(),
            prepared: Mutex::default(),
        }
    }

    /// What the workflow was made with.
    #[must_use]
    pub fn config(&self) -> &WorkflowConfig {
        &self.config
    }

    /// Adds an agent that later steps and the list of agents may name.
    ///
    /// # Errors
    /// When its name is none, or another agent has it.
    pub fn add_agent(&mut self, agent: impl Into<AgentRef>) -> Result<&mut Self, Error> {
        self.take_agent(&agent.into()).map_err(|message| Error::Agent { message })?;
        self.changed();
        Ok(self)
    }

    /// Adds a step.
    ///
    /// # Errors
    /// When its name is empty, none, or another step's; when nobody knows its agent; when its closures are named as
    /// others are. Unknown dependencies and cycles are found by [`Self::validate`], when all steps are there.
    pub fn add_step(&mut self, step: Step) -> Result<&mut Self, Error> {
        self.check_step(&step).map_err(|message| Error::Step { step: step.name.clone(), message })?;
        self.steps.push(step);
        self.changed();
        Ok(self)
    }

    fn check_step(&mut self, step: &Step) -> Result<(), String> {
        if step.name.is_empty() {
            return Err("the step has no name".to_owned());
        }
        StepId::parse(&step.name).map_err(|error| error.to_string())?;
        if self.steps.iter().any(|known| known.name == step.name) {
            return Err(format!("there is a step `{}` already", step.name));
        }
        let mut code = self.code.clone();
        code.take_step(step)?;
        if let Some(agent) = &step.agent {
            self.take_agent(agent)?;
        }
        self.code = code;
        Ok(())
    }

    fn take_agent(&mut self, agent: &AgentRef) -> Result<(), String> {
        let name = AgentName::parse(agent.name()).map_err(|error| error.to_string())?;
        match &agent.0 {
            Who::Named(_) => return self.knows(&name),
            Who::Described(AgentConfig { table, .. }) => {
                let other = self.described.get(name.as_str()).is_some_and(|known| known != table);
                if other || self.own.contains_key(&name) {
                    return Err(format!("another agent is called `{name}`"));
                }
                self.described.insert(name.to_string(), table.clone());
            }
            Who::Own(agent) => {
                let other = self.own.get(&name).is_some_and(|known| !known.is(agent));
                if other || self.described.contains_key(name.as_str()) {
                    return Err(format!("another agent is called `{name}`"));
                }
                self.own.entry(name).or_insert_with(|| Arc::new(Kept::new(Arc::clone(agent))));
            }
        }
        Ok(())
    }

    /// Whether somebody has an agent of this name. One of the orchestrator's becomes the workflow's to prepare.
    fn knows(&mut self, name: &AgentName) -> Result<(), String> {
        let in_root = |agents: &Value| agents.get(name.as_str()).is_some();
        if self.described.contains_key(name.as_str()) || self.more.get("agents").is_some_and(in_root) {
            return Ok(());
        }
        if self.own.contains_key(name) {
            return Ok(());
        }
        let Some(agent) = self.orchestrator.agent(name) else {
            return Err(format!("there is no agent `{name}`; give the step the agent itself, or add it before"));
        };
        self.own.insert(name.clone(), agent);
        Ok(())
    }

    /// What decides whether the loop goes on: true = go on, asked before each iteration. A text is an expression.
    ///
    /// # Errors
    /// When the workflow is no loop.
    pub fn set_loop_condition(&mut self, check: impl Into<LoopCheck>) -> Result<&mut Self, Error> {
        if self.config.mode != Mode::Loop {
            let mode = self.config.mode.as_str();
            let message = format!("a loop condition is only valid for loop mode, and this workflow is `{mode}`");
            return Err(Error::Settings(message));
        }
        let check = check.into();
        self.code.take_loop(&check);
        self.go_on = Some(check);
        self.changed();
        Ok(self)
    }

    /// Gives the workflow a retrieval memory, kept here: what its agents were told and gave is stored when a step completes,
    /// and found again for later steps, and for later runs of the same session. `memory` of its configuration may have
    /// settings, `{"recall": {"limit": 3}}`.
    pub fn set_memory(&mut self, memory: Arc<dyn Recall>) -> &mut Self {
        self.memory = Some(memory);
        self.changed();
        self
    }

    /// Any other key of a document's root: `.set("output", "steps.report.result")`.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.more.insert(key.into(), value.into());
        self.changed();
        self
    }

    fn changed(&mut self) {
        self.checked = OnceLock::new();
    }

    /// Checks the whole workflow as a document is checked, and gives what [`Orchestrator::run_flow`] takes.
    ///
    /// # Errors
    /// Every fault, with its path in the document that the workflow stands for.
    pub fn validate(&self) -> Result<Workflow, Error> {
        if let Some(workflow) = self.checked.get() {
            return Ok(workflow.clone());
        }
        let mut own = self.own.clone();
        let workflow = Workflow::parse(&self.document(), ".")?.with_code(self.code.clone());
        for name in &self.config.agents {
            let name = AgentName::parse(name).map_err(|error| Error::Agent { message: error.to_string() })?;
            if let Some(agent) = self.agent_of_list(&name)? {
                own.entry(name).or_insert(agent);
            }
        }
        let workflow = workflow.with_agents(self.in_step_order(&own)).with_memory(self.memory.clone());
        Ok(self.checked.get_or_init(|| workflow).clone())
    }

    /// The embedder's agent of this name in the list of agents; none when a model drives it.
    fn agent_of_list(&self, name: &AgentName) -> Result<Option<Arc<Kept>>, Error> {
        if self.own.contains_key(name) || self.described.contains_key(name.as_str()) {
            return Ok(None);
        }
        if self.more.get("agents").is_some_and(|agents| agents.get(name.as_str()).is_some()) {
            return Ok(None);
        }
        let agent = self.orchestrator.agent(name);
        agent.map(Some).ok_or_else(|| Error::Agent { message: format!("there is no agent `{name}`") })
    }

    fn document(&self) -> String {
        let listed: Vec<Step>;
        let mut steps = self.steps.as_slice();
        if steps.is_empty() {
            listed = self.config.agents.iter().map(|name| Step::new(name.as_str()).agent(name.as_str())).collect();
            steps = &listed;
        }
        let mut agents = document::agents(steps, &self.config.agents, &self.described);
        if let Some(Value::Object(given)) = self.more.get("agents") {
            agents.retain(|name, _| !given.contains_key(*name));
        }
        Authored { config: &self.config, steps, go_on: self.go_on.as_ref(), agents, more: &self.more }.text()
    }

    /// The embedder's agents, in the order of the steps that first name them.
    fn in_step_order(&self, own: &BTreeMap<AgentName, Arc<Kept>>) -> Vec<(AgentName, Arc<Kept>)> {
        let of_steps = self.steps.iter().filter_map(|step| step.agent.as_ref()).map(AgentRef::name);
        let names =
            of_steps.chain(self.config.agents.iter().map(String::as_str)).chain(own.keys().map(AgentName::as_str));
        let mut ordered: Vec<(AgentName, Arc<Kept>)> = Vec::new();
        for (name, agent) in names.filter_map(|name| own.get_key_value(name)) {
            if !ordered.iter().any(|(known, _)| known == name) {
                ordered.push((name.clone(), Arc::clone(agent)));
            }
        }
        ordered
    }

    /// The document that the workflow stands for. It behaves as the workflow does where closures and agents of the same
    /// names are registered.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub fn to_yaml(&self) -> Result<String, Error> {
        Ok(self.validate()?.to_yaml())
    }

    /// Prepares every agent, in the order of the steps, and loads what the workflow needs, once: runs that follow find it
    /// ready. Called again it prepares what was added since. A run without it prepares its agents itself.
    ///
    /// # Errors
    /// Every agent that cannot be prepared; then none of those that the call prepared stays prepared.
    pub async fn initialize(&self) -> Result<(), Error> {
        let mut prepared = self.prepared.lock().await;
        if self.is_empty() {
            return Ok(());
        }
        let workflow = self.validate()?;
        if prepared.workflow.as_ref().is_some_and(|known| Arc::ptr_eq(known.shared(), workflow.shared())) {
            return Ok(());
        }
        self.orchestrator.check_host(&workflow).await?;
        lifecycle::initialize_more(&mut prepared.agents, workflow.kept()).await.map_err(Error::Refused)?;
        prepared.workflow = Some(workflow);
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.config.agents.is_empty() && !self.more.contains_key("steps")
    }

    /// Cleans up every agent that `initialize` prepared, also when one fails; runs under way keep theirs until they end.
    ///
    /// # Errors
    /// Every agent that did not clean up.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let mut prepared = self.prepared.lock().await;
        prepared.workflow = None;
        let faults = lifecycle::cleanup_from(0, &mut prepared.agents).await;
        if faults.is_empty() { Ok(()) } else { Err(Error::Shutdown(faults)) }
    }

    /// Runs it to its end; may be called any number of times at once.
    ///
    /// # Errors
    /// As [`Self::validate`] and [`Orchestrator::run_flow`].
    pub async fn run(&self, input: impl Into<String> + Send) -> Result<RunResult, Error> {
        self.run_with(RunOptions { input: given(input.into()), ..RunOptions::default() }).await
    }

    /// As [`Self::run`], with everything that a run may be given.
    ///
    /// # Errors
    /// As [`Self::validate`] and [`Orchestrator::run_flow`].
    pub async fn run_with(&self, options: RunOptions) -> Result<RunResult, Error> {
        let workflow = self.validate()?;
        self.orchestrator.run_flow(&workflow, options).await
    }

    /// Runs it and gives what happens as it happens. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// As [`Self::validate`]; what keeps the run from starting is the stream's end.
    pub fn run_stream(&self, input: impl Into<String>, stream: StreamOptions) -> Result<Stream, Error> {
        self.run_stream_with(RunOptions { input: given(input.into()), ..RunOptions::default() }, stream)
    }

    /// As [`Self::run_stream`], with everything that a run may be given.
    ///
    /// # Errors
    /// As [`Self::validate`]; what keeps the run from starting is the stream's end.
    pub fn run_stream_with(&self, options: RunOptions, stream: StreamOptions) -> Result<Stream, Error> {
        Ok(self.orchestrator.run_stream(&self.validate()?, options, stream))
    }

    /// The workflow as an agent of another one; later changes of this object do not reach it.
    ///
    /// # Errors
    /// As [`Self::validate`], and when the name is none of an agent.
    pub fn into_agent(self, name: &str) -> Result<WorkflowAgent, Error> {
        self.orchestrator.workflow_agent(name, &self.validate()?)
    }
}

fn given(input: String) -> Option<String> {
    (!input.is_empty()).then_some(input)
}

/// A workflow as an agent is an agent like others.
impl From<WorkflowAgent> for AgentRef {
    fn from(agent: WorkflowAgent) -> Self {
        Self(Who::Own(agent.into_shared()))
    }
}
