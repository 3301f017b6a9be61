//! What happened in a stretch of a run, in few words: what a fold of its events comes to, for a resume that need not read
//! them all.
//!
//! Tries that began and completed within the stretch are one line each; what has no effect on the state is left out, all
//! else stands as it is. It must not know where the text is kept.

use super::machine::Machine;
use super::node::NodeState;
use crate::budget::Money;
use crate::event::{self, Body, RunEvent, StepOutput, StepStatus};
use crate::id::{RunId, StepPath};
use crate::message::Usage;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// One thing that happened.
#[derive(Debug, Serialize, Deserialize)]
enum Entry<'e> {
    /// A try that completed: path, number, when it began and ended in milliseconds, content, data, tokens, tokens by model.
    #[serde(rename = "d")]
    Done(#[serde(borrow)] Cow<'e, str>, u32, i64, i64, Arc<str>, Arc<Value>, Usage, Vec<(Arc<str>, Usage)>),
    /// What the completed try that follows cost, turn by turn, and how many tools it called.
    #[serde(rename = "s")]
    Spent(Vec<Option<Money>>, u64),
    /// An iteration began: its path, its index, when.
    #[serde(rename = "i")]
    Begun(#[serde(borrow)] Cow<'e, str>, u32, i64),
    /// An iteration ended: its path, its index, how, when.
    #[serde(rename = "f")]
    Ended(#[serde(borrow)] Cow<'e, str>, u32, StepStatus, i64),
    /// An event as it is.
    #[serde(rename = "e")]
    Event(Box<RunEvent>),
}

/// A try within the stretch.
#[derive(Default)]
struct Try {
    /// Where its events stand.
    events: Vec<usize>,
    models: Vec<(Arc<str>, Usage)>,
    /// What sub-agents spent.
    below: Usage,
    /// What the turns cost, in the same order.
    costs: Vec<Option<Money>>,
    calls: u64,
    started: Option<Timestamp>,
}

/// The stretch in few words; none when what it holds is too much to be kept twice.
#[must_use]
pub fn digest(events: &[Arc<RunEvent>], most_bytes: usize) -> Option<String> {
    let merged = merge(events);
    let entries = events.iter().zip(merged).flat_map(|(event, fate)| match fate {
        Fate::Gone => [None, None],
        Fate::Done(entry, spent) => [spent.map(|spent| *spent), Some(*entry)],
        Fate::Stays => [None, Some(plain(event))],
    });
    let entries = entries.flatten();
    let mut text = String::from("[");
    for entry in entries {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(&entry).ok()?);
        if text.len() > most_bytes {
            return None;
        }
    }
    text.push(']');
    Some(text)
}

impl Try {
    /// What it spent, beside the tokens; none when there is nothing to tell.
    fn spent<'e>(&self) -> Option<Entry<'e>> {
        let told = self.calls > 0 || self.costs.iter().any(Option::is_some);
        told.then(|| Entry::Spent(self.costs.clone(), self.calls))
    }
}

/// What becomes of an event.
enum Fate<'e> {
    Stays,
    /// Another one stands for it, or it changes nothing.
    Gone,
    /// With what it spent, if it did.
    Done(Box<Entry<'e>>, Option<Box<Entry<'e>>>),
}

fn merge(events: &[Arc<RunEvent>]) -> Vec<Fate<'_>> {
    let mut fates: Vec<Fate<'_>> = events.iter().map(|_| Fate::Stays).collect();
    let mut tries: HashMap<&StepPath, Try> = HashMap::new();
    for (place, event) in events.iter().enumerate() {
        match &event.body {
            // What comes before this one is folded differently by it.
            Body::RunResumed { .. } => tries.clear(),
            // Whether a judge is there already is a matter of its loop.
            Body::StepReady {} | Body::StepStarted { .. } if is_judge(&event.path) => {}
            Body::StepReady {} => drop(tries.insert(&event.path, Try { events: vec![place], ..Try::default() })),
            Body::StepStarted { items: None, inputs: None, .. } if event.attempt.is_some() => {
                let own = tries.entry(&event.path).or_default();
                own.events.push(place);
                own.started = Some(event.at);
            }
            Body::StepFinished { status: StepStatus::Completed, .. } => {
                let Some(own) = tries.remove(&event.path) else { continue };
                if let Some(done) = done(event, &own) {
                    own.events.iter().for_each(|&place| put(&mut fates, place, Fate::Gone));
                    put(&mut fates, place, Fate::Done(Box::new(done), own.spent().map(Box::new)));
                }
            }
            body => note(&mut tries, place, event, body),
        }
    }
    fates
}

fn put<'e>(fates: &mut [Fate<'e>], place: usize, fate: Fate<'e>) {
    if let Some(slot) = fates.get_mut(place) {
        *slot = fate;
    }
}

/// Counts an event to its try, or gives up merging that.
fn note<'e>(tries: &mut HashMap<&'e StepPath, Try>, place: usize, event: &'e RunEvent, body: &Body) {
    let step = event.path.is_delegate().then(|| event.path.step());
    let Some(own) = tries.get_mut(step.as_ref().unwrap_or(&event.path)) else { return };
    match body {
        Body::TurnFinished { model, usage, cost, .. }
        | Body::TurnFailed { model, usage, cost, .. }
        | Body::Spent(event::Spending { model, usage, cost }) => {
            own.models.push((Arc::clone(model), *usage));
            own.costs.push(*cost);
            if step.is_some() {
                own.below += *usage;
            }
        }
        Body::ToolCallStarted { .. } => own.calls += 1,
        Body::TurnStarted { .. }
        | Body::ToolCallFinished { .. }
        | Body::PermissionDecided { .. }
        | Body::EffectDecided { .. }
        | Body::PluginDenied { .. }
        | Body::PluginFailed { .. } => {}
        // It stays where it is and is no obstacle.
        Body::VariableSet { .. }
        | Body::MemoryWritten { .. }
        | Body::MemoryDeleted { .. }
        | Body::MemorySeen(_)
        | Body::Warning { .. }
        | Body::BudgetExhausted(_) => return,
        _ => return drop(tries.remove(step.as_ref().unwrap_or(&event.path))),
    }
    own.events.push(place);
}

fn is_judge(path: &StepPath) -> bool {
    path.as_str().contains(".judge[")
}

fn done<'e>(event: &'e RunEvent, own: &Try) -> Option<Entry<'e>> {
    let Body::StepFinished { output, error: None, usage, truncated_inputs, .. } = &event.body else { return None };
    let StepOutput { content, result, truncated: false, metadata } = output else { return None };
    let (attempt, started) = (event.attempt?, own.started?);
    let plain = truncated_inputs.is_empty() && metadata.is_empty();
    plain.then(|| {
        let (content, result) = (Arc::clone(content), Arc::clone(result));
        let (path, models, mut spent) = (event.path.as_str().into(), own.models.clone(), *usage);
        spent += own.below;
        Entry::Done(path, attempt, started.as_millis(), event.at.as_millis(), content, result, spent, models)
    })
}

fn plain(event: &RunEvent) -> Entry<'_> {
    match &event.body {
        Body::LoopIterationStarted { index } => Entry::Begun(event.path.as_str().into(), *index, event.at.as_millis()),
        Body::LoopIterationFinished { index, status } => {
            Entry::Ended(event.path.as_str().into(), *index, *status, event.at.as_millis())
        }
        _ => Entry::Event(Box::new(event.clone())),
    }
}

impl Machine {
    /// Takes in what [`digest`] made of a stretch of events; `see` gets those that stand in it as they are.
    ///
    /// # Errors
    /// When the text is none of its making.
    pub fn fold_digest(
        &mut self,
        run: &RunId,
        text: &str,
        mut see: impl FnMut(&RunEvent),
    ) -> Result<(), serde_json::Error> {
        let entries: Vec<Entry<'_>> = serde_json::from_str(text)?;
        let mut spent = (Vec::new(), 0);
        for entry in entries {
            match entry {
                Entry::Spent(costs, calls) => spent = (costs, calls),
                Entry::Event(event) => {
                    self.fold(&event);
                    see(&event);
                }
                Entry::Begun(path, index, at) => {
                    self.fold(&event(run, &path, at, Body::LoopIterationStarted { index }));
                }
                Entry::Ended(path, index, status, at) => {
                    self.fold(&event(run, &path, at, Body::LoopIterationFinished { index, status }));
                }
                Entry::Done(path, attempt, started, ended, content, result, usage, models) => {
                    let output = StepOutput { content, result, ..StepOutput::default() };
                    let path = StepPath::from(&*path);
                    let spent = (std::mem::take(&mut spent), models.as_slice(), &usage);
                    self.fold_spending(&path, (attempt, started, ended), spent);
                    for (model, usage) in models {
                        *self.usage_by_model.entry(model).or_default() += usage;
                    }
                    let times = (Timestamp::from_millis(started), Timestamp::from_millis(ended));
                    self.fold_done(&path, (attempt, times), output, usage);
                }
            }
        }
        Ok(())
    }

    fn fold_done(
        &mut self,
        path: &StepPath,
        (attempt, (started, ended)): (u32, (Timestamp, Timestamp)),
        output: StepOutput,
        usage: Usage,
    ) {
        self.last_event = ended;
        let Some(id) = self.find(path) else { return };
        self.ready(id);
        if !matches!(self.node(id).state, NodeState::Queued | NodeState::Resting) {
            return;
        }
        let node = self.node_mut(id);
        node.open_calls.clear();
        node.resuming = false;
        node.attempt = attempt;
        node.started.get_or_insert(started);
        node.output = output;
        node.error = None;
        node.turns = usage;
        self.waits.forget(path);
        self.end(id, StepStatus::Completed, ended);
    }
}

fn event(run: &RunId, path: &str, at: i64, body: Body) -> RunEvent {
    RunEvent {
        seq: 0,
        sub: None,
        at: Timestamp::from_millis(at),
        run_id: run.clone(),
        path: path.into(),
        attempt: None,
        body,
    }
}
