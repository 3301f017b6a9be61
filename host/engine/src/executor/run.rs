//! The loop of one run: wake, settle, append, publish, perform.

use super::choose::Choosing;
use super::coordinate::Desk;
use super::digests::Stretch;
use super::drops::DropTeller;
use super::lasting::Lasting;
use super::later::Evaluations;
use super::lease::Held;
use super::mail::Reading;
use super::mailboxes::KeptMail;
use super::prepare::Prepared;
use super::remember::Remembering;
use super::resume::PastTries;
use super::sequels::Sequels;
use super::spend::Till;
use super::transformed::Changing;
use super::{Error, Pauses, Ports, RunRequest, Wake};
use crate::attempt::Place;
use crate::bus::Bus;
use crate::context::{ContextSource, Variables};
use crate::evaluate::Evaluator;
use crate::person::{AtWork, Open, Presence};
use crate::recorder::Inbox;
use cofferdam_core::event::{self, Body, Changes, RunEvent, Sensitive};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::mail::Mail;
use cofferdam_core::plan::Plan;
use cofferdam_core::port::{CancelFlag, JournalError, TryEnd};
use cofferdam_core::run::{Effect, Emission, LOOP_CONTINUE, Machine, RunResult, Settings, Transformed};
use cofferdam_core::time::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

/// A run that is under way.
pub(super) struct Run {
    pub(super) evaluator: Arc<Evaluator>,
    pub(super) evaluations: Evaluations,
    pub(super) ports: Ports,
    pub(super) request: RunRequest,
    pub(super) prepared: Prepared,
    pub(super) machine: Machine,
    pub(super) inbox: Inbox,
    wakes: mpsc::UnboundedReceiver<Wake>,
    /// All that runs for this run; dropping it ends it.
    pub(super) tasks: JoinSet<()>,
    pub(super) attempts: HashMap<StepPath, UnderWay>,
    /// Questions that somebody may be answering.
    pub(super) questions: HashMap<StepPath, AbortHandle>,
    /// Questions that nobody here can answer: the time of what is around them stands still.
    pub(super) deferred: HashMap<StepPath, Open>,
    /// What code inside the run sees of it.
    pub(super) context: Arc<ContextSource>,
    /// Directories that are being left; outlives `tasks`.
    pub(super) leaving: JoinSet<()>,
    /// What stopped steps had changed, known after the run's end.
    pub(super) left_over: Vec<(StepPath, Box<Changes>)>,
    /// Inputs that were shortened in the prompt of a try under way.
    pub(super) shortened: HashMap<StepPath, Vec<String>>,
    /// Outputs as plugins have them enter prompts.
    pub(super) transformed: Transformed,
    /// Those that are being changed.
    pub(super) changing: Changing,
    /// Choices between steps that are being made, by the first of the steps.
    pub(super) choosing: HashMap<StepPath, Choosing>,
    pub(super) bus: Bus,
    /// The run's output is being evaluated.
    pub(super) concluding: bool,
    /// Why steps are left that nobody will start.
    pub(super) deadlock: Option<Fault>,
    /// Whoever starts the steps was asked whether it is done.
    pub(super) starter_asked: bool,
    /// It failed, when all steps had ended.
    pub(super) starter_failed: Option<Fault>,
    /// What sinks must not get, when there is any.
    pub(super) sensitive: Option<Sensitive>,
    /// What was recorded since the last digest.
    pub(super) stretch: Stretch,
    /// Who else writes to the run now.
    pub(super) fenced: Option<JournalError>,
    /// Messages between agents.
    pub(super) mail: Mail,
    /// Why steps are cancelled that messages stopped.
    pub(super) called_off: HashMap<StepPath, String>,
    /// Tells of dropped messages.
    pub(super) drops: DropTeller,
    /// The copy of the mailboxes that an embedder keeps.
    pub(super) kept_mail: KeptMail,
    /// The coordinator, if the run has one.
    pub(super) desk: Desk,
    pub(super) remembering: Remembering,
    /// The memory that outlives the run, where it shares one.
    pub(super) lasting: Option<Lasting>,
    /// Who waits for room in a budget.
    pub(super) till: Till,
    /// What tries of an earlier process had come to.
    pub(super) past: PastTries,
    /// Conversations of completed steps that go on, or may.
    pub(super) sequels: Sequels,
    pub(super) head: u64,
    /// The last event that is in the journal.
    pub(super) recorded: u64,
    pub(super) seq: u64,
    pub(super) sub: u64,
    pub(super) started_at: Timestamp,
}

/// A try that is under way.
pub(super) struct UnderWay {
    pub(super) handle: AbortHandle,
    /// Says when its time is over.
    pub(super) timer: Option<AbortHandle>,
    /// Says that somebody is at work, as long as it lives.
    pub(super) _at_work: AtWork,
    pub(super) cancel: CancelFlag,
    pub(super) place: Arc<Place>,
    pub(super) reading: Reading,
}

pub(super) type Done = oneshot::Sender<Result<(), Fault>>;

/// What one pass through the loop has gathered.
#[derive(Default)]
pub(super) struct Pass {
    /// Emissions that are not stamped yet.
    pub(super) queue: VecDeque<Emission>,
    /// Stamped events, in order; durable ones are appended.
    pub(super) events: Vec<Arc<RunEvent>>,
    /// What is done once the events are in the journal.
    pub(super) effects: Vec<Effect>,
    /// Who waits for the append.
    pub(super) waiting: Vec<Done>,
}

impl Run {
    pub(super) fn new(evaluator: Arc<Evaluator>, ports: Ports, request: RunRequest, prepared: Prepared) -> Self {
        let (sender, wakes) = mpsc::unbounded_channel();
        let settings = Settings { max_concurrency: request.settings.max_concurrency };
        let mut machine = Machine::new(Arc::clone(&request.workflow), &settings);
        if ports.starter.is_some() {
            machine.gate();
        }
        let mut kept_mail = KeptMail::default();
        if prepared.coordinator.is_some() {
            machine.coordinate();
            kept_mail = KeptMail::new(ports.mailboxes.as_ref().map(|store_of| store_of(&request.run_id)));
        }
        machine.limit(request.settings.budget_of(&request.workflow));
        let (bus, started_at) = (Bus::start(&ports.sinks, &ports.clock), ports.clock.now());
        let inbox = Inbox::new(sender);
        let context = Arc::new(ContextSource {
            run_id: request.run_id.clone(),
            workflow_id: request.workflow.hash.clone(),
            clock: Arc::clone(&ports.clock),
            inbox: inbox.clone(),
            variables: Variables::new(request.workflow.first_variables(&request.inputs)),
            recollection: OnceLock::new(),
        });
        let sensitive = Sensitive::of(&request.workflow);
        let mut run = Self {
            evaluator,
            evaluations: Evaluations::default(),
            drops: DropTeller::new(ports.drops.clone()),
            ports,
            request,
            prepared,
            machine,
            inbox,
            wakes,
            tasks: JoinSet::new(),
            attempts: HashMap::new(),
            questions: HashMap::new(),
            deferred: HashMap::new(),
            context,
            leaving: JoinSet::new(),
            left_over: Vec::new(),
            shortened: HashMap::new(),
            transformed: Transformed::default(),
            changing: Changing::default(),
            choosing: HashMap::new(),
            bus,
            concluding: false,
            deadlock: None,
            starter_asked: false,
            starter_failed: None,
            sensitive,
            stretch: Stretch::default(),
            fenced: None,
            mail: Mail::default(),
            called_off: HashMap::new(),
            kept_mail,
            desk: Desk::default(),
            remembering: Remembering::default(),
            lasting: None,
            till: Till::default(),
            past: PastTries::default(),
            sequels: Sequels::default(),
            head: 0,
            recorded: 0,
            seq: 0,
            sub: 0,
            started_at,
        };
        run.remember();
        run.open_lasting();
        run
    }

    /// Runs to the end.
    pub(super) async fn execute(mut self) -> Result<RunResult, Error> {
        let held = self.hold().await?;
        let first = self.run_started();
        self.execute_from(first, held).await
    }

    pub(super) async fn execute_from(mut self, first: Body, held: Option<Held>) -> Result<RunResult, Error> {
        let checked = self.ports.isolation.check(&self.request.workflow.isolation_modes()).await;
        let ready = match checked {
            Ok(warnings) => self.prepared.initialize().await.map(|()| warnings),
            Err(fault) => Err(vec![fault]),
        };
        let warnings = match ready {
            Ok(warnings) => warnings,
            Err(faults) => {
                release(held).await;
                return Err(Error::Refused(faults));
            }
        };
        let outcome = self.walk(first, warnings).await;
        if let Err(Error::Journal(error)) = &outcome {
            self.end_beyond_journal(error).await;
        }
        let mut problems = self.remembered().await;
        self.tasks.abort_all();
        self.leave_all().await;
        let left = self.left_behind();
        let lost = self.lost().await;
        problems.extend(self.settle_lasting().await);
        problems.extend(self.prepared.cleanup().await);
        problems.extend(self.close_mail().await);
        problems.extend(self.drops.drained(self.ports.clock.as_ref()).await);
        problems.extend(self.bus.close(&self.ports.clock, &self.request.cancel).await);
        release(held).await;
        outcome?;
        let result = self.machine.result(&self.request.run_id);
        let mut result = result.ok_or_else(|| Error::Refused(vec![Fault::bug("the run ended without a result")]))?;
        result.warnings.extend(self.prepared.answers.unused(result.status));
        result.warnings.extend(problems);
        result.warnings.extend(lost.into_iter().chain(left));
        result.sensitive = self.sensitive.take().map(Arc::new);
        Ok(result)
    }

    /// Sees to it that every directory that was entered is left, within the grace.
    async fn leave_all(&mut self) {
        let paths: Vec<StepPath> = self.attempts.keys().cloned().collect();
        paths.iter().for_each(|path| _ = self.abandon(path));
        let grace = self.ports.clock.sleep(Duration::from_millis(limits::CANCEL_GRACE_MS));
        let all_left = async { while self.leaving.join_next().await.is_some() {} };
        tokio::select! {
            () = all_left => {}
            () = grace => {}
        }
    }

    /// What steps that were stopped had changed, where that came too late to be recorded.
    fn left_behind(&mut self) -> Vec<String> {
        let mut left = std::mem::take(&mut self.left_over);
        while let Ok(wake) = self.wakes.try_recv() {
            if let Wake::Left { path, changes, .. } = wake {
                left.push((path, changes));
            }
        }
        let told = |(path, changes): (StepPath, Box<Changes>)| {
            let place = changes.patch.unwrap_or(changes.directory);
            format!("{path}: what it had changed when it was stopped is in `{place}` of the run's directory")
        };
        left.into_iter().map(told).collect()
    }

    /// Ends the work on a step from outside; says whether there was any. Its directories are left meanwhile.
    pub(super) fn abandon(&mut self, path: &StepPath) -> bool {
        let Some(UnderWay { handle, timer, cancel, place, .. }) = self.attempts.remove(path) else { return false };
        cancel.set();
        handle.abort();
        timer.iter().for_each(AbortHandle::abort);
        let (inbox, path) = (self.inbox.clone(), path.clone());
        self.leaving.spawn(async move {
            if let Some(changes) = place.leave(TryEnd::CutShort).await {
                let (attempt, changes) = (place.attempt(), Box::new(changes));
                inbox.send(Wake::Left { path, attempt, changes });
            }
        });
        true
    }

    async fn walk(&mut self, first: Body, warnings: Vec<String>) -> Result<(), Error> {
        let mut pass = self.begin(first, warnings).await?;
        self.settle(&mut pass);
        self.ports.gateway.person().stand_still(self.machine.outages());
        // Whoever else starts steps could not take up one that waits.
        if self.machine.waits().defers_approvals() && self.ports.starter.is_none() {
            let waits = self.machine.waits();
            self.ports.gateway.defer_approvals(waits.said_of_calls().chain(waits.denied_calls()));
        }
        self.watch_time_and_cancellation();
        self.watch_wall();
        self.start_coordinator_at_once();
        self.resume_called(&mut pass);
        self.commit(pass).await?;
        while !self.machine.is_finished() {
            let Some(wake) = self.wakes.recv().await else { break };
            let mut pass = Pass::default();
            self.take(wake, &mut pass);
            for _ in 1..limits::COMMIT_WAKES {
                let Ok(wake) = self.wakes.try_recv() else { break };
                self.take(wake, &mut pass);
            }
            self.wake_coordinator(&mut pass);
            if let Some(error) = self.fenced.take() {
                return Err(Error::of_conflict(&self.request.run_id, error));
            }
            self.commit(pass).await?;
            while self.tasks.try_join_next().is_some() {}
        }
        Ok(())
    }

    fn watch_time_and_cancellation(&mut self) {
        let (inbox, cancel) = (self.inbox.clone(), self.request.cancel.clone());
        self.tasks.spawn(async move {
            cancel.cancelled().await;
            inbox.send(Wake::Cancelled);
        });
        if let Some(timeout) = self.timeout() {
            self.wake_after_own_time(&StepPath::ROOT, timeout, Wake::Deadline);
        }
    }

    /// The time that the whole run has.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let limits = [self.request.settings.timeout, self.request.workflow.options.timeout];
        limits.into_iter().flatten().filter(|timeout| !timeout.is_zero()).min()
    }

    pub(super) fn wake_after(&mut self, wait: Duration, wake: Wake) {
        let (inbox, sleep) = (self.inbox.clone(), self.ports.clock.sleep(wait));
        self.tasks.spawn(async move {
            sleep.await;
            inbox.send(wake);
        });
    }

    /// Waits out what is left of a rest; or says that nobody here does.
    pub(super) fn rest(&mut self, path: StepPath, delay: Duration, since: Timestamp) -> Option<Emission> {
        let left = delay.saturating_sub(self.ports.clock.now().since(since));
        let postpones = self.request.settings.pauses == Pauses::Postpone;
        if postpones && !left.is_zero() && self.machine.is_pausing(&path) {
            let body = Body::LoopPostponed { until: since.after(delay) };
            return Some(Emission { path, attempt: None, body });
        }
        self.wake_after(left, Wake::Due(path));
        None
    }

    /// As [`Self::wake_after`], but from when the step began, and the time in which a person is asked there does not count.
    pub(super) fn wake_after_own_time(&mut self, path: &StepPath, wait: Duration, wake: Wake) {
        let (inbox, path, clock) = (self.inbox.clone(), path.clone(), Arc::clone(&self.ports.clock));
        let person = Arc::clone(self.ports.gateway.person());
        let began = if path.is_root() { Some(self.machine.counts_from()) } else { self.machine.started_at(&path) };
        let from = began.unwrap_or_else(|| clock.now());
        self.tasks.spawn(async move {
            person.sleep(&clock, &path, from, wait).await;
            inbox.send(wake);
        });
    }

    fn run_started(&self) -> Body {
        let workflow = &self.request.workflow;
        let plan = Plan::new(&workflow.scope);
        let ids = plan.order().iter().filter_map(|&step| workflow.scope.steps.get(step));
        Body::RunStarted {
            schema_version: event::VERSION,
            workflow: workflow.name.clone(),
            hash: workflow.hash.clone(),
            sources: workflow.sources.clone(),
            inputs: self.request.inputs.clone(),
            input: self.request.input.clone(),
            context_files: Arc::new(self.request.context_files.clone()),
            plugins: self.request.plugins.clone(),
            settings: self.request.settings.shown.clone(),
            plan: ids.map(|step| step.id.to_string()).collect(),
            sensitive: self.sensitive.as_ref().map(Sensitive::places).unwrap_or_default(),
            branched_from: None,
        }
    }

    /// Keeps what stands beside the machine in step with it.
    fn follow(&mut self, event: &RunEvent) {
        self.tell_outer_purse(&event.body);
        self.mail.note(event);
        self.note_for_coordinator(event);
        self.note_for_sequels(event);
        match &event.body {
            Body::QuestionAsked { deferred: true, .. } | Body::StepWaiting(_) => {
                let person = self.ports.gateway.person();
                let open = person.ask(event.path.clone(), &self.ports.clock, Presence::Away);
                self.deferred.insert(event.path.clone(), open);
            }
            Body::VariableSet { key, value } => self.context.variables.set(key, Some(value)),
            Body::BranchChosen { .. } => self.decide_the_others(&event.path),
            Body::StepFinished { .. } | Body::StepCancelled { .. } | Body::StepSkipped { .. } => {
                self.tell_starter(&event.path);
                self.decide_the_others(&event.path);
                self.deferred.remove(&event.path);
                if let Some(question) = self.questions.remove(&event.path) {
                    question.abort();
                }
                // The machine takes the signal back when the loop that it was meant for ends.
                if !self.machine.vars().contains_key(LOOP_CONTINUE) {
                    self.context.variables.set(LOOP_CONTINUE, None);
                }
            }
            _ => {}
        }
    }

    /// Stamps what is queued and feeds it to the machine until nothing more follows.
    pub(super) fn settle(&mut self, pass: &mut Pass) {
        while let Some(emission) = pass.queue.pop_front() {
            let returned = self.returned_before(&emission);
            if !returned.is_empty() {
                pass.queue.push_front(emission);
                returned.into_iter().rev().for_each(|dropped| pass.queue.push_front(dropped));
                continue;
            }
            if !self.machine.expects(&emission.path, emission.attempt, &emission.body) {
                continue;
            }
            let event = Arc::new(self.stamp(emission));
            let effects = if event.body.is_transient() { Vec::new() } else { self.machine.on(&event) };
            self.follow(&event);
            self.tell_of_budgets(&event, pass);
            self.return_mail(&event, pass);
            pass.events.push(event);
            sort_effects(effects, pass);
        }
    }
}

pub(super) async fn release(held: Option<Held>) {
    if let Some(held) = held {
        held.release().await;
    }
}

pub(super) fn sort_effects(effects: Vec<Effect>, pass: &mut Pass) {
    for effect in effects {
        match effect {
            Effect::Emit(emission) => pass.queue.push_back(*emission),
            other => pass.effects.push(other),
        }
    }
}
