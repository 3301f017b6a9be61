//! Performs what the machine asks for.

use super::Wake;
use super::run::{Run, UnderWay};
use crate::attempt::{AgentMessage, AgentWork, Attempt, AttemptWork, Deadline, Place};
use crate::recorder::AttemptRecorder;
use cofferdam_core::event::{Body, RunReason, RunStatus, SkippedBecause, StepOutput, StepStatus};
use cofferdam_core::expr::{EvalError, Expr};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::message::Usage;
use cofferdam_core::port::{AgentOutput, CancelFlag};
use cofferdam_core::run::{Effect, Emission, MessageError};
use cofferdam_core::spec::workflow::{self, Condition, Items, LoopKind, Work};
use cofferdam_core::value;
use serde_json::Value;
use std::sync::Arc;
use tracing::Instrument as _;

impl Run {
    /// Performs an effect; gives the event that follows at once, if one does.
    pub(super) fn perform(&mut self, effect: Effect) -> Option<Emission> {
        match effect {
            Effect::Emit(emission) => return Some(*emission),
            Effect::Decide(path) => self.decide(path),
            Effect::Expand(path) => return self.expand(path),
            Effect::Start { path, attempt } => return self.start(path, attempt),
            Effect::Wait { path, delay } => self.wake_after(delay, Wake::Due(path)),
            Effect::Watch { path, timeout } => self.wake_after(timeout, Wake::Expired(path)),
            Effect::Ask(_) | Effect::While { .. } | Effect::Until { .. } | Effect::Gather(_) => {}
            Effect::Cancel(path) => return self.cancel(path),
            Effect::Conclude => return self.conclude(),
        }
        None
    }

    fn decide(&self, path: StepPath) {
        let condition = self.machine.step_at(&path).and_then(|step| step.condition.clone());
        let Some(Condition::Expr(condition)) = condition else { return };
        let source = condition.source().to_owned();
        self.evaluate(path, condition, move |outcome| decision(outcome, &source));
    }

    /// Evaluates on the threads for expressions and sends what follows to the loop.
    fn evaluate(
        &self,
        path: StepPath,
        expr: Expr,
        then: impl FnOnce(Result<Value, EvalError>) -> Outcome + Send + 'static,
    ) {
        let variables = self.machine.variables(&path, &expr);
        let inbox = self.inbox.clone();
        self.evaluator.evaluate(expr, variables, move |outcome| {
            let Outcome { warning, body } = then(outcome);
            inbox.send(Wake::Decided { path, warning, body });
        });
    }

    fn expand(&self, path: StepPath) -> Option<Emission> {
        let repeat = self.machine.step_at(&path)?.repeat.as_ref()?;
        let LoopKind::ForEach(each) = &repeat.kind else { return None };
        match &each.items {
            Items::List(items) => {
                let body = self.checked(Body::StepStarted {
                    agent: None,
                    tool: None,
                    items: Some(Arc::clone(items)),
                    inputs: None,
                });
                Some(Emission { path, attempt: None, body })
            }
            Items::Expr(expr) => {
                self.evaluate(path, expr.clone(), |outcome| items_of(outcome).into());
                None
            }
        }
    }

    fn start(&mut self, path: StepPath, number: u32) -> Option<Emission> {
        let work = match self.work_of(&path) {
            Ok(work) => work,
            Err(fault) => return Some(Emission { path, attempt: Some(number), body: failed(fault) }),
        };
        let cancel = CancelFlag::default();
        let isolation = Arc::clone(&self.ports.isolation);
        let place = Arc::new(Place::new(isolation, self.request.run_id.clone(), path.clone()));
        let deadline =
            self.time_left(&path).map(|(left, whole)| Deadline { at: self.ports.clock.now().after(left), left, whole });
        let attempt = Attempt {
            run_id: self.request.run_id.clone(),
            path: path.clone(),
            number,
            deadline,
            cancel: cancel.clone(),
            recorder: AttemptRecorder { inbox: self.inbox.clone(), path: path.clone(), attempt: number },
            gateway: Arc::clone(&self.ports.gateway),
            place: Arc::clone(&place),
            clock: Arc::clone(&self.ports.clock),
            work,
        };
        let (inbox, end) = (self.inbox.clone(), path.clone());
        let span = tracing::info_span!("attempt", step = %path, number);
        let work = async move {
            let outcome: Result<AgentOutput, _> = attempt.run().await;
            inbox.send(Wake::Ended { path: end, attempt: number, outcome });
        };
        let handle = self.tasks.spawn(work.instrument(span));
        self.attempts.insert(path, UnderWay { handle, cancel, place });
        None
    }

    fn work_of(&mut self, path: &StepPath) -> Result<AttemptWork, Fault> {
        let workflow = Arc::clone(self.machine.workflow());
        let step = self.machine.step_at(path).ok_or_else(|| Fault::bug("a step without a place started"))?;
        match &step.work {
            Work::Tool(work) => Ok(AttemptWork::Tool {
                tool: work.tool.clone(),
                args: work.args.clone(),
                variables: self.machine.variables(path, &work.args),
            }),
            Work::Agent(work) => {
                let (agent, tools) =
                    self.prepared.agent(step, work).ok_or_else(|| Fault::bug("an agent was not prepared"))?;
                let context_files = work.context_files.clone();
                let message = self.agent_message(path, &work.clone())?;
                let sources = Arc::clone(&self.ports.sources);
                Ok(AttemptWork::Agent(Box::new(AgentWork { agent, tools, message, context_files, sources })))
            }
            Work::Ask(_) | Work::Group(_) | Work::Include(_) | Work::Body => {
                Err(Fault::bug(format!("a loop of `{}` has nothing to do", workflow.name)))
            }
        }
    }

    fn agent_message(&mut self, path: &StepPath, work: &workflow::AgentWork) -> Result<AgentMessage, Fault> {
        if let Some(template) = &work.input {
            return Ok(AgentMessage::Template(template.clone(), self.machine.variables(path, template)));
        }
        match self.machine.message(path) {
            Ok(assembled) => {
                if !assembled.truncated.is_empty() {
                    self.shortened.insert(path.clone(), assembled.truncated);
                }
                Ok(AgentMessage::Assembled(assembled.text))
            }
            Err(MessageError::Empty) if !work.context_files.is_empty() => Ok(AgentMessage::Assembled(String::new())),
            Err(error) => Err(Fault::user("message", format!("step `{path}`: {error}"))),
        }
    }

    fn cancel(&mut self, path: StepPath) -> Option<Emission> {
        let UnderWay { handle, cancel, place } = self.attempts.remove(&path)?;
        cancel.set();
        handle.abort();
        self.leaving.spawn(async move { place.leave().await });
        let body = Body::StepCancelled { detail: "stopped while it was under way".to_owned() };
        Some(Emission { path, attempt: None, body })
    }

    fn conclude(&self) -> Option<Emission> {
        let (status, reason) = self.machine.verdict();
        let usage = self.machine.usage();
        let error = self.failure(status, reason);
        let finished = move |output: Value| Body::RunFinished { status, reason, output, usage, error };
        match self.machine.workflow().output.clone() {
            Some(expr) if status == RunStatus::Completed => {
                self.evaluate(StepPath::ROOT, expr, move |outcome| match outcome {
                    Ok(output) => finished(output).into(),
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

    /// What the run failed of. A completed run has not failed, whatever was ignored on the way.
    fn failure(&self, status: RunStatus, reason: Option<RunReason>) -> Option<Fault> {
        match (status, reason, self.timeout()) {
            (RunStatus::Completed, _, _) => None,
            (_, Some(RunReason::Timeout), Some(timeout)) => {
                Some(Fault::step("timeout", format!("the run was not done within {timeout:?}")))
            }
            _ => self.machine.first_failure().map(|(_, fault)| fault.clone()),
        }
    }
}

/// What an evaluation leads to: an event, and perhaps a warning before it.
pub(super) struct Outcome {
    /// A sentence for people.
    pub(super) warning: Option<String>,
    pub(super) body: Body,
}

impl From<Body> for Outcome {
    fn from(body: Body) -> Self {
        Self { warning: None, body }
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

fn decision(outcome: Result<Value, EvalError>, source: &str) -> Outcome {
    let body = match outcome {
        Ok(Value::Bool(true)) => Body::StepReady {},
        Ok(Value::Bool(false)) => {
            Body::StepSkipped { because: SkippedBecause::Condition, detail: format!("`{source}` is false") }
        }
        Ok(other) => failed(Fault::step(
            "condition",
            format!("condition `{source}` gave {} instead of true or false", value::describe(&other)),
        )),
        Err(EvalError::Missing(what)) => {
            // Perhaps a mistake in the document, so it is said louder than a condition that is false.
            let detail = format!("`{source}`: {what}");
            let warning = Some(format!("skipped, since its condition reads what is not there: {detail}"));
            return Outcome { warning, body: Body::StepSkipped { because: SkippedBecause::Condition, detail } };
        }
        Err(error) => failed(Fault::step("condition", format!("cannot evaluate condition `{source}`: {error}"))),
    };
    body.into()
}

fn items_of(outcome: Result<Value, EvalError>) -> Body {
    match outcome {
        Ok(Value::Array(items)) => {
            Body::StepStarted { agent: None, tool: None, items: Some(Arc::new(items)), inputs: None }
        }
        Ok(other) => {
            failed(Fault::step("for_each", format!("forEach gave {} instead of a list", value::describe(&other))))
        }
        Err(error) => failed(Fault::step("for_each", format!("cannot evaluate forEach: {error}"))),
    }
}

pub(super) fn failed(fault: Fault) -> Body {
    Body::StepFinished {
        status: StepStatus::Failed,
        output: StepOutput::default(),
        error: Some(fault),
        usage: Usage::default(),
        truncated_inputs: Vec::new(),
    }
}
