//! An amount of money, exact: sums do not depend on their order.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Parts of a unit of currency, so that the price of one cached token of the cheapest model is a whole number.
const PARTS: f64 = 1e12;

/// Money, in the currency of the price table. On the wire a number of whole units: `0.0123`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(u64);

impl Money {
    /// None.
    pub const ZERO: Self = Self(0);

    /// So many units; none for what is no amount. What is too much is the most there is.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is not negative, and saturates")]
    pub fn from_units(units: f64) -> Option<Self> {
        (units.is_finite() && units >= 0.0).then(|| Self((units * PARTS).round() as u64))
    }

    /// Units of currency; exact up to thousands of them.
    #[must_use]
    pub fn units(self) -> f64 {
        self.0 as f64 / PARTS
    }

    /// The smallest parts that it is counted in.
    pub(super) fn parts(self) -> u64 {
        self.0
    }

    /// So many times as much.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// Both together.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left; never less than nothing.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// How often the other fits; none when that costs nothing.
    #[must_use]
    pub fn holds(self, other: Self) -> Option<u64> {
        self.0.checked_div(other.0)
    }
}

/// As people read it: cents, and of smaller amounts what is seen of them.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.units();
        match self.0 {
            0 => f.write_str("$0"),
            _ if units >= 1.0 => write!(f, "${units:.2}"),
            _ if units >= 0.0001 => write!(f, "${units:.4}"),
            _ if units >= 0.000_001 => write!(f, "${units:.6}"),
            _ => f.write_str("less than $0.000001"),
        }
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.units())
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = f64::deserialize(deserializer)?;
        Self::from_units(units).ok_or_else(|| serde::de::Error::custom("an amount of money is not negative"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_survives_its_wire_form() {
        for parts in [0, 1, 37_500, 1_250_000, 12_345_678_901_234, 1_234_567_890_123_456] {
            let money = Money(parts);
            let text = serde_json::to_string(&money).unwrap();
            assert_eq!(serde_json::from_str::<Money>(&text).unwrap(), money, "{text}");
        }
        assert!(serde_json::from_str::<Money>("-1").is_err());
        assert_eq!(Money::from_units(f64::NAN), None);
        assert_eq!(Money::from_units(1e300), Some(Money(u64::MAX)));
    }

    #[test]
    fn people_read_cents_and_of_less_what_is_seen_of_it() {
        let shown = |units| Money::from_units(units).unwrap().to_string();
        assert_eq!(
            [0.0, 12.345, 0.0123, 0.000_012, 1e-9].map(shown),
            ["$0", "$12.35", "$0.0123", "$0.000012", "less than $0.000001"]
        );
    }
}
