//! Workflow engines of the embedder's own: they decide which step begins when, and with what message.
//!
//! They perform steps through a handle, so that agents, tools behind the gateway, permissions, isolation, limits, events
//! and the result are those of every run. Dependencies hold under every engine: a step whose dependencies have not ended
//! cannot begin.

use super::config::{Mode, WorkflowConfig};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepId};
use cofferdam_core::port::{BoxFuture, Journal, Starter, StepEnd};
use cofferdam_core::spec::workflow::{LoopKind, Step, Workflow};
use cofferdam_core::value::Map;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

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
    /// `deadlock`. It is dropped when the run ends before it.
    ///
    /// # Errors
    /// Steps that have not begun never do: the run is stopped and fails with this. Without any the run ends as its steps do.
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

    /// The steps, in declaration order.
    #[must_use]
    pub fn steps(&self) -> &[EngineStep] {
        &self.desk.steps
    }

    /// The steps that have not begun and whose dependencies have ended, in declaration order.
    #[must_use]
    pub fn ready(&self) -> Vec<String> {
        let desk = self.desk.state();
        let names = self.desk.steps.iter().map(|step| &step.name);
        names.filter(|name| desk.is_left(name) && self.desk.waits_for(&desk, name).is_empty()).cloned().collect()
    }

    /// Performs a step and waits until it has ended. With an input, that is the whole message of its agent; without one
    /// the message is assembled from what the step depends on. A condition that is false skips it.
    ///
    /// # Errors
    /// When there is no such step, it was begun before, its dependencies have not ended, or the run has ended. A step
    /// that fails is an end like others.
    pub async fn run_step(&self, name: &str, input: Option<&str>) -> Result<StepEnd, Fault> {
        let ended = self.desk.begin(name, input)?;
        ended.await.map_err(|_| Fault::cancelled())
    }
}

/// Between the engine of the embedder's and ours.
pub(crate) struct Desk {
    steps: Vec<EngineStep>,
    state: Mutex<State>,
    /// A step may begin, or no more will.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Steps that the engine has begun, and their messages.
    begun: BTreeMap<String, Option<Arc<str>>>,
    ended: BTreeMap<String, StepEnd>,
    waiting: BTreeMap<String, Vec<oneshot::Sender<StepEnd>>>,
    /// The engine has returned, and perhaps why.
    over: Option<Result<(), Fault>>,
    /// The run has ended: nobody begins or waits any more.
    released: bool,
}

impl State {
    fn is_left(&self, name: &str) -> bool {
        !self.begun.contains_key(name) && !self.ended.contains_key(name)
    }
}

impl Desk {
    pub(crate) fn new(workflow: &Workflow) -> Arc<Self> {
        Arc::new(Self { steps: steps_of(workflow), state: Mutex::default(), changed: Notify::new() })
    }

    pub(crate) fn steps(&self) -> &[EngineStep] {
        &self.steps
    }

    pub(crate) fn handle(self: &Arc<Self>, run_id: RunId, journal: Arc<dyn Journal>) -> EngineHandle {
        EngineHandle { desk: Arc::clone(self), run_id, journal }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine has returned.
    pub(crate) fn close(&self, outcome: Result<(), Fault>) {
        self.state().over = Some(outcome);
        self.changed.notify_waiters();
    }

    /// The run has ended. Tasks that the engine has spawned may still hold a handle, and must not wait forever.
    pub(crate) fn release(&self) {
        let mut state = self.state();
        state.released = true;
        state.waiting.clear();
    }

    fn begin(&self, name: &str, input: Option<&str>) -> Result<oneshot::Receiver<StepEnd>, Fault> {
        let refuse = |message: String| Err(Fault::step("engine", message));
        let mut state = self.state();
        if !self.steps.iter().any(|step| step.name == name) {
            return refuse(format!("there is no step `{name}`"));
        }
        if state.released {
            return Err(Fault::cancelled());
        }
        if state.begun.contains_key(name) {
            return refuse(format!("step `{name}` was begun before"));
        }
        let (sender, receiver) = oneshot::channel();
        if let Some(end) = state.ended.get(name) {
            // It was skipped or cancelled because of another one.
            let _ = sender.send(end.clone());
            return Ok(receiver);
        }
        let waits_for = self.waits_for(&state, name);
        if !waits_for.is_empty() {
            return refuse(format!("step `{name}` waits for {}", listed(&waits_for)));
        }
        state.begun.insert(name.to_owned(), input.map(Arc::from));
        state.waiting.entry(name.to_owned()).or_default().push(sender);
        drop(state);
        self.changed.notify_waiters();
        Ok(receiver)
    }

    /// The dependencies of a step that have not ended.
    fn waits_for(&self, state: &State, name: &str) -> Vec<&str> {
        let step = self.steps.iter().find(|step| step.name == name);
        let dependencies = step.into_iter().flat_map(|step| &step.depends_on);
        dependencies.filter(|name| !state.ended.contains_key(*name)).map(String::as_str).collect()
    }

    /// Whether the step may begin; none while that is open.
    fn admission(&self, name: &str) -> Option<Result<(), Fault>> {
        let state = self.state();
        match &state.over {
            _ if state.begun.contains_key(name) => Some(Ok(())),
            None => None,
            Some(Err(fault)) => Some(Err(fault.clone())),
            Some(Ok(())) => Some(Err(self.deadlock(&state))),
        }
    }

    fn deadlock(&self, state: &State) -> Fault {
        let left = self.steps.iter().filter(|step| state.is_left(&step.name)).map(|step| {
            let waits_for = self.waits_for(state, &step.name);
            let reason = if waits_for.is_empty() { "the engine".to_owned() } else { listed(&waits_for) };
            format!("`{}` waits for {reason}", step.name)
        });
        let left: Vec<String> = left.collect();
        Fault::step("deadlock", format!("the engine has returned, and steps are left: {}", left.join("; ")))
    }
}

fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

impl Starter for Desk {
    fn admit(&self, step: StepId) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            loop {
                let changed = self.changed.notified();
                if let Some(answer) = self.admission(step.as_str()) {
                    return answer;
                }
                changed.await;
            }
        })
    }

    fn message(&self, step: &StepId) -> Option<Arc<str>> {
        self.state().begun.get(step.as_str()).cloned().flatten()
    }

    fn ended(&self, end: StepEnd) {
        let mut state = self.state();
        let name = end.path.as_str().to_owned();
        for waiting in state.waiting.remove(&name).unwrap_or_default() {
            let _ = waiting.send(end.clone());
        }
        state.ended.insert(name, end);
    }
}

fn steps_of(workflow: &Workflow) -> Vec<EngineStep> {
    let steps = &workflow.scope.steps;
    let name = |index: &usize| steps.get(*index).map(|step| step.id.to_string());
    let step = |step: &Step| EngineStep {
        name: step.id.to_string(),
        agent: step.agent().map(ToString::to_string),
        tool: step.tool().map(ToString::to_string),
        depends_on: step.depends_on.iter().filter_map(name).collect(),
        metadata: step.metadata.clone(),
    };
    steps.iter().map(step).collect()
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
