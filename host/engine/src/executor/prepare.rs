//! Everything that can be found out before anything is spent: agents, models, tools, schemas.

mod coordinator;
mod lacking;

use super::answers::Answers;
use super::{Ports, RunRequest};
use crate::agent::LlmAgent;
use crate::attempt::{Members, Terms};
use crate::closure::missing;
use crate::recall_tools;
use cofferdam_core::budget::Allowance;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{AgentName, Alias, StepPath, ToolName};
use cofferdam_core::limits;
use cofferdam_core::mail;
use cofferdam_core::port::{Agent, Model, no_recall};
use cofferdam_core::schema::Checker;
use cofferdam_core::spec::suggest::did_you_mean;
use cofferdam_core::spec::workflow::{
    AgentSpec, AgentWork, Condition, Defaults, LoopCheck, LoopKind, Scope, Step, ToolFilter, Work, Workflow,
    pattern_matches,
};
use cofferdam_core::transform::{Transform, Transforms};
use cofferdam_core::value::Map;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What the steps of a run work with.
#[derive(Default)]
pub(super) struct Prepared {
    /// By the address of the step, which the workflow keeps alive.
    agents: HashMap<usize, Offered>,
    /// Each once, in the order of the steps.
    distinct: Vec<Arc<dyn Agent>>,
    /// The agents that may work for whoever starts the steps; none where the machine does.
    pub(super) members: Arc<Members>,
    /// Answers that came with the run.
    pub(super) answers: Answers,
    /// The coordinator of the run.
    pub(super) coordinator: Option<Offered>,
    /// What it is not here, although that was asked for.
    pub(super) of_coordinator: Vec<String>,
    /// What models cannot be told of what was to be said to them.
    pub(super) uncarried: BTreeSet<String>,
}

/// An agent, what it works with, and its own transforms.
#[derive(Clone)]
pub(crate) struct Offered {
    pub(crate) agent: Arc<dyn Agent>,
    pub(crate) terms: Terms,
    pub(crate) transform: Transforms,
}

/// What makes one agent step's agent differ from another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AgentKey {
    agent: Option<AgentName>,
    model: Option<String>,
    /// The address of the step's own schema, which the workflow keeps alive.
    schema: Option<usize>,
    max_retries: u32,
}

fn address(step: &Step) -> usize {
    std::ptr::from_ref(step).addr()
}

impl Prepared {
    pub(super) fn new(ports: &Ports, request: &RunRequest) -> Result<Self, Vec<Fault>> {
        let mut preparation = Preparation {
            ports,
            request,
            made: Self::default(),
            faults: Vec::new(),
            models: HashMap::new(),
            agents: HashMap::new(),
        };
        preparation.unbuilt();
        preparation.shared_memory();
        preparation.scope(&request.workflow.scope, &StepPath::ROOT);
        preparation.empty_messages();
        preparation.coordinator();
        if ports.starter.is_some() {
            preparation.members();
        }
        preparation.unknown_prices();
        for agent in request.workflow.agents.values() {
            preparation.tool_names(agent);
            preparation.transforms(&format!("agent `{}`", agent.name), &agent.transform);
        }
        match Answers::of(&request.workflow, &ports.agents, &request.answers) {
            Ok(answers) => preparation.made.answers = answers,
            Err(faults) => preparation.faults.extend(faults),
        }
        let Preparation { made, mut faults, .. } = preparation;
        faults.dedup();
        if faults.is_empty() { Ok(made) } else { Err(faults) }
    }

    /// Prepares the agents, each once, in the order of the steps; when one fails, those that were prepared are cleaned up.
    pub(super) async fn initialize(&self) -> Result<(), Vec<Fault>> {
        let (mut prepared, mut faults) = (Vec::new(), Vec::new());
        for agent in &self.distinct {
            match agent.initialize().await {
                Ok(()) => prepared.push(Arc::clone(agent)),
                Err(fault) => {
                    let message = format!("agent `{}` cannot be prepared: {}", agent.name(), fault.message);
                    faults.push(Fault { message, ..fault });
                }
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        // The run does not start, so nobody hears of more than why.
        let _ = clean_up(&prepared).await;
        Err(faults)
    }

    /// Cleans up after all agents, the last prepared first, also when one cannot; says what went wrong.
    pub(super) async fn cleanup(&self) -> Vec<String> {
        clean_up(&self.distinct).await
    }

    fn offer(&mut self, step: &Step, offered: Offered) {
        self.keep(&offered.agent);
        self.agents.insert(address(step), offered);
    }

    fn keep(&mut self, agent: &Arc<dyn Agent>) {
        if !self.distinct.iter().any(|known| Arc::ptr_eq(known, agent)) {
            self.distinct.push(Arc::clone(agent));
        }
    }

    /// The agent of an agent step, and what goes with it.
    pub(super) fn agent(&self, step: &Step) -> Option<Offered> {
        self.agents.get(&address(step)).cloned()
    }
}

async fn clean_up(agents: &[Arc<dyn Agent>]) -> Vec<String> {
    let mut problems = Vec::new();
    for agent in agents.iter().rev() {
        if let Err(fault) = agent.cleanup().await {
            problems.push(format!("agent `{}` did not clean up: {fault}", agent.name()));
        }
    }
    problems
}

struct Preparation<'a> {
    ports: &'a Ports,
    request: &'a RunRequest,
    made: Prepared,
    faults: Vec<Fault>,
    models: HashMap<String, Option<Arc<dyn Model>>>,
    /// One agent for all steps that do not differ in it; none when it was refused before.
    agents: HashMap<AgentKey, Option<Offered>>,
}

impl Preparation<'_> {
    fn workflow(&self) -> &Workflow {
        &self.request.workflow
    }

    fn scope(&mut self, scope: &Scope, at: &StepPath) {
        if let Some(name) = scope.defaults.output_transform.iter().find_map(native) {
            let message = format!("`outputTransform` cannot be a closure in this version (`{name}`)");
            self.faults.push(Fault::user("not_built", message).with_hint("give the steps a `transform.output`"));
        }
        self.plugin_links("`outputTransform`", scope.defaults.output_transform.iter());
        for step in &scope.steps {
            let path = at.child(&step.id);
            self.step(step, &path, &scope.defaults);
            if let Some(LoopKind::Repeat(repeat)) = step.repeat.as_ref().map(|repeat| &repeat.kind) {
                if let Some(LoopCheck::Native(name)) = &repeat.go_on {
                    self.refuse(&path, missing("loop condition", name, &self.ports.natives.loops));
                }
                if let Some(judge) = &repeat.judge {
                    self.step(judge, &path.child(&judge.id), &scope.defaults);
                }
            }
            if let Some(inner) = step.inner() {
                self.scope(inner, &path);
            }
        }
    }

    fn step(&mut self, step: &Step, path: &StepPath, defaults: &Defaults) {
        match &step.work {
            Work::Agent(work) => self.agent_step(step, work, (path, defaults)),
            Work::Tool(work) if !self.ports.gateway.has(&work.tool) => {
                let fault = self.unknown_tool(&format!("step `{path}`"), &work.tool.to_string());
                self.faults.push(fault);
            }
            Work::Tool(work) if work.args.is_constant() => {
                let fault = self.ports.gateway.refuse(&work.tool, work.args.source());
                self.refuse(path, fault.map(|fault| Fault::user("invalid_arguments", fault.message)));
            }
            Work::Tool(_) | Work::Ask(_) | Work::Group(_) | Work::Include(_) | Work::Body => {}
        }
        match &step.condition {
            Some(Condition::Native(name)) => {
                self.refuse(path, missing("condition", name, &self.ports.natives.conditions));
            }
            Some(Condition::Plugin(condition)) => {
                let fault = self.unfit_condition(&condition.plugin, &condition.options);
                self.refuse(path, fault);
            }
            Some(Condition::Expr(_)) | None => {}
        }
        self.transforms(&format!("step `{path}`"), &step.transform);
    }

    fn refuse(&mut self, path: &StepPath, fault: Option<Fault>) {
        self.faults.extend(fault.map(|fault| Fault { message: format!("step `{path}`: {}", fault.message), ..fault }));
    }

    fn transforms(&mut self, who: &str, transforms: &Transforms) {
        for name in transforms.input.iter().chain(&transforms.output).filter_map(native) {
            let fault = missing("transform", name, &self.ports.natives.transforms);
            self.faults.extend(fault.map(|fault| Fault { message: format!("{who}: {}", fault.message), ..fault }));
        }
        self.plugin_links(who, transforms.input.iter().chain(&transforms.output));
    }

    /// Plugins of a chain that this host does not have, or whose options they do not take.
    fn plugin_links<'t>(&mut self, who: &str, chain: impl Iterator<Item = &'t Transform>) {
        for link in chain {
            let Transform::Plugin { plugin, options } = link else { continue };
            let fault = match self.ports.plugins.transforms.get(plugin) {
                None => Some(self.wrong_kind(plugin, "transform")),
                Some(found) => found.refuse(options).map(|why| bad_options(plugin, "transform", &why)),
            };
            self.faults.extend(fault.map(|fault| Fault { message: format!("{who}: {}", fault.message), ..fault }));
        }
    }

    fn unfit_condition(&self, plugin: &Alias, options: &Map) -> Option<Fault> {
        match self.ports.plugins.conditions.get(plugin) {
            None => Some(self.wrong_kind(plugin, "condition")),
            Some(found) => found.refuse(options).map(|why| bad_options(plugin, "condition", &why)),
        }
    }

    fn wrong_kind(&self, plugin: &Alias, kind: &str) -> Fault {
        let fault = Fault::user("plugin_kind", format!("the plugin `{plugin}` is no {kind}"));
        let fault = fault.with_hint("`cofferdam plugin inspect` shows the kinds of a plugin");
        with_detail(fault, json!({ "plugin": plugin.as_str(), "used_as": kind }))
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

    fn agent_step(&mut self, step: &Step, work: &AgentWork, (path, defaults): (&StepPath, &Defaults)) {
        let retries = step.max_retries.or(defaults.max_retries).or(self.workflow().options.max_retries);
        let key = AgentKey {
            agent: work.agent.clone(),
            model: work.model.clone(),
            schema: work.result_schema.as_ref().map(|schema| Arc::as_ptr(schema).addr()),
            max_retries: retries.unwrap_or(limits::MODEL_RETRIES),
        };
        if !self.agents.contains_key(&key) {
            let made = self.make_agent(&format!("step `{path}`"), work, key.max_retries).unwrap_or_else(|fault| {
                self.faults.push(fault);
                None
            });
            self.agents.insert(key.clone(), made);
        }
        if let Some(offered) = self.agents.get(&key).cloned().flatten() {
            self.made.offer(step, offered);
        }
    }

    /// The agents that the document describes or a step of it names. One that cannot be made is refused when it is
    /// needed: most runs need none.
    fn members(&mut self) {
        let described: BTreeSet<AgentName> = self.workflow().agents.keys().cloned().collect();
        let named = self.agents.keys().filter_map(|key| key.agent.clone());
        let names: BTreeSet<AgentName> = named.chain(described).collect();
        let retries = self.workflow().options.max_retries.unwrap_or(limits::MODEL_RETRIES);
        let mut members = Members::new();
        for name in names {
            let work = AgentWork { agent: Some(name.clone()), ..AgentWork::default() };
            let who = format!("the agent `{name}`");
            let unknown_model = || Fault::user("unknown_model", format!("{who} has no model that is known"));
            let made = self.make_agent(&who, &work, retries).and_then(|made| made.ok_or_else(unknown_model));
            if let Ok(offered) = &made {
                self.made.keep(&offered.agent);
            }
            members.insert(name, made);
        }
        self.made.members = Arc::new(members);
    }

    /// The agent of a step; none when its model was refused before.
    fn make_agent(&mut self, who: &str, work: &AgentWork, retries: u32) -> Result<Option<Offered>, Fault> {
        let own = work.agent.as_ref().and_then(|name| self.ports.agents.get(name)).cloned();
        let described = work.agent.as_ref().and_then(|name| self.workflow().agents.get(name)).cloned();
        let spec = match (described, &work.agent) {
            (Some(spec), _) => spec,
            (None, Some(name)) if own.is_none() => {
                return Err(Fault::user("unknown_agent", format!("there is no agent `{name}`")));
            }
            (None, _) => Arc::new(default_agent()),
        };
        let mut terms = self.terms(who, work, &spec)?;
        let transform = spec.transform.clone();
        let agent = match own {
            Some(agent) => {
                // Only agents that a model drives have sub-agents.
                terms.tools = terms.tools.iter().filter(|spec| spec.name != mail::AGENT).cloned().collect();
                agent
            }
            None => {
                let Some(model) = self.model(who, work, &spec)? else { return Ok(None) };
                let spec = self.request.settings.with_options(spec, &self.workflow().options);
                self.uncarried(model.as_ref(), &spec);
                let limits = self.workflow().options.limits;
                let spec = self.with_turns(spec);
                let delegate = LlmAgent::new(Arc::clone(&spec), Arc::clone(&model), None, retries);
                terms.delegate = Some(Arc::new(delegate.within(limits)));
                let agent = LlmAgent::new(spec, model, terms.result.clone(), retries);
                Arc::new(agent.within(limits))
            }
        };
        Ok(Some(Offered { agent, terms, transform }))
    }

    /// The agent with the number of turns that it has here.
    fn with_turns(&self, spec: Arc<AgentSpec>) -> Arc<AgentSpec> {
        match spec.max_turns {
            Some(_) => spec,
            None => Arc::new(AgentSpec { max_turns: Some(self.workflow().turns_of(Some(&spec))), ..(*spec).clone() }),
        }
    }

    fn terms(&self, who: &str, work: &AgentWork, spec: &AgentSpec) -> Result<Terms, Fault> {
        let result = match work.result_schema.as_ref().or(spec.result_schema.as_ref()) {
            None => None,
            Some(schema) => Some((Arc::clone(schema), compile(who, schema)?)),
        };
        let asked = [&self.request.settings.model, &work.model, &spec.model];
        let model = asked.into_iter().flatten().next().map(|name| Arc::from(name.as_str()));
        let options = Arc::new(self.request.settings.model_options.over(&spec.settings.options));
        let tools = self.ports.gateway.specs(&spec.tools);
        Ok(Terms { agent: name_of(spec), tools, model, options, result, delegate: None })
    }

    /// The run's model beats the step's, which beats the agent's, which beats the document's.
    fn model(&mut self, who: &str, work: &AgentWork, spec: &AgentSpec) -> Result<Option<Arc<dyn Model>>, Fault> {
        let settings = &self.request.settings;
        let chain =
            [&settings.model, &work.model, &spec.model, &self.workflow().options.model, &settings.default_model];
        let Some(name) = chain.into_iter().flatten().next().cloned() else {
            return Err(Fault::user("no_model", format!("{who} has no model"))
                .with_hint("name one with `--model`, in `options.model`, or on the agent"));
        };
        if let Some(known) = self.models.get(&name) {
            return Ok(known.clone());
        }
        let resolved = self.named_model(&name);
        self.models.insert(name, resolved.as_ref().ok().cloned());
        resolved.map(Some)
    }

    fn named_model(&self, name: &str) -> Result<Arc<dyn Model>, Fault> {
        self.ports.models.resolve(name).map_err(|fault| with_detail(fault, json!({ "model": name })))
    }

    /// Exact names that match no tool of this host. What is forbidden may be any tool: other hosts have others.
    fn tool_names(&mut self, agent: &AgentSpec) {
        for name in agent.tools.allow.iter().flatten().filter(|pattern| !pattern.ends_with('*')) {
            if self.ports.recall.is_none() && name == recall_tools::SEARCH {
                let message = format!("agent `{}` may use `{name}`, and the run has no retrieval memory", agent.name);
                let hint = no_recall().hint.unwrap_or_default();
                let fault = Fault::user("no_recall", message).with_hint(hint);
                self.faults.push(with_detail(fault, json!({ "tool": name, "agent": agent.name.as_str() })));
            }
            let is_unlisted = ToolName::parse(name).is_ok_and(|name| self.ports.gateway.has(&name));
            if !is_unlisted && !self.ports.gateway.names().any(|tool| pattern_matches(name, &tool.to_string())) {
                let fault = self.unknown_tool(&format!("agent `{}`", agent.name), name);
                self.faults.push(with_detail(fault, json!({ "tool": name, "agent": agent.name.as_str() })));
            }
        }
    }

    fn unknown_tool(&self, who: &str, tool: &str) -> Fault {
        let known = self.ports.gateway.names().filter(|name| !mail::is_tool(name));
        let known: Vec<String> = known.map(ToString::to_string).collect();
        let near =
            did_you_mean(tool, known.iter().map(String::as_str)).map(|near| format!("{near} ")).unwrap_or_default();
        let message = format!("{who} uses the tool `{tool}`, which this host does not have");
        let hint = match tool {
            "exec" => "it runs commands, and is there only where a rule names it: `--allow exec`".to_owned(),
            _ => format!("{near}it has: {}", known.join(", ")),
        };
        let fault = Fault::user("unknown_tool", message).with_hint(hint);
        with_detail(fault, json!({ "tool": tool }))
    }
}

fn name_of(spec: &AgentSpec) -> Arc<str> {
    spec.name.as_str().into()
}

/// What a fault is about, for those who look for its place in the document.
fn with_detail(fault: Fault, about: Value) -> Fault {
    Fault { detail: Some(Box::new(about)), ..fault }
}

fn bad_options(plugin: &Alias, kind: &str, why: &str) -> Fault {
    let fault = Fault::user("plugin_options", format!("the plugin `{plugin}` does not take these options: {why}"));
    with_detail(fault, json!({ "plugin": plugin.as_str(), "used_as": kind }))
}

/// The name of a closure.
fn native(transform: &Transform) -> Option<&str> {
    match transform {
        Transform::Native(name) => Some(name),
        _ => None,
    }
}

pub(crate) fn compile(who: &str, schema: &Value) -> Result<Arc<Checker>, Fault> {
    let compiled = cofferdam_core::schema::check(schema);
    compiled.map(Arc::new).map_err(|error| Fault::user("result_schema", format!("{who}: {error}")))
}

/// No system prompt, all tools, the default model.
pub(crate) fn default_agent() -> AgentSpec {
    AgentSpec {
        name: AgentName::parse("default").expect("`default` follows the grammar"),
        description: "the default agent".to_owned(),
        prompt: None,
        model: None,
        tools: ToolFilter::default(),
        max_turns: None,
        settings: cofferdam_core::port::ModelSettings::default(),
        result_schema: None,
        transform: Transforms::default(),
        grants: None,
        budget: Allowance::default(),
        resume_on_message: false,
    }
}
