//! A workflow: resolved, checked, ready to be planned. Whoever has one need not ask whether it was checked.
//!
//! It must not know YAML, and it is only made by [`crate::spec`] (the library's builder goes through the
//! same checks).

mod input;
mod reach;
mod recall;
mod repeat;
mod tool_filter;

pub use super::isolation::IsolationMode;
pub use input::{Input, InputKind};
pub use recall::{RecallKind, RecallSettings};
pub use repeat::{ForEach, ItemFailure, Items, Loop, LoopCheck, LoopKind, OnLimit, OutputMode, Repeat};
pub use tool_filter::{ToolFilter, pattern_matches};

use crate::budget::{Allowance, Budget};
use crate::event::Source;
use crate::expr::Expr;
use crate::id::{AgentName, Alias, StepId, ToolName};
use crate::memory::MemoryScope;
use crate::model_options::ModelOptions;
use crate::policy::{Grants, Narrowing};
use crate::port::ModelSettings;
use crate::server::ServerReference;
use crate::spec::{HostDefaults, RunLimits};
use crate::template::Template;
use crate::transform::{Transform, Transforms};
use crate::value::Map;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A document that may run.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Typed inputs, in declaration order.
    pub inputs: Vec<Input>,
    /// Agents by name.
    pub agents: BTreeMap<AgentName, Arc<AgentSpec>>,
    /// Plugins by alias.
    pub plugins: BTreeMap<Alias, PluginReference>,
    /// Servers of the Model Context Protocol by alias; no plugin has the same one.
    pub servers: BTreeMap<Alias, ServerReference>,
    /// Initial variables besides the inputs.
    pub vars: Map,
    /// The steps.
    pub scope: Arc<Scope>,
    /// What the run returns; absent = the output steps.
    pub output: Option<Expr>,
    /// Options.
    pub options: Options,
    /// The document and every file it names, as they were read.
    pub sources: Vec<Source>,
    /// SHA-256 over all sources.
    pub hash: String,
    /// What was checked and cannot run in this version; a run with any of it is refused.
    pub unbuilt: Vec<Unbuilt>,
    /// What holds where it says nothing else, of whoever runs it.
    pub host: HostDefaults,
}

/// A part of the language that this version checks and does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbuilt {
    /// Where it stands: `options.budget`.
    pub path: String,
    /// What it is, in a sentence: `` `budget` ``.
    pub what: String,
}

/// An agent of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentSpec {
    /// Its name.
    pub name: AgentName,
    /// What it is for.
    pub description: String,
    /// The system text.
    pub prompt: Option<Arc<str>>,
    /// Its model.
    pub model: Option<String>,
    /// Which tools it may use.
    pub tools: ToolFilter,
    /// Most turns, never 0; none = [`Workflow::turns_of`] says.
    pub max_turns: Option<u32>,
    /// Sampling and limits.
    pub settings: ModelSettings,
    /// JSON Schema of its result.
    pub result_schema: Option<Arc<Value>>,
    /// What changes its input and output; a step's own chains come outside of it.
    pub transform: Transforms,
    /// What it takes away from what its plugins may do.
    pub grants: Option<Arc<Narrowing>>,
    /// What it may spend in a run.
    pub budget: Allowance,
    /// Whether a message for a step of its that has completed resumes its conversation.
    pub resume_on_message: bool,
}

/// A plugin that a document refers to.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginReference {
    /// `./plugins/x.wasm` (relative to the document that runs) or `builtin:text`.
    pub source: String,
    /// The digest that the component must have, `sha256:...`.
    pub digest: Option<String>,
    /// Its configuration.
    pub config: Map,
    /// What it asks for. Never a grant by itself.
    pub requested: Grants,
    /// Limits lower than the host's.
    pub limits: crate::policy::PluginLimits,
}

/// Steps that see each other: the document's, those of a group, of a loop's body, of an included document.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The steps, in declaration order. `depends_on` are indices into this list; there is no cycle.
    pub steps: Vec<Step>,
    /// How they are wired.
    pub wiring: Wiring,
    /// What holds for steps that say nothing else.
    pub defaults: Defaults,
}

/// How the steps of a scope are wired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wiring {
    /// By `dependsOn`.
    #[default]
    Dag,
    /// In the order of the list; each step gets what the nearest completed one before it gave. Every step but the
    /// first has the step before it as its dependency.
    Sequential,
    /// All at once.
    Parallel,
}

/// What holds in a scope; groups and loops have that of the scope around them.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// What a failed step does.
    pub on_step_failure: FailurePolicy,
    /// Time for agent and tool steps.
    pub step_timeout: Option<Duration>,
    /// Retries of one model request; none = the options'.
    pub max_retries: Option<u32>,
    /// Applied to outputs before they enter a prompt.
    pub output_transform: Vec<Transform>,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its id, unique in the scope.
    pub id: StepId,
    /// For people.
    pub label: Option<String>,
    /// Carried, never interpreted.
    pub metadata: Map,
    /// What it does.
    pub work: Work,
    /// Indices of the steps it depends on, in the order written.
    pub depends_on: Vec<usize>,
    /// False = skipped.
    pub condition: Option<Condition>,
    /// The whole step, all attempts; for a loop all iterations. None = the scope's default; zero = no limit.
    pub timeout: Option<Duration>,
    /// How often the whole step is tried again.
    pub retries: u32,
    /// Retries of one model request; none = the scope's.
    pub max_retries: Option<u32>,
    /// Repeats the work.
    pub repeat: Option<Loop>,
    /// What a failure does; none = the scope's.
    pub on_failure: Option<FailurePolicy>,
    /// What changes its input and output.
    pub transform: Transforms,
    /// Sinks and traces get digests instead of its content.
    pub sensitive: bool,
    /// What its tools see of the file system, and those of the steps inside of it; none = what is around it.
    pub isolation: Option<IsolationMode>,
    /// What it takes away from what its plugins may do, and those of the steps inside of it.
    pub grants: Option<Arc<Narrowing>>,
    /// What it may spend, with all that is inside of it.
    pub budget: Allowance,
}

/// What decides whether a step runs.
#[derive(Clone, Debug)]
pub enum Condition {
    /// An expression that gives true or false.
    Expr(Expr),
    /// A closure of the embedder's, by its name.
    Native(Arc<str>),
    /// A plugin.
    Plugin(PluginCondition),
}

/// A plugin that decides.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginCondition {
    /// The plugin.
    pub plugin: Alias,
    /// Its options.
    pub options: Map,
    /// What the step is called among those that the plugin chooses from.
    pub label: Option<String>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Work {
    /// An agent works on a message.
    Agent(AgentWork),
    /// A tool is called, without a model.
    Tool(ToolWork),
    /// A person is asked.
    Ask(Box<AskWork>),
    /// Steps of its own.
    Group(Arc<Scope>),
    /// The steps of another document.
    Include(Box<Include>),
    /// Nothing of its own: the body of the step's loop does it.
    Body,
}

/// A question to a person.
#[derive(Clone, Debug)]
pub struct AskWork {
    /// What is asked.
    pub prompt: Template,
    /// The answers that may be given; empty = any.
    pub choices: Vec<String>,
    /// What the answer must be; none = text.
    pub schema: Option<Arc<Value>>,
    /// Taken at the timeout, and when nobody can be asked.
    pub default: Option<Value>,
    /// How long the person has.
    pub timeout: Option<Duration>,
}

/// Another document, as a step.
#[derive(Clone, Debug)]
pub struct Include {
    /// The document's name.
    pub name: Arc<str>,
    /// Its path, relative to the directory of the document that runs.
    pub path: String,
    /// Its steps.
    pub scope: Arc<Scope>,
    /// Its typed inputs.
    pub inputs: Arc<[Input]>,
    /// What they are filled with; an object.
    pub with: Template,
    /// What it returns; none = its output steps.
    pub output: Option<Expr>,
    /// The time that its options give it. The step's own `timeout` is already the smaller of both.
    pub timeout: Option<Duration>,
}

/// The work of an agent step.
#[derive(Clone, Debug, Default)]
pub struct AgentWork {
    /// The agent; none = the default agent: no system prompt, all tools, the default model.
    pub agent: Option<AgentName>,
    /// The task; empty = only what it depends on.
    pub instructions: Arc<str>,
    /// The whole message, instead of the assembled one.
    pub input: Option<Template>,
    /// Files that go with the message, relative to the directory of the document that runs.
    pub context_files: Vec<String>,
    /// Beats the agent's model.
    pub model: Option<String>,
    /// Beats the agent's schema.
    pub result_schema: Option<Arc<Value>>,
}

/// The work of a tool step.
#[derive(Clone, Debug)]
pub struct ToolWork {
    /// The tool.
    pub tool: ToolName,
    /// Its arguments; strings in them are templates.
    pub args: Template,
}

/// What a failed step does to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Transitive dependents are cancelled.
    #[default]
    Cascade,
    /// Transitive dependents are skipped.
    SkipDependents,
    /// Dependents run and see the failure.
    Continue,
    /// The whole run is cancelled.
    Abort,
}

/// Which ready step gets a free slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduler {
    /// By declaration order.
    #[default]
    DependencyFirst,
    /// The agents take turns.
    RoundRobin,
    /// The agent with the fewest attempts under way first.
    LeastBusy,
}

/// Options of a document.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Default model.
    pub model: Option<String>,
    /// Attempts running at once in the whole run; none = unset.
    pub max_concurrency: Option<usize>,
    /// The run.
    pub timeout: Option<Duration>,
    /// What tools see of the file system.
    pub isolation: IsolationMode,
    /// Which ready step gets a free slot.
    pub scheduler: Scheduler,
    /// Retries of one model request.
    pub max_retries: Option<u32>,
    /// What an unknown outcome of a tool call means when the run is resumed; none = ask on a terminal, else fail.
    pub on_unknown_effect: Option<UnknownEffect>,
    /// Forbids what another language forbids.
    pub compat: Option<Compat>,
    /// The engine that runs the workflow; none = the default one.
    pub engine: Option<String>,
    /// Which runs share the memory of the agents.
    pub memory_scope: MemoryScope,
    /// Retrieval memory; none = the document asks for none.
    pub recall: Option<RecallSettings>,
    /// Options of the requests to every model; an agent's own beat them.
    pub model_options: Arc<ModelOptions>,
    /// Lowered limits.
    pub limits: RunLimits,
    /// What the run may spend.
    pub budget: Budget,
}

/// What happens to a tool call whose outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownEffect {
    /// A person decides.
    Ask,
    /// It is called again.
    Retry,
    /// Its step fails.
    Fail,
}

/// A language whose rules a document keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    /// zenflow v1.
    Zenflow,
}

impl Workflow {
    /// The variables that a run with these inputs begins with: the inputs, and over them what the document says.
    #[must_use]
    pub fn first_variables(&self, inputs: &Map) -> Map {
        inputs.iter().chain(&self.vars).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// A workflow of these steps and nothing else. Documents go through [`crate::spec`]; here nothing is checked.
    #[must_use]
    pub fn of_steps(name: impl Into<String>, steps: Vec<Step>) -> Self {
        Self {
            name: name.into(),
            description: None,
            inputs: Vec::new(),
            agents: BTreeMap::new(),
            plugins: BTreeMap::new(),
            servers: BTreeMap::new(),
            vars: Map::new(),
            scope: Arc::new(Scope { steps, ..Scope::default() }),
            output: None,
            options: Options::default(),
            sources: Vec::new(),
            hash: String::new(),
            unbuilt: Vec::new(),
            host: HostDefaults::default(),
        }
    }
}

impl AgentWork {
    /// The default agent's work on these instructions.
    #[must_use]
    pub fn new(instructions: impl Into<Arc<str>>) -> Self {
        Self {
            agent: None,
            instructions: instructions.into(),
            input: None,
            context_files: Vec::new(),
            model: None,
            result_schema: None,
        }
    }
}

impl Step {
    /// A step that does this work once, after nothing.
    #[must_use]
    pub fn new(id: StepId, work: Work) -> Self {
        Self {
            id,
            label: None,
            metadata: Map::new(),
            work,
            depends_on: Vec::new(),
            condition: None,
            timeout: None,
            retries: 0,
            max_retries: None,
            repeat: None,
            on_failure: None,
            transform: Transforms::default(),
            sensitive: false,
            isolation: None,
            grants: None,
            budget: Allowance::default(),
        }
    }

    /// The tool of a tool step.
    #[must_use]
    pub fn tool(&self) -> Option<&ToolName> {
        match &self.work {
            Work::Tool(work) => Some(&work.tool),
            Work::Agent(_) | Work::Ask(_) | Work::Group(_) | Work::Include(_) | Work::Body => None,
        }
    }

    /// The agent of an agent step.
    #[must_use]
    pub fn agent(&self) -> Option<&AgentName> {
        match &self.work {
            Work::Agent(work) => work.agent.as_ref(),
            Work::Tool(_) | Work::Ask(_) | Work::Group(_) | Work::Include(_) | Work::Body => None,
        }
    }

    /// Whether an agent does its work.
    #[must_use]
    pub fn is_agent(&self) -> bool {
        matches!(self.work, Work::Agent(_))
    }

    /// The step's failure policy in a scope with these defaults.
    #[must_use]
    pub fn failure_policy(&self, defaults: &Defaults) -> FailurePolicy {
        self.on_failure.unwrap_or(defaults.on_step_failure)
    }

    /// The steps inside the step: of a group, an included document, or a loop's body.
    #[must_use]
    pub fn inner(&self) -> Option<&Arc<Scope>> {
        match (&self.work, &self.repeat) {
            (Work::Group(scope), _) => Some(scope),
            (Work::Include(include), _) => Some(&include.scope),
            (_, Some(repeat)) => repeat.body.as_ref(),
            _ => None,
        }
    }
}

impl Scope {
    /// The index of a step by its id.
    #[must_use]
    pub fn position(&self, id: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.id.as_str() == id)
    }
}
