//! What the machine asked for and the record has not shown yet.

use super::same::agree;
use crate::event::{Body, LoopEnd, RunEvent};
use crate::id::StepPath;
use crate::limits;
use crate::run::loops::Phase;
use crate::run::machine::Machine;
use crate::run::node::{Kind, NodeState};
use crate::run::variables::Shared;
use crate::run::{Effect, Emission};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// A question that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) effect: Effect,
    /// Where in the record it was asked.
    pub(super) since: usize,
}

/// Everything that is owed, by step.
#[derive(Debug, Default)]
pub(super) struct Owed {
    events: BTreeMap<StepPath, VecDeque<Emission>>,
    questions: HashMap<StepPath, Vec<Question>>,
}

impl Owed {
    pub(super) fn take_in(&mut self, effects: Vec<Effect>, since: usize) {
        for effect in effects {
            let path = match &effect {
                Effect::Emit(emission) => {
                    self.announce(Emission::clone(emission));
                    continue;
                }
                // Time is an outside matter.
                Effect::Watch { .. } => continue,
                Effect::Conclude => StepPath::ROOT,
                effect => path_of(effect).clone(),
            };
            let own = self.questions.entry(path).or_default();
            if !own.iter().any(|known| known.effect == effect) {
                own.push(Question { effect, since });
            }
        }
    }

    pub(super) fn announce(&mut self, emission: Emission) {
        self.events.entry(emission.path.clone()).or_default().push_back(emission);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes the event off the list that is the recorded one; those before it must have lost their place meanwhile.
    /// `leniently`: the step was cut short, and of several reasons for that any may have been first.
    pub(super) fn settle(&mut self, machine: &Machine, event: &RunEvent, leniently: bool) -> bool {
        let Some(own) = self.events.get_mut(&event.path) else { return false };
        let same = |owed: &Emission| {
            let reasons = matches!((&owed.body, &event.body), (Body::StepCancelled { .. }, Body::StepCancelled { .. }));
            owed.attempt == event.attempt && ((leniently && reasons) || agree(&owed.body, &event.body))
        };
        let Some(at) = own.iter().position(same) else { return false };
        if own.iter().take(at).any(|owed| machine.expects(&owed.path, owed.attempt, &owed.body)) {
            return false;
        }
        own.drain(..=at);
        if own.is_empty() {
            self.events.remove(&event.path);
        }
        true
    }

    /// Forgets the events of a step.
    pub(super) fn forget(&mut self, path: &StepPath) {
        self.events.remove(path);
    }

    /// What of a step is owed and has a place.
    pub(super) fn event_of(&self, machine: &Machine, path: &StepPath) -> Option<&Emission> {
        self.events.get(path)?.iter().find(|owed| machine.expects(&owed.path, owed.attempt, &owed.body))
    }

    /// An event that is owed and should have been recorded by now.
    pub(super) fn left_out(&mut self, machine: &Machine) -> Option<&Emission> {
        self.events.retain(|_, own| {
            own.retain(|owed| machine.expects(&owed.path, owed.attempt, &owed.body) && !is_overtaken(machine, owed));
            !own.is_empty()
        });
        self.events.values().flatten().next()
    }

    /// The question that an event may be the answer to; of those that are not among `tried`.
    pub(super) fn question(&self, machine: &Machine, event: &RunEvent, tried: &[Effect]) -> Option<Question> {
        let around = [Some(event.path.clone()), owner(&event.path), judged(&event.path)];
        let open = around.into_iter().flatten().filter_map(|path| self.questions.get(&path)).flatten();
        let fits = |question: &&Question| {
            is_awaited(machine, &question.effect)
                && answers(&question.effect, event)
                && !tried.contains(&question.effect)
        };
        open.filter(fits).max_by_key(|question| question.since).cloned()
    }

    pub(super) fn remove(&mut self, effect: &Effect) {
        if let Some(own) = self.questions.get_mut(path_of(effect)) {
            own.retain(|question| question.effect != *effect);
        }
    }

    /// Forgets the questions of a step that nobody waits for any more.
    pub(super) fn prune(&mut self, machine: &Machine, path: &StepPath) {
        for path in [Some(path.clone()), owner(path)].into_iter().flatten() {
            if let Some(own) = self.questions.get_mut(&path) {
                own.retain(|question| is_awaited(machine, &question.effect));
                if own.is_empty() {
                    self.questions.remove(&path);
                }
            }
        }
    }
}

/// Whether the beginning of something was announced where nothing may begin any more.
fn is_overtaken(machine: &Machine, owed: &Emission) -> bool {
    let begins = matches!(owed.body, Body::StepReady {} | Body::StepStarted { .. } | Body::LoopIterationStarted { .. });
    let at = machine.find(&owed.path).or_else(|| machine.find(&owner(&owed.path)?));
    begins && at.is_some_and(|id| machine.is_halted(id) || machine.node(id).expired.is_some())
}

static ROOT: StepPath = StepPath::ROOT;

fn path_of(effect: &Effect) -> &StepPath {
    match effect {
        Effect::Emit(emission) => &emission.path,
        Effect::Decide(path)
        | Effect::Expand(path)
        | Effect::Ask(path)
        | Effect::Gather(path)
        | Effect::Cancel(path)
        | Effect::While { path, .. }
        | Effect::Until { path, .. }
        | Effect::Start { path, .. }
        | Effect::Resume { path, .. }
        | Effect::Wait { path, .. }
        | Effect::Watch { path, .. } => path,
        Effect::Conclude => &ROOT,
    }
}

/// The loop of the path `L[i]`.
pub(super) fn owner(path: &StepPath) -> Option<StepPath> {
    let inner = path.as_str().strip_suffix(']')?;
    inner.rsplit_once('[').map(|(owner, _)| StepPath::from(owner))
}

/// The loop of the path `L.judge[i]`.
fn judged(path: &StepPath) -> Option<StepPath> {
    owner(path)?.as_str().strip_suffix(".judge").map(StepPath::from)
}

/// Whether the state is still the one in which this was asked for.
fn is_awaited(machine: &Machine, effect: &Effect) -> bool {
    let state = machine.state_of(path_of(effect));
    match effect {
        Effect::Decide(_) => state == Some(NodeState::Deciding),
        Effect::Expand(_) => state == Some(NodeState::Expanding),
        Effect::Ask(_) => state == Some(NodeState::Asking),
        Effect::Gather(_) => state == Some(NodeState::Gathering),
        Effect::While { path, .. } | Effect::Until { path, .. } => {
            machine.find(path).is_some_and(|id| machine.is_evaluating(id))
        }
        Effect::Wait { path, .. } => machine.find(path).is_some_and(|id| match &machine.node(id).kind {
            _ if state == Some(NodeState::Resting) => true,
            Kind::Loop(run) => state == Some(NodeState::Open) && run.phase == Phase::Pausing,
            _ => false,
        }),
        Effect::Start { path, attempt } | Effect::Resume { path, attempt } => machine.admits(path, Some(*attempt)),
        Effect::Cancel(_) => matches!(state, Some(NodeState::Running | NodeState::Asking)),
        Effect::Conclude => true,
        Effect::Emit(_) | Effect::Watch { .. } => false,
    }
}

/// Whether an event can be what came of a question.
fn answers(effect: &Effect, event: &RunEvent) -> bool {
    let own = *path_of(effect) == event.path && event.attempt.is_none();
    let (ends, begins) =
        (matches!(event.body, Body::StepFinished { .. }), matches!(event.body, Body::StepStarted { .. }));
    let iterates = matches!(event.body, Body::LoopIterationStarted { .. });
    let postponed = matches!(event.body, Body::LoopPostponed { .. });
    match effect {
        Effect::Decide(_) => {
            let told = matches!(event.body, Body::StepReady {} | Body::StepSkipped { .. } | Body::BranchChosen { .. });
            own && (ends || told || matches!(event.body, Body::Warning { .. }))
        }
        Effect::Expand(_) => own && (begins || ends),
        Effect::Gather(_) => own && ends,
        Effect::Ask(_) => {
            own && (ends || matches!(event.body, Body::QuestionAsked { .. } | Body::QuestionAnswered { .. }))
        }
        Effect::While { .. } | Effect::Until { .. } => {
            let asks = matches!(event.body, Body::StepReady {}) && *path_of(effect) != event.path;
            iterates || asks || (own && (ends || postponed || matches!(event.body, Body::LoopFinished { .. })))
        }
        Effect::Wait { .. } => {
            // After the pause there may be no room for one more iteration.
            let full = matches!(event.body, Body::LoopFinished { because: LoopEnd::Failed, .. });
            iterates || (own && (begins || ends || full || postponed))
        }
        Effect::Start { attempt, .. } => {
            let over = ends || matches!(event.body, Body::StepRetrying { .. } | Body::StepWaiting(_));
            over && event.attempt == Some(*attempt) && *path_of(effect) == event.path
        }
        // The record says by itself when a message was read.
        Effect::Resume { .. } => false,
        Effect::Cancel(_) => own && matches!(event.body, Body::StepCancelled { .. }),
        Effect::Conclude => matches!(event.body, Body::RunFinished { .. }),
        Effect::Emit(_) | Effect::Watch { .. } => false,
    }
}

/// Variables and shared memory as they were: an evaluation beside a step that changes one may have read either.
#[derive(Debug, Default)]
pub(super) struct Earlier(VecDeque<(usize, Shared)>);

impl Earlier {
    /// Notes what they were before the event at this place changed them.
    pub(super) fn note(&mut self, at: usize, before: Shared) {
        if self.0.len() == limits::REPLAY_VARIABLE_STATES {
            self.0.pop_front();
        }
        self.0.push_back((at, before));
    }

    /// What they may have been for whoever looked at them after a place: how they are first.
    pub(super) fn since(&self, place: usize, now: &Shared) -> Vec<Shared> {
        let before = self.0.iter().rev().filter(|(at, _)| *at > place).map(|(_, shared)| shared.clone());
        [now.clone()].into_iter().chain(before).collect()
    }
}
