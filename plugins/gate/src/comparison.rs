//! Comparisons of a value with what the options say.

use crate::Options;
use serde_json::Value;
use std::fmt;

/// One comparison.
pub(crate) enum Comparison<'o> {
    Equals(&'o Value),
    NotEquals(&'o Value),
    OneOf(&'o [Value]),
    AtLeast(f64),
    AtMost(f64),
    Contains(&'o Value),
}

impl<'o> Comparison<'o> {
    /// All comparisons of the options.
    pub(crate) fn all(options: &'o Options) -> Vec<Self> {
        let all = [
            options.equals.as_ref().map(Self::Equals),
            options.not_equals.as_ref().map(Self::NotEquals),
            options.one_of.as_deref().map(Self::OneOf),
            options.at_least.map(Self::AtLeast),
            options.at_most.map(Self::AtMost),
            options.contains.as_ref().map(Self::Contains),
        ];
        all.into_iter().flatten().collect()
    }

    /// Whether it holds for a value.
    pub(crate) fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Equals(other) => same(value, other),
            Self::NotEquals(other) => !same(value, other),
            Self::OneOf(others) => others.iter().any(|other| same(value, other)),
            Self::AtLeast(bound) => value.as_f64().is_some_and(|number| number >= *bound),
            Self::AtMost(bound) => value.as_f64().is_some_and(|number| number <= *bound),
            Self::Contains(part) => match (value, part) {
                (Value::String(text), Value::String(part)) => text.to_lowercase().contains(&part.to_lowercase()),
                (Value::Array(list), part) => list.iter().any(|element| same(element, part)),
                (Value::Object(table), Value::String(key)) => table.contains_key(key),
                _ => false,
            },
        }
    }
}

/// Numbers are the same when their values are, whether written `3` or `3.0`.
fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        #[expect(clippy::float_cmp, reason = "equality is what is asked")]
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(other) => write!(f, "{other}"),
            Self::NotEquals(other) => write!(f, "other than {other}"),
            Self::OneOf(others) => {
                let others: Vec<String> = others.iter().map(ToString::to_string).collect();
                write!(f, "one of {}", others.join(", "))
            }
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
            Self::AtMost(bound) => write!(f, "at most {bound}"),
            Self::Contains(part) => write!(f, "with {part} in it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_another_type_do_not_pass() {
        assert!(!Comparison::AtLeast(1.0).holds(&json!("5")));
        assert!(!Comparison::Contains(&json!("a")).holds(&json!(5)));
        assert!(Comparison::Equals(&json!(3)).holds(&json!(3.0)));
        assert!(Comparison::Contains(&json!("key")).holds(&json!({ "key": null })));
    }
}
