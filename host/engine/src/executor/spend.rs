//! Budgets at work: who may ask a model or call a tool, who waits for room, and what becomes of a run that has none left.
//!
//! What is spent is a matter of the machine's ledger. It must not count anything by itself.

use super::Wake;
use super::run::{Pass, Run};
use crate::purse::{Joint, RunPurse};
use cofferdam_core::budget::{Account, Answer, Ask, HoldId, Mark, OnExceed, Resource};
use cofferdam_core::event::{self, Body, RunEvent, RunReason};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::StepPath;
use cofferdam_core::limits;
use cofferdam_core::port::{Grant, Hold, Need, Purse};
use cofferdam_core::run::{Emission, Stop};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Who waits, and what for.
#[derive(Default)]
pub(super) struct Till {
    /// For what requests under way may leave.
    waiting: Vec<Spender>,
    /// For a higher budget, which the run ends with.
    parked: Vec<Spender>,
    /// The run comes to rest: nothing more is spent.
    pausing: bool,
}

/// Somebody who is about to spend something.
struct Spender {
    path: StepPath,
    attempt: Option<u32>,
    on: Spends,
}

/// What on.
enum Spends {
    Request { need: Need, reply: oneshot::Sender<Result<Grant, Fault>> },
    Call { body: Box<Body>, done: oneshot::Sender<Result<(), Fault>> },
}

impl Spender {
    fn refuse(self, fault: Fault) {
        match self.on {
            Spends::Request { reply, .. } => drop(reply.send(Err(fault))),
            Spends::Call { done, .. } => drop(done.send(Err(fault))),
        }
    }

    /// Whether nobody waits for the answer any more.
    fn has_left(&self) -> bool {
        match &self.on {
            Spends::Request { reply, .. } => reply.is_closed(),
            Spends::Call { done, .. } => done.is_closed(),
        }
    }

    /// Whether it is what a call of a step waits for that has not ended: a call that this one makes, or the work of a sub-agent.
    fn is_within(&self, step: &StepPath, open: &str) -> bool {
        let below = self.path.as_str().get(step.as_str().len()..).unwrap_or_default();
        let (of, call) = open.rsplit_once('/').unwrap_or(("", open));
        if below == of {
            let nested = self.call_id().and_then(|own| own.strip_prefix(call));
            return nested.is_some_and(|rest| rest.starts_with('.'));
        }
        let rest = below.strip_prefix(&format!("{of}@{call}"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
    }

    fn call_id(&self) -> Option<&str> {
        match &self.on {
            Spends::Call { body, .. } => match &**body {
                Body::ToolCallStarted { call_id, .. } => Some(call_id),
                _ => None,
            },
            Spends::Request { .. } => None,
        }
    }
}

impl Run {
    /// Who pays for what a try asks of models.
    pub(super) fn purse(&self, path: &StepPath, attempt: u32) -> Arc<dyn Purse> {
        let (inbox, path) = (self.inbox.clone(), path.clone());
        // One whose run has no budget still takes in what is spent elsewhere.
        let told = RunPurse { inbox: inbox.clone(), path, attempt, limited: self.machine.has_budgets() };
        match &self.request.settings.purse {
            None => Arc::new(told),
            Some(outer) => Arc::new(Joint { own: Arc::new(told), outer: Arc::clone(outer), inbox }),
        }
    }

    /// Tells whoever pays for this run what it spends.
    pub(super) fn tell_outer_purse(&self, body: &Body) {
        if let (
            Some(outer),
            Body::TurnFinished { model, usage, cost, .. }
            | Body::TurnFailed { model, usage, cost, .. }
            | Body::Spent(event::Spending { model, usage, cost }),
        ) = (&self.request.settings.purse, body)
        {
            outer.spent(model, usage, *cost);
        }
    }

    /// Takes in what is about budgets, the intent to call a tool too; gives back what is not.
    pub(super) fn take_spending(&mut self, wake: Wake, pass: &mut Pass) -> Option<Wake> {
        match wake {
            Wake::Record { path, attempt, body: body @ Body::ToolCallStarted { .. }, done: Some(done) } => {
                self.spend(Spender { path, attempt, on: Spends::Call { body: Box::new(body), done } }, pass);
            }
            Wake::Reserve { path, attempt, need, reply } => {
                let on = Spends::Request { need, reply };
                self.spend(Spender { path, attempt: Some(attempt), on }, pass);
            }
            Wake::Released(hold) => self.released(hold, pass),
            Wake::LetGo(hold) => drop(hold),
            Wake::Wall(spent) => self.wall(spent, pass),
            Wake::OwnWall { path, attempt, mark } => self.own_wall(path, attempt, mark, pass),
            other => return Some(other),
        }
        None
    }

    /// Somebody is about to spend something.
    fn spend(&mut self, spender: Spender, pass: &mut Pass) {
        if !self.machine.admits(&spender.path, spender.attempt) {
            return spender.refuse(Fault::cancelled());
        }
        if self.till.pausing {
            return self.till.parked.push(spender);
        }
        match spender.on {
            Spends::Request { need, reply } => self.request(spender.path, spender.attempt, (need, reply), pass),
            Spends::Call { body, done } => match self.machine.refuse_call(&spender.path) {
                None => {
                    pass.queue.push_back(Emission { path: spender.path, attempt: spender.attempt, body: *body });
                    pass.waiting.push(done);
                }
                Some(mark) => self.exhaust(Spender { on: Spends::Call { body, done }, ..spender }, mark, pass),
            },
        }
    }

    fn request(
        &mut self,
        path: StepPath,
        attempt: Option<u32>,
        (need, reply): (Need, oneshot::Sender<Result<Grant, Fault>>),
        pass: &mut Pass,
    ) {
        let price = self.request.settings.prices.of(&need.model).copied();
        let ask = Ask { input_tokens: need.input_tokens, output_tokens: need.output_tokens, price };
        match self.machine.reserve(&path, &ask) {
            Answer::Granted { hold, max_tokens } => {
                let inbox = self.inbox.clone();
                let hold = Hold::new(move || inbox.send(Wake::Released(hold)));
                // Who has left lets go of it as well.
                drop(reply.send(Ok(Grant { max_tokens, hold })));
            }
            Answer::Wait => self.till.waiting.push(Spender { path, attempt, on: Spends::Request { need, reply } }),
            Answer::Exhausted(mark) => {
                self.exhaust(Spender { path, attempt, on: Spends::Request { need, reply } }, *mark, pass);
            }
        }
    }

    /// A request is over: somebody who waited may have room.
    fn released(&mut self, hold: HoldId, pass: &mut Pass) {
        self.machine.release(hold);
        for spender in std::mem::take(&mut self.till.waiting) {
            if !spender.has_left() {
                self.spend(spender, pass);
            }
        }
    }

    /// A budget is used up: the step fails, or the run does, or it comes to rest.
    fn exhaust(&mut self, spender: Spender, mark: Mark, pass: &mut Pass) {
        let fault = exhausted(&mark);
        let of_run = self.is_of_run(&mark);
        let body = Body::BudgetExhausted(mark);
        pass.queue.push_back(Emission { path: spender.path.clone(), attempt: spender.attempt, body });
        self.settle(pass);
        match self.on_exceed() {
            OnExceed::Pause => {
                self.till.pausing = true;
                self.till.parked.push(spender);
            }
            OnExceed::Fail => {
                spender.refuse(fault);
                if of_run {
                    self.stop(Stop::Reason(RunReason::Budget), pass);
                }
            }
        }
    }

    fn on_exceed(&self) -> OnExceed {
        self.machine.budget().on_exceed.unwrap_or_default()
    }

    fn is_of_run(&self, mark: &Mark) -> bool {
        mark.of == Account::Run.to_string()
    }

    /// Ends a run that comes to rest, once nothing is under way: neither a request nor a call is cut short.
    pub(super) fn pause_at_rest(&mut self, pass: &mut Pass) {
        // What has only its end before it ends.
        if !self.till.pausing || self.machine.is_stopped() || self.machine.is_concluding() {
            return;
        }
        let waiting = std::mem::take(&mut self.till.waiting);
        self.till.parked.extend(waiting);
        self.till.parked.retain(|spender| !spender.has_left());
        let rests = self.machine.holds_nothing() && self.attempts.keys().all(|path| self.is_parked(path));
        if rests {
            self.till.parked.clear();
            self.stop(Stop::Paused, pass);
            self.settle(pass);
        }
    }

    /// Whether a try does nothing but wait for a higher budget.
    fn is_parked(&self, path: &StepPath) -> bool {
        let own = || self.till.parked.iter().filter(|spender| spender.path.step() == *path);
        own().next().is_some()
            && self.machine.open_calls(path).all(|call| own().any(|parked| parked.is_within(path, call)))
    }

    /// Says how far budgets are used up after something was spent.
    pub(super) fn tell_of_budgets(&mut self, event: &RunEvent, pass: &mut Pass) {
        let spends = matches!(
            event.body,
            Body::TurnFinished { .. }
                | Body::TurnFailed { .. }
                | Body::Spent(_)
                | Body::ToolCallStarted { .. }
                | Body::StepFinished { .. }
                | Body::StepRetrying { .. }
        );
        if spends && self.machine.has_budgets() && !self.machine.is_finished() {
            let news = self.machine.budget_news(&event.path).into_iter().map(Body::BudgetWarning);
            pass.queue.extend(news.map(|body| Emission { path: StepPath::ROOT, attempt: None, body }));
        }
    }

    /// Watches the time of the run's budget.
    pub(super) fn watch_wall(&mut self) {
        let Some(wall) = self.machine.budget().most.wall else { return };
        let warned = wall / 100 * limits::BUDGET_WARNING_PERCENT;
        for wait in [warned, wall] {
            let (inbox, clock) = (self.inbox.clone(), Arc::clone(&self.ports.clock));
            let person = Arc::clone(self.ports.gateway.person());
            // All that any process worked on it counts.
            let from = self.machine.began_at();
            self.tasks.spawn(async move {
                person.sleep(&clock, &StepPath::ROOT, from, wait).await;
                inbox.send(Wake::Wall(wait));
            });
        }
    }

    /// The time of the run's budget is over, or most of it.
    fn wall(&mut self, spent: Duration, pass: &mut Pass) {
        let mark = self.machine.wall_mark(spent);
        let over = self.machine.budget().most.wall.is_some_and(|most| spent >= most);
        let body = if over { Body::BudgetExhausted(mark) } else { Body::BudgetWarning(mark) };
        if self.machine.is_stopped() || self.machine.is_concluding() {
            return;
        }
        pass.queue.push_back(Emission { path: StepPath::ROOT, attempt: None, body });
        self.settle(pass);
        match self.on_exceed() {
            OnExceed::Pause if over => self.till.pausing = true,
            OnExceed::Fail if over => self.stop(Stop::Reason(RunReason::Budget), pass),
            OnExceed::Pause | OnExceed::Fail => {}
        }
    }

    /// Watches the time that a try has by the budgets of its step and agent.
    pub(super) fn watch_own_wall(&mut self, path: &StepPath, attempt: u32) {
        let Some((left, mark)) = self.machine.wall_left(path) else { return };
        let (inbox, clock, path) = (self.inbox.clone(), Arc::clone(&self.ports.clock), path.clone());
        let (person, from) = (Arc::clone(self.ports.gateway.person()), clock.now());
        self.tasks.spawn(async move {
            person.sleep(&clock, &path, from, left).await;
            inbox.send(Wake::OwnWall { path, attempt, mark });
        });
    }

    /// The time that a try has by a budget is over.
    fn own_wall(&mut self, path: StepPath, attempt: u32, mark: Mark, pass: &mut Pass) {
        if self.machine.attempt_of(&path) != Some(attempt) {
            return;
        }
        let fault = exhausted(&mark);
        let body = Body::BudgetExhausted(mark);
        pass.queue.push_back(Emission { path: path.clone(), attempt: Some(attempt), body });
        if self.on_exceed() == OnExceed::Pause {
            self.till.pausing = true;
            return;
        }
        self.abandon(&path);
        let body = self.end_of_attempt(&path, Err(fault.into()));
        pass.queue.push_back(Emission { path, attempt: Some(attempt), body });
    }

    /// What a run fails of whose budget is used up.
    pub(super) fn budget_fault(&self) -> Option<Fault> {
        self.machine.exhausted().map(exhausted)
    }
}

/// Why something is not done.
fn exhausted(mark: &Mark) -> Fault {
    let unknown = mark.resource == Resource::Cost && mark.needed.is_none();
    let why = if unknown { ", and it is not known what that costs which was or would be asked" } else { "" };
    Fault::step("budget_exhausted", format!("the budget is used up: {mark}{why}"))
        .with_hint("`cofferdam resume RUN --budget ...` goes on with a higher one; that of a step or an agent stands in the document")
}
