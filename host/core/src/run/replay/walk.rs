//! The walk: each recorded event is one that was owed, the answer to what was asked, or came from outside.

use super::outside::Outside;
use super::owed::{Earlier, Owed, Question};
use super::same::agree;
use super::{Answer, Answers, Asked, Difference};
use crate::event::{Body, Delivered, LoopEnd, MessageKind, RunEvent, RunStatus, StepStatus};
use crate::fault::Class;
use crate::id::StepPath;
use crate::mail;
use crate::run::machine::Machine;
use crate::run::node::{NodeId, NodeState};
use crate::run::{Effect, Emission, Settings};
use crate::spec::workflow::Workflow;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

type Outcome<T = ()> = Result<T, Box<Difference>>;

/// A walk over a record.
pub(in crate::run) struct Walk<'r, A> {
    workflow: Arc<Workflow>,
    gated: bool,
    pub(super) record: &'r [Arc<RunEvent>],
    pub(super) answers: &'r mut A,
    pub(super) machine: Machine,
    pub(super) owed: Owed,
    /// What is recorded of the last try of each step, and of its question.
    tries: HashMap<StepPath, (Option<u32>, Vec<Arc<RunEvent>>)>,
    earlier: Earlier,
    pub(super) outside: Outside,
    /// What is looked at was copied from another run, whose steps are not all in it.
    copied: bool,
    /// The place of the event that is looked at.
    pub(super) at: usize,
}

impl<'r, A: Answers> Walk<'r, A> {
    pub(in crate::run) fn new(
        workflow: &Arc<Workflow>,
        gated: bool,
        record: &'r [Arc<RunEvent>],
        answers: &'r mut A,
    ) -> Self {
        Self {
            workflow: Arc::clone(workflow),
            gated,
            record,
            answers,
            machine: machine(workflow, gated),
            owed: Owed::default(),
            tries: HashMap::new(),
            earlier: Earlier::default(),
            outside: Outside::default(),
            copied: false,
            at: 0,
        }
    }

    /// Walks over every event.
    pub(in crate::run) async fn finish(&mut self) -> Outcome {
        let record = self.record;
        for (at, event) in record.iter().enumerate() {
            self.at = at;
            self.take(event).await?;
        }
        Ok(())
    }

    pub(in crate::run) fn status(&self) -> Option<RunStatus> {
        self.machine.ended_as()
    }

    async fn take(&mut self, event: &Arc<RunEvent>) -> Outcome {
        let first = self.at == 0;
        if first != matches!(event.body, Body::RunStarted { .. }) {
            let what = if first { "the record does not begin with the start of a run" } else { "the run began twice" };
            return Err(Box::new(Difference::at(event, what).recorded(value(&event.body))));
        }
        self.copied &= !matches!(event.body, Body::RunResumed { .. });
        match &event.body {
            _ if self.copied => self.take_copy(event),
            Body::RunStarted { branched_from, .. } => {
                self.copied = branched_from.is_some();
                self.outside = Outside::of_part(self.record);
                self.feed(event);
            }
            Body::RunResumed { .. } => self.resume(event),
            // What the run saw before anybody asked, and what whoever starts its steps wrote.
            Body::MemorySeen(_) if event.path.is_root() => {
                self.earlier.note(self.at, self.machine.shared());
                self.feed(event);
            }
            Body::MemoryWritten { .. } | Body::MemoryDeleted { .. } if self.gated && event.path.is_root() => {
                self.earlier.note(self.at, self.machine.shared());
                self.feed(event);
            }
            Body::Unknown
            | Body::Newer(_)
            | Body::FilesChanged(_)
            | Body::BudgetWarning(_)
            | Body::BudgetExhausted(_) => self.feed(event),
            Body::RunFinished { .. } => self.end(event).await?,
            // What agents write to each other, and when they hear of it, is nothing that the state leads to.
            _ if event.path.is_coordinator() => self.feed(event),
            _ if event.path.is_delegate() => self.delegated(event)?,
            Body::MessagePosted(_) | Body::MessageDelivered(_) | Body::MessageDropped(_) | Body::Told(_) => {
                self.mail(event).await?;
            }
            Body::StepStarted { .. } if self.takes_slot(&event.path) => self.start(event)?,
            body if is_work(body, event.attempt) => self.work(event)?,
            _ => self.step(event).await?,
        }
        Ok(())
    }

    /// What a sub-agent did is the matter of a call, whose answer is recorded.
    fn delegated(&mut self, event: &Arc<RunEvent>) -> Outcome {
        if !self.machine.admits(&event.path, event.attempt) {
            return Err(self.differs(event, None));
        }
        self.feed(event);
        Ok(())
    }

    /// A message is taken as it is, but for what a step answers that had ended; one that stops its reader does.
    async fn mail(&mut self, event: &Arc<RunEvent>) -> Outcome {
        if matches!(&event.body, Body::MessagePosted(posted) if posted.in_reply_to.is_some()) {
            self.reply(event).await?;
        }
        self.keep(event);
        self.feed(event);
        if let Body::MessageDelivered(Delivered { message_kind: MessageKind::Cancel, text, .. }) = &event.body {
            let effects = self.machine.call_off(&event.path, &mail::called_off(text));
            self.owed.take_in(effects, self.at);
        }
        Ok(())
    }

    /// A step that had ended answers what its agent has read since.
    async fn reply(&mut self, event: &Arc<RunEvent>) -> Outcome {
        let Some((Some(attempt), before)) = self.tries.get(&event.path) else { return Ok(()) };
        let effect = Effect::Resume { path: event.path.clone(), attempt: *attempt };
        let asked = Asked { effect: &effect, recorded: event, before };
        match self.answers.answer(&self.machine, asked).await {
            Answer::Events(bodies) if !bodies.iter().any(|body| agree(body, &event.body)) => {
                Err(self.differs(event, bodies.first()))
            }
            Answer::Differs(difference) => Err(difference),
            Answer::Events(_) | Answer::Taken | Answer::GoOn => Ok(()),
        }
    }

    /// What was copied is believed; a try of it may be taken up.
    fn take_copy(&mut self, event: &Arc<RunEvent>) {
        if matches!(event.body, Body::StepStarted { .. }) {
            self.tries.insert(event.path.clone(), (event.attempt, Vec::new()));
        }
        self.keep(event);
        self.machine.fold(event);
    }

    /// The run goes on from what was recorded: as a process does that folds the record.
    fn resume(&mut self, event: &Arc<RunEvent>) {
        self.machine = machine(&self.workflow, self.gated);
        for before in self.record.iter().take(self.at) {
            self.machine.fold(before);
        }
        self.owed.clear();
        // Who was asked is asked anew.
        self.tries.retain(|_, (attempt, _)| attempt.is_some());
        self.outside = Outside::of_part(self.record.get(self.at..).unwrap_or_default());
        self.feed(event);
    }

    fn takes_slot(&self, path: &StepPath) -> bool {
        self.machine.find(path).is_some_and(|id| self.machine.node(id).works())
    }

    /// A try begins. Which of those that are ready gets a free slot is not known: the record does not say how many
    /// there were, nor when a rest was over.
    fn start(&mut self, event: &Arc<RunEvent>) -> Outcome {
        let id = self.machine.find(&event.path).expect("it takes a slot");
        let announced = self.machine.announce_start(id);
        let Effect::Emit(owed) = &announced else { return Ok(()) };
        let waits = matches!(self.machine.node(id).state, NodeState::Queued | NodeState::Resting);
        let ready = (waits && !self.machine.is_halted(id)) || self.had_begun(id);
        if !ready || owed.attempt != event.attempt || !agree(&owed.body, &event.body) {
            return Err(self.differs(event, ready.then_some(&owed.body)));
        }
        let known = self.tries.get(&event.path).is_some_and(|(attempt, _)| *attempt == event.attempt);
        if !known {
            self.tries.insert(event.path.clone(), (event.attempt, Vec::new()));
        }
        if !waits {
            // The slot was given away before the stop, and the try begins only to be cancelled.
            self.owed.forget(&event.path);
            let node = self.machine.node_mut(id);
            (node.state, node.doom) = (NodeState::Queued, None);
        }
        self.feed(event);
        Ok(())
    }

    /// Whether a step that will be cancelled may have had its slot already when that was decided.
    fn had_begun(&self, id: NodeId) -> bool {
        let node = self.machine.node(id);
        let before = || {
            let own = |event: &&Arc<RunEvent>| event.path == node.path && !is_beside(&event.body);
            let own = self.record.iter().take(self.at).rev().find(own);
            own.is_some_and(|event| {
                let body = &event.body;
                matches!(body, Body::StepReady {} | Body::StepRetrying { .. } | Body::LoopIterationStarted { .. })
            })
        };
        node.state == NodeState::Closing
            && node.doom.is_some()
            && (node.resuming || node.iterates().is_some() || before())
    }

    /// What happened within a try or an evaluation is looked at when it ends.
    fn work(&mut self, event: &Arc<RunEvent>) -> Outcome {
        if !self.machine.admits(&event.path, event.attempt) {
            return Err(self.differs(event, None));
        }
        // Whoever works wakes the run, which has recorded by then all that followed from what was before.
        if matches!(event.body, Body::TurnStarted { .. } | Body::TurnFinished { .. } | Body::ToolCallStarted { .. }) {
            self.nothing_left_out(event)?;
        }
        if matches!(
            event.body,
            Body::VariableSet { .. } | Body::MemoryWritten { .. } | Body::MemoryDeleted { .. } | Body::MemorySeen(_)
        ) {
            self.earlier.note(self.at, self.machine.shared());
        }
        self.keep(event);
        self.feed(event);
        Ok(())
    }

    fn keep(&mut self, event: &Arc<RunEvent>) {
        let asks = matches!(event.body, Body::QuestionAsked { .. } | Body::QuestionAnswered { .. });
        match self.tries.get_mut(&event.path) {
            Some((attempt, events)) if *attempt == event.attempt => events.push(Arc::clone(event)),
            _ if asks => drop(self.tries.insert(event.path.clone(), (None, vec![Arc::clone(event)]))),
            _ => {}
        }
    }

    /// The life of a step: what follows from the state, or from an evaluation.
    async fn step(&mut self, event: &Arc<RunEvent>) -> Outcome {
        let mut tried = Vec::new();
        let mut expected = None;
        self.expire_if_recorded(event);
        loop {
            if self.owed.settle(&self.machine, event, self.is_cut(&event.path)) {
                break;
            }
            if let Some(question) = self.owed.question(&self.machine, event, &tried) {
                tried.push(question.effect.clone());
                if self.pursue(&question, event, &mut expected).await? {
                    break;
                }
            } else if !self.interfere(event) {
                if self.may_be_cut_short(event) || self.was_on_its_way(event) {
                    break;
                }
                return Err(self.differs(event, expected.as_ref()));
            }
        }
        if !self.machine.expects(&event.path, event.attempt, &event.body) {
            return Err(self.differs(event, None));
        }
        if matches!(event.body, Body::StepStarted { .. }) {
            self.tries.remove(&event.path);
        }
        self.keep(event);
        self.feed(event);
        Ok(())
    }

    /// Has a question answered; says whether the event is to be taken as it is.
    async fn pursue(
        &mut self,
        question: &Question,
        event: &Arc<RunEvent>,
        expected: &mut Option<Body>,
    ) -> Outcome<bool> {
        match &question.effect {
            Effect::Wait { delay, since, .. } if matches!(event.body, Body::LoopPostponed { .. }) => {
                // How long a process waits is its own affair; when the pause is over is not.
                let body = Body::LoopPostponed { until: since.after(*delay) };
                let same = body == event.body;
                *expected = Some(body);
                return Ok(same);
            }
            Effect::Wait { path, .. } => {
                let effects = self.machine.due(path);
                self.owed.take_in(effects, self.at);
                return Ok(false);
            }
            Effect::Cancel(_) => return Ok(true),
            Effect::Decide(path) | Effect::Expand(path) if self.is_overdue(path, &event.body) => return Ok(true),
            effect if !matches!(effect, Effect::Start { .. }) && is_bug(&event.body) => return Ok(true),
            _ => {}
        }
        match self.ask(question, event).await {
            Answer::Taken => return Ok(true),
            Answer::Differs(difference) => return Err(difference),
            Answer::GoOn => {
                let (Effect::While { path, .. } | Effect::Until { path, .. }) = &question.effect else {
                    return Ok(false);
                };
                self.owed.remove(&question.effect);
                let effects = self.machine.go_on(path);
                self.owed.take_in(effects, self.at);
            }
            Answer::Events(bodies) => {
                let near = bodies.iter().find(|body| body.kind() == event.body.kind()).or(bodies.first());
                *expected = near.cloned();
                let path = &event.path;
                let owed = |body| Emission { path: path.clone(), attempt: event.attempt, body };
                bodies.into_iter().map(owed).for_each(|owed| self.owed.announce(owed));
            }
        }
        Ok(false)
    }

    /// What came of a question, with the variables as they were when somebody may have looked at them.
    async fn ask(&mut self, question: &Question, event: &Arc<RunEvent>) -> Answer {
        let now = self.machine.shared();
        let mut first = None;
        for shared in self.earlier.since(question.since, &now) {
            self.machine.share(shared);
            let own = self.tries.get(&event.path).filter(|(attempt, _)| *attempt == event.attempt);
            let before = own.map(|(_, events)| events.as_slice()).unwrap_or_default();
            let asked = Asked { effect: &question.effect, recorded: event, before };
            let answer = self.answers.answer(&self.machine, asked).await;
            if fits(&answer, event) {
                first = Some(answer);
                break;
            }
            first.get_or_insert(answer);
        }
        self.machine.share(now);
        first.unwrap_or(Answer::Taken)
    }

    /// The end of the run.
    async fn end(&mut self, event: &Arc<RunEvent>) -> Outcome {
        let Body::RunFinished { error, .. } = &event.body else { return Ok(()) };
        // The journal did not take what happened before it, so nobody knows what that was.
        let beyond = error.as_ref().is_some_and(|error| error.code == "record_too_large");
        if !beyond && !self.machine.is_finished() {
            self.stop_if_recorded();
            self.nothing_left_out(event)?;
            if !self.machine.may_conclude() {
                let what = "the run ended, though steps are left";
                return Err(Box::new(Difference::at(event, what).recorded(value(&event.body))));
            }
            let question = Question { effect: Effect::Conclude, since: self.at };
            match self.ask(&question, event).await {
                Answer::Events(bodies) if bodies.iter().any(|body| agree(body, &event.body)) => {}
                Answer::Events(bodies) => return Err(self.differs(event, bodies.first())),
                Answer::Differs(difference) => return Err(difference),
                Answer::Taken | Answer::GoOn => {}
            }
        }
        if self.machine.is_finished() {
            return Err(self.differs(event, None));
        }
        self.feed(event);
        Ok(())
    }

    fn nothing_left_out(&mut self, event: &Arc<RunEvent>) -> Outcome {
        let Some(owed) = self.owed.left_out(&self.machine) else { return Ok(()) };
        let what = format!("`{}` of {} is missing before it", owed.body.kind(), named(&owed.path));
        let difference = Difference { path: owed.path.clone(), attempt: owed.attempt, ..Difference::at(event, what) };
        Err(Box::new(difference.replayed(value(&owed.body))))
    }

    fn feed(&mut self, event: &Arc<RunEvent>) {
        let effects = self.machine.on(event);
        self.owed.prune(&self.machine, &event.path);
        self.owed.take_in(effects, self.at);
        let completed = matches!(event.body, Body::StepFinished { status: StepStatus::Completed, .. });
        if completed && !self.machine.may_resume(&event.path) {
            self.tries.remove(&event.path);
        }
    }

    /// What is recorded does not follow.
    fn differs(&self, event: &Arc<RunEvent>, expected: Option<&Body>) -> Box<Difference> {
        let owed = self.owed.event_of(&self.machine, &event.path).map(|owed| &owed.body);
        let came = expected.or(owed);
        let what = match came {
            Some(came) if came.kind() == event.body.kind() => format!("`{}` is another one", came.kind()),
            Some(came) => format!("`{}` is recorded, and `{}` came out", event.body.kind(), came.kind()),
            None => format!("nothing leads to `{}` there", event.body.kind()),
        };
        let difference = Difference::at(event, what).recorded(value(&event.body));
        Box::new(match came {
            Some(came) => difference.replayed(value(came)),
            None => difference,
        })
    }
}

/// A machine that gives no slots away.
fn machine(workflow: &Arc<Workflow>, gated: bool) -> Machine {
    let mut machine = Machine::new(Arc::clone(workflow), &Settings { max_concurrency: None });
    machine.slots = machine.slots.closed();
    if gated {
        machine.gate();
    }
    machine
}

/// Whether an answer can be what led to an event.
fn fits(answer: &Answer, event: &RunEvent) -> bool {
    let ends = match &event.body {
        Body::LoopFinished { because, .. } => matches!(because, LoopEnd::While | LoopEnd::Until),
        body => matches!(body, Body::StepFinished { .. }),
    };
    match answer {
        Answer::Events(bodies) => bodies.iter().any(|body| agree(body, &event.body)),
        Answer::GoOn => !ends,
        Answer::Taken => true,
        Answer::Differs(_) => false,
    }
}

/// Whether a step failed of a fault of ours, a panic for instance, which nothing leads to.
fn is_bug(body: &Body) -> bool {
    matches!(body, Body::StepFinished { error: Some(error), .. } if error.class == Class::Bug)
}

/// Whether an event at a step says nothing about where the step is in its life.
fn is_beside(body: &Body) -> bool {
    matches!(
        body,
        Body::Newer(_)
            | Body::Unknown
            | Body::BudgetWarning(_)
            | Body::BudgetExhausted(_)
            | Body::MessagePosted(_)
            | Body::MessageDelivered(_)
            | Body::MessageDropped(_)
            | Body::Told(_)
            | Body::FilesChanged(_)
    )
}

/// Whether an event is about things inside a try or an evaluation.
fn is_work(body: &Body, attempt: Option<u32>) -> bool {
    match body {
        Body::Warning { code, .. } => attempt.is_some() || !["missing_key", "judge_failed"].contains(&code.as_str()),
        Body::MemoryRecalled(_)
        | Body::VariableSet { .. }
        | Body::MemoryWritten { .. }
        | Body::MemoryDeleted { .. }
        | Body::MemorySeen(_) => true,
        body => body.is_of_turn(),
    }
}

fn named(path: &StepPath) -> String {
    if path.is_root() { "the run".to_owned() } else { format!("step `{path}`") }
}

fn value(body: &Body) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}
