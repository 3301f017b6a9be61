//! Whether an event that came out is the one that is recorded.
//!
//! Left out are what the engine fills in by chance or from elsewhere, and texts in which a secret was replaced.

use crate::event::Body;
use serde_json::{Number, Value};

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Whether two events say the same.
#[must_use]
pub fn agree(replayed: &Body, recorded: &Body) -> bool {
    let (replayed, recorded) = (comparable(replayed), comparable(recorded));
    if replayed == recorded {
        return true;
    }
    // What is different may be so only by a secret, or by how numbers are written.
    replayed.kind() == recorded.kind()
        && match (serde_json::to_value(&replayed), serde_json::to_value(&recorded)) {
            (Ok(replayed), Ok(recorded)) => values_agree(&replayed, &recorded),
            _ => false,
        }
}

/// Whether two values are the same, as far as the recorded one can be compared.
#[must_use]
pub fn values_agree(replayed: &Value, recorded: &Value) -> bool {
    match (replayed, recorded) {
        (_, Value::String(recorded)) if recorded.contains(REDACTED) => true,
        (Value::Number(replayed), Value::Number(recorded)) => numbers_agree(replayed, recorded),
        (Value::Array(replayed), Value::Array(recorded)) => {
            replayed.len() == recorded.len()
                && replayed.iter().zip(recorded).all(|(one, other)| values_agree(one, other))
        }
        (Value::Object(replayed), Value::Object(recorded)) => {
            if recorded.keys().any(|key| key.contains(REDACTED)) {
                return replayed.len() == recorded.len();
            }
            let same = |(key, one): (&String, &Value)| recorded.get(key).is_some_and(|other| values_agree(one, other));
            replayed.len() == recorded.len() && replayed.iter().all(same)
        }
        (replayed, recorded) => replayed == recorded,
    }
}

/// A number that was written and read again may be another one in its last digit.
fn numbers_agree(one: &Number, other: &Number) -> bool {
    one == other
        || match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) if one.fract() != 0.0 || other.fract() != 0.0 => {
                (one - other).abs() <= f64::EPSILON * one.abs().max(other.abs())
            }
            _ => false,
        }
}

/// The event without what cannot be the same twice.
fn comparable(body: &Body) -> Body {
    let mut body = body.clone();
    match &mut body {
        Body::StepStarted { narrowed, .. } => narrowed.clear(),
        Body::StepRetrying { delay_ms, .. } => *delay_ms = 0,
        // By the prices of that day.
        Body::RunFinished { cost, .. } => *cost = None,
        _ => {}
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::message::Usage;
    use serde_json::json;

    #[test]
    fn chance_and_secrets_make_no_difference() {
        let retry = |delay_ms| Body::StepRetrying { error: Fault::retry("x", "y"), delay_ms, usage: Usage::default() };
        assert!(agree(&retry(900), &retry(1_000)));
        assert!(values_agree(&json!({ "a": ["key 4711"], "b": 1 }), &json!({ "b": 1, "a": ["key [redacted]"] })));
        assert!(values_agree(&json!(0.1 + 0.2), &json!(0.3)));
    }

    #[test]
    fn all_else_does() {
        let warning = |message: &str| Body::Warning { code: "x".into(), message: message.into() };
        assert!(!agree(&warning("a"), &warning("b")));
        assert!(!agree(&warning("a"), &Body::StepReady {}));
        for (one, other) in
            [(json!([1]), json!([1, 2])), (json!({ "a": 1 }), json!({ "b": 1 })), (json!(1), json!(1.5))]
        {
            assert!(!values_agree(&one, &other), "{one} {other}");
        }
        assert!(!values_agree(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
    }
}
