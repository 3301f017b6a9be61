//! The loop of one run: wake, settle, append, publish, perform.

use super::perform::failed;
use super::prepare::Prepared;
use super::{Answer, Error, Ports, RunRequest, Wake};
use crate::attempt::{Place, timed_out};
use crate::bus::Bus;
use crate::context::{ContextSource, Variables};
use crate::evaluate::Evaluator;
use crate::recorder::Inbox;
use cofferdam_core::event::{self, Body, RunEvent, RunReason, Sensitive, StepOutput, StepStatus};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::plan::Plan;
use cofferdam_core::port::{AgentFailure, AgentOutput, Append, CancelFlag, Durability, Record, RecordBody, RunIndex};
use cofferdam_core::run::{Effect, Emission, Machine, RunResult, Settings, Stop, Verdict};
use cofferdam_core::time::Timestamp;
use cofferdam_core::{limits, value};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

/// The variable that ends the innermost loop when it is false.
const LOOP_CONTINUE: &str = "loop_continue";

/// A run that is under way.
pub(super) struct Run {
    pub(super) evaluator: Arc<Evaluator>,
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
    /// What code inside the run sees of it.
    pub(super) context: Arc<ContextSource>,
    /// Directories that are being left; outlives `tasks`.
    pub(super) leaving: JoinSet<()>,
    /// Inputs that were shortened in the prompt of a try under way.
    pub(super) shortened: HashMap<StepPath, Vec<String>>,
    bus: Bus,
    /// What sinks must not get, when there is any.
    sensitive: Option<Sensitive>,
    head: u64,
    seq: u64,
    sub: u64,
    started_at: Timestamp,
}

/// A try that is under way.
pub(super) struct UnderWay {
    pub(super) handle: AbortHandle,
    pub(super) cancel: CancelFlag,
    pub(super) place: Arc<Place>,
}

type Done = oneshot::Sender<Result<(), Fault>>;

/// What one pass through the loop has gathered.
#[derive(Default)]
struct Pass {
    /// Emissions that are not stamped yet.
    queue: VecDeque<Emission>,
    /// Stamped events, in order; durable ones are appended.
    events: Vec<Arc<RunEvent>>,
    /// What is done once the events are in the journal.
    effects: Vec<Effect>,
    /// Who waits for the append.
    waiting: Vec<Done>,
}

impl Run {
    pub(super) fn new(evaluator: Arc<Evaluator>, ports: Ports, request: RunRequest, prepared: Prepared) -> Self {
        let (sender, wakes) = mpsc::unbounded_channel();
        let settings = Settings { max_concurrency: request.settings.max_concurrency };
        let machine = Machine::new(Arc::clone(&request.workflow), &settings);
        let bus = Bus::start(&ports.sinks, &ports.clock);
        let started_at = ports.clock.now();
        let inbox = Inbox::new(sender);
        let context = Arc::new(ContextSource {
            run_id: request.run_id.clone(),
            workflow_id: request.workflow.hash.clone(),
            clock: Arc::clone(&ports.clock),
            inbox: inbox.clone(),
            variables: Variables::new(request.workflow.vars.clone()),
        });
        let sensitive = Sensitive::of(&request.workflow);
        Self {
            evaluator,
            ports,
            request,
            prepared,
            machine,
            inbox,
            wakes,
            tasks: JoinSet::new(),
            attempts: HashMap::new(),
            questions: HashMap::new(),
            context,
            leaving: JoinSet::new(),
            shortened: HashMap::new(),
            bus,
            sensitive,
            head: 0,
            seq: 0,
            sub: 0,
            started_at,
        }
    }

    /// Runs to the end.
    pub(super) async fn execute(mut self) -> Result<RunResult, Error> {
        let outcome = match self.prepared.initialize().await {
            Ok(()) => self.walk().await,
            Err(faults) => Err(Error::Refused(faults)),
        };
        self.tasks.abort_all();
        self.leave_all().await;
        let mut problems = self.prepared.cleanup().await;
        problems.extend(self.bus.close(&self.ports.clock, &self.request.cancel).await);
        outcome?;
        let result = self.machine.result(&self.request.run_id);
        let mut result = result.ok_or_else(|| Error::Refused(vec![Fault::bug("the run ended without a result")]))?;
        result.warnings.extend(problems);
        Ok(result)
    }

    /// Sees to it that every directory that was entered is left, within the grace.
    async fn leave_all(&mut self) {
        for (_, UnderWay { handle, cancel, place }) in self.attempts.drain() {
            cancel.set();
            handle.abort();
            self.leaving.spawn(async move { place.leave().await });
        }
        let grace = self.ports.clock.sleep(Duration::from_millis(limits::CANCEL_GRACE_MS));
        let all_left = async { while self.leaving.join_next().await.is_some() {} };
        tokio::select! {
            () = all_left => {}
            () = grace => {}
        }
    }

    async fn walk(&mut self) -> Result<(), Error> {
        self.watch_time_and_cancellation();
        let mut pass = Pass::default();
        pass.queue.push_back(Emission { path: StepPath::ROOT, attempt: None, body: self.run_started() });
        self.settle(&mut pass);
        self.commit(pass).await?;
        while !self.machine.is_finished() {
            let Some(wake) = self.wakes.recv().await else { break };
            let mut pass = Pass::default();
            self.take(wake, &mut pass);
            for _ in 1..limits::COMMIT_WAKES {
                let Ok(wake) = self.wakes.try_recv() else { break };
                self.take(wake, &mut pass);
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

    /// As [`Self::wake_after`], but the time in which a person is asked there does not count.
    pub(super) fn wake_after_own_time(&mut self, path: &StepPath, wait: Duration, wake: Wake) {
        let (inbox, path, clock) = (self.inbox.clone(), path.clone(), Arc::clone(&self.ports.clock));
        let person = Arc::clone(self.ports.gateway.person());
        let from = clock.now();
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
            plugins: self.request.plugins.clone(),
            settings: self.request.settings.shown.clone(),
            plan: ids.map(|step| step.id.to_string()).collect(),
        }
    }

    /// Takes in one wake-up: what still has a place becomes events.
    fn take(&mut self, wake: Wake, pass: &mut Pass) {
        match wake {
            Wake::Ended { path, attempt, outcome } => {
                if self.machine.admits(&path, Some(attempt)) {
                    self.attempts.remove(&path);
                    let body = self.end_of_attempt(&path, outcome);
                    pass.queue.push_back(Emission { path, attempt: Some(attempt), body });
                }
            }
            Wake::Record { path, attempt, body, done } => {
                if body.is_transient() {
                    self.inbox.saw_transient();
                }
                if self.machine.admits(&path, attempt) {
                    pass.queue.push_back(Emission { path, attempt, body });
                    pass.waiting.extend(done);
                } else if let Some(done) = done {
                    let _ = done.send(Err(Fault::cancelled()));
                }
            }
            Wake::Answered { path, answer } => self.take_answer(path, answer, pass),
            Wake::Set { path, attempt, key, value, done } => match self.refuse_variable(&path, attempt, &key) {
                Some(fault) => drop(done.send(Err(fault))),
                None => {
                    pass.queue.push_back(Emission { path, attempt, body: Body::VariableSet { key, value } });
                    pass.waiting.push(done);
                }
            },
            Wake::Look { from, name, reply } => drop(reply.send(self.machine.step_end(&from, &name))),
            Wake::Due(path) => {
                let effects = self.machine.due(&path);
                sort_effects(effects, pass);
            }
            Wake::Expired(path) => {
                let whole = self.machine.timeout_of(&path).unwrap_or_default();
                let effects = self.machine.expire(&path, timed_out(&path, whole));
                sort_effects(effects, pass);
            }
            Wake::Deadline => sort_effects(self.machine.stop(Stop::Reason(RunReason::Timeout)), pass),
            Wake::Cancelled => sort_effects(self.machine.stop(Stop::Cancelled), pass),
        }
        self.settle(pass);
    }

    fn take_answer(&mut self, path: StepPath, answer: Answer, pass: &mut Pass) {
        if !self.machine.admits(&path, None) {
            return;
        }
        match answer {
            Answer::GoOn => sort_effects(self.machine.go_on(&path), pass),
            Answer::Events(bodies) => {
                for body in bodies {
                    let body = self.checked(body);
                    pass.queue.push_back(Emission { path: path.clone(), attempt: None, body });
                }
            }
        }
    }

    /// Why a variable cannot be set by code of this step, if it cannot.
    fn refuse_variable(&self, path: &StepPath, attempt: Option<u32>, key: &str) -> Option<Fault> {
        if !self.machine.admits(path, attempt) {
            return Some(Fault::cancelled());
        }
        self.context.variables.refuse(key)
    }

    /// Keeps what stands beside the machine in step with it.
    fn follow(&mut self, event: &RunEvent) {
        match &event.body {
            Body::VariableSet { key, value } => self.context.variables.set(key, Some(value)),
            Body::StepFinished { .. } | Body::StepCancelled { .. } | Body::StepSkipped { .. } => {
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
    fn settle(&mut self, pass: &mut Pass) {
        while let Some(emission) = pass.queue.pop_front() {
            if !self.machine.expects(&emission.path, emission.attempt, &emission.body) {
                continue;
            }
            let event = Arc::new(self.stamp(emission));
            let effects = if event.body.is_transient() { Vec::new() } else { self.machine.on(&event) };
            self.follow(&event);
            pass.events.push(event);
            sort_effects(effects, pass);
        }
    }

    fn stamp(&mut self, emission: Emission) -> RunEvent {
        let sub = if emission.body.is_transient() {
            self.sub += 1;
            Some(self.sub)
        } else {
            self.seq += 1;
            self.sub = 0;
            None
        };
        RunEvent {
            seq: self.seq,
            sub,
            at: self.ports.clock.now(),
            run_id: self.request.run_id.clone(),
            path: emission.path,
            attempt: emission.attempt,
            body: emission.body,
        }
    }

    /// Appends, publishes, answers who waits, performs; again for what follows at once.
    async fn commit(&mut self, mut pass: Pass) -> Result<(), Error> {
        loop {
            self.append(&pass.events).await?;
            self.publish(&pass.events).await;
            for done in pass.waiting.drain(..) {
                let _ = done.send(Ok(()));
            }
            let mut next = Pass::default();
            for effect in std::mem::take(&mut pass.effects) {
                next.queue.extend(self.perform(effect));
            }
            if next.queue.is_empty() {
                return Ok(());
            }
            self.settle(&mut next);
            pass = next;
        }
    }

    /// Passes events on to the sinks, without what is none of their business.
    async fn publish(&mut self, events: &[Arc<RunEvent>]) {
        if self.bus.is_empty() {
            return;
        }
        let lost = self.inbox.take_lost();
        match &mut self.sensitive {
            None => self.bus.publish(events, lost, &self.request.cancel).await,
            Some(sensitive) => {
                let shown: Vec<_> = events.iter().filter_map(|event| sensitive.publish(event)).map(Arc::new).collect();
                self.bus.publish(&shown, lost, &self.request.cancel).await;
            }
        }
    }

    async fn append(&mut self, events: &[Arc<RunEvent>]) -> Result<(), Error> {
        let durable = events.iter().filter(|event| !event.body.is_transient());
        let records: Vec<Record> =
            durable.map(|event| Record { at: event.at, body: RecordBody::Event(Arc::clone(event)) }).collect();
        if records.is_empty() {
            return Ok(());
        }
        let index = events.iter().find_map(|event| self.index_after(event));
        let request = Append {
            run: self.request.run_id.clone(),
            expected_head: self.head,
            durability: self.durability_of(events),
            records,
            index,
        };
        self.head = self.ports.journal.append(request).await?;
        Ok(())
    }

    /// Only barriers wait for the disk.
    fn durability_of(&self, events: &[Arc<RunEvent>]) -> Durability {
        let ends_run = events.iter().any(|event| matches!(event.body, Body::RunFinished { .. }));
        let barrier = events.iter().any(|event| {
            matches!(
                event.body,
                Body::StepFinished { .. }
                    | Body::ToolCallStarted { .. }
                    | Body::StepRetrying { .. }
                    | Body::StepStarted { .. }
                    | Body::QuestionAsked { .. }
                    | Body::VariableSet { .. }
            )
        });
        if ends_run || (barrier && self.request.settings.durability == Durability::Durable) {
            Durability::Durable
        } else {
            Durability::Written
        }
    }

    fn index_after(&self, event: &RunEvent) -> Option<RunIndex> {
        let status = match &event.body {
            Body::RunStarted { .. } => "running",
            Body::RunFinished { status, .. } => status.as_str(),
            _ => return None,
        };
        Some(RunIndex {
            workflow: self.request.workflow.name.clone(),
            status: status.to_owned(),
            started_at: self.started_at,
        })
    }

    fn end_of_attempt(&mut self, path: &StepPath, outcome: Result<AgentOutput, AgentFailure>) -> Body {
        let AgentOutput { output, usage } = match outcome {
            Ok(output) => output,
            Err(failure) => return self.end_of_failed_attempt(path, failure),
        };
        if let Some(fault) = too_large(&output, self.machine.workflow().options.limits.step_output_bytes) {
            return self.end_of_failed_attempt(path, AgentFailure { usage, ..fault.into() });
        }
        let truncated_inputs = self.shortened.remove(path).unwrap_or_default();
        Body::StepFinished { status: StepStatus::Completed, output, error: None, usage, truncated_inputs }
    }

    fn end_of_failed_attempt(&self, path: &StepPath, failure: AgentFailure) -> Body {
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
        let own = |started| now.since(started).saturating_sub(person.within(path, started, now));
        let spent = self.machine.started_at(path).map_or(Duration::ZERO, own);
        Some((whole.saturating_sub(spent), whole))
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
pub(super) fn too_large(output: &StepOutput, limit: usize) -> Option<Fault> {
    let bytes = output.content.len().saturating_add(value::size(&output.result));
    let message = format!("the step's output has {bytes} bytes, more than the limit of {limit}");
    (bytes > limit).then(|| {
        Fault::step("output_too_large", message)
            .with_hint("write large results to a file, `out:NAME`, and pass its name on")
    })
}

fn sort_effects(effects: Vec<Effect>, pass: &mut Pass) {
    for effect in effects {
        match effect {
            Effect::Emit(emission) => pass.queue.push_back(*emission),
            other => pass.effects.push(other),
        }
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
