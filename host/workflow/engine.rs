//! Workflow engines of the embedder's own: they decide which step begins when, and with what message.
//!
//! They perform steps through a handle, or work on them with their own hands, so that agents, tools behind the gateway,
//! permissions, isolation, limits, events and the result are those of every run. Dependencies hold under every engine: a
//! step whose dependencies have not ended cannot begin, and nothing is done that belongs to no step; only the memory that agents
//! share is the run's, and the engine's as well.

mod desk;
mod step_handle;
mod whole_run;

pub(crate) use desk::Desk;
pub use step_handle::StepHandle;

use super::config::{Mode, WorkflowConfig};
use cofferdam_core::event::StepOutput;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{BoxFuture, Journal, RunContext, SharedMemory, StepEnd};
use cofferdam_core::spec::workflow::{LoopKind, Step, Workflow};
use cofferdam_core::value::Map;
use desk::Begun;
use std::sync::Arc;
use whole_run::WholeRun;

/// Makes engine runs; registered with [`crate::Builder::workflow_engine`].
pub trait WorkflowEngine: Send + Sync {
    /// The engine of one run of a workflow.
    ///
    /// # Errors
    /// When it cannot run this workflow; the run does not start.
    fn prepare(&self, config: &WorkflowConfig, steps: &[EngineStep]) -> Result<Box<dyn EngineRun>, Fault>;
}

/// One run of an engine.
pub trait EngineRun: Send {
    /// Performs the steps. When it returns and steps are left that nothing else has ended, the run fails with the code
    /// `deadlock`. When all steps have ended the run waits for it, though not for long (`ENGINE_RETURN_MS`); it is dropped
    /// when the run ends before it.
    ///
    /// # Errors
    /// The run fails with this. Steps that have not begun never do, and what is under way then is stopped; when none is
    /// left to begin, those that have begun end as they would.
    fn drive(self: Box<Self>, run: EngineHandle) -> BoxFuture<'static, Result<(), Fault>>;
}

/// A step of the document's own scope, as an engine sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineStep {
    /// Its name.
    pub name: String,
    /// The agent that works on it.
    pub agent: Option<String>,
    /// The tool that it calls.
    pub tool: Option<String>,
    /// The steps that run before it.
    pub depends_on: Vec<String>,
    /// What the document says about it.
    pub metadata: Map,
}

/// A run in the hands of an engine. All clones are one.
#[derive(Clone)]
pub struct EngineHandle {
    desk: Arc<Desk>,
    run_id: RunId,
    journal: Arc<dyn Journal>,
    whole: Arc<WholeRun>,
}

impl EngineHandle {
    /// The run.
    #[must_use]
    pub fn run_id(&self) -> &RunId {
        &self.run_id
    }

    /// Where the run is recorded.
    #[must_use]
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.journal)
    }

    /// The memory that the agents of the run share. The engine reads all of it, and writes under the name `workflow`; what it writes
    /// belongs to the run and to no step. Before the run has begun its requests wait, and after its end they fail.
    #[must_use]
    pub fn memory(&self) -> SharedMemory<'_> {
        let whole: &dyn RunContext = &*self.whole;
        whole.memory()
    }

    /// The steps, in declaration order.
    #[must_use]
    pub fn steps(&self) -> &[EngineStep] {
        self.desk.steps()
    }

    /// The steps that have not begun and whose dependencies have ended, in declaration order.
    #[must_use]
    pub fn ready(&self) -> Vec<String> {
        self.desk.ready()
    }

    /// Performs a step and waits until it has ended. With an input, that is the whole message of its agent; without one
    /// the message is assembled from what the step depends on. A condition that is false skips it.
    ///
    /// # Errors
    /// When there is no such step, it was begun before, its dependencies have not ended, or the run has ended. A step
    /// that fails is an end like others.
    pub async fn run_step(&self, name: &str, input: Option<&str>) -> Result<StepEnd, Fault> {
        let begun = Begun { message: input.map(Arc::from), worker: None };
        let ended = self.desk.begin(name, begun)?;
        ended.await.map_err(|_| Fault::cancelled())
    }

    /// As [`Self::run_step`], but the engine itself works on an agent step, in place of its agent: what `work` does through
    /// the [`StepHandle`] is recorded under the step, within its time, limits, directories and permissions, and ends with
    /// it. What it gives is the step's output, and has to fit its `resultSchema`. It is called for each try; the step has
    /// one slot, however much is done at once.
    ///
    /// # Errors
    /// As [`Self::run_step`]; also when the step is none that an agent works on: loops, groups, includes, questions and tool
    /// steps are performed by [`Self::run_step`].
    pub async fn work_on<W, F>(&self, name: &str, work: W) -> Result<StepEnd, Fault>
    where
        W: Fn(StepHandle) -> F + Send + Sync + 'static,
        F: Future<Output = Result<StepOutput, Fault>> + Send + 'static,
    {
        if let Some(what) = self.desk.no_agent_step(name) {
            return Err(Fault::step("engine", format!("step `{name}` is {what}: no agent works on it")));
        }
        let begun = Begun { message: None, worker: Some(step_handle::worker(work)) };
        let ended = self.desk.begin(name, begun)?;
        ended.await.map_err(|_| Fault::cancelled())
    }
}

/// What an engine is told of a workflow, built or loaded.
pub(crate) fn config_of(workflow: &Workflow, mode: Mode) -> WorkflowConfig {
    let most = |step: &Step| match &step.repeat.as_ref()?.kind {
        LoopKind::Repeat(repeat) => Some(repeat.max_iterations),
        LoopKind::ForEach(_) => None,
    };
    let root = workflow.scope.steps.first().filter(|_| mode == Mode::Loop);
    let defaults = WorkflowConfig::new(workflow.name.as_str());
    WorkflowConfig {
        mode,
        timeout: workflow.options.timeout,
        max_iterations: root.and_then(most).unwrap_or(defaults.max_iterations),
        max_concurrency: workflow.options.max_concurrency,
        agents: workflow.agents.keys().map(ToString::to_string).collect(),
        engine: workflow.options.engine.clone(),
        ..defaults
    }
}
