//! Budgets: how much a run, an agent or a step may spend, in tokens, money, tool calls and time.
//!
//! What was spent is a fold of recorded events ([`Ledger`]); whoever is about to spend reserves there first. It must not
//! know who spends: models, judges, coordinators and tools all do.

mod account;
mod ledger;
mod money;
mod price;
mod text;

pub use account::{Account, Cost, Mark, Payer, Resource, Spent};
pub use ledger::{Answer, Ask, HoldId, Ledger};
pub use money::Money;
pub use price::{Price, PriceError, Prices};
pub use text::SETTING;

use std::time::Duration;

/// The most that may be spent; absent = no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Tokens, input and output together.
    pub tokens: Option<u64>,
    /// Money, in the currency of the price table.
    pub cost: Option<Money>,
    /// Tool calls.
    pub tool_calls: Option<u64>,
    /// Time. Of a run, from its beginning, without the time in which a person is asked or no process works on it; of a step
    /// or an agent, that of all its tries together.
    pub wall: Option<Duration>,
}

/// What becomes of a run whose budget is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnExceed {
    /// It fails.
    #[default]
    Fail,
    /// What is under way comes to its end, and the run waits to be taken up with a higher budget.
    Pause,
}

impl OnExceed {
    /// The word of documents and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Pause => "pause",
        }
    }
}

/// The budget of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The most that it may spend.
    pub most: Allowance,
    /// What happens when that is used up; none = nobody said, and the run fails.
    pub on_exceed: Option<OnExceed>,
}

impl Allowance {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What this says, and where it says nothing what `other` does.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.or(other.tokens),
            cost: self.cost.or(other.cost),
            tool_calls: self.tool_calls.or(other.tool_calls),
            wall: self.wall.or(other.wall),
        }
    }

    /// The smaller of both, quantity by quantity.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            match (one, other) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            }
        }
        Self {
            tokens: least(self.tokens, other.tokens),
            cost: least(self.cost, other.cost),
            tool_calls: least(self.tool_calls, other.tool_calls),
            wall: least(self.wall, other.wall),
        }
    }

    /// What is left after this was spent. Money that is not known leaves none.
    #[must_use]
    pub fn less(self, spent: &Spent) -> Self {
        Self {
            tokens: self.tokens.map(|most| most.saturating_sub(spent.usage.total())),
            cost: self.cost.map(|most| spent.cost().map_or(Money::ZERO, |cost| most.saturating_sub(cost))),
            tool_calls: self.tool_calls.map(|most| most.saturating_sub(spent.tool_calls)),
            wall: self.wall.map(|most| most.saturating_sub(spent.wall)),
        }
    }
}

impl Budget {
    /// Whether nothing is limited, nor said of what happens then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What this says, and where it says nothing what `other` does: whoever starts a run beats its document.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { most: self.most.or(other.most), on_exceed: self.on_exceed.or(other.on_exceed) }
    }
}
