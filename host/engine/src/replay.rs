//! Runs a recorded run again against its record: no model, no tool, no clock and no journal.
//!
//! The core walks the record; here the questions of its machine are answered once more: expressions, templates,
//! transforms and conditions are evaluated, agents hold their conversations against the recorded turns and replies. It must
//! not start anything that could have an effect.

mod agents;
mod calls;
mod conversation;
mod evaluations;
mod messages;
mod questions;
mod replies;
mod requests;
mod scope;
mod tries;

use crate::evaluate::Evaluator;
use crate::gateway::Gateway;
use cofferdam_core::event::{Body, RunEvent};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{AgentName, StepPath};
use cofferdam_core::port::{BoxFuture, Natives, PurePlugins, Sources};
use cofferdam_core::run::replay::{Answer, Answers, Asked, Walked, walk};
use cofferdam_core::run::{Effect, Machine, Transformed};
use cofferdam_core::spec::workflow::Workflow;
use requests::Requests;
use scope::Scope;
use std::collections::BTreeSet;
use std::sync::Arc;

pub use cofferdam_core::run::replay::Difference;

/// What a replay may use of the world: code without effects, and what is known of tools.
#[derive(Clone)]
pub struct ReplayPorts {
    /// Closures that documents name, as far as they are there.
    pub natives: Arc<Natives>,
    /// Transforms and conditions of plugins, as far as they are there.
    pub plugins: Arc<PurePlugins>,
    /// Agents of the embedder, which are not run.
    pub agents: BTreeSet<AgentName>,
    /// What tools there are, and their schemas. None is called.
    pub gateway: Arc<Gateway>,
    /// The document's files.
    pub sources: Arc<dyn Sources>,
    /// Whether an engine of the embedder ordered the steps.
    pub ordered_by_engine: bool,
}

/// A record that was walked without a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// How far it goes.
    pub walked: Walked,
    /// How many answers of models are in it.
    pub turns: usize,
    /// How many calls of tools are in it.
    pub calls: usize,
    /// What could not be found out here, so that the record was believed.
    pub unchecked: Vec<String>,
}

/// Replays a run from all of its events.
///
/// # Errors
/// The first difference between the record and what comes out.
pub async fn replay(
    ports: ReplayPorts,
    workflow: &Arc<Workflow>,
    events: &[Arc<RunEvent>],
) -> Result<Replayed, Box<Difference>> {
    let gated = ports.ordered_by_engine;
    let mut replayer = Replayer::new(ports, workflow, events);
    let walked = walk(workflow, gated, events, &mut replayer).await?;
    let count = |of: fn(&Body) -> bool| events.iter().filter(|event| of(&event.body)).count();
    Ok(Replayed {
        walked,
        turns: count(|body| matches!(body, Body::TurnFinished { .. })),
        calls: count(|body| matches!(body, Body::ToolCallFinished { .. })),
        unchecked: replayer.unchecked.into_iter().collect(),
    })
}

/// Answers what the machine asks for.
struct Replayer {
    ports: ReplayPorts,
    workflow: Arc<Workflow>,
    evaluator: Evaluator,
    scope: Scope,
    /// Outputs as plugins have them enter prompts.
    transformed: Transformed,
    requests: Requests,
    unchecked: BTreeSet<String>,
}

impl Replayer {
    fn new(ports: ReplayPorts, workflow: &Arc<Workflow>, events: &[Arc<RunEvent>]) -> Self {
        let first = events.first();
        let mut unchecked = BTreeSet::new();
        let body = first.map(|first| &first.body);
        if let Some(Body::RunStarted { branched_from: Some(of), .. }) = body {
            unchecked.insert(format!("what was copied from run `{}`", of.run_id));
        }
        if ports.ordered_by_engine {
            unchecked.insert("when the workflow engine let steps begin, and what it worked on itself".to_owned());
        }
        Self {
            ports,
            workflow: Arc::clone(workflow),
            evaluator: Evaluator::default(),
            scope: Scope::new(workflow, first),
            transformed: Transformed::default(),
            requests: Requests::of(events),
            unchecked,
        }
    }

    /// The record is believed in this matter.
    fn take(&mut self, what: impl Into<String>) -> Answer {
        self.unchecked.insert(what.into());
        Answer::Taken
    }

    async fn find_out(&mut self, machine: &Machine, asked: Asked<'_>) -> Answer {
        self.scope.look(machine, asked.recorded);
        match asked.effect {
            Effect::Decide(path) => self.decide(machine, path).await,
            Effect::Expand(path) => self.expand(machine, path).await,
            Effect::While { path, index } => self.check_while(machine, path, *index).await,
            Effect::Until { path, index } => self.check_until(machine, path, *index).await,
            Effect::Gather(path) => self.gather(machine, path).await,
            Effect::Ask(path) => self.ask(machine, path, asked).await,
            Effect::Start { path, attempt } => self.hold(machine, (path, *attempt), asked).await,
            Effect::Resume { path, attempt } => self.hold_on(machine, (path, *attempt), asked).await,
            Effect::Conclude => self.conclude(machine, asked).await,
            // The walk sees to these.
            Effect::Emit(_) | Effect::Wait { .. } | Effect::Watch { .. } | Effect::Cancel(_) => Answer::Taken,
        }
    }
}

impl Answers for Replayer {
    fn answer<'a>(&'a mut self, machine: &'a Machine, asked: Asked<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(self.find_out(machine, asked))
    }

    fn overdue(&self, machine: &Machine, path: &StepPath) -> Option<Fault> {
        machine.timeout_of(path).map(|whole| crate::attempt::timed_out(path, whole))
    }
}
