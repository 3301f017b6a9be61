//! Whose budgets there are, of what, how far they are used up, and what something cost.

use super::Allowance;
use super::money::Money;
use crate::id::{AgentName, StepPath};
use crate::message::Usage;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Number;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Whose budget it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Account {
    /// The run's.
    Run,
    /// That of an agent, over all its steps.
    Agent(AgentName),
    /// That of a step, with all that is inside of it.
    Step(StepPath),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run => f.write_str("the run"),
            Self::Agent(name) => write!(f, "agent `{name}`"),
            Self::Step(path) => write!(f, "step `{path}`"),
        }
    }
}

/// An account that pays, and the most that it may.
pub type Payer = (Account, Allowance);

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Tokens.
    Tokens,
    /// Money, in units of currency.
    Cost,
    /// Tool calls.
    ToolCalls,
    /// Time, in milliseconds.
    Wall,
}

/// How far a budget is used up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Whose it is, for people: `the run`, "agent `a`", "step `s`".
    pub of: String,
    /// What it is of.
    pub resource: Resource,
    /// What was spent.
    pub spent: Number,
    /// The most that may be.
    pub most: Number,
    /// The least that what comes next would have cost, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<Number>,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |number: &Number| match self.resource {
            Resource::Tokens => format!("{number} tokens"),
            Resource::ToolCalls => format!("{number} tool calls"),
            Resource::Cost => number.as_f64().and_then(Money::from_units).unwrap_or_default().to_string(),
            Resource::Wall => format!("{:?}", Duration::from_millis(number.as_u64().unwrap_or_default())),
        };
        write!(f, "{} has spent {} of {}", self.of, shown(&self.spent), shown(&self.most))?;
        match &self.needed {
            Some(needed) => write!(f, ", and what comes next may need {}", shown(needed)),
            None => Ok(()),
        }
    }
}

/// What an account has spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Tokens.
    pub usage: Usage,
    /// Money, as far as it is known.
    pub priced: Money,
    /// How often something was spent whose price is not known.
    pub unpriced: u64,
    /// Tool calls.
    pub tool_calls: u64,
    /// Time of tries.
    pub wall: Duration,
}

impl Spent {
    /// What it cost; none when a part of it is not known.
    #[must_use]
    pub fn cost(&self) -> Option<Money> {
        (self.unpriced == 0).then_some(self.priced)
    }

    /// Adds what was asked of a model.
    pub fn ask(&mut self, usage: &Usage, cost: Option<Money>) {
        self.usage += *usage;
        match cost {
            Some(cost) => self.priced = self.priced.saturating_add(cost),
            None => self.unpriced += 1,
        }
    }
}

/// What a run cost. Where a price is not known it says so: on the wire `"unknown"`, never 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// All of it; none = not known.
    #[serde(serialize_with = "known")]
    pub total: Option<Money>,
    /// The same by model, for those that were asked.
    #[serde(serialize_with = "known_each")]
    pub by_model: BTreeMap<Arc<str>, Option<Money>>,
}

fn known<S: Serializer>(cost: &Option<Money>, serializer: S) -> Result<S::Ok, S::Error> {
    match cost {
        Some(cost) => cost.serialize(serializer),
        None => serializer.serialize_str("unknown"),
    }
}

fn known_each<S: Serializer>(costs: &BTreeMap<Arc<str>, Option<Money>>, serializer: S) -> Result<S::Ok, S::Error> {
    struct Known(Option<Money>);
    impl Serialize for Known {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            known(&self.0, serializer)
        }
    }
    serializer.collect_map(costs.iter().map(|(model, cost)| (model, Known(*cost))))
}

impl Cost {
    /// Both together.
    pub fn add(&mut self, other: &Self) {
        let both = |one: Option<Money>, other: Option<Money>| Some(one?.saturating_add(other?));
        self.total = both(self.total, other.total);
        for (model, cost) in &other.by_model {
            let own = self.by_model.entry(Arc::clone(model)).or_insert(Some(Money::ZERO));
            *own = both(*own, *cost);
        }
    }
}
