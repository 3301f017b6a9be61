//! What takes a while and ends as an answer: evaluations, closures, whatever else the loop must not wait for.
//!
//! An answer counts for the opening of the step that it was asked for and for no later one. Evaluations hold copies of
//! what they read, so only so many are prepared at once; the others are held until there is room.

use super::perform::failed;
use super::run::{Pass, Run};
use super::{Answer, Wake};
use crate::attempt::timed_out;
use crate::recorder::Inbox;
use cofferdam_core::expr::EvalError;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::run::{Effect, Instance, NodeState};
use futures_util::FutureExt as _;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Evaluations under way, and the effects that wait until there is room for theirs.
#[derive(Default)]
pub(super) struct Evaluations {
    under_way: usize,
    held: VecDeque<(Effect, StepPath, Instance)>,
}

/// An evaluation under way, as long as it lives.
pub(super) struct Evaluating(Inbox);

impl Drop for Evaluating {
    fn drop(&mut self) {
        self.0.send(Wake::Evaluated);
    }
}

/// Answers the loop once, whoever is first.
#[derive(Clone)]
pub(super) struct Ticket {
    inbox: Inbox,
    path: StepPath,
    instance: Instance,
    answered: Arc<AtomicBool>,
}

impl Ticket {
    pub(super) fn answer(&self, answer: Answer) {
        if !self.answered.swap(true, Ordering::Relaxed) {
            self.inbox.send(Wake::Answered { path: self.path.clone(), instance: self.instance, answer });
        }
    }
}

impl Run {
    /// What answers for the step as it stands now.
    pub(super) fn ticket(&self, path: &StepPath) -> Ticket {
        Ticket {
            inbox: self.inbox.clone(),
            path: path.clone(),
            instance: self.machine.instance(path),
            answered: Arc::default(),
        }
    }

    /// Holds an effect back while too many evaluations are under way; gives it when it may be performed.
    pub(super) fn admit(&mut self, effect: Effect) -> Option<Effect> {
        if self.evaluations.under_way < limits::EVALUATIONS {
            return Some(effect);
        }
        let Some(path) = evaluated(&effect).cloned() else { return Some(effect) };
        let instance = self.machine.instance(&path);
        self.evaluations.held.push_back((effect, path, instance));
        None
    }

    /// An evaluation has ended: there is room for what was held back, where it is still wanted.
    pub(super) fn release(&mut self, pass: &mut Pass) {
        self.evaluations.under_way = self.evaluations.under_way.saturating_sub(1);
        while self.evaluations.under_way < limits::EVALUATIONS {
            let Some((effect, path, instance)) = self.evaluations.held.pop_front() else { return };
            let wanted = self.machine.admits(&path, None) && self.machine.instance(&path) == instance;
            if wanted {
                pass.queue.extend(self.perform(effect));
            }
        }
    }

    /// Counts an evaluation; it ends when what this gives is dropped.
    pub(super) fn evaluating(&mut self) -> Evaluating {
        self.evaluations.under_way += 1;
        Evaluating(self.inbox.clone())
    }

    /// Evaluates on the threads for expressions and sends what follows to the loop: the answer, or that the step's
    /// time is over. An evaluation cannot be stopped, but nobody waits for it any longer.
    pub(super) fn evaluate<T>(
        &mut self,
        path: &StepPath,
        work: impl FnOnce() -> Result<T, EvalError> + Send + 'static,
        then: impl FnOnce(Result<T, EvalError>) -> Answer + Send + 'static,
    ) {
        let (ticket, evaluating) = (self.ticket(path), self.evaluating());
        let (evaluated, evaluation) = oneshot::channel::<()>();
        let first = ticket.clone();
        self.evaluator.evaluate(work, move |outcome| {
            first.answer(then(outcome));
            drop((evaluating, evaluated));
        });
        if let (false, Some((left, whole))) = (ticket.answered.load(Ordering::Relaxed), self.time_to_begin(path)) {
            let sleep = self.ports.clock.sleep(left);
            self.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    _ = evaluation => {}
                    () = sleep => ticket.answer(failed(timed_out(&ticket.path, whole)).into()),
                }
            });
        }
    }

    /// Does something that takes a while and sends what follows to the loop; a panic in it fails the step, and so does
    /// the end of the step's time.
    pub(super) fn answer_later(&mut self, path: &StepPath, work: impl Future<Output = Answer> + Send + 'static) {
        let ticket = self.ticket(path);
        let time = self.time_to_begin(path).map(|(left, whole)| (self.ports.clock.sleep(left), whole));
        self.tasks.spawn(async move {
            let work = AssertUnwindSafe(work).catch_unwind();
            let outcome = match time {
                None => work.await,
                Some((sleep, whole)) => tokio::select! {
                    biased;
                    outcome = work => outcome,
                    () = sleep => Ok(failed(timed_out(&ticket.path, whole)).into()),
                },
            };
            let panicked = |_| failed(Fault::bug(format!("what step `{}` waited for panicked", ticket.path))).into();
            ticket.answer(outcome.unwrap_or_else(panicked));
        });
    }

    /// What is left of a step's time before it begins, and the whole of it. The time of what is open already is watched
    /// from its beginning on.
    fn time_to_begin(&self, path: &StepPath) -> Option<(Duration, Duration)> {
        let begins = matches!(self.machine.state_of(path), Some(NodeState::Deciding | NodeState::Expanding));
        self.time_left(path).filter(|_| begins)
    }
}

/// The step for which an effect evaluates something that may be large.
fn evaluated(effect: &Effect) -> Option<&StepPath> {
    match effect {
        Effect::Decide(path) | Effect::Expand(path) | Effect::Gather(path) => Some(path),
        Effect::While { path, .. } | Effect::Until { path, .. } => Some(path),
        _ => None,
    }
}
