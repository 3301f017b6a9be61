//! The end of a try: its output within bounds, another try, or the step's failure.

use super::perform::failed;
use super::run::Run;
use crate::attempt::timed_out;
use cofferdam_core::event::{Body, StepOutput, StepStatus, Waiting};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{AgentFailure, AgentOutput};
use cofferdam_core::run::{Effect, Verdict};
use cofferdam_core::value;
use std::time::Duration;

impl Run {
    pub(super) fn end_of_attempt(&mut self, path: &StepPath, outcome: Result<AgentOutput, AgentFailure>) -> Body {
        let AgentOutput { output, usage } = match outcome {
            Ok(output) => output,
            Err(failure) => return self.end_without_output(path, failure),
        };
        if let Some(fault) = too_large(&output, self.machine.workflow().options.limits.step_output_bytes) {
            return self.end_of_failed_attempt(path, AgentFailure { usage, ..fault.into() });
        }
        let truncated_inputs = self.shortened.remove(path).unwrap_or_default();
        Body::StepFinished { status: StepStatus::Completed, output, error: None, usage, truncated_inputs }
    }

    /// The try failed, or waits for a person.
    fn end_without_output(&mut self, path: &StepPath, failure: AgentFailure) -> Body {
        match Waiting::of_fault(&failure.fault) {
            None => self.end_of_failed_attempt(path, failure),
            Some(waiting) if !waiting.is_empty() || self.machine.may_wait(path) => Body::StepWaiting(waiting),
            Some(_) => {
                let fault = Fault::step("waiting", "the step waits, and nobody was asked anything");
                self.end_of_failed_attempt(path, AgentFailure { fault, ..failure })
            }
        }
    }

    fn end_of_failed_attempt(&mut self, path: &StepPath, failure: AgentFailure) -> Body {
        let AgentFailure { fault, output, mut usage } = failure;
        if usage.is_empty() {
            // A try that was cut short cannot say what it spent; its turns did.
            usage = self.machine.spent_by(path);
        }
        let mut error = fault;
        if let Verdict::Retry { delay, at_least } = self.machine.judge(path, &error) {
            let delay = self.jittered(delay).max(at_least);
            match self.time_left(path) {
                Some((left, whole)) if left <= delay => {
                    let last = std::mem::replace(&mut error, timed_out(path, whole));
                    error.message = format!("{}; the last error was: {last}", error.message);
                }
                _ => return Body::StepRetrying { error, delay_ms: millis(delay), usage },
            }
        }
        self.shortened.remove(path);
        Body::StepFinished {
            status: StepStatus::Failed,
            output,
            error: Some(error),
            usage,
            truncated_inputs: Vec::new(),
        }
    }

    /// Up to a quarter less, so that steps that failed together do not come back together.
    fn jittered(&self, delay: Duration) -> Duration {
        delay.mul_f64(1.0 - self.ports.randomness.unit() / 4.0)
    }

    /// What is left of the step's time, and the whole of it.
    pub(super) fn time_left(&self, path: &StepPath) -> Option<(Duration, Duration)> {
        let whole = self.machine.timeout_of(path)?;
        let now = self.ports.clock.now();
        let person = self.ports.gateway.person();
        let waited = self.machine.waited(path);
        let own = |started| now.since(started).saturating_sub(person.within(path, started, now)).saturating_sub(waited);
        let spent = self.machine.started_at(path).map_or(Duration::ZERO, own);
        Some((whole.saturating_sub(spent), whole))
    }

    /// What follows when the time of a loop, group or include may be over. A step that was begun anew since, as part of
    /// a larger try, has a time of its own.
    pub(super) fn expire(&mut self, path: &StepPath) -> Vec<Effect> {
        match self.time_left(path) {
            Some((left, whole)) if left.is_zero() => self.machine.expire(path, timed_out(path, whole)),
            _ => Vec::new(),
        }
    }

    /// Refuses a loop over more than the run can hold.
    pub(super) fn checked(&self, body: Body) -> Body {
        match &body {
            Body::StepStarted { items: Some(items), .. } => self.machine.refuse_items(items).map_or(body, failed),
            _ => body,
        }
    }
}

/// An output that would fill the journal fails its step; the step keeps nothing of it.
pub(crate) fn too_large(output: &StepOutput, limit: usize) -> Option<Fault> {
    let bytes = output.content.len().saturating_add(value::size(&output.result));
    let message = format!("the step's output has {bytes} bytes, more than the limit of {limit}");
    (bytes > limit).then(|| {
        Fault::step("output_too_large", message)
            .with_hint("write large results to a file, `out:NAME`, and pass its name on")
    })
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
