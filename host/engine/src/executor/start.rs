//! Starts a try of a step: an agent's conversation, or one tool call.

use super::Wake;
use super::decide::root_step;
use super::mail::Reading;
use super::perform::failed;
use super::prepare::Offered;
use super::run::{Run, UnderWay};
use crate::attempt::{
    AgentMessage, AgentWork, Attempt, AttemptWork, Deadline, Hands, Place, ToolCallWork, message_fault,
};
use crate::chain::Chains;
use crate::mailbox::{Recorded, TryMailbox};
use crate::recorder::AttemptRecorder;
use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::port::{
    Agent, AgentOutput, CancelFlag, Mailbox, NoMail, PastAttempt, PastTry, PureContext, StepEntry,
};
use cofferdam_core::run::{Emission, MessageError, Untransformed};
use cofferdam_core::spec::workflow::{self, IsolationMode, Work};
use std::sync::Arc;
use tokio::task::AbortHandle;
use tracing::Instrument as _;

impl Run {
    pub(super) fn start(&mut self, path: StepPath, number: u32) -> Option<Emission> {
        let work = match self.work_of(&path) {
            Ok(work) => work,
            Err(NoWork::Untransformed(outputs)) => {
                self.transform_first(path, number, outputs);
                return None;
            }
            Err(NoWork::Fault(fault)) if self.machine.is_resumed(&path) => {
                self.inbox.send(Wake::Ended { path, attempt: number, outcome: Err((*fault).into()) });
                return None;
            }
            Err(NoWork::Fault(fault)) => {
                return Some(Emission { path, attempt: Some(number), body: failed(*fault) });
            }
        };
        let begun = match self.kept_of(&path, number).filter(|_| self.machine.is_resumed(&path)) {
            Some((past, letters)) => Begun { past: Some(past), earlier: Vec::new(), letters },
            None => {
                let (past, earlier) = self.past_of(&path, number);
                let letters = self.mail.read_before(&path, number);
                self.watch_own_wall(&path, number);
                Begun { past, earlier, letters }
            }
        };
        self.launch((path, number), work, begun);
        None
    }

    /// Has a try work, from its beginning or from where it was.
    fn launch(&mut self, (path, number): (StepPath, u32), work: AttemptWork, begun: Begun) {
        let Begun { past, earlier, letters } = begun;
        let cancel = CancelFlag::default();
        let deadline = self.deadline(&path);
        let place = self.place(&path, number, past.is_some());
        let reading = Reading::default();
        let attempt = Attempt {
            mail: self.mailbox(&path, number, past.clone(), letters),
            coordinated: self.prepared.coordinator.is_some(),
            recollection: self.recollection(&path),
            purse: self.purse(&path, number),
            run_id: self.request.run_id.clone(),
            path: path.clone(),
            number,
            earlier,
            limits: self.machine.workflow().options.limits,
            chains: self.chains(&path, Some(number)),
            deadline,
            cancel: cancel.clone(),
            recorder: AttemptRecorder { past, ..self.recorder(&path, Some(number)) },
            gateway: Arc::clone(&self.ports.gateway),
            place: Arc::clone(&place),
            narrowings: Arc::new(self.machine.narrowings(&path)),
            answers: self.prepared.answers.take_below(&path),
            approvals: self.approvals_below(&path),
            mail_came: Arc::clone(&reading.mail_came),
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
        let timer = deadline.map(|deadline| self.time(path.clone(), number, deadline));
        let at_work = self.ports.gateway.person().work(path.clone(), &self.ports.clock);
        self.attempts.insert(path, UnderWay { handle, timer, _at_work: at_work, cancel, place, reading });
    }

    /// When the time of a step is over. What its agent does behind its end has that time anew.
    pub(super) fn deadline(&self, path: &StepPath) -> Option<Deadline> {
        let from = self.ports.clock.now();
        let (left, whole) = match self.machine.is_resumed(path) {
            true => self.machine.timeout_of(path).map(|whole| (whole, whole)),
            false => self.time_left(path),
        }?;
        Some(Deadline { from, left, whole })
    }

    /// The directories of a try; `continues`: an earlier process was at work on it.
    pub(super) fn place(&self, path: &StepPath, attempt: u32, continues: bool) -> Arc<Place> {
        let (run, step, mode) = (self.request.run_id.clone(), path.clone(), self.machine.isolation(path));
        let mode = if path.is_coordinator() { IsolationMode::None } else { mode };
        Arc::new(Place::new(Arc::clone(&self.ports.isolation), StepEntry { run, step, attempt, mode, continues }))
    }

    fn mailbox(
        &self,
        path: &StepPath,
        number: u32,
        past: Option<Arc<PastTry>>,
        earlier: Vec<Arc<str>>,
    ) -> Arc<dyn Mailbox> {
        if self.prepared.coordinator.is_none() {
            return match past {
                Some(past) => Arc::new(Recorded(past)),
                None => Arc::new(NoMail),
            };
        }
        Arc::new(TryMailbox::new(self.inbox.clone(), (path.clone(), number), past, earlier))
    }

    /// What changes texts and data for a step.
    pub(super) fn chains(&self, path: &StepPath, attempt: Option<u32>) -> Chains {
        Chains {
            natives: Arc::clone(&self.ports.natives),
            plugins: Arc::clone(&self.ports.plugins),
            run: self.context.of(path.clone(), attempt),
            pure: self.pure_context(path, attempt),
        }
    }

    /// Where transforms and conditions work.
    pub(super) fn pure_context(&self, path: &StepPath, attempt: Option<u32>) -> PureContext {
        PureContext {
            run_id: self.request.run_id.clone(),
            path: path.clone(),
            attempt: attempt.unwrap_or(1),
            now: self.machine.began_at(),
            events: Arc::new(self.recorder(path, attempt)),
        }
    }

    fn recorder(&self, path: &StepPath, attempt: Option<u32>) -> AttemptRecorder {
        AttemptRecorder { inbox: self.inbox.clone(), path: path.clone(), attempt, past: None }
    }

    /// Watches the time of a try, in a task of its own.
    pub(super) fn time(&mut self, path: StepPath, attempt: u32, deadline: Deadline) -> AbortHandle {
        let (inbox, clock) = (self.inbox.clone(), Arc::clone(&self.ports.clock));
        let person = Arc::clone(self.ports.gateway.person());
        let Deadline { from, left, whole } = deadline;
        self.tasks.spawn(async move {
            person.sleep(&clock, &path, from, left).await;
            inbox.send(Wake::TimedOut { path, attempt, whole });
        })
    }

    /// Remembers which inputs of a try were shortened; says so unless the try before said the same.
    pub(super) fn note_shortened(&mut self, path: StepPath, attempt: u32, inputs: Vec<String>) -> Option<Emission> {
        let said = self.shortened.get(&path).is_some_and(|before| *before == inputs);
        let message = shortened(&inputs);
        let news = !inputs.is_empty() && !said;
        self.shortened.insert(path.clone(), inputs);
        let body = Body::Warning { code: "inputs_shortened".to_owned(), message };
        news.then_some(Emission { path, attempt: Some(attempt), body })
    }

    fn work_of(&self, path: &StepPath) -> Result<AttemptWork, NoWork> {
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
                let Offered { agent, terms, transform } = offered;
                let mut input = step.transform.input.clone();
                input.extend(transform.input);
                output.splice(..0, transform.output);
                let context_files = work.context_files.clone();
                let message = self.agent_message(path, &work.clone())?;
                let sources = Arc::clone(&self.ports.sources);
                let hands = self.hands(path, agent);
                let work = AgentWork { hands, terms, message, context_files, sources, input, output };
                Ok(AttemptWork::Agent(Box::new(work)))
            }
            Work::Ask(_) | Work::Group(_) | Work::Include(_) | Work::Body => {
                Err(Fault::bug(format!("step `{path}` has no work of its own")).into())
            }
        }
    }

    /// Who works: the step's agent, or whoever starts the steps.
    fn hands(&self, path: &StepPath, agent: Arc<dyn Agent>) -> Hands {
        let starter = self.ports.starter.as_ref().zip(root_step(path));
        match starter.and_then(|(starter, step)| starter.worker(&step)) {
            Some(worker) => Hands::Worker(worker, Arc::clone(&self.prepared.members)),
            None => Hands::Agent(agent),
        }
    }

    fn agent_message(&self, path: &StepPath, work: &workflow::AgentWork) -> Result<AgentMessage, NoWork> {
        let told = self.ports.starter.as_ref().zip(root_step(path));
        if let Some(message) = told.and_then(|(starter, step)| starter.message(&step)) {
            return Ok(AgentMessage::Given(message));
        }
        if let Some(template) = &work.input {
            return Ok(AgentMessage::Template(template.clone(), self.machine.variables(path, template)));
        }
        match self.machine.message(path, &self.transformed) {
            Ok(draft) => Ok(AgentMessage::Draft(Box::new(draft))),
            Err(MessageError::Untransformed(outputs)) => Err(NoWork::Untransformed(outputs)),
            Err(error) => Err(message_fault(&error).into()),
        }
    }
}

/// What a try begins with.
struct Begun {
    /// What is recorded of it.
    past: Option<Arc<PastTry>>,
    /// The tries of earlier processes.
    earlier: Vec<PastAttempt>,
    /// What tries before it have read.
    letters: Vec<Arc<str>>,
}

/// Why a try has nothing to do.
enum NoWork {
    /// It cannot have.
    Fault(Box<Fault>),
    /// Not yet: plugins have to change these outputs.
    Untransformed(Vec<Untransformed>),
}

impl From<Fault> for NoWork {
    fn from(fault: Fault) -> Self {
        Self::Fault(Box::new(fault))
    }
}

fn shortened(inputs: &[String]) -> String {
    let list: Vec<String> = inputs.iter().map(|input| format!("`{input}`")).collect();
    format!("its message was too large, and what it got of {} was shortened", list.join(", "))
}
