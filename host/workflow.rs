//! A workflow as an embedder holds it: checked, ready to run any number of times at once. It was loaded, or built in code
//! as a [`Flow`].

mod agent_config;
mod agent_of_workflow;
mod closure;
mod code;
mod condition;
mod config;
mod context;
mod distance;
mod document;
mod engine;
mod flow;
mod lifecycle;
pub mod loop_condition;
mod step;

pub use agent_config::AgentConfig;
pub use agent_of_workflow::{WorkflowAgent, WorkflowAgentStats};
pub(crate) use closure::{Changes, Decides};
pub use condition::{Condition, Transform};
pub use config::{Mode, WorkflowConfig};
pub use context::WorkflowContext;
pub(crate) use engine::{Desk, config_of};
pub use engine::{EngineHandle, EngineRun, EngineStep, StepHandle, WorkflowEngine};
pub use flow::Flow;
pub(crate) use lifecycle::Kept;
pub use step::{AgentRef, Step};

use crate::error::Error;
use crate::sources::{FileSources, Pinned, WithRoot};
use code::Code;
use cofferdam_core::diagnostic::Diagnostics;
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::event::{ContextFile, Source};
use cofferdam_core::id::AgentName;
use cofferdam_core::limits;
use cofferdam_core::port::{Agent, Natives, Recall, Sources};
use cofferdam_core::spec::{self, HostDefaults};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use cofferdam_core::spec::InputText;

/// A document that may run.
#[derive(Clone)]
pub struct Workflow {
    pub(crate) inner: Arc<spec::workflow::Workflow>,
    pub(crate) sources: Arc<dyn Sources>,
    pub(crate) base: PathBuf,
    /// The document's file, with no link in its path; none when it was read from text or a pipe.
    pub(crate) file: Option<PathBuf>,
    warnings: Diagnostics,
    /// Closures that came with it.
    code: Code,
    /// Agents that came with it, in the order of the steps.
    agents: Arc<[(AgentName, Arc<Kept>)]>,
    kept: Arc<[Arc<Kept>]>,
    /// Where its retrieval memory is kept; none = where its settings say.
    memory: Option<Arc<dyn Recall>>,
}

impl Workflow {
    /// Loads a document from a file, YAML or JSON. The path is taken as it is, also when it is a link, a pipe or standard
    /// input; the files that the document names must be below the path's directory.
    ///
    /// # Errors
    /// Every fault of the document and of the files it names, with place and hint.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let sources = FileSources::new(path.parent().unwrap_or_else(|| Path::new(".")));
        let origin = path.display().to_string();
        let loaded = spec::load(&origin, &WithRoot::new(path, &sources))?;
        let file = std::fs::canonicalize(path).ok().filter(|path| path.is_file());
        Ok(Self::from_loaded(loaded, sources, file))
    }

    /// Reads a document from text. The files it names are below `base`.
    ///
    /// # Errors
    /// Every fault of the document and of the files it names, with place and hint.
    pub fn parse(text: &str, base: impl AsRef<Path>) -> Result<Self, Error> {
        let sources = FileSources::new(base.as_ref());
        let loaded = spec::parse(text, "workflow", &sources)?;
        Ok(Self::from_loaded(loaded, sources, None))
    }

    /// An agent as the only step of a document, [`AgentConfig::STEP`], whose message is the input of the run. Files are below
    /// `base`.
    ///
    /// # Errors
    /// When the agent is not described as one can be, with place and hint in the document that it becomes.
    pub fn from_agent(agent: &AgentConfig, base: impl AsRef<Path>) -> Result<Self, Error> {
        let sources = FileSources::new(base.as_ref());
        let loaded = spec::parse(&agent.document(), "agent", &sources)?;
        Ok(Self::from_loaded(loaded, sources, None))
    }

    /// Reads a document as a run recorded it, with the files that it names; the first of the sources is the document. Files
    /// that are read while it runs are below `base`.
    ///
    /// # Errors
    /// Every fault of the document and of the files it names, with place and hint.
    pub(crate) fn pinned(sources: &[Source], base: impl AsRef<Path>) -> Result<Self, Error> {
        let root = sources.first().map(|source| source.path.as_str()).unwrap_or_default();
        let loaded = spec::load(root, &Pinned::new(sources))?;
        Ok(Self::from_loaded(loaded, FileSources::new(base.as_ref()), None))
    }

    fn from_loaded(loaded: spec::Loaded, sources: FileSources, file: Option<PathBuf>) -> Self {
        let base = sources.base().to_owned();
        Self {
            inner: Arc::new(loaded.workflow),
            sources: Arc::new(sources),
            base,
            file,
            warnings: loaded.warnings,
            code: Code::default(),
            agents: Arc::default(),
            kept: Arc::default(),
            memory: None,
        }
    }

    fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    fn with_agents(mut self, agents: Vec<(AgentName, Arc<Kept>)>) -> Self {
        self.kept = agents.iter().map(|(_, agent)| Arc::clone(agent)).collect();
        self.agents = agents.into();
        self
    }

    fn with_memory(mut self, memory: Option<Arc<dyn Recall>>) -> Self {
        self.memory = memory;
        self
    }

    /// The same document, as it runs where this holds.
    pub(crate) fn under(&self, host: &HostDefaults) -> Self {
        Self { inner: self.inner.under(host), ..self.clone() }
    }

    pub(crate) fn memory(&self) -> Option<&Arc<dyn Recall>> {
        self.memory.as_ref()
    }

    /// The same document, one of whose agents is this one.
    pub(crate) fn with_agent(self, name: AgentName, agent: Arc<dyn Agent>) -> Self {
        self.with_agents(vec![(name, Arc::new(Kept::new(agent)))])
    }

    /// The same document with the closures, agents and memory of another workflow: what a built workflow exported, read again,
    /// finds behind its names what the built one has.
    #[must_use]
    pub fn with_code_of(mut self, other: &Self) -> Self {
        self.code = other.code.clone();
        self.agents = Arc::clone(&other.agents);
        self.kept = Arc::clone(&other.kept);
        self.memory.clone_from(&other.memory);
        self
    }

    /// The document that it stands for, in YAML. It behaves as the workflow does where closures and agents of the same
    /// names are registered; files that it names are read from the same directory.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        spec::export::to_yaml(&self.inner)
    }

    /// The closures that a run finds, those of the orchestrator among them.
    pub(crate) fn natives(&self, of_orchestrator: &Natives) -> Natives {
        self.code.over(of_orchestrator)
    }

    pub(crate) fn agents(&self) -> &[(AgentName, Arc<Kept>)] {
        &self.agents
    }

    pub(crate) fn kept(&self) -> &[Arc<Kept>] {
        &self.kept
    }

    pub(crate) fn shared(&self) -> &Arc<spec::workflow::Workflow> {
        &self.inner
    }

    /// The document's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The checked document.
    #[must_use]
    pub fn document(&self) -> &spec::workflow::Workflow {
        &self.inner
    }

    /// The files that go with its prompts, as they are now; without those that cannot be read. It reads all of them.
    #[must_use]
    pub fn context_files(&self) -> Vec<ContextFile> {
        let digest = |path: String| {
            let file = self.sources.read(&path, limits::ATTACHMENT_BYTES).ok()?;
            Some(ContextFile { path, sha256: sha256_hex(&file.bytes) })
        };
        self.inner.context_files().into_keys().filter_map(digest).collect()
    }

    /// What is legal and perhaps not meant.
    #[must_use]
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_may_be_a_link_or_a_pipe_but_not_a_directory() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let real = elsewhere.path().join("real.yaml");
        std::fs::write(&real, "name: linked\nsteps: [{ id: a }]\n").unwrap();
        let link = folder.path().join("link.yaml");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let linked = Workflow::load(&link).unwrap();
        assert_eq!((linked.name(), &*linked.base), ("linked", folder.path()));
        assert_eq!(linked.file, std::fs::canonicalize(&real).ok());
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"name: piped\nsteps: [{ id: a }]\n").unwrap();
        drop(writer);
        let pipe = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let piped = Workflow::load(&pipe).unwrap();
        assert_eq!((piped.name(), piped.file.as_deref()), ("piped", None));
        let refused = Workflow::load(folder.path()).err().unwrap().to_string();
        assert!(refused.contains("directory"), "{refused}");
    }

    #[test]
    fn files_that_a_document_names_cannot_be_links_that_lead_out() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(elsewhere.path().join("secret.md"), "secret").unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("secret.md"), folder.path().join("text.md")).unwrap();
        let document = folder.path().join("w.yaml");
        std::fs::write(&document, "name: w\nsteps: [{ id: a, instructions: '@text.md' }]\n").unwrap();
        assert!(Workflow::load(&document).is_err());
    }
}
