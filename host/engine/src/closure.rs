//! Closures of the embedder: called by name, and a panic in one is a fault and not the end of the run.

use cofferdam_core::fault::Fault;
use cofferdam_core::spec::suggest::did_you_mean;
use futures_util::FutureExt as _;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Runs what a closure does. `call` is polled inside, so that a panic on the way to its future is caught as well.
pub(crate) async fn guarded<T>(what: &str, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::step("closure_panicked", format!("{what} panicked"))),
    }
}

/// Why a name cannot be used, when nothing is registered under it.
pub(crate) fn missing<T>(kind: &str, name: &str, known: &BTreeMap<Arc<str>, T>) -> Option<Fault> {
    if known.contains_key(name) {
        return None;
    }
    let names: Vec<String> = known.keys().map(|name| format!("`{name}`")).collect();
    let list =
        if names.is_empty() { "none is registered".to_owned() } else { format!("there is {}", names.join(", ")) };
    let hint = did_you_mean(name, known.keys().map(AsRef::as_ref)).unwrap_or(list);
    let message = format!("this program has no {kind} called `{name}`");
    Some(Fault::user("unknown_native", message).with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_fault() {
        let outcome: Result<(), Fault> = guarded("condition `x`", async { panic!("no") }).await;
        assert_eq!(outcome.unwrap_err().message, "condition `x` panicked");
    }

    #[test]
    fn a_missing_name_says_what_there_is() {
        let known = BTreeMap::from([(Arc::from("approve"), ())]);
        assert!(missing("condition", "approve", &known).is_none());
        assert_eq!(missing("condition", "aprove", &known).unwrap().hint.unwrap(), "did you mean `approve`?");
        let empty: BTreeMap<Arc<str>, ()> = BTreeMap::new();
        assert_eq!(missing("condition", "aprove", &empty).unwrap().hint.unwrap(), "none is registered");
    }
}
