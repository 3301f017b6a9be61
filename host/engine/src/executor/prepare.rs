//! Everything that can be found out before anything is spent: agents, models, tools, schemas.

use super::{Ports, RunRequest};
use crate::agent::LlmAgent;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::AgentName;
use cofferdam_core::limits;
use cofferdam_core::port::{Agent, Model, ToolSpec};
use cofferdam_core::schema::Checker;
use cofferdam_core::spec::workflow::{AgentSpec, AgentWork, Scope, Step, ToolFilter, Work, Workflow};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// What the steps of a run work with.
#[derive(Default)]
pub(super) struct Prepared {
    agents: HashMap<AgentKey, Offered>,
}

/// An agent, and the tools it is offered.
type Offered = (Arc<dyn Agent>, Arc<[ToolSpec]>);

/// What makes one agent step's agent differ from another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AgentKey {
    agent: Option<AgentName>,
    model: Option<String>,
    /// The address of the step's own schema, which the workflow keeps alive.
    schema: Option<usize>,
    max_retries: Option<u32>,
}

impl AgentKey {
    fn new(step: &Step, work: &AgentWork) -> Self {
        Self {
            agent: work.agent.clone(),
            model: work.model.clone(),
            schema: work.result_schema.as_ref().map(|schema| Arc::as_ptr(schema).addr()),
            max_retries: step.max_retries,
        }
    }
}

impl Prepared {
    pub(super) fn new(ports: &Ports, request: &RunRequest) -> Result<Self, Vec<Fault>> {
        let mut preparation =
            Preparation { ports, request, made: Self::default(), faults: Vec::new(), models: HashMap::new() };
        preparation.scope(&request.workflow.scope);
        preparation.empty_messages();
        for agent in request.workflow.agents.values() {
            preparation.tool_names(agent);
        }
        let Preparation { made, mut faults, .. } = preparation;
        faults.dedup();
        if faults.is_empty() { Ok(made) } else { Err(faults) }
    }

    /// Prepares the agents, each once.
    pub(super) async fn initialize(&self) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        for agent in self.distinct() {
            if let Err(fault) = agent.initialize().await {
                let message = format!("agent `{}` cannot be prepared: {}", agent.name(), fault.message);
                faults.push(Fault { message, ..fault });
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Cleans up after all agents, also when one cannot; says what went wrong.
    pub(super) async fn cleanup(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for agent in self.distinct() {
            if let Err(fault) = agent.cleanup().await {
                problems.push(format!("agent `{}` did not clean up: {fault}", agent.name()));
            }
        }
        problems
    }

    /// Every agent once, though several steps share it.
    fn distinct(&self) -> Vec<&Arc<dyn Agent>> {
        let mut seen: Vec<&Arc<dyn Agent>> = Vec::new();
        for (agent, _) in self.agents.values() {
            if !seen.iter().any(|known| Arc::ptr_eq(known, agent)) {
                seen.push(agent);
            }
        }
        seen
    }

    /// The agent of an agent step, and the tools it is offered.
    pub(super) fn agent(&self, step: &Step, work: &AgentWork) -> Option<Offered> {
        self.agents.get(&AgentKey::new(step, work)).cloned()
    }
}

struct Preparation<'a> {
    ports: &'a Ports,
    request: &'a RunRequest,
    made: Prepared,
    faults: Vec<Fault>,
    models: HashMap<String, Option<Arc<dyn Model>>>,
}

impl Preparation<'_> {
    fn workflow(&self) -> &Workflow {
        &self.request.workflow
    }

    fn scope(&mut self, scope: &Scope) {
        for step in &scope.steps {
            match &step.work {
                Work::Agent(work) => self.agent_step(step, work),
                Work::Tool(work) if !self.ports.gateway.has(&work.tool) => {
                    self.faults.push(self.unknown_tool(&format!("step `{}`", step.id), &work.tool.to_string()));
                }
                Work::Tool(_) | Work::Ask(_) | Work::Group(_) | Work::Include(_) | Work::Body => {}
            }
            if let Some(body) = step.inner() {
                self.scope(body);
            }
        }
    }

    /// Steps whose message is the run's input, when there is none.
    fn empty_messages(&mut self) {
        if self.request.input.as_deref().is_some_and(|input| !input.trim().is_empty()) {
            return;
        }
        let empty = self.request.workflow.steps_fed_by_input();
        self.faults.extend(empty.into_iter().map(|step| {
            Fault::user(
                "empty_message",
                format!("step `{step}` has no instructions, and the run has no input to give it"),
            )
            .with_hint("give the run an input, or the step `instructions`")
        }));
    }

    fn agent_step(&mut self, step: &Step, work: &AgentWork) {
        let key = AgentKey::new(step, work);
        if self.made.agents.contains_key(&key) {
            return;
        }
        match self.make_agent(step, work) {
            Ok(Some(agent)) => drop(self.made.agents.insert(key, agent)),
            Ok(None) => {}
            Err(fault) => self.faults.push(fault),
        }
    }

    /// The step's agent; none when its model was refused before.
    fn make_agent(&mut self, step: &Step, work: &AgentWork) -> Result<Option<Offered>, Fault> {
        let spec = match &work.agent {
            None => Arc::new(default_agent()),
            Some(name) => match (self.ports.agents.get(name), self.workflow().agents.get(name)) {
                (Some(agent), spec) => {
                    let filter = spec.map(|spec| spec.tools.clone()).unwrap_or_default();
                    return Ok(Some((Arc::clone(agent), self.ports.gateway.specs(&filter))));
                }
                (None, Some(spec)) => Arc::clone(spec),
                (None, None) => return Err(Fault::user("unknown_agent", format!("there is no agent `{name}`"))),
            },
        };
        let Some(model) = self.model(step, work, &spec)? else { return Ok(None) };
        let result = match work.result_schema.as_ref().or(spec.result_schema.as_ref()) {
            None => None,
            Some(schema) => Some((Arc::clone(schema), compile(step, schema)?)),
        };
        let retries = step.max_retries.or(self.workflow().options.max_retries).unwrap_or(limits::MODEL_RETRIES);
        let tools = self.ports.gateway.specs(&spec.tools);
        Ok(Some((Arc::new(LlmAgent::new(spec, model, result, retries)), tools)))
    }

    /// The run's model beats the step's, which beats the agent's, which beats the document's.
    fn model(&mut self, step: &Step, work: &AgentWork, spec: &AgentSpec) -> Result<Option<Arc<dyn Model>>, Fault> {
        let settings = &self.request.settings;
        let chain =
            [&settings.model, &work.model, &spec.model, &self.workflow().options.model, &settings.default_model];
        let Some(name) = chain.into_iter().flatten().next().cloned() else {
            return Err(Fault::user("no_model", format!("step `{}` has no model", step.id))
                .with_hint("name one with `--model`, in `options.model`, or on the agent"));
        };
        if let Some(known) = self.models.get(&name) {
            return Ok(known.clone());
        }
        let resolved = self.ports.models.resolve(&name);
        self.models.insert(name, resolved.as_ref().ok().cloned());
        resolved.map(Some)
    }

    /// Exact names that match no tool of this host.
    fn tool_names(&mut self, agent: &AgentSpec) {
        let exact =
            agent.tools.allow.iter().flatten().chain(&agent.tools.deny).filter(|pattern| !pattern.ends_with('*'));
        for name in exact {
            if !self.ports.gateway.names().any(|tool| tool.to_string() == *name) {
                self.faults.push(self.unknown_tool(&format!("agent `{}`", agent.name), name));
            }
        }
    }

    fn unknown_tool(&self, who: &str, tool: &str) -> Fault {
        let known: Vec<String> = self.ports.gateway.names().map(ToString::to_string).collect();
        Fault::user("unknown_tool", format!("{who} uses the tool `{tool}`, which this host does not have"))
            .with_hint(format!("it has: {}", known.join(", ")))
    }
}

fn compile(step: &Step, schema: &Value) -> Result<Arc<Checker>, Fault> {
    let compiled = cofferdam_core::schema::check(schema);
    compiled.map(Arc::new).map_err(|error| Fault::user("result_schema", format!("step `{}`: {error}", step.id)))
}

/// No system prompt, all tools, the default model.
fn default_agent() -> AgentSpec {
    AgentSpec {
        name: AgentName::parse("default").expect("`default` follows the grammar"),
        description: "the default agent".to_owned(),
        prompt: None,
        model: None,
        tools: ToolFilter::default(),
        max_turns: limits::AGENT_TURNS,
        settings: cofferdam_core::port::ModelSettings::default(),
        result_schema: None,
        transform: cofferdam_core::transform::Transforms::default(),
    }
}
