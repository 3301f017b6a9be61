//! A condition: decides whether a step runs. It is pure, so that what it decided can be decided again after a crash.

use cofferdam_sdk::{PureContext, Result, Verdict, condition};
use serde_json::Value;

/// Lets a step run when the input `wanted` asks for it.
#[condition]
fn wanted(_ctx: &PureContext, view: &Value) -> Result<Verdict> {
    match view["inputs"]["wanted"].as_bool() {
        Some(true) => Ok(Verdict::Proceed),
        _ => Ok(Verdict::Skip("nobody asked for it".into())),
    }
}

cofferdam_sdk::plugin!(id = "acme/__NAME__", summary = "Runs what is wanted", conditions = [wanted]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asked_for_is_skipped() {
        let view = serde_json::json!({ "inputs": {} });
        assert!(matches!(wanted(&PureContext::fake(), &view).unwrap(), Verdict::Skip(_)));
    }
}
