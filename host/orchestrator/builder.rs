//! Describes an orchestrator. Building starts nothing: no thread, file, socket, engine or database.

mod budget;
mod closures;
mod contradictions;
mod documents;
mod isolation;
mod machine;
mod memory;
mod messages;
mod model_options;
mod permissions;
mod plugins;
mod resolver;
mod supply;

use super::Orchestrator;
use super::approval::Timed;
use super::fetching::Registries;
use super::isolation_modes::IsolationModes;
use super::models::{ModelPlugin, ModelPlugins};
use super::options::UserDirs;
use super::service::{Gate, Means, ServicePlugin, Services};
use crate::compose::{self, PluginPorts};
use crate::error::Error;
use crate::grants::{GrantPolicy, ProjectPlugin};
use crate::lock::Lock;
use crate::secrets::{SecretSource, Vault};
use crate::servers::ServerPolicy;
use crate::testing::StandIns;
use crate::tracer::TracerSink;
use crate::workflow::{Kept, WorkflowEngine};
use cofferdam_core::budget::{Budget, Prices};
use cofferdam_core::id::{AgentName, Alias};
use cofferdam_core::limits;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::permission::Rules;
use cofferdam_core::port::{
    Agent, Approver, Clock, Durability, Isolation, Journal, Mailboxes, Model, Models, Natives, Randomness, Recall,
    Sink, State, Tool,
};
use cofferdam_core::spec::HostDefaults;
use cofferdam_core::spec::workflow::RecallSettings;
use cofferdam_egress::Egress;
use cofferdam_engine::{Coordinator, DropCallback, PermissionHandler};
use cofferdam_plugin::{CompileChild, HostSettings, Observation, Tap};
use cofferdam_tools::ExecSettings;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What stands in the place of the world outside in a test of a plugin.
pub(crate) struct Played {
    /// The door behind which somebody plays the network.
    pub(crate) egress: Egress,
}

/// Everything an orchestrator is made of.
pub(crate) struct Settings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) state: Arc<dyn State>,
    pub(crate) models: Arc<dyn Models>,
    pub(crate) default_model: Option<String>,
    pub(crate) model_options: ModelOptions,
    pub(crate) agents: BTreeMap<AgentName, Arc<Kept>>,
    pub(crate) tools: Vec<Arc<dyn Tool>>,
    pub(crate) sinks: Vec<Arc<dyn Sink>>,
    /// Those of the sinks that take spans.
    pub(crate) tracers: Vec<Arc<TracerSink>>,
    pub(crate) approver: Option<Arc<dyn Approver>>,
    /// How long whoever is asked has; none = as long as it takes.
    pub(crate) approval_timeout: Option<Duration>,
    pub(crate) rules: Rules,
    pub(crate) permission_handler: Option<PermissionHandler>,
    pub(crate) grants: GrantPolicy,
    pub(crate) servers: ServerPolicy,
    /// Where programs are started.
    pub(crate) workdir: PathBuf,
    pub(crate) isolation: Arc<dyn Isolation>,
    pub(crate) coordinator: Option<Coordinator>,
    pub(crate) drops: Option<DropCallback>,
    pub(crate) mailboxes: Option<Mailboxes>,
    /// Where the memory is that runs share.
    pub(crate) shared_memory: Arc<dyn State>,
    pub(crate) recall: Arc<dyn Recall>,
    pub(crate) recall_settings: Option<RecallSettings>,
    pub(crate) max_concurrency: Option<usize>,
    /// What holds beside every document.
    pub(crate) host: HostDefaults,
    /// What no run may exceed.
    pub(crate) ceiling: Budget,
    pub(crate) prices: Arc<Prices>,
    pub(crate) max_depth: usize,
    pub(crate) natives: Natives,
    pub(crate) engines: BTreeMap<String, Arc<dyn WorkflowEngine>>,
    pub(crate) durability: Durability,
    pub(crate) user_dirs: Option<UserDirs>,
    /// What plays tools in a test.
    pub(crate) rehearsal: Option<Arc<StandIns>>,
    /// Who watches plugins, and how closely.
    pub(crate) observation: Observation,
    /// A network that is played for plugins.
    egress: Option<Egress>,
    compile_child: Option<CompileChild>,
    /// The values of secrets, and what is redacted.
    pub(crate) vault: Arc<Vault>,
    /// The directory that further directories of plugins are relative to; none = that of the document.
    pub(crate) root: Option<PathBuf>,
    /// Which plugins were approved; none = nobody asks.
    pub(crate) lock: Option<Arc<Lock>>,
    /// What becomes of what nobody decided.
    pub(crate) undecided: Undecided,
    /// Plugins that keep the runs and take the events.
    pub(crate) services: Services,
    /// Plugins that documents may name as models.
    pub(crate) model_plugins: ModelPlugins,
    /// How plugins are fetched and pushed.
    pub(crate) registries: Registries,
}

/// What becomes of what nobody decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecided {
    /// Refuse plugins that are not in the lock file as they are.
    pub locked: bool,
    /// Ask nobody and remember nothing: requests of plugins that are not granted are refused at the start, and calls
    /// that no rule decides are denied.
    pub strict: bool,
}

impl Settings {
    pub(crate) fn plugin_host(&self) -> HostSettings {
        let (state, journal, egress) = (&self.state, &self.journal, self.egress.as_ref());
        let ports = PluginPorts { clock: &self.clock, state, journal, vault: &self.vault, egress };
        compose::plugin_host(&ports, self.user_dirs.as_ref(), self.compile_child.clone())
    }

    /// The tools beside those of loaded plugins: native ones, an embedder's, and what is played.
    pub(crate) fn tools_beside(&self, has: impl Fn(&Alias) -> bool) -> Vec<(Option<Alias>, Arc<dyn Tool>)> {
        let tools = self.tools.iter();
        match &self.rehearsal {
            None => tools.map(|tool| (None, Arc::clone(tool))).collect(),
            Some(played) => {
                let beside = tools.map(|tool| (None, played.beside(tool)));
                beside.chain(played.sources(has)).collect()
            }
        }
    }
}

/// Describes an orchestrator; see [`Orchestrator::builder`].
#[derive(Default)]
pub struct Builder {
    clock: Option<Arc<dyn Clock>>,
    randomness: Option<Arc<dyn Randomness>>,
    journal: Option<Arc<dyn Journal>>,
    state: Option<Arc<dyn State>>,
    models: Option<Arc<dyn Models>>,
    resolver: Option<compose::ModelResolver>,
    model: Option<Arc<dyn Model>>,
    default_model: Option<String>,
    model_options: ModelOptions,
    agents: BTreeMap<AgentName, Arc<Kept>>,
    tools: Vec<Arc<dyn Tool>>,
    sinks: Vec<Arc<dyn Sink>>,
    tracers: Vec<Arc<TracerSink>>,
    /// Who is asked, and how long.
    approver: Option<(Arc<dyn Approver>, Option<Duration>)>,
    rules: Rules,
    permission_handler: Option<PermissionHandler>,
    grants: GrantPolicy,
    /// What stands beside them.
    plugins: Vec<(Alias, ProjectPlugin)>,
    servers: ServerPolicy,
    workdir: Option<PathBuf>,
    project: Option<PathBuf>,
    user_dirs: Option<UserDirs>,
    isolation: Option<Arc<dyn Isolation>>,
    isolation_modes: BTreeMap<String, Arc<dyn Isolation>>,
    coordinator: Option<Coordinator>,
    drops: Option<DropCallback>,
    mailboxes: Option<Mailboxes>,
    shared_memory: Option<Arc<dyn State>>,
    recall: Option<Arc<dyn Recall>>,
    recall_settings: Option<RecallSettings>,
    max_concurrency: Option<usize>,
    host: HostDefaults,
    ceiling: Budget,
    prices: Prices,
    max_depth: Option<usize>,
    natives: Natives,
    engines: BTreeMap<String, Arc<dyn WorkflowEngine>>,
    durability: Option<Durability>,
    rehearsal: Option<Arc<StandIns>>,
    observation: Observation,
    played: Option<Played>,
    compile_child: Option<CompileChild>,
    exec: Option<ExecSettings>,
    secrets: BTreeMap<String, SecretSource>,
    lock: Option<PathBuf>,
    undecided: Undecided,
    storage_plugin: Option<ServicePlugin>,
    sink_plugins: Vec<ServicePlugin>,
    model_plugins: ModelPlugins,
    registries: Registries,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The model of steps that name none; also found by its own name.
    #[must_use]
    pub fn model(mut self, model: impl Model + 'static) -> Self {
        self.model = Some(Arc::new(model));
        self
    }

    /// Where models are found by name. Default: scripted, extractive and OpenAI-compatible ones without keys.
    #[must_use]
    pub fn models(mut self, models: Arc<dyn Models>) -> Self {
        self.models = Some(models);
        self
    }

    /// The name of the model of steps that name none.
    #[must_use]
    pub fn default_model(mut self, name: impl Into<String>) -> Self {
        self.default_model = Some(name.into());
        self
    }

    /// An agent of the embedder's own; it wins over one of the same name in a document.
    #[must_use]
    pub fn agent(mut self, name: AgentName, agent: impl Agent + 'static) -> Self {
        self.agents.insert(name, Arc::new(Kept::new(Arc::new(agent))));
        self
    }

    /// Tools of the embedder's own, beside the native ones.
    #[must_use]
    pub fn tool(mut self, tool: impl Tool + 'static) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// As [`Self::tool`], for several at once.
    #[must_use]
    pub fn tools(mut self, tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        self.tools.extend(tools);
        self
    }

    /// Where runs are recorded. Default: in memory, or in the project's database.
    #[must_use]
    pub fn storage(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Where small durable values are kept. Default: in memory, or in the project's database.
    #[must_use]
    pub fn state(mut self, state: Arc<dyn State>) -> Self {
        self.state = Some(state);
        self
    }

    /// A plugin that keeps the runs, opened by the first use; it beats [`Self::storage`].
    #[must_use]
    pub fn storage_plugin(mut self, plugin: ServicePlugin) -> Self {
        self.storage_plugin = Some(plugin);
        self
    }

    /// A plugin whose models every document may name as `plugin:ALIAS/MODEL`, loaded by the first run that does. A second
    /// one under the same alias takes its place.
    #[must_use]
    pub fn model_plugin(mut self, plugin: ServicePlugin) -> Self {
        self.model_plugins.insert(plugin.alias.clone(), ModelPlugin::new(plugin));
        self
    }

    /// A plugin that takes the events of every run, opened by the first one. Its place in each run is kept under its alias
    /// in the state, and what it can never take as a dead letter.
    #[must_use]
    pub fn sink_plugin(mut self, plugin: ServicePlugin) -> Self {
        self.sink_plugins.push(plugin);
        self
    }

    /// Takes the events of every run, apart from those inside a run with sensitive steps.
    #[must_use]
    pub fn sink(mut self, sink: Arc<dyn Sink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Who is asked, and how long there is to answer; none = as long as it takes. Without one, or without an answer in time,
    /// the answer is no.
    #[must_use]
    pub fn approval(mut self, approver: Arc<dyn Approver>, timeout: impl Into<Option<Duration>>) -> Self {
        self.approver = Some((approver, timeout.into()));
        self
    }

    /// What plugins may do. Default: nothing.
    #[must_use]
    pub fn grants(mut self, grants: GrantPolicy) -> Self {
        self.grants = grants;
        self
    }

    /// Which servers of the Model Context Protocol may be started or spoken to. Default: none.
    #[must_use]
    pub fn mcp_servers(mut self, servers: ServerPolicy) -> Self {
        self.servers = servers;
        self
    }

    /// The directory that steps work in. Default: the current one.
    #[must_use]
    pub fn workdir(mut self, path: impl Into<PathBuf>) -> Self {
        self.workdir = Some(path.into());
        self
    }

    /// The directory `.cofferdam` of a project: its databases and output directories. Default: runs and values are
    /// kept in memory, outputs in the system's temporary directory.
    #[must_use]
    pub fn project(mut self, path: impl Into<PathBuf>) -> Self {
        self.project = Some(path.into());
        self
    }

    /// Directories of the user's own. Default: none; plugins are compiled each time, and answers about what they may do
    /// are not remembered.
    #[must_use]
    pub fn user_dirs(mut self, dirs: UserDirs) -> Self {
        self.user_dirs = Some(dirs);
        self
    }

    /// Attempts at once in one run; the smaller of this and the document's.
    #[must_use]
    pub fn max_concurrency(mut self, attempts: usize) -> Self {
        self.max_concurrency = Some(attempts);
        self
    }

    /// How deep workflows that work as agents may be inside one another. Default: 10.
    #[must_use]
    pub fn max_depth(mut self, depth: usize) -> Self {
        self.max_depth = Some(depth);
        self
    }

    /// An engine of the embedder's own, which decides when steps begin. `default` replaces ours in every run that names
    /// no other with `options.engine`.
    #[must_use]
    pub fn workflow_engine(mut self, name: impl Into<String>, engine: impl WorkflowEngine + 'static) -> Self {
        self.engines.insert(name.into(), Arc::new(engine));
        self
    }

    /// What a barrier waits for. Default: the disk.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Rehearses: tools are played by a script, and everything happens on the thread that drives a run, so that its time
    /// may be simulated.
    #[must_use]
    pub(crate) fn rehearsal(mut self, tools: StandIns) -> Self {
        self.rehearsal = Some(Arc::new(tools));
        self
    }

    /// Who is told what plugins ask of their host while they work. Default: nobody.
    #[must_use]
    pub fn tap(mut self, tap: Tap) -> Self {
        self.observation.tap = Some(tap);
        self
    }

    /// Plays the world outside for plugins, and has every call of theirs give the same again. Secrets are those that were
    /// named, and the environment holds none.
    #[must_use]
    pub(crate) fn played(mut self, played: Played) -> Self {
        self.observation.exact = true;
        self.played = Some(played);
        self
    }

    /// Builds it; starts nothing.
    ///
    /// # Errors
    /// When settings contradict each other.
    pub fn build(self) -> Result<Orchestrator, Error> {
        self.refuse_contradictions()?;
        let project = self.project.as_deref();
        let mut rules = self.rules;
        if self.undecided.strict {
            rules.stance = rules.stance.strict();
        }
        let model_name = self.model.as_ref().map(|model| model.info().name.to_string());
        let mut tools = self.tools;
        tools.insert(0, compose::native_tools(self.exec.filter(|_| rules.run_commands())));
        let clock = self.clock.unwrap_or_else(compose::clock);
        let state = self.state.unwrap_or_else(|| compose::state(project));
        let (lock, root) = (self.lock.map(|path| Arc::new(Lock::new(path))), project.and_then(Path::parent));
        let gate = Gate { lock: lock.clone(), root: root.map(Path::to_owned), undecided: self.undecided };
        let mut services = Services::new(self.storage_plugin, self.sink_plugins, gate);
        let kept = services.journal.clone().map(|journal| journal as Arc<dyn Journal>).or(self.journal);
        let journal = compose::spilling(kept.unwrap_or_else(|| compose::journal(project)));
        let means = Means { state: Arc::clone(&state), journal: Arc::clone(&journal), clock: Arc::clone(&clock) };
        services.employ(means, project);
        let isolation_modes = isolation::named(self.isolation_modes)?;
        let workdir = self.workdir.clone();
        let isolation = self.isolation.unwrap_or_else(|| compose::directories(workdir, project));
        let shared_memory = self.shared_memory.unwrap_or_else(|| Arc::clone(&state));
        Ok(Orchestrator::from_settings(Settings {
            services,
            model_plugins: self.model_plugins,
            randomness: self.randomness.unwrap_or_else(compose::randomness),
            journal,
            state,
            models: compose::resolved(compose::models(self.models, self.model, &clock), self.resolver),
            approval_timeout: self.approver.as_ref().and_then(|(_, timeout)| *timeout),
            approver: self.approver.map(|(approver, timeout)| Timed::wrap(approver, timeout, &clock)),
            clock,
            default_model: self.default_model.or(model_name),
            model_options: self.model_options,
            agents: self.agents,
            tools,
            sinks: self.sinks,
            tracers: self.tracers,
            rules,
            permission_handler: self.permission_handler,
            grants: self.plugins.into_iter().fold(self.grants, |all, (alias, one)| all.with_project_plugin(alias, one)),
            vault: Arc::new(if self.played.is_some() { Vault::only(self.secrets) } else { Vault::new(self.secrets) }),
            egress: self.played.map(|played| played.egress),
            observation: self.observation,
            root: root.map(Path::to_owned),
            lock,
            registries: self.registries,
            undecided: self.undecided,
            servers: self.servers,
            workdir: self.workdir.clone().unwrap_or_else(|| PathBuf::from(".")),
            isolation: IsolationModes::beside(isolation, isolation_modes),
            coordinator: self.coordinator,
            drops: self.drops,
            mailboxes: self.mailboxes,
            shared_memory,
            recall: self.recall.unwrap_or_else(|| compose::recall(project)),
            recall_settings: self.recall_settings,
            max_concurrency: self.max_concurrency,
            host: self.host,
            ceiling: self.ceiling,
            prices: Arc::new(Prices::shipped().with(self.prices)),
            max_depth: self.max_depth.unwrap_or(limits::WORKFLOW_DEPTH),
            natives: self.natives,
            engines: self.engines,
            durability: self.durability.unwrap_or(Durability::Durable),
            user_dirs: self.user_dirs,
            rehearsal: self.rehearsal,
            compile_child: self.compile_child,
        }))
    }
}
