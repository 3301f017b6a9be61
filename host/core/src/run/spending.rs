//! What a run spends: the ledger as a fold of events, and whose budgets pay for a step.
//!
//! Whoever spends something new, a sub-agent for instance, needs a path below its step and an event that tells of it in
//! [`Machine::note_spending`]; budgets, warnings and results follow.

use super::machine::Machine;
use crate::budget::{
    self, Account, Allowance, Answer, Ask, Budget, Cost, HoldId, Ledger, Mark, Money, Payer, Resource, Spent,
};
use crate::event::{self, Body, RunEvent, StepStatus};
use crate::id::StepPath;
use crate::message::Usage;
use crate::spec::workflow::{LoopKind, Scope, Step, Workflow};
use crate::time::Timestamp;
use crate::value::Map;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What is spent, and what may be.
#[derive(Debug, Default)]
pub(super) struct Spending {
    ledger: Ledger,
    /// What was asked of models by each step, and by those inside of it.
    by_step: HashMap<StepPath, Spent>,
    budget: Budget,
    /// What was given in the record, beside the document.
    given: Budget,
    /// Steps or agents have budgets of their own.
    own: bool,
    /// The budget that was used up last, since the run was taken up.
    exhausted: Option<Mark>,
}

/// What a digest tells of a completed try: what its turns cost and how many tools it called, tokens by model, and all tokens.
pub(super) type Told<'t> = ((Vec<Option<Money>>, u64), &'t [(Arc<str>, Usage)], &'t Usage);

impl Machine {
    /// From now on the run may spend no more than this.
    pub fn limit(&mut self, budget: Budget) {
        self.spending.budget = budget;
        self.spending.own = has_own(&self.workflow, &|own| !own.is_empty());
    }

    /// What the run may spend.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.spending.budget
    }

    /// Whether there is any budget: of the run, of a step, of an agent.
    #[must_use]
    pub fn has_budgets(&self) -> bool {
        !self.spending.budget.most.is_empty() || self.spending.own
    }

    /// What the run has spent.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.spending.ledger.spent(&Account::Run)
    }

    /// What the run cost.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.spending.ledger.cost()
    }

    /// What the run cost, when a model was asked and that is known.
    #[must_use]
    pub fn known_cost(&self) -> Option<Money> {
        self.cost_of(&StepPath::ROOT)
    }

    /// The same of a step, with what is inside of it.
    pub(super) fn cost_of(&self, path: &StepPath) -> Option<Money> {
        self.spending.by_step.get(path)?.cost()
    }

    /// Whether a step may send a request; see [`Ledger::reserve`].
    pub fn reserve(&mut self, path: &StepPath, ask: &Ask) -> Answer {
        let payers = self.payers(path);
        self.spending.ledger.reserve(&payers, ask)
    }

    /// The answer to a request is recorded, or will never be.
    pub fn release(&mut self, hold: HoldId) {
        self.spending.ledger.release(hold);
    }

    /// Whether no request is under way for which something is held back.
    #[must_use]
    pub fn holds_nothing(&self) -> bool {
        self.spending.ledger.holds() == 0
    }

    /// Why a step may call no tool, if it may not.
    #[must_use]
    pub fn refuse_call(&self, path: &StepPath) -> Option<Mark> {
        self.spending.ledger.refuse_call(&self.payers(path))
    }

    /// The time that the step's tries have left by its budgets, and the budget that ends first.
    #[must_use]
    pub fn wall_left(&self, path: &StepPath) -> Option<(Duration, Mark)> {
        let payers = self.payers(path);
        let own = payers.iter().filter(|(account, _)| *account != Account::Run);
        let left = own.filter_map(|(account, most)| {
            let left = most.wall?.saturating_sub(self.spending.ledger.spent(account).wall);
            Some((left, self.spending.ledger.mark(account, most, Resource::Wall, most.wall)))
        });
        left.min_by_key(|(left, _)| *left)
    }

    /// How far the time of the run's budget is used up.
    #[must_use]
    pub fn wall_mark(&self, wall: Duration) -> Mark {
        self.spending.ledger.mark(&Account::Run, &self.spending.budget.most, Resource::Wall, Some(wall))
    }

    /// Budgets that have come so far that somebody should know, and nobody was told; each is given once.
    pub fn budget_news(&mut self, path: &StepPath) -> Vec<Mark> {
        let news = self.spending.ledger.news(&self.payers(path));
        news.iter().for_each(|mark| self.spending.ledger.warn(mark));
        news
    }

    /// The budget that was used up last.
    #[must_use]
    pub fn exhausted(&self) -> Option<&Mark> {
        self.spending.exhausted.as_ref()
    }

    /// Calls of a step whose end is not recorded, those of its sub-agents as `@CALL/CALL`.
    pub fn open_calls(&self, path: &StepPath) -> impl Iterator<Item = &str> {
        let calls = self.find(path).map(|id| self.node(id).open_calls.as_slice());
        calls.unwrap_or_default().iter().map(AsRef::as_ref)
    }

    /// The budget that whoever started the run, or went on with it, gave it: of each quantity what was said last.
    #[must_use]
    pub fn given_budget(&self) -> Budget {
        self.spending.given
    }

    /// Who pays for what happens at a path: the run, the agent, and every step around it that has a budget.
    fn payers(&self, path: &StepPath) -> Vec<Payer> {
        let path = &path.step();
        let mut payers = vec![(Account::Run, self.spending.budget.most)];
        if !self.spending.own {
            return payers;
        }
        let agent = self.step_at(path).and_then(Step::agent);
        let agent = agent.and_then(|name| Some((name, self.workflow.agents.get(name)?.budget)));
        payers.extend(agent.filter(|(_, own)| !own.is_empty()).map(|(name, own)| (Account::Agent(name.clone()), own)));
        for around in path.upwards().filter(|path| !path.is_root() && !path.as_str().ends_with(']')) {
            let own = self.step_at(&around).map(|step| step.budget).unwrap_or_default();
            if !own.is_empty() {
                payers.push((Account::Step(around), own));
            }
        }
        payers
    }

    /// Takes in what an event tells of spending; `before` = when the run was heard of last.
    pub(super) fn note_spending(&mut self, event: &RunEvent, before: Timestamp) {
        // Of sub-agents the step pays.
        let (path, at) = (&event.path.step(), event.at);
        match &event.body {
            Body::StepStarted { .. } => {
                if let Some(attempt) = event.attempt {
                    self.spending.ledger.begin(path, attempt, at);
                }
            }
            Body::TurnFinished { model, usage, cost, .. }
            | Body::TurnFailed { model, usage, cost, .. }
            | Body::Spent(event::Spending { model, usage, cost }) => {
                self.charge(path, model, usage, *cost);
            }
            Body::ToolCallStarted { .. } => {
                let payers = self.payers(path);
                self.spending.ledger.charge_calls(&payers, 1);
            }
            Body::StepRetrying { usage, .. } if event.attempt.is_some() => self.end_try(path, usage, at),
            Body::StepFinished { usage, status, .. } if event.attempt.is_some() => {
                self.end_try(path, usage, at);
                if *status == StepStatus::Completed {
                    self.spending.ledger.close(path);
                }
            }
            Body::StepCancelled { .. } | Body::StepWaiting(_) => {
                let payers = self.payers(path);
                self.spending.ledger.rest(path, &payers, at);
            }
            Body::RunStarted { settings, .. } => self.give(settings),
            Body::RunResumed { settings, .. } => {
                self.give(settings);
                for path in self.spending.ledger.at_work() {
                    let payers = self.payers(&path);
                    self.spending.ledger.rest(&path, &payers, before);
                }
                self.spending.ledger.reopen();
                self.spending.exhausted = None;
            }
            Body::BudgetWarning(mark) => self.spending.ledger.warn(mark),
            Body::BudgetExhausted(mark) => self.spending.exhausted = Some(mark.clone()),
            _ => {}
        }
    }

    fn give(&mut self, settings: &Map) {
        let given = settings.get(budget::SETTING).and_then(Value::as_object).map(Budget::from_map);
        self.spending.given = given.unwrap_or_default().or(self.spending.given);
    }

    fn charge(&mut self, path: &StepPath, model: &Arc<str>, usage: &Usage, cost: Option<Money>) {
        let payers = self.payers(path);
        self.spending.ledger.charge(path, &payers, (model, usage, cost));
        for around in path.upwards() {
            self.spending.by_step.entry(around).or_default().ask(usage, cost);
        }
    }

    fn end_try(&mut self, path: &StepPath, total: &Usage, at: Timestamp) {
        let payers = self.payers(path);
        let untold = self.spending.ledger.end(path, &payers, total, at);
        if !untold.is_empty() {
            for around in path.upwards() {
                self.spending.by_step.entry(around).or_default().ask(&untold, None);
            }
        }
    }

    /// Takes in what a digest tells of a completed try.
    pub(super) fn fold_spending(
        &mut self,
        path: &StepPath,
        (attempt, started, ended): (u32, i64, i64),
        ((costs, calls), models, total): Told<'_>,
    ) {
        self.spending.ledger.begin(path, attempt, Timestamp::from_millis(started));
        for (turn, (model, usage)) in models.iter().enumerate() {
            self.charge(path, model, usage, costs.get(turn).copied().flatten());
        }
        let payers = self.payers(path);
        self.spending.ledger.charge_calls(&payers, calls);
        self.end_try(path, total, Timestamp::from_millis(ended));
        self.spending.ledger.close(path);
    }
}

/// Whether money is limited anywhere: then the price of every model must be known.
#[must_use]
pub fn limits_cost(workflow: &Workflow, budget: &Budget) -> bool {
    budget.most.cost.is_some() || has_own(workflow, &|own| own.cost.is_some())
}

/// Whether a step or an agent has such a budget of its own.
fn has_own(workflow: &Workflow, such: &dyn Fn(&Allowance) -> bool) -> bool {
    fn within(scope: &Scope, such: &dyn Fn(&Allowance) -> bool) -> bool {
        scope.steps.iter().any(|step| {
            let judge = match step.repeat.as_ref().map(|repeat| &repeat.kind) {
                Some(LoopKind::Repeat(repeat)) => repeat.judge.as_deref(),
                _ => None,
            };
            such(&step.budget)
                || judge.is_some_and(|judge| such(&judge.budget))
                || step.inner().is_some_and(|inner| within(inner, such))
        })
    }
    workflow.agents.values().any(|agent| such(&agent.budget)) || within(&workflow.scope, such)
}
