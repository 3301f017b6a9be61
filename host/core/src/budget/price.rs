//! What models cost: a shipped table, which users and embedders add to and correct.
//!
//! The names of the fields are those of litellm's price table. A price that is not known is never taken for none.

use super::money::Money;
use crate::message::Usage;
use crate::spec::suggest::did_you_mean;
use serde_json::Value;
use std::collections::BTreeMap;

/// List prices as their providers published them by the date that the file names.
const SHIPPED: &str = include_str!("prices.json");

/// What one token costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// A token of the request.
    pub input: Money,
    /// A token of the answer.
    pub output: Money,
    /// A token of the answer that is reasoning; absent = as any of the answer.
    pub reasoning: Option<Money>,
    /// A token read from the provider's cache; absent = as any of the request.
    pub cache_read: Option<Money>,
    /// A token written to the provider's cache; absent = as any of the request.
    pub cache_write: Option<Money>,
}

/// Why a table of prices is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PriceError {
    /// The key that is wrong; empty for the whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What would help.
    pub hint: Option<String>,
}

const INPUT: &str = "input_cost_per_token";
const OUTPUT: &str = "output_cost_per_token";
const KEYS: [&str; 5] = [
    INPUT,
    OUTPUT,
    "output_cost_per_reasoning_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
];

impl Price {
    /// Reads the price of one model: a table of litellm's fields, input and output at least.
    ///
    /// # Errors
    /// The first key that is missing, not known, or no amount.
    pub fn parse(table: &Value) -> Result<Self, PriceError> {
        let refuse =
            |key: &str, message: String, hint: Option<String>| PriceError { key: key.to_owned(), message, hint };
        let Some(members) = table.as_object() else {
            let hint = format!("write `{{ {INPUT} = 1.25e-6, {OUTPUT} = 1e-5 }}`");
            return Err(refuse("", "a price is a table".to_owned(), Some(hint)));
        };
        if let Some(key) = members.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let hint = did_you_mean(key, KEYS).unwrap_or_else(|| format!("it takes `{}`", KEYS.join("`, `")));
            return Err(refuse(key, format!("unknown key `{key}` of a price"), Some(hint)));
        }
        let amount = |key: &str| match members.get(key) {
            None => Ok(None),
            Some(value) => match value.as_f64().filter(|units| *units <= 1.0).and_then(Money::from_units) {
                Some(money) => Ok(Some(money)),
                None => {
                    let hint = Some("the price of one token: `1.25e-6` is 1.25 for a million".to_owned());
                    Err(refuse(key, format!("`{key}` takes a number from 0 to 1"), hint))
                }
            },
        };
        let needed = |key: &str| amount(key)?.ok_or_else(|| refuse(key, format!("`{key}` is missing"), None));
        let [_, _, reasoning, cache_read, cache_write] = KEYS;
        Ok(Self {
            input: needed(INPUT)?,
            output: needed(OUTPUT)?,
            reasoning: amount(reasoning)?,
            cache_read: amount(cache_read)?,
            cache_write: amount(cache_write)?,
        })
    }

    /// What these tokens cost; none when nothing was told of tokens that would have cost something.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Option<Money> {
        if usage.is_empty() && *self != Self::default() {
            return None;
        }
        let cached = usage.cache_read.saturating_add(usage.cache_write);
        let parts = [
            self.input.times(usage.input.saturating_sub(cached)),
            self.cache_read.unwrap_or(self.input).times(usage.cache_read),
            self.cache_write.unwrap_or(self.input).times(usage.cache_write),
            self.output.times(usage.output.saturating_sub(usage.reasoning)),
            self.reasoning.unwrap_or(self.output).times(usage.reasoning),
        ];
        Some(parts.into_iter().fold(Money::ZERO, Money::saturating_add))
    }

    /// The most that a token of a request costs.
    pub(super) fn dearest_input(&self) -> Money {
        self.input.max(self.cache_write.unwrap_or_default()).max(self.cache_read.unwrap_or_default())
    }

    /// The most that a token of an answer costs.
    pub(super) fn dearest_output(&self) -> Money {
        self.output.max(self.reasoning.unwrap_or_default())
    }
}

/// Prices by the name of the model, `provider/model`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices(BTreeMap<String, Price>);

impl Prices {
    /// The table that comes with this version.
    #[must_use]
    pub fn shipped() -> Self {
        Self::read(SHIPPED).expect("a test reads the shipped table")
    }

    fn read(text: &str) -> Result<Self, PriceError> {
        let refuse = |message: String| PriceError { key: String::new(), message, hint: None };
        let table: Value = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        let models = table.get("prices").and_then(Value::as_object).into_iter().flatten();
        models.map(|(name, price)| Ok((name.clone(), Price::parse(price)?))).collect::<Result<_, _>>().map(Self)
    }

    /// With the price of a model, whatever was known of it before.
    pub fn set(&mut self, model: impl Into<String>, price: Price) {
        self.0.insert(model.into(), price);
    }

    /// With these prices too, which beat the ones that are there.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The price of a model, if it is known.
    #[must_use]
    pub fn of(&self, model: &str) -> Option<&Price> {
        self.0.get(model)
    }

    /// What an answer of a model cost, if that is known.
    #[must_use]
    pub fn cost(&self, model: &str, usage: &Usage) -> Option<Money> {
        self.of(model)?.cost(usage)
    }
}

impl FromIterator<(String, Price)> for Prices {
    fn from_iter<I: IntoIterator<Item = (String, Price)>>(prices: I) -> Self {
        Self(prices.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_shipped_table_is_read() {
        let prices = Prices::read(SHIPPED).unwrap();
        let usage = Usage { input: 1_000_000, output: 100_000, ..Usage::default() };
        assert_eq!(prices.cost("openai/gpt-4o-mini", &usage), Money::from_units(0.21));
        assert_eq!(prices.cost("builtin/extract", &Usage::default()), Some(Money::ZERO));
        assert_eq!(prices.cost("openai/gpt-4o-mini", &Usage::default()), None, "nobody said what it spent");
        assert_eq!(prices.cost("nobody/knows", &usage), None);
    }

    #[test]
    fn cached_tokens_and_reasoning_have_prices_of_their_own() {
        let price = Price::parse(&json!({
            "input_cost_per_token": 1e-6,
            "output_cost_per_token": 1e-5,
            "cache_read_input_token_cost": 1e-7,
            "cache_creation_input_token_cost": 2e-6,
            "output_cost_per_reasoning_token": 2e-5
        }));
        let usage = Usage { input: 100, output: 10, reasoning: 4, cache_read: 50, cache_write: 20 };
        let cost = 30.0 * 1e-6 + 50.0 * 1e-7 + 20.0 * 2e-6 + 6.0 * 1e-5 + 4.0 * 2e-5;
        assert_eq!(price.unwrap().cost(&usage), Money::from_units(cost));
    }

    #[test]
    fn a_price_with_a_slip_in_it_is_refused() {
        let refused = |table: Value| Price::parse(&table).unwrap_err().to_string();
        assert!(refused(json!({"input_cost_per_token": 1})).contains("output_cost_per_token"));
        assert!(refused(json!({"input_cost_per_tokn": 1})).contains("input_cost_per_tokn"));
        assert!(refused(json!({"input_cost_per_token": -1, "output_cost_per_token": 0})).contains("0 to 1"));
        assert!(refused(json!(3)).contains("table"));
    }
}
