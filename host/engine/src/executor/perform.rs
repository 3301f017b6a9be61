//! Performs what the machine asks for.

use super::Wake;
use super::run::Run;
use cofferdam_core::budget::Money;
use cofferdam_core::event::{Body, RunReason, RunStatus, StepOutput, StepStatus};
use cofferdam_core::expr::EvalError;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::message::Usage;
use cofferdam_core::run::{Effect, Emission};
use serde_json::Value;

impl Run {
    /// Performs an effect; gives the event that follows at once, if one does.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Emission> {
        match self.admit(effect)? {
            Effect::Emit(emission) => return Some(*emission),
            Effect::Decide(path) => self.decide_when_admitted(&path),
            Effect::Expand(path) => return self.expand(path),
            Effect::Ask(path) => self.ask(path),
            Effect::While { path, index } => self.check_while(&path, index),
            Effect::Until { path, index } => self.check_until(&path, index),
            Effect::Gather(path) => self.gather(&path),
            Effect::Start { path, attempt } | Effect::Resume { path, attempt } => return self.start(path, attempt),
            Effect::Wait { path, delay, since } => return self.rest(path, delay, since),
            Effect::Watch { path, timeout } => self.wake_after_own_time(&path.clone(), timeout, Wake::Expired(path)),
            Effect::Cancel(path) => return self.cancel(path),
            Effect::Conclude if self.machine.may_conclude() => return self.conclude(),
            Effect::Conclude => {}
        }
        None
    }

    fn cancel(&mut self, path: StepPath) -> Option<Emission> {
        if let Some(question) = self.questions.remove(&path) {
            question.abort();
        } else if !self.abandon(&path) {
            return None;
        }
        let detail = self.called_off.remove(&path).unwrap_or_else(|| "stopped while it was under way".to_owned());
        let body = Body::StepCancelled { detail };
        Some(Emission { path, attempt: None, body })
    }

    /// The end of the run, once whoever starts its steps has said whether it failed.
    pub(super) fn conclude(&mut self) -> Option<Emission> {
        if self.waits_for_starter() || self.waits_for_coordinator() {
            return None;
        }
        let (status, error) = self.outcome();
        let (_, reason) = self.machine.verdict();
        let (usage, cost) = (self.machine.usage(), self.machine.known_cost());
        let finished = move |output: Value| Body::RunFinished { status, reason, output, usage, cost, error };
        match self.machine.workflow().output.clone() {
            Some(expr) if matches!(status, RunStatus::Completed | RunStatus::Partial) => {
                self.concluding = true;
                let variables = self.machine.variables(&StepPath::ROOT, &expr);
                let work = move || expr.evaluate(&variables);
                self.evaluate(&StepPath::ROOT, work, move |outcome| match outcome {
                    Ok(output) => finished(output).into(),
                    // What failed is known already, and the output may well read it.
                    Err(_) if status == RunStatus::Partial => finished(Value::Null).into(),
                    Err(error) => output_failed(unevaluated(&error), usage, cost).into(),
                });
                None
            }
            _ => {
                let body = match self.machine.default_output() {
                    Ok(output) => finished(output),
                    Err(fault) => output_failed(fault, usage, cost),
                };
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
        let (usage, cost) = (self.machine.usage(), self.machine.known_cost());
        let error = self.failure(status, reason);
        let body = Body::RunFinished { status, reason, output: Value::Null, usage, cost, error };
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
            (_, Some(RunReason::Budget), _) => self.budget_fault(),
            (_, Some(RunReason::Timeout), Some(timeout)) => {
                Some(Fault::step("timeout", format!("the run was not done within {timeout:?}")))
            }
            _ => self.machine.first_failure().map(|(_, fault)| fault.clone()),
        }
    }
}

/// Every step is done, but what the run should return cannot be had.
pub(crate) fn output_failed(fault: Fault, usage: Usage, cost: Option<Money>) -> Body {
    let (status, error) = (RunStatus::Failed, Some(fault));
    Body::RunFinished { status, reason: None, output: Value::Null, usage, cost, error }
}

pub(crate) fn unevaluated(error: &EvalError) -> Fault {
    Fault::step("output", format!("cannot evaluate `output`: {error}"))
}

/// The end of a step that failed before it gave anything.
pub(crate) fn failed(fault: Fault) -> Body {
    failed_with(fault, StepOutput::default())
}

/// The end of a step that failed and keeps what it had.
pub(crate) fn failed_with(fault: Fault, output: StepOutput) -> Body {
    Body::StepFinished {
        status: StepStatus::Failed,
        output,
        error: Some(fault),
        usage: Usage::default(),
        truncated_inputs: Vec::new(),
    }
}

/// The end of a step that gave something without a try.
pub(crate) fn completed(output: StepOutput) -> Body {
    Body::StepFinished {
        status: StepStatus::Completed,
        output,
        error: None,
        usage: Usage::default(),
        truncated_inputs: Vec::new(),
    }
}
