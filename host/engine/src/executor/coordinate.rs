//! The coordinator beside the steps: started with the run, told what happens, waited for before the run ends.
//!
//! Its whole work is one try at a path of its own, so that its conversation is taken up like that of a step. It must not know
//! what the coordinator answers.

use super::Wake;
use super::news::{News, briefing, shortened};
use super::run::{Pass, Run};
use crate::attempt::{AgentMessage, AgentWork, Attempt, AttemptWork, Hands, Place};
use crate::coordinator::{Coordinator, CoordinatorWake, WakeContext};
use crate::mailbox::{Fetch, TryMailbox};
use crate::recorder::AttemptRecorder;
use cofferdam_core::event::{Body, DropReason, RunEvent, RunReason, RunStatus, Told};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::message::Message;
use cofferdam_core::policy::Narrowings;
use cofferdam_core::port::{AgentFailure, AgentOutput, Approvals, CancelFlag, PastTry, TryEnd, redact_text};
use cofferdam_core::run::Emission;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tracing::Instrument as _;

/// Takes whether what was said counts, and when it is recorded.
type Says = (oneshot::Sender<bool>, oneshot::Sender<Result<(), Fault>>);

/// The only try of the coordinator.
const ATTEMPT: u32 = 1;

/// The coordinator of a run, as the loop knows it.
#[derive(Default)]
pub(super) struct Desk {
    phase: Phase,
    handle: Option<AbortHandle>,
    place: Option<Arc<Place>>,
    /// It has nothing to do until something happens.
    idle: Option<Fetch>,
    /// What it was not told yet.
    news: News,
    /// How often it was woken.
    wakes: u32,
    /// It had nothing more to do, by what is recorded of an earlier process.
    rests: bool,
    /// What an earlier process recorded of it.
    past: PastTry,
    overdue: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// The run has none, or it has not begun.
    #[default]
    Absent,
    Working,
    /// All steps have ended, and it has the last word.
    Closing,
    Over,
}

impl Desk {
    /// Takes in what is recorded of it, and what it has to hear of.
    pub(super) fn note(&mut self, event: &RunEvent) {
        if event.path.is_coordinator() && self.phase == Phase::Absent {
            self.past.note(&event.body);
            self.count_wake(&event.body);
        }
        // What a program says at a wake may be of no event.
        if let (Body::Told(Told { upto: upto @ 1.., .. }), true) = (&event.body, event.path.is_coordinator()) {
            self.news.told(*upto);
        }
        if self.phase != Phase::Over {
            self.news.note(event);
        }
    }

    /// Counts how often an earlier process woke it: what it was given to read when it had nothing more to do.
    fn count_wake(&mut self, body: &Body) {
        match body {
            Body::TurnFinished { message: Message::Assistant { tool_calls, .. }, .. } => {
                self.rests = tool_calls.is_empty();
            }
            Body::Told(_) | Body::MessageDelivered(_) if self.rests => {
                self.rests = false;
                self.wakes += 1;
            }
            _ => {}
        }
    }
}

impl Run {
    pub(super) fn has_coordinator(&self) -> bool {
        matches!(self.desk.phase, Phase::Working | Phase::Closing)
    }

    /// Why a message to the coordinator was not read.
    pub(super) fn coordinator_left(&self) -> DropReason {
        if self.desk.overdue { DropReason::HoldTimeout } else { DropReason::NoCoordinator }
    }

    /// Keeps what it has to hear of.
    pub(super) fn note_for_coordinator(&mut self, event: &RunEvent) {
        if self.prepared.coordinator.is_some() {
            self.desk.note(event);
        }
    }

    /// Begins its work with the run, unless it only has the last word.
    pub(super) fn start_coordinator_at_once(&mut self) {
        if !self.synthesizes() {
            self.start_coordinator();
        }
    }

    /// Begins its work, or takes it up.
    fn start_coordinator(&mut self) {
        let Some(offered) = self.prepared.coordinator.clone() else { return };
        let path = StepPath::coordinator();
        let past = std::mem::take(&mut self.desk.past);
        let past = (!past.is_empty()).then(|| Arc::new(past));
        let recorder = AttemptRecorder {
            inbox: self.inbox.clone(),
            path: path.clone(),
            attempt: Some(ATTEMPT),
            past: past.clone(),
        };
        let place = self.place(&path, ATTEMPT, past.is_some());
        let attempt = Attempt {
            mail_came: Arc::default(),
            recollection: None,
            run_id: self.request.run_id.clone(),
            path: path.clone(),
            number: ATTEMPT,
            earlier: Vec::new(),
            limits: self.machine.workflow().options.limits,
            chains: self.chains(&path, Some(ATTEMPT)),
            deadline: None,
            cancel: CancelFlag::default(),
            recorder,
            gateway: Arc::clone(&self.ports.gateway),
            place: Arc::clone(&place),
            narrowings: Arc::new(Narrowings::default()),
            answers: std::collections::BTreeMap::new(),
            approvals: Approvals::default(),
            purse: self.purse(&path, ATTEMPT),
            mail: Arc::new(TryMailbox::new(self.inbox.clone(), (path, ATTEMPT), past, Vec::new())),
            coordinated: true,
            clock: Arc::clone(&self.ports.clock),
            work: AttemptWork::Agent(Box::new(AgentWork {
                hands: Hands::Agent(offered.agent),
                terms: offered.terms,
                message: AgentMessage::Given(briefing(self.machine.workflow(), &self.request).into()),
                context_files: Vec::new(),
                sources: Arc::clone(&self.ports.sources),
                input: Vec::new(),
                output: Vec::new(),
            })),
        };
        let inbox = self.inbox.clone();
        let work = async move {
            let outcome = attempt.run().await;
            inbox.send(Wake::Coordinated(outcome));
        };
        let handle = self.tasks.spawn(work.instrument(tracing::info_span!("coordinator")));
        (self.desk.phase, self.desk.handle, self.desk.place) = (Phase::Working, Some(handle), Some(place));
        self.call_all();
    }

    /// The coordinator wants what is new.
    pub(super) fn inform(&mut self, fetch: Fetch, pass: &mut Pass) {
        if self.desk.phase == Phase::Over || self.machine.is_finished() {
            return drop(fetch.done.send(Err(Fault::cancelled())));
        }
        match fetch.closing {
            Some(_) => self.desk.idle = Some(fetch),
            None => self.tell(fetch, pass),
        }
    }

    /// Wakes the coordinator if it is idle and something happened that it has to hear of.
    pub(super) fn wake_coordinator(&mut self, pass: &mut Pass) {
        let closing = self.desk.phase == Phase::Closing;
        // When all steps have ended it hears of that and of the last of them together.
        if self.desk.idle.is_none() || (!closing && self.machine.is_concluding()) {
            return;
        }
        let written = self.mail.has(&StepPath::coordinator());
        let most = self.most_wakes();
        let new = !self.desk.news.is_empty();
        let news = new && self.desk.wakes < most;
        // It has the last word when it has heard what others answer.
        if closing && !written && !new && self.machine.has_resumed() {
            return;
        }
        // Whoever writes to it is heard, and in the end it hears of everything, however often it was woken.
        if closing || written || news {
            let Some(fetch) = self.desk.idle.take() else { return };
            self.desk.wakes += 1;
            if self.desk.wakes == most && !closing {
                let message =
                    format!("the coordinator was woken {most} times; from now on only messages wake it, and the end");
                self.warn_of_coordinator("coordinator_wakes", message, pass);
            }
            self.tell(fetch, pass);
        }
    }

    fn synthesizes(&self) -> bool {
        self.request.settings.coordinator.as_ref().is_some_and(Coordinator::only_synthesizes)
    }

    fn most_wakes(&self) -> u32 {
        self.request.settings.coordinator.as_ref().map_or(limits::COORDINATOR_WAKES, Coordinator::most_wakes)
    }

    /// Gives the coordinator what it has not heard of.
    fn tell(&mut self, fetch: Fetch, pass: &mut Pass) {
        let path = StepPath::coordinator();
        let Fetch { turn, closing, letters, done } = fetch;
        let mut given = Vec::new();
        let news = self.desk.news.take();
        // That the run ends is one, also where it comes while the coordinator is at work.
        let ends = self.desk.phase == Phase::Closing && news.is_some();
        let is_wake = turn == 1 || ends || closing.is_some() && (news.is_some() || self.mail.has(&path));
        let context = if is_wake { self.context_of_wake(pass) } else { None };
        if news.is_some() || context.is_some() {
            let upto = news.as_ref().map_or(0, |(upto, _)| *upto);
            let parts: Vec<String> = news.map(|(_, text)| text).into_iter().chain(context).collect();
            let text: Arc<str> = parts.join("\n\n").into();
            let body = Body::Told(Told { turn, upto, text: Arc::clone(&text) });
            pass.queue.push_back(Emission { path: path.clone(), attempt: Some(ATTEMPT), body });
            given.push(text);
        }
        given.extend(self.hand_over(&path, ATTEMPT, turn, pass));
        self.settle(pass);
        pass.waiting.push(done);
        drop(letters.send(given));
    }

    /// What the program says when the coordinator is woken, without known secrets.
    fn context_of_wake(&self, pass: &mut Pass) -> Option<String> {
        let WakeContext::Here(function) = self.request.settings.coordinator.as_ref()?.wake_context() else {
            return None;
        };
        let wake = CoordinatorWake {
            run_id: self.request.run_id.clone(),
            number: self.desk.wakes,
            is_last: self.desk.phase == Phase::Closing,
        };
        let Ok(said) = std::panic::catch_unwind(AssertUnwindSafe(|| function(&wake))) else {
            let message = "what tells the coordinator more at each wake panicked".to_owned();
            self.warn_of_coordinator("coordinator_context", message, pass);
            return None;
        };
        let mut said: Arc<str> = said.filter(|said| !said.trim().is_empty())?.into();
        redact_text(self.ports.gateway.redactor(), &mut said);
        Some(shortened(&said, limits::COORDINATOR_CONTEXT_BYTES))
    }

    /// Whether the end of the run waits for the coordinator's last word.
    pub(super) fn waits_for_coordinator(&mut self) -> bool {
        let (status, _) = self.machine.verdict();
        let stopped = self.machine.is_stopped() && status != RunStatus::Failed
            || matches!(self.machine.verdict().1, Some(RunReason::Timeout | RunReason::Budget));
        if self.desk.phase == Phase::Absent && self.synthesizes() && status != RunStatus::Waiting && !stopped {
            self.start_coordinator();
        }
        match self.desk.phase {
            Phase::Absent | Phase::Over => return false,
            Phase::Closing => return true,
            Phase::Working => {}
        }
        if status == RunStatus::Waiting {
            // Its conversation goes on when the run does.
            self.dismiss_coordinator();
            return false;
        }
        self.desk.phase = Phase::Closing;
        let line =
            format!("All steps have ended; the run is {}. Say with `finalize` what it came to.", status.as_str());
        self.desk.news.end(self.seq, line);
        self.inbox.send(Wake::Closing);
        self.wake_after(Duration::from_millis(limits::COORDINATOR_HOLD_MS), Wake::HoldOver);
        true
    }

    /// The coordinator's work is over, one way or another.
    pub(super) fn take_coordinated(&mut self, outcome: Result<AgentOutput, AgentFailure>, pass: &mut Pass) {
        if !self.has_coordinator() {
            return;
        }
        let why = match outcome {
            Err(AgentFailure { fault, .. }) => Some(fault.to_string()),
            Ok(_) if self.desk.phase == Phase::Working => Some("it ended before the run".to_owned()),
            Ok(_) => None,
        };
        if let Some(why) = why {
            let message = format!("the coordinator failed, and the run goes on without it: {why}");
            self.warn_of_coordinator("coordinator_failed", message, pass);
        }
        self.end_coordinator(pass);
    }

    /// The run does not wait for it any longer.
    pub(super) fn hold_is_over(&mut self, pass: &mut Pass) {
        if self.desk.phase == Phase::Closing {
            let hold = Duration::from_millis(limits::COORDINATOR_HOLD_MS);
            let message = format!("the coordinator was not done within {hold:?} of the last step");
            self.warn_of_coordinator("coordinator_overdue", message, pass);
            self.desk.overdue = true;
            self.end_coordinator(pass);
        }
    }

    /// Somebody stops the run, or its time is over, when nothing but the coordinator's last word is missing: the run ends as its
    /// steps did.
    pub(super) fn cuts_last_word(&mut self, pass: &mut Pass) -> bool {
        if self.desk.phase != Phase::Closing {
            return false;
        }
        let message = "the run was stopped, or its time was over, before the coordinator was done".to_owned();
        self.warn_of_coordinator("coordinator_overdue", message, pass);
        self.desk.overdue = true;
        self.end_coordinator(pass);
        true
    }

    /// The run was stopped, and its coordinator with it.
    pub(super) fn stop_coordinator(&mut self, pass: &mut Pass) {
        if self.has_coordinator() {
            self.end_coordinator(pass);
        }
    }

    fn end_coordinator(&mut self, pass: &mut Pass) {
        let waited = self.desk.phase == Phase::Closing;
        self.dismiss_coordinator();
        let reason = if self.machine.is_stopped() { DropReason::RunCancelled } else { self.coordinator_left() };
        self.drop_waiting(&StepPath::coordinator(), reason, pass);
        self.end_sequels(reason, pass);
        self.settle(pass);
        if waited && self.machine.may_conclude() {
            pass.queue.extend(self.conclude());
        }
    }

    /// The coordinator says something to people; a summary counts once.
    pub(super) fn say(&mut self, path: StepPath, body: Body, (counts, done): Says, pass: &mut Pass) {
        if !path.is_coordinator() || !self.has_coordinator() || self.machine.is_finished() {
            let fault = Fault::step("no_coordinator", "only the coordinator of a run says this");
            return drop(done.send(Err(fault)));
        }
        let known = self.machine.has_said(&body);
        if !known {
            pass.queue.push_back(Emission { path, attempt: Some(ATTEMPT), body });
        }
        pass.waiting.push(done);
        let _ = counts.send(!known);
    }

    fn dismiss_coordinator(&mut self) {
        self.desk.phase = Phase::Over;
        self.desk.idle = None;
        if let Some(handle) = self.desk.handle.take() {
            handle.abort();
        }
        if let Some(place) = self.desk.place.take() {
            self.leaving.spawn(async move { _ = place.leave(TryEnd::CutShort).await });
        }
    }

    fn warn_of_coordinator(&self, code: &str, message: String, pass: &mut Pass) {
        let body = Body::Warning { code: code.to_owned(), message };
        pass.queue.push_back(Emission { path: StepPath::ROOT, attempt: None, body });
    }
}
