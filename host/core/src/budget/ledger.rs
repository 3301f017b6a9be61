//! The ledger of a run: what was spent, and what is held back for requests that are under way.
//!
//! What was spent is charged by recorded events alone. A request reserves the most that it can cost before it is sent and
//! lets go of that when its answer is recorded, so that requests side by side never exceed a budget together. It must not
//! know how anybody waits.

use super::Allowance;
use super::account::{Account, Cost, Mark, Payer, Resource, Spent};
use super::money::Money;
use super::price::Price;
use crate::id::StepPath;
use crate::limits;
use crate::message::Usage;
use crate::time::Timestamp;
use serde_json::Number;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// What somebody is about to ask of a model.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// How long the request is, by estimate.
    pub input_tokens: u64,
    /// The most tokens that the answer may have, if anybody said so.
    pub output_tokens: Option<u32>,
    /// What the model costs, if that is known.
    pub price: Option<Price>,
}

/// What is held back for a request that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HoldId(u64);

#[derive(Debug)]
struct Held {
    of: Vec<Account>,
    tokens: u64,
    cost: Money,
}

/// Whether a request may be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Yes. What is held back is let go with the number; the answer may have so many tokens.
    Granted {
        /// What is held back.
        hold: HoldId,
        /// The most tokens of the answer; none = as it was asked.
        max_tokens: Option<u32>,
    },
    /// Not now: what is under way may leave room for it.
    Wait,
    /// No.
    Exhausted(Box<Mark>),
}

/// A try that is under way, or was.
#[derive(Clone, Copy, Debug)]
struct Try {
    number: u32,
    /// What its turns have cost, which its end tells again.
    charged: Usage,
    since: Option<Timestamp>,
}

/// What a run spends.
#[derive(Debug, Default)]
pub struct Ledger {
    spent: HashMap<Account, Spent>,
    by_model: BTreeMap<Arc<str>, Spent>,
    tries: HashMap<StepPath, Try>,
    held: BTreeMap<HoldId, Held>,
    next: u64,
    warned: HashSet<(String, Resource)>,
}

impl Ledger {
    /// What an account has spent.
    #[must_use]
    pub fn spent(&self, of: &Account) -> Spent {
        self.spent.get(of).copied().unwrap_or_default()
    }

    /// What everything cost.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let by_model = self.by_model.iter().map(|(model, spent)| (Arc::clone(model), spent.cost()));
        Cost { total: self.spent(&Account::Run).cost(), by_model: by_model.collect() }
    }

    /// How much is held back.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.held.len()
    }

    /// A model was asked; `at` = the step, whose end will tell of it again.
    pub fn charge(
        &mut self,
        at: &StepPath,
        payers: &[Payer],
        (model, usage, cost): (&Arc<str>, &Usage, Option<Money>),
    ) {
        self.by_model.entry(Arc::clone(model)).or_default().ask(usage, cost);
        if let Some(own) = self.tries.get_mut(at) {
            own.charged += *usage;
        }
        self.each(payers, |spent| spent.ask(usage, cost));
    }

    /// A tool is called.
    pub fn charge_calls(&mut self, payers: &[Payer], calls: u64) {
        self.each(payers, |spent| spent.tool_calls += calls);
    }

    fn each(&mut self, payers: &[Payer], mut add: impl FnMut(&mut Spent)) {
        for (account, _) in payers {
            match self.spent.get_mut(account) {
                Some(spent) => add(spent),
                None => add(self.spent.entry(account.clone()).or_default()),
            }
        }
    }

    /// A try began, or goes on.
    pub fn begin(&mut self, at: &StepPath, number: u32, now: Timestamp) {
        let own = self.tries.entry(at.clone()).or_insert(Try { number, charged: Usage::default(), since: None });
        if own.number != number {
            *own = Try { number, charged: Usage::default(), since: None };
        }
        own.since = Some(now);
    }

    /// A try ended, and tells all that it spent: what no turn told of is charged now. An agent of somebody else's may tell of
    /// no turns at all, and nobody knows what it cost. Gives what was charged.
    pub fn end(&mut self, at: &StepPath, payers: &[Payer], total: &Usage, now: Timestamp) -> Usage {
        self.rest(at, payers, now);
        let Some(own) = self.tries.get_mut(at) else { return Usage::default() };
        let mut untold = *total;
        untold -= own.charged;
        if !untold.is_empty() {
            own.charged += untold;
            self.each(payers, |spent| spent.ask(&untold, None));
        }
        untold
    }

    /// A try is not at work any more.
    pub fn rest(&mut self, at: &StepPath, payers: &[Payer], now: Timestamp) {
        let Some(since) = self.tries.get_mut(at).and_then(|own| own.since.take()) else { return };
        let took = now.since(since);
        for (account, _) in payers.iter().filter(|(account, _)| *account != Account::Run) {
            let spent = self.spent.entry(account.clone()).or_default();
            spent.wall = spent.wall.saturating_add(took);
        }
    }

    /// The step is done: nobody will tell of its try again.
    pub fn close(&mut self, at: &StepPath) {
        self.tries.remove(at);
    }

    /// The tries that are at work, as far as is recorded.
    #[must_use]
    pub fn at_work(&self) -> Vec<StepPath> {
        self.tries.iter().filter(|(_, own)| own.since.is_some()).map(|(path, _)| path.clone()).collect()
    }

    /// Whether a request may be sent, and what its answer may be. What it may cost at most is held back until
    /// [`Self::release`].
    pub fn reserve(&mut self, payers: &[Payer], ask: &Ask) -> Answer {
        let want = ask.output_tokens.map_or(limits::BUDGET_ANSWER_TOKENS, u64::from);
        let least = want.min(limits::BUDGET_LEAST_ANSWER_TOKENS);
        let mut room = want;
        let mut short = None;
        let mut bounded = false;
        for (account, most) in payers {
            let (tokens, cost) = self.held_back(account);
            for (resource, own) in self.rooms(account, most, ask, (tokens, cost)) {
                bounded = true;
                if own >= want {
                    continue;
                }
                if tokens > 0 || cost > Money::ZERO {
                    return Answer::Wait;
                }
                if own < least && short.is_none() {
                    short = Some(self.shortage(account, most, resource, ask));
                }
                room = room.min(own);
            }
        }
        if let Some(short) = short {
            return Answer::Exhausted(Box::new(short));
        }
        let hold = HoldId(self.next);
        self.next += 1;
        let cost = ask.price.map_or(Money::ZERO, |price| most_for(&price, ask.input_tokens, room));
        let of = payers.iter().map(|(account, _)| account.clone()).collect();
        self.held.insert(hold, Held { of, tokens: ask.input_tokens.saturating_add(room), cost });
        let max_tokens = bounded.then(|| u32::try_from(room).unwrap_or(u32::MAX));
        Answer::Granted { hold, max_tokens }
    }

    /// The answer is recorded, or will never be.
    pub fn release(&mut self, hold: HoldId) {
        self.held.remove(&hold);
    }

    fn held_back(&self, account: &Account) -> (u64, Money) {
        let own = self.held.values().filter(|held| held.of.contains(account));
        own.fold((0, Money::ZERO), |(tokens, cost), held| {
            (tokens.saturating_add(held.tokens), cost.saturating_add(held.cost))
        })
    }

    /// How many tokens an answer may have, by what limits it.
    fn rooms(
        &self,
        account: &Account,
        most: &Allowance,
        ask: &Ask,
        (tokens, cost): (u64, Money),
    ) -> impl Iterator<Item = (Resource, u64)> + use<> {
        let spent = self.spent(account);
        let by_tokens = most.tokens.map(|most| {
            let gone = spent.usage.total().saturating_add(tokens).saturating_add(ask.input_tokens);
            (Resource::Tokens, most.saturating_sub(gone))
        });
        let by_cost = most.cost.map(|most| {
            let room = ask.price.zip(spent.cost()).and_then(|(price, spent)| {
                let gone = spent.saturating_add(cost).saturating_add(price.dearest_input().times(ask.input_tokens));
                // What costs nothing fits, whatever is left.
                let fits = gone <= most;
                let left = most.saturating_sub(gone);
                fits.then(|| left.holds(price.dearest_output()).unwrap_or(u64::MAX))
            });
            (Resource::Cost, room.unwrap_or(0))
        });
        by_tokens.into_iter().chain(by_cost)
    }

    fn shortage(&self, account: &Account, most: &Allowance, resource: Resource, ask: &Ask) -> Mark {
        let least = ask.output_tokens.map_or(limits::BUDGET_LEAST_ANSWER_TOKENS, u64::from);
        let least = least.min(limits::BUDGET_LEAST_ANSWER_TOKENS);
        let needed = match resource {
            Resource::Cost => {
                let known = self.spent(account).cost().and(ask.price);
                known.map(|price| units(most_for(&price, ask.input_tokens, least)))
            }
            _ => Some(ask.input_tokens.saturating_add(least).into()),
        };
        Mark { needed, ..self.mark(account, most, resource, None) }
    }

    /// How far a budget is used up; `wall` = the time of the run, which no event tells.
    #[must_use]
    pub fn mark(&self, account: &Account, most: &Allowance, resource: Resource, wall: Option<Duration>) -> Mark {
        let spent = self.spent(account);
        let (spent, most) = match resource {
            Resource::Tokens => (spent.usage.total().into(), most.tokens.unwrap_or_default().into()),
            Resource::ToolCalls => (spent.tool_calls.into(), most.tool_calls.unwrap_or_default().into()),
            Resource::Cost => (units(spent.priced), units(most.cost.unwrap_or_default())),
            Resource::Wall => (millis(wall.unwrap_or(spent.wall)), millis(most.wall.unwrap_or_default())),
        };
        Mark { of: account.to_string(), resource, spent, most, needed: None }
    }

    /// Why no tool may be called, if none may.
    #[must_use]
    pub fn refuse_call(&self, payers: &[Payer]) -> Option<Mark> {
        let used_up =
            |(account, most): &&Payer| most.tool_calls.is_some_and(|most| self.spent(account).tool_calls >= most);
        payers.iter().find(used_up).map(|(account, most)| self.mark(account, most, Resource::ToolCalls, None))
    }

    /// Budgets that have come so far that somebody should know, and nobody was told.
    #[must_use]
    pub fn news(&self, payers: &[Payer]) -> Vec<Mark> {
        let mut news = Vec::new();
        for (account, most) in payers {
            let spent = self.spent(account);
            let parts = [
                (Resource::Tokens, most.tokens.map(|most| is_far(spent.usage.total().into(), most.into()))),
                (Resource::ToolCalls, most.tool_calls.map(|most| is_far(spent.tool_calls.into(), most.into()))),
                (Resource::Cost, most.cost.map(|most| is_far(spent.priced.parts().into(), most.parts().into()))),
                (
                    Resource::Wall,
                    most.wall
                        .filter(|_| *account != Account::Run)
                        .map(|most| is_far(spent.wall.as_millis(), most.as_millis())),
                ),
            ];
            let far = parts.into_iter().filter(|(_, far)| *far == Some(true)).map(|(resource, _)| resource);
            let marks = far.map(|resource| self.mark(account, most, resource, None));
            news.extend(marks.filter(|mark| !self.is_known(mark)));
        }
        news
    }

    /// Whether that was told.
    #[must_use]
    pub fn is_known(&self, mark: &Mark) -> bool {
        self.warned.contains(&(mark.of.clone(), mark.resource))
    }

    /// That was told.
    pub fn warn(&mut self, mark: &Mark) {
        self.warned.insert((mark.of.clone(), mark.resource));
    }

    /// The run is taken up, perhaps with another budget: what was told may be told again.
    pub fn reopen(&mut self) {
        self.warned.clear();
    }
}

fn most_for(price: &Price, input: u64, output: u64) -> Money {
    price.dearest_input().times(input).saturating_add(price.dearest_output().times(output))
}

fn is_far(spent: u128, most: u128) -> bool {
    spent > 0 && spent.saturating_mul(100) >= most.saturating_mul(u128::from(limits::BUDGET_WARNING_PERCENT))
}

fn units(money: Money) -> Number {
    Number::from_f64(money.units()).unwrap_or_else(|| 0.into())
}

fn millis(time: Duration) -> Number {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::AgentName;
    use proptest::prelude::*;

    /// What somebody does.
    #[derive(Clone, Debug)]
    enum Act {
        /// Asks: who, how long, how much it may get.
        Ask(usize, u16, Option<u16>),
        /// One of those under way gets an answer, of that part of what it may have; or none.
        Answer(usize, u16, bool),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0..3_usize, 0..2_000_u16, proptest::option::of(1..6_000_u16))
                .prop_map(|(who, input, most)| Act::Ask(who, input, most)),
            (0..8_usize, 0..=1_000_u16, any::<bool>()).prop_map(|(which, part, fails)| Act::Answer(which, part, fails)),
        ]
    }

    fn payers(who: usize, run: Allowance, agent: Allowance) -> Vec<Payer> {
        let name = AgentName::parse(["a", "b", "c"].get(who).unwrap()).unwrap();
        vec![(Account::Run, run), (Account::Agent(name), agent)]
    }

    fn price() -> Price {
        let money = |units| Money::from_units(units).unwrap();
        Price { input: money(1e-6), output: money(4e-6), ..Price::default() }
    }

    proptest! {
        #[test]
        fn requests_side_by_side_never_exceed_a_budget(
            acts in proptest::collection::vec(act(), 1..80),
            tokens in proptest::option::of(300..40_000_u64),
            cost in proptest::option::of(1..2_000_u32),
            of_agent in proptest::option::of(300..20_000_u64),
        ) {
            let run = Allowance { tokens, cost: cost.and_then(|parts| Money::from_units(f64::from(parts) * 1e-4)), ..Allowance::default() };
            let agent = Allowance { tokens: of_agent, ..Allowance::default() };
            let (mut ledger, model): (Ledger, Arc<str>) = (Ledger::default(), "m".into());
            let mut under_way: Vec<(usize, HoldId, u64, u64)> = Vec::new();
            for act in acts {
                match act {
                    Act::Ask(who, input, most) => {
                        let ask = Ask { input_tokens: input.into(), output_tokens: most.map(u32::from), price: Some(price()) };
                        match ledger.reserve(&payers(who, run, agent), &ask) {
                            Answer::Granted { hold, max_tokens } => {
                                let bounded = max_tokens.is_some();
                                prop_assert_eq!(bounded, tokens.or(of_agent).is_some() || cost.is_some());
                                prop_assert!(max_tokens.is_none_or(|granted| u64::from(granted) <= most.map_or(4_096, u64::from)));
                                under_way.push((who, hold, input.into(), max_tokens.map_or(100, u64::from)));
                            }
                            Answer::Wait => prop_assert!(!under_way.is_empty(), "nothing is under way that it could wait for"),
                            Answer::Exhausted(mark) => prop_assert!(mark.needed.is_some()),
                        }
                    }
                    Act::Answer(which, part, fails) if !under_way.is_empty() => {
                        let (who, hold, input, granted) = under_way.remove(which % under_way.len());
                        if !fails {
                            let usage = Usage { input, output: granted * u64::from(part) / 1_000, ..Usage::default() };
                            let cost = price().cost(&usage).or(Some(Money::ZERO));
                            ledger.charge(&StepPath::ROOT, &payers(who, run, agent), (&model, &usage, cost));
                        }
                        ledger.release(hold);
                    }
                    Act::Answer(..) => {}
                }
                prop_assert_eq!(ledger.holds(), under_way.len());
                let spent = ledger.spent(&Account::Run);
                prop_assert!(tokens.is_none_or(|most| spent.usage.total() <= most));
                prop_assert!(run.cost.is_none_or(|most| spent.priced <= most));
                for who in 0..3 {
                    let (own, _) = payers(who, run, agent).pop().unwrap();
                    prop_assert!(of_agent.is_none_or(|most| ledger.spent(&own).usage.total() <= most));
                }
            }
        }
    }

    #[test]
    fn a_request_gets_what_is_left_and_none_gets_less_than_is_of_use() {
        let payers = [(Account::Run, Allowance { tokens: Some(1_000), ..Allowance::default() })];
        let ask = |input_tokens| Ask { input_tokens, output_tokens: None, price: None };
        let mut ledger = Ledger::default();
        let Answer::Granted { hold, max_tokens } = ledger.reserve(&payers, &ask(100)) else { panic!("there is room") };
        assert_eq!(max_tokens, Some(900));
        assert_eq!(ledger.reserve(&payers, &ask(100)), Answer::Wait);
        ledger.release(hold);
        let usage = Usage { input: 100, output: 700, ..Usage::default() };
        ledger.charge(&StepPath::ROOT, &payers, (&"m".into(), &usage, None));
        let Answer::Exhausted(mark) = ledger.reserve(&payers, &ask(100)) else { panic!("there is none") };
        let told = "the run has spent 800 tokens of 1000 tokens, and what comes next may need 356 tokens";
        assert_eq!(mark.to_string(), told);
        assert_eq!(ledger.news(&payers).len(), 1);
        assert_eq!(ledger.cost().total, None, "nobody knows the price");
    }

    #[test]
    fn what_costs_nothing_fits_a_budget_that_is_used_up() {
        let payers = [(Account::Run, Allowance { cost: Some(Money::ZERO), ..Allowance::default() })];
        let ask = |price| Ask { input_tokens: 100, output_tokens: None, price };
        let mut ledger = Ledger::default();
        assert!(matches!(ledger.reserve(&payers, &ask(Some(Price::default()))), Answer::Granted { .. }));
        assert!(matches!(Ledger::default().reserve(&payers, &ask(Some(price()))), Answer::Exhausted(_)));
        assert!(matches!(Ledger::default().reserve(&payers, &ask(None)), Answer::Exhausted(_)));
    }

    #[test]
    fn a_try_that_tells_of_more_than_its_turns_is_charged_the_rest_once() {
        let (payers, path) = ([(Account::Run, Allowance::default())], StepPath::from("s"));
        let usage = |input| Usage { input, ..Usage::default() };
        let mut ledger = Ledger::default();
        ledger.begin(&path, 1, Timestamp::from_millis(0));
        ledger.charge(&path, &payers, (&"m".into(), &usage(10), Some(Money::ZERO)));
        ledger.end(&path, &payers, &usage(10), Timestamp::from_millis(1));
        assert_eq!(ledger.cost().total, Some(Money::ZERO));
        ledger.begin(&path, 2, Timestamp::from_millis(2));
        ledger.end(&path, &payers, &usage(7), Timestamp::from_millis(3));
        ledger.end(&path, &payers, &usage(7), Timestamp::from_millis(3));
        assert_eq!(ledger.spent(&Account::Run).usage.input, 17);
        assert_eq!(ledger.cost().total, None);
    }
}
