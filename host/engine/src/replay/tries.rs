//! The tries of steps, once more: what began is held again from its record, and must end as it did.
//!
//! What failed of something outside, a model or the time, did so, whatever comes out here.

use super::Replayer;
use super::calls::{Fate, Recorded, is_from_outside, single};
use crate::attempt::{DOCUMENT_CALL, arguments_within_bounds, template_fault};
use crate::executor;
use crate::gateway::denial_reply;
use cofferdam_core::event::{Body, RunEvent, StepOutput, StepStatus, Waiting};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::message::Usage;
use cofferdam_core::port::{AgentFailure, AgentOutput};
use cofferdam_core::run::replay::{Answer, Asked, Difference, values_agree};
use cofferdam_core::run::{Machine, Verdict};
use cofferdam_core::spec::workflow::{ToolWork, Work};
use serde_json::Value;

/// What came of a try that was held again.
pub(super) enum Held {
    /// It ended, with the inputs of its message that were shortened.
    Ended(Result<AgentOutput, Box<AgentFailure>>, Vec<String>),
    /// That cannot be found out here, or came from outside.
    Taken,
    Differs(Box<Difference>),
}

impl From<Difference> for Held {
    fn from(difference: Difference) -> Self {
        Self::Differs(Box::new(difference))
    }
}

impl From<Fault> for Held {
    fn from(fault: Fault) -> Self {
        Self::Ended(Err(Box::new(fault.into())), Vec::new())
    }
}

/// Why the recorded try failed, if it did.
pub(super) fn failure<'a>(asked: &Asked<'a>) -> Option<&'a Fault> {
    match &asked.recorded.body {
        Body::StepRetrying { error, .. } => Some(error),
        Body::StepFinished { error, .. } => error.as_ref(),
        _ => None,
    }
}

impl Replayer {
    pub(super) async fn hold(&mut self, machine: &Machine, try_: (&StepPath, u32), asked: Asked<'_>) -> Answer {
        let Some(step) = machine.step_at(try_.0) else { return Answer::Taken };
        let held = match &step.work {
            Work::Tool(work) => self.hold_tool(machine, try_, &work.clone(), &asked).await,
            Work::Agent(work) => self.hold_agent(machine, try_, &work.clone(), &asked).await,
            Work::Ask(_) | Work::Group(_) | Work::Include(_) | Work::Body => Held::Taken,
        };
        match held {
            Held::Taken => Answer::Taken,
            Held::Differs(difference) => Answer::Differs(difference),
            // Its time was over, or it was cut off, before it came so far.
            Held::Ended(..) if failure(&asked).is_some_and(is_cut) => Answer::Taken,
            Held::Ended(outcome, shortened) => Answer::Events(vec![self.end(machine, try_.0, outcome, shortened)]),
        }
    }

    /// The event of a try's end.
    fn end(
        &self,
        machine: &Machine,
        path: &StepPath,
        outcome: Result<AgentOutput, Box<AgentFailure>>,
        truncated_inputs: Vec<String>,
    ) -> Body {
        let failure = match outcome {
            Err(failure) => *failure,
            Ok(AgentOutput { output, usage }) => {
                match executor::too_large(&output, self.workflow.options.limits.step_output_bytes) {
                    Some(fault) => AgentFailure { usage, ..fault.into() },
                    None => {
                        let status = StepStatus::Completed;
                        return Body::StepFinished { status, output, error: None, usage, truncated_inputs };
                    }
                }
            }
        };
        if let Some(waiting) = Waiting::of_fault(&failure.fault) {
            return Body::StepWaiting(waiting);
        }
        let AgentFailure { fault, output, mut usage } = failure;
        if usage.is_empty() {
            usage = machine.spent_by(path);
        }
        match machine.judge(path, &fault) {
            Verdict::Retry { .. } => Body::StepRetrying { error: fault, delay_ms: 0, usage },
            Verdict::Fail => Body::StepFinished {
                status: StepStatus::Failed,
                output,
                error: Some(fault),
                usage,
                truncated_inputs: Vec::new(),
            },
        }
    }

    async fn hold_tool(
        &mut self,
        machine: &Machine,
        (path, attempt): (&StepPath, u32),
        work: &ToolWork,
        asked: &Asked<'_>,
    ) -> Held {
        let tool = &work.tool;
        let rendered = work.args.render(&machine.variables(path, &work.args));
        let args = rendered.map_err(|error| template_fault("args", &error));
        let bounded = args.and_then(|args| arguments_within_bounds(tool, args, self.workflow.options.limits));
        let args = match bounded {
            Ok(args) => args,
            Err(fault) => return fault.into(),
        };
        let Some(call) = single(asked.before, DOCUMENT_CALL) else {
            return self.without_call(work, &args, asked, path);
        };
        if call.tool != *tool || call.args.as_ref().is_some_and(|recorded| !values_agree(&args, recorded)) {
            return other_call(asked.recorded, &call, (&tool.to_string(), &args)).into();
        }
        let reply = match call.fate {
            Fate::Denied(rule) => denial_reply(tool, &rule),
            Fate::Answered(reply) => reply,
            // It failed of something else before the call began, or before it was known how that ended.
            Fate::Waits | Fate::Open if failure(asked).is_some() => return Held::Taken,
            Fate::Waits => return Waiting::default().to_fault().into(),
            Fate::Open => {
                let what = format!("the step completed, and the call of `{tool}` has no end");
                return Difference::at(asked.recorded, what).into();
            }
        };
        if let Some(fault) = reply.error {
            return fault.into();
        }
        let output = StepOutput { content: reply.text, result: reply.result, ..StepOutput::default() };
        let chain = machine.step_at(path).map(|step| step.transform.output.clone()).unwrap_or_default();
        if let Some(missing) = self.missing(&chain, path) {
            self.take(missing);
            return Held::Taken;
        }
        let chains = self.scope.chains(&self.ports, machine, path, Some(attempt));
        match self.scope.wait_for(machine, chains.apply(&chain, output)).await {
            Ok(output) => Held::Ended(Ok(AgentOutput { output, usage: Usage::default() }), Vec::new()),
            Err(fault) => fault.into(),
        }
    }

    /// The record has no call: the tool is not there, its schema refuses the arguments, or the try did not come so far.
    fn without_call(&mut self, work: &ToolWork, args: &Value, asked: &Asked<'_>, path: &StepPath) -> Held {
        let tool = &work.tool;
        match failure(asked) {
            None => Difference::at(asked.recorded, format!("the step completed without its call of `{tool}`")).into(),
            Some(_) if !self.ports.gateway.knows(tool) => {
                self.take(format!("why `{tool}` was not called in step `{path}`: it is not here"));
                Held::Taken
            }
            Some(_) => match self.ports.gateway.refuse(tool, args) {
                Some(fault) => fault.into(),
                None => Held::Taken,
            },
        }
    }
}

/// Whether a try that failed so may have been on its way to another end.
fn is_cut(error: &Fault) -> bool {
    is_from_outside(error) && ["timeout", "cancelled", "internal"].contains(&&*error.code)
}

/// The record has another call in this place.
pub(super) fn other_call(end: &RunEvent, call: &Recorded, (tool, args): (&str, &Value)) -> Difference {
    let same = call.tool.to_string() == tool;
    let what = if same {
        format!("the arguments of `{tool}` are others")
    } else {
        format!("`{}` was called, and `{tool}` comes out", call.tool)
    };
    let difference = Difference { seq: call.seq, ..Difference::at(end, what) };
    let difference = difference.replayed(args.clone());
    match &call.args {
        Some(recorded) => difference.recorded((**recorded).clone()),
        None => difference,
    }
}
