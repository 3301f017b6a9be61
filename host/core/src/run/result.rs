//! What a run gave: the same for run, stream and resume.

use super::loops::LoopRun;
use super::machine::{Ended, Machine};
use super::node::{Kind, Node, NodeId, ScopeId};
use crate::budget::{Cost, Money};
use crate::event::{
    Changes, LoopEnd, OpenApproval, OpenQuestion, RunReason, RunStatus, Sensitive, SkippedBecause, StepStatus,
};
use crate::fault::Fault;
use crate::id::{RunId, StepPath};
use crate::message::Usage;
use crate::spec::workflow::LoopKind;
use crate::time::Timestamp;
use crate::value::{self, Map};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a run gave.
#[derive(Clone, Debug, Serialize)]
pub struct RunResult {
    /// The run.
    pub run_id: RunId,
    /// The document's name.
    pub workflow: String,
    /// SHA-256 over the document and the files it names: which version of it ran.
    pub workflow_id: String,
    /// How it ended.
    pub status: RunStatus,
    /// Why, when it failed as a whole, or waits for a higher budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<RunReason>,
    /// What it returns.
    pub output: Value,
    /// What its coordinator says that it came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Arc<str>>,
    /// Every step in declaration order, with one entry for each iteration. Of a run that waits, the steps that ended.
    pub steps: Vec<StepResult>,
    /// The steps in the order in which they ended; skipped and cancelled ones are not in it.
    pub execution_path: Vec<StepPath>,
    /// Tokens of all steps.
    pub usage: Usage,
    /// The same by model, for agents that a model drives.
    pub usage_by_model: BTreeMap<Arc<str>, Usage>,
    /// What it cost, by the prices of when it was spent.
    pub cost: Cost,
    /// Every loop, in declaration order.
    pub loops: Vec<LoopResult>,
    /// How long it took from its beginning to its end, in milliseconds.
    pub duration_ms: u64,
    /// The same without the time in which no process worked on it: before it was resumed.
    pub worked_ms: u64,
    /// The first failure and its step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<StepFault>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What the caller said of the run.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map,
    /// The session that the caller counts the run to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Questions that the run waits with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<OpenQuestion>,
    /// Calls of tools that the run waits with: nobody has said whether they may be made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<OpenApproval>,
    /// When a run that waits may go on by itself: `resume` then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_at: Option<Timestamp>,
    /// What views of the result must not show; see [`Self::public`].
    #[serde(skip)]
    pub sensitive: Option<Arc<Sensitive>>,
}

/// A failure and where it happened.
#[derive(Clone, Debug, Serialize)]
pub struct StepFault {
    /// The step; empty for the run itself.
    pub step: StepPath,
    /// What failed.
    #[serde(flatten)]
    pub fault: Fault,
}

/// How a loop went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoopResult {
    /// The loop.
    pub path: StepPath,
    /// How many items it had, if it is one over items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<usize>,
    /// The most iterations it may have, if it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_iterations: Option<u32>,
    /// How many iterations began.
    pub iterations: usize,
    /// How many of them completed.
    pub completed: usize,
    /// The last iteration that began, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_iteration: Option<usize>,
    /// What ended it; absent when it could not be walked to an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<LoopEnd>,
}

/// What a step gave.
#[derive(Clone, Debug, Serialize)]
pub struct StepResult {
    /// Where in the run.
    pub path: StepPath,
    /// How it ended.
    pub status: StepStatus,
    /// Its text.
    pub content: Arc<str>,
    /// Its data.
    pub result: Arc<Value>,
    /// How many tries it took; 0 when it never started.
    pub attempts: u32,
    /// Tokens of all tries; of a step that holds others, those of all inside.
    pub usage: Usage,
    /// What they cost; absent when that is not known, or no model was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
    /// When its first try began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// How long it took, waits between tries included, in milliseconds.
    pub duration_ms: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped_because: Option<SkippedBecause>,
    /// The agent ran out of turns.
    pub truncated: bool,
    /// Inputs of its prompt that were shortened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub truncated_inputs: Vec<String>,
    /// What its last try changed in a directory of its own; none when it had none, or changed nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Arc<Changes>>,
    /// What the document says about it, and its agent.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map,
}

impl RunResult {
    /// Whether all is done.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == RunStatus::Completed
    }

    /// The output as text: strings as they are, other values as JSON.
    #[must_use]
    pub fn final_output(&self) -> String {
        match &self.output {
            Value::Null => String::new(),
            output => value::to_text(output),
        }
    }

    /// Input and output tokens together.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.usage.total()
    }

    /// The result of a step by its path.
    #[must_use]
    pub fn step(&self, path: &str) -> Option<&StepResult> {
        self.steps.iter().find(|step| step.path.as_str() == path)
    }
}

impl Machine {
    /// Whether the run itself has warned of this.
    #[must_use]
    pub fn has_warned(&self, message: &str) -> bool {
        self.warnings.iter().any(|warning| warning == message)
    }

    fn worked_ms(&self, started: Timestamp, at: Timestamp) -> u64 {
        // What was copied from another run was before this one's time.
        let rested = self.outages().iter().map(|(from, to)| millis((*from).max(started), *to));
        rested.fold(millis(started, at), u64::saturating_sub)
    }

    /// The result of a run that has ended; none before that.
    #[must_use]
    pub fn result(&self, run_id: &RunId) -> Option<RunResult> {
        let Ended { at, status, reason, output, error } = self.ended.as_ref()?;
        let mut steps = Vec::with_capacity(self.nodes.len());
        self.collect(ScopeId(0), &mut steps);
        let of_a_step = self.first_failure().filter(|(_, fault)| Some(*fault) == error.as_ref());
        let step = of_a_step.map(|(path, _)| path.clone()).unwrap_or_default();
        Some(RunResult {
            run_id: run_id.clone(),
            workflow: self.workflow.name.clone(),
            workflow_id: self.workflow.hash.clone(),
            status: *status,
            reason: *reason,
            output: output.clone(),
            steps,
            execution_path: self.execution_path(),
            usage: self.usage(),
            summary: self.summary().cloned(),
            usage_by_model: self.usage_by_model.clone(),
            cost: self.cost(),
            loops: self.loops(),
            duration_ms: self.started.map_or(0, |started| millis(started, *at)),
            worked_ms: self.started.map_or(0, |started| self.worked_ms(started, *at)),
            error: error.clone().map(|fault| StepFault { step, fault }),
            warnings: self.warnings.clone(),
            metadata: Map::new(),
            session: None,
            questions: self.waits.open_questions().cloned().collect(),
            approvals: self.waits.open_approvals().cloned().collect(),
            resume_at: self.postponed_until().filter(|_| *status == RunStatus::Waiting),
            sensitive: None,
        })
    }

    fn loops(&self) -> Vec<LoopResult> {
        let completed = |id: &&NodeId| self.node(**id).state.status() == Some(StepStatus::Completed);
        fn walked(node: &Node) -> Option<(&Node, &LoopRun)> {
            match &node.kind {
                Kind::Loop(run) if node.started.is_some() => Some((node, run)),
                _ => None,
            }
        }
        // Of a loop that was tried again as part of a larger step, the last try counts.
        let last =
            |(node, _): &(&Node, &LoopRun)| self.find(&node.path).is_some_and(|id| std::ptr::eq(self.node(id), *node));
        let loops = self.nodes.iter().filter_map(walked).filter(last);
        loops
            .map(|(node, run)| {
                let step = self.scope(node.scope).scope.steps.get(node.step);
                let most = step.and_then(|step| match step.repeat.as_ref().map(|repeat| &repeat.kind) {
                    Some(LoopKind::Repeat(repeat)) => Some(repeat.max_iterations),
                    _ => None,
                });
                LoopResult {
                    path: node.path.clone(),
                    items: most.is_none().then_some(run.items.len()),
                    max_iterations: most,
                    iterations: run.iterations.len(),
                    completed: run.iterations.iter().filter(completed).count(),
                    last_iteration: run.iterations.len().checked_sub(1),
                    because: run.ended,
                }
            })
            .collect()
    }

    fn execution_path(&self) -> Vec<StepPath> {
        let ran = |node: &&Node| matches!(node.state.status(), Some(StepStatus::Completed | StepStatus::Failed));
        self.order_of_ends.iter().map(|&id| self.node(id)).filter(ran).map(|node| node.path.clone()).collect()
    }

    /// The results of a scope's steps, each loop followed by its iterations; gives the tokens of all of them.
    fn collect(&self, scope: ScopeId, into: &mut Vec<StepResult>) -> Usage {
        let mut sum = Usage::default();
        let Some(run) = self.scopes.get(scope.0 as usize) else { return sum };
        for step in 0..run.scope.steps.len() {
            let id = self.member(scope, step);
            sum += self.collect_with(id, into, |into| match &self.node(id).kind {
                Kind::Group(Some(scope)) => self.collect(*scope, into),
                Kind::Loop(run) => self.collect_iterations(run, into),
                _ => self.node(id).usage,
            });
        }
        sum
    }

    /// The iterations of a loop, each followed by its steps and its judge.
    fn collect_iterations(&self, run: &LoopRun, into: &mut Vec<StepResult>) -> Usage {
        let mut sum = Usage::default();
        let mut judges = run.judges.iter().copied().peekable();
        for &iteration in &run.iterations {
            let (scope, index) = match self.node(iteration).kind {
                Kind::Body { scope, index, .. } => (Some(scope), index),
                Kind::Repeat { index, .. } => (None, index),
                _ => continue,
            };
            sum += self.collect_with(iteration, into, |into| match scope {
                Some(scope) => self.collect(scope, into),
                None => self.node(iteration).usage,
            });
            let own = |id: &NodeId| matches!(self.node(*id).kind, Kind::Judge { index: of, .. } if of == index);
            while let Some(judge) = judges.next_if(own) {
                sum += self.collect_with(judge, into, |_| self.node(judge).usage);
            }
        }
        sum
    }

    /// A step and what is inside it, whose tokens are the step's.
    fn collect_with(
        &self,
        id: NodeId,
        into: &mut Vec<StepResult>,
        inside: impl FnOnce(&mut Vec<StepResult>) -> Usage,
    ) -> Usage {
        let at = into.len();
        into.extend(self.step_result(id));
        let usage = inside(into);
        if let Some(own) = into.get_mut(at).filter(|own| own.path == self.node(id).path) {
            own.usage = usage;
        }
        usage
    }

    /// How a step ended; none for one that a waiting run has not come to.
    fn step_result(&self, id: NodeId) -> Option<StepResult> {
        let node = self.node(id);
        let waits = self.ended.as_ref().is_some_and(|ended| ended.status == RunStatus::Waiting);
        let status = node.state.status().or((!waits).then_some(StepStatus::Cancelled))?;
        Some(StepResult {
            path: node.path.clone(),
            status,
            content: Arc::clone(&node.output.content),
            result: Arc::clone(&node.output.result),
            attempts: node.attempt,
            usage: node.usage,
            cost: self.cost_of(&node.path),
            started_at: node.started,
            duration_ms: node.started.zip(node.ended).map_or(0, |(started, ended)| millis(started, ended)),
            error: node.error.clone(),
            skipped_because: node.skipped.as_ref().map(|(because, _)| *because),
            truncated: node.output.truncated,
            truncated_inputs: node.truncated_inputs.clone(),
            changes: node.changes.clone(),
            metadata: metadata(&self.step(id).metadata, &node.output.metadata),
        })
    }
}

/// What the document says about a step, and what its agent told; the document wins.
fn metadata(of_document: &Map, of_agent: &Map) -> Map {
    let mut all = of_agent.clone();
    all.extend(of_document.clone());
    all
}

fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}
