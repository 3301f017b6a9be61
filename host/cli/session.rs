//! What the commands share: the project, its settings, and how they describe an orchestrator.
//!
//! It must not build anything that a command does not ask for: a run of one step starts and ends in milliseconds.

use crate::args::{Global, GrantArgs};
use crate::environment;
use crate::failure::Failure;
use crate::project::Project;
use crate::settings::{File, Settings};
use anyhow::Context as _;
use cofferdam::core::id::Alias;
use cofferdam::core::policy::parse_flag;
use cofferdam::llm::ModelCatalog;
use cofferdam::llm::tape::Tape;
use cofferdam::plugin::CompileChild;
use cofferdam::{Builder, ExecSettings, GrantPolicy, Orchestrator, ProjectPlugin, ServerPolicy, Undecided};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// The hidden command by which this program compiles plugins in a process of its own.
pub(crate) const COMPILE_CHILD: &str = "__compile";

/// The hidden command by which this program confines itself and runs a command.
pub(crate) const EXEC_CHILD: &str = "__exec";

/// What the commands share.
pub(crate) struct Session {
    pub(crate) project: Project,
    pub(crate) settings: Settings,
}

impl Session {
    /// Finds the project and reads the settings.
    pub(crate) fn open(global: &Global, flags: &[(&'static str, String)]) -> anyhow::Result<Self> {
        let project = Project::find(global.project.as_deref()).map_err(|error| Failure::usage(format!("{error:#}")))?;
        let storage = global.storage.iter().map(|storage| ("run.storage", storage.clone()));
        let flags: Vec<(&'static str, String)> = flags.iter().cloned().chain(storage).collect();
        let settings = Settings::read(&project, &flags)?;
        Ok(Self { project, settings })
    }

    /// The models that can be named. Keys come from the environment and, unless it is unwanted, from `.env` in the
    /// document's directory.
    pub(crate) fn models(&self, directory: &Path, dotenv: Dotenv) -> Arc<ModelCatalog> {
        self.models_on(directory, dotenv, None)
    }

    /// The same with a tape, which records what providers answer, or answers in their place.
    pub(crate) fn models_on(&self, directory: &Path, dotenv: Dotenv, tape: Option<Arc<Tape>>) -> Arc<ModelCatalog> {
        let dotenv = (dotenv == Dotenv::Read).then(|| directory.to_owned());
        let settings = self.settings.models();
        let variables = environment::provider_variables(dotenv, &settings);
        let catalog = cofferdam::model_catalog(settings, variables, directory);
        Arc::new(match tape {
            Some(tape) => catalog.with_tape(tape),
            None => catalog,
        })
    }

    /// What plugins of documents may do: by the project's file and by these flags.
    pub(crate) fn grants(&self, flags: &[String]) -> Result<GrantPolicy, Failure> {
        self.grants_beside(flags, &[])
    }

    /// The same beside these sinks, which flags name.
    pub(crate) fn grants_beside(&self, flags: &[String], sinks: &[String]) -> Result<GrantPolicy, Failure> {
        let mut policy = GrantPolicy::deny_all();
        for (alias, grants) in self.settings.files.iter().flat_map(File::grants_of_documents) {
            policy = policy.with_project(alias.clone(), grants);
        }
        for (alias, trust) in self.settings.files.iter().flat_map(File::trust_in_plugins_of_documents) {
            policy = policy.with_trust(alias.clone(), trust);
        }
        // What serves the host has grants of its own: no document gets them, whatever it names.
        let serving = self.serving(sinks);
        for (alias, listed, grants) in self.settings.files.iter().flat_map(File::named_plugins) {
            if serving.contains(&alias.as_str()) {
                policy = policy.with_service(alias.clone());
                continue;
            }
            let (source, digest, trust) = (listed.source.clone(), listed.digest.clone(), listed.trust);
            policy = policy.with_project_plugin(alias.clone(), ProjectPlugin { source, digest, grants, trust });
        }
        for text in flags {
            let (alias, grants) = parse_flag(text).map_err(|error| {
                let failure = Failure::usage(format!("--grant {text}: {error}"));
                match &error.hint {
                    Some(hint) => failure.with_hint(hint.clone()),
                    None => failure,
                }
            })?;
            policy = policy.with_flag(alias, &grants);
        }
        Ok(policy)
    }

    /// Which MCP servers may be used: by the project's file and by these flags.
    pub(crate) fn servers(&self, flags: &[String]) -> Result<ServerPolicy, Failure> {
        let mut policy = ServerPolicy::deny_all();
        for (alias, server) in self.settings.files.iter().flat_map(|file| &file.servers) {
            policy = policy.with_project(alias.clone(), server.clone());
        }
        for text in flags {
            let alias = Alias::parse(text).map_err(|error| Failure::usage(format!("--allow-mcp {text}: {error}")))?;
            policy = policy.with_flag(alias);
        }
        Ok(policy)
    }

    /// An orchestrator with what settings and flags allow plugins and models.
    pub(crate) fn permitting(&self, builder: Builder, flags: &GrantArgs) -> Result<Builder, Failure> {
        let (mut policy, mut servers) = (self.grants(&flags.grant)?, self.servers(&flags.allow_mcp)?);
        if flags.grant_requested {
            policy = policy.with_requested();
            servers = servers.with_requested();
        }
        let undecided = Undecided { locked: flags.locked, strict: flags.strict || self.settings.strict() };
        let rules = self.settings.rules(flags)?;
        Ok(builder.grants(policy).mcp_servers(servers).permissions(rules).undecided(undecided))
    }

    /// An orchestrator that keeps its records in this project.
    pub(crate) fn orchestrator(&self) -> Builder {
        self.passing_orchestrator()
            .project(self.project.state())
            .lock(self.project.lock_file())
            .undecided(Undecided { locked: false, strict: self.settings.strict() })
    }

    /// An orchestrator that keeps nothing, with the secrets of this project.
    pub(crate) fn passing_orchestrator(&self) -> Builder {
        let mut builder = Orchestrator::builder();
        for (name, source) in self.settings.secrets() {
            builder = builder.secret(name, source);
        }
        for (model, price) in self.settings.prices() {
            builder = builder.price(model, price);
        }
        if let Some(dirs) = environment::user_dirs() {
            builder = builder.user_dirs(dirs);
        }
        match std::env::current_exe() {
            Ok(program) => builder
                .exec(self.exec(program.clone()))
                .compile_child(CompileChild { program, args: vec![COMPILE_CHILD.into()] }),
            Err(_) => builder,
        }
    }

    /// How commands of models are run, where a rule lets them.
    fn exec(&self, program: PathBuf) -> ExecSettings {
        let settings = self.settings.exec();
        let names = ["PATH", "LANG", "LC_ALL", "TZ"].map(str::to_owned).into_iter().chain(settings.env);
        let variables = names.filter_map(|name| environment::raw(&name).map(|value| (name, value))).collect();
        let (read, write, network) = (settings.read, settings.write, settings.network);
        ExecSettings { program, args: vec![EXEC_CHILD.into()], variables, read, write, network }
    }
}

/// Whether `.env` is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dotenv {
    Read,
    Ignore,
}

/// A few threads: runs wait more than they compute, and plugins have threads of their own.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("the async runtime cannot be started")
}
