//! Budgets as people and records write them: `tokens=100000,cost=0.5,onExceed=pause`, or the table of a document.

use super::{Allowance, Budget, Money, OnExceed};
use crate::spec::duration;
use crate::spec::suggest::did_you_mean;
use crate::value::Map;
use serde_json::{Value, json};

/// Where the settings of a run have the budget that it was given.
pub const SETTING: &str = "budget";

const KEYS: [&str; 5] = ["tokens", "cost", "toolCalls", "wall", "onExceed"];

impl Budget {
    /// Reads a budget from a flag.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut budget = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for part in text.split(',') {
            let Some((key, value)) = part.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
                return Err(format!("`{part}` is no part of a budget; write `tokens=100000` or `cost=0.50`"));
            };
            if seen.contains(&key) {
                return Err(format!("`{key}` is given twice"));
            }
            seen.push(key);
            budget.set(key, value)?;
        }
        Ok(budget)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let wrong = |wanted: &str| format!("`{key}` takes {wanted}, not `{value}`");
        let count = || value.replace('_', "").parse::<u64>().ok();
        match key {
            "tokens" => {
                let tokens = count().filter(|tokens| *tokens > 0);
                self.most.tokens = Some(tokens.ok_or_else(|| wrong("a whole number above 0"))?);
            }
            "cost" => {
                let cost = value.trim_start_matches('$').parse().ok().and_then(Money::from_units);
                self.most.cost = Some(cost.ok_or_else(|| wrong("an amount of money, `0.50`"))?);
            }
            "toolCalls" => self.most.tool_calls = Some(count().ok_or_else(|| wrong("a whole number"))?),
            "wall" => {
                let wall = duration::parse(value).filter(|wall| !wall.is_zero());
                self.most.wall = Some(wall.ok_or_else(|| wrong("a time with a unit, `90s` or `1h30m`"))?);
            }
            "onExceed" => {
                let words = [OnExceed::Fail, OnExceed::Pause];
                let word = words.into_iter().find(|word| word.as_str() == value);
                self.on_exceed = Some(word.ok_or_else(|| wrong("`fail` or `pause`"))?);
            }
            other => {
                let hint = did_you_mean(other, KEYS);
                let hint = hint.unwrap_or_else(|| format!("it takes `{}`", KEYS.join("`, `")));
                return Err(format!("a budget has no `{other}`; {hint}"));
            }
        }
        Ok(())
    }

    /// The table of a document.
    #[must_use]
    pub fn to_map(&self) -> Map {
        let mut table = self.most.to_map();
        table.extend(self.on_exceed.map(|word| ("onExceed".to_owned(), json!(word.as_str()))));
        table
    }

    /// Reads what [`Self::to_map`] wrote; what is not understood counts as not said.
    #[must_use]
    pub fn from_map(table: &Map) -> Self {
        let number = |key: &str| table.get(key).and_then(Value::as_u64);
        let text = |key: &str| table.get(key).and_then(Value::as_str);
        let words = [OnExceed::Fail, OnExceed::Pause];
        Self {
            most: Allowance {
                tokens: number("tokens"),
                cost: table.get("cost").and_then(Value::as_f64).and_then(Money::from_units),
                tool_calls: number("toolCalls"),
                wall: text("wall").and_then(duration::parse),
            },
            on_exceed: text("onExceed").and_then(|said| words.into_iter().find(|word| word.as_str() == said)),
        }
    }
}

impl Allowance {
    /// The table of a document.
    #[must_use]
    pub fn to_map(&self) -> Map {
        let entries = [
            ("tokens", self.tokens.map(Value::from)),
            ("cost", self.cost.map(|cost| json!(cost))),
            ("toolCalls", self.tool_calls.map(Value::from)),
            ("wall", self.wall.map(|wall| duration::format(wall).into())),
        ];
        entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_survives_its_table() {
        let budget = Budget::parse("tokens=100_000, cost=$0.50,toolCalls=0,wall=1h30m,onExceed=pause").unwrap();
        assert_eq!(budget.most.cost, Money::from_units(0.5));
        assert_eq!(Budget::from_map(&budget.to_map()), budget);
        assert_eq!(Budget::from_map(&Map::new()), Budget::default());
        // What planning has used up is nothing, and not unlimited.
        let most = Allowance {
            tokens: Some(0),
            cost: Some(Money::ZERO),
            tool_calls: Some(0),
            wall: Some(std::time::Duration::ZERO),
        };
        let none = Budget { most, on_exceed: None };
        assert_eq!(Budget::from_map(&none.to_map()), none);
    }

    #[test]
    fn a_slip_is_told_with_what_to_write() {
        for (text, told) in [
            ("", "tokens=100000"),
            ("tokens", "no part of a budget"),
            ("token=5", "did you mean `tokens`"),
            ("tokens=0", "above 0"),
            ("tokens=1,tokens=2", "twice"),
            ("cost=-1", "an amount"),
            ("cost=NaN", "an amount"),
            ("wall=5", "with a unit"),
            ("onExceed=stop", "`fail` or `pause`"),
        ] {
            let error = Budget::parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
