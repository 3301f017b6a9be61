//! Starts a try of a step: an agent's conversation, or one tool call.

use super::Wake;
use super::decide::root_step;
use super::perform::failed;
use super::prepare::Offered;
use super::run::{Run, UnderWay};
use crate::attempt::{AgentMessage, AgentWork, Attempt, AttemptWork, Deadline, Place, ToolCallWork};
use crate::chain::Chains;
use crate::recorder::AttemptRecorder;
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{AgentOutput, CancelFlag};
use cofferdam_core::run::{Emission, MessageError};
use cofferdam_core::spec::workflow::{self, Work};
use std::sync::Arc;
use tracing::Instrument as _;

impl Run {
    pub(super) fn start(&mut self, path: StepPath, number: u32) -> Option<Emission> {
        let before = self.shortened.get(&path).cloned().unwrap_or_default();
        let work = match self.work_of(&path) {
            Ok(work) => work,
            Err(fault) => return Some(Emission { path, attempt: Some(number), body: failed(fault) }),
        };
        let warning = self.shortened.get(&path).filter(|cut| !cut.is_empty() && **cut != before).map(|cut| {
            let body = Body::Warning { code: "inputs_shortened".to_owned(), message: shortened(cut) };
            Emission { path: path.clone(), attempt: Some(number), body }
        });
        let cancel = CancelFlag::default();
        let isolation = Arc::clone(&self.ports.isolation);
        let place = Arc::new(Place::new(isolation, self.request.run_id.clone(), path.clone()));
        let now = self.ports.clock.now();
        let natives = Arc::clone(&self.ports.natives);
        let attempt = Attempt {
            run_id: self.request.run_id.clone(),
            path: path.clone(),
            number,
            limits: self.machine.workflow().options.limits,
            chains: Chains { natives, run: self.context.of(path.clone(), Some(number)) },
            deadline: self.time_left(&path).map(|(left, whole)| Deadline { from: now, left, whole }),
            cancel: cancel.clone(),
            recorder: AttemptRecorder { inbox: self.inbox.clone(), path: path.clone(), attempt: number },
            gateway: Arc::clone(&self.ports.gateway),
            place: Arc::clone(&place),
            narrowings: Arc::new(self.machine.narrowings(&path)),
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
        warning
    }

    fn work_of(&mut self, path: &StepPath) -> Result<AttemptWork, Fault> {
        let step = self.machine.step_at(path).ok_or_else(|| Fault::bug("a step without a place started"))?;
        let mut output = step.transform.output.clone();
        match &step.work {
            Work::Tool(work) => Ok(AttemptWork::Tool(Box::new(ToolCallWork {
                tool: work.tool.clone(),
                args: work.args.clone(),
                variables: self.machine.variables(path, &work.args),
                output,
            }))),
            Work::Agent(work) => {
                let offered = self.prepared.agent(step).ok_or_else(|| Fault::bug("an agent was not prepared"))?;
                let Offered { agent, tools, transform } = offered;
                let mut input = step.transform.input.clone();
                input.extend(transform.input);
                output.splice(..0, transform.output);
                let context_files = work.context_files.clone();
                let message = self.agent_message(path, &work.clone())?;
                let sources = Arc::clone(&self.ports.sources);
                let work = AgentWork { agent, tools, message, context_files, sources, input, output };
                Ok(AttemptWork::Agent(Box::new(work)))
            }
            Work::Ask(_) | Work::Group(_) | Work::Include(_) | Work::Body => {
                Err(Fault::bug(format!("step `{path}` has no work of its own")))
            }
        }
    }

    fn agent_message(&mut self, path: &StepPath, work: &workflow::AgentWork) -> Result<AgentMessage, Fault> {
        let told = self.ports.starter.as_ref().zip(root_step(path));
        if let Some(message) = told.and_then(|(starter, step)| starter.message(&step)) {
            return Ok(AgentMessage::Assembled(message.as_ref().to_owned()));
        }
        if let Some(template) = &work.input {
            return Ok(AgentMessage::Template(template.clone(), self.machine.variables(path, template)));
        }
        match self.machine.message(path) {
            Ok(assembled) => {
                // Also when nothing was: what an earlier try noted counts no more.
                self.shortened.insert(path.clone(), assembled.truncated);
                Ok(AgentMessage::Assembled(assembled.text))
            }
            Err(MessageError::Empty) if !work.context_files.is_empty() => Ok(AgentMessage::Assembled(String::new())),
            Err(error) => Err(Fault::user("message", format!("step `{path}`: {error}"))),
        }
    }
}

fn shortened(inputs: &[String]) -> String {
    let list: Vec<String> = inputs.iter().map(|input| format!("`{input}`")).collect();
    format!("its message was too large, and what it got of {} was shortened", list.join(", "))
}
