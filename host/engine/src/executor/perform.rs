//! Performs what the machine asks for.

use super::run::Run;
use super::{Answer, Wake};
use crate::attempt::timed_out;
use cofferdam_core::event::{Body, RunReason, RunStatus, StepOutput, StepStatus};
use cofferdam_core::expr::{EvalError, Expr};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::message::Usage;
use cofferdam_core::run::{Effect, Emission, NodeState};
use cofferdam_core::value::Map;
use futures_util::FutureExt as _;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;

impl Run {
    /// Performs an effect; gives the event that follows at once, if one does.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Emission> {
        match effect {
            Effect::Emit(emission) => return Some(*emission),
            Effect::Decide(path) => self.decide_when_admitted(path),
            Effect::Expand(path) => return self.expand(path),
            Effect::Ask(path) => self.ask(path),
            Effect::While { path, index } => self.check_while(path, index),
            Effect::Until { path, index } => self.check_until(path, index),
            Effect::Gather(path) => self.gather(path),
            Effect::Start { path, attempt } => return self.start(path, attempt),
            Effect::Wait { path, delay } => self.wake_after(delay, Wake::Due(path)),
            Effect::Watch { path, timeout } => self.wake_after_own_time(&path.clone(), timeout, Wake::Expired(path)),
            Effect::Cancel(path) => return self.cancel(path),
            Effect::Conclude if self.machine.may_conclude() => return self.conclude(),
            Effect::Conclude => {}
        }
        None
    }

    /// Evaluates on the threads for expressions and sends what follows to the loop: the answer, or that the step's
    /// time is over. An evaluation cannot be stopped, but nobody waits for it any longer.
    pub(super) fn evaluate(
        &mut self,
        path: StepPath,
        expr: Expr,
        variables: Map,
        then: impl FnOnce(Result<Value, EvalError>) -> Answer + Send + 'static,
    ) {
        let (inbox, end) = (self.inbox.clone(), path.clone());
        let answered = Arc::new(AtomicBool::new(false));
        let (evaluated, evaluation) = oneshot::channel();
        let first = Arc::clone(&answered);
        self.evaluator.evaluate(expr, variables, move |outcome| {
            let answer = then(outcome);
            if !first.swap(true, Ordering::Relaxed) {
                inbox.send(Wake::Answered { path: end, answer });
            }
            drop::<oneshot::Sender<()>>(evaluated);
        });
        if !answered.load(Ordering::Relaxed) {
            self.end_in_time(path, answered, evaluation);
        }
    }

    /// Fails the step when its time is over before the evaluation is. What was evaluated before does not count.
    fn end_in_time(&mut self, path: StepPath, answered: Arc<AtomicBool>, evaluation: oneshot::Receiver<()>) {
        // The time of what is open already is watched from its beginning on.
        let begins = matches!(self.machine.state_of(&path), Some(NodeState::Deciding | NodeState::Expanding));
        let Some((left, whole)) = self.time_left(&path).filter(|_| begins) else { return };
        let (inbox, sleep) = (self.inbox.clone(), self.ports.clock.sleep(left));
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                _ = evaluation => {}
                () = sleep => if !answered.swap(true, Ordering::Relaxed) {
                    let answer = failed(timed_out(&path, whole)).into();
                    inbox.send(Wake::Answered { path, answer });
                },
            }
        });
    }

    /// Does something that takes a while and sends what follows to the loop; a panic in it fails the step.
    pub(super) fn answer_later(&mut self, path: StepPath, work: impl Future<Output = Answer> + Send + 'static) {
        let inbox = self.inbox.clone();
        self.tasks.spawn(async move {
            let answer = AssertUnwindSafe(work)
                .catch_unwind()
                .await
                .unwrap_or_else(|_| failed(Fault::bug(format!("what step `{path}` waited for panicked"))).into());
            inbox.send(Wake::Answered { path, answer });
        });
    }

    fn cancel(&mut self, path: StepPath) -> Option<Emission> {
        if let Some(question) = self.questions.remove(&path) {
            question.abort();
        } else if !self.abandon(&path) {
            return None;
        }
        let body = Body::StepCancelled { detail: "stopped while it was under way".to_owned() };
        Some(Emission { path, attempt: None, body })
    }

    /// The end of the run, once whoever starts its steps has said whether it failed.
    pub(super) fn conclude(&mut self) -> Option<Emission> {
        if self.waits_for_starter() {
            return None;
        }
        let (status, error) = self.outcome();
        let (_, reason) = self.machine.verdict();
        let usage = self.machine.usage();
        let finished = move |output: Value| Body::RunFinished { status, reason, output, usage, error };
        match self.machine.workflow().output.clone() {
            Some(expr) if matches!(status, RunStatus::Completed | RunStatus::Partial) => {
                self.concluding = true;
                let variables = self.machine.variables(&StepPath::ROOT, &expr);
                self.evaluate(StepPath::ROOT, expr, variables, move |outcome| match outcome {
                    Ok(output) => finished(output).into(),
                    // What failed is known already, and the output may well read it.
                    Err(_) if status == RunStatus::Partial => finished(Value::Null).into(),
                    Err(error) => output_failed(&error, usage).into(),
                });
                None
            }
            _ => {
                let body = finished(self.machine.default_output());
                Some(Emission { path: StepPath::ROOT, attempt: None, body })
            }
        }
    }

    /// The end of a run that was stopped while its output was evaluated; the output comes too late.
    pub(super) fn stopped_short(&self) -> Option<Emission> {
        if !self.concluding {
            return None;
        }
        let (status, reason) = self.machine.verdict();
        let (usage, error) = (self.machine.usage(), self.failure(status, reason));
        let body = Body::RunFinished { status, reason, output: Value::Null, usage, error };
        Some(Emission { path: StepPath::ROOT, attempt: None, body })
    }

    /// How the run ends, and what it failed of.
    fn outcome(&self) -> (RunStatus, Option<Fault>) {
        let (status, reason) = self.machine.verdict();
        match &self.starter_failed {
            Some(fault) if reason.is_none() => (RunStatus::Failed, Some(fault.clone())),
            _ => (status, self.failure(status, reason)),
        }
    }

    /// What the run failed of. A completed run has not failed, whatever was ignored on the way.
    fn failure(&self, status: RunStatus, reason: Option<RunReason>) -> Option<Fault> {
        match (status, reason, self.timeout()) {
            (RunStatus::Completed | RunStatus::Waiting, _, _) => None,
            (_, Some(RunReason::Deadlock), _) => self.deadlock.clone(),
            (_, Some(RunReason::Timeout), Some(timeout)) => {
                Some(Fault::step("timeout", format!("the run was not done within {timeout:?}")))
            }
            _ => self.machine.first_failure().map(|(_, fault)| fault.clone()),
        }
    }
}

/// Every step is done, but what the run should return cannot be had.
fn output_failed(error: &EvalError, usage: Usage) -> Body {
    Body::RunFinished {
        status: RunStatus::Failed,
        reason: None,
        output: Value::Null,
        usage,
        error: Some(Fault::step("output", format!("cannot evaluate `output`: {error}"))),
    }
}

/// The end of a step that failed before it gave anything.
pub(super) fn failed(fault: Fault) -> Body {
    failed_with(fault, StepOutput::default())
}

/// The end of a step that failed and keeps what it had.
pub(super) fn failed_with(fault: Fault, output: StepOutput) -> Body {
    Body::StepFinished {
        status: StepStatus::Failed,
        output,
        error: Some(fault),
        usage: Usage::default(),
        truncated_inputs: Vec::new(),
    }
}

/// The end of a step that gave something without a try.
pub(super) fn completed(output: StepOutput) -> Body {
    Body::StepFinished {
        status: StepStatus::Completed,
        output,
        error: None,
        usage: Usage::default(),
        truncated_inputs: Vec::new(),
    }
}
