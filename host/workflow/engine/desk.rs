//! Between an engine of the embedder's own and the run: what has begun and ended, and who waits for it.

use super::whole_run::WholeRun;
use super::{EngineHandle, EngineStep};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{RunId, StepId};
use cofferdam_core::port::{BoxFuture, Clock, Journal, RunContext, Starter, StepEnd, Worker};
use cofferdam_core::spec::workflow::{Step, Work, Workflow};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// How the engine has begun a step.
pub(super) struct Begun {
    /// The whole message of its agent; none = what it depends on.
    pub(super) message: Option<Arc<str>>,
    /// Who works in place of its agent.
    pub(super) worker: Option<Arc<dyn Worker>>,
}

/// Between the engine of the embedder's and ours.
pub(crate) struct Desk {
    workflow_id: String,
    steps: Vec<EngineStep>,
    /// Steps that no agent works on by itself, and what they are.
    others: BTreeMap<String, &'static str>,
    state: Mutex<State>,
    /// A step may begin, or no more will.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// The run, once it has begun.
    run: Option<Arc<dyn RunContext>>,
    /// Steps that the engine has begun, and how.
    begun: BTreeMap<String, Begun>,
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
        let (steps, others) = (steps_of(workflow), others_of(workflow));
        let workflow_id = workflow.hash.clone();
        Arc::new(Self { workflow_id, steps, others, state: Mutex::default(), changed: Notify::new() })
    }

    pub(crate) fn steps(&self) -> &[EngineStep] {
        &self.steps
    }

    pub(crate) fn handle(
        self: &Arc<Self>,
        run_id: RunId,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
    ) -> EngineHandle {
        let whole = Arc::new(WholeRun::new(Arc::clone(self), run_id.clone(), clock));
        EngineHandle { desk: Arc::clone(self), run_id, journal, whole }
    }

    pub(super) fn workflow_id(&self) -> &str {
        &self.workflow_id
    }

    /// The run, if it has begun and not ended.
    pub(super) fn run_now(&self) -> Option<Arc<dyn RunContext>> {
        self.state().run.clone()
    }

    /// The run, once it has begun.
    pub(super) async fn run(&self) -> Result<Arc<dyn RunContext>, Fault> {
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state();
                if state.released {
                    return Err(Fault::cancelled());
                }
                if let Some(run) = &state.run {
                    return Ok(Arc::clone(run));
                }
            }
            changed.await;
        }
    }

    /// What a step is, when it is none that an agent works on by itself.
    pub(super) fn no_agent_step(&self, name: &str) -> Option<&'static str> {
        self.others.get(name).copied()
    }

    pub(super) fn ready(&self) -> Vec<String> {
        let state = self.state();
        let names = self.steps.iter().map(|step| &step.name);
        names.filter(|name| state.is_left(name) && self.waits_for(&state, name).is_empty()).cloned().collect()
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
        state.run = None;
        // What works there may hold a handle, and so this.
        state.begun.values_mut().for_each(|begun| begun.worker = None);
        drop(state);
        self.changed.notify_waiters();
    }

    pub(super) fn begin(&self, name: &str, begun: Begun) -> Result<oneshot::Receiver<StepEnd>, Fault> {
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
        state.begun.insert(name.to_owned(), begun);
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
    fn attach(&self, run: Arc<dyn RunContext>) {
        let mut state = self.state();
        if !state.released {
            state.run = Some(run);
        }
        drop(state);
        self.changed.notify_waiters();
    }

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
        self.state().begun.get(step.as_str()).and_then(|begun| begun.message.clone())
    }

    fn worker(&self, step: &StepId) -> Option<Arc<dyn Worker>> {
        self.state().begun.get(step.as_str()).and_then(|begun| begun.worker.clone())
    }

    fn ended(&self, end: StepEnd) {
        let mut state = self.state();
        let name = end.path.as_str().to_owned();
        for waiting in state.waiting.remove(&name).unwrap_or_default() {
            let _ = waiting.send(end.clone());
        }
        state.ended.insert(name, end);
    }

    fn over(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async {
            loop {
                let changed = self.changed.notified();
                if let Some(outcome) = self.state().over.clone() {
                    return outcome;
                }
                changed.await;
            }
        })
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

fn others_of(workflow: &Workflow) -> BTreeMap<String, &'static str> {
    let what = |step: &Step| match (&step.repeat, &step.work) {
        (Some(_), _) => Some("a loop"),
        (None, Work::Agent(_)) => None,
        (None, Work::Tool(_)) => Some("a tool call"),
        (None, Work::Ask(_)) => Some("a question"),
        (None, Work::Group(_)) => Some("a group"),
        (None, Work::Include(_)) => Some("an included document"),
        (None, Work::Body) => Some("the body of a loop"),
    };
    workflow.scope.steps.iter().filter_map(|step| Some((step.id.to_string(), what(step)?))).collect()
}
